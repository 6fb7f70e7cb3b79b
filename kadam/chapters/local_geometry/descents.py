"""One method on a landscape: the search for its learning rate, its runs, and what is measured where they reach levels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from kadam.chapters.local_geometry.landscapes import EXACT, Array, Descent, Landscape, Levels
from kadam.decay import Decay
from kadam.lab.engine.state import Stateful

# What is measured: from the Hessian's diagonals of the layers, each (E, size), numbers (E, layers + 1), the last of all pooled.
Statistics = Callable[[list[Array]], Array]


@dataclass(frozen=True)
class Plan:
    """How long, from which seeds, with which rates. A grid of one rate needs no search."""

    grid: Sequence[float]
    steps: int
    levels: Sequence[float]  # of the initial loss, falling
    seeds: Sequence[int]
    search_seeds: int  # the search's: 0, 1, ... below this
    decay: Decay

    @property
    def searched(self) -> int:
        """Steps of the search."""
        return self.steps if len(self.grid) > 1 else 0

    @property
    def length(self) -> int:
        """How often :meth:`Run.advance` is called."""
        return self.searched + self.steps + len(self.levels)


class Run(Stateful):
    """All seeds of one method. ``probes``: see :meth:`Landscape.diagonals`; ``checked``: layers exact, too, for one seed."""

    STATE = ("search", "runs", "levels", "final", "found", "exact")

    def __init__(
        self,
        plan: Plan,
        problem: Landscape,
        method: str,
        *,
        scale: float,
        probes: int,
        checked: Sequence[int],
        statistics: Statistics,
    ) -> None:
        self.plan, self.problem, self.probes, self.checked, self.statistics = plan, problem, probes, checked, statistics
        grid = list(plan.grid)
        searched = [problem.start(seed, scale) for seed in range(plan.search_seeds) for _ in grid]
        starts = [problem.start(seed, scale) for seed in plan.seeds]
        self.search = Descent(problem, method, searched, decay=plan.decay, lr=grid * plan.search_seeds)
        self.runs = Descent(problem, method, starts, decay=plan.decay, lr=np.nan)
        self.levels = Levels(plan.levels, self.runs.params)
        self.final = np.full(len(searched), np.nan)  # the search's losses
        self.found = np.full((len(starts), len(plan.levels), len(problem.weights) + 1), np.nan)
        self.exact = self.found.copy()

    @property
    def rate(self) -> float:
        """The rate whose final loss is lowest in the mean over the search's seeds."""
        losses = self.final.reshape(self.plan.search_seeds, -1).mean(0)
        return float(self.plan.grid[int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))])

    def advance(self, n: int) -> None:
        """Part n = 0, 1, ... of the whole: a step of the search, a step of the runs, or a look at a level."""
        searched, steps = self.plan.searched, self.plan.steps
        if n < searched:
            self.final = self.search.step(self.problem.batch).double().numpy(force=True)
        elif n < searched + steps:
            self.runs.lr = self.rate
            self.levels.follow(self.runs, n - searched, self.problem.batch)
        else:
            self.look(n - searched - steps)

    def look(self, level: int) -> None:
        """The statistics of the members that reached the level with this number."""
        members, weights = self.levels.at(level)
        if len(members):
            self.found[members, level] = self.statistics(self.problem.diagonals(weights, probes=self.probes))
        if self.checked and len(members) and members[0] == 0:
            first = {path: weight[:1] for path, weight in weights.items()}
            exact = self.problem.diagonals(first, probes=EXACT, only=self.checked)
            self.exact[0, level, self.checked] = self.statistics(exact)[0, :-1]

    def summary(self, network: str) -> xr.Dataset:
        """R_med and what belongs to it, with layers named "network: layer"; ``owner``: the network of a layer."""
        names = [f"{network}: {name}" for name in self.problem.weights]
        values = {
            "r_med": (("seed", "level", "layer"), self.found[..., :-1]),
            "exact": (("seed", "level", "layer"), self.exact[..., :-1]),
            "pooled": (("seed", "level"), self.found[..., -1]),
            "step": (("seed", "level"), self.levels.step),
            "reached": (("seed", "level"), self.levels.reached),
            "rate": ((), self.rate),
        }
        coords = {"seed": list(self.plan.seeds), "level": list(self.plan.levels), "layer": names}
        return xr.Dataset(values, {**coords, "owner": ("layer", [network] * len(names))})
