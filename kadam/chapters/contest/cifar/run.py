"""k-Adam on images: does a second stage help, or does it only take larger steps?

A small convolutional network, with batch normalisation and without, learns CIFAR-10 with k-Adam under every strategy and k, and
with six baselines. First every method is tried at the same number of learning rates, judged on validation images alone; then,
with other seeds and on the test images, methods are compared in three ways, of which the paper has the first.
"""

from pathlib import Path

import xarray as xr

from kadam.chapters.contest.cifar.config import LEAST, PROFILES
from kadam.chapters.contest.contest import Contest, foretold
from kadam.chapters.contest.images import IMAGE_UNITS, arithmetic, contest_on_images, hold
from kadam.chapters.contest.settings import OnImages
from kadam.lab.records.record import recorded, with_units


def contest(config: OnImages) -> Contest:
    """Who competes, and how."""
    return contest_on_images("cifar", config)


announcement, plan, pilot = foretold(contest, arithmetic)


@recorded("cifar", PROFILES, LEAST)
def run(config: OnImages, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method's search and comparisons; see :meth:`Contest.hold` for the dimensions."""
    return with_units(hold(contest(config), checkpoint=checkpoint, jobs=jobs), IMAGE_UNITS)
