"""What is claimed of stability, and how a record decides it."""

import numpy as np
import xarray as xr

from kadam.report.ledger import Finding, Test, passes


def _rounding(ratio: float) -> bool:
    """Whether a ratio exceeds 1 by no more than float64 rounding accumulated over a run."""
    return ratio <= 1 + 1e-12


def _at_most(error: float, tolerance: float) -> str:
    """An error that is only rounding as its tolerance, so that the words are the same on every machine."""
    return f"at most {tolerance:.0e}" if error <= tolerance else f"{error:.1e}"


def _bound_holds(dataset: xr.Dataset) -> Finding:
    ratio = float(dataset.sequence_ratio.max())
    return f"largest |u|/bound over {dataset.sizes['sequence']} sequences: {ratio:.6f}", passes(_rounding(ratio))


def _bound_is_tight(dataset: xr.Dataset) -> Finding:
    error = float(np.abs(dataset.attained / dataset.bound_discrete - 1).max())
    measured = f"relative gap over {dataset.attained.size} (pair, n): {_at_most(error, 1e-12)}"
    return measured, passes(error <= 1e-12)


def _growth_rate_is_exact(dataset: xr.Dataset) -> Finding:
    error = float(np.abs(dataset.growth_measured - dataset.growth_predicted).max())
    measured = f"error of the rate over {dataset.sizes['pair']} pairs, a step: {_at_most(error, 1e-9)}"
    return measured, passes(error <= 1e-9)


def _continuous_is_no_bound(dataset: xr.Dataset) -> Finding:
    """Reproduced would mean that nothing exceeds the continuous expression."""
    later = dataset.isel(n=slice(1, None))
    excess = later.attained / later.bound_continuous
    last = int(later.n.where((excess > 1).any("example")).max())
    measured = (
        f"exceeded for {int((excess.max('n') > 1).sum())} of {excess.sizes['example']} pairs, by a factor up to "
        f"{float(excess.max()):.2f}, but only at n <= {last}"
    )
    return measured, passes(float(excess.max()) <= 1)


def _continuous_region_is_safe(dataset: xr.Dataset) -> Finding:
    gap = dataset.boundary_continuous - dataset.boundary_discrete
    inside = dataset.sel(window="square")
    violations = int(((inside.coefficient > 0) & (inside.rate_discrete > 0)).sum())
    points = int((inside.coefficient > 0).sum())
    measured = f"of {points} grid points with C > 0, {violations} can grow; the paper's boundary is nowhere below the exact one"
    if float(gap.min()) < 0:
        measured = (
            f"{violations} of {points} grid points with C > 0 can grow; gap between the boundaries {float(gap.min()):.1e}"
        )
    return measured, passes(violations == 0 and float(gap.min()) >= 0)


def _last_stage_bounds(dataset: xr.Dataset) -> Finding:
    ratio = float(dataset.last_stage_ratio.max())
    reached = dict(zip(dataset.order.values, dataset.order_reached.values, strict=True))
    measured = (
        f"largest ratio {ratio:.6f}; stable stage last: {reached['stable last']:.2f}, first: {reached['unstable last']:.0f}"
    )
    return measured, passes(_rounding(ratio))


TESTS = [
    Test(
        "GT-1a",
        "[G&T] Eq. 6 (C is the paper's)",
        "Inside C > 0 the max-update stays bounded",
        "no point of the grid has C > 0 and a positive exact discrete growth rate",
        _continuous_region_is_safe,
    ),
    Test(
        "GT-1b",
        "[G&T] Eq. 6, read as a bound on the discrete algorithm (prefactor: our reading)",
        "Taken as a bound on the discrete algorithm, the continuous expression holds at every n >= 1",
        "the algorithm's worst case stays below it at every n >= 1, for six example pairs",
        _continuous_is_no_bound,
    ),
    Test(
        "D-1c",
        "derived here: Theory, discrete bound",
        "The discrete bound holds for every gradient sequence",
        "no ratio |u_n|/bound_n above 1 + 1e-12 over random and adversarial sequences",
        _bound_holds,
    ),
    Test(
        "D-1d",
        "derived here: Theory, tightness",
        "The discrete bound is attained",
        "relative gap at most 1e-12 for every example pair and n",
        _bound_is_tight,
    ),
    Test(
        "D-1e",
        "derived here: Theory, silent gradient",
        "After the gradient falls silent u_n grows or decays exactly as (gamma/sqrt(beta))^n, bias correction aside",
        "simulated rate within 1e-9 a step of the prediction, on both sides of beta = gamma^2",
        _growth_rate_is_exact,
    ),
    Test(
        "D-1f",
        "derived here: Theory, last stage",
        "k-Adam's update obeys its last stage's bound, whatever the stages before",
        "no ratio to the last stage's bound above 1 + 1e-12, over random stages and sequences",
        _last_stage_bounds,
    ),
]
