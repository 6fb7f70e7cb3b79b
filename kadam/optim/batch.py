"""Parameters that step together: how they are grouped, and which of them lie in memory so that addresses suffice."""

from dataclasses import dataclass, replace
from itertools import pairwise
from operator import add, attrgetter, le
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from kadam.optim.state import state_dtype
from kadam.optim.update import Tensors

# Adding a tensor to many step counters is three times as fast as adding a number.
ONE = torch.tensor(1.0, device="cpu")

NBYTES = attrgetter("nbytes")

Ages = tuple[float, ...]  # for every stage of a parameter a step: where it began, or how many it has made


@dataclass
class Batch:
    """Parameters of one group that step together. Every list has one entry a parameter, ``moments`` 2k (m, v, m_2, ...)."""

    params: Tensors
    grads: Tensors
    moments: Tensors
    steps: Tensors  # step counters, 0-dim
    starts: list[Ages]  # for each stage the step after which it began

    @property
    def width(self) -> int:
        """Moments a parameter: 2k."""
        return len(self.moments) // len(self.params)

    def rows(self) -> list[list[Tensor]]:
        """The moments of each parameter."""
        return [self.moments[t * self.width : (t + 1) * self.width] for t in range(len(self.params))]

    def count(self) -> None:
        """One step more; the counters lie on the host."""
        one = ONE if type(self.steps[0]) is Tensor else torch.tensor(1.0, device="cpu")  # such as may be added to theirs
        torch._foreach_add_(self.steps, one, alpha=1.0)

    def ages(self) -> list[Ages]:
        """The ages of each parameter's stages, read from the counters."""
        steps, starts = list(map(Tensor.item, self.steps)), self.starts
        if steps.count(steps[0]) == starts.count(starts[0]) == len(steps):  # the frequent case
            return [tuple([_age(steps[0], start) for start in starts[0]])] * len(steps)
        keys = list(zip(steps, starts, strict=True))
        known = {(step, starts): tuple([_age(step, start) for start in starts]) for step, starts in set(keys)}
        return list(map(known.__getitem__, keys))

    def select(self, which: list[int]) -> "Batch":
        rows = self.rows()
        moments = [m for t in which for m in rows[t]]
        params, grads, steps = ([tensors[t] for t in which] for tensors in (self.params, self.grads, self.steps))
        return Batch(params, grads, moments, steps, [self.starts[t] for t in which])

    def map(self, change: Any) -> "Batch":
        """With ``change`` applied to every parameter, gradient and moment."""
        params, grads, moments = ([change(t) for t in tensors] for tensors in (self.params, self.grads, self.moments))
        return replace(self, params=params, grads=grads, moments=moments)


def _age(step: float, start: float) -> float:
    """How many steps a stage has made; one whose counter was set back, as a reset does, begins with it."""
    return step - start if step > start else step


def of_a_kind(everything: Batch) -> list[Batch]:
    """The parameters in batches of one type, device, dtype and mesh, in order. A compiler does this on its own."""
    kinds = [(type(p) not in PLAIN and type(p), p.device, p.dtype, getattr(p, "device_mesh", None)) for p in everything.params]
    if kinds and (torch.compiler.is_compiling() or len(set(kinds)) == 1):
        return [everything]
    return [everything.select([t for t, other in enumerate(kinds) if other == kind]) for kind in dict.fromkeys(kinds)]


def apart(batch: Batch) -> list[Batch]:
    """The batch in parts, to be stepped in order, within which no two parameters share memory.

    Weights that are tied through ``.data`` do, and overlapping views: each takes its step, one after another.
    """
    if torch.compiler.is_compiling():  # which asks for no addresses
        return [batch.select([t]) for t in range(len(batch.params))]
    part, end = [0] * len(batch.params), 0
    together: list[int] = []  # parameters of one stretch of memory
    for start, stop, t in _stretches(batch.params):
        together = [*together, t] if start < end else [t]
        end = max(end, stop)
        for turn, member in enumerate(sorted(together)):
            part[member] = turn
    return [batch.select([t for t, turn in enumerate(part) if turn == now]) for now in range(max(part) + 1)]


def share_memory(params: Tensors) -> bool:
    """Whether any two parameters may have elements in common."""
    if set(map(type, params)) <= PLAIN and all(map(Tensor.is_contiguous, params)):  # the frequent case
        begin = list(map(Tensor.data_ptr, params))
        end = sorted(map(add, begin, map(NBYTES, params)))
        if all(map(le, end, sorted(begin)[1:])):  # each ends before as many others have begun
            return False
    return any(one[1] > other[0] for one, other in pairwise(_stretches(params)))


def _stretches(params: Tensors) -> list[tuple[int, int, int]]:
    """Begin, end and number of every parameter whose memory is known, in the order of memory."""
    return sorted((*stretch, t) for t, p in enumerate(params) if (stretch := _stretch(p)) is not None)


def _stretch(param: Tensor) -> tuple[int, int] | None:
    """Where the first element of a plain tensor, or of a distributed one's shard, begins and the last one ends."""
    param = param.to_local() if is_distributed(param) else param  # type: ignore[attr-defined]
    if type(param) not in PLAIN or param.is_meta or not param.numel():
        return None
    start = param.data_ptr()
    if param.is_contiguous():
        return start, start + param.nbytes
    last = sum((n - 1) * step for n, step in zip(param.shape, param.stride(), strict=True))
    return start, start + (last + 1) * param.element_size()


def as_reals(batch: Batch) -> Batch:
    """Complex tensors seen as two reals each."""
    if not any(map(torch.is_complex, batch.params)):
        return batch
    batch = replace(batch, grads=[g.resolve_conj() for g in batch.grads])
    return batch.map(lambda t: torch.view_as_real(t) if t.is_complex() else t)


# Distributed parameters


def is_distributed(tensor: Tensor) -> bool:
    return hasattr(tensor, "to_local")


def aligned(batch: Batch) -> Batch:
    """With the gradients of distributed parameters placed as these are: not every operation in place does it itself."""
    if torch.compiler.is_compiling() or not is_distributed(batch.params[0]):
        return batch
    pairs: Any = zip(batch.params, batch.grads, strict=True)
    return replace(batch, grads=[g.redistribute(placements=p.placements) if is_distributed(g) else g for p, g in pairs])


def local(batch: Batch) -> Batch:
    """The shards that this process holds of distributed parameters, where gradient and moments are sharded alike."""
    if not any(map(is_distributed, batch.params)):
        return batch
    columns = zip(batch.params, batch.grads, batch.rows(), strict=True)
    shards = [_shards([p, g, *row]) for p, g, row in columns]
    moments = [m for row in shards for m in row[2:]]
    return replace(batch, params=[row[0] for row in shards], grads=[row[1] for row in shards], moments=moments)


def _shards(row: list[Any]) -> list[Tensor]:
    alike = all(is_distributed(t) and t.placements == row[0].placements for t in row)
    return [t.to_local() for t in row] if alike else row


# Where the elements lie in memory

PLAIN = {Tensor, Parameter}  # not subclasses, whose elements may lie elsewhere


def side_by_side(batch: Batch) -> tuple[Batch | None, Batch | None]:
    """The parameters that, with gradient and moments, are plain tensors whose elements lie in one order; and the others."""
    if all_contiguous(batch):
        return batch, None
    can = [_lie_side_by_side(*row) for row in zip(batch.params, batch.grads, batch.rows(), strict=True)]
    these, others = ([t for t, yes in enumerate(can) if yes is wanted] for wanted in (True, False))
    return batch.select(these) if these else None, batch.select(others) if others else None


def all_contiguous(batch: Batch) -> bool:
    """The frequent case, decided without looking at every parameter on its own."""
    width, dtype = batch.width, batch.params[0].dtype
    lists = [batch.params, batch.grads, *(batch.moments[j::width] for j in range(width))]
    everything = [t for tensors in lists for t in tensors]
    sizes = [list(map(Tensor.numel, tensors)) for tensors in lists]
    return (
        all(map(Tensor.is_contiguous, everything))
        and set(map(type, everything)) <= PLAIN
        and all(size == sizes[0] for size in sizes)
        and {t.dtype for t in batch.grads} == {dtype}
        and {t.dtype for t in batch.moments} == {state_dtype(dtype)}
        and len({t.device for t in everything}) == 1
        and not any(map(Tensor.is_neg, batch.grads))
    )


def _lie_side_by_side(p: Tensor, g: Tensor, row: list[Tensor]) -> bool:
    return (
        {type(t) for t in (p, g, *row)} <= PLAIN
        and g.dtype == p.dtype
        and {m.dtype for m in row} == {state_dtype(p.dtype)}
        and all(t.shape == p.shape and _same_order(t, p) and t.device == p.device for t in (g, *row))
        and bool(torch.ops.aten.is_non_overlapping_and_dense(p))
        and not g.is_neg()
    )


def _same_order(a: Tensor, b: Tensor) -> bool:
    """Equal strides; along a dimension of size 1 there is no step to take."""
    return all(n == 1 or x == y for n, x, y in zip(a.shape, a.stride(), b.stride(), strict=True))
