"""Sums over rows in one pass over memory, compiled by numba: an update is made in the cache, summed up there and forgotten."""

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from kadam.compiled import STRICT, first_alone, kept, pointer, strict

Array = NDArray[Any]

# Elements of a block: its updates stay in the nearest cache. Of 128 to 4096, measured with 10M weights on a Zen 4 server.
BLOCK = 512

in_any_order = numba.njit(**STRICT, fastmath={"reassoc", "nsz"})  # additions: only so can they be vectorised


@strict
def _update(u, momentum, second, floor):  # type: ignore[no-untyped-def]
    for j in range(len(u)):
        u[j] = momentum[j] / (math.sqrt(second[j]) + floor)


@in_any_order
def _add(line, u, weight, momentum, second, gradient, least, box):  # type: ignore[no-untyped-def]
    """A block's sums, in its own precision, to those of its row."""
    none, one = u.dtype.type(0), u.dtype.type(1)
    updates = momenta = weights = seconds = above = silent = along = outside = none
    for j in range(len(u)):
        updates += u[j] * u[j]
        momenta += momentum[j] * momentum[j]
        weights += weight[j] * weight[j]
        seconds += second[j]
        above += one if abs(u[j]) > least else none
        silent += one if gradient[j] == none else none
        along += weight[j] * u[j]
        outside += one if abs(weight[j]) > box else none
    for i, x in enumerate((updates, momenta, weights, seconds, above, silent, along, outside)):
        line[i + 1] += x


@strict
def _largest(bits, mask):  # type: ignore[no-untyped-def]
    """Of sizes as the bits below their signs: whole numbers of the same order, and largest what is no number."""
    largest = mask & 0
    for j in range(len(bits)):
        largest = max(largest, bits[j] & mask)
    return largest


@kept()
def _fill(places, shapes, numbers, u, bits, table):  # type: ignore[no-untyped-def]
    row, mask = 0, np.iinfo(bits.dtype).max
    floor, least, box = numbers
    for t in range(len(places)):
        rows, columns = shapes[t]
        w = numba.carray(pointer(places[t, 0]), rows * columns, u.dtype)
        m = numba.carray(pointer(places[t, 1]), rows * columns, u.dtype)
        v = numba.carray(pointer(places[t, 2]), rows * columns, u.dtype)
        g = numba.carray(pointer(places[t, 3]), rows * columns, u.dtype)
        for a in range(0, rows * columns, columns):
            table[row], u[BLOCK] = 0, 0
            for b in range(a, a + columns, BLOCK):
                c = min(b + BLOCK, a + columns)
                _update(u[: c - b], m[b:c], v[b:c], floor)
                _add(table[row], u[: c - b], w[b:c], m[b:c], v[b:c], g[b:c], least, box)
                bits[BLOCK] = max(bits[BLOCK], _largest(bits[: c - b], mask))
            table[row, 0], table[row, 9] = columns, u[BLOCK]
            row += 1


def fill(real: Any, places: Array, shapes: Array, numbers: tuple[float, float, float], table: Array) -> None:
    """The table (all rows, 10) of some readings, its columns in the order of :data:`kadam.monitor.rows.LINE`.

    ``places``: int64 (readings, 4), addresses of weight, momentum, second moment and gradient, behind each of which lie
    ``shapes``: int64 (readings, 2), so many rows and columns of the type ``real``. ``numbers``: the floor, the box, and between
    them the size of what is 1 when updates are brought to scale, which they are not yet.
    """
    u = np.empty(BLOCK + 1, real)  # of a block, and the largest so far in its row
    with first_alone(_fill, real):
        _fill(places, shapes, tuple(map(real, numbers)), u, u.view(f"i{u.itemsize}"), table)
