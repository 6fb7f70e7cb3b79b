"""The figure of the orders: errors of the flows against the learning rate, and the table of their slopes."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kadam.report import style

# Colour, line and words of each flow.
FLOWS = {
    "paper": (style.PAPER, "o-", "paper's equation"),
    "classical": (style.GUIDE, "s:", "classical limit"),
    "second": (style.EXACT, "o-", "half-step flow"),
}

# Cases whose median weight is drawn too, and of which flow.
MEDIANS = {"transformer, default": "paper", "crowd": "second"}


@style.styled
def errors(record: xr.Dataset) -> Figure:
    """Error against learning rate for every case, both logarithmic, with lines of slope 1 and 2 (3/2 for the crowd)."""
    figure, all_axes = style.panels(2, 3, height=5.2)
    for axes, case in zip(all_axes.flat, record.case.values, strict=False):
        one = record.sel(case=case).dropna("rate", how="all", subset=["error"])
        for flow, (colour, line, label) in FLOWS.items():
            if bool(one.error.sel(flow=flow).notnull().any()):
                axes.plot(one.eta, one.error.sel(flow=flow), line, ms=3, color=colour, label=label)
        _slope_guide(axes, one, "paper", 1)
        if bool(one.error.sel(flow="second").notnull().any()):
            _slope_guide(axes, one, "second", 1.5 if case == "crowd" else 2)
        if case in MEDIANS:
            axes.plot(one.eta, one["median"].sel(flow=MEDIANS[case]), "o--", ms=3, color=style.CORRECTED, label="median weight")
        axes.set(yscale="log", title=_title(str(case)))
        style.rate_axis(axes, list(one.eta.values))
    _finish(figure, all_axes)
    return figure


def _title(case: str) -> str:
    return {"transformer": "transformer, beta = 0.99", "transformer, default": "transformer, beta = 0.999"}.get(case, case)


def _slope_guide(axes: Axes, one: xr.Dataset, flow: str, slope: float) -> None:
    """A thin line of the given slope through the flow's error at the largest learning rate."""
    eta = one.eta.values
    line = float(one.error.sel(flow=flow)[0]) * (eta / eta[0]) ** slope
    axes.plot(eta, line, lw=0.7, color=style.GUIDE, zorder=0)
    middle = len(eta) // 2
    axes.annotate(f"slope {slope:g}", (eta[middle], line[middle]), xytext=(3, -9), textcoords="offset points", fontsize=7)


def _finish(figure: Figure, all_axes: np.ndarray) -> None:
    for axes in all_axes[:, 0]:
        axes.set_ylabel("error of the path")
    for axes in all_axes[0, :2]:
        axes.set_xlabel("")
    handles = {label: h for axes in all_axes.flat for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    all_axes[1, 2].axis("off")
    all_axes[1, 2].legend(handles.values(), handles.keys(), loc="center left")


def table(record: xr.Dataset) -> str:
    """Fitted and local orders, one case and flow a line."""
    head = f"{'case':<21}{'flow':<11}{'order':>6}  local orders as eta falls"
    lines = [head]
    for case in record.case.values:
        for flow in FLOWS:
            one = record.sel(case=case, flow=flow)
            if np.isfinite(one.order):
                local = one.local_order.dropna("rate").values
                lines.append(f"{case:<21}{flow:<11}{float(one.order):>6.2f}  " + " ".join(f"{x:.2f}" for x in local))
    for case, flow in MEDIANS.items():
        one = record.sel(case=case, flow=flow)
        local = np.diff(np.log(one["median"].dropna("rate"))) / np.diff(np.log(one.eta.dropna("rate")))
        lines.append(f"{case:<21}{'median':<11}{float(one.median_order):>6.2f}  " + " ".join(f"{x:.2f}" for x in local))
    return "\n".join(lines)
