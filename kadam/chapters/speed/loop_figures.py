"""What the figures and tables on the speed of training share, from a record of one machine.

A record has ``rate`` by loop and round, ``part_s`` by part and round, both by the cases that are their first dimension, and
``step_s`` by optimizer and round.
"""

from collections.abc import Iterable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kadam.report import style

PARTS = {"data": style.FIFTH, "forward": style.EXACT, "backward": style.PAPER, "optimizer": style.CORRECTED}

TIME = "time of a step / Adam's"


def cases(record: xr.Dataset) -> list[str]:
    """What is measured side by side: precisions, or networks."""
    return [str(name) for name in record[record.rate.dims[0]].values]


def of_case(values: xr.DataArray, name: str) -> xr.DataArray:
    """Those of one case."""
    return values.sel({values.dims[0]: name})


def rates(record: xr.Dataset) -> dict[str, float]:
    """Median rate by case and loop: "float32, ours"."""
    rate = record.rate.median("round")
    return {f"{name}, {loop}": float(of_case(rate, name).sel(loop=loop)) for name in cases(record) for loop in rate.loop.values}


def ratios(record: xr.Dataset) -> dict[str, float]:
    """Our rate over the plain loop's by case, median of the rounds' ratios."""
    ratio = (record.rate.sel(loop="ours") / record.rate.sel(loop="plain")).median("round")
    return {name: float(of_case(ratio, name)) for name in cases(record)}


def shares(record: xr.Dataset, name: str) -> dict[str, float]:
    """Every part's share of a step, in one case."""
    parts = of_case(record.part_s, name).median("round")
    return {part: float(parts.sel(part=part) / parts.sum()) for part in PARTS}


def costs(record: xr.Dataset) -> xr.DataArray:
    """Time of a step over Adam's, by optimizer."""
    return (record.step_s / record.step_s.sel(optimizer="Adam")).median("round")


@style.styled
def split(record: xr.Dataset) -> Figure:
    """Shares of a step's time, a bar a case."""
    names = cases(record)
    figure, axes = style.panels(1, 1, height=1.5 + 0.2 * len(names))
    left = np.zeros(len(names))
    for part, colour in PARTS.items():
        width = np.array([100 * shares(record, name)[part] for name in names])
        axes.barh(names, width, left=left, color=colour, label=part, height=0.6)
        left += width
    axes.set(xlabel="share of a training step (%)", xlim=(0, 100))
    figure.legend(loc="outside upper center", ncols=len(PARTS))
    style.label_stand_in(figure, record)
    return figure


def by_k(axes: Axes, ks: Iterable[int], label: str, largest: float) -> None:
    """Axes of something that depends on k, from 0 to a little above the largest."""
    axes.set(xlabel="k", ylabel=label, ylim=(0, 1.1 * largest), xticks=sorted({int(k) for k in ks}))
