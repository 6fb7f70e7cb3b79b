"""What is claimed of geometry, and how a record decides it."""

import functools

import numpy as np
import xarray as xr

from kadam.chapters.local_geometry.geometry.config import LAYERS, LEVELS, STARTS
from kadam.chapters.local_geometry.measures import distances, listed, logs
from kadam.report.ledger import OTHER_SEEDS, Claims, Criterion, Finding, judged, limited, on_enough_seeds
from kadam.report.statistics import rank_correlation

END = LEVELS[-1]
SMALLEST, *_, LARGEST = STARTS
BOTH = list(LAYERS[:2])  # the layers, without both pooled


def at_end(dataset: xr.Dataset, start: str = SMALLEST) -> xr.DataArray:
    """R_med at the lowest level: dimension, optimizer, seed, layer."""
    return dataset.r_med.sel(level=END, start=start)


def law_errors(dataset: xr.Dataset, law: str, start: str = SMALLEST) -> xr.DataArray:
    """Median over seeds of |log(measured/predicted)| of gradient descent's R_med at the end: dimension, layer."""
    measured = at_end(dataset, start).sel(optimizer="SGD")
    return abs(logs(measured / dataset[f"{law}_predicted"].sel(start=start))).median("seed", skipna=False)


def _by_layer(values: xr.DataArray, digits: str) -> str:
    return "; ".join(f"{layer}: {listed(values.sel(layer=layer), digits)}" for layer in BOTH)


@on_enough_seeds
def _ends(dataset: xr.Dataset, *, most: float, least: float) -> Finding:
    middle = at_end(dataset).sel(layer=BOTH).median("seed", skipna=False)
    adam, sgd = middle.sel(optimizer="Adam"), middle.sel(optimizer="SGD")
    measured = f"Adam at most {float(adam.max()):.2f}, SGD at least {float(sgd.min()):.1f}"
    return measured, judged((adam <= most) & (sgd >= least))


@on_enough_seeds
def _grows(dataset: xr.Dataset) -> Finding:
    ends = at_end(dataset).sel(layer=BOTH)
    sgd = ends.sel(optimizer="SGD")
    ratio = (sgd / ends.sel(optimizer="Adam")).median("seed", skipna=False)
    dimensions = np.repeat(dataset.dimension.values, dataset.sizes["seed"])
    order = [rank_correlation(dimensions, layer.ravel()) for layer in sgd.transpose("layer", "dimension", "seed").values]
    larger = bool((ratio.isel(dimension=-1) > ratio.isel(dimension=0)).all())
    words = f"SGD over Adam by dimension, {_by_layer(ratio, '.1f')}; rank correlation of SGD's with d {listed(order, '.2f')}"
    return words, judged(larger and min(order) > 0)


@on_enough_seeds
def _law(dataset: xr.Dataset, *, law: str, most: float) -> Finding:
    error = law_errors(dataset, law).sel(layer=BOTH)
    return f"median error of log R_med by dimension, {_by_layer(error, '.3f')}", limited(error, most=most)


@on_enough_seeds
def _family(dataset: xr.Dataset) -> Finding:
    adam, sgd = distances(at_end(dataset).sel(layer=BOTH))
    near = adam < sgd
    share = float(near.mean())
    measured = f"{share:.0%} of {adam.size} cases nearer to Adam; at most {float(adam.max()):.2f} from it in log R_med"
    return measured, judged(near)


@on_enough_seeds
def _pooled(dataset: xr.Dataset, *, start: str) -> Finding:
    ends = at_end(dataset, start).sel(layer="pooled").median("seed", skipna=False)
    adam, sgd = ends.sel(optimizer="Adam"), ends.sel(optimizer="SGD")
    measured = f"by dimension, Adam: {listed(adam, '.1f')}; SGD: {listed(sgd, '.1f')}"
    return measured, judged(adam > sgd)


JML, ASKED = "[JML] abstract, as we read it", "asked here: chapter 9"
HERE = "derived here: Local geometry of two layers"

AT_END = f"at {END:.0%} of the initial loss"
POOLED = f"pooled, {AT_END}: Adam's R_med above SGD's, median over seeds, every dimension"
LAW_WITHIN = 0.1  # both laws
ENDS = f"{AT_END}, every dimension and both layers, median over seeds: Adam at most {{most:g}}, SGD at least {{least:g}}"

TESTS: Claims = {
    ("JML-9a", JML): (
        "Two-layer linear network, small start: Adam ends where R_med is small, SGD with momentum where it is large",
        Criterion(ENDS, most=1.5, least=5),
        _ends,
    ),
    ("JML-9b", JML): (
        "The separation grows with the dimension",
        "SGD/Adam, median over seeds, larger at the largest dimension than at the smallest, both layers; rank correlation of "
        "SGD's R_med with d over all seeds positive",
        _grows,
    ),
    ("D-9c", HERE): (
        "SGD's R_med at the end is max c_i^2 / median c_i^2 of the initial weights",
        Criterion(
            "|log(measured/predicted)| at most {most:g} in the median over seeds, every dimension and both layers, smallest "
            "start",
            most=LAW_WITHIN,
        ),
        functools.partial(_law, law="small_start"),
    ),
    ("D-9d", ASKED): (
        "k-Adam, RMSprop and SignGD lie with Adam",
        "median log R_med at the end nearer to Adam's than to SGD's, every dimension and layer",
        _family,
    ),
    ("D-9e", ASKED): (
        "A larger start with both layers pooled reverses the picture",
        f"variance {LARGEST}, {POOLED}",
        functools.partial(_pooled, start=LARGEST),
    ),
    ("D-9l", HERE): (
        "With the rest of W1, which gradient descent leaves alone, the initial weights say it of every layer",
        Criterion("as D-9c (at most {most:g}), by the law with shrinking part and rest", most=LAW_WITHIN, when=OTHER_SEEDS),
        functools.partial(_law, law="from_start"),
    ),
    ("D-9m", HERE): (
        "Pooling reverses the picture at the small start already",
        Criterion(f"variance {SMALLEST}, {POOLED}", when=OTHER_SEEDS),
        functools.partial(_pooled, start=SMALLEST),
    ),
}
