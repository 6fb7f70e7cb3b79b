"""A contest of optimizers from the first search to the last run, whatever they train."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import xarray as xr

from kadam.chapters.contest.trials import COMPARISONS, Trial, by_piece, contest, overall, peak_rates, search, unfolded
from kadam.decay import check_stage_count, check_strategy
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, one_thread, sweep
from kadam.lab.train import optimizers as baselines
from kadam.lab.train import stopwatch
from kadam.lab.train.training import Training

SEARCH, CONTEST = "search", "contest"

Trials = dict[str, list[Trial]]
TrainPiece = Callable[[str, Trials, str, Progress], xr.Dataset]


class Plan(NamedTuple):
    """How many runs a contest is, in two phases, and steps of all."""

    tuning: int
    comparing: int
    steps: int

    def sentence(self, seconds: float, processes: int) -> str:
        """What is to come; ``seconds``: of one step here, just measured, evaluations included."""
        minutes = self.steps * seconds / processes / 60
        return (
            f"{self.tuning} runs to find learning rates, then {self.comparing} to compare, {self.steps:,} steps in all; "
            f"{1e3 * seconds:.2g} ms a step here, about {minutes:.0f} min with {processes} at once"
        )


class Entries(Protocol):
    """The part of a configuration that says which methods compete, and at which learning rates."""

    @property
    def ks(self) -> tuple[int, ...]: ...

    @property
    def strategies(self) -> tuple[str, ...]: ...

    @property
    def equal_rate(self) -> float: ...

    @property
    def rates(self) -> tuple[float, ...]: ...


def check_entries(config: Entries) -> None:
    """``ValueError`` for a k or a strategy that k-Adam does not have, or a learning rate that is not finite and above 0."""
    for k in config.ks:
        check_stage_count(k)
    for strategy in config.strategies:
        check_strategy(strategy)
    for name, values in {"equal_rate": (config.equal_rate,), "rates": config.rates}.items():
        if not values or not all(0 < value < math.inf for value in values):
            raise ValueError(f"{name} must be finite and > 0, got {getattr(config, name)!r}")


@dataclass(frozen=True)
class Competition:
    """Every method trains every network: at several learning rates, and then, with other seeds, at those of the comparisons."""

    title: str
    networks: tuple[str, ...]
    methods: tuple[str, ...]
    rates: tuple[float, ...]  # Adam's in the search
    equal_rate: float
    tuning_seeds: int
    seeds: int
    seed: int  # the first
    tuning_steps: int  # of a run in the search
    steps: int  # of a run in the contest
    judged: tuple[str, ...]  # the numbers that a run is judged by, kept of the search

    @property
    def pieces(self) -> dict[str, tuple[str, str]]:
        """The network and the method of every piece of work."""
        return {f"{network}, {method}": (network, method) for network in self.networks for method in self.methods}

    @property
    def plan(self) -> Plan:
        """What :meth:`hold` would do."""
        tuning = len(self.pieces) * len(self.rates) * self.tuning_seeds
        comparing = len(self.pieces) * len(COMPARISONS) * self.seeds
        return Plan(tuning, comparing, tuning * self.tuning_steps + comparing * self.steps)

    def hold(
        self, train_piece: TrainPiece, score: Callable[[xr.Dataset], xr.DataArray], *, checkpoint: Path | None, jobs: int
    ) -> xr.Dataset:
        """The record. Dimensions: network, optimizer; rate, tuning_seed; comparison, seed, evaluation.

        ``train_piece(phase, trials, piece, progress)``: the runs of a piece. ``score(found)``: what the search chooses by,
        larger is better.
        """
        seeds = [self.seed + 1000 + i for i in range(self.seeds)]  # that no search has seen
        tuning_seeds = [self.seed + i for i in range(self.tuning_seeds)]
        first = self._trained(
            SEARCH,
            {piece: search(method, self.rates, tuning_seeds) for piece, (_, method) in self.pieces.items()},
            functools.partial(train_piece, SEARCH),
            checkpoint,
            jobs,
        )
        found = self._found(first, tuning_seeds)
        rates = peak_rates(found, score(found), self.equal_rate)
        second = self._trained(
            CONTEST,
            {piece: contest(rates.sel(network=n, optimizer=m), seeds) for piece, (n, m) in self.pieces.items()},
            functools.partial(train_piece, CONTEST),
            checkpoint,
            jobs,
        )
        results = by_piece(second, self.networks, self.methods)
        compared = unfolded(results, xr.Variable("comparison", list(COMPARISONS)), xr.Variable("seed", seeds))
        searched = found.rename({name: f"search_{name}" for name in found.data_vars if name != "tried"})
        dataset = xr.merge([searched, compared, rates.rename("peak_rate")]).astype(np.float32)
        dataset.attrs = {"computed_s": round(computed_s(first) + computed_s(second), 3)}
        return dataset.assign_coords(stages(self.methods))

    def steps_of(self, phase: str) -> int:
        """Of one run."""
        return self.tuning_steps if phase == SEARCH else self.steps

    def _trained(
        self,
        phase: str,
        trials: Trials,
        train: Callable[[Trials, str, Progress], xr.Dataset],
        checkpoint: Path | None,
        jobs: int,
    ) -> dict[str, xr.Dataset]:
        steps = self.steps_of(phase) * len(next(iter(trials.values())))
        folder = None if checkpoint is None else checkpoint / phase
        title = f"{self.title}, {phase}"
        compute = functools.partial(train, trials)
        return sweep(list(self.pieces), compute, steps=steps, title=title, checkpoint=folder, jobs=jobs)

    def _found(self, results: dict[str, xr.Dataset], seeds: list[int]) -> xr.Dataset:
        """What the search gave at the end of each run. Dimensions: network, optimizer, rate, tuning_seed."""
        place = xr.Variable("rate", list(self.rates))
        trials = unfolded(by_piece(results, self.networks, self.methods), place, xr.Variable("tuning_seed", seeds))
        ends = trials[[*self.judged, "diverged_at"]].isel(evaluation=-1, missing_dims="ignore")
        tried = [baselines.rates(method, self.rates) for method in self.methods]
        return ends.assign(update_rms=overall(trials.update_rms), tried=(("optimizer", "rate"), tried))


def stages(methods: tuple[str, ...]) -> dict[str, Any]:
    """Each method's k (0: no k-Adam) and strategy, as coordinates."""
    k, strategy = zip(*map(baselines.stages_of, methods), strict=True)
    return {"k": ("optimizer", list(k)), "strategy": ("optimizer", list(strategy))}


def seconds_a_step(training: Training, data: Any, *, every: float, device: str, tried: int = 20) -> float:
    """How long a step takes here in one thread, with an evaluation every so many, both after a first that is not counted."""
    limit = min(tried, training.schedule.steps)

    def several() -> None:
        for n in range(limit):
            training.step(n)

    with one_thread():
        return _seconds(several, device) / limit + _seconds(lambda: training.evaluate(data), device) / every


def _seconds(action: Callable[[], object], device: str) -> float:
    action()
    return float(stopwatch.paired({"it": action}, rounds=1, repeats=1, device=device)["it"][0])
