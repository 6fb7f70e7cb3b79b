"""Methods of training compared fairly: each is tried at as many learning rates, then all run again with other seeds.

The three comparisons: at one learning rate for all; at each method's best in the search; and at the rate at which a method's
update is as large as Adam's at that one learning rate. Size is learning rate times the root mean square of u, over all weights
and steps.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from kadam.lab.engine.state import Stateful
from kadam.lab.train import optimizers as baselines

COMPARISONS = ("equal rate", "tuned", "matched size")
REFERENCE = "Adam"

Array = NDArray[np.float64]


class Trial(NamedTuple):
    """One training run of a method."""

    rate: float  # peak learning rate
    seed: int


class Trained(Protocol):
    """A training run as it is watched here; :class:`kadam.lab.train.training.Training` is one."""

    def step(self, n: int) -> None: ...

    def diverged_at(self, n: int) -> int | None: ...

    def watched(self, begin: int, end: int) -> dict[str, float]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


T = TypeVar("T", bound=Trained)


class Runs(Stateful, Generic[T]):
    """Several training runs one after another, each of which leaves a row in every table.

    ``begin(trial)``: the run from its start; ``judge(run)``: how good it is on data that it does not learn from, number by
    name. ``measures``: the names of these numbers and of those that a run watches.
    """

    STATE = ("current", "tables")

    def __init__(
        self,
        trials: Sequence[Trial],
        begin: Callable[[Trial], T],
        judge: Callable[[T], Mapping[str, float]],
        *,
        measures: Sequence[str],
        steps: int,
        evaluations: int,
    ) -> None:
        self.trials, self.begin, self.judge, self.steps = trials, begin, judge, steps
        self.marks = [0, *marks(steps, evaluations)]
        self.tables: dict[str, Array] = {name: np.full((len(trials), evaluations), np.nan) for name in measures}
        self.tables["diverged_at"] = np.full(len(trials), np.nan)
        self.current: T | None = None
        self._start(0)

    def _start(self, i: int) -> None:
        """Begin run i; one without a learning rate, since none gives that size, counts as diverged before its first step."""
        self.i = i
        if math.isfinite(self.trials[i].rate):
            self.current = self.begin(self.trials[i])
        else:
            self.current = None
            self.tables["diverged_at"][i] = 0

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"i": self.i}

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

    def _look(self, run: T, mark: int) -> None:
        """Evaluate, and keep what was seen since the last time; or keep when the run diverged."""
        begin, end = self.marks[mark - 1 : mark + 1]
        diverged = run.diverged_at(end)
        if diverged is not None:
            self.tables["diverged_at"][self.i] = diverged
            return
        for name, value in {**self.judge(run), **run.watched(begin, end)}.items():
            self.tables[name][self.i, mark - 1] = value

    def dataset(self) -> xr.Dataset:
        """The tables. Dimensions: trial, evaluation."""
        dims = ("trial", "evaluation")
        return xr.Dataset({name: (dims[: table.ndim], table) for name, table in self.tables.items()})


def marks(steps: int, evaluations: int) -> list[int]:
    """The steps after which a run is evaluated, at equal distances, the last one included."""
    return [(i + 1) * steps // evaluations for i in range(evaluations)]


def search(method: str, adams: Sequence[float], seeds: Sequence[int]) -> list[Trial]:
    """The runs in which a method's learning rate is sought, given those at which Adam is tried."""
    return [Trial(rate, seed) for rate in baselines.rates(method, adams) for seed in seeds]


def contest(rates: xr.DataArray, seeds: Sequence[int]) -> list[Trial]:
    """The runs in which a method is compared, given its learning rate for each comparison."""
    return [Trial(float(rates.sel(comparison=name)), seed) for name in COMPARISONS for seed in seeds]


def by_piece(results: Mapping[str, xr.Dataset], networks: Sequence[str], methods: Sequence[str]) -> xr.Dataset:
    """The results of pieces named "network, method" side by side. Dimensions: network, optimizer, trial, evaluation."""
    names = xr.Variable("optimizer", list(methods))
    rows = [xr.concat([results[f"{network}, {m}"].drop_attrs() for m in methods], names) for network in networks]
    return xr.concat(rows, xr.Variable("network", list(networks)))


def unfolded(trials: xr.Dataset, outer: xr.Variable, inner: xr.Variable) -> xr.Dataset:
    """The dimension trial as the two that it goes through, each given by its values."""
    (name,), (last,), each = outer.dims, inner.dims, inner.size
    rows = [trials.isel(trial=slice(i * each, (i + 1) * each)).rename(trial=last) for i in range(outer.size)]
    return xr.concat(rows, outer).assign_coords({name: outer, last: inner})


def overall(update: xr.DataArray) -> xr.DataArray:
    """The root mean square of u over the whole of training, from those between evaluations."""
    return (update**2).mean("evaluation", skipna=False) ** 0.5


def peak_rates(found: xr.Dataset, score: xr.DataArray, equal_rate: float) -> xr.DataArray:
    """The learning rate of every comparison, from a search. Dimensions: comparison, network, optimizer.

    ``found``: update_rms (network, optimizer, rate, tuning_seed) and tried (optimizer, rate). ``score``: with the dimensions of
    update_rms, larger is better, a number for runs that diverged as well.
    """
    best = score.mean("tuning_seed").argmax("rate")
    tuned = found.tried.isel(rate=best).drop_vars("rate")
    sizes = found.tried * found.update_rms.mean("tuning_seed")
    target = _at(found.tried, sizes, equal_rate).sel(optimizer=REFERENCE, drop=True)
    matched = _at(sizes, found.tried, target)
    equal = xr.full_like(matched, equal_rate)
    rates = xr.concat([equal, tuned, matched], xr.Variable("comparison", list(COMPARISONS)), coords="minimal")
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
