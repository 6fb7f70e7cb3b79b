"""What is claimed of cifar, and how a record decides it."""

import functools

from kadam.chapters.contest import judges
from kadam.chapters.contest.trials import COMPARISONS
from kadam.decay import STRATEGIES
from kadam.report.ledger import Test

EQUAL, TUNED, MATCHED = COMPARISONS


FIGURE_4 = "[G&T] Figure 4 as we read it"
QUESTION = "a question from the paper's public reviews"
AHEAD = "95% interval over seeds of the paired difference in test accuracy above 0, in both networks; in one: partly"
GRACEFUL = (
    f"no fall of more than {judges.POINTS.fall:g} points from one k to the next, no run diverges; for three quarters: partly"
)

RIVALRIES = {
    EQUAL: ("GT-6a", FIGURE_4, "at the same learning rate"),
    TUNED: ("D-6b", QUESTION, "with each at its best learning rate"),
    MATCHED: ("D-6c", QUESTION, "with updates as large as Adam's"),
}

TESTS = [
    *(
        Test(
            f"{number} {strategy}",
            source,
            f"k = 2 with strategy {strategy} is more accurate than Adam {how}",
            AHEAD,
            functools.partial(judges.second_stage, strategy=strategy, comparison=comparison),
        )
        for comparison, (number, source, how) in RIVALRIES.items()
        for strategy in STRATEGIES
    ),
    Test(
        "GT-6d",
        FIGURE_4,
        "At the same learning rate k = 2 beats k = 1 under most strategies",
        f"for at least {judges.MOST:.0%} of the strategies, as in the paper's three of four, in both networks; in one: partly",
        judges.most_strategies,
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
        "at tuned learning rates it closes at least half of the gap in test accuracy: 95% interval above 0.5",
        judges.instead_of_normalisation,
    ),
    Test(
        "D-6h",
        "asked here: is it the size of the steps?",
        "The advantage of k = 2 at the same learning rate is one of larger steps: it goes away at matched update size",
        f"mean over strategies: at most {judges.LEFT} of a positive advantage is left, in both networks; in one: partly",
        judges.only_size,
    ),
    Test(
        "D-6i",
        "asked here: is it the size of the steps?",
        "At the same learning rate k = 2 takes steps at least twice as large as Adam's",
        "for every strategy and network; three quarters: partly",
        judges.larger_steps,
    ),
    Test(
        "D-6j",
        QUESTION,
        "k = 2 is more accurate than every baseline, each at its best learning rate",
        "strategy and rival chosen on validation images; 95% interval of the paired difference above 0, in both networks",
        judges.best_of_all,
    ),
    Test(
        "D-6k",
        "checked here",
        "Every method's best learning rate lies inside the range that was searched",
        "for every method and network; three quarters: partly",
        judges.inside_the_grid,
    ),
]
