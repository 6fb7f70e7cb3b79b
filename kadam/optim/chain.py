"""k-Adam's fused step on CPU where numba's kernel does not serve: torch's own fused AdamW step, chained over the stages.

On a scratch block of zeros with learning rate -1 it leaves a stage's output there; the last stage moves the parameter.
"""

import threading
from typing import Any

import torch
from torch import Tensor

from kadam.decay import Decay
from kadam.optim.arguments import Hyper
from kadam.optim.batch import Batch
from kadam.optim.parts import flat, parts
from kadam.optim.rounding import Noise, narrow_
from kadam.optim.state import state_dtype
from kadam.optim.update import Tensors

# Elements of a scratch block, 4 MiB of float32: it stays in the cache between two stages, and waking the threads for it
# costs little (of 2^17 to 2^21 the fastest).
BLOCK = 2**20


def chained_step_(batch: Batch, hyper: Hyper, draw: Noise | None) -> None:
    """One step, in place, on what :func:`kadam.optim.batch.side_by_side` gives; gradients are not written to."""
    dtype, k = batch.params[0].dtype, len(hyper.decays)
    (lr, eps, weight_decay), factor = hyper.numbers(float).values(), float(hyper.factor)
    real, same_size = state_dtype(dtype), abs(factor) == 1.0
    for part in parts(batch, BLOCK if k > 1 or not same_size or real != dtype else None):
        ages, ms = part.ages(), [part.moments[j :: 2 * k] for j in range(2 * k)]
        scratch = _Scratch([p.numel() for p in part.params], real)
        maximize = factor == -1.0
        u = part.grads if dtype == real and same_size else scratch.scaled(part.grads, 1.0 if maximize else factor)
        for i, decay in enumerate(hyper.decays[:-1]):
            inner: Any = {"lr": -1.0, "eps": eps, "weight_decay": 0.0, "maximize": maximize and i == 0}
            u = _adam(scratch.zeros(), u, ms[2 * i : 2 * i + 2], decay, [a[i] for a in ages], **inner)
        last: Any = {"lr": lr, "eps": eps, "weight_decay": weight_decay, "maximize": maximize and k == 1}
        target = part.params if dtype == real else scratch.copies(part.params)
        _adam(target, u, ms[-2:], hyper.decays[-1], [a[-1] for a in ages], **last)
        if dtype != real:
            for p, wide in zip(part.params, target, strict=True):
                narrow_(flat(p), wide, draw)


def _adam(target: Tensors, x: Tensors, moments: list[Tensors], decay: Decay, age: list[float], **options: Any) -> Tensors:
    """torch's fused AdamW step of ``target`` with ``x`` as gradient; returns ``target``."""
    beta1, beta2 = decay.betas
    counters = {a: torch.tensor(a, dtype=torch.float32, device="cpu") for a in set(age)}
    steps = [counters[a] for a in age]
    torch._fused_adamw_(target, x, moments[0], moments[1], [], steps, beta1=beta1, beta2=beta2, amsgrad=False, **options)
    return target


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
        torch._foreach_copy_(views, [flat(t) for t in tensors])
        return views
