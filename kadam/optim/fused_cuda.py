"""k-Adam's fused step on CUDA: one launch of a Triton kernel walks the whole list of parameters, once through memory.

The kernel finds its way by two tables on the device. A row for each parameter holds the addresses of all that belongs to
it; a chunk, one for each program of the launch, says which parameter and which block of its elements. Rows depend on
addresses, chunks on sizes only, so that new gradients cost no more than new rows.

Each moment is read and written once, whatever k is. Roots and quotients are rounded to nearest and no multiplication is
fused with an addition, so that results are those of the same formulas in NumPy or torch. The kernel also runs in Triton's
interpreter, on CPU tensors: set TRITON_INTERPRET=1 before Triton is imported.

All of this is single-pass bookkeeping around the update that :mod:`kadam.optim.update` states.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from kadam.decay import Decay

try:
    import triton
    import triton.language as tl
except ImportError:  # there is none for this platform, or it was left out
    triton = tl = None

jit: Callable[..., Any] = (lambda function: function) if triton is None else triton.jit

# Elements of a chunk: 16 for each of a program's 128 threads, which is four loads of 128 bits from a float32 moment.
BLOCK = 2048
OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}

# Tables that are kept; a parameter group needs three. The gradients of a group may alternate between a few places.
KEPT = 128

Table = tuple[Callable[..., Tensor], tuple[Any, ...]]  # how to make it, and all that it depends on


def available() -> bool:
    """Whether Triton is there with something to run on: NVIDIA's CUDA, or its own interpreter."""
    return triton is not None and (interpreted() or (torch.version.cuda is not None and torch.cuda.is_available()))


def interpreted() -> bool:
    """Whether Triton's interpreter was switched on as this module was imported; it takes CPU tensors."""
    return triton is not None and not isinstance(kadam_kernel, triton.JITFunction)


def kadam_fused_cuda_step_(
    params: list[Tensor],
    grads: list[Tensor],
    moments: list[Tensor],
    steps: list[Tensor],
    starts: list[tuple[float, ...]],
    decays: Sequence[Decay],
    *,
    lr: float | Tensor,
    eps: float,
    weight_decay: float,
    maximize: bool,
    grad_scale: Tensor | None,
    found_inf: Tensor | None,
) -> None:
    """One step on dense parameters of one device and dtype, in place; the host never waits for the device.

    ``moments``: flat, 2k a parameter (m, v, m_2, v_2, ...), float32 (float64 for float64 parameters). ``grads`` and
    moments have the shape and the strides of their parameter. ``steps``: 0-dim, on the device, counting this step.
    ``starts``: for each parameter and stage the step after which the stage began. ``grad_scale`` and ``found_inf``:
    GradScaler's, one float32 element each; gradients are divided by the first, and where the second is not 0 nothing
    is written.
    """
    sizes = tuple(map(Tensor.numel, params))
    programs = sum(-(-size // BLOCK) for size in sizes)
    if programs == 0:
        return
    device, k = params[0].device, len(decays)
    steps = [step.to(steps[0].dtype) for step in steps]
    addresses = tuple(t.data_ptr() for tensors in (params, grads, steps, moments) for t in tensors)
    rate = _on(device, lr)
    with torch.cuda.device_of(params[0]):
        rows = _table(_rows, (addresses, sizes, tuple(starts)), device)
        chunks = _table(_chunks, (sizes,), device)
        numbers = _table(_numbers, (0.0 if isinstance(rate, Tensor) else rate, weight_decay, eps, tuple(decays)), device)
        pointers = (chunks, rows, numbers, rate if isinstance(rate, Tensor) else numbers, grad_scale, found_inf)
        kadam_kernel[(programs,)](*pointers, **constants(k, params[0].dtype, steps[0].dtype, maximize), **OPTIONS)
    torch.autograd.graph.increment_version([*params, *moments])


def constants(k: int, dtype: torch.dtype, step_dtype: torch.dtype, maximize: bool) -> dict[str, Any]:
    """What a kernel is compiled for."""
    return {"K": k, "PARAM": _DTYPES[dtype], "STEP": _DTYPES[step_dtype], "MAXIMIZE": maximize, "BLOCK": BLOCK}


_DTYPES: dict[torch.dtype, Any] = (
    {}
    if triton is None
    else {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32, torch.float64: tl.float64}
)


def _on(device: torch.device, lr: float | Tensor) -> float | Tensor:
    """A learning rate that the kernel can read; one on the host may be read by the host."""
    return float(lr) if isinstance(lr, Tensor) and lr.device != device else lr
