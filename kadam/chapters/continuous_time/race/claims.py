"""What is claimed of race, and how a record decides it."""

import functools
from collections.abc import Sequence

import numpy as np
import xarray as xr

from kadam.chapters.continuous_time.race.config import EDGE, SMALL
from kadam.report.ledger import Claims, Criterion, Finding, judged, limited, span


def mean_errors(dataset: xr.Dataset) -> xr.DataArray:
    """Geometric means of the errors over the seeds."""
    return np.exp(np.log(dataset.error).mean("seed", skipna=False))


def lead_of_the_half_step(dataset: xr.Dataset) -> xr.DataArray:
    """By case and cost of the half-step flow: the error of the best other flow that costs no more, over its own."""
    error, cost = mean_errors(dataset), dataset.cost.isel(seed=0)
    own, others = (one.sel(flow="second", drop=True) for one in (error, cost)), [f for f in error.flow.values if f != "second"]
    (own_error, own_cost), rows = own, []
    for j in range(error.sizes["substeps"]):
        affordable = error.sel(flow=others).where(cost.sel(flow=others) <= own_cost.isel(substeps=j))
        rows.append(affordable.min(("flow", "substeps")) / own_error.isel(substeps=j))
    along = xr.DataArray(own_cost.isel(case=0).values.astype(int), dims="gradients", name="gradients")
    return xr.concat(rows, along).assign_coords(gradients=along).transpose("case", "gradients")


def _most_accurate(dataset: xr.Dataset, *, cases: Sequence[str], above: float) -> Finding:
    leads = lead_of_the_half_step(dataset).sel(case=list(cases))
    words = ", ".join(f"{span(leads.sel(case=case), ',.1f')} on the {case}" for case in cases)
    return f"the error of the best other flow over that of the half-step flow is {words}", limited(leads, above=above)


def _nothing_follows(dataset: xr.Dataset, *, above: float) -> Finding:
    least = mean_errors(dataset).sel(case=EDGE).min("substeps")
    words = ", ".join(f"{flow} {float(least.sel(flow=flow)):.2g}" for flow in least.flow.values)
    return f"smallest error in learning rates: {words}", limited(least, above=above)


def _is_at_the_edge(dataset: xr.Dataset, *, least: float, most: float) -> Finding:
    edge, others = dataset.sharpness.sel(case=EDGE), dataset.sharpness.sel(case=list(SMALL))
    measured = f"sharpness over the threshold {span(edge, '.2g')} at the edge, {span(others, '.2g')} in the others"
    return measured, judged([bool((edge >= least).all()), bool((others <= most).all())], names=["edge", "others"])


RACE = "asked here: which continuous model is the most accurate for its cost?"
CLOSER = (
    "geometric mean over seeds of the largest distance from Adam: that of the best other flow that takes no more gradients is "
    "more than {above:g} times the half-step flow's, at every number of substeps"
)

TESTS: Claims = {
    ("D-3j", RACE): (
        "At a small learning rate the half-step flow is the most accurate flow for its cost, by a factor of ten",
        Criterion(CLOSER, above=10),
        functools.partial(_most_accurate, cases=SMALL),
    ),
    ("D-3k", RACE): (
        "At the edge of stability, too, the half-step flow is the most accurate flow for its cost",
        Criterion(CLOSER, above=1),
        functools.partial(_most_accurate, cases=(EDGE,)),
    ),
    ("D-3l", "asked here: does any smooth flow follow Adam at the edge?"): (
        "At the edge of stability no flow stays within a learning rate of Adam",
        Criterion("smallest error over the numbers of substeps above {above:g} learning rate, each flow", above=1),
        _nothing_follows,
    ),
    ("D-3m", "asked here: is the edge one?"): (
        "The path at the edge ends at the threshold of stability, the others far below it",
        Criterion(
            "preconditioned sharpness at the end over the threshold at least {least:g} in every seed at the edge, at most "
            "{most:g} in the others",
            least=0.8,
            most=0.2,
        ),
        _is_at_the_edge,
    ),
}
