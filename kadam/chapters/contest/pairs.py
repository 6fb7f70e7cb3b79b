"""What orders pairs of betas, each at its own best rate: measures of a record that has their gammas and betas, and a judge."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from kadam.chapters.contest.comparisons import TUNED, overall
from kadam.chapters.contest.measures import ended
from kadam.report.ledger import Cases, Criterion, Finding, on_enough_seeds
from kadam.report.once import once
from kadam.report.statistics import LEVEL, Interval, equal_groups, mean_interval, share_between
from kadam.theory import stability

MEMORY = "gamma"


def losses(dataset: xr.Dataset) -> xr.DataArray:
    """The test loss at the end of every method at its own rate. Dimensions: optimizer, seed."""
    return ended(dataset).sel(comparison=TUNED).isel(network=0).transpose("optimizer", "seed")


def accuracies(dataset: xr.Dataset) -> xr.DataArray:
    """The same of test accuracies in per cent; none where a run diverged."""
    found = 100 * dataset.accuracy.isel(evaluation=-1).fillna(0)
    return found.sel(comparison=TUNED).isel(network=0).transpose("optimizer", "seed")


@once
def pairs(dataset: xr.Dataset) -> xr.Dataset:
    """Of every pair the scores, (optimizer, seed), and what might order it, (optimizer, seed) or (optimizer,)."""
    rms = overall(dataset.update_rms).sel(comparison=TUNED).isel(network=0).transpose("optimizer", "seed")
    scores = {"loss": losses(dataset)} | ({"accuracy": accuracies(dataset)} if "accuracy" in dataset else {})
    of = xr.Dataset({**scores, "rms of u": rms}).isel(optimizer=np.flatnonzero(dataset.gamma.notnull()))
    coefficient = stability.coefficient(beta=of.beta.values, gamma=of.gamma.values)
    stable = stability.is_stable(beta=of.beta.values, gamma=of.gamma.values)
    return of.assign(C=("optimizer", coefficient), stable=("optimizer", stable)).reset_coords([MEMORY, "beta"])


QUANTITIES = (MEMORY, "C", "beta", "rms of u")


@once
def shares(dataset: xr.Dataset, *, inside: bool = False, score: str = "loss") -> xr.DataArray:
    """Share of the variance of the scores' ranks that lies between groups of pairs. Dimensions: quantity, seed.

    Each quantity forms as many groups, of equally many pairs, as there are values of gamma, so that it may order the scores in
    any way, and not only up or down. ``inside``: of the pairs with C > 0 alone.
    """
    of = pairs(dataset)
    groups = len(np.unique(of.gamma))
    of = of.isel(optimizer=np.flatnonzero(of.C > 0)) if inside else of
    seeds = [of.isel(seed=i) for i in range(of.sizes["seed"])]
    found = [[share_between(one[score].values, equal_groups(one[name].values, groups)) for one in seeds] for name in QUANTITIES]
    return xr.DataArray(found, {"quantity": list(QUANTITIES), "seed": dataset.seed.values})


def by_chance(dataset: xr.Dataset) -> float:
    """The share that groups without meaning have on average."""
    of = pairs(dataset)
    return (len(np.unique(of.gamma)) - 1) / (of.sizes["optimizer"] - 1)


def in_words(of: Interval, form: str = ".0%") -> str:
    return f"{of.mean:{form}} ({of.low:{form}} to {of.high:{form}})"


@on_enough_seeds
def memory_alone(dataset: xr.Dataset, *, least: float, beyond: float) -> Finding:
    """Whether gamma has so large a share, and a larger one than each of the others."""
    of = shares(dataset)
    told = "; ".join(f"{name} {in_words(mean_interval(of.sel(quantity=name).values))}" for name in QUANTITIES)
    memory = of.sel(quantity=MEMORY, drop=True)
    more = {f"more than {name}": mean_interval((memory - of.sel(quantity=name)).values) for name in QUANTITIES[1:]}
    held: Mapping[str, bool] = {f"at least {least:.0%}": bool(memory.mean() >= least)}
    return f"share of the variance of ranks between groups: {told}; by chance {by_chance(dataset):.0%}", Cases(
        {**held, **{name: bool(one.low > beyond) for name, one in more.items()}}
    )


HERE = "asked here: is it only memory?"


def alone(when: str) -> Criterion:
    """Of :func:`memory_alone`, on any data; ``when`` it was set."""
    words = (
        "share of the variance of the losses' ranks between groups of equal gamma at least {least:.0%}, mean over seeds, and "
        "larger than between as many groups by C, by beta and by the rms of u: "
        f"{LEVEL:.0%} interval over seeds above {{beyond:g}}"
    )
    return Criterion(words, when=when, least=0.75, beyond=0)
