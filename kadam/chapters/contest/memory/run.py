"""Is what several stages gain only a shorter memory? 4-Adam meta against Adam with gamma 0.9, 0.7 and 0.5, all closely tuned.

``meta`` with four stages was ahead of Adam after the fact on images and on text. Each of its stages forgets, and so does Adam
with a smaller gamma; here every method has its own interpolated optimum and all have the same seeds.
"""

from pathlib import Path

import xarray as xr

from kadam.chapters.contest.comparisons import TUNED
from kadam.chapters.contest.contest import Contest, foretold
from kadam.chapters.contest.memory.config import LEAST, PROFILES
from kadam.chapters.contest.settings import Config
from kadam.chapters.contest.texts import TEXT_UNITS, arithmetic, contest_on_text, hold
from kadam.chapters.contest.trials import interpolated
from kadam.lab.records.record import recorded, with_units


def contest(config: Config) -> Contest:
    """Who competes, and how."""
    return contest_on_text("memory", config, comparisons=(TUNED,), tuned=interpolated)


announcement, plan, pilot = foretold(contest, arithmetic)


@recorded("memory", PROFILES, LEAST)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method's search and its comparison; see :meth:`Contest.hold` for the dimensions."""
    return with_units(hold(contest(config), checkpoint=checkpoint, jobs=jobs), TEXT_UNITS)
