"""What a contest of optimizers says: differences with intervals, and the verdicts that follow.

A record of one has test accuracy, or test loss, by comparison, network, optimizer and seed, and what the search before it
found. Runs of all optimizers with one seed start from the same weights and see the same data, so they are compared seed by
seed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from kadam.report.ledger import Finding, on_enough_seeds, passes, passes_each, passes_for, with_range
from kadam.report.statistics import Interval, mean_interval

# The names of comparisons in the record.
EQUAL, TUNED, MATCHED = "equal rate", "tuned", "matched size"
ADAM = "Adam"

MOST = 0.75  # of the strategies: the paper says three of four
ROUNDING = 0.02  # of an update that is read off the weights in float32, where the learning rate is smallest
BASIN = 0.1  # nats above a method's best that a good learning rate may still have
AS_WIDE = 0.9  # of the logarithm of Adam's range of good learning rates
LEFT = 0.25  # of an advantage: what is at most left if it was the size of the steps


class Scale(NamedTuple):
    """In what a contest is scored."""

    unit: str
    digits: int
    fall: float  # from one k to the next that still is a graceful decline


POINTS = Scale("points", 1, 5.0)
NATS = Scale("nats", 3, 0.05)


def scale(dataset: xr.Dataset) -> Scale:
    """Points of accuracy where the record has it, else nats of loss."""
    return POINTS if "accuracy" in dataset else NATS


def score(dataset: xr.Dataset) -> xr.DataArray:
    """How good runs are at the end, larger is better; a diverged one guesses. By comparison, network, optimizer, seed."""
    return points(dataset) if scale(dataset) is POINTS else -nats(dataset)


def points(dataset: xr.Dataset) -> xr.DataArray:
    """Test accuracy at the end in per cent; a diverged run guesses."""
    return 100 * dataset.accuracy.isel(evaluation=-1).fillna(1 / dataset.attrs["classes"])


def nats(dataset: xr.Dataset) -> xr.DataArray:
    """Test loss at the end; a run that diverged, or is worse than a guess among all tokens, is as good as that guess."""
    return dataset.loss.isel(evaluation=-1).fillna(np.inf).clip(max=dataset.guess)


def search_score(dataset: xr.Dataset) -> xr.DataArray:
    """How good the runs of the search were, larger is better. Dimensions: network, optimizer, rate, tuning_seed."""
    if scale(dataset) is POINTS:
        return dataset.search_accuracy.fillna(0)
    return -dataset.search_loss.fillna(np.inf).clip(max=dataset.guess)


def gain(dataset: xr.Dataset, method: str, over: str, comparison: str) -> Interval:
    """How far a method is ahead of another in the record's scale, seed by seed; one entry a network."""
    of = score(dataset).sel(comparison=comparison)
    return mean_interval((of.sel(optimizer=method) - of.sel(optimizer=over)).transpose("network", "seed"))


def networks(dataset: xr.Dataset) -> list[str]:
    """Their names."""
    return dataset.network.values.tolist()


def signed(mean: float, low: float, high: float, *, digits: int = 1) -> str:
    """A difference with its interval."""
    return f"{mean:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def ahead(dataset: xr.Dataset, difference: Sequence[float]) -> str:
    """A difference with its interval, as the record's scale writes it."""
    mean, low, high = difference
    return signed(mean, low, high, digits=scale(dataset).digits)


def overall(update_rms: xr.DataArray) -> xr.DataArray:
    """The root mean square of u over the whole of training, from those between evaluations."""
    return (update_rms**2).mean("evaluation", skipna=False) ** 0.5


@on_enough_seeds
def second_stage(dataset: xr.Dataset, strategy: str, comparison: str) -> Finding:
    """k = 2 against Adam in each network."""
    if strategy not in two_stages(dataset):
        return "strategy not run", "not run at this profile"
    found = gain(dataset, two_stages(dataset)[strategy], ADAM, comparison)
    words = [f"{name} {ahead(dataset, one)}" for name, *one in zip(networks(dataset), *found, strict=True)]
    return f"{'; '.join(words)} {scale(dataset).unit}", passes_each((found.low > 0).tolist())


def two_stages(dataset: xr.Dataset) -> dict[str, str]:
    """Strategy -> the method with k = 2."""
    two = dataset.optimizer[dataset.k == 2]
    return {str(one.strategy.values): str(one.values) for one in two}


@on_enough_seeds
def none_ahead(dataset: xr.Dataset) -> Finding:
    """Whether k = 2 is ahead of Adam nowhere, both tuned."""
    found = {method: gain(dataset, method, ADAM, TUNED).low > 0 for method in two_stages(dataset).values()}
    places = [
        f"{method} ({name})" for method, won in found.items() for name, w in zip(networks(dataset), won, strict=True) if w
    ]
    won = np.array(list(found.values()))
    return f"ahead in {won.sum()} of {won.size} cases: {', '.join(places) or '-'}", passes_for(float((~won).mean()))


@on_enough_seeds
def most_strategies(dataset: xr.Dataset) -> Finding:
    won = [gain(dataset, method, ADAM, EQUAL).low > 0 for method in two_stages(dataset).values()]
    share = np.mean(won, axis=0)
    each = zip(networks(dataset), np.sum(won, axis=0), strict=True)
    counted = ", ".join(f"{name} {count} of {len(won)}" for name, count in each)
    return f"strategies with k = 2 ahead of k = 1: {counted}", passes_each((share >= MOST).tolist())


@on_enough_seeds
def graceful(dataset: xr.Dataset, comparison: str) -> Finding:
    if int(dataset.k.max()) <= 2:
        return "no k above 2", "not run at this profile"
    falls = steps_down(dataset, comparison)
    diverged = int(np.isfinite(dataset.diverged_at.sel(comparison=comparison).where(dataset.k > 1)).sum())
    unit, digits, limit = scale(dataset)
    good = float((falls <= limit).mean()) if not diverged else 0.0
    found = f"{with_range(falls, f'.{digits}f')} {unit} over strategies and networks"
    return f"largest fall from one k to the next: {found}; {diverged} runs diverged", passes_for(good)


def steps_down(dataset: xr.Dataset, comparison: str) -> xr.DataArray:
    """By strategy and network: the largest fall of the score from one k >= 2 to the next, mean over seeds."""
    mean = score(dataset).sel(comparison=comparison).mean("seed")
    each = [mean.isel(optimizer=np.flatnonzero(dataset.strategy == strategy)).sortby("k") for strategy in two_stages(dataset)]
    return xr.concat([-one.diff("optimizer").min("optimizer") for one in each if one.sizes["optimizer"] > 1], "strategy")


@on_enough_seeds
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


@on_enough_seeds
def only_size(dataset: xr.Dataset) -> Finding:
    """What is left of the advantage at equal rates when updates are as large as Adam's, mean over strategies."""
    second = list(two_stages(dataset).values())
    equal, matched = (
        np.mean([gain(dataset, method, ADAM, comparison).mean for method in second], axis=0) for comparison in (EQUAL, MATCHED)
    )
    size = dataset.peak_rate * overall(dataset.update_rms).mean("seed")
    off = size.sel(comparison=MATCHED, optimizer=second) / size.sel(comparison=EQUAL, optimizer=ADAM)
    unit, digits, _ = scale(dataset)
    each = zip(networks(dataset), equal, matched, strict=True)
    words = "; ".join(f"{name} {before:+.{digits}f} {unit}, then {after:+.{digits}f}" for name, before, after in each)
    held = ((equal > 0) & (matched <= LEFT * equal)).tolist()
    return f"{words}; update over Adam's {with_range(off)}", passes_each(held)


def larger_steps(dataset: xr.Dataset) -> Finding:
    rms = overall(dataset.update_rms).sel(comparison=EQUAL).mean("seed")
    second, adam = rms.sel(optimizer=list(two_stages(dataset).values())), rms.sel(optimizer=ADAM)
    good = float((second >= 2 * adam).mean())
    return f"rms of u: Adam {with_range(adam)}, k = 2 {with_range(second)}", passes_for(good)


@on_enough_seeds
def best_of_all(dataset: xr.Dataset) -> Finding:
    found = search_score(dataset).mean("tuning_seed").max("rate")
    words, held = [], []
    for place, network in enumerate(networks(dataset)):
        of = found.sel(network=network)
        second, rival = (str(of.where(among, drop=True).idxmax("optimizer").values) for among in (found.k == 2, found.k < 2))
        mean, low, high = (float(part[place]) for part in gain(dataset, second, rival, TUNED))
        words.append(f"{second} over {rival} {ahead(dataset, (mean, low, high))}")
        held.append(low > 0)
    return f"{'; '.join(words)} {scale(dataset).unit}", passes_each(held)


def inside_the_grid(dataset: xr.Dataset) -> Finding:
    best = search_score(dataset).mean("tuning_seed").argmax("rate")
    inside = (best > 0) & (best < dataset.sizes["rate"] - 1)
    outside = [str(name) for name in dataset.optimizer.values[(~inside).any("network").values]]
    return f"inside for {float(inside.mean()):.0%}; at an end: {', '.join(outside) or 'none'}", passes_for(float(inside.mean()))


def as_wide(dataset: xr.Dataset) -> Finding:
    widths = basin(dataset)
    second, adam = widths.sel(optimizer=list(two_stages(dataset).values())), widths.sel(optimizer=ADAM)
    words = f"factor between the ends of the basin: Adam {with_range(10**adam, '.0f')}, k = 2 {with_range(10**second, '.0f')}"
    return words, passes_for(float((second >= AS_WIDE * adam).mean()))


def basin(dataset: xr.Dataset) -> xr.DataArray:
    """How wide the range of good learning rates is, as a power of ten; by network and optimizer.

    A rate is good where the loss in the search is at most ``BASIN`` above the method's smallest. Between the rates tried, the
    loss is taken as linear in the logarithm; the range ends where the search ends.
    """
    loss = -search_score(dataset).mean("tuning_seed")
    return xr.apply_ufunc(
        _width, np.log10(dataset.tried), loss, input_core_dims=[["rate"], ["rate"]], output_core_dims=[[]], vectorize=True
    )


def _width(x: np.ndarray, loss: np.ndarray) -> float:
    """Of the connected range around the minimum where the loss, linear between the points, is good."""
    best, limit = int(loss.argmin()), loss.min() + BASIN
    right = _reach(x[best:], loss[best:], limit)
    left = _reach(-x[best::-1], loss[best::-1], limit)
    return right + left


def _reach(x: np.ndarray, loss: np.ndarray, limit: float) -> float:
    """How far it is from the first point to where the loss first crosses the limit, or to the last point."""
    above = np.flatnonzero(loss > limit)
    if not len(above):
        return float(x[-1] - x[0])
    i = int(above[0])
    share = (limit - loss[i - 1]) / (loss[i] - loss[i - 1])
    return float(x[i - 1] + share * (x[i] - x[i - 1]) - x[0])


def no_more_spikes(dataset: xr.Dataset) -> Finding:
    found = dataset.spikes.sel(comparison=TUNED).sum("evaluation").mean("seed")
    second, adam = found.sel(optimizer=list(two_stages(dataset).values())), found.sel(optimizer=ADAM)
    words = f"spikes a run: Adam {float(adam.mean()):.2f}, k = 2 {float(second.mean()):.2f}"
    return words, passes_for(float((second <= adam).mean()))


def bounded(dataset: xr.Dataset) -> Finding:
    """The largest |u| over the bound that the record has of it."""
    share = (dataset.max_update / dataset.bound).max(["comparison", "network", "seed", "evaluation"])
    largest = float(share.max())
    return f"largest |u| over its bound: {largest:.2f} ({share.idxmax().item()})", passes(largest <= 1 + ROUNDING)
