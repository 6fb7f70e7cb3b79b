"""k-Adam's fused step on CUDA: one launch of a Triton kernel takes a whole list of parameters through all their stages.

Each moment is read and written once, whatever k is. The kernel finds its way by tables on the device: a row for every
parameter holds the addresses of all that belongs to it, and a chunk for every program of the launch names a row and a
block of elements. Tables are made anew only when something that they hold changes. The step is read on the device, so
a CUDA graph that captured a launch counts on.

Roots and quotients are rounded to nearest, and no product and sum are fused: results are those of
:mod:`kadam.optim.update` up to the order of a few operations. Triton's interpreter runs the same kernel on CPU
tensors: set TRITON_INTERPRET=1 before Triton is imported.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from kadam.decay import Decay
from kadam.optim.arguments import Hyper
from kadam.optim.batch import Batch
from kadam.optim.state import state_dtype
from kadam.optim.update import widened

try:
    import triton
    import triton.language as tl
except ImportError:  # no Triton for this platform, or none installed
    triton, tl = None, SimpleNamespace(constexpr=None)

# Elements of a block: 16 for each of a program's 128 threads, four loads of 128 bits from a float32 moment. What is left
# of a parameter, and one that lies at an odd address, goes in smaller steps, with the threads side by side.
BLOCK, REST = 2048, 512
OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}

KEPT = 128  # tables; a parameter group takes four, and its gradients may alternate between a few places
RESERVED = 16  # tables of a shape: so many groups of equal shapes may be captured at once

jit: Callable[..., Any] = (lambda function: function) if triton is None else triton.jit


_launched: set[tuple[Any, ...]] = set()  # versions of the kernel that are known to run


class DoesNotCompile(RuntimeError):
    """This machine cannot compile or start the kernel. Nothing has moved."""


def available() -> bool:
    """Whether Triton is there with something to run on: NVIDIA's CUDA, or its own interpreter."""
    if triton is None:
        return False
    interpreted = not isinstance(kadam_kernel, triton.JITFunction)
    return interpreted or (torch.version.cuda is not None and torch.cuda.is_available())


def fused_step_(batch: Batch, hyper: Hyper) -> None:
    """One step on dense parameters of one device and dtype, in place. The host never waits for the device.

    Gradients and moments have their parameter's shape and strides. The step counters lie on the device and count this
    step. Where ``found_inf`` is not 0 nothing is written; it and ``grad_scale`` are one float32 element each.
    """
    params, sizes = batch.params, tuple(map(Tensor.numel, batch.params))
    if not any(sizes):
        return
    device, steps = params[0].device, batch.steps
    if len({step.dtype for step in steps}) > 1:
        steps = [step.double() for step in steps]
    lr, eps, weight_decay = hyper.numbers(widened).values()
    addresses = tuple(map(Tensor.data_ptr, chain(params, batch.grads, steps, batch.moments)))
    with torch.cuda.device_of(params[0]):
        chunks = _table(_chunks, (sizes,), device)
        rows = _table(_rows, (addresses, sizes, tuple(batch.starts)), device)
        numbers = _table(_numbers, (float(weight_decay), float(eps), *hyper.decays), device)
        readable = isinstance(lr, Tensor) and lr.device == device
        rate = lr if readable else _table(_one, (float(lr),), device)  # one on the host may be read by the host
        given = (chunks, rows, numbers, rate, hyper.grad_scale, hyper.found_inf)
        fixed = constants(len(hyper.decays), params[0].dtype, steps[0].dtype, hyper.maximize, hyper.stochastic_rounding)
        version = tuple(fixed.values())
        try:
            kadam_kernel[(len(chunks),)](*given, **fixed, **OPTIONS)
        except Exception as error:  # Triton names no class: no C compiler, a driver that is too old, an assembler that fails
            if version in _launched:
                raise
            raise DoesNotCompile(f"Triton cannot compile or start the fused step ({error!r})") from error
        _launched.add(version)
    torch.autograd.graph.increment_version([*params, *batch.moments])


def constants(
    k: int, dtype: torch.dtype, step_dtype: torch.dtype, maximize: bool, stochastic_rounding: bool = False
) -> dict[str, Any]:
    """What a kernel is compiled for; REAL is the dtype of moments and arithmetic."""
    stochastic = stochastic_rounding and dtype == torch.bfloat16
    dtypes = {"PARAM": _triton(dtype), "REAL": _triton(state_dtype(dtype)), "STEP": _triton(step_dtype)}
    return {"K": k, **dtypes, "MAXIMIZE": maximize, "STOCHASTIC": stochastic, "BLOCK": BLOCK, "REST": REST}


def _triton(dtype: torch.dtype) -> Any:
    return getattr(tl, str(dtype).removeprefix("torch."))


# The tables: each is made from nothing but its key


def _chunks(sizes: tuple[int, ...]) -> Tensor:
    """(parameter, block) of every program, int32 of shape (programs, 2)."""
    count = (torch.tensor(sizes, device="cpu") + BLOCK - 1) // BLOCK
    parameter = torch.repeat_interleave(count)
    before = count.cumsum(0) - count
    block = torch.arange(len(parameter), device="cpu") - before[parameter]
    return torch.stack([parameter, block], 1).int()


def _rows(addresses: tuple[int, ...], sizes: tuple[int, ...], starts: tuple[tuple[float, ...], ...]) -> Tensor:
    """int64 of shape (n, 5 + 3k): addresses of p, g and step; size; full; starts, as bits of float64; 2k addresses.

    ``addresses``: of all parameters, all gradients, all steps, then 2k moments a parameter. ``full``: the number of
    leading elements in blocks that are whole and lie, in each tensor, at a multiple of 16 bytes.
    """
    n, at = len(sizes), torch.tensor(addresses, device="cpu")
    heads, moments = at[: 3 * n].view(3, n).T, at[3 * n :].view(n, -1)
    aligned = (torch.cat([heads[:, :2], moments], 1) % 16 == 0).all(1)
    size = torch.tensor(sizes, device="cpu")
    lengths = torch.stack([size, size // BLOCK * BLOCK * aligned], 1)
    bits = torch.tensor(starts, dtype=torch.float64, device="cpu").view(torch.int64)
    return torch.cat([heads, lengths, bits, moments], 1)


def _numbers(weight_decay: float, eps: float, *decays: Decay) -> Tensor:
    """float64 of shape (2 + 4k,): weight_decay, eps, then (gamma, beta, log gamma, log beta) of every stage."""
    stages = [(*d.betas, *(math.log(x) if x > 0 else -math.inf for x in d.betas)) for d in decays]
    return torch.tensor([weight_decay, eps, *chain.from_iterable(stages)], dtype=torch.float64, device="cpu")


def _one(number: float) -> Tensor:
    return torch.tensor([number], dtype=torch.float64, device="cpu")


# Where the tables are kept

# What graphs read again at every replay. Kept for good: nobody says when a graph dies.
_captured: list[Tensor] = []


def _table(make: Callable[..., Tensor], key: tuple[Any, ...], device: torch.device) -> Tensor:
    """What ``make`` makes of the key, on the device, for use on its current stream."""
    stream = _stream(device)
    table = make(*key) if stream is None else _uploaded(make, key, device, stream)
    reserve = _reserve(table.shape, table.dtype)
    if stream is None:  # for the graph that is being captured: each of its replays uploads the table again before reading it
        source = reserve.pop() if reserve else _pinned(table.shape, table.dtype)
        _captured.append(source.copy_(table))
        return source.to(device, non_blocking=True)
    if len(reserve) < min(RESERVED, 1 + 2**20 // table.nbytes):  # one of a large table
        reserve.append(_pinned(table.shape, table.dtype))
    return table


@lru_cache(maxsize=KEPT)
def _uploaded(make: Callable[..., Tensor], key: tuple[Any, ...], device: torch.device, stream: int) -> Tensor:
    """Of one stream only: another one might read it before it has arrived, or after it was dropped."""
    table = make(*key)
    return _pinned(table.shape, table.dtype).copy_(table).to(device, non_blocking=True)


@lru_cache(maxsize=KEPT)
def _reserve(shape: torch.Size, dtype: torch.dtype) -> list[Tensor]:
    """Memory set aside at ordinary steps for a capture, during which not every torch can allocate it."""
    return []


def _pinned(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Memory of the host from which an upload does not stop it."""
    return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=torch.cuda.is_available())


def _stream(device: torch.device) -> int | None:
    """The current stream's handle; ``None`` while it is being captured into a graph."""
    if device.type != "cuda":
        return 0
    return None if torch.cuda.is_current_stream_capturing() else int(torch.cuda.current_stream(device).cuda_stream)


# The kernel


@jit
def kadam_kernel(  # type: ignore[no-untyped-def]
    chunks,
    rows,
    numbers,
    lr,
    grad_scale,
    found_inf,
    K: tl.constexpr,
    PARAM: tl.constexpr,
    REAL: tl.constexpr,
    STEP: tl.constexpr,
    MAXIMIZE: tl.constexpr,
    STOCHASTIC: tl.constexpr,
    BLOCK: tl.constexpr,
    REST: tl.constexpr,
):
    """One block of one parameter. ``grad_scale`` and ``found_inf`` may be None; PARAM and STEP are dtypes."""
    overflow = 0.0 if found_inf is None else tl.load(found_inf)
    if overflow != 0.0:
        return
    chunk = chunks + 2 * tl.program_id(0)
    number = tl.load(chunk)
    row = rows + (5 + 3 * K) * number
    first = BLOCK * tl.load(chunk + 1).to(tl.int64)
    if first < tl.load(row + 4):
        _advance(row, number, first, numbers, lr, grad_scale, K, PARAM, REAL, STEP, MAXIMIZE, STOCHASTIC, BLOCK, True)
    else:
        last = tl.load(row + 3)
        for part in range(BLOCK // REST):  # whole numbers, by which every version's interpreter can count
            at = first + REST * part
            if at < last:
                _advance(row, number, at, numbers, lr, grad_scale, K, PARAM, REAL, STEP, MAXIMIZE, STOCHASTIC, REST, False)


@jit
def _advance(  # type: ignore[no-untyped-def]
    row,
    number,
    first,
    numbers,
    lr,
    grad_scale,
    K: tl.constexpr,
    PARAM: tl.constexpr,
    REAL: tl.constexpr,
    STEP: tl.constexpr,
    MAXIMIZE: tl.constexpr,
    STOCHASTIC: tl.constexpr,
    BLOCK: tl.constexpr,
    FULL: tl.constexpr,
):
    """All stages of BLOCK elements from ``first`` on; FULL: all exist and lie at multiples of 16 bytes."""
    lane = tl.arange(0, BLOCK)
    inside = None if FULL else first + lane < tl.load(row + 3)
    u = tl.load(_at(row + 1, first, PARAM, FULL) + lane, mask=inside).to(REAL)
    u = -u if MAXIMIZE else u
    if grad_scale is not None:
        u = _quotient(u, tl.load(grad_scale).to(REAL))
    step = tl.load(tl.load(row + 2).to(tl.pointer_type(STEP))).to(tl.float64)
    eps = tl.load(numbers + 1).to(REAL)
    for i in tl.static_range(K):
        m_at = _at(row + 5 + K + 2 * i, first, REAL, FULL) + lane
        v_at = _at(row + 6 + K + 2 * i, first, REAL, FULL) + lane
        m = tl.load(m_at, mask=inside)
        v = tl.load(v_at, mask=inside)
        stage = numbers + 2 + 4 * i
        gamma = tl.load(stage)
        beta = tl.load(stage + 1)
        m += (1 - gamma).to(REAL) * (u - m)
        v = beta.to(REAL) * v + (1 - beta).to(REAL) * u * u
        tl.store(m_at, m, mask=inside)
        tl.store(v_at, v, mask=inside)
        age = step - tl.load((row + 5 + i).to(tl.pointer_type(tl.float64)))
        correction1 = (1 - tl.exp(age * tl.load(stage + 2))).to(REAL)
        correction2 = _root(1 - tl.exp(age * tl.load(stage + 3))).to(REAL)
        u = _quotient(_quotient(m, correction1), _quotient(_root(v), correction2) + eps)
    rate = tl.load(lr).to(tl.float64)
    keep = (1 - rate * tl.load(numbers)).to(REAL)
    p_at = _at(row, first, PARAM, FULL) + lane
    p = tl.load(p_at, mask=inside).to(REAL)
    p = p * keep - rate.to(REAL) * u
    if STOCHASTIC:  # as in kadam.optim.rounding; seeded by step and parameter, so that a captured graph draws anew
        noise = tl.randint(step.to(tl.int64) * 1048576 + number, (first + lane).to(tl.int32)).to(tl.int32, bitcast=True)
        up_or_down = ((p.to(tl.int32, bitcast=True) + (noise & 65535)) & -65536).to(tl.float32, bitcast=True)
        p = tl.where(tl.abs(p) < float("inf"), up_or_down, p)
    tl.store(p_at, p.to(PARAM), mask=inside)


@jit
def _at(slot, first, DTYPE: tl.constexpr, FULL: tl.constexpr):  # type: ignore[no-untyped-def]
    """A pointer to element ``first`` of the tensor whose address lies in this slot of a row."""
    at = tl.load(slot).to(tl.pointer_type(DTYPE)) + first
    return tl.multiple_of(at, 16) if FULL else at


@jit
def _root(x):  # type: ignore[no-untyped-def]
    """sqrt(x), rounded to nearest; in float64 it always is."""
    return tl.sqrt(x) if x.dtype == tl.float64 else tl.sqrt_rn(x)


@jit
def _quotient(x, y):  # type: ignore[no-untyped-def]
    """x / y, rounded to nearest; in float64 it always is."""
    return x / y if x.dtype == tl.float64 else tl.div_rn(x, y)
