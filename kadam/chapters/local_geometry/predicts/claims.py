"""What is claimed of predicts, and how a record decides it."""

import functools
from collections.abc import Callable

import numpy as np
import xarray as xr

from kadam.report.ledger import Claims, Criterion, Finding, limited, on_enough_seeds
from kadam.report.statistics import LEVEL, holm, mean_interval, paired_t_test, ranks_last
from kadam.theory.arguments import Array

OWN = "the run itself"


def slowness(dataset: xr.Dataset) -> xr.DataArray:
    """How slow training is from a place: the run itself by its steps to the next loss (NaN: never), others by what is gone."""
    steps = dataset.step.diff("level").rename(level="place").assign_coords(place=dataset.place)
    return xr.concat([steps.expand_dims(by=[OWN]), -dataset.gone], "by")


def orders(dataset: xr.Dataset, *, named: bool = False) -> xr.DataArray:
    """Rank correlation of R_med with slowness over methods and rates: by, network, place, seed.

    ``named``: what is left of it once every method's mean rank is taken out, of both.
    """
    kinds = np.repeat(dataset.optimizer.values, dataset.sizes["factor"])
    both = (x.stack(run=("optimizer", "factor")) for x in (dataset.r_med, slowness(dataset)))
    order = functools.partial(_order, kinds=kinds if named else np.zeros(len(kinds)))
    found: xr.DataArray = xr.apply_ufunc(order, *both, input_core_dims=[["run"], ["run"]], vectorize=True)
    return found.transpose("by", "network", "place", "seed")


def _order(r_med: Array, slow: Array, *, kinds: Array) -> float:
    """The correlation of ranks less the mean rank of each kind, over the runs that came to the place."""
    there = np.isfinite(r_med)
    if there.sum() < 2:
        return np.nan
    ranks = [_less_mean(ranks_last(x[there]), kinds[there]) for x in (r_med, slow)]
    length = np.sqrt(np.prod([x @ x for x in ranks]))
    return float(ranks[0] @ ranks[1] / length) if length > 0 else np.nan


def _less_mean(ranks: Array, kinds: Array) -> Array:
    _, kind = np.unique(kinds, return_inverse=True)
    return np.asarray(ranks - (np.bincount(kind, ranks) / np.bincount(kind))[kind])


def own(dataset: xr.Dataset) -> xr.DataArray:
    return orders(dataset).sel(by=OWN, drop=True)


def within(dataset: xr.Dataset) -> xr.DataArray:
    return orders(dataset, named=True).sel(by=OWN, drop=True)


def fastest(dataset: xr.Dataset) -> xr.DataArray:
    """The first over methods alone, each at the rate that needs the fewest steps to the last loss, in the mean over seeds.

    Looked at after the run: no claim is made of it.
    """
    best = dataset.step.isel(level=-1, drop=True).fillna(np.inf).mean("seed").argmin("factor")
    return own(dataset.isel(factor=best).drop_vars("factor").expand_dims("factor"))


def others(dataset: xr.Dataset) -> xr.DataArray:
    return orders(dataset).drop_sel(by=OWN)


@on_enough_seeds
def _predicts(dataset: xr.Dataset, *, which: Callable[[xr.Dataset], xr.DataArray], level: float) -> Finding:
    found = which(dataset)
    mean, low, high = mean_interval(found.values)
    known = np.nan_to_num(found.values)
    p = found.isel(seed=0, drop=True).copy(data=holm(paired_t_test(known)))
    words = f"mean {float(mean.mean()):+.2f} ({mean.min():+.2f} to {mean.max():+.2f} by case)"
    counts = f"{int((low > 0).sum())} of {mean.size} intervals above 0, {int((high < 0).sum())} below"
    return f"{words}; {counts}", limited(p.where(mean > 0, 1.0), most=level)


WHERE = "each network, each loss from which the next is reached"
TEST = f"t-test over seeds, Holm's correction over cases: p at most {{level:g}} with a mean above 0; {WHERE}"


def _criterion(what: str) -> Criterion:
    return Criterion(f"{what}: {TEST}", level=1 - LEVEL)


ASKED = "asked here: chapter 9"

TESTS: Claims = {
    ("D-9o", "[JML] abstract, as we read it"): (
        "The lower R_med where a loss is reached, the fewer steps the run takes to the next, over methods and rates",
        _criterion("rank correlation of R_med (mean over layers) and steps"),
        functools.partial(_predicts, which=own),
    ),
    ("D-9p name", ASKED): (
        "R_med predicts it within a method, too, over its rates",
        _criterion("the same once each method's mean rank is taken out of both"),
        functools.partial(_predicts, which=within),
    ),
    ("D-9p place", ASKED): (
        "From a place of low R_med gradient descent and Adam, started afresh, each get further in a fixed number of steps",
        _criterion("rank correlation of R_med and minus the fall of the log loss at the best of five rates, each of the two"),
        functools.partial(_predicts, which=others),
    ),
}
