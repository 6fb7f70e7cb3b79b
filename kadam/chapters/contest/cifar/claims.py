"""What is claimed of the contest on CIFAR-10, and how a record decides it."""

import xarray as xr

from kadam.chapters.contest import judges
from kadam.chapters.contest.comparisons import ADAM, EQUAL, MATCHED, TUNED
from kadam.chapters.contest.judges import QUESTION
from kadam.chapters.contest.measures import ended, in_favour, networks, two_stages
from kadam.report.ledger import CLOSED, LOOK, NOT_JUDGED, Claims, Criterion, Finding, closed, limited, on_enough_seeds


@on_enough_seeds
def _most_strategies(dataset: xr.Dataset, *, least: float, level: float) -> Finding:
    won = in_favour(dataset, EQUAL) <= level
    each = zip(networks(dataset), won.sum("strategy").values, strict=True)
    counted = ", ".join(f"{name} {count} of {len(won)}" for name, count in each)
    return f"strategies with k = 2 ahead of k = 1: {counted}", limited(won.mean("strategy"), least=least)


@on_enough_seeds
def _instead_of_normalisation(dataset: xr.Dataset, *, least: float) -> Finding:
    """How much of the gap to the normalised network a second stage closes in the one without, both tuned."""
    if len(networks(dataset)) < 2:
        return "no network without normalisation", NOT_JUDGED
    normalised, plain = (ended(dataset).sel(comparison=TUNED, network=network) for network in networks(dataset))
    target, adam = (of.sel(optimizer=ADAM) for of in (normalised, plain))
    second = plain.sel(optimizer=two_stages(dataset)["meta"])
    accuracies = ", ".join(f"{float(x.mean()):.1f}" for x in (target, adam, second))
    share, held = closed(second - adam, target - adam, least=least)
    return f"{accuracies}% (batch norm with Adam, no norm with Adam, no norm with 2-Adam); {share}", held


FIGURE_4 = "[G&T] Figure 4 as we read it"
MOSTLY = f"for at least {{least:.0%}} of the strategies, as in the paper's three of four, in each network; {judges.BY_T}"
GRACEFUL = Criterion(
    "no fall of more than {most:g} points from one k to the next, no run diverges, for every strategy and network", most=5.0
)
COMMON = {
    "D-6h": "The advantage of k = 2 at the same learning rate is one of larger steps: it goes away at matched update size",
    "D-6i": "At the same learning rate k = 2 takes steps at least twice as large as Adam's",
    "D-6j": "k = 2 is more accurate than every baseline, each at its best learning rate",
    "D-6k": "Every method's best learning rate lies inside the range that was searched",
}

TESTS: Claims = {
    **judges.rivalries(
        "k = 2 with strategy {strategy} is more accurate than Adam {how}",
        Criterion(f"in each network: {judges.BY_T}", level=0.05, when=LOOK),
        {EQUAL: ("GT-6a", FIGURE_4), TUNED: ("D-6b", QUESTION), MATCHED: ("D-6c", QUESTION)},
    ),
    ("GT-6d", FIGURE_4): (
        "At the same learning rate k = 2 beats k = 1 under most strategies",
        Criterion(MOSTLY, least=0.75, level=0.05, when=LOOK),
        _most_strategies,
    ),
    **judges.declines("GT-6e", FIGURE_4, "At the same learning rate accuracy declines gracefully for k > 2", GRACEFUL, EQUAL),
    **judges.declines(
        "D-6f", QUESTION, "With tuned learning rates, too, accuracy declines gracefully for k > 2", GRACEFUL, TUNED
    ),
    ("GT-6g", "[G&T] Section 4.2, what would follow"): (
        "2-Adam (strategy meta) gives a network without normalisation what normalisation gives under Adam",
        CLOSED,
        _instead_of_normalisation,
    ),
    **judges.common(COMMON, each="both networks; in one", network="network", data="images", ahead="above 0, in both networks"),
}
