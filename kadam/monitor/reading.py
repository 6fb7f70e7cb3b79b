"""What an Adam-like optimizer keeps of a parameter, as a reading: views of its tensors, and the numbers that make an update.

    u = scale * top / (root of second + floor),     weight <- weight - lr u     (decoupled decay apart)

with ``top`` the momentum (NAdam: a gradient beside it), ``second`` the second moment and ``floor`` from eps. Nothing is copied.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adamax, NAdam, Optimizer, RAdam, SparseAdam

from kadam.decay import Decay, stages

Group = dict[str, Any]
Number = float | Tensor  # on the host, or on a device without dimensions
Piece = tuple[Tensor, ...]  # weight, momentum, second moment, gradient

# Slices of a parameter along its first dimension are its rows if they have so many elements; else it is one row.
LEAST_ROW = 16


class Kind(NamedTuple):
    """What parameters of one group have in common. Two with the same kind may be measured together."""

    form: str  # adam, amsgrad, adamax, nadam
    decay: Decay  # of the last stage
    stages: int
    eps: float
    box: float  # 1 / weight_decay where decay is decoupled, else infinity


class Reading(NamedTuple):
    """One parameter after a step; tensors are this process's share as it lies in memory, complex numbers as two reals."""

    kind: Kind
    weight: Tensor
    momentum: Tensor
    second: Tensor
    gradient: Tensor
    shape: tuple[int, int]  # rows and columns
    step: Number  # that this parameter has made
    age: Number  # of the last stage: from where its bias corrections count
    lr: Number
    first: int = -1  # the number, in the whole parameter, of the first row here; -1 where these are not rows of it
    more: tuple[Number, ...] = ()  # NAdam: the factors of gradient and momentum, lr and what of the weight is in the gradient

    @property
    def tensors(self) -> Piece:
        return self.weight, self.momentum, self.second, self.gradient

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
        if any(getattr(p, mark, False) for p in group["params"] for mark in _FLAT):
            raise ValueError(
                f"{name} cannot be watched: its parameters are flat shares of FullyShardedDataParallel, which do not say where "
                "they lie; torch.distributed.fsdp.fully_shard makes parameters that can be watched"
            )


# torch's marks of a flat parameter, and of a share of one that goes by its own name (use_orig_params).
_FLAT = ("_is_flat_param", "_fsdp_flattened")

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
    state, gradient = optimizer.state.get(param), param.grad
    if gradient is None or not state:
        return None
    names = _names(kind)
    lacking = [name for name in ("step", *names) if name not in state]
    if lacking:
        raise ValueError(
            f"{type(optimizer).__name__} cannot be watched: the state of a parameter lacks {', '.join(lacking)}, "
            f"it has {', '.join(map(str, state)) or 'nothing'}; {_NEEDED}"
        )
    if gradient.layout is not torch.strided:
        gradient = gradient.to_dense()
    step = _number(state["step"])
    if not isinstance(step, Tensor) and step < 1:
        return None  # a scaler skipped the first
    start = _number(state.get(f"step_start_{kind.stages}", 0.0)) if kind.stages > 1 else 0.0
    more = _nadams(group, state, step) if kind.form == "nadam" else ()
    weight, momentum, second, gradient = (_real(_local(t, param)) for t in (param, *map(state.__getitem__, names), gradient))
    shape, first = _table_shape(weight.shape), _first_row(param, weight.shape)
    age, lr = _age(step, start), _number(group["lr"])
    return Reading(kind, weight, momentum, second, gradient, shape, step, age, lr, first, more)


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
        if value.device.type == "cpu":
            return value.item()
        return value.detach().reshape(()).to(widest(value.device))
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


def widest(device: torch.device) -> torch.dtype:
    """In which sums over rows are kept."""
    return torch.float32 if device.type == "mps" else torch.float64  # of which it has none


# Views


def _local(tensor: Any, param: Any) -> Tensor:
    """This process's share of a distributed tensor, placed as its parameter."""
    if hasattr(tensor, "to_local"):
        if hasattr(param, "placements") and tensor.placements != param.placements:
            tensor = tensor.redistribute(placements=param.placements)
        tensor = tensor.to_local()
    return tensor


def _first_row(param: Any, shape: torch.Size) -> int:
    """See :class:`Reading`; ``shape``: that of this process's share."""
    if _row_count(_real_shape(param)) == 1 or not _has_rows(shape):
        return -1
    if not hasattr(param, "to_local"):
        return 0
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    return compute_local_shape_and_global_offset(param.shape, param.device_mesh, param.placements)[1][0]


def views(reading: Reading) -> Piece:
    """Its tensors as (rows, columns), without a copy where they lie in memory as the weight does.

    Within a row the order of elements means nothing, so a tensor with channels last is read in the order it lies in.
    """
    tensors: Any = reading.tensors
    weight = reading.weight
    if reading.shape[0] > 1 and weight.dim() > 2 and not weight.is_contiguous():
        order = (0, *sorted(range(1, weight.dim()), key=weight.stride, reverse=True))
        tensors = [t.permute(order) for t in tensors]
    return tuple(t.reshape(reading.shape) for t in tensors)


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _real_shape(tensor: Tensor) -> torch.Size:
    return torch.Size((*tensor.shape, 2)) if tensor.is_complex() else tensor.shape


def _table_shape(shape: torch.Size) -> tuple[int, int]:
    """Rows and columns."""
    rows = _row_count(shape)
    return (rows, shape.numel() // rows) if shape.numel() else (0, 1)


def _row_count(shape: torch.Size) -> int:
    return shape[0] if _has_rows(shape) else 1


def _has_rows(shape: torch.Size) -> bool:
    """Whether its slices along the first dimension are rows."""
    return len(shape) > 1 and shape.numel() >= LEAST_ROW * shape[0]


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
