"""What is claimed of language, and how a record decides it."""

import functools

from kadam.chapters.contest import judges
from kadam.chapters.contest.trials import COMPARISONS
from kadam.decay import STRATEGIES
from kadam.report.ledger import Test

EQUAL, TUNED, MATCHED = COMPARISONS


QUESTION = "a question from the paper's public reviews"
HERE = "asked here"
AHEAD = "95% interval over seeds of the paired difference in test loss in its favour, in every setting; in some: partly"
ANY = "for every strategy and setting; three quarters: partly"

RIVALRIES = {
    EQUAL: ("D-7a", "at the same learning rate"),
    TUNED: ("D-7b", "with each at its best learning rate"),
    MATCHED: ("D-7c", "with updates as large as Adam's"),
}

TESTS = [
    *(
        Test(
            f"{number} {strategy}",
            QUESTION,
            f"On text, k = 2 with strategy {strategy} is better than Adam {how}",
            AHEAD,
            functools.partial(judges.second_stage, strategy=strategy, comparison=comparison),
        )
        for comparison, (number, how) in RIVALRIES.items()
        for strategy in STRATEGIES
    ),
    Test(
        "D-7d",
        "asked here: does what CIFAR-10 said of k hold?",
        "On text, too, no second stage is ahead of Adam once both are tuned",
        f"95% interval of the paired difference in test loss not above 0, {ANY}",
        judges.none_ahead,
    ),
    Test(
        "D-7e",
        QUESTION,
        "On text, with tuned learning rates, loss grows gracefully for k > 2",
        f"no rise of more than {judges.NATS.fall:g} nats from one k to the next, no run diverges; for three quarters: partly",
        functools.partial(judges.graceful, comparison=TUNED),
    ),
    Test(
        "D-7f",
        "asked here: is it the size of the steps?",
        "On text, the advantage of k = 2 at the same learning rate goes away at matched update size",
        f"mean over strategies: at most {judges.LEFT} of a positive advantage is left, in every setting; in some: partly",
        judges.only_size,
    ),
    Test(
        "D-7g",
        "asked here: is it the size of the steps?",
        "On text, at the same learning rate, k = 2 takes steps at least twice as large as Adam's",
        ANY,
        judges.larger_steps,
    ),
    Test(
        "D-7h",
        QUESTION,
        "On text, k = 2 is better than every baseline, each at its best learning rate",
        "strategy and rival chosen on validation text; 95% interval of the paired difference in its favour, in every setting",
        judges.best_of_all,
    ),
    Test(
        "D-7i",
        HERE,
        "On text, a second stage leaves the basin of good learning rates as wide as Adam's",
        f"logarithm of the range within {judges.BASIN} nats of the method's best, at least {judges.AS_WIDE} of Adam's, {ANY}",
        judges.as_wide,
    ),
    Test(
        "D-7j",
        HERE,
        "On text, with tuned learning rates, k = 2 has no more spikes in its training loss than Adam",
        f"mean number a run, {ANY}",
        judges.no_more_spikes,
    ),
    Test(
        "D-7k",
        "checked here",
        "Every method's best learning rate on text lies inside the range that was searched",
        "for every method and setting; three quarters: partly",
        judges.inside_the_grid,
    ),
    Test(
        "D-7l",
        "derived here: Theory, k-Adam's bound",
        "In training on text no update exceeds the bound of its last stage",
        f"largest |u| over the exact discrete bound, all runs with Adam and k-Adam, at most 1 (rounding: {judges.ROUNDING})",
        judges.bounded,
    ),
]
