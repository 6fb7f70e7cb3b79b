"""What may be asked of KAdam: a group's hyperparameters, verified, and what a step takes from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kadam.decay import Decay, as_float, check_stage_count, check_strategy, stages
from kadam.optim.update import Number

Pair = tuple[float, float]
Group = dict[str, Any]

# The largest lr, eps and weight_decay: lr * weight_decay and lr / (1 - beta1) then stay within float32.
LARGEST = 1e15


def checked(group: Group) -> Group:
    """The group's hyperparameters, verified, with ``betas`` split into one pair and the explicit stages, if any.

    ``k`` is kept as ``stages``, which no other program writes: wrappers count their steps in a group's ``k``. Numbers of every
    kind become Python's: they can multiply any tensor, and a checkpoint with them loads anywhere.
    """
    hyper = {name: _python(value) for name, value in group.items() if name != "params"}
    if hyper.pop("amsgrad", False) is not False:
        raise ValueError(f"amsgrad must be False, KAdam has no such variant; got {group['amsgrad']!r}")
    numbers = {name: _not_negative(name, hyper[name]) for name in ("lr", "eps", "weight_decay")}
    k = hyper.pop("k", None)
    hyper.setdefault("stages", k)
    check_stage_count(hyper["stages"])
    check_strategy(hyper["strategy"])
    _check_flags(hyper)
    pair, explicit = _split_betas(hyper["betas"], hyper.get("stage_betas"))
    complete = {**hyper, **numbers, "stages": int(hyper["stages"]), "betas": pair, "stage_betas": explicit}
    stage_decays(complete)  # fails here, before any step, where a derived stage rounds to 1
    return complete


def _python(value: Any) -> Any:
    """numpy's scalars and arrays without dimensions as Python's own, everything else as it is."""
    return value.item() if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 else value


def stage_decays(group: Group) -> tuple[Decay, ...]:
    """The decay rates of each stage of a verified group, as its pair ``betas`` stands now."""
    pair, k, explicit = tuple(group["betas"]), group["stages"], group["stage_betas"]
    if type(k) is not int or k < 1:  # assigned since
        check_stage_count(k, "stages")
    if explicit is None:
        derive = _derive if torch.compiler.is_compiling() else _derived  # a compiler warns of caches
        return derive(pair, k, group["strategy"])
    if len(explicit) != k:
        raise ValueError(f"betas holds {len(explicit)} pairs but k={k}; give one pair, or one for each stage")
    return tuple(Decay.from_betas(b) for b in (pair, *explicit[1:]))


def _derive(pair: Pair, k: int, strategy: str) -> tuple[Decay, ...]:
    return stages(Decay.from_betas(pair), k, strategy)


_derived = lru_cache(maxsize=1024)(_derive)


def _split_betas(betas: Any, explicit: tuple[Pair, ...] | None) -> tuple[Pair, tuple[Pair, ...] | None]:
    if isinstance(betas, Sequence) and len(betas) > 0 and isinstance(betas[0], Sequence):
        pairs = tuple(Decay.from_betas(tuple(map(_python, b))).betas for b in betas)
        return pairs[0], pairs
    return Decay.from_betas(tuple(map(_python, betas)) if isinstance(betas, Sequence) else betas).betas, explicit


def _not_negative(name: str, value: Any) -> float | Tensor:
    """The value as a float, or the tensor of one real number that it is."""
    if isinstance(value, Tensor) and (value.numel() != 1 or value.is_complex()):
        raise ValueError(f"{name} must be one real number, got a {value.dtype} tensor of shape {tuple(value.shape)}")
    number = value.item() if isinstance(value, Tensor) else as_float(value)
    if not 0.0 <= number <= LARGEST:
        raise ValueError(f"{name} must be a finite number >= 0, and at most {LARGEST:g}; got {value!r}")
    return value if isinstance(value, Tensor) else number


def _check_flags(group: Group) -> None:
    for name in ("foreach", "fused"):
        if group[name] is not None and not isinstance(group[name], bool):
            raise ValueError(f"{name} must be True, False or None, got {group[name]!r}")
    for name in ("maximize", "capturable", "differentiable", "stochastic_rounding"):
        if not isinstance(group[name], bool):
            raise ValueError(f"{name} must be True or False, got {group[name]!r}")
    if group["fused"] and group["foreach"]:
        raise ValueError("fused=True and foreach=True exclude each other; give one of them")
    if group["differentiable"] and (group["fused"] or group["foreach"]):
        chosen = "fused" if group["fused"] else "foreach"
        raise ValueError(f"differentiable=True takes the for-loop path; got {chosen}=True, leave it out")
    if group["differentiable"] and group["stochastic_rounding"]:
        raise ValueError("differentiable=True and stochastic_rounding=True exclude each other; give one of them")


@dataclass(slots=True)  # one is made a step: frozen would cost a microsecond
class Hyper:
    """The hyperparameters of one step."""

    decays: tuple[Decay, ...]  # one a stage
    lr: Number
    eps: float
    weight_decay: float
    maximize: bool
    stochastic_rounding: bool = False
    grad_scale: Tensor | None = None  # GradScaler's: gradients are too large by this factor,
    found_inf: Tensor | None = None  # and where this is 1 there is no step at all

    @property
    def overflowed(self) -> bool:
        return self.found_inf is not None and bool(self.found_inf)

    @property
    def factor(self) -> Number:
        """What gradients are multiplied by before they are used."""
        sign = -1.0 if self.maximize else 1.0
        return sign if self.grad_scale is None else sign / self.grad_scale

    def numbers(self, read: Callable[[Any], Any]) -> dict[str, Any]:
        """lr, eps and weight_decay, in this order; read by ``float``, or by ``widened``, which leaves them on their device."""
        return {"lr": read(self.lr), "eps": read(self.eps), "weight_decay": read(self.weight_decay)}
