"""Why does NAdam lead on text? Its look-ahead, the warm-up of its momentum, and its weights of the newest gradient, apart.

PyTorch's NAdam adds to Adam's momentum, whose decay stays at gamma, the newest gradient once more. How much more, a momentum
mu_t says, which warms up from gamma/2 so slowly that in some hundred steps it hardly leaves it: about half of the numerator is
the newest gradient. Here are NAdam as it is; with mu_t = gamma from the start, which leaves its look-ahead alone; Adam whose
momentum has the decay mu_t, a warm-up without look-ahead; and Adam with NAdam's weights, their sum kept to one.
"""

from pathlib import Path

import xarray as xr

from kadam.chapters.contest.comparisons import MATCHED, TUNED
from kadam.chapters.contest.contest import Contest, foretold
from kadam.chapters.contest.lookahead.config import PROFILES
from kadam.chapters.contest.settings import Config
from kadam.chapters.contest.texts import TEXT_UNITS, arithmetic, contest_on_text, hold
from kadam.chapters.contest.trials import interpolated
from kadam.lab.records.record import recorded, with_units


def contest(config: Config) -> Contest:
    """Who competes, and how."""
    return contest_on_text("lookahead", config, comparisons=(TUNED, MATCHED), tuned=interpolated)


announcement, plan, pilot = foretold(contest, arithmetic)


@recorded("lookahead", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method's search and its two comparisons; see :meth:`Contest.hold` for the dimensions."""
    return with_units(hold(contest(config), checkpoint=checkpoint, jobs=jobs), TEXT_UNITS)
