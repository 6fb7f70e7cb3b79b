"""Does AdamW beat Adam with L2 regularisation on text, both tuned?

AdamW shrinks weights beside its update; with L2 the decay is a part of the gradient, which Adam normalises. Each is tried at
the same learning rates with as many strengths, on a scale of its own; the best of each is compared with other seeds, on test
text.
"""

import functools
from pathlib import Path

import numpy as np
import xarray as xr

from kadam.chapters.contest.contest import Contest, foretold
from kadam.chapters.contest.knobs import KNOB_UNITS, Search, Settings
from kadam.chapters.contest.penalty.config import PENALISED, PROFILES, Decaying
from kadam.chapters.contest.texts import TEXT_UNITS, arithmetic, contest_on_text, hold
from kadam.lab.records.record import recorded, with_units


def contest(config: Decaying) -> Contest:
    """Who competes, and how."""
    return contest_on_text("penalty", config, Search, methods=config.methods, settings=functools.partial(grid, config))


announcement, plan, pilot = foretold(contest, arithmetic)


def grid(config: Decaying, method: str) -> Settings:
    """Every learning rate with every strength of a method."""
    strengths = config.penalties if method == PENALISED else config.strengths
    rate, strength = np.meshgrid(config.rates, strengths, indexing="ij")
    return {"rate": rate.ravel(), "weight_decay": strength.ravel()}


@recorded("penalty", PROFILES)
def run(config: Decaying, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Both methods' searches, and the best of each with other seeds; see :meth:`Search.hold` for the dimensions."""
    return with_units(hold(contest(config), checkpoint=checkpoint, jobs=jobs), TEXT_UNITS | KNOB_UNITS)
