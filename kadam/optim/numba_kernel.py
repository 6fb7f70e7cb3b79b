"""k-Adam in one pass over memory, compiled by numba: every moment is read and written once, whatever k is.

One launch takes the whole list of parameters by their addresses. Each thread takes an equal share of all elements
and goes through it in blocks that stay in the cache; within a block the stages follow one another, each in a loop of its
own: so a loop has few pointers, and LLVM can check that they do not overlap and vectorise. Strict floating
point: no reassociation, so results repeat bit for bit and do not depend on the number of threads.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from kadam.compiled import first_alone, kept, pointer, strict

Array = NDArray[Any]

# Elements of a block, measured on a Zen 5 server with 10M parameters. Up to about 11 streams of memory the processor
# follows while the kernel switches between them often, and short blocks are fastest (of 64 to 16384 elements); beyond
# that it loses them at every switch, and long blocks are.
SHORT, LONG = 128, 16_384
MOST_STAGES_IN_SHORT = 4
ALIGN = 16  # elements; shares begin at multiples of it, so that no two threads write to one cache line
SMALL = 32_768  # elements below which waking other threads costs more than they bring


@strict
def _advance(x, m, v, stage, eps):  # type: ignore[no-untyped-def]
    """One element through one stage: its new moments and its output."""
    weight1, beta2, weight2, scale1, scale2 = stage
    m = m + weight1 * (x - m)
    v = beta2 * v + weight2 * x * x
    return m, v, m * scale1 / (math.sqrt(v) * scale2 + eps)


@strict
def _only(p, g, m, v, stage, lr, keep, eps, factor):  # type: ignore[no-untyped-def]
    for j in range(len(p)):
        m[j], v[j], u = _advance(factor * g[j], m[j], v[j], stage, eps)
        p[j] = keep * p[j] - lr * u


@strict
def _first(u, g, m, v, stage, eps, factor):  # type: ignore[no-untyped-def]
    for j in range(len(u)):
        m[j], v[j], u[j] = _advance(factor * g[j], m[j], v[j], stage, eps)


@strict
def _middle(u, m, v, stage, eps):  # type: ignore[no-untyped-def]
    for j in range(len(u)):
        m[j], v[j], u[j] = _advance(u[j], m[j], v[j], stage, eps)


@strict
def _last(p, u, m, v, stage, lr, keep, eps):  # type: ignore[no-untyped-def]
    for j in range(len(p)):
        m[j], v[j], x = _advance(u[j], m[j], v[j], stage, eps)
        p[j] = keep * p[j] - lr * x


@strict
def _stretch(p_at, g_at, moments_at, start, stop, stages, scalars, scratch):  # type: ignore[no-untyped-def]
    """Elements start..stop of one parameter, block by block."""
    lr, keep, eps, factor = scalars[0], scalars[1], scalars[2], scalars[3]
    k, dtype, block = len(stages), scratch.dtype, len(scratch)
    p, g = numba.carray(pointer(p_at), stop, dtype), numba.carray(pointer(g_at), stop, dtype)
    for a in range(start, stop, block):
        b = min(a + block, stop)
        u = scratch[: b - a]
        for i in range(k):
            m = numba.carray(pointer(moments_at[2 * i]), stop, dtype)[a:b]
            v = numba.carray(pointer(moments_at[2 * i + 1]), stop, dtype)[a:b]
            s = stages[i]
            stage = (s[0], s[1], s[2], s[3], s[4])
            if k == 1:
                _only(p[a:b], g[a:b], m, v, stage, lr, keep, eps, factor)
            elif i == 0:
                _first(u, g[a:b], m, v, stage, eps, factor)
            elif i < k - 1:
                _middle(u, m, v, stage, eps)
            else:
                _last(p[a:b], u, m, v, stage, lr, keep, eps)


@kept()
def _share(addresses, sizes, rows, stages, scalars, thread, threads):  # type: ignore[no-untyped-def]
    """What one thread does: its share of the elements of all parameters."""
    n, k = len(sizes), stages.shape[1]
    each = sizes.sum() // threads // ALIGN * ALIGN
    begin = thread * each
    end = begin + each if thread < threads - 1 else sizes.sum()
    scratch = np.empty(SHORT if 2 <= k <= MOST_STAGES_IN_SHORT else LONG, scalars.dtype)
    before = 0
    for t in range(n):
        start, stop = max(begin - before, 0), min(end - before, sizes[t])
        if start < stop:
            moments_at = addresses[2 * n + 2 * k * t : 2 * n + 2 * k * (t + 1)]
            _stretch(addresses[t], addresses[n + t], moments_at, start, stop, stages[rows[t]], scalars, scratch)
        before += sizes[t]


@kept(parallel=True)
def _shares(addresses, sizes, rows, stages, scalars, threads):  # type: ignore[no-untyped-def]
    for thread in numba.prange(threads):
        _share(addresses, sizes, rows, stages, scalars, thread, threads)


_one_launch = Lock()  # one of numba's threading layers dies of two launches at once
_forked = False  # and another one of a launch in a child of fork
_layer = ""  # which one this process has; numba says it after the first launch


def _mark_forked() -> None:
    global _forked, _one_launch
    _forked, _one_launch = True, Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked)


def launch(addresses: Array, sizes: Array, rows: Array, stages: Array, scalars: Array, threads: int) -> None:
    """One step of n parameters with k stages, in place.

    ``addresses``: int64 (n + n + 2kn,): all parameters, all gradients, then the moments, 2k a parameter. Behind each
    lie ``sizes[t]`` elements of the dtype of ``scalars``. ``stages``: (r, k, 5) of (1-beta1, beta2, 1-beta2, 1/correction1,
    1/correction2), of which parameter t takes row ``rows[t]``. ``scalars``: (lr, 1 - lr weight_decay, eps, factor on
    gradients).
    """
    given = (addresses, sizes, rows, stages, scalars)
    in_one = threads == 1 or _forked or sizes.sum() < SMALL
    with first_alone(_share, (scalars.dtype, in_one)):
        _launch(given, threads, in_one)


def _launch(given: tuple[Any, ...], threads: int, in_one: bool) -> None:
    if in_one:
        _share(*given, 0, 1)
    elif _layer == "workqueue":
        _in_threads(given, threads)
    else:
        with _one_launch:
            _shares(*given, threads)
        _note_layer()


def _in_threads(given: tuple[Any, ...], threads: int) -> None:
    """With Python's threads: the layer named workqueue ends the process where the user's own code launches at the same time."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda thread: _share(*given, thread, threads), range(threads)))


def _note_layer() -> None:
    global _layer
    _layer = _layer or numba.threading_layer()
