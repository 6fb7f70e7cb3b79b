"""By which law |W|^2 of scale-invariant weights grew in a contest: of those that make normalised queries and keys."""

import functools
import json
from collections.abc import Callable

import xarray as xr

from kadam.chapters.contest.comparisons import ADAM, TUNED
from kadam.lab.records.profiles import MEMORIES
from kadam.report.ledger import NEAR_LAW, NEAR_PAPER, NOT_JUDGED, Criterion, Finding, limited, with_range
from kadam.theory.invariance import growth_factor


def growth_ratio(dataset: xr.Dataset) -> xr.DataArray:
    """Growth in a run over the sum of eta^2 |u|^2, 1 by the paper's law, of Adam with each gamma; with network, seed, block."""
    of = dataset.sel(comparison=TUNED, optimizer=dataset.optimizer.isin([ADAM, *MEMORIES]))
    grown, moved = (of[name].sum("evaluation", skipna=False) for name in ("block_growth", "block_moves"))
    return (grown / moved).dropna("network", how="all")  # others are not watched


def over_law(dataset: xr.Dataset) -> xr.DataArray:
    """The same over what it is by the law with the cross term, (1 + gamma)/(1 - gamma), mean over seeds."""
    ratio, gammas = growth_ratio(dataset), {ADAM: json.loads(dataset.attrs["config"])["gamma"], **MEMORIES}
    factors = [growth_factor(gammas[name]) for name in ratio.optimizer.values]
    return ratio.mean("seed", skipna=False) / xr.DataArray(factors, dims="optimizer")


def _near(dataset: xr.Dataset, *, of: Callable[[xr.Dataset], xr.DataArray], most: float) -> Finding:
    if "block_growth" not in dataset:
        return "norms are watched at profile paper alone", NOT_JUDGED
    found = of(dataset)
    each = (f"{name} {with_range(found.sel(optimizer=name))}" for name in found.optimizer.values)
    return f"measured over predicted growth: {'; '.join(each)}", limited(abs(found - 1), most=most)


PAPER, FACTOR = "[G&T] Section 4.2, Eqs. 10-11 as we read them", "derived here: Scale invariance, the factor"
NORM = "In training on text |W|^2 of a head's rows for normalised queries, or keys, grows"
SUM, NEAR = "the sum of eta^2 |u|^2", "within {most:.0%} of 1, in a run at the tuned rate, every method, layer and head"
BY_PAPER = (
    f"{NORM} by eta^2 |u|^2 per step",
    Criterion(f"growth over {SUM} {NEAR}, and seed", most=NEAR_PAPER),
    functools.partial(_near, of=growth_ratio),
)
BY_FACTOR = (
    f"{NORM} (1+gamma)/(1-gamma) times faster than by eta^2 |u|^2 per step",
    Criterion(f"growth over (1+gamma)/(1-gamma) times {SUM} {NEAR}, mean over seeds", most=NEAR_LAW),
    functools.partial(_near, of=over_law),
)
