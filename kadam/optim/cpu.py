"""k-Adam's fused step on CPU: one pass over memory with numba, and the same again at the next step; where not, the chain.

Tensors are found by address: :func:`kadam.optim.batch.side_by_side` says of which that is enough.
"""

import importlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import chain
from operator import attrgetter, is_
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kadam.decay import Decay
from kadam.optim.arguments import Group, Hyper
from kadam.optim.batch import PLAIN, Ages, Batch, all_contiguous
from kadam.optim.chain import chained_step_
from kadam.optim.update import StageAtStep

# Applied to lists of tensors by map: no bytecode for each of them.
GRAD, DTYPE, IS_CPU = attrgetter("grad"), attrgetter("dtype"), attrgetter("is_cpu")

_chain_only = False


def available() -> bool:
    """Whether this torch has the fused step that the chain is made of, or numba is there."""
    return hasattr(torch, "_fused_adamw_") or one_pass_kernel() is not None


def fused_step_(batch: Batch, hyper: Hyper) -> None:
    """One step on parameters of one dtype, in place; gradients are not written to."""
    dtype = batch.params[0].dtype
    if can_pass_once(dtype):
        addresses = [t.data_ptr() for tensors in (batch.params, batch.grads, batch.moments) for t in tensors]
        one_pass_(addresses, [p.numel() for p in batch.params], batch.ages(), dtype, hyper)
    else:
        chained_step_(batch, hyper)
    torch.autograd.graph.increment_version([*batch.params, *batch.moments])


def one_pass_(addresses: list[int], sizes: list[int], ages: list[Ages], dtype: torch.dtype, hyper: Hyper) -> None:
    """The numba kernel on n parameters: ``addresses`` of all parameters, all gradients, and 2k moments a parameter."""
    rows: dict[Ages, int] = {}
    row = [rows.setdefault(age, len(rows)) for age in ages]
    stages = [[_stage(d, n) for d, n in zip(hyper.decays, age, strict=True)] for age in rows]
    lr, eps, weight_decay = hyper.numbers(float).values()
    real = np.float64 if dtype == torch.float64 else np.float32
    one_pass_kernel().launch(  # type: ignore[union-attr]
        np.array(addresses, np.int64),
        np.array(sizes, np.int64),
        np.array(row, np.int64),
        np.array(stages, real),
        np.array([lr, 1 - lr * weight_decay, eps, float(hyper.factor)], real),
        torch.get_num_threads(),
    )


def _stage(decay: Decay, age: float) -> tuple[float, ...]:
    stage = StageAtStep.at(*decay.betas, age)
    return (stage.weight1, stage.beta2, stage.weight2, 1 / stage.correction1, 1 / stage.correction2)


def can_pass_once(dtype: torch.dtype) -> bool:
    """Whether numba's kernel is there and knows the dtype of these parameters."""
    return dtype in (torch.float32, torch.float64) and one_pass_kernel() is not None


def one_pass_kernel() -> ModuleType | None:
    """The numba kernel, where numba is installed; compiled at its first launch."""
    return None if _chain_only else _import_kernel()


@cache
def _import_kernel() -> ModuleType | None:
    try:
        return importlib.import_module("kadam.optim.numba_kernel")
    except ImportError as error:
        if error.name != "numba":  # it is there and does not work, with another numpy for instance
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
    is as it was one step before; this keeps it, and at every step asks only what can have changed.
    """

    def __init__(self, group: Group, batch: Batch, states: Mapping[Tensor, dict[str, Any]]) -> None:
        self._batch, self._k = replace(batch, grads=[]), group["k"]
        self._grads: list[Tensor] = []  # kept from holds to step, and then by no one but their parameters
        self._group_params = list(group["params"])
        self._states = [states[p] for p in batch.params]
        self._values = [value for state in self._states for value in state.values()]
        self._addresses = [list(map(Tensor.data_ptr, tensors)) for tensors in (batch.params, batch.moments)]
        self._sizes = [p.numel() for p in batch.params]
        self._dtype = batch.params[0].dtype

    @staticmethod
    def after(group: Group, batch: Batch, states: Mapping[Tensor, dict[str, Any]]) -> "Repeat | None":
        """For a batch that just stepped; ``None`` where the one-pass kernel does not take all of it."""
        p = batch.params[0]
        return Repeat(group, batch, states) if p.is_cpu and can_pass_once(p.dtype) and all_contiguous(batch) else None

    def holds(self, group: Group, states: Mapping[Tensor, dict[str, Any]]) -> bool:
        """Whether the group's next step goes the same way; takes over the new gradients."""
        batch, grads = self._batch, list(map(GRAD, group["params"]))
        if not (
            can_pass_once(self._dtype)
            and self._k == group["k"]
            and _same(self._group_params, group["params"])
            and _same(batch.params, [p for p, g in zip(group["params"], grads, strict=True) if g is not None])
            and _same(self._states, map(states.get, batch.params))
            and _same(self._values, chain.from_iterable(map(dict.values, self._states)))
        ):
            return False
        self._grads = grads = [g for g in grads if g is not None]
        return (
            [list(map(Tensor.data_ptr, tensors)) for tensors in (batch.params, batch.moments)] == self._addresses
            and all(map(Tensor.is_contiguous, chain(batch.params, grads)))
            and list(map(Tensor.numel, batch.params)) == list(map(Tensor.numel, grads)) == self._sizes
            and set(map(type, grads)) <= PLAIN
            and set(map(DTYPE, grads)) == {self._dtype}
            and all(map(IS_CPU, grads))
            and not any(map(Tensor.is_neg, grads))
        )

    def step(self, hyper: Hyper) -> None:
        """One step with the gradients taken over by :meth:`holds`, which are then let go."""
        batch, grads, self._grads = self._batch, self._grads, []
        if hyper.overflowed:
            return
        batch.count()
        params_at, moments_at = self._addresses
        addresses = [*params_at, *map(Tensor.data_ptr, grads), *moments_at]
        one_pass_(addresses, self._sizes, batch.ages(), self._dtype, hyper)
        torch.autograd.graph.increment_version([*batch.params, *batch.moments])


def _same(ours: list[Any], theirs: Iterable[Any]) -> bool:
    """The very same objects in the same order."""
    others = list(theirs)
    return len(ours) == len(others) and all(map(is_, ours, others))
