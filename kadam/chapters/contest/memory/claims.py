"""What is claimed of stages against shorter memories of momentum, and how a record decides it."""

import functools
from collections.abc import Sequence

import xarray as xr

from kadam.chapters.contest import judges
from kadam.chapters.contest.comparisons import ADAM, TUNED
from kadam.chapters.contest.measures import intervals, lead, networks, scale
from kadam.chapters.contest.memory.config import SHORTER
from kadam.report.ledger import NOT_JUDGED, Claims, Criterion, Finding, limited
from kadam.report.statistics import holm, least_p_value, sign_flip_test

STAGED = ("4-Adam meta",)


def _ahead(dataset: xr.Dataset, *, methods: Sequence[str], over: Sequence[str], level: float) -> Finding:
    """Each of some methods against each of some others in each network, as one family of tests."""
    pairs = {f"{method} over {other}": (method, other) for method in methods for other in over}
    if least_p_value(dataset.sizes["seed"]) * len(pairs) * len(networks(dataset)) > level:
        return f"too few seeds: {dataset.sizes['seed']}", NOT_JUDGED
    leads = xr.concat([lead(dataset, TUNED, *pair) for pair in pairs.values()], xr.Variable("pair", list(pairs)))
    leads = leads.drop_vars("optimizer", errors="ignore").transpose("pair", "network", "seed")
    p = xr.DataArray(holm(sign_flip_test(leads.values)), {"pair": list(pairs), "network": networks(dataset)})
    told = intervals(leads, f"+{scale(dataset).form}")
    words = [
        f"{pair}, {name}: {told.sel(pair=pair, network=name).item()}, p {float(p.sel(pair=pair, network=name)):.2g}"
        for pair in pairs
        for name in networks(dataset)
    ]
    return f"{scale(dataset).difference}: {'; '.join(words)}", limited(p.where(leads.mean("seed") > 0, 1.0), most=level)


WHY = "asked here: is it only the memory of momentum?"
TEST = (
    "test loss, each method at its interpolated optimum: exact two-sided sign-flip test over seeds, corrected by Holm's method "
    "among all pairs and settings: p at most {level:g}, with the mean in favour of the first"
)

TESTS: Claims = {
    ("D-7p", WHY): (
        "On text, closely tuned, k-Adam meta with four stages is better than Adam with gamma 0.9, 0.7 and 0.5",
        Criterion(TEST, level=0.05),
        functools.partial(_ahead, methods=STAGED, over=(ADAM, *SHORTER)),
    ),
    ("D-7q", WHY): (
        "On text, closely tuned, Adam with a shorter memory, gamma 0.7 or 0.5, is better than with gamma 0.9",
        Criterion(TEST, level=0.05),
        functools.partial(_ahead, methods=SHORTER, over=(ADAM,)),
    ),
    ("D-7r", "checked here"): (
        "The best learning rate on text of Adam with every gamma, and of four stages, lies inside the range that was searched",
        "for every method and setting",
        judges.inside_the_grid,
    ),
}
