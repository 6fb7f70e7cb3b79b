"""Does k = 2 beat an Adam that was tuned on all its knobs, at equal budget?

Every method tries as many settings, drawn at random: the learning rate, both decays of moments, the share of warm-up and where
the decay of the rate ends. All draw the same settings, with the learning rate times the method's factor, so that a lucky draw
is one for all. The best of each is compared with other seeds, on test text.
"""

import functools
from pathlib import Path

import numpy as np
import xarray as xr

from kadam.chapters.contest.budget.config import PROFILES, Drawn
from kadam.chapters.contest.contest import Contest, foretold
from kadam.chapters.contest.knobs import KNOB_UNITS, Search, Settings
from kadam.chapters.contest.texts import TEXT_UNITS, arithmetic, contest_on_text, hold
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import optimizers


def contest(config: Drawn) -> Contest:
    """Who competes, and how."""
    return contest_on_text("budget", config, Search, methods=config.methods, settings=functools.partial(drawn, config))


announcement, plan, pilot = foretold(contest, arithmetic)


def drawn(config: Drawn, method: str) -> Settings:
    """The settings that a method tries: a row of uniform numbers a knob, the same for all methods."""
    uniform = np.random.default_rng(config.seed).random((5, config.trials))
    logs = [np.exp(np.interp(u, (0, 1), np.log(ends))) for u, ends in zip(uniform, _log_ends(config, method), strict=False)]
    shares = [np.interp(u, (0, 1), ends) for u, ends in zip(uniform[3:], (config.warmups, config.ends), strict=True)]
    values = (logs[0], 1 - logs[1], 1 - logs[2], *shares)
    return dict(zip(("rate", "gamma", "beta", "warmup", "end"), values, strict=True))


def _log_ends(config: Drawn, method: str) -> list[list[float]]:
    return [optimizers.rates(method, config.rates), list(config.forgets), list(config.forgets_squares)]


@recorded("budget", PROFILES)
def run(config: Drawn, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method's search, and its best with other seeds; see :meth:`Search.hold` for the dimensions."""
    return with_units(hold(contest(config), checkpoint=checkpoint, jobs=jobs), TEXT_UNITS | KNOB_UNITS)
