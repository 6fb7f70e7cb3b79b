"""Is it only memory on images, too? Adam with pairs of betas, each at its own interpolated rate, beside NAdam.

As on text the validation loss chooses the rates, and losses are compared; the record has accuracies besides.
"""

import math
from pathlib import Path

import xarray as xr

from kadam.chapters.contest.comparisons import TUNED
from kadam.chapters.contest.contest import Contest, betas, foretold
from kadam.chapters.contest.factorial_images.config import PROFILES
from kadam.chapters.contest.images import IMAGE_UNITS, arithmetic, contest_on_images, hold
from kadam.chapters.contest.settings import Chosen
from kadam.chapters.contest.trials import interpolated
from kadam.lab.records.record import recorded, with_units


def contest(config: Chosen) -> Contest:
    """Who competes, and how."""
    return contest_on_images("factorial on images", config, comparisons=(TUNED,), tuned=interpolated, score="loss")


announcement, plan, pilot = foretold(contest, arithmetic)


@recorded("factorial_images", PROFILES)
def run(config: Chosen, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """As :meth:`Contest.hold` has it, with every method's betas and what a guess among all classes loses."""
    found = hold(contest(config), checkpoint=checkpoint, jobs=jobs)
    found["guess"] = "network", [math.log(found.attrs["classes"])]
    gamma, beta = betas(config.baselines)
    found = with_units(found, IMAGE_UNITS | {"guess": "nats an image of a guess among all classes"})
    return found.assign_coords(gamma=("optimizer", gamma), beta=("optimizer", beta))
