"""How a record of any contest of optimizers decides what is claimed: k-Adam with two stages against Adam and other rivals."""

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from kadam.chapters.contest import measures
from kadam.chapters.contest.comparisons import ADAM, EQUAL, MATCHED, TUNED, overall
from kadam.chapters.contest.measures import ended, gain, gains, networks, scale, two_stages
from kadam.decay import STRATEGIES
from kadam.report.ledger import MOST_WORDS, Claims, Criterion, Finding, on_enough_seeds, passes_each, passes_for, with_range
from kadam.report.statistics import LEVEL

QUESTION = "a question from the paper's public reviews"
SIZE = "asked here: is it the size of the steps?"
INTERVAL = f"{LEVEL:.0%} interval"

HOW = {
    EQUAL: "at the same learning rate",
    TUNED: "with each at its best learning rate",
    MATCHED: "with updates as large as Adam's",
}


def rivalries(claim: str, criterion: str, places: Mapping[str, tuple[str, str]]) -> Claims:
    """One claim a comparison and strategy; ``places``: the number and the source of each comparison's."""
    found: dict[Any, Any] = {}
    for (comparison, (number, source)), strategy in itertools.product(places.items(), STRATEGIES):
        judge = functools.partial(second_stage, strategy=strategy, comparison=comparison)
        found[f"{number} {strategy}", source] = claim.format(strategy=strategy, how=HOW[comparison]), criterion, judge
    return found


def declines(number: str, source: str, claim: str, criterion: Criterion, comparison: str) -> Claims:
    """The claim of what happens beyond k = 2."""
    return {(number, source): (claim, criterion, functools.partial(graceful, comparison=comparison))}


def common(claims: Mapping[str, str], *, each: str, network: str, data: str, ahead: str) -> Claims:
    """The claims of the size of steps, of the best of all and of the search; ``claims``: number -> statement, in this order.

    Their words: held in ``each`` network, or in some; how a ``network`` and the ``data`` are called; what counts as ``ahead``.
    """
    left = f"mean over strategies: at most {{most:g}} of a positive advantage is left, in {each}: partly"
    larger = f"at least {{least:g}} times, for every strategy and {network}; {MOST_WORDS}"
    best = f"strategy and rival chosen on validation {data}; {INTERVAL} of the paired difference {ahead}"
    size, steps, rivals, inside = claims
    return {
        (size, SIZE): (claims[size], Criterion(left, most=0.25), only_size),
        (steps, SIZE): (claims[steps], Criterion(larger, least=2), larger_steps),
        (rivals, QUESTION): (claims[rivals], best, best_of_all),
        (inside, "checked here"): (claims[inside], f"for every method and {network}; {MOST_WORDS}", inside_the_grid),
    }


@on_enough_seeds
def second_stage(dataset: xr.Dataset, *, strategy: str, comparison: str) -> Finding:
    """k = 2 against Adam in each network."""
    method = two_stages(dataset).get(strategy)
    if method is None:
        return "strategy not run", "not run at this profile"
    words = [f"{name} {ahead}" for name, ahead in zip(networks(dataset), gains(dataset, comparison, method), strict=True)]
    held = (gain(dataset, comparison, method).low > 0).tolist()
    return f"{'; '.join(words)} {scale(dataset).difference}", passes_each(held)


@on_enough_seeds
def graceful(dataset: xr.Dataset, *, comparison: str, most: float) -> Finding:
    """No fall of the score, mean over seeds, of more than ``most`` from one k >= 2 to the next."""
    if int(dataset.k.max()) <= 2:
        return "no k above 2", "not run at this profile"
    of, mean = scale(dataset), ended(dataset).sel(comparison=comparison).mean("seed")
    each = [measures.by_k(of.sign * mean, strategy)[1:] for strategy in two_stages(dataset)]
    falls = xr.concat([-one.diff("optimizer").min("optimizer") for one in each if len(one) > 1], "strategy")
    diverged = int(np.isfinite(dataset.diverged_at.sel(comparison=comparison).where(dataset.k > 1)).sum())
    good = float((falls <= most).mean()) if not diverged else 0.0
    found = f"{with_range(falls, of.form)} {of.difference} over strategies and networks"
    return f"largest fall from one k to the next: {found}; {diverged} runs diverged", passes_for(good)


@on_enough_seeds
def only_size(dataset: xr.Dataset, *, most: float) -> Finding:
    """What is left of the advantage at equal rates when updates are as large as Adam's, mean over strategies."""
    second, of = list(two_stages(dataset).values()), scale(dataset)
    equal, matched = (gain(dataset, comparison, second).mean.mean(0) for comparison in (EQUAL, MATCHED))
    size = dataset.peak_rate * overall(dataset.update_rms).mean("seed")
    off = size.sel(comparison=MATCHED, optimizer=second) / size.sel(comparison=EQUAL, optimizer=ADAM)
    each = zip(networks(dataset), equal, matched, strict=True)
    words = "; ".join(f"{name} {before:+{of.form}} {of.difference}, then {after:+{of.form}}" for name, before, after in each)
    return f"{words}; update over Adam's {with_range(off)}", passes_each(((equal > 0) & (matched <= most * equal)).tolist())


def larger_steps(dataset: xr.Dataset, *, least: float) -> Finding:
    second, adam = measures.second_and_first(overall(dataset.update_rms).sel(comparison=EQUAL).mean("seed"))
    words = f"rms of u: Adam {with_range(adam)}, k = 2 {with_range(second)}"
    return words, passes_for(float((second >= least * adam).mean()))


@on_enough_seeds
def best_of_all(dataset: xr.Dataset) -> Finding:
    """The best k = 2 against the best baseline, both chosen in the search."""
    found = measures.search_score(dataset).mean("tuning_seed").max("rate")
    words, held = [], []
    for network in networks(dataset):
        of, here = found.sel(network=network), dataset.sel(network=[network])
        second, rival = (str(of.where(among, drop=True).idxmax("optimizer").values) for among in (found.k == 2, found.k < 2))
        words.append(f"{second} over {rival} {gains(here, TUNED, second, rival)[0]}")
        held.append(bool(gain(here, TUNED, second, rival).low[0] > 0))
    return f"{'; '.join(words)} {scale(dataset).difference}", passes_each(held)


def inside_the_grid(dataset: xr.Dataset) -> Finding:
    best = measures.search_score(dataset).mean("tuning_seed").argmax("rate")
    inside = (best > 0) & (best < dataset.sizes["rate"] - 1)
    outside, share = dataset.optimizer.values[(~inside).any("network").values], float(inside.mean())
    return f"inside for {share:.0%}; at an end: {', '.join(outside) or 'none'}", passes_for(share)
