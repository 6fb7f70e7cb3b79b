"""What an Adam-like optimizer keeps of a parameter, as a reading: views of its tensors, and the numbers that make an update.

    u = scale * top / (root of second + floor),     weight <- weight - lr u     (decoupled decay apart)

with ``top`` the momentum (NAdam: a gradient beside it), ``second`` the second moment and ``floor`` from eps. Nothing is copied.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adamax, NAdam, Optimizer, RAdam, SparseAdam

from kadam.decay import Decay, stages

Group = dict[str, Any]
Number = float | Tensor  # on the host, or on a device without dimensions

WIDE = {"mps": torch.float32}  # by device, where it has no float64: in which sums over rows are kept

# Slices of a parameter along its first dimension are its rows if they have so many elements; else it is one row.
LEAST_ROW = 16


class Kind(NamedTuple):
    """What parameters of one group have in common. Two with the same kind may be measured together."""

    form: str  # adam, amsgrad, adamax, nadam
    decay: Decay  # of the last stage
    stages: int
    eps: float
    box: float  # 1 / weight_decay where decay is decoupled, else infinity


@dataclass(frozen=True)
class Reading:
    """One parameter after a step; tensors are this process's share, (rows, columns), complex numbers as two reals."""

    kind: Kind
    weight: Tensor
    momentum: Tensor
    second: Tensor
    gradient: Tensor
    step: Number  # that this parameter has made
    age: Number  # of the last stage: from where its bias corrections count
    lr: Number
    more: tuple[Number, ...] = ()  # NAdam: the factors of gradient and momentum, lr and what of the weight is in the gradient

    @property
    def fill(self) -> tuple[Any, Any]:
        """By what momentum and the root of the second moment are below their averages, as both began at zero."""
        root = 1.0 if self.kind.form == "adamax" else _one_minus(self.kind.decay.beta, self.age) ** 0.5
        return _one_minus(self.kind.decay.gamma, self.age), root


def unwrapped(optimizer: Any) -> Optimizer:
    """The torch optimizer inside the wrappers of training tools."""
    for _ in range(10):
        inner = next((found for name in ("optimizer", "optim") if _is_torchs(found := getattr(optimizer, name, None))), None)
        if inner is None:
            break
        optimizer = inner
    if not _is_torchs(optimizer):
        raise TypeError(f"optimizer must be a torch optimizer, or hold one as its .optimizer, got {optimizer!r}")
    return optimizer


def _is_torchs(optimizer: Any) -> bool:
    return isinstance(optimizer, Optimizer)


def check_is_adams(optimizer: Optimizer) -> None:
    """``ValueError`` for an optimizer whose update is not a momentum over a second moment."""
    name = type(optimizer).__name__
    if isinstance(optimizer, RAdam | SparseAdam):
        raise ValueError(f"{name} cannot be watched: its update is not Adam's; {_NEEDED}")
    for group in optimizer.param_groups:
        lacking = [key for key in ("lr", "betas", "eps") if key not in group]
        if lacking:
            raise ValueError(f"{name} cannot be watched: its groups have no {' and no '.join(lacking)}; {_NEEDED}")


_NEEDED = "needed is an optimizer like Adam, AdamW, NAdam, Adamax or KAdam, with lr, betas and eps in its groups"


def kind_of(optimizer: Optimizer, group: Group) -> Kind:
    """Of a parameter group, as its hyperparameters stand now."""
    decays = _stage_decays(group)
    form = "nadam" if isinstance(optimizer, NAdam) else "adamax" if isinstance(optimizer, Adamax) else "adam"
    if group.get("amsgrad") and "stages" not in group:
        form = "amsgrad"
    rate = float(group.get("weight_decay", 0.0))
    box = 1 / rate if rate > 0 and _is_decoupled(optimizer, group) else float("inf")
    return Kind(form, decays[-1], len(decays), float(group["eps"]), box)


def _stage_decays(group: Group) -> tuple[Decay, ...]:
    """KAdam's stages; of the others their one pair."""
    pair = Decay.from_betas(tuple(map(float, group["betas"])))
    if "stages" not in group:
        return (pair,)
    if group.get("stage_betas") is not None:
        return (pair, *map(Decay.from_betas, group["stage_betas"][1:]))
    return stages(pair, group["stages"], group["strategy"])


def _is_decoupled(optimizer: Optimizer, group: Group) -> bool:
    named = "stages" in group or "adamw" in type(optimizer).__name__.lower()
    return bool(group.get("decoupled_weight_decay", named or isinstance(optimizer, torch.optim.AdamW)))


def read(optimizer: Optimizer, group: Group, kind: Kind, param: Tensor) -> Reading | None:
    """The reading of a parameter; nothing where it was not stepped: it has no gradient, or no state yet."""
    state = optimizer.state.get(param)
    if param.grad is None or not state:
        return None
    names = _names(kind)
    lacking = [name for name in ("step", *names) if name not in state]
    if lacking:
        raise ValueError(
            f"{type(optimizer).__name__} cannot be watched: the state of a parameter lacks {', '.join(lacking)}, "
            f"it has {', '.join(map(str, state)) or 'nothing'}; {_NEEDED}"
        )
    gradient = param.grad if param.grad.layout is torch.strided else param.grad.to_dense()
    tensors = [_local(t.detach(), param) for t in (param, *(state[name] for name in names), gradient)]
    step = _number(state["step"])
    if not isinstance(step, Tensor) and step < 1:
        return None  # a scaler skipped the first
    start = _number(state.get(f"step_start_{kind.stages}", 0.0))
    more = _nadams(group, state, step) if kind.form == "nadam" else ()
    weight, momentum, second, gradient = _rows(tensors)
    numbers: dict[str, Any] = {"step": step, "age": _age(step, start), "lr": _number(group["lr"]), "more": more}
    return Reading(kind, weight, momentum, second, gradient, **numbers)


def _age(step: Number, start: Number) -> Number:
    """Steps that a stage has made; one whose counter was set back begins with it, as in KAdam."""
    if isinstance(step, Tensor):
        return torch.where(step > start, step - start, step).clip(min=1)
    return step - start if step > start else step


def _names(kind: Kind) -> tuple[str, str]:
    """Of momentum and second moment of the last stage."""
    if kind.stages > 1:
        return f"exp_avg_{kind.stages}", f"exp_avg_sq_{kind.stages}"
    return "exp_avg", {"adamax": "exp_inf", "amsgrad": "max_exp_avg_sq"}.get(kind.form, "exp_avg_sq")


def _number(value: Any) -> Number:
    """On the host a float; a number on another device stays there: reading it would wait."""
    if isinstance(value, Tensor):
        value = value.detach()
        if value.device.type == "cpu":
            return value.item()
        return value.reshape(()).to(WIDE.get(value.device.type, torch.float64))
    return float(value)


def _nadams(group: Group, state: dict[str, Any], step: Number) -> tuple[Number, ...]:
    """torch's: the update is (a (gradient + decay weight) + b momentum) / (root + eps), where the weight is the one before."""
    beta1, psi = float(group["betas"][0]), float(group["momentum_decay"])
    product = _number(state["mu_product"])
    now, then = (beta1 * (1 - 0.5 * 0.96 ** (n * psi)) for n in (step, step + 1))
    coupled = 0.0 if group.get("decoupled_weight_decay") else float(group["weight_decay"])
    sign = -1.0 if group.get("maximize") else 1.0
    a = (1 - now) / (1 - product)
    return (a * sign, then / (1 - product * then), a * coupled, _number(group["lr"]))


# Views


def _local(tensor: Any, param: Any) -> Tensor:
    """This process's share of a distributed tensor, placed as its parameter."""
    if hasattr(tensor, "to_local"):
        if hasattr(param, "placements") and tensor.placements != param.placements:
            tensor = tensor.redistribute(placements=param.placements)
        tensor = tensor.to_local()
    return tensor


def _rows(tensors: list[Tensor]) -> list[Tensor]:
    """All as (rows, columns), without a copy where they lie in memory as the first one does.

    Within a row the order of elements means nothing, so a tensor with channels last is read in the order it lies in.
    """
    tensors = [torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in tensors]
    shape = tensors[0].shape
    rows = _row_count(shape)
    if rows != 1 and len(shape) > 2 and not tensors[0].is_contiguous():
        order = (0, *sorted(range(1, len(shape)), key=tensors[0].stride, reverse=True))
        tensors = [t.permute(order) for t in tensors]
    return [t.reshape(rows, -1) if t.numel() else t.reshape(0, 1) for t in tensors]


def _row_count(shape: torch.Size) -> int:
    numel = shape.numel()
    return shape[0] if len(shape) > 1 and numel >= LEAST_ROW * shape[0] else 1


def corrections(kind: Kind, age: Number) -> tuple[Number, Number]:
    """``scale`` and ``floor`` of the update after so many steps; a device's numbers, also a vector of them, stay there."""
    beta, gamma = kind.decay.beta, kind.decay.gamma
    first = 1.0 if kind.form == "nadam" else _one_minus(gamma, age)
    if kind.form == "adamax":
        return 1 / first, 0.0
    root = _one_minus(beta, age) ** 0.5
    return root / first, root * kind.eps


def _one_minus(rate: float, age: Number) -> Any:
    return 1 - rate**age
