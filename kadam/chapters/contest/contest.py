"""A contest of optimizers, whatever they train: a search for learning rates, then comparisons with other seeds."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from torch.optim.optimizer import Optimizer

from kadam.chapters.contest.comparisons import ADAM, COMPARISONS, overall
from kadam.chapters.contest.settings import DEFAULT
from kadam.chapters.contest.trials import (
    Piece,
    Runs,
    Trial,
    Tuned,
    best_tried,
    crossed,
    marks,
    peak_rates,
    side_by_side,
    unfolded,
)
from kadam.decay import Decay
from kadam.lab.data.configured import configured
from kadam.lab.data.sources import DataError, Described, describe
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import captured, computed_s, one_thread, sweep
from kadam.lab.records.profiles import betas_of
from kadam.lab.train import devices, optimizers, stopwatch
from kadam.lab.train.arithmetic import TRAINING, Arithmetic, Size, bytes_a_step
from kadam.lab.train.training import Training, parameter_count
from kadam.theory.arguments import Array

SEARCH, COMPARISON = "search", "comparison"  # the two phases

Trials = Mapping[Piece, list[Trial]]

KEPT = ("accuracy", "loss", "diverged_at")  # of what a run leaves, all that is kept of the search, at its end
LATER_SEEDS = 1000  # so far from the seeds of the search are those of the comparisons


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


@dataclass(frozen=True)
class Contest:
    """Every method trains every network: at several learning rates, and then, with other seeds, at those of the comparisons."""

    title: str
    data: str  # the kind of data, a name in ``configured.KINDS``
    networks: tuple[str, ...]
    methods: tuple[str, ...]
    tuning_steps: int  # of a run in the search
    measures: tuple[str, ...]  # the numbers that a run leaves at every evaluation
    # Given the configuration and the sha256 of its data: what has network(name), training(piece, steps, trial), a run from its
    # start, and held_out(network, phase), what runs are evaluated on.
    load: Callable[[Any, str], Any]
    config: Any  # has rates (Adam's in the search), equal_rate, tuning_seeds, seeds, seed, steps, evaluations and device
    comparisons: tuple[str, ...] = COMPARISONS
    tuned: Tuned = best_tried  # how the tuned rates follow from the search
    score: str = "loss"  # or "accuracy": by which the search judges
    blocks: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)  # a network's, by what a run leaves of them

    @property
    def pieces(self) -> list[Piece]:
        return [Piece(network, method) for network in self.networks for method in self.methods]

    @property
    def later_seeds(self) -> list[int]:
        """Of the comparisons."""
        return [self.config.seed + LATER_SEEDS + i for i in range(self.config.seeds)]

    @property
    def plan(self) -> Plan:
        """What :meth:`hold` would do."""
        config, pieces = self.config, len(self.pieces)
        first, second = pieces * len(config.rates) * config.tuning_seeds, pieces * len(self.comparisons) * config.seeds
        return Plan(first, second, first * self.tuning_steps + second * config.steps)

    def announcement(self, jobs: int) -> str:
        """The plan and an estimate from a few steps on this machine, mean over the networks."""
        return self.plan.sentence(self._seconds_a_step(ADAM), jobs)

    def pilot(self) -> float:
        """The seconds that all runs take here, one after another, from a few steps with each number of stages."""
        by_k: dict[int, list[str]] = {}
        for method in self.methods:
            by_k.setdefault(max(1, optimizers.stages_of(method)[0]), []).append(method)
        seconds = sum(len(alike) * self._seconds_a_step(alike[0]) for alike in by_k.values()) / len(self.methods)
        return self.plan.steps * seconds

    def _seconds_a_step(self, method: str) -> float:
        """Of this method on this machine, evaluations included, mean over the networks."""
        config, seconds = self.config, []
        inputs = self.load(config, configured(self.data, config).sha256)
        for network in self.networks:
            training = inputs.training(Piece(network, method), config.steps, Trial(config.equal_rate, config.seed))
            data, every = inputs.held_out(network, COMPARISON), config.steps / config.evaluations
            seconds.append(seconds_a_step(training, data, every=every, device=config.device))
        return float(np.mean(seconds))

    def arithmetic(self, sizes: Mapping[str, Size], *, evaluated: float, precision: str) -> Arithmetic:
        """What it computes; ``sizes``: of each network on a batch; ``evaluated``: batches in one evaluation."""
        config, plan = self.config, self.plan
        runs, each = plan.tuning + plan.comparing, plan.steps / len(self.pieces)  # steps of a network with a method
        looks = runs / len(self.pieces) * config.evaluations * evaluated
        operations = sum(size.operations * (TRAINING * each + looks) for size in sizes.values()) * len(self.methods)
        ks = [max(1, optimizers.stages_of(method)[0]) for method in self.methods]
        moved = sum(bytes_a_step(size.weights, k) * each for size in sizes.values() for k in ks)
        return Arithmetic(plan.steps, runs, max(size.weights for size in sizes.values()), operations, moved, precision)

    def hold(self, *, checkpoint: Path | None, jobs: int) -> xr.Dataset:
        """The record. Dimensions: network, optimizer; rate, tuning_seed; comparison, seed, evaluation, block."""
        config, data = self.config, configured(self.data, self.config)
        trained = functools.partial(self.trained, data.sha256, checkpoint=checkpoint, jobs=jobs)
        tuning_seeds = [config.seed + i for i in range(config.tuning_seeds)]
        seeds = self.later_seeds
        search = trained(SEARCH, {p: crossed(optimizers.rates(p.method, config.rates), tuning_seeds) for p in self.pieces})
        found = self._found(search, tuning_seeds)
        score = found.accuracy.fillna(0) if self.score == "accuracy" else -found.loss.fillna(np.inf)
        rates = peak_rates(found, score, config.equal_rate, self.tuned).sel(comparison=list(self.comparisons))
        trials = {p: crossed(rates.sel(network=p.network, optimizer=p.method).values.tolist(), seeds) for p in self.pieces}
        comparison = trained(COMPARISON, trials)
        compared = unfolded(comparison, xr.Variable("comparison", list(self.comparisons)), xr.Variable("seed", seeds))
        searched = found.rename({name: f"search_{name}" for name in found.data_vars if name != "tried"})
        dataset = xr.merge([searched, compared, rates.rename("peak_rate")])
        return self.described(dataset, data, (search, comparison))

    def described(self, dataset: xr.Dataset, data: Described, phases: Sequence[xr.Dataset]) -> xr.Dataset:
        """A record with what is known of its networks, methods and data, and how its phases were computed."""
        config, inputs = self.config, self.load(self.config, data.sha256)
        dataset = dataset.astype(np.float32)
        dataset["parameters"] = "network", [parameter_count(inputs.network(name)) for name in self.networks]
        seconds = round(sum(phase.attrs["computed_s"] for phase in phases), 3)
        dataset.attrs = {"computed_s": seconds, "steps": config.steps, "equal_rate": config.equal_rate}
        dataset.attrs |= describe(data) | devices.described(config.device) | captured(phase.attrs for phase in phases)
        return dataset.assign_coords(stages(self.methods)).assign_coords(evaluation=marks(config.steps, config.evaluations))

    def train(self, sha256: str, phase: str, trials: Trials, piece: Piece, progress: Progress) -> xr.Dataset:
        """All runs of a piece. Dimensions: trial, evaluation."""
        inputs, steps, network = self.load(self.config, sha256), self.steps_of(phase), piece.network
        begin, data = functools.partial(inputs.training, piece, steps), inputs.held_out(network, phase)
        runs = Runs(trials[piece], begin, data, self.measures, steps, self.config.evaluations, self.blocks.get(network, {}))
        for n in progress.over(len(runs.trials) * steps, {"runs": runs}):
            runs.step(n)
        return runs.dataset()

    def steps_of(self, phase: str) -> int:
        """Of one run."""
        return int(self.tuning_steps if phase == SEARCH else self.config.steps)

    def trained(self, sha256: str, phase: str, trials: Trials, *, checkpoint: Path | None, jobs: int) -> xr.Dataset:
        """The results of a phase, with the seconds that it took. Dimensions: network, optimizer, trial, evaluation."""
        results = sweep(
            self.pieces,
            functools.partial(self.train, sha256, phase, trials),
            steps=self.steps_of(phase) * len(trials[self.pieces[0]]),
            title=f"{self.title}, {phase}",
            checkpoint=None if checkpoint is None else checkpoint / phase,
            jobs=jobs,
        )
        together = side_by_side(results, self.networks, self.methods)
        return together.assign_attrs(computed_s=computed_s(results), **captured(of.attrs for of in results.values()))

    def _found(self, search: xr.Dataset, seeds: list[int]) -> xr.Dataset:
        """What the search gave at the end of each run. Dimensions: network, optimizer, rate, tuning_seed."""
        rates = self.config.rates
        trials = unfolded(search, xr.Variable("rate", list(rates)), xr.Variable("tuning_seed", seeds))
        ends = trials[[name for name in KEPT if name in trials]].isel(evaluation=-1)
        tried = [optimizers.rates(method, rates) for method in self.methods]
        return ends.assign(update_rms=overall(trials.update_rms), tried=(("optimizer", "rate"), tried))


def stages(methods: tuple[str, ...]) -> dict[str, Any]:
    """Each method's k (0: no k-Adam) and strategy, as coordinates."""
    k, strategy = zip(*map(optimizers.stages_of, methods), strict=True)
    return {"k": ("optimizer", list(k)), "strategy": ("optimizer", list(strategy))}


def betas(methods: tuple[str, ...]) -> Array:
    """gamma and beta of every method, NaN where a method is no pair, (2, methods)."""
    known = {ADAM: DEFAULT}
    return np.array([betas_of(name) or known.get(name, (np.nan, np.nan)) for name in methods]).T


def optimizer(config: Any, piece: Piece, trial: Trial) -> Callable[[Any], Optimizer]:
    """What makes the optimizer of a run, given the parameters."""
    own = trial.applied(config)
    decay = Decay(beta=own.beta, gamma=own.gamma)
    return functools.partial(optimizers.optimizer, piece.method, lr=trial.rate, decay=decay, weight_decay=own.weight_decay)


def check_same(kind: str, found: Described, sha256: str) -> None:
    """``DataError`` where a process that computes a piece finds other data than those that are meant."""
    if found.sha256 != sha256:
        raise DataError(f"{kind}: sha256 is {found.sha256} where this piece is computed, expected {sha256}")


def foretold(
    contest: Callable[[Any], Contest], arithmetic: Callable[[Contest], Arithmetic]
) -> tuple[Callable[[Any, int], str], Callable[[Any], Arithmetic], Callable[[Any], float]]:
    """What is known of an experiment before it is run, each a function of its configuration: what it says before it starts, in
    so many processes, with an estimate from a few steps here; what it computes; and from such steps the seconds of all runs.
    """
    return (
        lambda config, jobs: contest(config).announcement(jobs),
        lambda config: arithmetic(contest(config)),
        lambda config: contest(config).pilot(),
    )


def seconds_a_step(training: Training, data: Any, *, every: float, device: str, tried: int = 20) -> float:
    """How long a step takes here in one thread, with an evaluation every so many, both after a first that is not counted."""
    limit = min(tried, training.schedule.steps)
    parts: dict[str, stopwatch.Step] = {
        "steps": lambda: list(map(training.step, range(limit))),
        "evaluation": lambda: training.evaluate(data),
    }
    with one_thread():
        seconds = stopwatch.paired(parts, rounds=1, repeats=1, device=device)
    return float(seconds["steps"][0]) / limit + float(seconds["evaluation"][0]) / every


COMMON_UNITS = {
    "parameters": "numbers that are learnt",
    "search_update_rms": "root mean square of u over all weights and steps",
    "search_diverged_at": "step; NaN: did not diverge",
    "tried": "peak learning rate in the search",
    "peak_rate": "peak learning rate in the contest",
    "update_rms": "root mean square of u over all weights, from the evaluation before to this one",
    "diverged_at": "step; NaN: did not diverge",
}
