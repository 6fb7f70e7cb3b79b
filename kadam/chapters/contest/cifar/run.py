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

from kadam.chapters.contest.cifar.config import PROFILES, Config
from kadam.chapters.contest.competition import CONTEST, Competition, Trials, seconds_a_step
from kadam.chapters.contest.trials import Runs, Trial, marks
from kadam.decay import Decay
from kadam.lab.data.images import configured_images
from kadam.lab.data.labelled import Augmentation, Batches, Counts, Seeds, Splits, split
from kadam.lab.data.sources import DataError, describe
from kadam.lab.engine.progress import Progress
from kadam.lab.records.profiles import BASELINES
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import devices
from kadam.lab.train import optimizers as baselines
from kadam.lab.train.classification import Classification, ImageNetwork
from kadam.lab.train.ensemble import keep_freed_memory
from kadam.lab.train.schedule import Schedule
from kadam.lab.train.training import parameter_count

Array = NDArray[np.float64]

NETWORKS = ("batch norm", "no norm")


def announcement(config: Config, jobs: int) -> str:
    """The plan and an estimate from a few steps on this machine."""
    inputs = Inputs.of(config, configured_images(config).sha256)
    training = inputs.training(NETWORKS[0], BASELINES[0], Trial(config.equal_rate, config.seed))
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


@recorded("cifar", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method's search and contest. Dimensions: network, optimizer; rate, tuning_seed; comparison, seed, evaluation."""
    sha256 = configured_images(config).sha256
    train, score = functools.partial(train_piece, config, sha256), lambda found: found.accuracy.fillna(0)
    dataset = competition(config).hold(train, score, checkpoint=checkpoint, jobs=jobs)
    inputs = Inputs.of(config, sha256)
    dataset["parameters"] = "network", [parameter_count(inputs.network(network)) for network in NETWORKS]
    dataset.attrs |= _facts(inputs)
    return with_units(dataset.assign_coords(evaluation=marks(config.steps, config.evaluations)), UNITS)


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
