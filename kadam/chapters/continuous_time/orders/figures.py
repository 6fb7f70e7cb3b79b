"""The figure of the orders: errors of the flows against the learning rate, their slopes in sentences and in a table."""

import itertools
import json

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from kadam.chapters.continuous_time.flows import BOTH, FLOWS
from kadam.chapters.continuous_time.looks import LOOKS
from kadam.report import style
from kadam.report.sentences import listed, said, span
from kadam.report.table import Table, table

# Cases whose median weight is shown too, and of which flow.
MEDIANS = {"transformer, default": "paper", "crowd": "second"}

TITLES = {"transformer": r"transformer, $\beta = 0.99$", "transformer, default": r"transformer, $\beta = 0.999$"}


@style.styled
def errors(record: xr.Dataset) -> style.Figure:
    """Error against learning rate for every case, both logarithmic, with lines of slope 1 and 2 (3/2 for the crowd)."""
    figure, all_axes = style.panels(2, 3, height=5.2, ylabel="error of the path")
    for axes, case in zip(all_axes.flat, record.case.values, strict=False):
        one = record.sel(case=case).dropna("rate", how="all", subset=["error"])
        slopes = {"paper": 1.0, "second": 1.5 if case == "crowd" else 2.0}
        for flow in FLOWS:
            if bool(one.error.sel(flow=flow).notnull().any()):
                axes.plot(one.eta, one.error.sel(flow=flow), marker="s" if flow == "classical" else "o", ms=3, **LOOKS[flow])
                if flow in slopes:
                    _slope_guide(axes, one.sel(flow=flow), slopes[flow])
        if case in MEDIANS:
            axes.plot(one.eta, one["median"].sel(flow=MEDIANS[case]), "^-.", ms=3, color=style.CORRECTED, label="median weight")
        axes.set(yscale="log", title=TITLES.get(case, case))
        drawn = listed(f"{slope:g}" for flow, slope in slopes.items() if one.error.sel(flow=flow).notnull().any())
        axes.annotate(f"thin: slope {drawn}", (0.98, 0.03), xycoords="axes fraction", fontsize=7, ha="right")
        style.rate_axis(axes, list(one.eta.values))
    plt.setp(all_axes[0, :2], xlabel="")
    handles = {label: h for axes in all_axes.flat for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    all_axes[1, 2].axis("off")
    all_axes[1, 2].legend(handles.values(), handles.keys(), loc="center left")
    return figure


def _slope_guide(axes: style.Axes, one: xr.Dataset, slope: float) -> None:
    """A thin line of the given slope through the flow's error at the largest learning rate."""
    eta = one.eta.values
    line = float(one.error[0]) * (eta / eta[0]) ** slope
    axes.plot(eta, line, lw=0.7, color=style.GUIDE, zorder=0)


@said
def errors_said(record: xr.Dataset) -> str:
    """The fitted orders, how much closer the half-step flow ends, and the median weight where first gradients crowd."""
    paper, second = (record.sel(flow=flow) for flow in BOTH)
    ratio, crowd = (paper.error / second.error).isel(rate=record.eta.argmin("rate")), second.sel(case="crowd")
    config = json.loads(record.attrs["config"])
    return (
        f"Every path covers a time of {config['time']:g}, those of the transformer {config['small_time']:g}. The fitted order "
        f"is {span(paper.order, '.2f')} for the paper's equation and {span(second.order, '.2f')} for the half-step flow. At "
        f"the smallest learning rate the error of the first is {span(ratio, ',.0f')} times that of the second. In the panel "
        f"*crowd* the order of the half-step flow is {float(crowd.order):.2f} and that of its median weight "
        f"{float(crowd.median_order):.2f}."
    )


def order_table(record: xr.Dataset) -> Table:
    """Fitted and local orders, one case and flow a row."""
    fitted = [(case, flow, record.sel(case=case, flow=flow)) for case, flow in itertools.product(record.case.values, FLOWS)]
    rows = [(case, flow, one.order, _in_words(one.local_order)) for case, flow, one in fitted if np.isfinite(one.order)]
    for case, flow in MEDIANS.items():
        one = record[["median", "eta"]].sel(case=case, flow=flow).map(np.log).diff("rate")
        rows.append((case, "median", record.median_order.sel(case=case, flow=flow), _in_words(one["median"] / one.eta)))
    return table(("case", "flow", "order", "local orders as eta falls"), rows, digits=".2f")


def _in_words(local: xr.DataArray) -> str:
    return " ".join(f"{order:.2f}" for order in local.dropna("rate").values)
