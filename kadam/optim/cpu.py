"""k-Adam's fused step on CPU: one pass over memory with numba, and the same again at the next step; where not, the chain.

Tensors are found by address: :func:`kadam.optim.batch.side_by_side` says of which that is enough.
"""

import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import chain
from operator import attrgetter, call, is_, itemgetter
from types import ModuleType
from typing import Any
from weakref import ref

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


class Repeat:
    """What a step in one pass needs to know of a group: parameters that stepped together, all contiguous, and where they lie.

    A step of a small network costs more in Python than in arithmetic. Most of what the general way collects and checks anew
    is as it was one step before; this keeps it, and at every step asks only what can have changed. Of tensors it keeps weak
    references: parameters that were taken out and moments that were replaced can go.
    """

    def __init__(self, group: Group, batch: Batch, states: Mapping[Tensor, dict[str, Any]]) -> None:
        k = group["stages"]
        late = [name for name in start_names(k) if any(name in states[p] for p in batch.params)]
        self._k, self._starts, self._width = k, batch.starts, 1 + 2 * k + len(late)
        self._values = itemgetter("step", *moment_names(k), *late)  # of a state
        self._group_params = list(map(ref, group["params"]))
        self._params = list(map(ref, batch.params))
        self._state = [ref(value) for p in batch.params for value in self._values(states[p])]
        self._addresses = [list(map(Tensor.data_ptr, tensors)) for tensors in (batch.params, batch.moments)]
        self._sizes = [p.numel() for p in batch.params]
        self._dtype = batch.params[0].dtype
        self._next: Batch | None = None  # from holds to step, and then by no one but their owners

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

    def holds(self, group: Group, states: Mapping[Tensor, dict[str, Any]]) -> bool:
        """Whether the group's next step goes the same way; takes over the new gradients."""
        everything = group["params"]
        if not (can_pass_once(self._dtype) and self._k == group["stages"] and _same(self._group_params, everything)):
            return False
        params = [p for p in everything if p.grad is not None]
        if not _same(self._params, params):
            return False
        try:
            values = list(chain.from_iterable(map(self._values, map(states.__getitem__, params))))
        except KeyError:  # a state that was taken away, or a part of one
            return False
        if not _same(self._state, values):
            return False
        grads, width = list(map(GRAD, params)), self._width
        moments = [m for at in range(0, len(values), width) for m in values[at + 1 : at + 1 + 2 * self._k]]
        holds = (
            [list(map(Tensor.data_ptr, tensors)) for tensors in (params, moments)] == self._addresses
            and all(map(Tensor.is_contiguous, chain(params, grads)))
            and list(map(Tensor.numel, params)) == list(map(Tensor.numel, grads)) == self._sizes
            and set(map(type, grads)) <= PLAIN
            and set(map(DTYPE, grads)) == {self._dtype}
            and all(map(IS_CPU, grads))
            and not any(map(Tensor.is_neg, grads))
        )
        self._next = Batch(params, grads, moments, values[::width], self._starts) if holds else None
        return holds

    def step(self, hyper: Hyper) -> None:
        """One step with the gradients taken over by :meth:`holds`, which are then let go."""
        batch, self._next = self._next, None
        if batch is None or hyper.overflowed:
            return
        batch.count()
        fused_step_(batch, hyper)


def _same(references: list[Any], objects: list[Any]) -> bool:
    """The very objects that these weak references are to, in the same order."""
    return len(references) == len(objects) and all(map(is_, map(call, references), objects))
