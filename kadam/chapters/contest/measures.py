"""What a record of a contest holds, as numbers: scores, gains over another method, and basins of good learning rates.

A record has test accuracy, or test loss, by comparison, network, optimizer and seed, and what the search before it found. Runs
of all optimizers with one seed start from the same weights and see the same data, so they are compared seed by seed.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from kadam.chapters.contest.comparisons import ADAM
from kadam.report.once import once
from kadam.report.statistics import Interval, holm, mean_interval, paired_t_test

D = TypeVar("D", xr.DataArray, xr.Dataset)

Test = Callable[[ArrayLike], NDArray[np.float64]]  # of paired differences, the last axis: the p-values that their means are 0

BASIN = 0.1  # nats above a method's best that a good learning rate may still have


class Scale(NamedTuple):
    """By what a contest is scored."""

    quantity: str  # as the record calls it
    unit: str
    factor: int  # from the record's numbers to the unit
    difference: str  # the unit of a difference
    form: str  # of a number
    sign: int  # 1 where larger is better


SCALES = {"accuracy": Scale("accuracy", "%", 100, "points", ".1f", 1), "loss": Scale("loss", "nats", 1, "nats", ".3f", -1)}
POINTS, NATS = SCALES.values()


def scale(dataset: xr.Dataset) -> Scale:
    """What the record says that its search judged by, else points of accuracy where the record has it, or nats of loss."""
    return SCALES[dataset.attrs.get("score") or ("accuracy" if "accuracy" in dataset else "loss")]


@once
def ended(dataset: xr.Dataset) -> xr.DataArray:
    """Test accuracy in per cent, or test loss, at the end; a run that diverged, or lost more than a guess, guesses."""
    if scale(dataset) is NATS:
        return at_most_a_guess(dataset, dataset.loss.isel(evaluation=-1))
    return 100 * dataset.accuracy.isel(evaluation=-1).fillna(1 / dataset.attrs["classes"])


def at_most_a_guess(dataset: xr.Dataset, loss: xr.DataArray) -> xr.DataArray:
    """Losses, of which those that diverged or are worse than a guess among all tokens are that of a guess."""
    return loss.fillna(np.inf).clip(max=dataset.guess)


@once
def search_score(dataset: xr.Dataset) -> xr.DataArray:
    """How good the runs of the search were, larger is better. Dimensions: network, optimizer, rate, tuning_seed."""
    if scale(dataset) is POINTS:
        return 100 * dataset.search_accuracy.fillna(0)
    return -at_most_a_guess(dataset, dataset.search_loss)


def lead(dataset: xr.Dataset, comparison: str, method: str | Sequence[str], over: str = ADAM) -> xr.DataArray:
    """How far one or several methods are ahead of another in the record's scale. Dimensions: (optimizer,) network, seed."""
    of = scale(dataset).sign * ended(dataset).sel(comparison=comparison)
    return (of.sel(optimizer=method) - of.sel(optimizer=over, drop=True)).transpose(..., "network", "seed")


def expected_best(losses: ArrayLike) -> NDArray[np.float64]:
    """The smallest of n of these losses, mean over all choices of n, for n = 1, 2, ... up to all; along the last axis."""
    ordered = np.sort(np.asarray(losses, dtype=np.float64))
    of = ordered.shape[-1]
    # The i-th smallest is the best of n where the other n - 1 are among the of - 1 - i that are larger.
    shares = [[math.comb(of - 1 - i, n - 1) / math.comb(of, n) for i in range(of)] for n in range(1, of + 1)]
    return ordered @ np.array(shares).T


def gain(dataset: xr.Dataset, *which: Any) -> Interval:
    """The same, mean over seeds with its interval."""
    return mean_interval(lead(dataset, *which))


@once
def adjusted(dataset: xr.Dataset, comparison: str, test: Test = paired_t_test) -> xr.DataArray:
    """p-values that k = 2 is as good as Adam, (strategy, network), by Holm's method among all these of one comparison.

    By default of a t-test: with three to five seeds an exact sign-flip test cannot reach 0.05.
    """
    second = two_stages(dataset)
    p = holm(test(lead(dataset, comparison, list(second.values())).values))
    return xr.DataArray(p, {"strategy": list(second), "network": networks(dataset)})


@once
def in_favour(dataset: xr.Dataset, comparison: str, test: Test = paired_t_test) -> xr.DataArray:
    """The same, but 1 where k = 2 is no better than Adam."""
    mean = lead(dataset, comparison, list(two_stages(dataset).values())).mean("seed")
    return adjusted(dataset, comparison, test).where(mean.values > 0, 1.0)


def gains(dataset: xr.Dataset, *which: Any) -> list[Any]:
    """The same in words."""
    return intervals(lead(dataset, *which), f"+{scale(dataset).form}").values.tolist()


def intervals(of: xr.DataArray, form: str) -> xr.DataArray:
    """Means over seeds with their intervals, in words."""
    found, words = (
        mean_interval(np.ascontiguousarray(of.transpose(..., "seed").values)),
        of.isel(seed=0, drop=True).astype(object),
    )
    for place in np.ndindex(words.shape):
        mean, low, high = (end[place] for end in found)
        words[place] = f"{mean:{form}} ({low:{form}} to {high:{form}})"
    return words


def cases(of: xr.Dataset, *dims: str) -> list[tuple[Any, ...]]:
    """One row a case: its place along these dimensions, then its values."""
    frame = of.to_dataframe(dim_order=list(dims))[list(of.data_vars)]
    return [(*place, *values) for place, *values in frame.itertuples(name=None)]


def networks(dataset: xr.Dataset) -> list[str]:
    """Their names."""
    return dataset.network.values.tolist()


@once
def two_stages(dataset: xr.Dataset) -> dict[str, str]:
    """Strategy -> the method with k = 2."""
    two = dataset.optimizer[dataset.k == 2]
    return dict(zip(two.strategy.values.tolist(), two.values.tolist(), strict=True))


def second_and_first(of: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Values of the methods with k = 2, and of Adam."""
    return of.isel(optimizer=np.flatnonzero(of.k == 2)), of.sel(optimizer=ADAM)


def by_k(of: D, strategy: str) -> D:
    """Values of Adam, which is k = 1, and of a strategy's methods, in the order of k; optimizer is the first dimension."""
    return of.isel(optimizer=np.flatnonzero((of.k == 1) | (of.strategy == strategy))).sortby("k").transpose("optimizer", ...)


def basin(dataset: xr.Dataset) -> xr.Dataset:
    """The range of good learning rates, by network and optimizer: ``width``, as a power of ten, and ``cut``.

    A rate is good where the loss in the search is at most ``BASIN`` above the method's smallest. Between the rates tried, the
    loss is taken as linear in the logarithm. Where the range is cut, it reaches an end of the search and may be wider.
    """
    rates, loss = np.log10(dataset.tried), -search_score(dataset).mean("tuning_seed")
    dims: dict[str, Any] = {"input_core_dims": [["rate"], ["rate"]], "output_core_dims": [[], []]}
    width, cut = xr.apply_ufunc(width_and_cut, rates, loss, **dims, output_dtypes=[float, bool], vectorize=True)
    return xr.Dataset({"width": width, "cut": cut})


def width_and_cut(x: np.ndarray, loss: np.ndarray) -> tuple[float, bool]:
    """Of the connected range around the minimum where the loss, linear between the points, is good."""
    best, limit = int(loss.argmin()), loss.min() + BASIN
    sides = [(x[best:], loss[best:]), (-x[best::-1], loss[best::-1])]
    return sum(reach(*side, limit) for side in sides), any((of <= limit).all() for _, of in sides)


def reach(x: np.ndarray, loss: np.ndarray, limit: float) -> float:
    """How far it is from the first point to where the loss first crosses the limit, or to the last point."""
    above = np.flatnonzero(loss > limit)
    if not len(above):
        return float(x[-1] - x[0])
    around = slice(above[0] - 1, above[0] + 1)
    return float(np.interp(limit, loss[around], x[around]) - x[0])
