"""What is claimed of optimizers that were tuned on all their knobs, and how a record decides it."""

import functools

import numpy as np
import xarray as xr

from kadam.chapters.contest import judges
from kadam.chapters.contest.comparisons import ADAM, chosen
from kadam.report.ledger import Claims, Criterion, Finding, limited

SECOND = ("2-Adam inverse_exp", "2-Adam meta")
OTHERS = ("NAdam", "4-Adam meta")


def _rate_inside(dataset: xr.Dataset, *, least: float) -> Finding:
    """How far, as a factor, the best trial's learning rate is from the ends of what was tried."""
    rate, tried = chosen(dataset).sel(knob="rate"), dataset.tried.sel(knob="rate")
    factor = np.minimum(rate / tried.min("trial"), tried.max("trial") / rate)
    return f"nearest to an end: a factor of {float(factor.min()):.2f}", limited(factor, least=least)


WHY = "asked here: is Adam tuned on all its knobs?"
TEST = f"test loss of the best trial of each by validation: {judges.BY_PAIRS}"

TESTS: Claims = {
    ("D-7aa", WHY): (
        "On text, after a random search of equal size over five knobs, k = 2 is better than Adam",
        Criterion(TEST, level=0.05),
        functools.partial(judges.ahead_of, methods=SECOND, over=(ADAM,)),
    ),
    ("D-7ab", WHY): (
        "On text, after a random search of equal size over five knobs, NAdam and 4-Adam meta are better than Adam",
        Criterion(TEST, level=0.05),
        functools.partial(judges.ahead_of, methods=OTHERS, over=(ADAM,)),
    ),
    ("D-7ac", "checked here"): (
        "The learning rate of every method's best trial lies inside the range that was drawn from",
        Criterion("at least a factor of {least:g} from the smallest and the largest that was drawn", least=1.5),
        _rate_inside,
    ),
}
