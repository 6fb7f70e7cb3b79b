"""Is k = 2 better on text once each method is tuned closely, and once updates are as large as Adam's?

In the experiment ``language`` rates lie a factor of three apart, and some optima fall between them. Here they lie a factor of
two apart, the tuned rate is read off a parabola, and the comparisons have seeds enough for an exact test.
"""

from pathlib import Path

import xarray as xr

from kadam.chapters.contest.comparisons import MATCHED, TUNED
from kadam.chapters.contest.contest import Contest
from kadam.chapters.contest.optimum.config import LEAST, PROFILES
from kadam.chapters.contest.settings import Config, Once
from kadam.chapters.contest.texts import TEXT_UNITS, arithmetic, contest_on_text, hold
from kadam.chapters.contest.trials import interpolated
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.arithmetic import Arithmetic


def announcement(config: Config, jobs: int) -> str:
    """The plan and an estimate from a few steps on this machine."""
    return contest(config).announcement(jobs)


def contest(config: Config) -> Contest:
    """Who competes, and how."""
    comparisons = config.comparisons if isinstance(config, Once) else (TUNED, MATCHED)
    return contest_on_text("optimum", config, comparisons=comparisons, tuned=interpolated)


def plan(config: Config) -> Arithmetic:
    """What a run computes."""
    return arithmetic(contest(config))


def pilot(config: Config) -> float:
    """The seconds that all runs take here, one after another, from a few steps."""
    return contest(config).pilot()


@recorded("optimum", PROFILES, LEAST)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method's search and its two comparisons; see :meth:`Contest.hold` for the dimensions."""
    return with_units(hold(contest(config), checkpoint=checkpoint, jobs=jobs), TEXT_UNITS)
