"""A contest of optimizers on images: small convolutional networks, with batch normalisation and without, learn CIFAR-10."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from kadam.chapters.contest.contest import COMMON_UNITS, COMPARISON, Contest, check_same, optimizer
from kadam.chapters.contest.settings import NETWORKS, OnImages
from kadam.chapters.contest.trials import Piece, Trial
from kadam.lab.data.images import configured_images
from kadam.lab.data.labelled import Augmentation, Batches, Counts, Labelled, Seeds, Splits, split
from kadam.lab.train import devices, optimizers
from kadam.lab.train.arithmetic import Arithmetic, Size, size
from kadam.lab.train.classification import Classification, ImageNetwork
from kadam.lab.train.ensemble import keep_freed_memory
from kadam.lab.train.schedule import Schedule

MEASURES = ("loss", "accuracy", "train_loss", "update_rms")


def contest_on_images(title: str, config: OnImages, **how: Any) -> Contest:
    """Who competes, and how; ``how``: further fields of :class:`Contest`."""
    methods = tuple(optimizers.methods(config.ks, config.strategies, chosen=config.baselines))
    what: dict[str, Any] = {"load": Inputs.of, "config": config, "score": "accuracy"} | how
    return Contest(title, "images", config.networks, methods, config.steps, MEASURES, **what)


def arithmetic(contest: Contest) -> Arithmetic:
    """What it computes on CIFAR-10, of which images have three channels and ten kinds."""
    config = contest.config
    sizes = {name: _size(config, name) for name in config.networks}
    evaluated = (config.validation + config.test) / 2 / config.batch
    return contest.arithmetic(sizes, evaluated=evaluated, precision=config.precision)


def _size(config: OnImages, network: str) -> Size:
    made = ImageNetwork(3, 10, config.width, config.depth, network == NETWORKS[0])
    return size(made.make, (config.batch, 3, config.pixels, config.pixels))


def hold(contest: Contest, *, checkpoint: Path | None, jobs: int) -> xr.Dataset:
    """Its record, with how many images there are; see :meth:`Contest.hold` for the dimensions."""
    dataset = contest.hold(checkpoint=checkpoint, jobs=jobs)
    splits = Inputs.of(contest.config, dataset.attrs["data_sha256"]).splits
    sizes = {f"{name}_images": len(part) for name, part in splits._asdict().items()}
    dataset.attrs |= {"classes": splits.train.classes, "pixels": splits.train.images.shape[1], "score": contest.score, **sizes}
    return dataset


@dataclass(frozen=True)
class Inputs:
    """Images ready for training, and what learns them."""

    config: OnImages
    splits: Splits

    @classmethod
    @functools.cache  # once a process, also where pieces are computed elsewhere
    def of(cls, config: OnImages, sha256: str) -> "Inputs":
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
        config, make = trial.applied(self.config), optimizer(self.config, piece, trial)
        seeds = Seeds(*np.random.SeedSequence(trial.seed).generate_state(3).tolist())
        changes = Augmentation(config.flip, config.shift, config.cutout)
        batches, schedule = Batches(self.splits.train, changes, config.batch, seeds), Schedule(steps, config.warmup)
        return Classification(self.network(piece.network), make, batches, schedule, smoothing=config.smoothing)

    def held_out(self, network: str, phase: str) -> Labelled:
        """Test images are for the comparison alone."""
        return self.splits.test if phase == COMPARISON else self.splits.validation


IMAGE_UNITS = COMMON_UNITS | {
    "search_accuracy": "share of validation images that are right, at the end; NaN: diverged",
    "search_loss": "nats a validation image, at the end",
    "accuracy": "share of test images that are right; NaN: diverged",
    "loss": "nats a test image",
    "train_loss": "nats an image, labels smoothed, mean from the evaluation before to this one",
}
