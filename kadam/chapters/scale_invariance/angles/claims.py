"""What is claimed of angles, and how a record decides it."""

import numpy as np
import xarray as xr

from kadam.chapters.scale_invariance.angles.config import FALLING
from kadam.report.ledger import NOT_JUDGED, Claims, Criterion, Finding, limited, on_enough_seeds, with_range

NEAR = 0.1  # how near to 1 an angle over the law's must be
PATIENCE = 3.0  # times to equilibrium


def late(dataset: xr.Dataset, share: float = 0.25) -> xr.DataArray:
    """The angle over the law's in the last part of a run, root mean square, then mean over seeds: weight, way, gamma."""
    last = dataset.turn.isel(window=slice(-max(int(share * dataset.sizes["window"]), 1), None))
    found: xr.DataArray = np.sqrt((last**2).mean("window")).mean("seed")
    return found.transpose("weight", "way", "gamma")


def steady(values: xr.DataArray) -> xr.DataArray:
    """Of the ways whose rate stands still."""
    return values.sel(way=[way for way in values.way.values if way not in FALLING])


def lengths(dataset: xr.Dataset) -> xr.DataArray:
    """How many times to equilibrium a run lasts: way, gamma."""
    return dataset.window.max() / dataset.time


def settled(dataset: xr.Dataset, within: float = NEAR) -> xr.DataArray:
    """Times to equilibrium after which the angle, mean over seeds, stays near the law's; NaN: never. Weight, way, gamma."""
    off = abs(dataset.turn.mean("seed") - 1) > within
    last = off.where(off).notnull() * dataset.window
    begin = last.max("window")  # the end of the last window in which it is off, 0 where it never is
    found: xr.DataArray = (begin / dataset.time).where(begin < dataset.window.max())
    return found.transpose("weight", "way", "gamma")


@on_enough_seeds
def _angles(dataset: xr.Dataset, *, most: float) -> Finding:
    found = steady(late(dataset))
    off = abs(found - 1)
    by_way = "; ".join(
        f"{way} ({float(lengths(dataset).sel(way=way).mean()):.1f} times) {int((off.sel(way=way) <= most).sum())} of "
        f"{off.sel(way=way).size}, {with_range(found.sel(way=way))}"
        for way in found.way.values
    )
    return f"angle over the law's, cases within {most:.0%}: {by_way}", limited(off, most=most)


@on_enough_seeds
def _settles(dataset: xr.Dataset, *, times: float, near: float) -> Finding:
    long = (lengths(dataset) > times) & ~dataset.way.isin(list(FALLING))
    if not long.any():
        return f"no run lasts {times:g} times to equilibrium", NOT_JUDGED
    found = settled(dataset, near)
    known = found.where(long).values
    known = known[np.isfinite(known)]
    counts = f"{known.size} of {int(long.sum()) * found.sizes['weight']} stay within {near:.0%}"
    words = f"; these after {np.median(known):.1f} times in the median, {known.max():.1f} at most" if known.size else ""
    return counts + words, limited(found, most=times, where=long.broadcast_like(found).transpose(*found.dims))


@on_enough_seeds
def _adamc(dataset: xr.Dataset, *, most: float) -> Finding:
    adamw, adamc = (late(dataset, 0.1).sel(way=way, drop=True) for way in FALLING)
    off = abs(adamc - 1)
    words = f"angle over the law's at the end: {with_range(adamc)}; under AdamW {with_range(adamw)}"
    return f"{words}, within {most:.0%} in {int((abs(adamw - 1) <= most).sum())} of {adamw.size}", limited(off, most=most)


HERE = "derived here: Scale invariance, equilibrium"
CASES = "each weight and gamma"

TESTS: Claims = {
    ("D-5t", HERE): (
        "At a realistic decay a step of a real network turns its scale-invariant weights by the angle of the law",
        Criterion(f"last quarter of a run, mean over seeds: within {{most:.0%}}, {CASES}, each learning rate", most=NEAR),
        _angles,
    ),
    ("D-5u", HERE): (
        "It does so after a few times to equilibrium, from the usual initial weights",
        Criterion(
            "mean over seeds: within {near:.0%} in every window from {times:g} times 1/(2 eta lambda) on, " + CASES + ", every "
            "constant rate at which a run is longer",
            times=PATIENCE,
            near=NEAR,
        ),
        _settles,
    ),
    ("D-5v", "asked here: chapter 5, on Defazio (arXiv 2506.02285)"): (
        "Under a falling rate AdamC, whose decay falls with it, keeps the weight at the angle of the law",
        Criterion(f"last tenth of the run, mean over seeds: within {{most:.0%}}, {CASES}", most=NEAR),
        _adamc,
    ),
}
