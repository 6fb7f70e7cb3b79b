"""Sums over the rows of parameters: computed block by block, so that temporaries stay small, and gathered by layer.

Rows of one length are measured together, whatever parameter they are of: a network has few lengths. On a CPU with numba the
kernel measures all rows of a large model in one pass instead.
"""

import importlib
import math
import warnings
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from kadam.monitor.reading import Kind, Number, Piece, Reading, corrections, views, widest

# Elements of a block. On a CPU its temporaries stay in the cache; on a GPU they are some hundred megabytes at most.
BLOCK, LARGE_BLOCK = {"cpu": 2**17}, 2**22

# A reading of fewer elements is copied beside others, a larger one is measured where it lies.
SMALL = 2**15

# From so many weights on there is the kernel. In a first process it takes some three seconds to compile, in a later one half a
# second to load, and it saves some four nanoseconds a weight and measurement.
LARGE: float = 2**19

# Lines of a table of rows. All are sums but the last, which is a maximum.
SUMS = ("size", "update", "momentum", "weight", "second", "above", "silent", "along", "outside")
LINE = {name: i for i, name in enumerate((*SUMS, "largest"))}

PLAIN = {Tensor, Parameter}  # not subclasses, whose elements may lie elsewhere


def tables(readings: list[Reading]) -> tuple[list[int], Tensor]:
    """A table of all rows, (10, rows), its lines those of ``LINE``, in float64 where the device has it; and of which readings
    they are: those of the first number, then those of the second, and so on.

    size: elements; update, momentum, weight: sums of squares; second: sum; above: how many |u| > 1; silent: how many gradients
    are zero; along: weight times update; outside: how many weights are larger than 1/weight_decay; largest: of |u|.
    """
    able = {i for i, r in enumerate(readings) if _can_pass_once(r)}
    once = able if sum(readings[i].weight.numel() for i in able) >= LARGE else set()
    buckets: dict[Any, list[int]] = {}
    for i, r in enumerate(readings):
        length = None if i in once and _kernel(r.weight.dtype) else r.shape[1]
        age, alone = None if isinstance(r.age, Tensor) else r.age, i if r.more else None
        key = (length, r.kind, age, r.weight.dtype, r.momentum.dtype, r.gradient.dtype, alone)
        buckets.setdefault(key, []).append(i)
    each = [_finished([readings[i] for i in together], key[0] is None) for key, together in buckets.items()]
    return [i for together in buckets.values() for i in together], torch.cat(each, 1)


def _finished(readings: list[Reading], once: bool) -> Tensor:
    """The table of some of one kind, updates to scale."""
    scale, floor = _per_row(readings)
    table = (_passed_once if once else _measured)(readings, scale, floor)
    if isinstance(scale, Tensor):
        scale = scale[:, 0].to(table.dtype)
    for name, power in (("update", 2), ("along", 1), ("largest", 1)):
        table[LINE[name]] *= scale**power
    return table


# In one pass, by the kernel


def _can_pass_once(r: Reading) -> bool:
    """Whether the kernel knows such an update, and finds its numbers by their addresses."""
    dtype = r.weight.dtype
    return (
        r.kind.form in ("adam", "amsgrad")
        and not isinstance(r.age, Tensor)
        and dtype in (torch.float32, torch.float64)
        and set(map(type, r.tensors)) <= PLAIN
        and all(t.is_cpu and t.dtype is dtype and t.is_contiguous() and not t.is_neg() for t in r.tensors)
    )


def _passed_once(readings: list[Reading], scale: Any, floor: Any) -> Tensor:
    """The table of some of one dtype and age."""
    places = np.array([list(map(Tensor.data_ptr, r.tensors)) for r in readings])
    shapes = np.array([r.shape for r in readings])
    table = np.empty((shapes[:, 0].sum(), len(LINE)))
    _kernel(readings[0].weight.dtype)(places, shapes, (floor, 1 / scale, readings[0].kind.box), table)
    return torch.from_numpy(table).T


@cache
def _kernel(dtype: torch.dtype) -> Any:
    """numba's for this dtype, compiled by its first launch; nothing where numba is not there or does not work."""
    real = np.float64 if dtype is torch.float64 else np.float32
    try:
        kernel = partial(importlib.import_module("kadam.monitor.kernel").fill, real)
        kernel(np.empty((0, 4), np.int64), np.empty((0, 2), np.int64), (0.0, 1.0, 1.0), np.empty((0, len(LINE))))
        return kernel
    except Exception as error:
        if not (isinstance(error, ImportError) and error.name == "numba"):
            warnings.warn(f"numba cannot be used ({error}): the monitor measures without it", stacklevel=2)
        return None


# Block by block


def _measured(readings: list[Reading], scale: Number, floor: Number) -> Tensor:
    """The table of these readings, which are of one length, block by block: updates not yet to scale.

    Norms are found in the precision of the moments, and squared where there is float64 in that: squares may vanish.
    """
    rows = sum(r.shape[0] for r in readings)
    table = torch.empty(len(LINE), rows, dtype=_wide(readings[0]), device=readings[0].weight.device)
    row = 0
    for piece in _blocks(readings):
        here = slice(row, row := row + len(piece[0]))
        each = (x[here] if isinstance(x, Tensor) else x for x in (scale, floor))
        _fill(table[:, here], piece, readings[0], *each)
    table = table.to(widest(table.device))
    table[1:4].square_()
    table[0] = readings[0].shape[1]
    return table


def _per_row(readings: list[Reading]) -> tuple[Number, Number]:
    """``scale`` and ``floor``: numbers as all are of one age, or, where a device counts the steps, one a row, (rows, 1)."""
    kind, ages = readings[0].kind, [r.age for r in readings]
    if not isinstance(ages[0], Tensor):
        return corrections(kind, ages[0])
    device, counts = ages[0].device, [r.shape[0] for r in readings]
    row = torch.repeat_interleave(torch.tensor(counts).to(device, non_blocking=True), output_size=sum(counts))
    each = (torch.as_tensor(x, device=device).expand(len(ages)) for x in corrections(kind, numbers(ages, device)))
    scale, floor = (x[row][:, None].to(_wide(readings[0])) for x in each)
    return scale, floor


def numbers(values: Sequence[Number], device: torch.device) -> Tensor:
    """A vector on the device of numbers that are there or on the host; nothing waits."""
    if not any(isinstance(value, Tensor) for value in values):
        return torch.as_tensor(np.array(values, float), dtype=widest(device)).to(device, non_blocking=True)
    return torch.stack([torch.as_tensor(value, dtype=widest(device)).to(device, non_blocking=True) for value in values])


def _blocks(readings: list[Reading]) -> Iterator[Piece]:
    """Views of large readings by rows, and copies of small ones side by side."""
    waiting: list[Reading] = []
    limit, held = BLOCK.get(readings[0].weight.device.type, LARGE_BLOCK), 0
    for r in readings:
        small = r.weight.numel() < SMALL
        if waiting and (not small or held + r.weight.numel() > limit):
            yield _joined(waiting)
            waiting, held = [], 0
        if not small:
            rows = max(1, limit // r.shape[1])
            yield from zip(*(t.split(rows) for t in views(r)), strict=True)
        else:
            waiting.append(r)
            held += r.weight.numel()
    if waiting:
        yield _joined(waiting)


def _joined(readings: list[Reading]) -> Piece:
    if len(readings) == 1:
        return views(readings[0])
    return tuple(map(torch.cat, zip(*map(views, readings), strict=True)))


def _fill(table: Tensor, piece: Piece, reading: Reading, scale: Number, floor: Number) -> None:
    """The table of one block; a row that is longer than a block is measured in parts."""
    limit = BLOCK.get(table.device.type, LARGE_BLOCK)
    first, *others = zip(*(t.split(limit, 1) for t in piece), strict=True)
    _sum(table, first, reading, scale, floor)
    for other in others:
        _sum(part := torch.empty_like(table), other, reading, scale, floor)
        table[1:4] = torch.hypot(table[1:4], part[1:4])
        table[4:-1] += part[4:-1]
        torch.maximum(table[-1], part[-1], out=table[-1])


def _wide(reading: Reading) -> torch.dtype:
    """Moments of low precision are computed with in float32."""
    dtype = reading.momentum.dtype
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


def _sum(table: Tensor, piece: Piece, reading: Reading, scale: Number, floor: Number) -> None:
    """All lines of the table but the first, which is known; norms are not yet squared, updates not yet scaled."""
    kind, wide = reading.kind, _wide(reading)
    weight, momentum, second, gradient = (t if t.dtype is wide else t.to(wide) for t in piece)
    _, update, momenta, weights, seconds, above, silent, along, outside, largest = table
    u = _update(kind, reading.more, (weight, momentum, second, gradient), scale, floor)
    for x, line in ((u, update), (momentum, momenta), (weight, weights)):
        torch.linalg.vector_norm(x, 2, 1, out=line)
    torch.sum(second, 1, out=seconds)
    work = torch.mul(weight, u)
    torch.sum(work, 1, out=along)
    if u.numel():
        torch.amax(u.abs_(), 1, out=largest)
    else:
        largest.zero_()
    _count_above(u, 1 / scale, largest, above, u)  # an update of 1, before scaling
    torch.sum(torch.eq(gradient, 0, out=work), 1, out=silent)
    if kind.box == math.inf:
        outside.zero_()
    else:
        _count_above(weight, kind.box, weights, outside, work)


def _count_above(x: Tensor, least: Number, bound: Tensor, found: Tensor, work: Tensor) -> None:
    """How many of each row are larger in size; ``bound`` is not below any number, and a host may see there are none."""
    if x.device.type == "cpu" and bool((bound <= (least[:, 0] if isinstance(least, Tensor) else least)).all()):
        found.zero_()
    else:
        sizes = x if work is x else torch.abs(x, out=work)
        torch.sum(torch.gt(sizes, least, out=sizes), 1, out=found)


def _update(kind: Kind, more: tuple[Number, ...], piece: Piece, scale: Number, floor: Number) -> Tensor:
    """u without its scale; a new tensor."""
    weight, momentum, second, gradient = piece
    bottom = second.clone() if kind.form == "adamax" else second.sqrt()
    if isinstance(floor, Tensor) or floor:
        bottom.add_(floor)
    if not more:
        return torch.div(momentum, bottom, out=bottom)
    a, b, coupled, lr = more
    top = a * gradient + b * momentum
    if not isinstance(coupled, Tensor) and coupled == 0:
        return top.div_(bottom)
    return (top + coupled * weight).div_(bottom - coupled * lr * scale)
