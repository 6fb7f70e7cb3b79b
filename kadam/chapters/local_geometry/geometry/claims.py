"""What is claimed of geometry, and how a record decides it."""

import functools

import numpy as np
import xarray as xr

from kadam.report.ledger import Finding, Test, on_enough_seeds, passes, passes_for
from kadam.report.statistics import rank_correlation

RELATIVES = ("2-Adam", "4-Adam", "RMSprop", "SignGD")  # where do they lie, with Adam or with SGD?
END = 0.01


SMALLEST, LARGEST = "d^-3", "1/d"
EACH = ["layer 1", "layer 2"]


def at_end(dataset: xr.Dataset, start: str = SMALLEST) -> xr.DataArray:
    """R_med at 1% of the initial loss: dimension, optimizer, seed, layer."""
    return dataset.r_med.sel(level=END, start=start)


def _listed(values: xr.DataArray, digits: str = ".1f") -> str:
    return ", ".join(f"{float(value):{digits}}" for value in values)


@on_enough_seeds
def _ends(dataset: xr.Dataset) -> Finding:
    middle = at_end(dataset).sel(layer=EACH).median("seed", skipna=False)
    adam, sgd = middle.sel(optimizer="Adam"), middle.sel(optimizer="SGD")
    measured = f"Adam at most {float(adam.max()):.2f}, SGD at least {float(sgd.min()):.1f}"
    return measured, passes(bool((adam <= 1.5).all() & (sgd >= 5).all()))


@on_enough_seeds
def _grows(dataset: xr.Dataset) -> Finding:
    ends = at_end(dataset).sel(layer=EACH)
    ratio = (ends.sel(optimizer="SGD") / ends.sel(optimizer="Adam")).median("seed", skipna=False)
    sgd = ends.sel(optimizer="SGD").transpose("layer", "dimension", "seed").values
    dimensions = np.repeat(dataset.dimension.values, dataset.sizes["seed"])
    order = [rank_correlation(dimensions, layer.ravel()) for layer in sgd]
    larger = bool((ratio.isel(dimension=-1) > ratio.isel(dimension=0)).all())
    by_layer = "; ".join(f"{layer}: {_listed(ratio.sel(layer=layer))}" for layer in EACH)
    measured = f"SGD over Adam by dimension, {by_layer}; rank correlation of SGD's with d {order[0]:.2f}, {order[1]:.2f}"
    return measured, passes(larger and min(order) > 0)


def law_errors(dataset: xr.Dataset, law: str, start: str = SMALLEST) -> xr.DataArray:
    """Median over seeds of |log(measured/predicted)| of gradient descent's R_med at the end: dimension, layer."""
    measured = at_end(dataset, start).sel(optimizer="SGD")
    errors: xr.DataArray = np.log(measured / dataset[f"{law}_predicted"].sel(start=start))  # type: ignore[assignment]
    return abs(errors).median("seed", skipna=False)


@on_enough_seeds
def _law(dataset: xr.Dataset, law: str) -> Finding:
    error = law_errors(dataset, law).sel(layer=EACH)
    by_layer = "; ".join(f"{layer}: {_listed(error.sel(layer=layer), '.3f')}" for layer in EACH)
    return f"median error of log R_med by dimension, {by_layer}", passes(bool((error <= 0.1).all()))


@on_enough_seeds
def _family(dataset: xr.Dataset) -> Finding:
    logs: xr.DataArray = np.log(at_end(dataset).sel(layer=EACH))  # type: ignore[assignment]
    middle = logs.median("seed", skipna=False)
    adam, sgd = (abs(middle.sel(optimizer=list(RELATIVES)) - middle.sel(optimizer=name)) for name in ("Adam", "SGD"))
    share = float((adam < sgd).mean())
    measured = f"{share:.0%} of {adam.size} cases nearer to Adam; at most {float(adam.max()):.2f} from it in log R_med"
    return measured, passes_for(share)


@on_enough_seeds
def _pooled(dataset: xr.Dataset, start: str) -> Finding:
    ends = at_end(dataset, start).sel(layer="pooled").median("seed", skipna=False)
    adam, sgd = ends.sel(optimizer="Adam"), ends.sel(optimizer="SGD")
    return f"by dimension, Adam: {_listed(adam)}; SGD: {_listed(sgd)}", passes(bool((adam > sgd).all()))


JML = "[JML] abstract, as we read it"
HERE = "derived here: Local geometry of two layers"
AFTER = "asked after a look at other seeds"

TESTS = [
    Test(
        "JML-9a",
        JML,
        "Two-layer linear network, small start: Adam ends where R_med is small, SGD with momentum where it is large",
        "at 1% of the initial loss, every dimension and both layers, median over seeds: Adam at most 1.5, SGD at least 5",
        _ends,
    ),
    Test(
        "JML-9b",
        JML,
        "The separation grows with the dimension",
        "SGD/Adam, median over seeds, larger at the largest dimension than at the smallest, both layers; rank correlation of "
        "SGD's R_med with d over all seeds positive",
        _grows,
    ),
    Test(
        "D-9c",
        HERE,
        "SGD's R_med at the end is max c_i^2 / median c_i^2 of the initial weights",
        "|log(measured/predicted)| at most 0.1 in the median over seeds, every dimension and both layers, smallest start",
        functools.partial(_law, law="small_start"),
    ),
    Test(
        "D-9d",
        "asked here: chapter 9",
        "k-Adam, RMSprop and SignGD lie with Adam",
        "median log R_med at the end nearer to Adam's than to SGD's, every dimension and layer; three quarters: partly",
        _family,
    ),
    Test(
        "D-9e",
        "asked here: chapter 9",
        "A larger start with both layers pooled reverses the picture",
        "variance 1/d, pooled, at 1% of the initial loss: Adam's R_med above SGD's, median over seeds, every dimension",
        functools.partial(_pooled, start=LARGEST),
    ),
    Test(
        "D-9l",
        f"{HERE}; {AFTER}",
        "With the rest of W1, which gradient descent leaves alone, the initial weights say it of every layer",
        "as D-9c, by the law with shrinking part and rest",
        functools.partial(_law, law="from_start"),
    ),
    Test(
        "D-9m",
        f"{HERE}; {AFTER}",
        "Pooling reverses the picture at the small start already",
        "variance d^-3, pooled, at 1% of the initial loss: Adam's R_med above SGD's, median over seeds, every dimension",
        functools.partial(_pooled, start=SMALLEST),
    ),
]
