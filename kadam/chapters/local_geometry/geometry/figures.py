"""The figures of chapter 9 on two-layer linear networks, each with the numbers that it shows."""

import numpy as np
import xarray as xr

from kadam.chapters.local_geometry.drawing import LOOKS, plain_ticks
from kadam.chapters.local_geometry.geometry.claims import BOTH, END, SMALLEST, at_end, law_errors
from kadam.chapters.local_geometry.geometry.config import LAWS
from kadam.chapters.local_geometry.measures import log_ratio
from kadam.chapters.local_geometry.methods import PAIR
from kadam.report import style
from kadam.report.ledger import with_range
from kadam.report.table import Table, table

STARTS = {"d^-3": (style.EXACT, "o"), "d^-2": (style.CORRECTED, "^"), "1/d": (style.FOURTH, "s")}
RATIOS = (1, 2, 5, 10, 20, 50)  # ticks
AT_END = f"R_med at {END:.0%} of the initial loss"


@style.styled
def losses(record: xr.Dataset) -> style.Figure:
    """R_med by layer and pooled, largest dimension, smallest start: against the loss reached, and against steps.

    Median over seeds; the band is Adam's and SGD's middle half.
    """
    one = record.sel(dimension=record.dimension.max(), start=SMALLEST)
    figure, all_axes = style.panels(2, record.sizes["layer"], height=5.2, sharey=True, ylabel="R_med")
    for layer, above, below in zip(record.layer.values, *all_axes, strict=True):
        for name, (colour, marker) in LOOKS.items():
            values = one.r_med.sel(optimizer=name, layer=layer).transpose("level", "seed")
            for axes, place in ((above, record.level), (below, one.step.sel(optimizer=name).median("seed"))):
                axes.plot(place, values.median("seed"), marker=marker, ms=3, color=colour, label=name)
                if name in PAIR:
                    axes.fill_between(place, *values.quantile([0.25, 0.75], "seed").values, color=colour, alpha=0.2, lw=0)
        above.set(xscale="log", yscale="log", xlabel="loss / initial loss", title=f"{layer}, d = {int(one.dimension)}")
        below.set(xlabel="steps", yscale="log")
        plain_ticks(above.xaxis, (0.9, 0.3, 0.1, 0.03, 0.01))
        above.invert_xaxis()  # as training goes
    return style.with_legend(figure, all_axes[0, 0], ncols=len(LOOKS))


def loss_table(record: xr.Dataset) -> Table:
    """R_med at half and a hundredth of the initial loss, largest dimension, smallest start, and steps: medians over seeds."""
    one = record.sel(dimension=record.dimension.max(), start=SMALLEST).median("seed")
    columns = {f"{layer}, {at:.0%}": one.r_med.sel(layer=layer, level=at) for layer in one.layer.values for at in (0.5, END)}
    columns["steps"] = one.step.sel(level=END)
    rows = [(name, *(column.sel(optimizer=name) for column in columns.values())) for name in LOOKS]
    return table((f"d = {int(one.dimension)}", *columns), rows, digits=["", *[".2f"] * (len(columns) - 1), ".0f"])


@style.styled
def dimensions(record: xr.Dataset) -> style.Figure:
    """R_med of both layers at the end against the dimension, smallest start; median and range over seeds."""
    figure, all_axes = style.panels(1, 2, height=3.6, sharey=True, ylabel=AT_END)
    for axes, layer in zip(all_axes, BOTH, strict=True):
        for i, (name, (colour, marker)) in enumerate(LOOKS.items()):
            middle, *ends = at_end(record).sel(optimizer=name, layer=layer).quantile([0.5, 0, 1], "seed").values
            place, reach = record.dimension * 1.04 ** (i - 2.5), np.abs(np.stack(ends) - middle)
            axes.errorbar(place, middle, reach, fmt=marker, ms=4, lw=0.8, color=colour, label=name)
        theory = {"color": style.MEASURED, "lw": 1, "label": "gradient descent, theory"}
        axes.plot(record.dimension, record.typical_predicted, "--", **theory)
        axes.set(xscale="log", yscale="log", xlabel="dimension d", title=layer)
        plain_ticks(axes.xaxis, record.dimension.values)
        plain_ticks(axes.yaxis, RATIOS)
    return style.with_legend(figure, all_axes[0], ncols=4)


def dimension_table(record: xr.Dataset) -> Table:
    """R_med at the end by dimension: median over seeds of both layers, and the theory's median for SGD."""
    middle = at_end(record).median("seed")
    methods = ("Adam", "SignGD", "SGD")
    columns = {f"{name}, {layer}": middle.sel(optimizer=name, layer=layer) for name in methods for layer in BOTH}
    columns["theory"] = record.typical_predicted
    rows = [(d, *(column.sel(dimension=d) for column in columns.values())) for d in record.dimension.values]
    return table(("d", *columns), rows, digits=["", *[".2f"] * (len(columns) - 1), ".1f"])


@style.styled
def laws(record: xr.Dataset) -> style.Figure:
    """SGD's R_med at the end against both laws from the initial weights: every dimension, start and seed."""
    figure, all_axes = style.panels(1, 2, height=3.6, sharex=True, sharey=True, ylabel="measured R_med, SGD")
    measured = record.r_med.sel(optimizer="SGD", level=END)
    ends = [1, 2.0 * float(measured.sel(layer=BOTH).max())]
    for axes, (law, words) in zip(all_axes, LAWS.items(), strict=True):
        for start, (colour, marker) in STARTS.items():
            for layer, fill in zip(BOTH, (colour, "none"), strict=True):
                x, y = (of.sel(start=start, layer=layer) for of in (record[f"{law}_predicted"], measured))
                look = {"s": 12, "marker": marker, "edgecolors": colour, "facecolors": fill, "lw": 0.7}
                axes.scatter(x, y, label=f"{start}, {layer}", **look)
        axes.plot(ends, ends, color=style.GUIDE, lw=0.8)
        axes.set(xscale="log", yscale="log", xlabel="predicted R_med", title=words)
        for axis in (axes.xaxis, axes.yaxis):
            plain_ticks(axis, RATIOS)
    return style.with_legend(figure, all_axes[0], ncols=3)


def law_table(record: xr.Dataset) -> Table:
    """The error of both laws by start and layer, median over seeds: mean and range over dimensions."""
    errors = {start: [law_errors(record, law, start) for law in LAWS] for start in STARTS}
    rows = [(s, layer, *(with_range(x.sel(layer=layer), ".3f") for x in both)) for s, both in errors.items() for layer in BOTH]
    return table(("start", "layer", *LAWS.values()), rows)


@style.styled
def starts(record: xr.Dataset) -> style.Figure:
    """R_med at the end against the variance of the initial weights, Adam and SGD, every dimension."""
    figure, all_axes = style.panels(1, record.sizes["layer"], height=3.4, sharey=True, ylabel=AT_END)
    dimensions = record.dimension.values
    for axes, layer in zip(all_axes, record.layer.values, strict=True):
        for name in PAIR:
            colour, marker = LOOKS[name]
            for i, d in enumerate(dimensions):
                one = record.r_med.sel(optimizer=name, level=END, dimension=d, layer=layer).median("seed")
                strength = 0.35 + 0.65 * (i + 1) / len(dimensions)
                label = f"{name}, d = {d}" if d in (dimensions[0], dimensions[-1]) else None
                axes.plot(one, marker=marker, ms=4, lw=1, color=colour, alpha=strength, label=label)
        axes.set_xticks(range(len(STARTS)), list(STARTS))
        axes.set(yscale="log", xlabel="initial variance", title=str(layer))
    return style.with_legend(figure, all_axes[0], ncols=4)


def start_table(record: xr.Dataset) -> Table:
    """log(SGD/Adam) of R_med at the end by start and layer: median over seeds, mean and range over dimensions."""
    gaps = {start: log_ratio(at_end(record, start)).median("seed") for start in STARTS}
    rows = [(start, *(with_range(gap.sel(layer=name), "+.2f") for name in gap.layer.values)) for start, gap in gaps.items()]
    return table(("start", *record.layer.values), rows)
