"""Norms in training of the weights that make normalised queries and keys, in every head a block that is scale invariant."""

import itertools
from typing import Any

import torch
from torch import Tensor

from kadam.lab.records.profiles import Shape
from kadam.lab.train.language_model import LanguageModelling

NORMS = {  # what is seen of every block, and its unit
    "block_norm": "|W|^2 of the weights that make a head's queries, or its keys",
    "block_growth": "growth of |W|^2 from the evaluation before to this one",
    "block_moves": "sum of eta^2 |u|^2 from the evaluation before to this one",
}


def blocks(shape: Shape) -> list[str]:
    """The names of the blocks of a network, in the order of what is seen of them."""
    each = itertools.product(range(shape.layers), ("queries", "keys"), range(shape.heads))
    return [f"layer {layer}, {made}, head {head}" for layer, made, head in each]


class NormalisedModelling(LanguageModelling):
    """The same with ``norms``: of every step and block the growth of |W|^2, and eta^2 |u|^2, (steps, 2, blocks)."""

    SEEN = (*LanguageModelling.SEEN, "norms")
    STATE = (*LanguageModelling.STATE, "norms")
    norms: Tensor

    def __init__(self, *given: Any, **how: Any) -> None:
        super().__init__(*given, **how)
        names = [name for name, _ in self.model.named_parameters()]
        self.projections = [i for i, name in enumerate(names) if name.endswith(".project.weight")]
        weights = self.blocks(self.params)
        self.norms = weights.new_full((self.schedule.steps, 2, len(weights)), torch.nan)

    def blocks(self, tensors: list[Tensor]) -> Tensor:
        """The blocks of the weights, or of what has a tensor for each of them, in float64; (blocks, entries)."""
        made = torch.stack([tensors[i].unflatten(0, (3, self.model.blocks[0].heads, -1))[:2] for i in self.projections])
        return made.flatten(0, 2).flatten(1).double()

    def watch(self, rate: Any) -> tuple[Tensor, ...]:
        seen = super().watch(rate)  # which leaves W_n - W_(n+1) in ``before``
        now, move = self.blocks(self.params), self.blocks(self.before)
        moved = move.square().sum(1)
        return *seen, torch.stack([-2 * (now * move).sum(1) - moved, moved])

    def watched(self, begin: int, end: int) -> dict[str, Any]:
        """Besides, |W|^2 of every block now, and the two sums over the steps, each (blocks,)."""
        found = torch.stack([self.blocks(self.params).square().sum(1), *self.norms[begin:end].sum(0)]).numpy(force=True)
        return super().watched(begin, end) | dict(zip(NORMS, found, strict=True))
