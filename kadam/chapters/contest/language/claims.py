"""What is claimed of the contest on text, and how a record decides it."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from kadam.chapters.contest import judges
from kadam.chapters.contest.comparisons import EQUAL, MATCHED, TUNED
from kadam.chapters.contest.judges import QUESTION
from kadam.chapters.contest.measures import BASIN, at_most_a_guess, basin, in_favour, networks, second_and_first, two_stages
from kadam.report.ledger import LOOK, Claims, Criterion, Finding, judged, limited, on_enough_seeds, with_range


@on_enough_seeds
def _none_ahead(dataset: xr.Dataset, *, level: float) -> Finding:
    """Whether k = 2 is ahead of Adam nowhere, both tuned."""
    methods, p = list(two_stages(dataset).values()), in_favour(dataset, TUNED)
    won = p.values <= level
    places = [f"{methods[i]} ({networks(dataset)[j]})" for i, j in np.argwhere(won)]
    return f"ahead in {won.sum()} of {won.size} cases: {', '.join(places) or '-'}", limited(p, above=level)


def _as_wide(dataset: xr.Dataset, *, least: float) -> Finding:
    second, adam = second_and_first(basin(dataset).width)
    words = f"factor between the ends of the basin: Adam {with_range(10**adam, '.0f')}, 2-Adam {with_range(10**second, '.0f')}"
    return words, limited(second / adam, least=least)


def _no_more_spikes(dataset: xr.Dataset) -> Finding:
    second, adam = second_and_first(dataset.spikes.sel(comparison=TUNED).sum("evaluation").mean("seed"))
    words = f"spikes a run: Adam {float(adam.mean()):.2f}, 2-Adam {float(second.mean()):.2f}"
    return words, judged(second <= adam)


def _bounded(dataset: xr.Dataset, *, rounding: float) -> Finding:
    """The largest |u| over the bound that the record has of it."""
    share = (dataset.max_update / dataset.bound).max(["comparison", "network", "seed", "evaluation"])
    largest = float(share.max())
    words = f"largest |u| over its bound: {largest:.2f} ({share.idxmax().item()})"
    return words, limited(share, most=1 + rounding, where=share.notnull())


def at_equal_time(record: xr.Dataset, cost: Mapping[str, float]) -> xr.DataArray:
    """Test loss of every run in the time that Adam takes for all its steps; of the optimizers that ``cost`` knows.

    ``cost``: time of a step over Adam's. The loss is read off the method's own curve at steps / cost, linear between the
    evaluations from a guess at the start; a method faster than Adam is read at its end. The learning rate had not come down
    by then, as it would in a run planned for that time: what this loses to the curve's end bounds the time's cost from above.
    """
    known = [name for name in record.optimizer.values.tolist() if name in cost]
    marks = [0, *record.evaluation.values]
    at = xr.DataArray([marks[-1] / cost[name] for name in known], {"optimizer": known})
    read = xr.apply_ufunc(
        lambda step, guess, curve: np.interp(step, marks, [guess, *curve]),
        *(at, record.guess, at_most_a_guess(record, record.loss).sel(optimizer=known)),
        input_core_dims=[[], [], ["evaluation"]],
        vectorize=True,
    )
    return read.transpose("comparison", "network", "optimizer", "seed")


HERE = "asked here"
ANY = "for every strategy and setting"
GRACEFUL = Criterion(
    "no rise of more than {most:g} nats from one k to the next, no run diverges, for every strategy and network", most=0.05
)
WIDE = f"logarithm of the range within {BASIN} nats of the method's best, at least {{least:g}} of Adam's, {ANY}"
# float32 weights, off which an update is read, round it where the learning rate is smallest
BOUNDED = "largest |u| over the exact discrete bound, all runs with Adam and k-Adam, at most 1 (rounding: {rounding:g})"

COMMON = {
    "D-7f": "On text, the advantage of k = 2 at the same learning rate goes away at matched update size",
    "D-7g": "On text, at the same learning rate, k = 2 takes steps at least twice as large as Adam's",
    "D-7h": "On text, k = 2 is better than every baseline, each at its best learning rate",
    "D-7k": "Every method's best learning rate on text lies inside the range that was searched",
}
*SIZE_AND_RIVALS, INSIDE = judges.common(
    COMMON, each="each setting", network="setting", data="text", ahead="in its favour, in every setting"
).items()

TESTS: Claims = {
    **judges.rivalries(
        "On text, k = 2 with strategy {strategy} is better than Adam {how}",
        Criterion(f"in each setting: {judges.BY_T}", level=0.05, when=LOOK),
        {EQUAL: ("D-7a", QUESTION), TUNED: ("D-7b", QUESTION), MATCHED: ("D-7c", QUESTION)},
    ),
    ("D-7d", "asked here: does what CIFAR-10 said of k hold?"): (
        "On text, too, no second stage is ahead of Adam once both are tuned on rates a factor of three apart",
        Criterion(f"nowhere ahead by this: {judges.BY_T}", level=0.05, when=LOOK),
        _none_ahead,
    ),
    **judges.declines("D-7e", QUESTION, "On text, with tuned learning rates, loss grows gracefully for k > 2", GRACEFUL, TUNED),
    **dict(SIZE_AND_RIVALS),
    ("D-7i", HERE): (
        "On text, a second stage leaves the basin of good learning rates as wide as Adam's",
        Criterion(WIDE, least=0.9),
        _as_wide,
    ),
    ("D-7j", HERE): (
        "On text, with tuned learning rates, k = 2 has no more spikes in its training loss than Adam",
        f"mean number a run, {ANY}",
        _no_more_spikes,
    ),
    **dict([INSIDE]),
    ("D-7l", "derived here: Theory, k-Adam's bound"): (
        "In training on text no update exceeds the bound of its last stage",
        Criterion(BOUNDED, rounding=0.02),
        _bounded,
    ),
}
