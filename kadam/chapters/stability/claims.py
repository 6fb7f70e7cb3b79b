"""What is claimed of stability, and how a record decides it."""

import numpy as np
import xarray as xr

from kadam.report.ledger import Claims, Criterion, Finding, judged, limited

ROUNDING = 1e-12  # of float64, accumulated over a run


def boundary_gap(dataset: xr.Dataset) -> xr.DataArray:
    """How far the paper's boundary lies above the exact one, in beta, by gamma."""
    return dataset.boundary_continuous - dataset.boundary_discrete


def rate_error(dataset: xr.Dataset) -> float:
    """The largest error of the predicted rate over all simulated pairs, per step."""
    return float(np.abs(dataset.growth_measured - dataset.growth_predicted).max())


def at_most(error: float, most: float) -> str:
    """An error that is only rounding as its limit, so that the words are the same on every machine."""
    return f"at most {most:.0e}" if error <= most else f"{error:.1e}"


def _bound_holds(dataset: xr.Dataset, *, rounding: float) -> Finding:
    ratio = float(dataset.sequence_ratio.max())
    return f"largest |u|/bound over {dataset.sizes['sequence']} sequences: {ratio:.6f}", limited(ratio, most=1 + rounding)


def _bound_is_tight(dataset: xr.Dataset, *, most: float) -> Finding:
    error = float(np.abs(dataset.attained / dataset.bound_discrete - 1).max())
    return f"relative gap over {dataset.attained.size} (pair, n): {at_most(error, most)}", limited(error, most=most)


def _growth_rate_is_exact(dataset: xr.Dataset, *, most: float) -> Finding:
    error = rate_error(dataset)
    return f"error of the rate over {dataset.sizes['pair']} pairs, per step: {at_most(error, most)}", limited(error, most=most)


def _continuous_is_no_bound(dataset: xr.Dataset) -> Finding:
    """Reproduced would mean that nothing exceeds the continuous expression."""
    excess = (dataset.attained / dataset.bound_continuous).isel(n=slice(1, None))
    holds, exceeded = judged((excess <= 1).all("n")), excess.where(excess > 1, drop=True)
    words = f"exceeded for {exceeded.sizes['example']} of {excess.sizes['example']} pairs"
    if not exceeded.size:
        return words, holds
    return f"{words}, by a factor up to {excess.max():.2f}, but only at n <= {exceeded.n.max():d}", holds


def _continuous_region_is_safe(dataset: xr.Dataset) -> Finding:
    gap = float(boundary_gap(dataset).min())
    square = dataset.sel(window="square")
    inside = square.coefficient > 0
    grow = int((inside & (square.rate_discrete > 0)).sum())
    place = "nowhere below the exact one" if gap >= 0 else f"up to {-gap:.1e} below the exact one"
    measured = f"updates can grow at {grow} of {int(inside.sum())} grid points with C > 0; the paper's boundary is {place}"
    return measured, judged(grow == 0 and gap >= 0)


def _last_stage_bounds(dataset: xr.Dataset, *, rounding: float) -> Finding:
    ratio = float(dataset.last_stage_ratio.max())
    last, first = (float(dataset.order_reached.sel(order=order)) for order in ("stable last", "unstable last"))
    return f"largest ratio {ratio:.6f}; stable stage last: {last:.2f}, first: {first:.0f}", limited(ratio, most=1 + rounding)


TESTS: Claims = {
    ("GT-1a", "[G&T] Eq. 6 (C is the paper's)"): (
        "Inside C > 0 the max-update stays bounded",
        "no point of the grid has C > 0 and a positive exact discrete growth rate",
        _continuous_region_is_safe,
    ),
    ("GT-1b", "[G&T] Eq. 6, read as a bound on the discrete algorithm (prefactor: our reading)"): (
        "Taken as a bound on the discrete algorithm, the continuous expression holds at every n >= 1",
        "the algorithm's worst case stays below it at every n >= 1, for six example pairs",
        _continuous_is_no_bound,
    ),
    ("D-1c", "derived here: Theory, discrete bound"): (
        "The discrete bound holds for every gradient sequence",
        Criterion("no ratio |u_n|/bound_n above 1 + {rounding:g} over random and adversarial sequences", rounding=ROUNDING),
        _bound_holds,
    ),
    ("D-1d", "derived here: Theory, tightness"): (
        "The discrete bound is attained",
        Criterion("relative gap at most {most:g} for every example pair and n", most=ROUNDING),
        _bound_is_tight,
    ),
    ("D-1e", "derived here: Theory, silent gradient"): (
        "After the gradient falls silent u_n grows or decays exactly as (gamma/sqrt(beta))^n, bias correction aside",
        Criterion("simulated rate within {most:.0e} per step of the prediction, on both sides of beta = gamma^2", most=1e-9),
        _growth_rate_is_exact,
    ),
    ("D-1f", "derived here: Theory, last stage"): (
        "k-Adam's update obeys its last stage's bound, whatever the stages before",
        Criterion("no ratio to that bound above 1 + {rounding:g}, over random stages and sequences", rounding=ROUNDING),
        _last_stage_bounds,
    ),
}
