"""k-Adam on images: does a second stage help, or does it only take larger steps?

A small convolutional network, with batch normalisation and without, learns CIFAR-10 with k-Adam under every strategy and k and with
six baselines. First every method is tried at the same number of learning rates, judged on validation images alone. Then, with other
seeds and on the test images, methods are compared three ways: at the same learning rate, as the paper does; at the rate that was best
in validation; and at the rate at which the method's update is as large as Adam's at that same learning rate.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from kadam.decay import STRATEGIES, Decay, check_stage_count, check_strategy
from kadam.lab import baselines, devices, records
from kadam.lab.data import describe
from kadam.lab.ensemble import keep_freed_memory
from kadam.lab.images import configured_images
from kadam.lab.labelled import Augmentation, Batches, Counts, Seeds, Splits, split
from kadam.lab.profiles import check_choice, check_counts
from kadam.lab.progress import Progress
from kadam.lab.states import Stateful
from kadam.lab.sweep import computed_s, sweep
from kadam.lab.train import Network, Schedule, Training, parameter_count

NOTEBOOK = "06-cifar"

Array = NDArray[np.float64]

NETWORKS = ("batch norm", "no norm")
EQUAL, TUNED, MATCHED = COMPARISONS = ("equal rate", "tuned", "matched size")


@dataclass(frozen=True)
class Config:
    """What is trained; the defaults are the laptop profile."""

    ks: tuple[int, ...] = (1, 2, 4)
    strategies: tuple[str, ...] = STRATEGIES
    beta: float = 0.999
    gamma: float = 0.9
    weight_decay: float = 0.05  # of AdamW alone
    equal_rate: float = 1e-3  # the learning rate of the comparison at equal rates
    rates: tuple[float, ...] = (1e-3, 4e-3, 1.6e-2)  # Adam's in the search; other methods' are a factor times these
    tuning_seeds: int = 1
    seeds: int = 2  # of the comparisons
    steps: int = 120
    batch: int = 64  # images
    warmup: float = 0.1  # share of the steps in which the learning rate rises; then it falls to 0
    smoothing: float = 0.0  # of labels
    evaluations: int = 4  # on the way, at equal distances
    train: int = 4096  # images
    validation: int = 1000
    test: int = 2000
    pixels: int = 16  # images are averaged down to so many a side
    flip: bool = True
    shift: int = 2
    cutout: int = 4
    width: int = 8  # channels of the first block
    depth: int = 1  # convolutions a block
    precision: str = "float32"
    compiler: str = ""
    images: str = "real"  # "real", or "embedded" for scikit-learn's digits
    device: str = "cpu"
    seed: int = 100  # criteria and sizes were chosen on seeds 0 to 2

    def __post_init__(self) -> None:
        check_counts(self, "tuning_seeds", "seeds", "steps", "batch", "evaluations", "train", "validation", "test", "pixels")
        check_counts(self, "width", "depth")
        check_choice("images", self.images, ("real", "embedded"))
        for k in self.ks:
            check_stage_count(k)
        for strategy in self.strategies:
            check_strategy(strategy)
        for name, values in {"equal_rate": (self.equal_rate,), "rates": self.rates}.items():
            if not values or not all(0 < value < np.inf for value in values):
                raise ValueError(f"{name} must be finite and > 0, got {getattr(self, name)!r}")
        if self.evaluations > self.steps:
            raise ValueError(f"evaluations must be at most steps, {self.steps}, got {self.evaluations}")

    @property
    def methods(self) -> list[str]:
        return baselines.methods(self.ks, self.strategies)


PROFILES = {
    "smoke": Config(
        ks=(1, 2, 3),
        strategies=("inverse_exp", "meta"),
        rates=(4e-3, 1.6e-2),
        seeds=2,
        steps=12,
        batch=16,
        evaluations=2,
        train=128,
        validation=64,
        test=64,
        pixels=8,
        shift=1,
        cutout=2,
        width=2,
        precision="float64",
        images="embedded",
    ),
    "laptop": Config(),
    # What two cores do in an hour.
    "cpu": Config(
        ks=(1, 2, 3, 4, 6, 10),
        rates=(1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2),
        tuning_seeds=2,
        seeds=5,
        steps=500,
        evaluations=8,
        train=16384,
        validation=2000,
        test=5000,
        width=16,
    ),
    "paper": Config(
        ks=tuple(range(1, 11)),
        rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2),
        seeds=5,
        steps=700,
        batch=512,
        evaluations=8,
        smoothing=0.1,
        train=45000,
        validation=5000,
        test=10000,
        pixels=32,
        shift=2,
        cutout=8,
        width=64,
        precision="bfloat16",
        compiler="inductor",
        device="cuda",
    ),
}


load_data = configured_images


class Trial(NamedTuple):
    """One training run of a piece."""

    rate: float  # peak learning rate
    seed: int


class Plan(NamedTuple):
    """How many runs an experiment is, in two phases, and steps of all."""

    tuning: int
    comparing: int
    steps: int

    def sentence(self, seconds: float, processes: int) -> str:
        """What is to come; ``seconds``: of one run here, just measured."""
        minutes = (self.tuning + self.comparing) * seconds / processes / 60
        return (
            f"{self.tuning} runs to find learning rates, then {self.comparing} to compare, {self.steps:,} steps in all; "
            f"{seconds:.2g} s a run here, about {minutes:.0f} min with {processes} at once"
        )


def plan(config: Config) -> Plan:
    """What :func:`run` would do."""
    each = len(NETWORKS) * len(config.methods)
    tuning, comparing = each * len(config.rates) * config.tuning_seeds, each * len(COMPARISONS) * config.seeds
    return Plan(tuning, comparing, (tuning + comparing) * config.steps)


@dataclass(frozen=True)
class Inputs:
    """Images ready for training, and what computes."""

    config: Config
    splits: Splits

    @classmethod
    def of(cls, config: Config) -> "Inputs":
        keep_freed_memory()
        counts = Counts(config.train, config.validation, config.test)
        device, dtype = devices.chosen(config.device), torch.float64 if config.precision == "float64" else torch.float32
        return cls(config, split(configured_images(config), counts, pixels=config.pixels, device=device, dtype=dtype))

    def network(self, name: str) -> Network:
        config, train = self.config, self.splits.train
        how = (config.precision, config.compiler, config.device)
        return Network(train.images.shape[-1], train.classes, config.width, config.depth, name == NETWORKS[0], *how)

    def training(self, network: str, method: str, trial: Trial) -> Training:
        """A method's run from the start, its seed a seed for each thing that is drawn."""
        config = self.config
        seeds = Seeds(*np.random.SeedSequence(trial.seed).generate_state(3).tolist())
        decay = Decay(beta=config.beta, gamma=config.gamma)
        make = functools.partial(
            baselines.optimizer, method, lr=trial.rate, decay=decay, weight_decay=config.weight_decay
        )
        changes = Augmentation(config.flip, config.shift, config.cutout)
        batches = Batches(self.splits.train, changes, config.batch, seeds)
        return Training(
            self.network(network), make, batches, Schedule(config.steps, config.warmup), smoothing=config.smoothing
        )


@records.recorded("cifar", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method's search and comparisons. Dimensions: network, method; rate, tuning_seed; comparison, seed, evaluation."""
    inputs = Inputs.of(config)
    pieces = {f"{network}, {method}": (network, method) for network in NETWORKS for method in config.methods}

    def phase(name: str, trials: Mapping[str, Sequence[Trial]]) -> dict[str, xr.Dataset]:
        compute = functools.partial(train_piece, inputs, trials, name == "tuning")
        steps = config.steps * len(next(iter(trials.values())))
        folder = None if checkpoint is None else checkpoint / name
        return sweep(list(pieces), compute, steps=steps, title=f"cifar, {name}", checkpoint=folder, jobs=jobs)

    first = phase("tuning", {piece: search(config, method) for piece, (_, method) in pieces.items()})
    tuned = _by_piece(config, first).pipe(_searched, config)
    second = phase("comparing", {p: contest(config, tuned, *which) for p, which in pieces.items()})
    dataset = xr.merge([tuned, _by_piece(config, second).pipe(_compared, config)])
    parameters = [parameter_count(inputs.network(network)) for network in NETWORKS]
    sizes = {f"{name}_images": len(part) for name, part in inputs.splits._asdict().items()}
    facts = {"steps": config.steps, "equal_rate": config.equal_rate, "parameters": parameters, **sizes}
    dataset.attrs = {
        **facts,
        "computed_s": round(computed_s(first) + computed_s(second), 3),
        **describe(configured_images(config)),
        **devices.described(config.device),
    }
    return records.with_units(dataset.astype(np.float32).assign_coords(_method_coords(config)), UNITS)


def search(config: Config, method: str) -> list[Trial]:
    """The runs in which a method's learning rate is sought."""
    seeds = range(config.seed, config.seed + config.tuning_seeds)
    return [Trial(rate, seed) for rate in baselines.rates(method, config.rates) for seed in seeds]


def contest(config: Config, tuned: xr.Dataset, network: str, method: str) -> list[Trial]:
    """The runs in which a method is compared, with seeds that no search has seen."""
    rates = tuned.peak_rate.sel(network=network, method=method).values.tolist()
    first = config.seed + 1000
    return [Trial(rate, seed) for rate in rates for seed in range(first, first + config.seeds)]


def train_piece(
    inputs: Inputs, trials: Mapping[str, Sequence[Trial]], tuning: bool, piece: str, progress: Progress
) -> xr.Dataset:
    """All runs of one network with one method, named "network, method"; ``tuning``: on validation images alone."""
    network, method = piece.split(", ")
    runs = Runs(inputs, network, method, trials[piece], on_test=not tuning)
    for n in progress.over(len(trials[piece]) * inputs.config.steps, {"runs": runs}):
        runs.step(n)
    return runs.dataset()


class Runs(Stateful):
    """The training runs of one piece, one after another; each leaves a row in every table."""

    STATE = ("current", "tables")

    def __init__(self, inputs: Inputs, network: str, method: str, trials: Sequence[Trial], *, on_test: bool) -> None:
        self.inputs, self.network, self.method, self.trials = inputs, network, method, trials
        self.data = inputs.splits.test if on_test else inputs.splits.validation
        count, config = len(trials), inputs.config
        self.marks = [(i + 1) * config.steps // config.evaluations for i in range(config.evaluations)]
        names = ("accuracy", "loss", "train_loss", "update")
        self.tables = {name: np.full((count, config.evaluations), np.nan) for name in names}
        self.tables["diverged_at"] = np.full(count, np.nan)
        self.current = self._begin(0)

    def _begin(self, i: int) -> Training:
        self.i = i
        return self.inputs.training(self.network, self.method, self.trials[i])

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"i": self.i}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.current = self._begin(state["i"])
        super().load_state_dict(state)

    def step(self, n: int) -> None:
        """Step n of all runs together; a run that has diverged takes no more steps."""
        i, step = divmod(n, self.inputs.config.steps)
        if i != self.i:
            self.current = self._begin(i)
        if np.isfinite(self.tables["diverged_at"][i]):
            return
        self.current.step(step)
        if step + 1 in self.marks:
            self._look(self.marks.index(step + 1))

    def _look(self, mark: int) -> None:
        """Evaluate, and keep the means since the last time; or say when the run diverged."""
        end, begin = self.marks[mark], ([0, *self.marks])[mark]
        diverged = self.current.diverged_at(end)
        if diverged is not None:
            self.tables["diverged_at"][self.i] = diverged
            return
        loss, accuracy = self.current.evaluate(self.data)
        since = slice(begin, end)
        seen = {
            "loss": loss,
            "accuracy": accuracy,
            "train_loss": float(self.current.losses[since].mean()),
            "update": float(self.current.squares[since].mean().sqrt()),
        }
        for name, value in seen.items():
            self.tables[name][self.i, mark] = value

    def dataset(self) -> xr.Dataset:
        """The tables, one row a trial."""
        dims = {name: ("trial", "evaluation")[: table.ndim] for name, table in self.tables.items()}
        rates = [trial.rate for trial in self.trials]
        return xr.Dataset({name: (dims[name], table) for name, table in self.tables.items()}).assign(peak=("trial", rates))


def _by_piece(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """All results side by side. Dimensions: network, method, trial, evaluation."""
    methods = xr.Variable("method", config.methods)
    rows = [xr.concat([results[f"{network}, {m}"].drop_attrs() for m in config.methods], methods) for network in NETWORKS]
    return xr.concat(rows, xr.Variable("network", list(NETWORKS)))


def _unstacked(trials: xr.Dataset, **dims: Sequence[Any]) -> xr.Dataset:
    """The dimension trial as two, whose coordinates are given."""
    index = xr.Coordinates.from_pandas_multiindex(_product(dims), "trial")
    return trials.assign_coords(index).unstack("trial")


def _product(dims: Mapping[str, Sequence[Any]]) -> Any:
    import pandas as pd  # xarray's own dependency

    return pd.MultiIndex.from_product(list(dims.values()), names=list(dims))


def final_accuracy(record: xr.Dataset, name: str = "accuracy") -> xr.DataArray:
    """Share of right answers at the end; a diverged run counts as guessing."""
    return record[name].isel(evaluation=-1).fillna(1 / record.attrs["classes"])
