"""The figure of the orders: errors of the flows against the learning rate, their slopes in sentences and in a table."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from kadam.chapters.continuous_time.flows import FLOWS
from kadam.chapters.continuous_time.looks import LOOKS, WORDS
from kadam.report import style
from kadam.report.sentences import listed, said
from kadam.report.table import Table, table

# Cases whose median weight is shown too, and of which flow.
MEDIANS = {"transformer, default": "paper", "crowd": "second"}

TITLES = {"transformer": "transformer, beta = 0.99", "transformer, default": "transformer, beta = 0.999"}


@style.styled
def errors(record: xr.Dataset) -> style.Figure:
    """Error against learning rate for every case, both logarithmic, with lines of slope 1 and 2 (3/2 for the crowd)."""
    figure, all_axes = style.panels(2, 3, height=5.2, ylabel="error of the path")
    for axes, case in zip(all_axes.flat, record.case.values, strict=False):
        one = record.sel(case=case).dropna("rate", how="all", subset=["error"])
        slopes = {"paper": 1.0, "second": 1.5 if case == "crowd" else 2.0}
        for flow in FLOWS:
            if bool(one.error.sel(flow=flow).notnull().any()):
                axes.plot(one.eta, one.error.sel(flow=flow), "s:" if flow == "classical" else "o-", ms=3, **LOOKS[flow])
                if flow in slopes:
                    _slope_guide(axes, one.sel(flow=flow), slopes[flow])
        if case in MEDIANS:
            axes.plot(one.eta, one["median"].sel(flow=MEDIANS[case]), "o--", ms=3, color=style.CORRECTED, label="median weight")
        axes.set(yscale="log", title=TITLES.get(case, case))
        style.rate_axis(axes, list(one.eta.values))
    plt.setp(all_axes[0, :2], xlabel="")
    handles = {label: h for axes in all_axes.flat for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    all_axes[1, 2].axis("off")
    all_axes[1, 2].legend(handles.values(), handles.keys(), loc="center left")
    return figure


def _slope_guide(axes: style.Axes, one: xr.Dataset, slope: float) -> None:
    """A thin line of the given slope through the flow's error at the largest learning rate."""
    eta, middle = one.eta.values, one.sizes["rate"] // 2
    line = float(one.error[0]) * (eta / eta[0]) ** slope
    axes.plot(eta, line, lw=0.7, color=style.GUIDE, zorder=0)
    axes.annotate(f"slope {slope:g}", (eta[middle], line[middle]), xytext=(3, -9), textcoords="offset points", fontsize=7)


@said
def errors_said(record: xr.Dataset) -> str:
    """The fitted orders, how much closer the half-step flow ends, and what the median weight does."""
    fitted = [f"{_on_cases(record.order.sel(flow=flow), '.2f')} for the {WORDS[flow]}" for flow in FLOWS]
    medians = []
    for case, flow in MEDIANS.items():
        one = record.sel(case=case, flow=flow)
        local = _median_orders(one).dropna("rate").values
        medians.append(
            f"In the panel *{TITLES.get(case, case)}* the order of the {WORDS[flow]} is {float(one.order):.2f} and that of "
            f"its median weight {float(one.median_order):.2f}, from {local[0]:.2f} between the largest learning rates to "
            f"{local[-1]:.2f} between the smallest."
        )
    return (
        f"The fitted order is {'; '.join(fitted)}. At the smallest learning rate the error of the paper's equation, over that "
        f"of the half-step flow, is {_on_cases(_last_ratio(record), ',.1f')}.\n\n{' '.join(medians)}"
    )


def _last_ratio(record: xr.Dataset) -> xr.DataArray:
    """The error of the paper's equation over that of the half-step flow at the smallest learning rate of each case."""
    ratio = record.error.sel(flow="paper") / record.error.sel(flow="second")
    return ratio.isel(rate=record.eta.argmin("rate"))


def _on_cases(values: xr.DataArray, form: str) -> str:
    """A number for each case that has one."""
    known = values.dropna("case")
    return listed([f"{float(one):{form}} ({TITLES.get(str(one.case.values), str(one.case.values))})" for one in known])


def _median_orders(one: xr.Dataset) -> xr.DataArray:
    """The median weight's local orders, of one case and flow."""
    steps = one[["median", "eta"]].map(np.log).diff("rate")
    return steps["median"] / steps.eta


def order_table(record: xr.Dataset) -> Table:
    """Fitted and local orders, one case and flow a row."""
    fitted = [(case, flow, record.sel(case=case, flow=flow)) for case, flow in itertools.product(record.case.values, FLOWS)]
    rows = [(case, flow, one.order, _in_words(one.local_order)) for case, flow, one in fitted if np.isfinite(one.order)]
    for case, flow in MEDIANS.items():
        one = record.sel(case=case, flow=flow)
        rows.append((case, "median", one.median_order, _in_words(_median_orders(one))))
    return table(("case", "flow", "order", "local orders as eta falls"), rows, digits=".2f")


def _in_words(local: xr.DataArray) -> str:
    return " ".join(f"{order:.2f}" for order in local.dropna("rate").values)
