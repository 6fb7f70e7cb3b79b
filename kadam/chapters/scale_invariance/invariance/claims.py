"""What is claimed of invariance, and how a record decides it."""

import numpy as np
import xarray as xr

from kadam.report.ledger import Finding, Test, passes, passes_for, with_range

USUAL = 0.9  # the gamma at which the paper's claims are judged
PREFIX = "derived here: Scale invariance, "


def _usual(variable: xr.DataArray) -> xr.DataArray:
    """At gamma = 0.9 without decay."""
    return variable.sel(gamma=USUAL, weight_decay=0.0)


def _within(ratio: xr.DataArray, margin: float) -> float:
    """The share of the cases whose ratio is 1 up to this margin."""
    return float((np.abs(ratio - 1) <= margin).mean())


def _paper_growth(dataset: xr.Dataset) -> Finding:
    ratio = _usual(dataset.growth_ratio)
    return f"measured over predicted growth: {with_range(ratio, '.1f')}", passes(_within(ratio, 0.1) == 1)


def _nearly_orthogonal(dataset: xr.Dataset) -> Finding:
    now, past = abs(_usual(dataset.cosine)), abs(_usual(dataset.past_cosine))
    measured = f"|cosine| with u {with_range(now, '.3f')}, with earlier gradients {with_range(past, '.3f')}"
    return measured, passes(max(float(now.max()), float(past.max())) <= 0.15)


def _factor(dataset: xr.Dataset) -> Finding:
    ratio = (dataset.growth_ratio.sel(weight_decay=0.0) / dataset.factor).mean("seed")
    good = _within(ratio, 0.15)
    measured = f"measured over corrected growth: {with_range(ratio)}; {good:.0%} of the cases within 15%"
    return measured, passes_for(good)


def _norms(dataset: xr.Dataset) -> Finding:
    ends = dataset.isel(step=-1)
    corrected, paper = (abs(ends[name] / ends.norm - 1).mean("seed") for name in ("norm_corrected", "norm_paper"))
    good = float((corrected <= 0.1).mean())
    measured = f"error of |W|^2 at the end: {with_range(corrected)}, the paper's {with_range(paper)}; {good:.0%} within 10%"
    return measured, passes_for(good)


def _rotation(dataset: xr.Dataset) -> Finding:
    decaying = dataset.sel(weight_decay=dataset.weight_decay > 0)
    ratio = (decaying.rotation / decaying.rotation_law).mean("seed")
    good = _within(ratio, 0.1)
    measured = f"measured over predicted angle: {with_range(ratio)}; {good:.0%} of the cases within 10%"
    return measured, passes_for(good)


def _momentum(dataset: xr.Dataset) -> Finding:
    gap = float(dataset.momentum_gap.max())
    return f"largest gap {'below 1e-9' if gap < 1e-9 else format(gap, '.0e')}", passes(gap < 1e-9)


def _one_moment(dataset: xr.Dataset) -> Finding:
    parts, spread = _usual(dataset.parts), _usual(dataset.spread)
    off = abs(parts.sel(part="unequal") + parts.sel(part="changing")).mean("seed")
    good = float((off <= 0.1).mean())
    measured = f"share of |W|^2 {with_range(off)}; {good:.0%} within 10%; 90th over 10th percentile {with_range(spread, '.1f')}"
    return measured, passes_for(good)


def _displacement(dataset: xr.Dataset) -> Finding:
    euclidean, largest = (_usual(dataset[name]).sel(window=10) for name in ("moved", "moved_largest"))
    measured = f"over 10 steps: Euclidean {with_range(euclidean)}, largest entry {with_range(largest)}"
    return measured, passes(min(_within(euclidean, 0.1), _within(largest, 0.1)) == 1)


TESTS = [
    Test(
        "GT-5a",
        "[G&T] Section 4.2, Eqs. 10-11 as we read them",
        "Without decay |W|^2 of a scale-invariant weight grows by eta^2 |u|^2 a step",
        "growth after the burn-in over eta^2 sum |u|^2 within 10% of 1 at gamma = 0.9, every weight, batch and seed",
        _paper_growth,
    ),
    Test(
        "GT-5b",
        "[G&T] Section 4.2, assumption A1",
        "W is nearly orthogonal to u and to all gradients up to now",
        "mean |cosine| at most 0.15 at gamma = 0.9 without decay, 0 to 50 steps back, every weight, batch and seed",
        _nearly_orthogonal,
    ),
    Test(
        "D-5c",
        PREFIX + "the factor",
        "It grows (1+gamma)/(1-gamma) times faster than that",
        "measured growth over this within 15%, mean over seeds, for every gamma, weight and batch; three quarters: partly",
        _factor,
    ),
    Test(
        "D-5d",
        PREFIX + "norm law",
        "The law with the cross term predicts |W|^2 at the end of a run from |u|^2",
        "within 10%, mean over seeds, for every gamma, weight decay, weight and batch; three quarters: partly",
        _norms,
    ),
    Test(
        "D-5e",
        PREFIX + "equilibrium",
        "With decay a step turns the weight by arccos((q+gamma)/(1+gamma q))",
        "late mean angle within 10%, mean over seeds, for every gamma, decay, weight and batch; three quarters: partly",
        _rotation,
    ),
    Test(
        "D-5f",
        PREFIX + "exact for Adam itself",
        "<W, m^> follows its recursion exactly",
        "largest gap along every run below 1e-9 of the largest |W| |m^|",
        _momentum,
    ),
    Test(
        "GT-5g",
        "[G&T] Section 4.2, assumption A2",
        "For the norm, one second moment may stand for all of a weight's",
        "unequal and changing v give at most 10% of |W|^2 at the end at gamma = 0.9 without decay, mean over seeds; three "
        "quarters of the cases: partly",
        _one_moment,
    ),
    Test(
        "GT-5h",
        "a reviewer's question on [G&T] Section 4.2, as we read it",
        "|W'| is |u|: over ten steps a weight goes as far as its updates are long, in l_2 as in l_inf",
        "displacement over 10 steps over the sum of eta |u| within 10% of 1 at gamma = 0.9 without decay, both norms",
        _displacement,
    ),
]
