"""How a record of any contest of optimizers decides what is claimed: k-Adam with two stages against Adam and other rivals."""

import functools
from collections.abc import Mapping

import numpy as np
import xarray as xr

from kadam.chapters.contest.comparisons import ADAM, EQUAL, MATCHED, TUNED, overall
from kadam.chapters.contest.measures import gain, gains, networks, scale, search_score, second_and_first, steps_down, two_stages
from kadam.decay import STRATEGIES
from kadam.report.ledger import Finding, Test, on_enough_seeds, passes_each, passes_for, with_range
from kadam.report.statistics import LEVEL

QUESTION = "a question from the paper's public reviews"
SIZE = "asked here: is it the size of the steps?"
INTERVAL = f"{LEVEL:.0%} interval"

HOW = {
    EQUAL: "at the same learning rate",
    TUNED: "with each at its best learning rate",
    MATCHED: "with updates as large as Adam's",
}


def rivalries(claim: str, criterion: str, places: Mapping[str, tuple[str, str]]) -> list[Test]:
    """One test a comparison and strategy; ``places``: the number and the source of each comparison's."""
    return [
        Test(
            f"{number} {strategy}",
            source,
            claim.format(strategy=strategy, how=HOW[comparison]),
            criterion,
            functools.partial(second_stage, strategy=strategy, comparison=comparison),
        )
        for comparison, (number, source) in places.items()
        for strategy in STRATEGIES
    ]


@on_enough_seeds
def second_stage(dataset: xr.Dataset, *, strategy: str, comparison: str) -> Finding:
    """k = 2 against Adam in each network."""
    if strategy not in two_stages(dataset):
        return "strategy not run", "not run at this profile"
    rivals = two_stages(dataset)[strategy], ADAM, comparison
    words = [f"{name} {ahead}" for name, ahead in zip(networks(dataset), gains(dataset, *rivals), strict=True)]
    return f"{'; '.join(words)} {scale(dataset).difference}", passes_each((gain(dataset, *rivals).low > 0).tolist())


@on_enough_seeds
def graceful(dataset: xr.Dataset, *, comparison: str, most: float) -> Finding:
    """No fall of more than ``most`` from one k to the next."""
    if int(dataset.k.max()) <= 2:
        return "no k above 2", "not run at this profile"
    falls, of = steps_down(dataset, comparison), scale(dataset)
    diverged = int(np.isfinite(dataset.diverged_at.sel(comparison=comparison).where(dataset.k > 1)).sum())
    good = float((falls <= most).mean()) if not diverged else 0.0
    found = f"{with_range(falls, f'.{of.digits}f')} {of.difference} over strategies and networks"
    return f"largest fall from one k to the next: {found}; {diverged} runs diverged", passes_for(good)


@on_enough_seeds
def only_size(dataset: xr.Dataset, *, most: float) -> Finding:
    """What is left of the advantage at equal rates when updates are as large as Adam's, mean over strategies."""
    second = list(two_stages(dataset).values())
    equal, matched = (
        np.mean([gain(dataset, method, ADAM, comparison).mean for method in second], axis=0) for comparison in (EQUAL, MATCHED)
    )
    size = dataset.peak_rate * overall(dataset.update_rms).mean("seed")
    off = size.sel(comparison=MATCHED, optimizer=second) / size.sel(comparison=EQUAL, optimizer=ADAM)
    form, unit = f"+.{scale(dataset).digits}f", scale(dataset).difference
    each = zip(networks(dataset), equal, matched, strict=True)
    words = "; ".join(f"{name} {before:{form}} {unit}, then {after:{form}}" for name, before, after in each)
    held = ((equal > 0) & (matched <= most * equal)).tolist()
    return f"{words}; update over Adam's {with_range(off)}", passes_each(held)


def larger_steps(dataset: xr.Dataset, *, least: float) -> Finding:
    second, adam = second_and_first(overall(dataset.update_rms).sel(comparison=EQUAL).mean("seed"))
    good = float((second >= least * adam).mean())
    return f"rms of u: Adam {with_range(adam)}, k = 2 {with_range(second)}", passes_for(good)


@on_enough_seeds
def best_of_all(dataset: xr.Dataset) -> Finding:
    """The best k = 2 against the best baseline, both chosen in the search."""
    found = search_score(dataset).mean("tuning_seed").max("rate")
    words, held = [], []
    for place, network in enumerate(networks(dataset)):
        of = found.sel(network=network)
        second, rival = (str(of.where(among, drop=True).idxmax("optimizer").values) for among in (found.k == 2, found.k < 2))
        words.append(f"{second} over {rival} {gains(dataset, second, rival, TUNED)[place]}")
        held.append(bool(gain(dataset, second, rival, TUNED).low[place] > 0))
    return f"{'; '.join(words)} {scale(dataset).difference}", passes_each(held)


def inside_the_grid(dataset: xr.Dataset) -> Finding:
    best = search_score(dataset).mean("tuning_seed").argmax("rate")
    inside = (best > 0) & (best < dataset.sizes["rate"] - 1)
    outside = [str(name) for name in dataset.optimizer.values[(~inside).any("network").values]]
    return f"inside for {float(inside.mean()):.0%}; at an end: {', '.join(outside) or 'none'}", passes_for(float(inside.mean()))
