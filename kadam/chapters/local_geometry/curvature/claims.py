"""What is claimed of curvature, and how a record decides it."""

import functools

import numpy as np
import xarray as xr

from kadam.chapters.local_geometry.curvature.config import PAIR, USUAL, Array
from kadam.chapters.local_geometry.landscapes import NETWORKS
from kadam.report.ledger import Finding, Test, on_enough_seeds, passes, passes_each, passes_for
from kadam.report.statistics import mean_interval, rank_correlation

RELATIVES = ("2-Adam", "4-Adam", "RMSprop", "SignGD")  # where do they lie, with Adam or with SGD?


def logs(dataset: xr.Dataset, network: str, scale: float = USUAL) -> xr.DataArray:
    """log R_med of a network's layers at the levels that all methods reach: layer, optimizer, seed, level."""
    common = dataset.common.sel(network=network, scale=scale).values == 1
    layers = dataset.owner.values == network
    return np.log(dataset.r_med.sel(scale=scale).isel(layer=layers, level=common))


def _gaps(dataset: xr.Dataset, *, whole: bool) -> xr.DataArray | None:
    """log R_med of SGD less Adam's by layer and seed, at the lowest common level or averaged over all; None without one."""
    found = [logs(dataset, network) for network in NETWORKS]
    if not all(part.sizes["level"] for part in found):
        return None
    chosen = [part.mean("level", skipna=False) if whole else part.isel(level=-1, drop=True) for part in found]
    both = xr.concat(chosen, "layer")
    return both.sel(optimizer="SGD", drop=True) - both.sel(optimizer="Adam", drop=True)


NO_LEVEL: Finding = ("a network has no loss that all methods reach with every seed", "not run at this profile")


@on_enough_seeds
def _below(dataset: xr.Dataset, *, whole: bool) -> Finding:
    gaps = _gaps(dataset, whole=whole)
    if gaps is None:
        return NO_LEVEL
    interval = mean_interval(gaps.transpose("layer", "seed").values)
    below, above = (interval.low > 0).mean(), (interval.high < 0).mean()
    words = f"{below:.0%} of {len(interval.mean)} layers below, {above:.0%} above; mean log(SGD/Adam)"
    return f"{words} {_listed(interval.mean)}", passes_for(float(below))


def _listed(values: Array) -> str:
    return ", ".join(f"{value:+.2f}" for value in values)


def slow_gaps(dataset: xr.Dataset, network: str) -> xr.DataArray | None:
    """log R_med of SGD less Adam's by layer and seed at the smallest rates, at the lowest level that both reach."""
    common = dataset.slow_common.sel(network=network).values == 1
    if not common.any():
        return None
    found = dataset.slow_r_med.isel(layer=dataset.owner.values == network, level=common).isel(level=-1, drop=True)
    return np.log(found.sel(optimizer="SGD", drop=True) / found.sel(optimizer="Adam", drop=True))


@on_enough_seeds
def _slowly(dataset: xr.Dataset) -> Finding:
    words, held = [], []
    for network in NETWORKS:
        fast, slow = logs(dataset, network), slow_gaps(dataset, network)
        if not fast.sizes["level"] or slow is None:
            continue
        end = fast.isel(level=-1)
        sizes = [float(abs(gap.mean("seed")).mean()) for gap in (end.sel(optimizer="SGD") - end.sel(optimizer="Adam"), slow)]
        words.append(f"{network} {sizes[0]:.2f} and {sizes[1]:.2f}")
        held.append(sizes[1] < sizes[0])
    return f"mean |log(SGD/Adam)| over layers at the best and the smallest rates: {', '.join(words)}", passes_each(held)


@on_enough_seeds
def _relatives(dataset: xr.Dataset) -> Finding:
    near: list[xr.DataArray] = []
    for network in NETWORKS:
        found = logs(dataset, network)
        if not found.sizes["level"]:
            return NO_LEVEL
        middle = found.isel(level=-1, drop=True).median("seed", skipna=False)
        adam, sgd = (abs(middle.sel(optimizer=list(RELATIVES)) - middle.sel(optimizer=name)) for name in PAIR)
        near.append((adam < sgd).astype(float))
    cases = xr.concat(near, "layer")
    by_method = ", ".join(f"{name} {float(cases.sel(optimizer=name).mean()):.0%}" for name in RELATIVES)
    return f"{float(cases.mean()):.0%} of {cases.size} cases nearer to Adam ({by_method})", passes_for(float(cases.mean()))


@on_enough_seeds
def _initialisation(dataset: xr.Dataset) -> Finding:
    words, changed = [], []
    for network in NETWORKS:
        ends = [logs(dataset, network, float(dataset.scale[i])) for i in (0, -1)]
        if not all(end.sizes["level"] for end in ends):
            continue
        middle = [end.isel(level=-1, drop=True).median("seed", skipna=False) for end in ends]
        small, large = (one.sel(optimizer="SGD") - one.sel(optimizer="Adam") for one in middle)
        turned = (small * large < 0).values
        words.append(f"{network} {turned.sum()} of {turned.size} layers")
        changed.append(bool(turned.any()))
    return f"sign changes in {'; '.join(words)}", passes_each(changed)


def estimate_errors(dataset: xr.Dataset) -> Array:
    """log(estimated/exact) of R_med at every layer and checkpoint where both are known."""
    errors = np.log(dataset.r_med / dataset.exact).values
    return np.asarray(errors[np.isfinite(errors)])


def _estimate(dataset: xr.Dataset) -> Finding:
    errors = estimate_errors(dataset)
    middle = float(np.median(np.abs(errors)))
    measured = f"median |error| of log R_med {middle:.3f}, mean {errors.mean():+.3f}, largest {np.abs(errors).max():.2f}"
    return f"{measured}; {len(errors)} cases, {dataset.attrs['probes']} probes", passes(middle <= 0.1)


def along_curve(dataset: xr.Dataset) -> xr.DataArray | None:
    """Mean over seeds of log R_med at the lowest level that every point reaches: curve_layer, point; None without one."""
    everywhere = dataset.curve_step.notnull().all(("seed", "point")).values
    found = np.log(dataset.curve_r_med.isel(level=everywhere))
    return found.isel(level=-1).mean("seed").transpose("curve_layer", "point") if everywhere.any() else None


@on_enough_seeds
def _region(dataset: xr.Dataset) -> Finding:
    found = along_curve(dataset)
    if found is None:
        return "no loss is reached all along the curve", "not run at this profile"
    C = dataset.coefficient.values
    orders = np.array([rank_correlation(C, layer) for layer in found.values])
    steps = np.abs(np.diff(found.values, axis=1))
    at_edge = steps[:, np.flatnonzero(np.diff(np.sign(C)))[0]] / np.median(steps, axis=1)
    change = ", ".join(f"{x:.1f}" for x in at_edge)
    measured = f"rank correlation with C by layer {_listed(orders)}; change across C = 0 over the median change {change}"
    return measured, passes(bool((np.abs(orders) >= 0.8).all() and abs(np.sign(orders).sum()) == len(orders)))


JML, ASKED = "[JML] abstract, as we read it", "asked here: chapter 9"
JUDGED = "usual initial weights, every network and layer"

TESTS = [
    Test(
        "JML-9f",
        JML,
        "On real networks, per layer at the same loss, Adam's R_med is below that of SGD with momentum",
        f"{JUDGED}, lowest loss that all reach: interval over seeds of the paired difference of log R_med above 0; three "
        "quarters of the layers: partly",
        functools.partial(_below, whole=False),
    ),
    Test(
        "JML-9g",
        JML,
        "The same along the whole trajectory",
        "as JML-9f, averaged over all losses that all methods reach",
        functools.partial(_below, whole=True),
    ),
    Test(
        "D-9h",
        ASKED,
        "k-Adam, RMSprop and SignGD lie with Adam",
        f"{JUDGED}, lowest loss that all reach: median log R_med nearer to Adam's than to SGD's; three quarters: partly",
        _relatives,
    ),
    Test(
        "D-9i",
        ASKED,
        "The size of the initial weights decides which method has the smaller R_med",
        "the sign of the median difference of log R_med, SGD less Adam, differs between smallest and largest scale in at least "
        "one layer, every network; some networks: partly",
        _initialisation,
    ),
    Test(
        "D-9j",
        ASKED,
        "The estimate from random signs may be trusted",
        "|log(estimated/exact)| of R_med at most 0.1 in the median over layers and checkpoints",
        _estimate,
    ),
    Test(
        "D-9k",
        ASKED,
        "R_med sees the stability region",
        "along the normal curve at the same loss: |rank correlation of R_med with C| at least 0.8 with one sign in every layer",
        _region,
    ),
    Test(
        "D-9n",
        f"{ASKED}; asked after a look at other seeds",
        "The smaller the learning rate, the less the methods differ",
        "usual initial weights, lowest loss that all reach: mean over layers of |mean over seeds of log(SGD/Adam)| smaller at "
        "the grid's smallest rates than at the best ones, every network; some: partly",
        _slowly,
    ),
]
