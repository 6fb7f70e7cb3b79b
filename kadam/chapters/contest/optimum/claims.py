"""What is claimed of closely tuned optimizers on text, and how a record decides it."""

import xarray as xr

from kadam.chapters.contest import judges, norms
from kadam.chapters.contest.comparisons import MATCHED, TUNED
from kadam.chapters.contest.measures import networks, two_stages
from kadam.chapters.contest.settings import TWO
from kadam.report.ledger import NOT_JUDGED, OTHER_SEEDS, Claims, Criterion, Finding
from kadam.report.statistics import least_p_value, sign_flip_test


def _second_stage(dataset: xr.Dataset, *, strategy: str, comparison: str, level: float) -> Finding:
    """k = 2 against Adam in each network, where there are seeds enough for the exact test to decide all."""
    if comparison not in dataset.comparison:
        return "comparison not run", NOT_JUDGED
    if least_p_value(dataset.sizes["seed"]) * len(two_stages(dataset)) * len(networks(dataset)) > level:
        return f"too few seeds: {dataset.sizes['seed']}", NOT_JUDGED
    return judges.second_stage(dataset, strategy=strategy, comparison=comparison, level=level, test=sign_flip_test)


COARSE = "asked here: was the optimum between two rates of the coarser search?"
BETTER = "On text, with rates a factor of two apart and a parabola between them, k = 2 ({strategy}) is better than Adam {how}"
BY_SIGNS = judges.corrected("exact two-sided sign-flip test")

TESTS: Claims = {
    **judges.rivalries(
        BETTER,
        Criterion(f"test loss, in each setting: {BY_SIGNS}", level=0.05, when=OTHER_SEEDS),
        {TUNED: ("D-7m", COARSE), MATCHED: ("D-7n", COARSE)},
        strategies=TWO,
        judge=_second_stage,
    ),
    ("D-7o", "checked here"): (
        "Every method's best learning rate on text lies inside the finer range that was searched",
        "for every method and setting",
        judges.inside_the_grid,
    ),
    ("GT-5w", norms.PAPER): norms.BY_PAPER,
    ("D-5x", norms.FACTOR): norms.BY_FACTOR,
}
