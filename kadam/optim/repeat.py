"""What the one-pass kernel needs to know of a group, remembered from step to step.

A step of a small network costs more in Python than in arithmetic. Most of what the general way collects and checks anew
is as it was one step before; a :class:`Repeat` keeps it, and at every step asks only what can have changed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor

from kadam.optim.arguments import Group, Hyper
from kadam.optim.batch import PLAIN, Batch, all_contiguous
from kadam.optim.cpu import can_pass_once, one_pass_

# Applied to lists of tensors by map: no bytecode for each of them.
GRAD, DTYPE, IS_CPU = attrgetter("grad"), attrgetter("dtype"), attrgetter("is_cpu")


class Repeat:
    """The parameters of a group that stepped together, all contiguous, and where they and their moments lie."""

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
        self._grads = [g for g in grads if g is not None]
        return (
            self._lie_as_before()
            and self._are_shaped(batch.params)
            and self._are_shaped(self._grads)
            and self._are_alike(self._grads)
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

    def _lie_as_before(self) -> bool:
        tensors = (self._batch.params, self._batch.moments)
        return [list(map(Tensor.data_ptr, each)) for each in tensors] == self._addresses

    def _are_shaped(self, tensors: list[Tensor]) -> bool:
        return all(map(Tensor.is_contiguous, tensors)) and list(map(Tensor.numel, tensors)) == self._sizes

    def _are_alike(self, grads: list[Tensor]) -> bool:
        return (
            set(map(type, grads)) <= PLAIN
            and set(map(DTYPE, grads)) == {self._dtype}
            and all(map(IS_CPU, grads))
            and not any(map(Tensor.is_neg, grads))
        )


def _same(ours: list[Any], theirs: Iterable[Any]) -> bool:
    """The very same objects in the same order."""
    others = list(theirs)
    return len(ours) == len(others) and all(map(is_, ours, others))
