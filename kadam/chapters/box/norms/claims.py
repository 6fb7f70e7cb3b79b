"""What is claimed of norms, and how a record decides it."""

import numpy as np
import xarray as xr

from kadam.chapters.box.norms.config import BASES
from kadam.report.ledger import Claims, Criterion, Finding, below, judged, limited, on_enough_seeds
from kadam.report.statistics import rank_correlation


def _is_frank_wolfe(dataset: xr.Dataset, *, most: float) -> Finding:
    largest = float(dataset.difference.max())
    return f"largest difference {below(largest)}", limited(largest, most=most)


def _times(dataset: xr.Dataset, method: str) -> xr.DataArray:
    """How many times as many steps the twin in l_2 takes; a method that never arrives takes all steps and one."""
    never = float(dataset.step.max()) + 1
    return dataset.reached.sel(descent="l_2").fillna(never) / dataset.reached.sel(descent=method).fillna(never)


def _by_dimension(times: xr.DataArray, form: str) -> str:
    """Medians over seeds in words."""
    middle = times.median("seed")
    return ", ".join(f"{form.format(float(x))} at d = {int(d)}" for d, x in zip(middle.dimension, middle, strict=True))


@on_enough_seeds
def _faster_in_its_norm(dataset: xr.Dataset) -> Finding:
    times = _times(dataset, "l_inf").sel(basis="axes")
    dimensions = np.repeat(times.dimension.values, times.sizes["seed"])
    grows = rank_correlation(dimensions, times.transpose("dimension", ...).values.ravel())
    words = _by_dimension(times, "{:.1f} times")
    return f"{words}; rank correlation with d {grows:.2f}", judged(float(times.min()) > 1 and grows > 0)


@on_enough_seeds
def _not_in_another_basis(dataset: xr.Dataset) -> Finding:
    times = _times(dataset, "l_inf")
    axes, rotated = (times.sel(basis=basis).median("seed") for basis in BASES)
    words = _by_dimension(times.sel(basis="rotated"), "{:.2f}")
    return f"steps of l_2 over l_inf in a random basis: {words}", judged(rotated <= np.minimum(1, axes))


@on_enough_seeds
def _adam_goes_with_signs(dataset: xr.Dataset) -> Finding:
    twins, signs = (_times(dataset, method).sel(basis="axes") for method in ("AdamW, equal", "l_inf"))
    nearer = np.abs(np.log(twins / signs)) < np.abs(np.log(twins))
    return f"AdamW with equal decays before l_2: {_by_dimension(twins, '{:.1f} times')}", judged(nearer)


def _theorem_holds(dataset: xr.Dataset) -> Finding:
    worst = float(dataset.over_bound.sel(descent=["l_inf", "l_2"]).max())
    return f"largest loss over its bound {worst:.3f}", limited(worst, most=1)


XL = "[X&L] abstract and introduction, as we read them"

TESTS: Claims = {
    ("XL-8a", "[X&L] abstract; equality derived here"): (
        "SignGD with decoupled decay takes Frank & Wolfe's steps on the box",
        Criterion("optimizer with betas (0, 0) and Frank & Wolfe: at every step at most {most:g} radii apart", most=1e-12),
        _is_frank_wolfe,
    ),
    ("XL-8m", XL): (
        "On a loss smoother in l_inf, steepest descent with decay is faster in l_inf than in l_2, the more the dimensions",
        "steps to the level: fewer in every dimension with every seed, and rank correlation of their ratio with d above 0",
        _faster_in_its_norm,
    ),
    ("D-8n", "control, asked here: chapter 8"): (
        "In a random basis the advantage of l_inf is gone",
        "l_2 takes no more steps than l_inf there, median over seeds, in every dimension",
        _not_in_another_basis,
    ),
    ("XL-8o", XL): (
        "Adam belongs to l_inf: AdamW goes with SignGD, not with the twin in l_2",
        "steps of AdamW with equal decays nearer to those in l_inf than in l_2, in logarithm, in all runs along the axes",
        _adam_goes_with_signs,
    ),
    ("D-8p", "Frank & Wolfe's theorem"): (
        "Loss is below 2 H (2R)^2/(n+2) at every step, in either norm",
        "no loss above its bound, with the exact smoothness H in l_2 and the bound sum |A_ij| in l_inf",
        _theorem_holds,
    ),
}
