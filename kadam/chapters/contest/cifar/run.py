"""k-Adam on images: does a second stage help, or does it only take larger steps?

A small convolutional network, with batch normalisation and without, learns CIFAR-10 with k-Adam under every strategy and k, and
with six baselines. First every method is tried at the same number of learning rates, judged on validation images alone; then,
with other seeds and on the test images, methods are compared in three ways, of which the paper has the first.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from kadam.chapters.contest.cifar.config import DATA, LEAST, NETWORKS, PROFILES, Config
from kadam.chapters.contest.contest import COMMON_UNITS, COMPARISON, Contest, check_same, optimizer
from kadam.chapters.contest.trials import Piece, Trial
from kadam.lab.data.images import configured_images
from kadam.lab.data.labelled import Augmentation, Batches, Counts, Labelled, Seeds, Splits, split
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import devices, optimizers
from kadam.lab.train.arithmetic import Arithmetic, Size, size
from kadam.lab.train.classification import Classification, ImageNetwork
from kadam.lab.train.ensemble import keep_freed_memory
from kadam.lab.train.schedule import Schedule


def announcement(config: Config, jobs: int) -> str:
    """The plan and an estimate from a few steps on this machine."""
    return contest(config).announcement(jobs)


def contest(config: Config) -> Contest:
    """Who competes, and how."""
    methods = tuple(optimizers.methods(config.ks, config.strategies, chosen=config.baselines))
    measures = ("loss", "accuracy", "train_loss", "update_rms")
    return Contest("cifar", DATA, config.networks, methods, config.steps, measures, load=Inputs.of, config=config)


def plan(config: Config) -> Arithmetic:
    """What a run computes on CIFAR-10, of which images have three channels and ten kinds."""
    sizes = {name: _size(config, name) for name in config.networks}
    evaluated = (config.validation + config.test) / 2 / config.batch
    return contest(config).arithmetic(sizes, evaluated=evaluated, precision=config.precision)


def _size(config: Config, network: str) -> Size:
    made = ImageNetwork(3, 10, config.width, config.depth, network == NETWORKS[0])
    return size(made.make, (config.batch, 3, config.pixels, config.pixels))


def pilot(config: Config) -> float:
    """The seconds that all runs take here, one after another, from a few steps."""
    return contest(config).pilot()


@dataclass(frozen=True)
class Inputs:
    """Images ready for training, and what learns them."""

    config: Config
    splits: Splits

    @classmethod
    @functools.cache  # once a process, also where pieces are computed elsewhere
    def of(cls, config: Config, sha256: str) -> "Inputs":
        """``sha256``: of the images that are meant; ``DataError`` where this process finds others."""
        found = configured_images(config)
        check_same("images", found, sha256)
        keep_freed_memory()
        counts = Counts(config.train, config.validation, config.test)
        device, dtype = devices.chosen(config.device), torch.float64 if config.precision == "float64" else torch.float32
        return cls(config, split(found, counts, pixels=config.pixels, device=device, dtype=dtype))

    def network(self, name: str) -> ImageNetwork:
        config, train = self.config, self.splits.train
        how = {"precision": config.precision, "compiler": config.compiler, "device": config.device}
        return ImageNetwork(train.images.shape[-1], train.classes, config.width, config.depth, name == NETWORKS[0], **how)

    def training(self, piece: Piece, steps: int, trial: Trial) -> Classification:
        """A run from its start, its seed a seed for each thing that is drawn."""
        config, make = self.config, optimizer(self.config, piece, trial)
        seeds = Seeds(*np.random.SeedSequence(trial.seed).generate_state(3).tolist())
        changes = Augmentation(config.flip, config.shift, config.cutout)
        batches, schedule = Batches(self.splits.train, changes, config.batch, seeds), Schedule(steps, config.warmup)
        return Classification(self.network(piece.network), make, batches, schedule, smoothing=config.smoothing)

    def held_out(self, network: str, phase: str) -> Labelled:
        """Test images are for the comparison alone."""
        return self.splits.test if phase == COMPARISON else self.splits.validation


@recorded("cifar", PROFILES, LEAST)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method's search and comparisons; see :meth:`Contest.hold` for the dimensions."""
    dataset = contest(config).hold(checkpoint=checkpoint, jobs=jobs)
    splits = Inputs.of(config, dataset.attrs["data_sha256"]).splits
    sizes = {f"{name}_images": len(part) for name, part in splits._asdict().items()}
    dataset.attrs |= {"classes": splits.train.classes, "pixels": splits.train.images.shape[1], **sizes}
    return with_units(dataset, UNITS)


UNITS = COMMON_UNITS | {
    "search_accuracy": "share of validation images that are right, at the end; NaN: diverged",
    "search_loss": "nats a validation image, at the end",
    "accuracy": "share of test images that are right; NaN: diverged",
    "loss": "nats a test image",
    "train_loss": "nats an image, labels smoothed, mean from the evaluation before to this one",
}
