"""What is claimed of the contest on CIFAR-10, and how a record decides it."""

import functools

import numpy as np
import xarray as xr

from kadam.chapters.contest import judges
from kadam.chapters.contest.comparisons import ADAM, EQUAL, MATCHED, TUNED
from kadam.chapters.contest.judges import INTERVAL, QUESTION, SIZE
from kadam.chapters.contest.measures import gain, in_words, networks, points, two_stages
from kadam.report.ledger import MOST_WORDS, Criterion, Finding, Test, on_enough_seeds, passes, passes_each
from kadam.report.statistics import mean_interval


@on_enough_seeds
def _most_strategies(dataset: xr.Dataset, *, least: float) -> Finding:
    won = [gain(dataset, method, ADAM, EQUAL).low > 0 for method in two_stages(dataset).values()]
    each = zip(networks(dataset), np.sum(won, axis=0), strict=True)
    counted = ", ".join(f"{name} {count} of {len(won)}" for name, count in each)
    return f"strategies with k = 2 ahead of k = 1: {counted}", passes_each((np.mean(won, axis=0) >= least).tolist())


@on_enough_seeds
def _instead_of_normalisation(dataset: xr.Dataset, *, least: float) -> Finding:
    """How much of the gap to the normalised network a second stage closes in the one without, both tuned."""
    normalised, plain = (points(dataset).sel(comparison=TUNED, network=network) for network in networks(dataset))
    target, adam = (of.sel(optimizer=ADAM) for of in (normalised, plain))
    second = plain.sel(optimizer=two_stages(dataset)["meta"])
    accuracies = ", ".join(f"{float(x.mean()):.1f}" for x in (target, adam, second))
    measured = f"{accuracies}% (batch norm with Adam, no norm with Adam, no norm with 2-Adam)"
    gap = float(target.mean() - adam.mean())
    if gap <= 0:
        return f"{measured}; no gap to close", "not run at this profile"
    closed = mean_interval((second - adam) / gap)
    return f"{measured}; share of the gap closed {in_words((second - adam) / gap, '.2f')}", passes(bool(closed.low >= least))


FIGURE_4 = "[G&T] Figure 4 as we read it"
GRACEFUL = Criterion(
    f"no fall of more than {{most:g}} points from one k to the next, no run diverges; for {MOST_WORDS}", most=5.0
)

TESTS = [
    *judges.rivalries(
        "k = 2 with strategy {strategy} is more accurate than Adam {how}",
        f"{INTERVAL} over seeds of the paired difference in test accuracy above 0, in both networks; in one: partly",
        {EQUAL: ("GT-6a", FIGURE_4), TUNED: ("D-6b", QUESTION), MATCHED: ("D-6c", QUESTION)},
    ),
    Test(
        "GT-6d",
        FIGURE_4,
        "At the same learning rate k = 2 beats k = 1 under most strategies",
        Criterion(
            "for at least {least:.0%} of the strategies, as in the paper's three of four, in both networks; in one: partly",
            least=0.75,
        ),
        _most_strategies,
    ),
    Test(
        "GT-6e",
        FIGURE_4,
        "At the same learning rate accuracy declines gracefully for k > 2",
        GRACEFUL,
        functools.partial(judges.graceful, comparison=EQUAL),
    ),
    Test(
        "D-6f",
        QUESTION,
        "With tuned learning rates, too, accuracy declines gracefully for k > 2",
        GRACEFUL,
        functools.partial(judges.graceful, comparison=TUNED),
    ),
    Test(
        "GT-6g",
        "[G&T] Section 4.2, what would follow",
        "2-Adam (strategy meta) gives a network without normalisation what normalisation gives under Adam",
        Criterion(
            f"at tuned learning rates, the share of the gap in test accuracy that it closes: {INTERVAL} above {{least:g}}",
            least=0.5,
        ),
        _instead_of_normalisation,
    ),
    Test(
        "D-6h",
        SIZE,
        "The advantage of k = 2 at the same learning rate is one of larger steps: it goes away at matched update size",
        Criterion(
            "mean over strategies: at most {most:g} of a positive advantage is left, in both networks; in one: partly",
            most=0.25,
        ),
        judges.only_size,
    ),
    Test(
        "D-6i",
        SIZE,
        "At the same learning rate k = 2 takes steps at least twice as large as Adam's",
        Criterion(f"at least {{least:g}} times, for every strategy and network; {MOST_WORDS}", least=2),
        judges.larger_steps,
    ),
    Test(
        "D-6j",
        QUESTION,
        "k = 2 is more accurate than every baseline, each at its best learning rate",
        f"strategy and rival chosen on validation images; {INTERVAL} of the paired difference above 0, in both networks",
        judges.best_of_all,
    ),
    Test(
        "D-6k",
        "checked here",
        "Every method's best learning rate lies inside the range that was searched",
        f"for every method and network; {MOST_WORDS}",
        judges.inside_the_grid,
    ),
]
