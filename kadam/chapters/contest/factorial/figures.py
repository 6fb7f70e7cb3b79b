"""The figure of pairs of betas, each at its own best rate, with what it shows in words, and tables of the numbers."""

from typing import Any

import xarray as xr

from kadam.chapters.contest.factorial import claims
from kadam.chapters.contest.factorial.claims import long_runs
from kadam.chapters.contest.maps import draw_map, draw_shares, grid, order_in_words, pair_of, share_table
from kadam.chapters.contest.pairs import losses
from kadam.report import style
from kadam.report.sentences import said
from kadam.report.statistics import ranks_last
from kadam.report.table import Table, table

__all__ = ["factorial", "factorial_said", "pair_table", "share_table"]


@style.styled
def factorial(record: xr.Dataset) -> style.Figure:
    """The loss of every pair at its own rate, what orders it, and how ranks change from short runs to long ones."""
    figure, (left, middle, right) = style.panels(1, 3, height=3.1, width_ratios=(1.5, 0.8, 1.2))
    draw_map(left, grid(record))
    draw_shares(middle, record)
    _ranks(right, record)
    return figure


def _ranks(axes: style.Axes, record: xr.Dataset) -> None:
    """A line a pair from its place in short runs to its place in long ones; the lowest loss is on top."""
    early, late = _places(record)
    for name, first, last in zip(early.optimizer.values, early.values, late.values, strict=True):
        colour = style.ADAM if name == "Adam" else style.GUIDE
        axes.plot([0, 1], [first, last], color=colour, marker="o", ms=4)
        beside: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "annotation_clip": False}
        axes.annotate(pair_of(record, name), (1, last), fontsize=7, **beside)
    steps = [f"{record.attrs[name]:,}\nsteps" for name in ("steps", "long_steps")]
    axes.set_xticks([0, 1], steps)
    axes.set(xlim=(-0.1, 1.1), ylabel="place", title=r"does it last? $\gamma$, $\beta$")
    axes.set_yticks(range(1, len(early) + 1))
    axes.invert_yaxis()


def _places(record: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Places of the pairs that run long, the lowest mean loss first: in short runs and in long ones."""
    late = losses(long_runs(record)).mean("seed")
    early = losses(record).mean("seed").sel(optimizer=late.optimizer.values)
    return early.copy(data=ranks_last(early.values)), late.copy(data=ranks_last(late.values))


@said
def factorial_said(record: xr.Dataset) -> str:
    """Which pairs are first and last, what orders them, and whether long runs rank them alike."""
    early, late = (one.idxmin("optimizer").item() for one in _places(record))
    change = "still first" if early == late else f"then ${pair_of(record, late)}$"
    return (
        f"{order_in_words(record)} Kendall's tau between short and long runs is {claims.agreement_of_means(record):.2f}; of "
        f"those that run long ${pair_of(record, early)}$ is first, {change}."
    )


def pair_table(record: xr.Dataset) -> Table:
    """The pairs that run long: their loss and best rate in short runs and in long ones."""
    late, rows = long_runs(record), []
    for name in late.optimizer.values:
        of = [one.sel(optimizer=name) for one in (record, late)]
        found = [f"{float(losses(one).sel(optimizer=name).mean()):.3f}" for one in (record, late)]
        rows.append((pair_of(record, name), *found, *(f"{float(one.peak_rate.squeeze()):.2g}" for one in of)))
    steps = [f"{record.attrs[name]:,} steps" for name in ("steps", "long_steps")]
    return table(("gamma, beta", *(f"loss, {n}" for n in steps), *(f"best rate, {n}" for n in steps)), rows)
