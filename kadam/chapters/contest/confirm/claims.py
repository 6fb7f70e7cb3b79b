"""What is claimed of a lead on images that was found after the fact, and how a record decides it."""

import functools

from kadam.chapters.contest import judges
from kadam.chapters.contest.comparisons import ADAM
from kadam.chapters.contest.confirm.config import RIVALS
from kadam.report.ledger import OTHER_SEEDS, Claims, Criterion

STAGED = ("4-Adam meta",)
AGAIN = "asked here: was its lead in chapter 6 chance?"
TEST = f"test accuracy, each method at its interpolated optimum: {judges.BY_PAIRS}"

TESTS: Claims = {
    ("D-6v", AGAIN): (
        "On images, closely tuned and with fresh seeds, 4-Adam meta is more accurate than Adam",
        Criterion(TEST, level=0.05, when=OTHER_SEEDS),
        functools.partial(judges.ahead_of, methods=STAGED, over=(ADAM,)),
    ),
    ("D-6w", AGAIN): (
        "On images, closely tuned, fresh seeds: 4-Adam meta is more accurate than NAdam and Adam with gamma 0.7 and 0.5",
        Criterion(TEST, level=0.05, when=OTHER_SEEDS),
        functools.partial(judges.ahead_of, methods=STAGED, over=RIVALS),
    ),
    ("D-6x", "checked here"): (
        "Every method's best learning rate on images lies inside the range that was searched for the confirmation",
        "for every method and network",
        judges.inside_the_grid,
    ),
}
