"""Is it only memory? Adam with pairs of betas, each at its own interpolated rate, and a few of them in runs that last.

Chapter 4 asks what orders the speed of pairs; here every pair may take the learning rate that suits it. NAdam stands beside
them. The long runs have their own search, and the seeds of the short ones.
"""

from dataclasses import replace
from pathlib import Path

import xarray as xr

from kadam.chapters.contest.comparisons import TUNED
from kadam.chapters.contest.contest import Contest, betas
from kadam.chapters.contest.factorial.config import PROFILES, Pairs
from kadam.chapters.contest.texts import TEXT_UNITS, arithmetic, contest_on_text, hold
from kadam.chapters.contest.trials import interpolated
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.arithmetic import Arithmetic

LONG = "long_"  # before the names of what belongs to the long runs


def announcement(config: Pairs, jobs: int) -> str:
    """The plans and estimates from a few steps on this machine."""
    return "; ".join(f"{of.title}: {of.announcement(jobs)}" for of in (short(config), long(config)))


def short(config: Pairs) -> Contest:
    """All pairs."""
    return contest_on_text("factorial", config, comparisons=(TUNED,), tuned=interpolated)


def long(config: Pairs) -> Contest:
    """Some of them, in long runs."""
    steps = config.long_steps
    longer = replace(config, baselines=config.long, rates=config.long_rates, tuning_steps=steps, steps=steps)
    return contest_on_text("factorial, long", longer, comparisons=(TUNED,), tuned=interpolated)


def plan(config: Pairs) -> Arithmetic:
    """What a run computes."""
    return arithmetic(short(config)) + arithmetic(long(config))


@recorded("factorial", PROFILES)
def run(config: Pairs, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Of all methods as :meth:`Contest.hold` has it, with their betas; of the long runs, too, with ``long_`` before a name."""
    found = with_units(hold(short(config), checkpoint=checkpoint, jobs=jobs), TEXT_UNITS)
    kept = None if checkpoint is None else checkpoint / "long"
    longer = with_units(hold(long(config), checkpoint=kept, jobs=jobs), TEXT_UNITS).drop_vars(["parameters", "guess"])
    names = [*longer.data_vars, "optimizer", "rate", "evaluation", "k", "strategy"]
    together = xr.merge([found, longer.rename({name: f"{LONG}{name}" for name in names})], combine_attrs="drop_conflicts")
    gamma, beta = betas(config.baselines)
    together = together.assign_coords(gamma=("optimizer", gamma), beta=("optimizer", beta))
    seconds = round(found.attrs["computed_s"] + longer.attrs["computed_s"], 3)
    return together.assign_attrs(found.attrs | {"computed_s": seconds, "long_steps": config.long_steps})
