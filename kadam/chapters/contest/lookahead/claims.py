"""What is claimed of the parts of NAdam, and how a record decides it."""

import functools
from collections.abc import Sequence

import xarray as xr

from kadam.chapters.contest.comparisons import COMPARISONS
from kadam.chapters.contest.lookahead.config import METHODS
from kadam.chapters.contest.measures import lead
from kadam.report.ledger import OTHER_SEEDS, Claims, Criterion, Finding, limited, on_enough_seeds, span
from kadam.report.statistics import holm, paired_t_test

_, NADAM, AHEAD, WARM, WEIGHTS = METHODS


def leads(dataset: xr.Dataset, methods: Sequence[str]) -> xr.DataArray:
    """How far methods are ahead of Adam. Dimensions: comparison, optimizer, network, seed."""
    each = {name: lead(dataset, name, list(methods)) for name in COMPARISONS if name in dataset.comparison}
    return xr.concat(each.values(), xr.Variable("comparison", list(each)))


def shares(dataset: xr.Dataset, methods: Sequence[str]) -> xr.DataArray:
    """Of NAdam's mean lead over Adam that of other methods, NaN where NAdam has none. Without seed."""
    mean = leads(dataset, [NADAM, *methods]).mean("seed")
    whole = mean.sel(optimizer=NADAM, drop=True)
    return mean.sel(optimizer=list(methods)) / whole.where(whole > 0)


@on_enough_seeds
def _explains(dataset: xr.Dataset, *, methods: Sequence[str], least: float, level: float) -> Finding:
    """Whether more than so large a share of NAdam's lead is there without the rest, in each comparison and network."""
    of = leads(dataset, [NADAM, *methods])
    whole, rest = of.sel(optimizer=NADAM, drop=True), of.sel(optimizer=list(methods))
    more = (rest - least * whole).transpose("comparison", "optimizer", "network", "seed")
    p = more.isel(seed=0, drop=True).copy(data=holm(paired_t_test(more.values)))
    known = whole.mean("seed") > 0
    share = shares(dataset, methods)
    words = [
        f"{method}, {name}: {span(share.sel(optimizer=method, comparison=name), '.0%')}"
        for method in methods
        for name in share.comparison.values
    ]
    return f"share of NAdam's lead: {'; '.join(words)}", limited(
        p.where(more.mean("seed") > 0, 1.0), most=level, where=known.broadcast_like(p).transpose(*p.dims)
    )


WHY = "asked here: why does NAdam lead?"
TEST = (
    "wherever NAdam's mean is ahead of Adam's, at the interpolated optimum and at matched size: two-sided paired t-test over "
    "seeds that the gain over Adam is {least:.0%} of NAdam's, corrected by Holm's method among all cases: p at most {level:g}, "
    "with a larger gain"
)
HALF = Criterion(TEST, least=0.5, level=0.05, when=OTHER_SEEDS)

TESTS: Claims = {
    ("D-7y", WHY): (
        "On text, NAdam's look-ahead alone, with constant momentum, gives more than half of its lead over Adam",
        HALF,
        functools.partial(_explains, methods=(AHEAD,)),
    ),
    ("D-7z", WHY): (
        "On text, more than half of NAdam's lead is there without a look-ahead, in a momentum that warms up as NAdam's",
        HALF,
        functools.partial(_explains, methods=(WARM,)),
    ),
}
