"""How a record of any contest of optimizers decides what is claimed: k-Adam with two stages against Adam and other rivals."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from kadam.chapters.contest import measures
from kadam.chapters.contest.comparisons import ADAM, EQUAL, MATCHED, TUNED, overall
from kadam.chapters.contest.measures import (
    Test,
    adjusted,
    ended,
    gain,
    gains,
    in_favour,
    intervals,
    lead,
    networks,
    scale,
    two_stages,
)
from kadam.decay import STRATEGIES
from kadam.report.ledger import LOOK, NOT_JUDGED, Claims, Criterion, Finding, judged, limited, on_enough_seeds, with_range
from kadam.report.statistics import LEVEL, holm, least_p_value, paired_t_test, sign_flip_test

QUESTION = "a question from the paper's public reviews"
SIZE = "asked here: is it the size of the steps?"
INTERVAL = f"{LEVEL:.0%} interval"


def corrected(test: str) -> str:
    """What counts as ahead in a contest of several strategies on several networks, in words, by this test."""
    family = "corrected by Holm's method among all strategies and networks of the comparison"
    return f"{test} over seeds, {family}: p at most {{level:g}}, with the mean in favour of k = 2"


BY_T = corrected("two-sided paired t-test")
BY_PAIRS = (
    "exact two-sided sign-flip test over seeds, corrected by Holm's method among all pairs and settings: p at most {level:g}, "
    "with the mean in favour of the first"
)

HOW = {
    EQUAL: "at the same learning rate",
    TUNED: "with each at its best learning rate",
    MATCHED: "with updates as large as Adam's",
}


def rivalries(
    claim: str,
    criterion: Criterion,
    places: Mapping[str, tuple[str, str]],
    *,
    strategies: Sequence[str] = STRATEGIES,
    judge: Callable[..., Finding] | None = None,
) -> Claims:
    """One claim a comparison and strategy; ``places``: the number and the source of each comparison's."""
    found: dict[Any, Any] = {}
    for (comparison, (number, source)), strategy in itertools.product(places.items(), strategies):
        decide = functools.partial(judge or second_stage, strategy=strategy, comparison=comparison)
        found[f"{number} {strategy}", source] = claim.format(strategy=strategy, how=HOW[comparison]), criterion, decide
    return found


def declines(number: str, source: str, claim: str, criterion: Criterion, comparison: str) -> Claims:
    """The claim of what happens beyond k = 2."""
    return {(number, source): (claim, criterion, functools.partial(graceful, comparison=comparison))}


def common(claims: Mapping[str, str], *, each: str, network: str, data: str, ahead: str) -> Claims:
    """The claims of the size of steps, of the best of all and of the search; ``claims``: number -> statement, in this order.

    Their words: held in ``each`` network, or in some; how a ``network`` and the ``data`` are called; what counts as ``ahead``.
    """
    left = f"wherever k = 2 is ahead at the same rate ({BY_T}): at most {{most:g}} of its mean advantage is left"
    larger = f"at least {{least:g}} times, for every strategy and {network}"
    best = f"strategy and rival chosen on validation {data}; {INTERVAL} of the paired difference {ahead}"
    size, steps, rivals, inside = claims
    return {
        (size, SIZE): (claims[size], Criterion(left, most=0.25, level=0.05, when=LOOK), only_size),
        (steps, SIZE): (claims[steps], Criterion(larger, least=2), larger_steps),
        (rivals, QUESTION): (claims[rivals], best, best_of_all),
        (inside, "checked here"): (claims[inside], Criterion(f"for every method and {network}", when=LOOK), inside_the_grid),
    }


@on_enough_seeds
def second_stage(dataset: xr.Dataset, *, strategy: str, comparison: str, level: float, test: Test = paired_t_test) -> Finding:
    """k = 2 against Adam in each network."""
    method = two_stages(dataset).get(strategy)
    if method is None:
        return "strategy not run", NOT_JUDGED
    p = adjusted(dataset, comparison, test).sel(strategy=strategy).values
    each = zip(networks(dataset), gains(dataset, comparison, method), p, strict=True)
    words = "; ".join(f"{name} {ahead}, p {of:.2g}" for name, ahead, of in each)
    return f"in {scale(dataset).difference}: {words}", limited(
        in_favour(dataset, comparison, test).sel(strategy=strategy), most=level
    )


@on_enough_seeds
def graceful(dataset: xr.Dataset, *, comparison: str, most: float) -> Finding:
    """No fall of the score, mean over seeds, of more than ``most`` from one k >= 2 to the next."""
    if int(dataset.k.max()) <= 2:
        return "no k above 2", NOT_JUDGED
    of, mean = scale(dataset), ended(dataset).sel(comparison=comparison).mean("seed")
    each = {strategy: measures.by_k(of.sign * mean, strategy)[1:] for strategy in two_stages(dataset)}
    fall = {strategy: -one.diff("optimizer").min("optimizer") for strategy, one in each.items() if len(one) > 1}
    falls = xr.concat(list(fall.values()), xr.Variable("strategy", list(fall)))
    diverged = int(np.isfinite(dataset.diverged_at.sel(comparison=comparison).where(dataset.k > 1)).sum())
    found = f"{with_range(falls, of.form)} {of.difference} over strategies and networks"
    words = f"largest fall from one k to the next: {found}; {diverged} runs diverged"
    return words, limited(falls, most=-np.inf if diverged else most)


@on_enough_seeds
def only_size(dataset: xr.Dataset, *, most: float, level: float) -> Finding:
    """What is left of an advantage at equal rates when updates are as large as Adam's, wherever there is one."""
    second, of = list(two_stages(dataset).values()), scale(dataset)
    axes = {"strategy": list(two_stages(dataset)), "network": networks(dataset)}
    equal, matched = (gain(dataset, comparison, second) for comparison in (EQUAL, MATCHED))
    won = in_favour(dataset, EQUAL) <= level
    left = xr.DataArray(matched.mean / np.where(won, equal.mean, np.nan), axes)
    size = dataset.peak_rate * overall(dataset.update_rms).mean("seed")
    off = size.sel(comparison=MATCHED, optimizer=second) / size.sel(comparison=EQUAL, optimizer=ADAM)
    if not won.any():
        return "no second stage is ahead at the same learning rate", NOT_JUDGED
    before, after = (f"{float(one.mean[won.values].mean()):+{of.form}}" for one in (equal, matched))
    words = (
        f"{int(won.sum())} advantages, mean {before} {of.difference}, then {after}; {int((left < 0).where(won).sum())} reverse"
    )
    return f"{words}; update over Adam's {with_range(off)}", limited(left, most=most, where=won)


def larger_steps(dataset: xr.Dataset, *, least: float) -> Finding:
    second, adam = measures.second_and_first(overall(dataset.update_rms).sel(comparison=EQUAL).mean("seed"))
    words = f"rms of u: Adam {with_range(adam)}, k = 2 {with_range(second)}"
    return words, limited(second / adam, least=least)


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
    return f"{'; '.join(words)} {scale(dataset).difference}", judged(held, names=networks(dataset))


def ahead_of(dataset: xr.Dataset, *, methods: Sequence[str], over: Sequence[str], level: float) -> Finding:
    """Each of some methods against each of some others in each network, tuned, as one family of tests."""
    pairs = {f"{method} over {other}": (method, other) for method in methods for other in over}
    leads = xr.concat([lead(dataset, TUNED, *pair) for pair in pairs.values()], xr.Variable("pair", list(pairs)))
    return in_pairs(leads.drop_vars("optimizer", errors="ignore"), scale(dataset).form, scale(dataset).difference, level=level)


def in_pairs(leads: xr.DataArray, form: str, unit: str, *, level: float) -> Finding:
    """Whether leads, (pair, network, seed), are above 0 by the exact test, as one family."""
    leads = leads.transpose("pair", "network", "seed")
    if least_p_value(leads.sizes["seed"]) * leads.isel(seed=0).size > level:
        return f"too few seeds: {leads.sizes['seed']}", NOT_JUDGED
    p = leads.isel(seed=0, drop=True).copy(data=holm(sign_flip_test(leads.values)))
    told = intervals(leads, f"+{form}")
    words = [
        f"{pair}, {name}: {told.sel(pair=pair, network=name).item()}, p {float(p.sel(pair=pair, network=name)):.2g}"
        for pair in leads.pair.values
        for name in leads.network.values
    ]
    return f"{unit}: {'; '.join(words)}", limited(p.where(leads.mean("seed") > 0, 1.0), most=level)


def inside_the_grid(dataset: xr.Dataset) -> Finding:
    best = measures.search_score(dataset).mean("tuning_seed").argmax("rate")
    inside = (best > 0) & (best < dataset.sizes["rate"] - 1)
    outside, share = dataset.optimizer.values[(~inside).any("network").values], float(inside.mean())
    return f"inside for {share:.0%}; at an end: {', '.join(outside) or 'none'}", judged(inside)
