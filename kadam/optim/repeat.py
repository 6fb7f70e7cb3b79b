"""What is remembered between two fused steps of a group, so that the second one costs little in Python."""

from collections.abc import Mapping
from itertools import chain, repeat
from operator import attrgetter, is_, itemgetter
from typing import Any

from torch import Tensor

from kadam.optim import cpu, steps
from kadam.optim.arguments import Group, Hyper
from kadam.optim.batch import NBYTES, PLAIN, Batch, all_contiguous
from kadam.optim.state import moment_names, start_names
from kadam.optim.update import Tensors

# Applied to lists of tensors by map: no bytecode for each of them.
GRAD, DTYPE = attrgetter("grad"), attrgetter("dtype")
IS_CPU, IS_CUDA = attrgetter("is_cpu"), attrgetter("is_cuda")
NONES = repeat(None)


class Repeat:
    """What a fused step needs to know of a group: parameters that stepped together, all contiguous, and where they lie.

    A step of a small network costs more in Python than in arithmetic. Most of what the general way collects and checks anew
    is as it was one step before; this keeps it, and at every step asks only what can have changed. Of tensors it keeps
    identities and addresses: what is taken out or replaced can go, and torch swaps no tensor that has weak references.
    """

    def __init__(self, group: Group, batch: Batch, states: Mapping[Tensor, dict[str, Any]]) -> None:
        p, k, held = batch.params[0], group["stages"], [states[p] for p in batch.params]
        self._late = [name for name in start_names(k) if any(name in state for state in held)]
        self._moments, self._counters = itemgetter(*moment_names(k)), itemgetter("step", *self._late)  # of a state
        self._k, self._starts, self._dtype = k, batch.starts, p.dtype
        self.device, self._beside, self._on_gpu = p.device, IS_CPU if p.is_cpu else IS_CUDA, steps.on_gpu(p)
        self._all = list(map(id, group["params"]))
        self._objects = self._identities(batch.params, batch.moments, list(map(self._counters, held)))
        self._places = self._stretches(batch.params, batch.moments)
        self._sizes = list(map(Tensor.numel, batch.params))
        self._given, self._grads_at = cpu.places_of(batch), slice(len(batch.params), 2 * len(batch.params))

    @staticmethod
    def after(group: Group, batch: Batch, states: Mapping[Tensor, dict[str, Any]]) -> "Repeat | None":
        """For a batch that just made a fused step; ``None`` where the next one may be of another kind."""
        p = batch.params[0]
        if not ((steps.on_gpu(p) or (p.is_cpu and cpu.can_pass_once(p.dtype))) and all_contiguous(batch)):
            return None
        if any(name in states[p] for p in batch.params for name in start_names(group["stages"])) and group["lr"] == 0:
            return None  # the next step takes away the names of zeros
        try:
            return Repeat(group, batch, states)
        except KeyError:  # a stage joined some of the parameters later, and others not
            return None

    def step(self, group: Group, states: Mapping[Tensor, dict[str, Any]], hyper: Hyper) -> bool:
        """The group's next step, if it goes the way of the last one; else nothing, and False."""
        params = group["params"]
        able = self._on_gpu or cpu.can_pass_once(self._dtype)
        if not (able and self._k == group["stages"] and self._all == list(map(id, params))):
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
            and self._places == self._stretches(params, moments)
            and self._sizes == list(map(Tensor.numel, grads))
            and all(map(Tensor.is_contiguous, chain(params, grads)))
            and set(map(type, grads)) <= PLAIN
            and set(map(DTYPE, grads)) == {self._dtype}
            and all(map(self._beside, grads))
            and not any(map(Tensor.is_neg, chain(params, grads)))
        ):
            return False
        self._carry_out(
            Batch(params, grads, moments, [of[0] for of in counters] if self._late else counters, self._starts), hyper
        )
        return True

    def _carry_out(self, batch: Batch, hyper: Hyper) -> None:
        if self._on_gpu:
            steps.cuda_step(batch, hyper, in_one_launch=True)
        elif not hyper.overflowed:
            batch.count()
            addresses, sizes = self._given[0].copy(), self._given[1]
            addresses[self._grads_at] = list(map(Tensor.data_ptr, batch.grads))
            cpu.fused_step_(batch, hyper, places=(addresses, sizes))

    @staticmethod
    def _stretches(params: Tensors, moments: Tensors) -> list[list[int]]:
        """Where they lie and how long they are: a new tensor may have an old one's identity and address, and be shorter."""
        tensors = [*params, *moments]
        return [list(map(Tensor.data_ptr, tensors)), list(map(NBYTES, tensors))]

    def _identities(self, params: Tensors, moments: Tensors, counters: list[Any]) -> list[int]:
        """Of all that a step takes but gradients; ``counters``: one of every parameter, or a tuple where stages joined late."""
        return list(map(id, chain(params, moments, chain.from_iterable(counters) if self._late else counters)))
