"""What is claimed of stages against shorter memories of momentum, and how a record decides it."""

import functools

from kadam.chapters.contest import judges, norms
from kadam.chapters.contest.comparisons import ADAM
from kadam.chapters.contest.memory.config import SHORTER
from kadam.report.ledger import Claims, Criterion

STAGED = ("4-Adam meta",)

WHY = "asked here: is it only the memory of momentum?"
TEST = f"test loss, each method at its interpolated optimum: {judges.BY_PAIRS}"

TESTS: Claims = {
    ("D-7p", WHY): (
        "On text, closely tuned, k-Adam meta with four stages is better than Adam with gamma 0.9, 0.7 and 0.5",
        Criterion(TEST, level=0.05),
        functools.partial(judges.ahead_of, methods=STAGED, over=(ADAM, *SHORTER)),
    ),
    ("D-7q", WHY): (
        "On text, closely tuned, Adam with a shorter memory, gamma 0.7 or 0.5, is better than with gamma 0.9",
        Criterion(TEST, level=0.05),
        functools.partial(judges.ahead_of, methods=SHORTER, over=(ADAM,)),
    ),
    ("D-7r", "checked here"): (
        "The best learning rate on text of Adam with every gamma, and of four stages, lies inside the range that was searched",
        "for every method and setting",
        judges.inside_the_grid,
    ),
    ("D-5y", norms.FACTOR): (f"{norms.BY_FACTOR[0]}, at gamma 0.7 and 0.5 too", *norms.BY_FACTOR[1:]),
}
