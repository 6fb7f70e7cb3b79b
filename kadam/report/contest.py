"""What a contest of optimizers says: differences with intervals, and the verdicts that follow.

A record of one has test accuracy by comparison, network, optimizer and seed, and what the search before it found. Runs of all
optimizers with one seed start from the same weights and see the same images, so they are compared seed by seed.
"""

from collections.abc import Callable
from typing import Concatenate, ParamSpec

import numpy as np
import xarray as xr

from kadam.report.claims import Finding, passes, passes_each, passes_for, with_range
from kadam.theory.uncertainty import Interval, mean_interval

# The names of comparisons in the record.
EQUAL, TUNED, MATCHED = "equal rate", "tuned", "matched size"
ADAM = "Adam"

JUDGED_SEEDS = 3  # fewer give no interval to speak of
MOST = 0.75  # of the strategies: the paper says three of four
FALL = 5.0  # points of accuracy from one k to the next that still are a graceful decline
LEFT = 0.25  # of an advantage: what is at most left if it was the size of the steps


def points(dataset: xr.Dataset) -> xr.DataArray:
    """Test accuracy at the end in per cent; a diverged run guesses. Dimensions: comparison, network, optimizer, seed."""
    return 100 * dataset.accuracy.isel(evaluation=-1).fillna(1 / dataset.attrs["classes"])


def gain(dataset: xr.Dataset, method: str, over: str, comparison: str) -> Interval:
    """How many points a method is ahead of another, seed by seed; one entry a network."""
    of = points(dataset).sel(comparison=comparison)
    return mean_interval((of.sel(optimizer=method) - of.sel(optimizer=over)).transpose("network", "seed"))


def networks(dataset: xr.Dataset) -> list[str]:
    """Their names: the normalised one first."""
    return dataset.network.values.tolist()


def signed(mean: float, low: float, high: float) -> str:
    """A difference with its interval."""
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def overall(update_rms: xr.DataArray) -> xr.DataArray:
    """The root mean square of u over the whole of training, from those between evaluations."""
    return (update_rms**2).mean("evaluation", skipna=False) ** 0.5


P = ParamSpec("P")


def _judged(judge: Callable[Concatenate[xr.Dataset, P], Finding]) -> Callable[Concatenate[xr.Dataset, P], Finding]:
    """A judge that says nothing on too few seeds."""

    def wary(dataset: xr.Dataset, /, *args: P.args, **kwargs: P.kwargs) -> Finding:
        seeds = dataset.sizes["seed"]
        if seeds < JUDGED_SEEDS:
            return f"too few seeds: {seeds}", "not run at this profile"
        return judge(dataset, *args, **kwargs)

    return wary


@_judged
def second_stage(dataset: xr.Dataset, strategy: str, comparison: str) -> Finding:
    """k = 2 against Adam in each network."""
    if strategy not in two_stages(dataset):
        return "strategy not run", "not run at this profile"
    found = gain(dataset, two_stages(dataset)[strategy], ADAM, comparison)
    words = [f"{name} {signed(*one)}" for name, *one in zip(networks(dataset), *found, strict=True)]
    return "; ".join(words) + " points", passes_each((found.low > 0).tolist())


def two_stages(dataset: xr.Dataset) -> dict[str, str]:
    """Strategy -> the method with k = 2."""
    two = dataset.optimizer[dataset.k == 2]
    return {str(one.strategy.values): str(one.values) for one in two}


@_judged
def most_strategies(dataset: xr.Dataset) -> Finding:
    ahead = [gain(dataset, method, ADAM, EQUAL).low > 0 for method in two_stages(dataset).values()]
    share = np.mean(ahead, axis=0)
    each = zip(networks(dataset), np.sum(ahead, axis=0), strict=True)
    counted = ", ".join(f"{name} {count} of {len(ahead)}" for name, count in each)
    return f"strategies with k = 2 ahead of k = 1: {counted}", passes_each((share >= MOST).tolist())


@_judged
def graceful(dataset: xr.Dataset, comparison: str) -> Finding:
    if int(dataset.k.max()) <= 2:
        return "no k above 2", "not run at this profile"
    falls = steps_down(dataset, comparison)
    diverged = int(np.isfinite(dataset.diverged_at.sel(comparison=comparison).where(dataset.k > 1)).sum())
    good = float((falls <= FALL).mean()) if not diverged else 0.0
    measured = f"largest fall from one k to the next: {with_range(falls, '.1f')} points over strategies and networks"
    return f"{measured}; {diverged} runs diverged", passes_for(good)


def steps_down(dataset: xr.Dataset, comparison: str) -> xr.DataArray:
    """By strategy and network: the largest fall in points from one k >= 2 to the next, mean over seeds."""
    mean = points(dataset).sel(comparison=comparison).mean("seed")
    each = [mean.isel(optimizer=np.flatnonzero(dataset.strategy == strategy)).sortby("k") for strategy in two_stages(dataset)]
    return xr.concat([-one.diff("optimizer").min("optimizer") for one in each if one.sizes["optimizer"] > 1], "strategy")


@_judged
def instead_of_normalisation(dataset: xr.Dataset) -> Finding:
    """How much of the gap to the normalised network a second stage closes in the one without, both tuned."""
    tuned = points(dataset).sel(comparison=TUNED)
    normalised, plain = (tuned.sel(network=network) for network in networks(dataset))
    target, adam, second = (
        normalised.sel(optimizer=ADAM),
        plain.sel(optimizer=ADAM),
        plain.sel(optimizer=two_stages(dataset)["meta"]),
    )
    accuracies = ", ".join(f"{float(x.mean()):.1f}" for x in (target, adam, second))
    measured = f"{accuracies}% (batch norm with Adam, no norm with Adam, no norm with 2-Adam)"
    gap = float(target.mean() - adam.mean())
    if gap <= 0:
        return f"{measured}; no gap to close", "not run at this profile"
    closed = mean_interval((second - adam) / gap)
    words = f"{measured}; share of the gap closed {closed.mean:.2f} ({closed.low:.2f} to {closed.high:.2f})"
    return words, passes(bool(closed.low >= 0.5))


@_judged
def only_size(dataset: xr.Dataset) -> Finding:
    """What is left of the advantage at equal rates when updates are as large as Adam's, mean over strategies."""
    second = list(two_stages(dataset).values())
    equal, matched = (
        np.mean([gain(dataset, method, ADAM, comparison).mean for method in second], axis=0) for comparison in (EQUAL, MATCHED)
    )
    size = dataset.peak_rate * overall(dataset.update_rms).mean("seed")
    off = size.sel(comparison=MATCHED, optimizer=second) / size.sel(comparison=EQUAL, optimizer=ADAM)
    each = zip(networks(dataset), equal, matched, strict=True)
    words = "; ".join(f"{name} {before:+.1f} points, then {after:+.1f}" for name, before, after in each)
    held = ((equal > 0) & (matched <= LEFT * equal)).tolist()
    return f"{words}; update over Adam's {with_range(off)}", passes_each(held)


def larger_steps(dataset: xr.Dataset) -> Finding:
    rms = overall(dataset.update_rms).sel(comparison=EQUAL).mean("seed")
    second, adam = rms.sel(optimizer=list(two_stages(dataset).values())), rms.sel(optimizer=ADAM)
    good = float((second >= 2 * adam).mean())
    return f"rms of u: Adam {with_range(adam)}, k = 2 {with_range(second)}", passes_for(good)


@_judged
def best_of_all(dataset: xr.Dataset) -> Finding:
    found = dataset.search_accuracy.fillna(0).mean("tuning_seed").max("rate")
    words, held = [], []
    for place, network in enumerate(networks(dataset)):
        of = found.sel(network=network)
        second, rival = (str(of.where(among, drop=True).idxmax("optimizer").values) for among in (found.k == 2, found.k < 2))
        ahead = [float(part[place]) for part in gain(dataset, second, rival, TUNED)]
        words.append(f"{second} over {rival} {signed(*ahead)}")
        held.append(ahead[1] > 0)
    return "; ".join(words) + " points", passes_each(held)


def inside_the_grid(dataset: xr.Dataset) -> Finding:
    best = dataset.search_accuracy.fillna(0).mean("tuning_seed").argmax("rate")
    inside = (best > 0) & (best < dataset.sizes["rate"] - 1)
    outside = [str(name) for name in dataset.optimizer.values[(~inside).any("network").values]]
    return f"inside for {float(inside.mean()):.0%}; at an end: {', '.join(outside) or 'none'}", passes_for(float(inside.mean()))
