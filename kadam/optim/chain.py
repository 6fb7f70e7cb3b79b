"""k-Adam's fused step on CPU where numba's kernel does not serve: torch's own fused AdamW step, chained over the stages.

On a scratch block of zeros with learning rate -1 it leaves a stage's output there; the last stage moves the parameter.
"""

import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from kadam.decay import Decay
from kadam.optim.arguments import Hyper
from kadam.optim.batch import Batch
from kadam.optim.state import state_dtype
from kadam.optim.update import Tensors

# Elements of a scratch block, 4 MiB of float32: it stays in the cache between two stages, and waking the threads for it
# costs little (of 2^17 to 2^21 the fastest). A multiple of every vector width, so that splitting a tensor changes no bit.
BLOCK = 2**20


def chained_step_(batch: Batch, hyper: Hyper) -> None:
    """One step, in place, on what :func:`kadam.optim.batch.side_by_side` gives; gradients are not written to."""
    params, grads, ages, k = batch.params, batch.grads, batch.ages(), len(hyper.decays)
    (lr, eps, weight_decay), factor = hyper.numbers(float).values(), float(hyper.factor)
    sizes, real = [p.numel() for p in params], state_dtype(params[0].dtype)
    without_scratch = k == 1 and abs(factor) == 1.0 and real == params[0].dtype
    for part in _parts(sizes, sum(sizes) if without_scratch else BLOCK):
        p = [_slice(params[t], a, b) for t, a, b in part]
        g = [_slice(grads[t], a, b) for t, a, b in part]
        age = [ages[t] for t, _, _ in part]
        ms = [[_slice(batch.moments[2 * k * t + j], a, b) for t, a, b in part] for j in range(2 * k)]
        scratch = _Scratch([b - a for _, a, b in part], real)
        maximize = factor == -1.0
        u = g if p[0].dtype == real and abs(factor) == 1.0 else scratch.scaled(g, 1.0 if maximize else factor)
        for i, decay in enumerate(hyper.decays[:-1]):
            inner: Any = {"lr": -1.0, "eps": eps, "weight_decay": 0.0, "maximize": maximize and i == 0}
            u = _adam(scratch.zeros(), u, ms[2 * i : 2 * i + 2], decay, [a[i] for a in age], **inner)
        last: Any = {"lr": lr, "eps": eps, "weight_decay": weight_decay, "maximize": maximize and k == 1}
        target = p if p[0].dtype == real else scratch.copies(p)
        _adam(target, u, ms[-2:], hyper.decays[-1], [a[-1] for a in age], **last)
        if target is not p:
            torch._foreach_copy_([_flat(x) for x in p], target)


def _adam(target: Tensors, x: Tensors, moments: list[Tensors], decay: Decay, age: list[float], **options: Any) -> Tensors:
    """torch's fused AdamW step of ``target`` with ``x`` as gradient; returns ``target``."""
    beta1, beta2 = decay.betas
    counters = {a: torch.tensor(a, dtype=torch.float32, device="cpu") for a in set(age)}
    steps = [counters[a] for a in age]
    torch._fused_adamw_(target, x, moments[0], moments[1], [], steps, beta1=beta1, beta2=beta2, amsgrad=False, **options)
    return target


def _parts(sizes: list[int], block: int) -> Iterator[list[tuple[int, int, int]]]:
    """The elements of all tensors in parts of at most ``block`` elements: lists of (tensor, start, stop)."""
    part: list[tuple[int, int, int]] = []
    room = block
    for t, size in enumerate(sizes):
        for start in range(0, size, max(block, 1)):
            stop = min(start + block, size)
            if stop - start > room:
                yield part
                part, room = [], block
            part.append((t, start, stop))
            room -= stop - start
    if part:
        yield part


def _slice(tensor: Tensor, start: int, stop: int) -> Tensor:
    """Elements start..stop of a dense tensor in the order of its memory; the tensor itself where these are all."""
    return tensor if stop - start == tensor.numel() else _flat(tensor)[start:stop]


def _flat(tensor: Tensor) -> Tensor:
    return tensor.as_strided((tensor.numel(),), (1,))


class _Scratch:
    """Two blocks of scratch, cut to the sizes of a part; kept for the next part and the next step of this thread."""

    _kept = threading.local()

    def __init__(self, sizes: list[int], dtype: torch.dtype) -> None:
        kept: dict[Any, Tensor] = self._kept.__dict__
        self._sizes, n, keys = sizes, sum(sizes), ((0, dtype), (1, dtype))
        for key in keys:
            if key not in kept or len(kept[key]) < n:
                kept[key] = torch.empty(n, dtype=dtype, device="cpu")
        self._blocks = [kept[key][:n] for key in keys]

    def _next(self) -> Tensor:
        self._blocks.reverse()
        return self._blocks[0]

    def zeros(self) -> Tensors:
        return list(self._next().zero_().split(self._sizes))

    def scaled(self, grads: Tensors, factor: float) -> Tensors:
        """factor * grads in this scratch's dtype."""
        u = self.copies(grads)
        torch._foreach_mul_(u, factor)
        return u

    def copies(self, tensors: Tensors) -> Tensors:
        views = list(self._next().split(self._sizes))
        torch._foreach_copy_(views, [_flat(t) for t in tensors])
        return views
