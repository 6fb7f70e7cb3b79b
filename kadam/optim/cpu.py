"""k-Adam's fused step on CPU: one pass over memory with numba, and the same again at the next step; where not, the chain.

Tensors are found by address: :func:`kadam.optim.batch.side_by_side` says of which that is enough.
"""

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kadam.decay import Decay
from kadam.optim.arguments import Hyper
from kadam.optim.batch import Batch
from kadam.optim.chain import chained_step_
from kadam.optim.rounding import Noise
from kadam.optim.update import StageAtStep

Array = NDArray[Any]

_chain_only = False  # asked for
_broken = False  # found out at a launch


def available() -> bool:
    """Whether this torch has the fused step that the chain is made of, or numba is there."""
    return hasattr(torch, "_fused_adamw_") or one_pass_kernel() is not None


def fused_step_(batch: Batch, hyper: Hyper, draw: Noise | None = None, places: tuple[Array, Array] | None = None) -> None:
    """One step on parameters of one dtype, in place; gradients are not written to. ``places``: :func:`places_of`, if known."""
    if not (can_pass_once(batch.params[0].dtype) and _one_pass_(batch, hyper, *(places or places_of(batch)))):
        chained_step_(batch, hyper, draw)
    torch.autograd.graph.increment_version([*batch.params, *batch.moments])


def places_of(batch: Batch) -> tuple[Array, Array]:
    """The addresses of all parameters, all gradients and all moments, and the number of elements of each parameter."""
    addresses = list(map(Tensor.data_ptr, chain(batch.params, batch.grads, batch.moments)))
    return np.array(addresses, np.int64), np.array(list(map(Tensor.numel, batch.params)), np.int64)


def _one_pass_(batch: Batch, hyper: Hyper, addresses: Array, sizes: Array) -> bool:
    """A step by numba's kernel, in these places. False: the kernel does not run here."""
    global _broken
    ages = batch.ages()
    rows = {age: number for number, age in enumerate(dict.fromkeys(ages))}
    stages = [[_stage(d, n) for d, n in zip(hyper.decays, age, strict=True)] for age in rows]
    lr, eps, weight_decay = hyper.numbers(float).values()
    real = np.float64 if batch.params[0].dtype == torch.float64 else np.float32
    scalars = np.array([lr, 1 - lr * weight_decay, eps, float(hyper.factor)], real)
    row = np.array(list(map(rows.__getitem__, ages)), np.int64) if len(rows) > 1 else np.zeros(len(ages), np.int64)
    given = (addresses, sizes, row, np.array(stages, real), scalars)
    try:
        one_pass_kernel().launch(*given, torch.get_num_threads())  # type: ignore[union-attr]
    except Exception as error:  # of the compiler or the threads it starts: compiled code raises nothing, so nothing has moved
        _broken = True
        warnings.warn(f"numba's kernel cannot be compiled or started ({error!r}): fused steps go without it", stacklevel=2)
    return not _broken


def _stage(decay: Decay, age: float) -> tuple[float, ...]:
    stage = StageAtStep.at(*decay.betas, age)
    return (stage.weight1, stage.beta2, stage.weight2, 1 / stage.correction1, 1 / stage.correction2)


def can_pass_once(dtype: torch.dtype) -> bool:
    """Whether numba's kernel is there and knows the dtype of these parameters."""
    return dtype in (torch.float32, torch.float64) and one_pass_kernel() is not None


def one_pass_kernel() -> ModuleType | None:
    """The numba kernel, where numba is installed; compiled at its first launch."""
    return None if _chain_only or _broken else _import_kernel()


@cache
def _import_kernel() -> ModuleType | None:
    try:
        return importlib.import_module("kadam.optim.numba_kernel")
    except Exception as error:
        if not (isinstance(error, ImportError) and error.name == "numba"):  # it is there and does not work
            warnings.warn(f"numba cannot be imported ({error}): fused steps go without it", stacklevel=2)
        return None


@contextmanager
def chain_only() -> Iterator[None]:
    """As if numba were not installed: for tests and benchmarks."""
    global _chain_only
    before, _chain_only = _chain_only, True
    try:
        yield
    finally:
        _chain_only = before
