"""k-Adam on images: does a second stage help, or does it only take larger steps?

A small convolutional network, with batch normalisation and without, learns CIFAR-10 with k-Adam under every strategy and k, and
with six baselines. First every method is tried at the same number of learning rates, judged on validation images alone. Then,
with other seeds and on the test images, methods are compared three ways: at the same learning rate, as the paper does; at the
rate that was best in validation; and at the rate at which the method's update is as large as Adam's at that same learning rate.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from kadam.chapters.contest import judges
from kadam.chapters.contest.competition import CONTEST, Competition, Trials, check_entries, seconds_a_step
from kadam.chapters.contest.trials import COMPARISONS, Runs, Trial, marks
from kadam.decay import STRATEGIES, Decay
from kadam.lab.data.images import configured_images
from kadam.lab.data.labelled import Augmentation, Batches, Counts, Seeds, Splits, split
from kadam.lab.data.sources import DataError, describe
from kadam.lab.engine.progress import Progress
from kadam.lab.records import record as records
from kadam.lab.records.profiles import check_choice, check_counts
from kadam.lab.train import devices
from kadam.lab.train import optimizers as baselines
from kadam.lab.train.classification import Classification, ImageNetwork
from kadam.lab.train.ensemble import keep_freed_memory
from kadam.lab.train.schedule import Schedule
from kadam.lab.train.training import parameter_count
from kadam.report.ledger import Claim, Test, judge_all

NOTEBOOK = "06-cifar"

Array = NDArray[np.float64]

NETWORKS = ("batch norm", "no norm")
EQUAL, TUNED, MATCHED = COMPARISONS


@dataclass(frozen=True)
class Config:
    """What is trained; the defaults are the laptop profile."""

    ks: tuple[int, ...] = (1, 2, 4)
    strategies: tuple[str, ...] = STRATEGIES
    beta: float = 0.999
    gamma: float = 0.9
    weight_decay: float = 0.05  # of AdamW alone
    equal_rate: float = 1e-3  # the learning rate of the comparison at equal rates
    rates: tuple[float, ...] = (2e-3, 8e-3, 3.2e-2)  # Adam's in the search; other methods' are a factor times these
    tuning_seeds: int = 1
    seeds: int = 2  # of the comparisons
    steps: int = 90
    batch: int = 64  # images
    warmup: float = 0.1  # share of the steps in which the learning rate rises; then it falls to 0
    smoothing: float = 0.0  # of labels
    evaluations: int = 3  # on the way, at equal distances
    train: int = 4096  # images
    validation: int = 1000
    test: int = 1000
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
        check_entries(self)
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
        ks=(1, 2, 3, 4, 10),
        rates=(1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2),
        seeds=5,
        steps=320,
        evaluations=4,
        train=16384,
        validation=3200,
        test=4000,
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


def announcement(config: Config, jobs: int) -> str:
    """The plan and an estimate from a few steps on this machine."""
    inputs = Inputs.of(config, configured_images(config).sha256)
    training = inputs.training(NETWORKS[0], baselines.BASELINES[0], Trial(config.equal_rate, config.seed))
    every = config.steps / config.evaluations
    seconds = seconds_a_step(training, inputs.splits.test, every=every, device=config.device)
    return competition(config).plan.sentence(seconds, jobs)


def competition(config: Config) -> Competition:
    """Who competes, and how."""
    return Competition(
        title="cifar",
        networks=NETWORKS,
        methods=tuple(config.methods),
        rates=config.rates,
        equal_rate=config.equal_rate,
        tuning_seeds=config.tuning_seeds,
        seeds=config.seeds,
        seed=config.seed,
        tuning_steps=config.steps,
        steps=config.steps,
        judged=("accuracy", "loss"),
    )


@dataclass(frozen=True)
class Inputs:
    """Images ready for training, and what computes."""

    config: Config
    splits: Splits

    @classmethod
    @functools.cache  # once a process, also where pieces are computed elsewhere
    def of(cls, config: Config, sha256: str) -> "Inputs":
        """``sha256``: of the images that are meant; ``DataError`` where this process finds others."""
        found = configured_images(config)
        if found.sha256 != sha256:
            raise DataError(f"images: sha256 is {found.sha256} where this piece is computed, expected {sha256}")
        keep_freed_memory()
        counts = Counts(config.train, config.validation, config.test)
        device, dtype = devices.chosen(config.device), torch.float64 if config.precision == "float64" else torch.float32
        return cls(config, split(found, counts, pixels=config.pixels, device=device, dtype=dtype))

    def network(self, name: str) -> ImageNetwork:
        config, train = self.config, self.splits.train
        how = (config.precision, config.compiler, config.device)
        return ImageNetwork(train.images.shape[-1], train.classes, config.width, config.depth, name == NETWORKS[0], *how)

    def training(self, network: str, method: str, trial: Trial) -> Classification:
        """A method's run from the start, its seed a seed for each thing that is drawn."""
        config = self.config
        seeds = Seeds(*np.random.SeedSequence(trial.seed).generate_state(3).tolist())
        decay = Decay(beta=config.beta, gamma=config.gamma)
        make = functools.partial(baselines.optimizer, method, lr=trial.rate, decay=decay, weight_decay=config.weight_decay)
        changes = Augmentation(config.flip, config.shift, config.cutout)
        batches = Batches(self.splits.train, changes, config.batch, seeds)
        return Classification(
            self.network(network), make, batches, Schedule(config.steps, config.warmup), smoothing=config.smoothing
        )


@records.recorded("cifar", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method's search and contest. Dimensions: network, optimizer; rate, tuning_seed; comparison, seed, evaluation."""
    sha256 = configured_images(config).sha256
    train, score = functools.partial(train_piece, config, sha256), lambda found: found.accuracy.fillna(0)
    dataset = competition(config).hold(train, score, checkpoint=checkpoint, jobs=jobs)
    inputs = Inputs.of(config, sha256)
    dataset["parameters"] = "network", [parameter_count(inputs.network(network)) for network in NETWORKS]
    dataset.attrs |= _facts(inputs)
    return records.with_units(dataset.assign_coords(evaluation=marks(config.steps, config.evaluations)), UNITS)


MEASURES = ("loss", "accuracy", "train_loss", "update_rms")


def train_piece(config: Config, sha256: str, phase: str, trials: Trials, piece: str, progress: Progress) -> xr.Dataset:
    """All runs of one network with one method, named "network, method"; test images are for the contest alone."""
    inputs, (network, method) = Inputs.of(config, sha256), piece.split(", ")
    data = inputs.splits.test if phase == CONTEST else inputs.splits.validation
    runs = Runs(
        trials[piece],
        functools.partial(inputs.training, network, method),
        lambda training: training.evaluate(data),
        measures=MEASURES,
        steps=config.steps,
        evaluations=config.evaluations,
    )
    for n in progress.over(len(trials[piece]) * config.steps, {"runs": runs}):
        runs.step(n)
    return runs.dataset()


def _facts(inputs: Inputs) -> dict[str, Any]:
    config = inputs.config
    images = configured_images(config)
    counts = {f"{name}_images": len(part) for name, part in inputs.splits._asdict().items()}
    return {
        "steps": config.steps,
        "equal_rate": config.equal_rate,
        "classes": len(images.classes),
        "pixels": inputs.splits.train.images.shape[1],
        **counts,
        **describe(images),
        **devices.described(config.device),
    }


UNITS = {
    "parameters": "numbers that are learnt",
    "search_accuracy": "share of validation images that are right, at the end; NaN: diverged",
    "search_loss": "nats a validation image, at the end",
    "search_update_rms": "root mean square of u over all weights and steps",
    "search_diverged_at": "step; NaN: did not diverge",
    "tried": "peak learning rate in the search",
    "peak_rate": "peak learning rate in the contest",
    "accuracy": "share of test images that are right; NaN: diverged",
    "loss": "nats a test image",
    "train_loss": "nats an image, labels smoothed, mean since the evaluation before",
    "update_rms": "root mean square of u over all weights, since the evaluation before",
    "diverged_at": "step; NaN: did not diverge",
}


FIGURE_4 = "[G&T] Figure 4 as we read it"
QUESTION = "a question from the paper's public reviews"
AHEAD = "95% interval over seeds of the paired difference in test accuracy above 0, in both networks; in one: partly"
GRACEFUL = (
    f"no fall of more than {judges.POINTS.fall:g} points from one k to the next, no run diverges; for three quarters: partly"
)

RIVALRIES = {
    EQUAL: ("GT-6a", FIGURE_4, "at the same learning rate"),
    TUNED: ("D-6b", QUESTION, "with each at its best learning rate"),
    MATCHED: ("D-6c", QUESTION, "with updates as large as Adam's"),
}

TESTS = [
    *(
        Test(
            f"{number} {strategy}",
            source,
            f"k = 2 with strategy {strategy} is more accurate than Adam {how}",
            AHEAD,
            functools.partial(judges.second_stage, strategy=strategy, comparison=comparison),
        )
        for comparison, (number, source, how) in RIVALRIES.items()
        for strategy in STRATEGIES
    ),
    Test(
        "GT-6d",
        FIGURE_4,
        "At the same learning rate k = 2 beats k = 1 under most strategies",
        f"for at least {judges.MOST:.0%} of the strategies, as in the paper's three of four, in both networks; in one: partly",
        judges.most_strategies,
    ),
    Test(
        "GT-6e",
        FIGURE_4,
        "At the same learning rate accuracy declines gracefully for k > 2",
        GRACEFUL,
        functools.partial(judges.graceful, comparison=EQUAL),
    ),
    Test(
        "D-6f",
        QUESTION,
        "With tuned learning rates, too, accuracy declines gracefully for k > 2",
        GRACEFUL,
        functools.partial(judges.graceful, comparison=TUNED),
    ),
    Test(
        "GT-6g",
        "[G&T] Section 4.2, what would follow",
        "2-Adam (strategy meta) gives a network without normalisation what normalisation gives under Adam",
        "at tuned learning rates it closes at least half of the gap in test accuracy: 95% interval above 0.5",
        judges.instead_of_normalisation,
    ),
    Test(
        "D-6h",
        "asked here: is it the size of the steps?",
        "The advantage of k = 2 at the same learning rate is one of larger steps: it goes away at matched update size",
        f"mean over strategies: at most {judges.LEFT} of a positive advantage is left, in both networks; in one: partly",
        judges.only_size,
    ),
    Test(
        "D-6i",
        "asked here: is it the size of the steps?",
        "At the same learning rate k = 2 takes steps at least twice as large as Adam's",
        "for every strategy and network; three quarters: partly",
        judges.larger_steps,
    ),
    Test(
        "D-6j",
        QUESTION,
        "k = 2 is more accurate than every baseline, each at its best learning rate",
        "strategy and rival chosen on validation images; 95% interval of the paired difference above 0, in both networks",
        judges.best_of_all,
    ),
    Test(
        "D-6k",
        "checked here",
        "Every method's best learning rate lies inside the range that was searched",
        "for every method and network; three quarters: partly",
        judges.inside_the_grid,
    ),
]


def claims(dataset: xr.Dataset | None, *, profile: str = "") -> list[Claim]:
    """The verdicts that a record of cifar gives."""
    return judge_all(TESTS, dataset, profile=profile, notebook=NOTEBOOK)
