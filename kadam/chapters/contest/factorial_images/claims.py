"""What is claimed of pairs of betas on images at their best rates, and how a record decides it: as on text."""

from kadam.chapters.contest import judges
from kadam.chapters.contest.pairs import HERE, alone, memory_alone
from kadam.report.ledger import OTHER_SEEDS, Claims, Criterion

TESTS: Claims = {
    ("D-6y", HERE): (
        "The memory of momentum alone, gamma, orders the test loss of pairs of betas on images, each at its interpolated rate",
        alone(OTHER_SEEDS),
        memory_alone,
    ),
    ("D-6z", "checked here"): (
        "The best learning rate on images of every pair of betas lies inside the range that was searched",
        Criterion("for every pair, and NAdam", when=OTHER_SEEDS),
        judges.inside_the_grid,
    ),
}
