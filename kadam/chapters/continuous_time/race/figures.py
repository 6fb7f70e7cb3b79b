"""The figure of the race: error against cost, a line a flow with its name at its end; and the same in a table."""

import numpy as np
import xarray as xr

from kadam.chapters.continuous_time.looks import LOOKS, WORDS
from kadam.chapters.continuous_time.race.claims import lead_of_the_half_step, mean_errors
from kadam.chapters.continuous_time.race.config import CASES, EDGE, SMALL
from kadam.report import style
from kadam.report.sentences import said, span, written
from kadam.report.table import Table, table

TITLES = {"network": "small learning rate", EDGE: "edge of stability"}


@style.styled
def race(record: xr.Dataset) -> style.Figure:
    """Error against gradients a step, both logarithmic, on the network at both learning rates."""
    figure, both = style.panels(1, 2, height=3.4, ylabel="largest distance from Adam\n(learning rates)", sharey=True)
    errors = mean_errors(record)
    for axes, (case, title) in zip(both, TITLES.items(), strict=True):
        one = errors.sel(case=case)
        cost = record.cost.sel(case=case).isel(seed=0)
        for flow in one.flow.values:
            axes.plot(cost.sel(flow=flow), one.sel(flow=flow), marker="o", ms=4, **LOOKS[flow])
        eta = float(record.eta.sel(case=case).isel(seed=0))
        axes.axhline(1, lw=0.8, ls=":", color=style.GUIDE)
        axes.set(xscale="log", yscale="log", xlabel="gradients a step of Adam", title=f"{title}, {eta:g}")
        ticks = np.unique(cost.values).astype(int)
        axes.set_xticks(ticks, ticks)
        axes.set_xticks([], minor=True)
        axes.set_xlim(ticks[0] / 1.2, ticks[-1] * 6)
    for axes in both:
        style.name_lines(axes)
    both[0].annotate("one learning rate", (record.cost.min(), 1), xytext=(0, 3), textcoords="offset points", fontsize=7)
    return figure


@said
def race_said(record: xr.Dataset) -> str:
    """How far each flow is from Adam at most, at both learning rates, and by how much the half-step flow leads."""
    errors, leads = mean_errors(record).isel(substeps=-1), lead_of_the_half_step(record)
    told = {
        case: ", ".join(f"{written(float(errors.sel(case=case, flow=f)), '.2g')} ({WORDS[f]})" for f in errors.flow.values)
        for case in TITLES
    }
    return (
        f"With the most substeps the largest distance of a weight from Adam, in learning rates, is {told['network']} at the "
        f"small learning rate and {told[EDGE]} at the edge of stability, where Adam's weights go up to "
        f"{span(record.went.sel(case=EDGE), '.0f')} learning rates. At equal cost the best other flow errs "
        f"{span(leads.sel(case=list(SMALL)), '.2g')} times as much as the half-step flow at the small learning rate, and "
        f"{span(leads.sel(case=EDGE), '.2g')} times at the edge."
    )


def race_table(record: xr.Dataset) -> Table:
    """Error in learning rates by flow and gradients a step, a column a case."""
    errors, costs = mean_errors(record), record.cost.isel(seed=0)
    rows = [
        (WORDS[flow], str(int(costs.sel(flow=flow, substeps=n).isel(case=0))), *errors.sel(flow=flow, substeps=n).values)
        for flow in errors.flow.values
        for n in errors.substeps.values
    ]
    return table(("flow", "gradients a step", *CASES), rows, digits=".2g")
