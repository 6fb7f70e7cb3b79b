"""When losses first fall to given shares of their initial values, and the weights there."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kadam.lab.engine.state import Stateful
from kadam.lab.train.ensemble import Ensemble
from kadam.theory.arguments import Array


class Reached(Stateful):
    """When the loss of every member is first at most a share of its initial loss.

    Arrays are (E, L): ``step``, and ``reached``, the loss there over the initial one; NaN where a level is not reached.
    ``first``: initial losses, (E,).
    """

    STATE: ClassVar[tuple[str, ...]] = ("step", "reached", "first")

    def __init__(self, shares: Sequence[float], members: int) -> None:
        self.shares, self.first = np.array(shares), np.full(members, np.nan)
        self.step = np.full((members, len(shares)), np.nan)
        self.reached = self.step.copy()

    @property
    def done(self) -> bool:
        return not np.isnan(self.step).any()

    def see(self, n: int, losses: Array) -> NDArray[np.bool_]:
        """Losses (E,) at step n = 0, 1, ...; which levels are reached by them, (E, L)."""
        if n == 0:
            self.first[:] = losses
        share = np.repeat((losses / self.first)[:, None], len(self.shares), axis=1)
        new = np.isnan(self.step) & (share <= self.shares)
        self.step[new], self.reached[new] = n, share[new]
        return new


class Levels(Reached):
    """And the weights of every member there. ``kept``: path -> (E, L, ...), zeros where nothing is kept."""

    STATE: ClassVar[tuple[str, ...]] = (*Reached.STATE, "kept")

    def __init__(self, shares: Sequence[float], weights: Mapping[str, Tensor]) -> None:
        members = len(next(iter(weights.values())))
        super().__init__(shares, members)
        self.kept = {name: w.new_zeros(members, len(shares), *w.shape[1:]) for name, w in weights.items()}

    def note(self, n: int, losses: Array, weights: Mapping[str, Tensor]) -> None:
        """Losses (E,) of these weights, at step n = 0, 1, ..."""
        for member, level in zip(*np.nonzero(self.see(n, losses)), strict=True):
            for name, weight in weights.items():
                self.kept[name][member, level] = weight[member]

    def follow(self, ensemble: Ensemble, n: int, batch: Any) -> None:
        """One step of all members, n = 0, 1, ..., with its losses noted; none once all have reached the last level."""
        if not self.done:
            before = {name: weight.clone() for name, weight in ensemble.params.items()}
            self.note(n, ensemble.step(batch).double().numpy(force=True), before)

    def at(self, level: int) -> tuple[NDArray[np.intp], dict[str, Tensor]]:
        """The members that reached the level with this number, and their weights there: path -> (members, ...)."""
        members = np.flatnonzero(~np.isnan(self.step[:, level]))
        return members, {name: kept[torch.from_numpy(members).to(kept.device), level] for name, kept in self.kept.items()}
