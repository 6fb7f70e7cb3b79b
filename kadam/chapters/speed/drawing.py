"""What the figures and tables on how fast networks train share, from a record of one machine."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kadam.chapters.speed.measures import cases, over_plain, shares
from kadam.chapters.speed.names import LOOPS, PARTS
from kadam.report import style
from kadam.report.table import Table, table

COLOURS = dict(zip(PARTS, (style.FIFTH, style.EXACT, style.PAPER, style.CORRECTED), strict=True))

TIME, STATE = "time of a step / Adam's", "bytes of state / of weights"


def medians(record: xr.Dataset) -> dict[str, Any]:
    """The numbers of both loops and of the parts of a step, by case."""
    return {
        record.rate.attrs["units"].replace(" ", "_"): by_case(record, record.rate.median("round")),
        "ours_over_plain": over_plain(record).to_series().to_dict(),
        "shares": by_case(record, shares(record)),
    }


def by_case(record: xr.Dataset, values: xr.DataArray) -> dict[str, dict[str, float]]:
    """Values whose first dimension is the case, by case and label of the other one."""
    return {name: one.to_series().to_dict() for name, one in zip(cases(record), values, strict=True)}


def loop_table(record: xr.Dataset, **more: xr.DataArray) -> Table:
    """Both loops, their ratio and the parts of a step, a case a row; ``more``: shares or words by case."""
    rates, units = record.rate.median("round").values, record.rate.attrs["units"]
    columns = (cases(record), rates, over_plain(record).values, shares(record).values, *(x.values for x in more.values()))
    rows = [(name, *rate, ratio, *parts, *rest) for name, rate, ratio, parts, *rest in zip(*columns, strict=True)]
    head = (record.rate.dims[0], *(f"{loop}, {units}" for loop in LOOPS), "ours / plain", *PARTS, *more)
    return table(head, rows, digits=("", ",.0f", ",.0f", ".2f", *[".0%"] * (len(PARTS) + len(more))))


@style.styled
def split(record: xr.Dataset) -> Figure:
    """Shares of a step's time, a bar a case."""
    names, widths = cases(record), 100 * shares(record)
    figure, axes = style.panels(1, 1, height=1.5 + 0.2 * len(names))
    left = np.zeros(len(names))
    for part, colour in COLOURS.items():
        width = widths.sel(part=part).values
        axes.barh(names, width, left=left, color=colour, label=part, height=0.6)
        left += width
    axes.set(xlabel="share of a training step (%)", xlim=(0, 100))
    figure.legend(loc="outside upper center", ncols=len(PARTS))
    return figure


def by_k(axes: Axes, ks: Iterable[int], label: str, largest: float) -> None:
    """Axes of something that depends on k, from 0 to a little above the largest."""
    axes.set(xlabel="k", ylabel=label, ylim=(0, 1.1 * largest), xticks=sorted({int(k) for k in ks}))
