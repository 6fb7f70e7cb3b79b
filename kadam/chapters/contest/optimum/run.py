"""Is k = 2 better on text once each method is tuned closely, and once updates are as large as Adam's?

In the experiment ``language`` rates lie a factor of three apart, and some optima fall between them. Here they lie a factor of
two apart, the tuned rate is read off a parabola, and the comparisons have seeds enough for an exact test.
"""

from pathlib import Path

import xarray as xr

from kadam.chapters.contest.comparisons import MATCHED, TUNED
from kadam.chapters.contest.contest import Contest, foretold
from kadam.chapters.contest.optimum.config import LEAST, PROFILES
from kadam.chapters.contest.settings import Config, Once
from kadam.chapters.contest.texts import TEXT_UNITS, arithmetic, contest_on_text, hold
from kadam.chapters.contest.trials import interpolated
from kadam.lab.records.record import recorded, with_units


def contest(config: Config) -> Contest:
    """Who competes, and how."""
    comparisons = config.comparisons if isinstance(config, Once) else (TUNED, MATCHED)
    return contest_on_text("optimum", config, comparisons=comparisons, tuned=interpolated)


announcement, plan, pilot = foretold(contest, arithmetic)


@recorded("optimum", PROFILES, LEAST)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method's search and its two comparisons; see :meth:`Contest.hold` for the dimensions."""
    return with_units(hold(contest(config), checkpoint=checkpoint, jobs=jobs), TEXT_UNITS)
