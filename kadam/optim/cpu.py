"""k-Adam's fused step on CPU: one pass over memory with numba, and the same again at the next step; where not, the chain.

Tensors are found by address: :func:`kadam.optim.batch.side_by_side` says of which that is enough.
"""

import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import chain
from operator import attrgetter, itemgetter
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kadam.decay import Decay
from kadam.optim.arguments import Group, Hyper
from kadam.optim.batch import PLAIN, Ages, Batch, all_contiguous
from kadam.optim.chain import chained_step_
from kadam.optim.rounding import Noise
from kadam.optim.state import moment_names, start_names
from kadam.optim.update import StageAtStep

# Applied to lists of tensors by map: no bytecode for each of them.
GRAD, DTYPE, IS_CPU = attrgetter("grad"), attrgetter("dtype"), attrgetter("is_cpu")

_chain_only = False  # asked for
_broken = False  # found out at a launch


def available() -> bool:
    """Whether this torch has the fused step that the chain is made of, or numba is there."""
    return hasattr(torch, "_fused_adamw_") or one_pass_kernel() is not None


def fused_step_(batch: Batch, hyper: Hyper, draw: Noise | None = None) -> None:
    """One step on parameters of one dtype, in place; gradients are not written to."""
    addresses = [list(map(Tensor.data_ptr, tensors)) for tensors in (batch.params, batch.grads, batch.moments)]
    if not (can_pass_once(batch.params[0].dtype) and _one_pass_(batch, addresses, hyper)):
        chained_step_(batch, hyper, draw)
    torch.autograd.graph.increment_version([*batch.params, *batch.moments])


def _one_pass_(batch: Batch, addresses: list[list[int]], hyper: Hyper) -> bool:
    """A step by numba's kernel; ``addresses`` of parameters, gradients and moments. False: it does not run here."""
    global _broken
    rows: dict[Ages, int] = {}
    row = [rows.setdefault(age, len(rows)) for age in batch.ages()]
    stages = [[_stage(d, n) for d, n in zip(hyper.decays, age, strict=True)] for age in rows]
    lr, eps, weight_decay = hyper.numbers(float).values()
    real = np.float64 if batch.params[0].dtype == torch.float64 else np.float32
    given = (
        np.array([*chain.from_iterable(addresses)], np.int64),
        np.array(list(map(Tensor.numel, batch.params)), np.int64),
        np.array(row, np.int64),
        np.array(stages, real),
        np.array([lr, 1 - lr * weight_decay, eps, float(hyper.factor)], real),
    )
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


def repeat_step(batch: Batch, hyper: Hyper) -> None:
    """A step of what :meth:`Repeat.batch` gives."""
    if not hyper.overflowed:
        batch.count()
        fused_step_(batch, hyper)


class Repeat:
    """What a step in one pass needs to know of a group: parameters that stepped together, all contiguous, and where they lie.

    A step of a small network costs more in Python than in arithmetic. Most of what the general way collects and checks anew
    is as it was one step before; this keeps it, and at every step asks only what can have changed. Of tensors it keeps
    identities and addresses: what is taken out or replaced can go, and torch swaps no tensor that has weak references.
    """

    def __init__(self, group: Group, batch: Batch, states: Mapping[Tensor, dict[str, Any]]) -> None:
        k = group["stages"]
        late = [name for name in start_names(k) if any(name in states[p] for p in batch.params)]
        self._k, self._starts, self._width = k, batch.starts, 1 + 2 * k + len(late)
        self._values = itemgetter("step", *moment_names(k), *late)  # of a state
        self._all = list(map(id, group["params"]))
        self._objects = [*map(id, batch.params), *(id(value) for p in batch.params for value in self._values(states[p]))]
        self._addresses = [list(map(Tensor.data_ptr, tensors)) for tensors in (batch.params, batch.moments)]
        self._sizes = [list(map(Tensor.numel, tensors)) for tensors in (batch.params, batch.params, batch.moments)]
        self._dtype = batch.params[0].dtype

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

    def batch(self, group: Group, states: Mapping[Tensor, dict[str, Any]]) -> Batch | None:
        """What the group's next step takes, if it goes the way of the last one."""
        if not (can_pass_once(self._dtype) and self._k == group["stages"] and self._all == list(map(id, group["params"]))):
            return None
        params = [p for p in group["params"] if p.grad is not None]
        try:
            values = list(chain.from_iterable(map(self._values, map(states.__getitem__, params))))
        except KeyError:  # a state that was taken away, or a part of one
            return None
        if self._objects != list(map(id, chain(params, values))):
            return None
        grads, width = list(map(GRAD, params)), self._width
        moments = [m for at in range(0, len(values), width) for m in values[at + 1 : at + 1 + 2 * self._k]]
        everything = [*params, *grads, *moments]
        alike = (
            [list(map(Tensor.data_ptr, tensors)) for tensors in (params, moments)] == self._addresses
            and [list(map(Tensor.numel, tensors)) for tensors in (params, grads, moments)] == self._sizes
            and all(map(Tensor.is_contiguous, everything))
            and set(map(DTYPE, everything)) == {self._dtype}
            and set(map(type, grads)) <= PLAIN
            and all(map(IS_CPU, grads))
            and not any(map(Tensor.is_neg, grads))
        )
        return Batch(params, grads, moments, values[::width], self._starts) if alike else None
