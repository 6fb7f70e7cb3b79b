"""What is claimed of radius, and how a record decides it."""

import numpy as np
import xarray as xr

from kadam.chapters.box.radius.config import BELOW, WINDOWED
from kadam.report.ledger import Finding, Test, on_enough_seeds, passes, passes_for, with_range
from kadam.report.statistics import rank_correlation


@on_enough_seeds
def _gap_falls(dataset: xr.Dataset) -> Finding:
    runs = dataset.sel(batches="full batch", setting=list(BELOW))
    least = runs.least_gap.isel(kept=-1) / runs.gap.isel(kept=0)
    still = f"{100 * float(runs.still.min()):.0f} to {100 * float(runs.still.max()):.0f}% of the weights have settled"
    return f"smallest gap over the first {with_range(least, '.3f')}; {still}", passes_for(float((least <= 0.1).mean()))


@on_enough_seeds
def _ends_within(dataset: xr.Dataset) -> Finding:
    size = dataset["size"].isel(kept=-1).sel(setting=list(BELOW))
    words = ", ".join(f"{name} {with_range(size.sel(setting=name))}" for name in BELOW)
    return f"largest weight over the radius: {words}", passes_for(float((size <= 1.01).mean()))


@on_enough_seeds
def _unstable_leaves(dataset: xr.Dataset) -> Finding:
    ends = {name: dataset["size"].isel(kept=-1).sel(setting=name) for name in ("above", "unstable")}
    words = ", ".join(f"{name} {with_range(size, '.4g')}" for name, size in ends.items())
    outside = float((ends["unstable"] > 1.01).mean())
    return f"largest weight over the radius: {words}", passes_for(outside)


def _radius_holds(dataset: xr.Dataset) -> Finding:
    stable = dataset.where(np.isfinite(dataset.radius), drop=True)
    share = float((stable.largest / np.maximum(stable.radius, stable.start)).max())
    return f"largest weight over the larger of radius and start {share:.6f}", passes(share <= 1 + 1e-9)


@on_enough_seeds
def _average_is_bounded(dataset: xr.Dataset) -> Finding:
    share = (dataset.update_square / dataset.update_bound).sel(setting=list(BELOW))
    bound = dataset.update_bound.sel(setting=list(BELOW))
    measured = f"largest share of the bound {float(share.max()):.3f} over {int(share.count())} paths of a weight"
    return f"{measured}; bounds {float(bound.min()):.2f} to {float(bound.max()):.2f}", passes(float(share.max()) <= 1 + 1e-9)


@on_enough_seeds
def _two_stages_end_within(dataset: xr.Dataset) -> Finding:
    size, adam = (dataset["size"].isel(kept=-1).sel(setting=name) for name in ("2-Adam", "Adam"))
    measured = f"largest weight over the radius: 2-Adam {with_range(size)}, Adam {with_range(adam)}"
    return measured, passes_for(float((size <= 1.01).mean()))


@on_enough_seeds
def _window_decides(dataset: xr.Dataset) -> Finding:
    ends = dataset.sel(batches="full batch", setting=list(WINDOWED)).isel(kept=-1)
    excess, size = xr.broadcast(ends.window_excess, ends["size"])
    correlation = rank_correlation(excess.values.ravel(), size.values.ravel())
    inside, outside = float(size.where(excess < 0.03).max()), float(size.where(excess > 1).min())
    words = f"largest weight at most {inside:.3f} below an excess of 0.03, at least {outside:.2f} above 1"
    return f"rank correlation {correlation:.2f}; {words}", passes(correlation >= 0.8 and inside <= 1.01 < outside)


XL = "[X&L] abstract, as we read it"

TESTS = [
    Test(
        "XL-8q",
        XL,
        "Of a network on one full batch the Frank-Wolfe gap falls under AdamW with gamma <= beta",
        "smallest gap so far at most a tenth of the first, in all runs; three quarters: partly",
        _gap_falls,
    ),
    Test(
        "XL-8r",
        XL,
        "With gamma <= beta a network's weights end within the box, whatever lambda",
        "largest weight at the end at most 1.01 radii, on a full batch and on fresh ones, in all runs; three quarters: partly",
        _ends_within,
    ),
    Test(
        "XL-8s",
        "[X&L] abstract: a tight bound on the average update; ours is derived here: The box",
        "In training the mean square of a weight's updates obeys the average bound",
        "at most the bound on every followed weight that the first gradient reaches, gamma <= beta, full and fresh batches",
        _average_is_bounded,
    ),
    Test(
        "D-8t",
        "derived here: The box, the radius that decay enforces",
        "No weight of the network ever leaves the radius of the max-update bound",
        "no weight above the larger of that radius and the largest first weight, at any step, in any stable setting",
        _radius_holds,
    ),
    Test(
        "D-8u",
        "asked here: chapter 8",
        "Outside of the stable region the network's weights end outside of the box",
        "largest weight at the end above 1.01 radii in all runs; three quarters: partly",
        _unstable_leaves,
    ),
    Test(
        "D-8v",
        "derived here: The box, k-Adam",
        "2-Adam's weights end within the same box",
        "largest weight at the end at most 1.01 radii in all runs; three quarters: partly",
        _two_stages_end_within,
    ),
    Test(
        "D-8w",
        "derived here: The box, a constant rate; asked after a look at seeds 10 to 12",
        "How far outside the weights stay follows from eta lambda K: the window of the decay against that of the average",
        "full batch, gamma <= beta: rank correlation of largest weight with window excess at least 0.8; at most 1.01 radii "
        "below an excess of 0.03, more in all runs of an excess above 1",
        _window_decides,
    ),
]
