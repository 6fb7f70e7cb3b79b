"""A step of a batch: the path that it takes, and what comes before the update itself on each path and after it.

Every path computes the same step: one tensor at a time (for-loop), whole lists of tensors an operation (foreach), or one
pass over memory (fused). They differ in speed, in memory, and in rounding at most.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.optimizer import _foreach_supported_types

from kadam.decay import Decay
from kadam.optim import cpu, update
from kadam.optim.arguments import Group, Hyper
from kadam.optim.batch import Ages, Batch, as_reals, is_distributed, local, side_by_side
from kadam.optim.parts import parts
from kadam.optim.rounding import Noise, narrow_, noise
from kadam.optim.state import state_dtype
from kadam.optim.update import Moments, Number, StageAtStep, Stages

Path = Literal["for-loop", "foreach", "fused"]

BLOCK = 2**20  # elements of a part on a CPU
COPIES = 3  # of a part are alive at once in a step by lists of operations: two inputs of a stage and a denominator


def step_batch(batch: Batch, group: Group, hyper: Hyper) -> None:
    """In place, on the path that the group's flags choose; under autograd the batch gets new moments instead."""
    p = batch.params[0]
    path = choose(group, p.device, type(p) in _foreach_supported_types)
    if group["differentiable"]:
        batch.moments = differentiable_step(batch, hyper)
    elif path == "fused" and on_gpu(p):
        cuda_step(batch, hyper)
    elif torch.compiler.is_compiling() or (group["capturable"] and path != "fused"):
        device_step(batch, hyper, path)
    else:
        host_step(batch, hyper, path)
    if is_distributed(p) and not torch.compiler.is_compiling():
        torch.autograd.graph.increment_version(batch.params)  # lists of operations and kernels tell only the shards


def choose(group: Group, device: torch.device, in_lists: bool = True) -> Path:
    """The path that a group's flags ask for on this device; foreach by itself only for tensors that go ``in_lists``."""
    foreach, fused = group["foreach"], group["fused"]
    if group["differentiable"]:
        return "for-loop"
    if fused and not torch.compiler.is_compiling():
        return "fused" if has_fused(device.type) else _instead_of_fused(device.type)
    if foreach is not None or fused is not None or group["stages"] == 1 or torch.compiler.is_compiling():
        return "for-loop" if foreach is False or (foreach is None and not in_lists) else "foreach"
    return "fused" if has_fused(device.type) else "foreach"


def on_gpu(tensor: Tensor) -> bool:
    """Whether a fused step of this tensor is the GPU's."""
    return tensor.is_cuda


def counts_on_device(group: Group, param: Tensor) -> bool:
    """Whether the step counter lies beside the parameter: there CUDA graphs and the GPU's fused step read it."""
    return group["capturable"] or (on_gpu(param) and choose(group, param.device) == "fused")


_lack_fused: set[str] = set()  # kinds of devices on which the fused step turned out not to run


def has_fused(device_type: str) -> bool:
    """Whether there is a fused step for this kind of device: the CPU, and CUDA where Triton is installed."""
    return device_type not in _lack_fused and _should_have_fused(device_type)


@cache
def _should_have_fused(device_type: str) -> bool:
    if device_type != "cuda":
        return device_type == "cpu" and cpu.available()
    from kadam.optim import cuda  # Triton, which it imports, is slow to load

    return cuda.available()


def _instead_of_fused(device_type: str) -> Path:
    if device_type == "meta":
        raise RuntimeError("fused=True steps tensors that have elements; these params are on the device 'meta'")
    if device_type in _lack_fused:  # was said
        return "foreach"
    why = "without Triton" if device_type == "cuda" else f"on {device_type!r} devices"
    warnings.warn(f"fused=True: there is no fused step {why}; taking foreach=True instead", stacklevel=2)
    return "foreach"


def host_step(batch: Batch, hyper: Hyper, path: Path) -> None:
    """The host counts the steps, so that corrections are numbers."""
    if hyper.overflowed:
        return
    batch.count()
    batch = as_reals(batch)
    p = batch.params[0]
    draw = noise(p.dtype, p.device, batch.steps[0].item()) if hyper.stochastic_rounding else None
    if path == "fused":
        can, cannot = side_by_side(local(batch))
        if can is not None:
            cpu.fused_step_(can, hyper, draw)
        if cannot is None:
            return
        batch, path = cannot, "for-loop"
    known: dict[Ages, Stages] = {}
    stages = partial(_stages, decays=hyper.decays, known=known)
    _plain_step(batch, stages, path, hyper.factor, hyper.numbers(float), draw)


def device_step(batch: Batch, hyper: Hyper, path: Path) -> None:
    """Only the device knows the step: corrections are tensors. So CUDA graphs and compiled code count on their own."""
    if hyper.overflowed:
        return
    torch._foreach_add_(batch.steps, 1)
    batch = as_reals(batch)
    p = batch.params[0]
    draw = noise(p.dtype, p.device, None) if hyper.stochastic_rounding else None
    stages = partial(_stages_on_device, decays=hyper.decays)
    _plain_step(batch, stages, path, hyper.factor, hyper.numbers(update.widened), draw)


def cuda_step(batch: Batch, hyper: Hyper, in_one_launch: bool = False) -> None:
    """One launch; the kernel reads the step counters, which lie on the device. ``in_one_launch``: all is known to fit it."""
    from kadam.optim import cuda

    torch._foreach_add_(batch.steps, 1)
    can, cannot = (batch, None) if in_one_launch else side_by_side(local(as_reals(batch)))
    if can is not None:
        try:
            cuda.fused_step_(can, hyper)
        except cuda.DoesNotCompile as error:
            _lack_fused.add(batch.params[0].device.type)
            warnings.warn(f"{error}: taking foreach=True from here on", stacklevel=2)
            cannot = batch
    if hyper.found_inf is not None:
        torch._foreach_sub_(batch.steps, [hyper.found_inf.reshape(())] * len(batch.steps))
    if cannot is not None and not hyper.overflowed:
        torch._foreach_sub_(cannot.steps, 1)  # counted again, as part of a step of its own
        device_step(cannot, hyper, "for-loop")


def differentiable_step(batch: Batch, hyper: Hyper) -> list[Tensor]:
    """Under autograd, one parameter after another; returns the new moments, which replace the old ones."""
    batch.count()
    reals, advanced = as_reals(batch), []
    for given, p, g, row, age in zip(batch.params, reals.params, reals.grads, reals.rows(), reals.ages(), strict=True):
        wide = p.to(state_dtype(p.dtype))
        moved = wide.clone() if wide is p else wide
        grad, stages, numbers = hyper.factor * g.to(wide.dtype), _at(hyper.decays, age), hyper.numbers(update.widened)
        moments = update.kadam_differentiable_step_(moved, grad, _pairs(row), stages, **numbers)
        p.copy_(moved)
        advanced += [torch.view_as_complex(x) if given.is_complex() else x for pair in moments for x in pair]
    return advanced


def _at(decays: Sequence[Decay], age: Ages) -> Stages:
    return tuple(StageAtStep.at(*d.betas, n) for d, n in zip(decays, age, strict=True))


def _stages(batch: Batch, decays: Sequence[Decay], known: dict[Ages, Stages]) -> list[Stages]:
    """Those of every parameter; most parameters are of one age, whose stages are then computed once."""
    return [known.get(age) or known.setdefault(age, _at(decays, age)) for age in batch.ages()]


def _stages_on_device(batch: Batch, decays: Sequence[Decay]) -> list[Stages]:
    return [
        tuple(StageAtStep.at_tensor(*d.betas, step - start) for d, start in zip(decays, starts, strict=True))
        for step, starts in zip(batch.steps, batch.starts, strict=True)
    ]


def _plain_step(
    batch: Batch, stages: Callable[[Batch], list[Stages]], path: Path, factor: Number, hyper: dict[str, Any], draw: Noise | None
) -> None:
    """With torch's own operations; low-precision parameters in float32, rounded once at the end."""
    scaled = isinstance(factor, Tensor) or factor != 1.0
    if path == "foreach":
        for part in _for_lists(batch):
            wide = [p.to(state_dtype(p.dtype)) for p in part.params]
            grads = [g.to(w.dtype) for g, w in zip(part.grads, wide, strict=True)]
            grads = list(torch._foreach_mul(grads, factor)) if scaled else grads
            update.kadam_foreach_step_(wide, grads, part.moments, stages(part), **hyper)
            for p, w in zip(part.params, wide, strict=True):
                if w.dtype != p.dtype:
                    narrow_(p, w, draw)
        return
    for p, g, row, at in zip(batch.params, batch.grads, batch.rows(), stages(batch), strict=True):
        w = p.to(state_dtype(p.dtype))
        g = g.to(w.dtype)
        update.kadam_step_(w, g * factor if scaled else g, _pairs(row), at, **hyper)
        if w.dtype != p.dtype:
            narrow_(p, w, draw)


def _for_lists(batch: Batch) -> Iterator[Batch]:
    """The batch in parts such that what lists of operations make on the way is no more than one copy of the parameters.

    On a CPU the parts are smaller yet: what a part makes stays in the cache.
    """
    total = sum(p.numel() for p in batch.params)
    most = BLOCK if batch.params[0].device.type == "cpu" else -(-total // COPIES)
    if torch.compiler.is_compiling() or total <= most:
        yield batch
        return
    can, cannot = side_by_side(batch)
    if can is not None:
        yield from parts(can, most)
    if cannot is not None:
        yield cannot


def _pairs(row: list[Tensor]) -> list[Moments]:
    """(m, v) of each stage."""
    return list(zip(row[::2], row[1::2], strict=True))
