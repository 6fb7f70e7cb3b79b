"""What is claimed of curvature, and how a record decides it."""

import functools

import numpy as np
import xarray as xr

from kadam.chapters.local_geometry.curvature.config import USUAL
from kadam.chapters.local_geometry.measures import distances, listed, log_ratio, logs
from kadam.chapters.local_geometry.methods import NETWORKS, RELATIVES
from kadam.report.ledger import LOOK, NOT_JUDGED, Cases, Claims, Criterion, Finding, judged, limited, on_enough_seeds
from kadam.report.statistics import mean_interval, rank_correlation
from kadam.theory.arguments import Array


def at_common_levels(dataset: xr.Dataset, network: str, *, scale: float = USUAL, of: str = "r_med") -> xr.DataArray:
    """R_med of a network at the levels that all methods reach: optimizer, seed, level, and layer unless it is pooled.

    ``of``: "r_med"; "slow_r_med" for that at the smallest rates; "pooled" for that of all layers together.
    """
    here = dataset.sel(network=network, scale=scale, drop=True).isel(layer=dataset.owner.values == network)
    common = here.slow_common if of == "slow_r_med" else here.common
    return here[of].isel(level=common.values == 1)


def gap(
    dataset: xr.Dataset, network: str, *, scale: float = USUAL, of: str = "r_med", whole: bool = False
) -> xr.DataArray | None:
    """log R_med of SGD less Adam's at the lowest of these levels, or averaged over all: layer, seed. None without a level."""
    ratio = log_ratio(at_common_levels(dataset, network, scale=scale, of=of)).transpose(..., "level", "seed")
    if not ratio.sizes["level"]:
        return None
    return ratio.mean("level", skipna=False) if whole else ratio.isel(level=-1, drop=True)


NO_LEVEL: Finding = ("a network has no loss that all methods reach with every seed", NOT_JUDGED)


@on_enough_seeds
def _below(dataset: xr.Dataset, *, whole: bool) -> Finding:
    found = {network: one for network in NETWORKS if (one := gap(dataset, network, whole=whole)) is not None}
    if len(found) < len(NETWORKS):
        return NO_LEVEL
    each = [mean_interval(one.mean("layer").values) for one in found.values()]
    by_layer = mean_interval(xr.concat(found.values(), "layer").values)
    words = ", ".join(f"{name} {of.mean:+.2f} ({of.low:+.2f} to {of.high:+.2f})" for name, of in zip(found, each, strict=True))
    layers = f"of {len(by_layer.mean)} layers alone {(by_layer.low > 0).sum()} below, {(by_layer.high < 0).sum()} above"
    lows, reach = np.transpose([(of.low, of.mean - of.low) for of in each])
    held = limited(xr.DataArray(lows, {"network": list(found)}), above=0, of=reach)
    return f"mean log(SGD/Adam) over layers: {words}; {layers}", held


@on_enough_seeds
def _slowly(dataset: xr.Dataset) -> Finding:
    words, held = [], {}
    for network in NETWORKS:
        both = gap(dataset, network), gap(dataset, network, of="slow_r_med")
        sizes = [float(abs(one.mean("seed")).mean()) for one in both if one is not None]
        if len(sizes) == len(both):
            words.append(f"{network} {sizes[0]:.2f} and {sizes[1]:.2f}")
            held[network] = sizes[1] < sizes[0]
    return f"mean |log(SGD/Adam)| over layers at the best and the smallest rates: {', '.join(words)}", Cases(held)


@on_enough_seeds
def _relatives(dataset: xr.Dataset) -> Finding:
    found = [at_common_levels(dataset, network) for network in NETWORKS]
    if not all(part.sizes["level"] for part in found):
        return NO_LEVEL
    adam, sgd = distances(xr.concat([part.isel(level=-1, drop=True) for part in found], "layer"))
    near = adam < sgd
    share, by_method = float(near.mean()), {name: float(near.sel(optimizer=name).mean()) for name in RELATIVES}
    words = ", ".join(f"{name} {of:.0%}" for name, of in by_method.items())
    return f"{share:.0%} of {near.size} cases nearer to Adam ({words})", judged(near)


@on_enough_seeds
def _initialisation(dataset: xr.Dataset) -> Finding:
    words, changed = [], {}
    for network in NETWORKS:
        ends = [gap(dataset, network, scale=scale) for scale in dataset.scale.values[[0, -1]]]
        if len(reached := [end.median("seed") for end in ends if end is not None]) == 2:
            turned = reached[0] * reached[1] < 0
            words.append(f"{network} {int(turned.sum())} of {turned.size} layers")
            changed[network] = bool(turned.any())
    return f"sign changes in {'; '.join(words)}", Cases(changed)


def estimate_errors(dataset: xr.Dataset) -> xr.DataArray:
    """log(estimated/exact) of R_med at every layer and checkpoint where both are known; NaN elsewhere."""
    errors = logs(dataset.r_med / dataset.exact)
    return errors.where(np.isfinite(errors))


def _estimate(dataset: xr.Dataset, *, most: float) -> Finding:
    errors = estimate_errors(dataset)
    middle, mean, largest = (float(x) for x in (abs(errors).median(), errors.mean(), abs(errors).max()))
    measured = f"median |error| of log R_med {middle:.3f}, mean {mean:+.3f}, largest {largest:.2f}"
    return f"{measured}; {int(errors.count())} cases, {dataset.attrs['probes']} probes", limited(middle, most=most)


def curve_logs(dataset: xr.Dataset) -> xr.DataArray:
    """Mean over seeds of log R_med along the normal curve: curve_layer, level, point."""
    return logs(dataset.curve_r_med).mean("seed").transpose("curve_layer", "level", "point")


def curve_orders(dataset: xr.Dataset) -> xr.DataArray:
    """Its rank correlation with C: curve_layer, level."""
    along = [["point"], ["point"]]
    return xr.apply_ufunc(rank_correlation, dataset.coefficient, curve_logs(dataset), input_core_dims=along, vectorize=True)


def edge_changes(dataset: xr.Dataset, level: int) -> Array:
    """Its change across C = 0 at a level, over the median change between neighbours: one number a layer."""
    changes = np.abs(np.diff(curve_logs(dataset).isel(level=level).values))
    edge = np.flatnonzero(np.diff(np.sign(dataset.coefficient.values)))[:1]
    return (changes[:, edge] / np.median(changes, axis=1, keepdims=True)).ravel()


@on_enough_seeds
def _region(dataset: xr.Dataset, *, least: float) -> Finding:
    everywhere = dataset.curve_step.notnull().all(("seed", "point")).values
    if not everywhere.any():
        return "no loss is reached all along the curve", NOT_JUDGED
    lowest = int(np.flatnonzero(everywhere)[-1])
    orders = curve_orders(dataset).isel(level=lowest).values
    words = f"rank correlation with C by layer {listed(orders, '+.2f')}"
    measured = f"{words}; change across C = 0 over the median change {listed(edge_changes(dataset, lowest), '.1f')}"
    one_sign = abs(np.sign(orders).sum()) == len(orders)
    return measured, judged(bool((abs(orders) >= least).all()) and one_sign)


JML, ASKED = "[JML] abstract, as we read it", "asked here: chapter 9"
JUDGED = "usual initial weights, each network, lowest loss that all reach"
ESTIMATE_WITHIN = 0.1

TESTS: Claims = {
    ("JML-9f", JML): (
        "On real networks, at the same loss, Adam's R_med is below that of SGD with momentum",
        Criterion(f"{JUDGED}: interval over seeds of the paired difference of log R_med, mean over layers, above 0", when=LOOK),
        functools.partial(_below, whole=False),
    ),
    ("JML-9g", JML): (
        "The same along the whole trajectory",
        Criterion("as JML-9f, averaged over all losses that all methods reach", when=LOOK),
        functools.partial(_below, whole=True),
    ),
    ("D-9h", ASKED): (
        "k-Adam, RMSprop and SignGD lie with Adam",
        f"{JUDGED}: median log R_med nearer to Adam's than to SGD's, every layer",
        _relatives,
    ),
    ("D-9i", ASKED): (
        "The size of the initial weights decides which method has the smaller R_med",
        "the sign of the median difference of log R_med, SGD less Adam, differs between smallest and largest scale in at least "
        "one layer, each network",
        _initialisation,
    ),
    ("D-9j", ASKED): (
        "The estimate from random signs may be trusted",
        Criterion(
            "|log(estimated/exact)| of R_med at most {most:g} in the median over layers and checkpoints", most=ESTIMATE_WITHIN
        ),
        _estimate,
    ),
    ("D-9k", ASKED): (
        "R_med sees the stability region",
        Criterion(
            "along the normal curve at the same loss: |rank correlation of R_med with C| at least {least:g} with one sign in "
            "every layer",
            least=0.8,
        ),
        _region,
    ),
    ("D-9n", ASKED): (
        "The smaller the learning rate, the less the methods differ",
        Criterion(
            "usual initial weights, lowest loss that all reach: mean over layers of |mean over seeds of log(SGD/Adam)| smaller "
            "at the grid's smallest rates than at the best ones, each network",
            when=LOOK,
        ),
        _slowly,
    ),
}
