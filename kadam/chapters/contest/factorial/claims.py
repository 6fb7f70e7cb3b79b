"""What is claimed of pairs of betas at their best rates, and how a record decides it."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from kadam.chapters.contest import judges
from kadam.chapters.contest.comparisons import TUNED, overall
from kadam.chapters.contest.measures import ended
from kadam.report.ledger import Cases, Claims, Criterion, Finding, on_enough_seeds
from kadam.report.once import once
from kadam.report.statistics import LEVEL, Interval, equal_groups, mean_interval, rank_agreement, share_between
from kadam.theory import stability

LONG = "long_"  # before the names of what belongs to the long runs
MEMORY = "gamma"


def long_runs(dataset: xr.Dataset) -> xr.Dataset:
    """Of the long runs what the record has of the short ones, by the same names."""
    mine = dataset[[name for name in dataset.data_vars if str(name).startswith(LONG)] + ["guess"]]
    names = {*mine.data_vars, *mine.dims, *mine.coords}
    return mine.rename({name: str(name).removeprefix(LONG) for name in names if str(name).startswith(LONG)})


def losses(dataset: xr.Dataset) -> xr.DataArray:
    """The test loss at the end of every method at its own rate. Dimensions: optimizer, seed."""
    return ended(dataset).sel(comparison=TUNED).isel(network=0).transpose("optimizer", "seed")


@once
def pairs(dataset: xr.Dataset) -> xr.Dataset:
    """Of every pair the test loss, (optimizer, seed), and what might order it, (optimizer, seed) or (optimizer,)."""
    rms = overall(dataset.update_rms).sel(comparison=TUNED).isel(network=0).transpose("optimizer", "seed")
    of = xr.Dataset({"loss": losses(dataset), "rms of u": rms}).isel(optimizer=np.flatnonzero(dataset.gamma.notnull()))
    coefficient = stability.coefficient(beta=of.beta.values, gamma=of.gamma.values)
    stable = stability.is_stable(beta=of.beta.values, gamma=of.gamma.values)
    return of.assign(C=("optimizer", coefficient), stable=("optimizer", stable)).reset_coords([MEMORY, "beta"])


QUANTITIES = (MEMORY, "C", "beta", "rms of u")


@once
def shares(dataset: xr.Dataset, *, inside: bool = False) -> xr.DataArray:
    """Share of the variance of the ranks of the loss that lies between groups of pairs. Dimensions: quantity, seed.

    Each quantity forms as many groups, of equally many pairs, as there are values of gamma, so that it may order the losses in
    any way, and not only up or down. ``inside``: of the pairs with C > 0 alone.
    """
    of = pairs(dataset)
    groups = len(np.unique(of.gamma))
    of = of.isel(optimizer=np.flatnonzero(of.C > 0)) if inside else of
    seeds = [of.isel(seed=i) for i in range(of.sizes["seed"])]
    found = [[share_between(one.loss.values, equal_groups(one[name].values, groups)) for one in seeds] for name in QUANTITIES]
    return xr.DataArray(found, {"quantity": list(QUANTITIES), "seed": dataset.seed.values})


def by_chance(dataset: xr.Dataset) -> float:
    """The share that groups without meaning have on average."""
    of = pairs(dataset)
    return (len(np.unique(of.gamma)) - 1) / (of.sizes["optimizer"] - 1)


def agreement(dataset: xr.Dataset) -> xr.DataArray:
    """Kendall's tau of short and long runs over the pairs that have both. Dimension: seed."""
    early, late = losses(dataset), losses(long_runs(dataset))
    early = early.sel(optimizer=late.optimizer.values)
    taus = [rank_agreement(*both) for both in zip(early.values.T, late.values.T, strict=True)]
    return xr.DataArray(taus, {"seed": late.seed.values})


def agreement_of_means(dataset: xr.Dataset) -> float:
    """The same of the losses' means over seeds."""
    early, late = losses(dataset).mean("seed"), losses(long_runs(dataset)).mean("seed")
    return rank_agreement(early.sel(optimizer=late.optimizer.values).values, late.values)


def in_words(of: Interval, form: str = ".0%") -> str:
    return f"{of.mean:{form}} ({of.low:{form}} to {of.high:{form}})"


@on_enough_seeds
def _memory_alone(dataset: xr.Dataset, *, least: float, beyond: float) -> Finding:
    """Whether gamma has so large a share, and a larger one than each of the others."""
    of = shares(dataset)
    told = "; ".join(f"{name} {in_words(mean_interval(of.sel(quantity=name).values))}" for name in QUANTITIES)
    memory = of.sel(quantity=MEMORY, drop=True)
    more = {f"more than {name}": mean_interval((memory - of.sel(quantity=name)).values) for name in QUANTITIES[1:]}
    held: Mapping[str, bool] = {f"at least {least:.0%}": bool(memory.mean() >= least)}
    return f"share of the variance of ranks between groups: {told}; by chance {by_chance(dataset):.0%}", Cases(
        {**held, **{name: bool(one.low > beyond) for name, one in more.items()}}
    )


@on_enough_seeds
def _as_ranked_early(dataset: xr.Dataset, *, least: float, beyond: float) -> Finding:
    tau, of = agreement_of_means(dataset), mean_interval(agreement(dataset).values)
    early, late = dataset.attrs["steps"], dataset.attrs["long_steps"]
    words = f"Kendall's tau of {early} and {late} steps: {tau:.2f} of the means, {in_words(of, '.2f')} by seed"
    return words, Cases({"tau": bool(tau >= least and of.low > beyond)})


def _inside(dataset: xr.Dataset) -> Finding:
    """In the short search and in the long one."""
    both = {"short": dataset, "long": long_runs(dataset)}
    found = {name: judges.inside_the_grid(of) for name, of in both.items()}
    held = {f"{name}: {case}": holds for name, (_, cases) in found.items() for case, holds in cases.held.items()}
    return "; ".join(f"{name} runs: {words}" for name, (words, _) in found.items()), Cases(held)


HERE = "asked here: is it only memory?"
ALONE = (
    f"share of the variance of the losses' ranks between groups of equal gamma at least {{least:.0%}}, mean over seeds, and "
    f"larger than between as many groups by C, by beta and by the rms of u: {LEVEL:.0%} interval over seeds above {{beyond:g}}"
)
AGREE = f"Kendall's tau of the mean losses at least {{least:g}}, and its {LEVEL:.0%} interval over seeds above {{beyond:g}}"

TESTS: Claims = {
    ("D-7v", HERE): (
        "The memory of momentum alone, gamma, orders the test loss of pairs of betas on text, each at its interpolated rate",
        Criterion(ALONE, least=0.75, beyond=0),
        _memory_alone,
    ),
    ("D-7w", "asked here: does the ranking of short runs last?"): (
        "Longer runs, tuned anew, rank pairs of betas on text as short ones do",
        Criterion(AGREE, least=0.5, beyond=0),
        _as_ranked_early,
    ),
    ("D-7x", "checked here"): (
        "The best learning rate of every pair of betas lies inside the range that was searched, in short runs and in long ones",
        "for every pair, and NAdam",
        _inside,
    ),
}
