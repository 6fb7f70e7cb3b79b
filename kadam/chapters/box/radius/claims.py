"""What is claimed of radius, and how a record decides it."""

import functools
import math

import numpy as np
import xarray as xr

from kadam.chapters.box.window import window_excesses
from kadam.report.ledger import OTHER_SEEDS, Claims, Criterion, Finding, judged, limited, on_enough_seeds, with_range
from kadam.report.statistics import rank_correlation

Names = tuple[str, ...]

BELOW = ("equal", "short", "Adam")  # gamma <= beta
WINDOWED = (*BELOW, "2-Adam")  # and of the last stage

OUTSIDE = 1.01  # radii of the box: a weight above is outside
ROUNDING = 1e-9


def relative_gap(dataset: xr.Dataset) -> xr.DataArray:
    """The smallest Frank-Wolfe gap so far over the first gap."""
    return dataset.least_gap / dataset.gap.isel(kept=0)


def share_of_bound(dataset: xr.Dataset) -> xr.DataArray:
    """The mean square of a weight's updates over the theory's bound on it; NaN where there is none."""
    return dataset.update_square / dataset.update_bound


@on_enough_seeds
def _gap_falls(dataset: xr.Dataset, *, most: float) -> Finding:
    runs = dataset.sel(batches="full batch", setting=list(BELOW))
    least = relative_gap(runs).isel(kept=-1)
    still = f"{100 * float(runs.still.min()):.0f} to {100 * float(runs.still.max()):.0f}% of the weights have settled"
    return f"smallest gap over the first {with_range(least, '.3f')}; {still}", limited(least, most=most)


@on_enough_seeds
def _largest_weights(
    dataset: xr.Dataset, *, shown: Names, judged: Names, digits: str = ".2f", least: float = 0.0, most: float = math.inf
) -> Finding:
    """Whether the largest weights of the judged settings end above ``least`` and at most at ``most``."""
    size = dataset["size"].isel(kept=-1)
    words = ", ".join(f"{name} {with_range(size.sel(setting=name), digits)}" for name in shown)
    limits = {"most": most} if np.isfinite(most) else {"above": least}
    return f"largest weight over the radius: {words}", limited(size.sel(setting=list(judged)), **limits)


def _radius_holds(dataset: xr.Dataset) -> Finding:
    stable = dataset.where(np.isfinite(dataset.radius), drop=True)
    share = float((stable.largest / np.maximum(stable.radius, stable.start)).max())
    return f"largest weight over the larger of radius and start {share:.6f}", limited(share, most=1 + ROUNDING)


@on_enough_seeds
def _average_is_bounded(dataset: xr.Dataset) -> Finding:
    runs = dataset.sel(setting=list(BELOW))
    share, bound = share_of_bound(runs), runs.update_bound
    measured = f"largest share of the bound {share.max():.3f} over {share.count():d} paths of a weight"
    return f"{measured}; bounds {bound.min():.2f} to {bound.max():.2f}", limited(float(share.max()), most=1 + ROUNDING)


@on_enough_seeds
def _window_decides(dataset: xr.Dataset, *, least: float, most: float, narrow: float, wide: float) -> Finding:
    runs = dataset.sel(batches="full batch", setting=list(WINDOWED)).isel(kept=-1)
    excess, size = xr.broadcast(window_excesses(runs), runs["size"])
    correlation = rank_correlation(excess.values.ravel(), size.values.ravel())
    inside, outside = float(size.where(excess < narrow).max()), float(size.where(excess > wide).min())
    words = f"largest weight at most {inside:.3f} below an excess of {narrow:g}, at least {outside:.2f} above {wide:g}"
    return f"rank correlation {correlation:.2f}; {words}", judged(correlation >= least and inside <= most < outside)


XL = "[X&L] abstract, as we read it"
WITHIN = "largest weight at the end at most {most} radii, on a full batch and on fresh ones, in all runs"

TESTS: Claims = {
    ("XL-8q", XL): (
        "Of a network on one full batch the Frank-Wolfe gap falls under AdamW with gamma <= beta",
        Criterion("smallest gap so far at most {most:.0%} of the first, in all runs", most=0.1),
        _gap_falls,
    ),
    ("XL-8r", XL): (
        "With gamma <= beta a network's weights end within the box, whatever lambda",
        Criterion(WITHIN, most=OUTSIDE),
        functools.partial(_largest_weights, shown=BELOW, judged=BELOW),
    ),
    ("XL-8s", "[X&L] abstract: a tight bound on the average update; ours is derived here: The box"): (
        "In training the mean square of a weight's updates obeys the average bound",
        "at most the bound on every followed weight that the first gradient reaches, gamma <= beta, full and fresh batches",
        _average_is_bounded,
    ),
    ("D-8t", "derived here: The box, the radius that decay enforces"): (
        "No weight of the network ever leaves the radius of the max-update bound",
        "no weight above the larger of that radius and the largest first weight, at any step, in any stable setting",
        _radius_holds,
    ),
    ("D-8u", "asked here: chapter 8"): (
        "Outside of the stable region the network's weights end outside of the box",
        Criterion("largest weight at the end above {least} radii in all runs", least=OUTSIDE),
        functools.partial(_largest_weights, shown=("above", "unstable"), judged=("unstable",), digits=".4g"),
    ),
    ("D-8v", "derived here: The box, k-Adam"): (
        "2-Adam's weights end within the same box",
        Criterion("largest weight at the end at most {most} radii in all runs", most=OUTSIDE),
        functools.partial(_largest_weights, shown=("2-Adam", "Adam"), judged=("2-Adam",)),
    ),
    ("D-8w", "derived here: The box, a constant rate"): (
        "How far outside the weights stay follows from eta lambda K: the window of the decay against that of the average",
        Criterion(
            "full batch, gamma <= beta: rank correlation of largest weight with window excess at least {least}; at most {most} "
            "radii below an excess of {narrow}, more in all runs of an excess above {wide}",
            least=0.8,
            most=OUTSIDE,
            narrow=0.03,
            when=OTHER_SEEDS,
            wide=1,
        ),
        _window_decides,
    ),
}
