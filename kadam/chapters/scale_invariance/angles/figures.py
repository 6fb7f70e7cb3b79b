"""The figure of chapter 5 on angles at a realistic decay, with the numbers that it shows."""

import re
from typing import Any

import xarray as xr

from kadam.chapters.scale_invariance.angles.claims import NEAR, late, lengths, steady
from kadam.chapters.scale_invariance.angles.config import FALLING
from kadam.report import style
from kadam.report.sentences import of_all, said, span
from kadam.report.table import Table, table

FALLS = dict(zip(FALLING, (style.ADAM, style.SECOND), strict=True))


@style.styled
def angles(record: xr.Dataset) -> style.Figure:
    """The angle over the law's: above against times to equilibrium at constant rates, below against steps as the rate falls."""
    gammas, mean = record.gamma.values, record.turn.mean("seed")
    figure, (above, below) = style.panels(2, len(gammas), height=5.0, sharey=True, ylabel="angle / law", squeeze=False)
    rates = steady(mean).way.values
    for one, two, gamma in zip(above, below, gammas, strict=True):
        for way, colour in zip(rates, style.shades(len(rates)), strict=True):
            _lines(one, record.window / record.time.sel(way=way, gamma=gamma), mean.sel(way=way, gamma=gamma), colour, way)
        for way, colour in FALLS.items():
            _lines(two, record.window, mean.sel(way=way, gamma=gamma), colour, way)
        one.set(yscale="log", title=rf"$\gamma = {gamma:g}$", xlabel=r"steps $\cdot\, 2\eta\lambda$")
        two.set(yscale="log", xlabel="steps")
        for axes in (one, two):
            axes.axhspan(1 / (1 + NEAR), 1 + NEAR, color=style.GUIDE, alpha=0.25, lw=0)
            axes.set_yticks([0.2, 0.5, 1, 2], ["0.2", "0.5", "1", "2"])
            axes.set_yticks([], minor=True)
    handles = [*above[0].get_legend_handles_labels()[0], *below[0].get_legend_handles_labels()[0]]
    figure.legend(handles, [str(line.get_label()) for line in handles], loc="outside upper center", ncols=5)
    return figure


def _lines(axes: style.Axes, x: xr.DataArray, y: xr.DataArray, colour: Any, label: str) -> None:
    """A line a weight."""
    for i, weight in enumerate(y.weight.values):
        name = re.sub(r"eta = (\S+)", r"$\\eta = \1$", label) if i == 0 else None
        axes.plot(x, y.sel(weight=weight), color=colour, lw=0.8, label=name)


@said
def angles_said(record: xr.Dataset) -> str:
    """How near each rate comes to the law and when, and what a falling rate does under AdamW and AdamC."""
    found, times = late(record), lengths(record).mean("gamma")
    near = abs(found - 1) <= NEAR
    told = "; ".join(
        f"of {float(times.sel(way=way)):.1f} in {of_all(near.sel(way=way), 'cases')}, {span(found.sel(way=way), '.2f')} of it"
        for way in steady(found).way.values
    )
    falling = late(record, 0.1)
    adamw, adamc = (span(falling.sel(way=way), ".2f") for way in FALLING)
    return (
        f"In the last quarter of a run the angle is within {NEAR:.0%} of the law's, by the length of the run in times to "
        f"equilibrium: {told}. With a falling rate it ends at {adamw} of the law's under AdamW, at {adamc} under AdamC."
    )


def angle_table(record: xr.Dataset) -> Table:
    """The angle over the law's late in a run, by weight and way: range over gamma."""
    found = late(record)
    rows = [(w, *(span(found.sel(weight=w, way=way), ".2f") for way in found.way.values)) for w in found.weight.values]
    return table(("weight", *found.way.values), rows)
