"""Is the lead of 4-Adam meta on images more than chance among many?

In the contest ``cifar`` it was ahead of Adam after the fact, one method of 26. Here it is named beforehand: on fresh seeds, all
closely tuned, beside NAdam and Adam with shorter memories.
"""

from pathlib import Path

import xarray as xr

from kadam.chapters.contest.comparisons import TUNED
from kadam.chapters.contest.confirm.config import PROFILES
from kadam.chapters.contest.contest import Contest, foretold
from kadam.chapters.contest.images import IMAGE_UNITS, arithmetic, contest_on_images, hold
from kadam.chapters.contest.settings import OnImages
from kadam.chapters.contest.trials import interpolated
from kadam.lab.records.record import recorded, with_units


def contest(config: OnImages) -> Contest:
    """Who competes, and how."""
    return contest_on_images("confirm", config, comparisons=(TUNED,), tuned=interpolated)


announcement, plan, pilot = foretold(contest, arithmetic)


@recorded("confirm", PROFILES)
def run(config: OnImages, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method's search and its comparison; see :meth:`Contest.hold` for the dimensions."""
    return with_units(hold(contest(config), checkpoint=checkpoint, jobs=jobs), IMAGE_UNITS)
