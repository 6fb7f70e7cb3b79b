"""A step of a batch of parameters on each path: what comes before the update itself, and after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kadam.decay import Decay
from kadam.optim.fused_cpu import Ages, Numbers, kadam_fused_cpu_step_
from kadam.optim.fused_cuda import kadam_fused_cuda_step_
from kadam.optim.paths import Batch, Path, as_reals, local, walkable
from kadam.optim.state import state_dtype
from kadam.optim.update import (
    Moments,
    Number,
    StageAtStep,
    kadam_differentiable_step_,
    kadam_foreach_step_,
    kadam_step_,
    widened,
)

# Adding a tensor to many step counters is three times as fast as adding a number.
ONE = torch.tensor(1.0, device="cpu")

Stages = tuple[StageAtStep[Any], ...]


@dataclass(slots=True)  # one is made a step: frozen would cost a microsecond
class Hyper:
    """The hyperparameters of one step."""

    decays: tuple[Decay, ...]  # one a stage
    lr: Number
    eps: float
    weight_decay: float
    maximize: bool
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

    @property
    def on_host(self) -> dict[str, float]:
        return {"lr": float(self.lr), "eps": float(self.eps), "weight_decay": float(self.weight_decay)}

    @property
    def numbers(self) -> Numbers:
        return Numbers(**self.on_host, factor=float(self.factor))

    @property
    def as_given(self) -> dict[str, Any]:
        return {"lr": widened(self.lr), "eps": widened(self.eps), "weight_decay": widened(self.weight_decay)}


def host_step(batch: Batch, hyper: Hyper, path: Path) -> None:
    """The host counts the steps, so that corrections are numbers."""
    if hyper.overflowed:
        return
    count(batch.steps)
    batch = as_reals(batch)
    if path == "fused":
        can, cannot = walkable(local(batch))
        if can is not None:
            kadam_fused_cpu_step_(can.params, can.grads, can.moments, ages(can), hyper.decays, hyper.numbers)
        if cannot is None:
            return
        batch, path = cannot, "for-loop"
    known: dict[Ages, Stages] = {}
    stages = [known.get(age) or known.setdefault(age, _at(hyper.decays, age)) for age in ages(batch)]
    _plain_step(batch, stages, path, hyper.factor, hyper.on_host)


def device_step(batch: Batch, hyper: Hyper, path: Path) -> None:
    """Only the device knows the step: corrections are tensors. So CUDA graphs and compiled code count on their own."""
    if hyper.overflowed:
        return
    torch._foreach_add_(batch.steps, 1)
    batch = as_reals(batch)
    stages = [
        tuple(StageAtStep.at_tensor(*d.betas, step - start) for d, start in zip(hyper.decays, starts, strict=True))
        for step, starts in zip(batch.steps, batch.starts, strict=True)
    ]
    _plain_step(batch, stages, path, hyper.factor, hyper.as_given)


def fused_cuda_step(batch: Batch, hyper: Hyper) -> None:
    """One launch; the kernel reads the step counters, which lie on the device."""
    torch._foreach_add_(batch.steps, 1)
    can, cannot = walkable(local(as_reals(batch)))
    if can is not None:
        numbers = hyper.as_given | {"maximize": hyper.maximize, "grad_scale": hyper.grad_scale, "found_inf": hyper.found_inf}
        kadam_fused_cuda_step_(can.params, can.grads, can.moments, can.steps, can.starts, hyper.decays, **numbers)
    if hyper.found_inf is not None:
        torch._foreach_sub_(batch.steps, [hyper.found_inf.reshape(())] * len(batch.steps))
    if cannot is not None and not hyper.overflowed:
        torch._foreach_sub_(cannot.steps, 1)  # counted again, as part of a step of its own
        device_step(cannot, hyper, "for-loop")


def differentiable_step(batch: Batch, hyper: Hyper) -> list[list[Tensor]]:
    """Under autograd, one parameter after another; returns the new moments of each, which replace the old ones."""
    count(batch.steps)
    reals, advanced = as_reals(batch), []
    for t, (p, g, row, age) in enumerate(zip(reals.params, reals.grads, reals.rows(), ages(reals), strict=True)):
        wide = p.to(state_dtype(p.dtype))
        stages = _at(hyper.decays, age)
        moved = wide.clone() if wide is p else wide
        moments = kadam_differentiable_step_(moved, hyper.factor * g.to(wide.dtype), _pairs(row), stages, **hyper.as_given)
        p.copy_(moved)
        flat = [x for pair in moments for x in pair]
        advanced.append([torch.view_as_complex(x) for x in flat] if batch.params[t].is_complex() else flat)
    return advanced


def count(steps: list[Tensor]) -> None:
    torch._foreach_add_(steps, ONE, alpha=1.0)


def ages(batch: Batch) -> list[Ages]:
    """For every parameter and stage the step, counted from where the stage began."""
    keys = list(zip(map(Tensor.item, batch.steps), batch.starts, strict=True))
    known = {key: tuple(key[0] - start for start in key[1]) for key in set(keys)}
    return [known[key] for key in keys]


def _at(decays: Sequence[Decay], age: Ages) -> Stages:
    return tuple(StageAtStep.at(*d.betas, n) for d, n in zip(decays, age, strict=True))


def _plain_step(batch: Batch, stages: list[Stages], path: Path, factor: Number, hyper: dict[str, Any]) -> None:
    """With torch's own operations; low-precision parameters in float32, rounded once at the end."""
    if path == "foreach":
        _foreach_step(batch, stages, factor, hyper)
        return
    for p, g, row, at in zip(batch.params, batch.grads, batch.rows(), stages, strict=True):
        wide = p.to(state_dtype(p.dtype))
        kadam_step_(wide, _times(g.to(wide.dtype), factor), _pairs(row), at, **hyper)
        if wide.dtype != p.dtype:
            p.copy_(wide)


def _foreach_step(batch: Batch, stages: list[Stages], factor: Number, hyper: dict[str, Any]) -> None:
    wide = [p.to(state_dtype(p.dtype)) for p in batch.params]
    grads = [g.to(w.dtype) for g, w in zip(batch.grads, wide, strict=True)]
    if isinstance(factor, Tensor) or factor != 1.0:
        grads = list(torch._foreach_mul(grads, factor))
    kadam_foreach_step_(wide, grads, batch.moments, stages, **hyper)
    for p, w in zip(batch.params, wide, strict=True):
        if w.dtype != p.dtype:
            p.copy_(w)


def _times(grad: Tensor, factor: Number) -> Tensor:
    return grad * factor if isinstance(factor, Tensor) or factor != 1.0 else grad


def _pairs(row: list[Tensor]) -> list[Moments]:
    """(m, v) of each stage."""
    return list(zip(row[::2], row[1::2], strict=True))
