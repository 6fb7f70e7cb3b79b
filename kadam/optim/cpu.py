"""k-Adam's fused step on CPU: one pass over memory with numba, and the same again at the next step; where not, the chain.

Tensors are found by address: :func:`kadam.optim.batch.side_by_side` says of which that is enough.
"""

import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import chain, repeat
from operator import attrgetter, is_, itemgetter
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kadam.decay import Decay
from kadam.optim.arguments import Group, Hyper
from kadam.optim.batch import PLAIN, Batch, all_contiguous
from kadam.optim.chain import chained_step_
from kadam.optim.rounding import Noise
from kadam.optim.state import moment_names, start_names
from kadam.optim.update import StageAtStep, Tensors

Array = NDArray[Any]

# Applied to lists of tensors by map: no bytecode for each of them.
GRAD, DTYPE, IS_CPU = attrgetter("grad"), attrgetter("dtype"), attrgetter("is_cpu")
NONES = repeat(None)

_chain_only = False  # asked for
_broken = False  # found out at a launch


def available() -> bool:
    """Whether this torch has the fused step that the chain is made of, or numba is there."""
    return hasattr(torch, "_fused_adamw_") or one_pass_kernel() is not None


def fused_step_(batch: Batch, hyper: Hyper, draw: Noise | None = None, places: tuple[Array, Array] | None = None) -> None:
    """One step on parameters of one dtype, in place; gradients are not written to. ``places``: :func:`_places`, if known."""
    if not (can_pass_once(batch.params[0].dtype) and _one_pass_(batch, hyper, *(places or _places(batch)))):
        chained_step_(batch, hyper, draw)
    torch.autograd.graph.increment_version([*batch.params, *batch.moments])


def _places(batch: Batch) -> tuple[Array, Array]:
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
        if importlib.import_module("numba").config.DISABLE_JIT:
            warnings.warn("NUMBA_DISABLE_JIT is set: fused steps go without numba", stacklevel=2)
            return None
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


class Repeat:
    """What a step in one pass needs to know of a group: parameters that stepped together, all contiguous, and where they lie.

    A step of a small network costs more in Python than in arithmetic. Most of what the general way collects and checks anew
    is as it was one step before; this keeps it, and at every step asks only what can have changed. Of tensors it keeps
    identities and addresses: what is taken out or replaced can go, and torch swaps no tensor that has weak references.
    """

    def __init__(self, group: Group, batch: Batch, states: Mapping[Tensor, dict[str, Any]]) -> None:
        k, held = group["stages"], [states[p] for p in batch.params]
        self._late = [name for name in start_names(k) if any(name in state for state in held)]
        self._moments, self._counters = itemgetter(*moment_names(k)), itemgetter("step", *self._late)  # of a state
        self._k, self._starts, self._dtype = k, batch.starts, batch.params[0].dtype
        self._all = list(map(id, group["params"]))
        self._objects = self._identities(batch.params, batch.moments, list(map(self._counters, held)))
        self._addresses = [list(map(Tensor.data_ptr, tensors)) for tensors in (batch.params, batch.moments)]
        self._sizes = list(map(Tensor.numel, batch.params))
        self._places, self._grads_at = _places(batch), slice(len(batch.params), 2 * len(batch.params))

    @staticmethod
    def after(group: Group, batch: Batch, states: Mapping[Tensor, dict[str, Any]]) -> "Repeat | None":
        """For a batch that just stepped; ``None`` where the one-pass kernel does not take all of it."""
        p = batch.params[0]
        if not (p.is_cpu and can_pass_once(p.dtype) and all_contiguous(batch)):
            return None
        try:
            return Repeat(group, batch, states)
        except KeyError:  # a stage joined some of the parameters later, and others not
            return None

    def step(self, group: Group, states: Mapping[Tensor, dict[str, Any]], hyper: Hyper) -> bool:
        """The group's next step, if it goes the way of the last one; else nothing, and False."""
        params = group["params"]
        if not (can_pass_once(self._dtype) and self._k == group["stages"] and self._all == list(map(id, params))):
            return False
        grads = list(map(GRAD, params))
        if any(map(is_, grads, NONES)):
            params = [p for p, g in zip(params, grads, strict=True) if g is not None]
            grads = list(map(GRAD, params))
        held = list(map(states.__getitem__, params))
        try:
            counters, moments = list(map(self._counters, held)), list(chain.from_iterable(map(self._moments, held)))
        except KeyError:  # a state that was taken away, or a part of one
            return False
        if not (
            self._objects == self._identities(params, moments, counters)
            and self._addresses == [list(map(Tensor.data_ptr, tensors)) for tensors in (params, moments)]
            and self._sizes == list(map(Tensor.numel, params)) == list(map(Tensor.numel, grads))
            and all(map(Tensor.is_contiguous, chain(params, grads)))
            and set(map(type, grads)) <= PLAIN
            and set(map(DTYPE, grads)) == {self._dtype}
            and all(map(IS_CPU, grads))
            and not any(map(Tensor.is_neg, grads))
        ):
            return False
        if not hyper.overflowed:
            batch = Batch(params, grads, moments, [of[0] for of in counters] if self._late else counters, self._starts)
            batch.count()
            addresses, sizes = self._places[0].copy(), self._places[1]
            addresses[self._grads_at] = list(map(Tensor.data_ptr, grads))
            fused_step_(batch, hyper, places=(addresses, sizes))
        return True

    def _identities(self, params: Tensors, moments: Tensors, counters: list[Any]) -> list[int]:
        """Of all that a step takes but gradients; ``counters``: one of every parameter, or a tuple where stages joined late."""
        return list(map(id, chain(params, moments, chain.from_iterable(counters) if self._late else counters)))
