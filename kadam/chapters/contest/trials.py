"""Training runs of a contest: which there are, how they follow one another, and the learning rates that a search gives."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from kadam.chapters.contest.comparisons import ADAM, COMPARISONS
from kadam.chapters.contest.parabola import interpolated_optimum
from kadam.lab.engine.state import Stateful
from kadam.lab.train.training import Training
from kadam.theory.arguments import Array


class Piece(NamedTuple):
    """What one process trains: all runs of a network with a method."""

    network: str
    method: str


class Trial(NamedTuple):
    """One training run of a method."""

    rate: float  # peak learning rate
    seed: int
    changes: tuple[tuple[str, float], ...] = ()  # the fields of the configuration that are others in this run

    def applied(self, config: Any) -> Any:
        """The configuration of this run."""
        return replace(config, **dict(self.changes)) if self.changes else config


def crossed(rates: Sequence[float], seeds: Sequence[int]) -> list[Trial]:
    """Each of a method's learning rates with every seed."""
    return [Trial(rate, seed) for rate in rates for seed in seeds]


@dataclass(eq=False)
class Runs(Stateful):
    """Several training runs one after another, each of which leaves a row in every table."""

    trials: Sequence[Trial]
    begin: Callable[[Trial], Training]  # a run from its start
    data: Any  # on which it is evaluated, and from which it does not learn
    measures: Sequence[str]  # the numbers that this gives, and those that a run watches
    steps: int
    evaluations: int
    blocks: Mapping[str, Sequence[str]] = field(default_factory=dict)  # of weights, of each of which it leaves such numbers

    STATE = ("i", "current", "tables")

    def __post_init__(self) -> None:
        shape = len(self.trials), self.evaluations
        self.marks = [0, *marks(self.steps, self.evaluations)]
        self.tables: dict[str, Array] = {name: np.full(shape, np.nan) for name in self.measures}
        self.tables |= {name: np.full((*shape, len(blocks)), np.nan) for name, blocks in self.blocks.items()}
        self.tables["diverged_at"] = np.full(len(self.trials), np.nan)
        self._start(0)

    def _start(self, i: int) -> None:
        """Begin run i; one without a learning rate, since none gives that size, counts as diverged before its first step."""
        known = math.isfinite(self.trials[i].rate)
        self.i, self.current = i, self.begin(self.trials[i]) if known else None
        if not known:
            self.tables["diverged_at"][i] = 0

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._start(state["i"])
        super().load_state_dict(state)

    def step(self, n: int) -> None:
        """Step n of all runs together; a run that has diverged takes no more steps."""
        i, step = divmod(n, self.steps)
        if i != self.i:
            self._start(i)
        if self.current is not None and np.isnan(self.tables["diverged_at"][i]):
            self.current.step(step)
            if step + 1 in self.marks:
                self._look(self.current, self.marks.index(step + 1))

    def _look(self, run: Training, mark: int) -> None:
        """Evaluate, and keep what was seen since the last time; or keep when the run diverged."""
        begin, end = self.marks[mark - 1 : mark + 1]
        diverged = run.diverged_at(end)
        if diverged is not None:
            self.tables["diverged_at"][self.i] = diverged
            return
        for name, value in {**run.evaluate(self.data), **run.watched(begin, end)}.items():
            self.tables[name][self.i, mark - 1] = value

    def dataset(self) -> xr.Dataset:
        """The tables, and how a GPU took the steps. Dimensions: trial, evaluation; block."""
        tables = {name: (("trial", "evaluation", "block")[: table.ndim], table) for name, table in self.tables.items()}
        names = [list(blocks) for blocks in self.blocks.values()]
        return xr.Dataset(tables, {"block": names[0]} if names else {}, self.current.replay.described if self.current else {})


def marks(steps: int, evaluations: int) -> list[int]:
    """The steps after which a run is evaluated, at equal distances, the last one included."""
    return [(i + 1) * steps // evaluations for i in range(evaluations)]


def side_by_side(results: Mapping[Piece, xr.Dataset], networks: Sequence[str], methods: Sequence[str]) -> xr.Dataset:
    """The results of all pieces. Dimensions: network, optimizer, and those of a piece."""
    rows = [[results[Piece(network, method)].drop_attrs() for method in methods] for network in networks]
    together = xr.combine_nested(rows, ["network", "optimizer"]).transpose("network", "optimizer", ...)
    return together.assign_coords(network=list(networks), optimizer=list(methods))


def unfolded(trials: xr.Dataset, outer: xr.Variable, inner: xr.Variable) -> xr.Dataset:
    """The dimension trial as the two that it goes through, each given by its values; the outer one first of all."""
    (first,), (last,) = outer.dims, inner.dims
    both = trials.coarsen(trial=inner.size).construct(trial=(first, last))
    return both.transpose(first, ...).assign_coords({first: outer, last: inner})


# The tuned rates (network, optimizer), given those tried (optimizer, rate) and the score there, mean over seeds, with rate.
Tuned = Callable[[xr.DataArray, xr.DataArray], xr.DataArray]


def best_tried(tried: xr.DataArray, score: xr.DataArray) -> xr.DataArray:
    """Of the rates tried the one with the largest score."""
    return tried.isel(rate=score.argmax("rate")).drop_vars("rate")


def interpolated(tried: xr.DataArray, score: xr.DataArray) -> xr.DataArray:
    """Where a parabola in log rate through the largest score and its neighbours is largest, also between the rates tried."""
    dims = [["rate"], ["rate"]]
    return xr.apply_ufunc(lambda *of: interpolated_optimum(*of).rate, tried, -score, input_core_dims=dims, vectorize=True)


def peak_rates(found: xr.Dataset, score: xr.DataArray, equal_rate: float, tuned: Tuned = best_tried) -> xr.DataArray:
    """The learning rate of every comparison, from a search. Dimensions: comparison, network, optimizer.

    ``found``: update_rms (network, optimizer, rate, tuning_seed) and tried (optimizer, rate). ``score``: with the dimensions of
    update_rms, larger is better, a number for runs that diverged as well.
    """
    sizes = found.tried * found.update_rms.mean("tuning_seed")
    target = _at(found.tried, sizes, equal_rate).sel(optimizer=ADAM, drop=True)
    matched = _at(sizes, found.tried, target)
    equal = xr.full_like(matched, equal_rate)
    best = tuned(found.tried, score.mean("tuning_seed"))
    rates = xr.concat([equal, best, matched], xr.Variable("comparison", list(COMPARISONS)), coords="minimal")
    return rates.transpose("comparison", "network", "optimizer")


def _at(x: xr.DataArray, y: xr.DataArray, at: xr.DataArray | float) -> xr.DataArray:
    """y where x is ``at``, along the rates tried."""
    return xr.apply_ufunc(log_interpolation, x, y, at, input_core_dims=[["rate"], ["rate"], []], vectorize=True)


def log_interpolation(x: Array, y: Array, at: float) -> float:
    """y where x is ``at``, linear between the logarithms; outside of what is known y is proportional to x.

    x should ascend; where it does not, the largest so far counts. Points that are not finite are left out; NaN without any.
    """
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return float("nan")
    log_x, log_y, point = np.log(np.maximum.accumulate(x[known])), np.log(y[known]), np.log(at)
    inside = np.clip(point, log_x[0], log_x[-1])
    return float(np.exp(np.interp(inside, log_x, log_y) + point - inside))
