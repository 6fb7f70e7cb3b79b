"""What is claimed of invariance, and how a record decides it."""

import functools
from collections.abc import Callable

import numpy as np
import xarray as xr

from kadam.chapters.scale_invariance.invariance.config import LAGS
from kadam.report.ledger import NEAR_LAW, NEAR_PAPER, Claims, Criterion, Finding, limited, with_range

USUAL = 0.9  # the gamma at which the paper's claims are judged
SHORT = 0.95  # the longest memory of momentum with which a run of ours is many memories long


def usual(dataset: xr.Dataset) -> xr.Dataset:
    """At gamma = 0.9 without decay."""
    return dataset.sel(gamma=USUAL, weight_decay=0.0)


def growth_over_law(dataset: xr.Dataset) -> xr.DataArray:
    """Growth without decay over that at constant |u|^2 by the law with the cross term."""
    return dataset.growth_ratio.sel(weight_decay=0.0) / dataset.factor


def end_errors(dataset: xr.Dataset, law: str) -> xr.DataArray:
    """Relative error of |W|^2 at the end of training by the law, "corrected" or "paper"."""
    ends = dataset.isel(step=-1)
    return ends[f"norm_{law}"] / ends.norm - 1


def turn_over(dataset: xr.Dataset, law: str) -> xr.DataArray:
    """The angle of a late step, with decay, over that at equilibrium by "law", the one with the cross term, or "paper"."""
    decaying = dataset.sel(weight_decay=dataset.weight_decay > 0)
    return decaying.rotation / decaying[f"rotation_{law}"]


def _share(errors: xr.DataArray, most: float) -> float:
    """The share of the cases that are at most so far off."""
    return float((np.abs(errors) <= most).mean())


def _paper_growth(dataset: xr.Dataset, *, most: float) -> Finding:
    ratio = usual(dataset).growth_ratio
    return f"measured over predicted growth: {with_range(ratio, '.1f')}", limited(abs(ratio - 1), most=most)


def _nearly_orthogonal(dataset: xr.Dataset, *, most: float) -> Finding:
    now, past = abs(usual(dataset).cosine), abs(usual(dataset).past_cosine)
    measured = f"|cosine| with u {with_range(now, '.3f')}, with earlier gradients {with_range(past, '.3f')}"
    return measured, limited(np.maximum(now, past), most=most)


def _law_holds(dataset: xr.Dataset, *, ratio: Callable[[xr.Dataset], xr.DataArray], what: str, most: float) -> Finding:
    found = ratio(dataset).mean("seed")
    good = _share(found - 1, most)
    words = f"measured over {what}: {with_range(found)}; {good:.0%} of the cases within {most:.0%}"
    fresh = found.sel(setting=found.setting != "one fixed batch", gamma=found.gamma <= SHORT)
    words += f", with fresh batches and gamma at most {SHORT}: {_share(fresh - 1, most):.0%}"
    return words, limited(abs(found - 1), most=most)


def _norms(dataset: xr.Dataset, *, most: float) -> Finding:
    corrected, paper = (abs(end_errors(dataset, law)).mean("seed") for law in ("corrected", "paper"))
    good = _share(corrected, most)
    errors = f"{with_range(corrected)}, the paper's {with_range(paper)}"
    return f"error of |W|^2 at the end: {errors}; {good:.0%} within {most:.0%}", limited(corrected, most=most)


def _momentum(dataset: xr.Dataset, *, most: float) -> Finding:
    gap = float(dataset.momentum_gap.max())
    return f"largest gap {f'below {most:g}' if gap < most else format(gap, '.0e')}", limited(gap, most=most)


def _one_moment(dataset: xr.Dataset, *, most: float) -> Finding:
    parts, spread = usual(dataset).parts, usual(dataset).spread
    off = abs(parts.sel(part="unequal") + parts.sel(part="changing")).mean("seed")
    good = _share(off, most)
    within = f"{good:.0%} within {most:.0%}; 90th over 10th percentile {with_range(spread, '.1f')}"
    return f"share of |W|^2 {with_range(off)}; {within}", limited(off, most=most)


def _displacement(dataset: xr.Dataset, *, steps: int, most: float) -> Finding:
    euclidean, largest = (usual(dataset)[name].sel(window=steps) for name in ("moved", "moved_largest"))
    measured = f"over {steps} steps: Euclidean {with_range(euclidean)}, largest entry {with_range(largest)}"
    return measured, limited(xr.concat([abs(euclidean - 1), abs(largest - 1)], "norm").max("norm"), most=most)


PREFIX = "derived here: Scale invariance, "
HERE = f"at gamma = {USUAL} without decay"
EVERY = "every weight, batch and seed"
MEAN = "mean over seeds, for every"
CASES = f"{MEAN} gamma, decay, weight and batch"
WAY = f"displacement over {{steps}} steps over the sum of eta |u| within {{most:.0%}} of 1 {HERE}, both norms"

TESTS: Claims = {
    ("GT-5a", "[G&T] Section 4.2, Eqs. 10-11 as we read them"): (
        "Without decay |W|^2 of a scale-invariant weight grows by eta^2 |u|^2 per step",
        Criterion(f"growth after the burn-in over eta^2 sum |u|^2 within {{most:.0%}} of 1 {HERE}, {EVERY}", most=NEAR_PAPER),
        _paper_growth,
    ),
    ("GT-5b", "[G&T] Section 4.2, assumption A1"): (
        "W is nearly orthogonal to u and to all gradients up to now",
        Criterion(f"mean |cosine| at most {{most}} {HERE}, {LAGS[0]} to {LAGS[-1]} steps back, {EVERY}", most=0.15),
        _nearly_orthogonal,
    ),
    ("D-5c", PREFIX + "the factor"): (
        "It grows (1+gamma)/(1-gamma) times faster than that",
        Criterion(f"measured growth over this within {{most:.0%}}, {MEAN} gamma, weight and batch", most=NEAR_LAW),
        functools.partial(_law_holds, ratio=growth_over_law, what="corrected growth"),
    ),
    ("D-5d", PREFIX + "norm law"): (
        "The law with the cross term predicts |W|^2 at the end of a run from |u|^2",
        Criterion(f"within {{most:.0%}}, {CASES}", most=0.1),
        _norms,
    ),
    ("D-5e", PREFIX + "equilibrium"): (
        "With decay a step turns the weight by arccos((q+gamma)/(1+gamma q))",
        Criterion(f"late mean angle within {{most:.0%}}, {CASES}", most=0.1),
        functools.partial(_law_holds, ratio=functools.partial(turn_over, law="law"), what="predicted angle"),
    ),
    ("D-5f", PREFIX + "exact for Adam itself"): (
        "<W, m^> follows its recursion exactly",
        Criterion("largest gap along every run below {most:g} of the largest |W| |m^|", most=1e-9),
        _momentum,
    ),
    ("GT-5g", "[G&T] Section 4.2, assumption A2"): (
        "For the norm, one second moment may stand for all of a weight's",
        Criterion(
            f"unequal and changing v give at most {{most:.0%}} of |W|^2 at the end {HERE}, {MEAN} weight and batch", most=0.1
        ),
        _one_moment,
    ),
    ("GT-5h", "a reviewer's question on [G&T] Section 4.2, as we read it"): (
        "|W'| is |u|: over ten steps a weight goes as far as its updates are long, in l_2 as in l_inf",
        Criterion(WAY, steps=10, most=0.1),
        _displacement,
    ),
}
