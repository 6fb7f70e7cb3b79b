"""The figures and tables on how fast text is learnt, from a record of one machine."""

from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from kadam.chapters.speed import drawing
from kadam.chapters.speed.drawing import STATE, TIME
from kadam.chapters.speed.measures import cases, step_over
from kadam.chapters.speed.tokens.config import FUSED
from kadam.report import style
from kadam.report.table import Table, table

# Colour and marker of the networks, in the record's order.
LINES = ((style.EXACT, "o"), (style.CORRECTED, "s"), (style.PAPER, "^"))


def medians(record: xr.Dataset) -> dict[str, Any]:
    """The numbers of the tables, by name."""
    return drawing.medians(record) | {
        "share_of_arithmetic": _arithmetic(record).to_series().to_dict(),
        "attention": record.attention.to_series().to_dict(),
        "step_over_adam": drawing.by_case(record, step_over(record)),
        "state_bytes": record.state_bytes[0].to_series().to_dict(),
    }


def _arithmetic(record: xr.Dataset) -> xr.DataArray:
    return record.share.sel(loop="ours").median("round")


def costs(record: xr.Dataset, network: str) -> dict[str, float]:
    """Time of a step over Adam's by optimizer, for the network of this name."""
    return step_over(record).sel(setting=network).to_series().to_dict()


def summary(record: xr.Dataset) -> str:
    """What a terminal shows."""
    return f"{loop_table(record)}\n\n{optimizer_table(record)}"


def loop_table(record: xr.Dataset) -> Table:
    """Both loops, where a step's time goes, the share of the machine's arithmetic and the kernel of attention."""
    kernel = record.attention.str.lower().str.replace("_", " ")
    return drawing.loop_table(record, arithmetic=_arithmetic(record), attention=kernel)


def optimizer_table(record: xr.Dataset) -> Table:
    """What each optimizer costs in time, by network, and in memory."""
    columns = (record.optimizer.values, *step_over(record).values, record.state_bytes[0].values)
    head = ("optimizer", *(f"step / Adam's: {name}" for name in cases(record)), STATE)
    return table(head, zip(*columns, strict=True), digits=("", *[".2f"] * len(cases(record)), ".1f"))


@style.styled
def cost(record: xr.Dataset) -> Figure:
    """Time of a step over Adam's against k with the strategy that was varied; crosses: torch's fused Adam."""
    figure, axes = style.panels(1, 1, height=3.0)
    over = step_over(record)
    staged = over.sel(optimizer=(record.k >= 1) & ~record.optimizer.str.endswith("meta")).sortby("k")
    for name, (colour, marker) in zip(cases(record), LINES, strict=False):
        axes.plot(staged.k, staged.sel(setting=name), f"{marker}-", color=colour, label=name)
        axes.plot(1, over.sel(setting=name, optimizer=FUSED), "x", color=colour)
    axes.plot([], [], "x", color=style.GUIDE, label="torch's fused Adam")
    axes.axhline(1, color=style.GUIDE, ls="--", lw=1)
    drawing.by_k(axes, staged.k.values, TIME, float(staged.max()))
    axes.legend()
    return figure
