"""What the norm of a weight is made of: its products with update, momentum and gradient, kept while an ensemble trains."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from kadam.lab.engine.state import Stateful
from kadam.lab.train.ensemble import TINY, Ensemble
from kadam.theory.arguments import Array


@dataclass(frozen=True)
class Trace(Stateful):
    """Products at every step for every member, each of shape (steps, members), or (steps,) of one member."""

    norm: Array  # |W|^2 before the step
    cross: Array  # <W, u>
    square: Array  # |u|^2
    largest: Array  # max |u_i|
    momentum: Array  # <W, m^>
    momentum_square: Array  # |m^|^2
    product: Array  # <u, m^>
    normalised: Array  # |s|^2 with s = g / sqrt(v^)
    inner: Array  # <W, s>
    carried: Array  # <u, s> with the u of the step before

    @classmethod
    def empty(cls, steps: int, members: int) -> "Trace":
        return cls(*(np.zeros((steps, members)) for _ in fields(cls)))

    def of(self, member: int) -> "Trace":
        return Trace(*(getattr(self, field.name)[:, member] for field in fields(self)))


Trace.STATE = tuple(field.name for field in fields(Trace))


class Watch(Stateful):
    """One weight of an ensemble: call :meth:`before` and :meth:`after` around every step.

    Attributes: ``trace``, of the first ``members`` members, for which the device is waited for only when it is asked for; and
    of the last ``memory`` + 1 steps, newest last, each (E, size): ``weights`` before the step, ``updates``, ``gradients``.
    """

    STATE = ("trace", "weights", "updates", "gradients")

    def __init__(self, ensemble: Ensemble, path: str, *, steps: int, members: int, memory: int = 1) -> None:
        if not (memory >= 1 and 1 <= members <= len(ensemble.params[path])):
            raise ValueError(f"memory must be >= 1 and members between 1 and the ensemble's, got {memory} and {members}")
        self.ensemble, self.path, self.members = ensemble, path, members
        self._trace, self._unread = Trace.empty(steps, members), list[tuple[int, Tensor]]()
        self.weights, self.updates, self.gradients = (deque[Tensor](maxlen=memory + 1) for _ in range(3))

    @property
    def trace(self) -> Trace:
        if self._unread:
            steps, seen = zip(*self._unread, strict=True)
            for field, values in zip(fields(Trace), torch.stack(seen, 1).numpy(force=True), strict=True):
                getattr(self._trace, field.name)[list(steps)] = values
            self._unread.clear()
        return self._trace

    def before(self) -> None:
        self.weights.append(self.ensemble.params[self.path].flatten(1).clone())

    def after(self, n: int) -> None:
        """Record step number ``n`` = 0, 1, ..."""
        self.updates.append(self.ensemble.updates[self.path])
        self.gradients.append(self.ensemble.gradients[self.path])
        last = (*self.ensemble.corrected_moments(self.path), self.weights[-1], self.updates[-1], self.gradients[-1])
        m, v, w, u, g = (x[: self.members] for x in last)
        before = self.updates[-2][: self.members] if n else torch.zeros_like(u)
        s = g / (v.sqrt() + TINY)  # 0 where no gradient has come
        pairs = {"norm": (w, w), "cross": (w, u), "square": (u, u), "momentum": (w, m), "momentum_square": (m, m)}
        pairs |= {"product": (u, m), "normalised": (s, s), "inner": (w, s), "carried": (before, s)}
        seen = {name: torch.linalg.vecdot(x, y) for name, (x, y) in pairs.items()} | {"largest": u.abs().amax(1)}
        self._unread.append((n, torch.stack([seen[field.name] for field in fields(Trace)])))

    @property
    def full(self) -> bool:
        """Whether ``memory`` + 1 steps are kept."""
        return len(self.weights) == self.weights.maxlen

    def cosines(self, lags: Sequence[int]) -> Array:
        """Cosine of the weight with the gradient of so many steps before, (lags, members)."""
        pairs = [(self.weights[-1], self.gradients[-1 - lag]) for lag in lags]
        cosines = [torch.cosine_similarity(w[: self.members], g[: self.members], dim=1) for w, g in pairs]
        return torch.stack(cosines).numpy(force=True)

    def displacements(self, windows: Sequence[int]) -> tuple[Array, Array]:
        """How far the weight went in the last so many steps, Euclidean and largest entry, each (windows, members)."""
        moves = [(self.weights[-1] - self.weights[-1 - window])[: self.members] for window in windows]
        lengths, heights = [x.norm(dim=1) for x in moves], [x.abs().amax(1) for x in moves]
        return torch.stack(lengths).numpy(force=True), torch.stack(heights).numpy(force=True)

    def look_back(self, n: int, *, lr: float, lags: Sequence[int], windows: Sequence[int]) -> tuple[Array, Array, Array]:
        """After step ``n``: :meth:`cosines`, and :meth:`displacements` as shares of the way that the updates describe."""
        sizes = np.sqrt(self.trace.square), self.trace.largest
        ways = [np.stack([lr * size[n - window : n].sum(0) for window in windows]) for size in sizes]
        moved, largest = self.displacements(windows)
        return self.cosines(lags), moved / ways[0], largest / ways[1]

    def spread(self) -> Array:
        """90th over 10th percentile of sqrt(v^) among the entries: how unequal their learning rates are; (members,)."""
        _, v = self.ensemble.corrected_moments(self.path)
        low, high = torch.quantile(v[: self.members].sqrt(), torch.tensor([0.1, 0.9], dtype=v.dtype, device=v.device), dim=1)
        return (high / low).numpy(force=True)
