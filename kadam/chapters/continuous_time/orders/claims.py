"""What is claimed of orders, and how a record decides it."""

import functools
from collections.abc import Callable

import numpy as np
import xarray as xr

from kadam.chapters.continuous_time.orders.config import JUDGED
from kadam.report.ledger import Finding, Test, passes

# An order is judged over at least so many learning rates.
ENOUGH = 5


def _words(orders: xr.DataArray) -> str:
    return ", ".join(f"{case} {float(orders.sel(case=case)):.2f}" for case in orders.case.values)


TOO_FEW: Finding = (f"fewer than {ENOUGH} learning rates at this profile", "not run at this profile")


def _over_enough_rates(judge: Callable[[xr.Dataset], Finding]) -> Callable[[xr.Dataset], Finding]:
    """Judge only records in which every case that is judged has enough learning rates."""

    @functools.wraps(judge)
    def judge_or_abstain(dataset: xr.Dataset) -> Finding:
        return judge(dataset) if int(dataset.eta.sel(case=list(JUDGED)).count("rate").min()) >= ENOUGH else TOO_FEW

    return judge_or_abstain


@_over_enough_rates
def _paper_is_first_order(dataset: xr.Dataset) -> Finding:
    orders = dataset.order.sel(flow="paper", case=list(JUDGED))
    good = int((np.abs(orders - 1) <= 0.15).sum())
    return _words(orders), "partly" if good == len(JUDGED) - 1 else passes(good == len(JUDGED))


@_over_enough_rates
def _flow_is_of_second_order(dataset: xr.Dataset) -> Finding:
    orders = dataset.order.sel(flow="second", case=list(JUDGED))
    clean = abs(float(orders.sel(case="quadratic")) - 2) <= 0.15
    return _words(orders), passes(clean and bool((orders >= 1.4).all()))


@_over_enough_rates
def _flow_is_closer(dataset: xr.Dataset) -> Finding:
    at_smallest = [dataset.sel(case=case).dropna("rate", how="all").isel(rate=-1).error for case in JUDGED]
    ratios = [float(error.sel(flow="paper") / error.sel(flow="second")) for error in at_smallest]
    measured = ", ".join(f"{case} {ratio:,.0f} times" for case, ratio in zip(JUDGED, ratios, strict=True))
    return measured, passes(min(ratios) >= 10)


@_over_enough_rates
def _crowding_costs_half_an_order(dataset: xr.Dataset) -> Finding:
    crowd = dataset.sel(case="crowd", flow="second")
    error, median = float(crowd.order), float(crowd.median_order)
    return f"error {error:.2f}, median weight {median:.2f}", passes(abs(error - 1.5) <= 0.15 and abs(median - 2) <= 0.15)


def _integrator_is_silent(dataset: xr.Dataset) -> Finding:
    change = np.abs(dataset.again / dataset.error.isel(rate=0) - 1).sel(flow=["paper", "second"])
    return f"largest relative change of an error: {float(change.max()):.1e}", passes(float(change.max()) <= 0.02)


ON_THREE = "slope of log error against log eta over all learning rates, on quadratic, perceptron and transformer"

TESTS = [
    Test(
        "D-3e",
        "derived here: Continuous time, order of the paper's equation",
        "The paper's equation follows Adam to first order in the learning rate",
        f"{ON_THREE}: 1 +- 0.15; two of three: partly",
        _paper_is_first_order,
    ),
    Test(
        "D-3f",
        "derived here: Continuous time, order of the half-step flow",
        "The half-step flow follows Adam to second order",
        f"{ON_THREE}: at least 1.4, and 2 +- 0.15 on the quadratic, whose first gradients keep away from zero",
        _flow_is_of_second_order,
    ),
    Test(
        "D-3g",
        "derived here: Continuous time",
        "At the smallest learning rate the half-step flow is at least ten times closer to Adam than the paper's equation",
        "ratio of the errors on quadratic, perceptron and transformer at least 10",
        _flow_is_closer,
    ),
    Test(
        "D-3h",
        "derived here: Continuous time, what limits the order",
        "Where first gradients crowd around zero the order falls to 3/2, and the median weight keeps order 2",
        "on independent weights with first gradients evenly spaced from zero: 1.5 +- 0.15 and 2 +- 0.15",
        _crowding_costs_half_an_order,
    ),
    Test(
        "D-3i",
        "derived here: numerics",
        "The integrator's own error is negligible in these errors",
        "halving its substeps changes no error of the two flows at the largest learning rate by more than 2%",
        _integrator_is_silent,
    ),
]
