"""What is claimed of orders, and how a record decides it."""

import functools
from collections.abc import Callable

import numpy as np
import xarray as xr

from kadam.chapters.continuous_time.flows import BOTH
from kadam.chapters.continuous_time.orders.config import JUDGED
from kadam.report.ledger import NOT_JUDGED, Claims, Criterion, Finding, judged, limited

# An order is judged over at least so many learning rates.
ENOUGH = 5


def _over_enough_rates(judge: Callable[..., Finding]) -> Callable[..., Finding]:
    """Judge only records in which every case that is judged has enough learning rates."""

    @functools.wraps(judge)
    def judge_or_abstain(dataset: xr.Dataset, **limits: float) -> Finding:
        enough = int(dataset.eta.sel(case=list(JUDGED)).count("rate").min()) >= ENOUGH
        too_few: Finding = (f"fewer than {ENOUGH} learning rates at this profile", NOT_JUDGED)
        return judge(dataset, **limits) if enough else too_few

    return judge_or_abstain


def _orders(dataset: xr.Dataset, flow: str) -> tuple[xr.DataArray, str]:
    """The fitted orders of the cases that are judged, and in words."""
    orders = dataset.order.sel(flow=flow, case=list(JUDGED))
    return orders, ", ".join(f"{case} {float(order):.2f}" for case, order in zip(JUDGED, orders, strict=True))


@_over_enough_rates
def _paper_is_first_order(dataset: xr.Dataset, *, order: float, most: float) -> Finding:
    orders, words = _orders(dataset, "paper")
    return words, limited(abs(orders - order), most=most)


@_over_enough_rates
def _flow_is_of_second_order(dataset: xr.Dataset, *, least: float, clean: float, most: float) -> Finding:
    orders, words = _orders(dataset, "second")
    return words, judged((orders >= least) & ((orders.case != "quadratic") | (abs(orders - clean) <= most)))


@_over_enough_rates
def _flow_is_closer(dataset: xr.Dataset, *, least: float) -> Finding:
    at_smallest = [dataset.sel(case=case).dropna("rate", how="all").isel(rate=-1).error for case in JUDGED]
    ratios = [float(error.sel(flow="paper") / error.sel(flow="second")) for error in at_smallest]
    measured = ", ".join(f"{case} {ratio:,.0f} times" for case, ratio in zip(JUDGED, ratios, strict=True))
    return measured, limited(xr.DataArray(ratios, {"case": list(JUDGED)}), least=least)


@_over_enough_rates
def _crowding_costs_half_an_order(dataset: xr.Dataset, *, whole: float, single: float, most: float) -> Finding:
    crowd = dataset.sel(case="crowd", flow="second")
    error, median = float(crowd.order), float(crowd.median_order)
    good = abs(error - whole) <= most and abs(median - single) <= most
    return f"error {error:.2f}, median weight {median:.2f}", judged(good)


def _integrator_is_silent(dataset: xr.Dataset, *, most: float) -> Finding:
    change = np.abs(dataset.again / dataset.error.isel(rate=0) - 1).sel(flow=list(BOTH))
    return f"largest relative change of an error: {float(change.max()):.1e}", limited(change, most=most, where=change.notnull())


ON_THREE = "slope of log error against log eta over all learning rates, on quadratic, perceptron and transformer"
SILENT = "halving its substeps changes no error of the two flows at the largest learning rate by more than {most:.0%}"

TESTS: Claims = {
    ("D-3e", "derived here: Continuous time, order of the paper's equation"): (
        "The paper's equation follows Adam to first order in the learning rate",
        Criterion(f"{ON_THREE}: {{order:g}} +- {{most:g}}", order=1, most=0.15),
        _paper_is_first_order,
    ),
    ("D-3f", "derived here: Continuous time, order of the half-step flow"): (
        "The half-step flow follows Adam to second order",
        Criterion(
            f"{ON_THREE}: at least {{least:g}}, and {{clean:g}} +- {{most:g}} on the quadratic, whose first gradients keep "
            "away from zero",
            least=1.4,
            clean=2,
            most=0.15,
        ),
        _flow_is_of_second_order,
    ),
    ("D-3g", "derived here: Continuous time"): (
        "At the smallest learning rate the half-step flow is at least ten times closer to Adam than the paper's equation",
        Criterion("ratio of the errors on quadratic, perceptron and transformer at least {least:g}", least=10),
        _flow_is_closer,
    ),
    ("D-3h", "derived here: Continuous time, what limits the order"): (
        "Where first gradients crowd around zero the order falls to 3/2, and the median weight keeps order 2",
        Criterion(
            "on independent weights with first gradients evenly spaced from zero: {whole:g} +- {most:g} and "
            "{single:g} +- {most:g}",
            whole=1.5,
            single=2,
            most=0.15,
        ),
        _crowding_costs_half_an_order,
    ),
    ("D-3i", "derived here: numerics"): (
        "The integrator's own error is negligible in these errors",
        Criterion(SILENT, most=0.02),
        _integrator_is_silent,
    ),
}
