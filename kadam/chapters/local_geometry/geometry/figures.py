"""The figures of chapter 9 on two-layer linear networks, each with the numbers that it shows."""

import numpy as np
import xarray as xr

from kadam.chapters.local_geometry.drawing import LOOKS, plain_ticks
from kadam.chapters.local_geometry.geometry.claims import BOTH, END, LARGEST, LAW_WITHIN, SMALLEST, at_end, law_errors
from kadam.chapters.local_geometry.geometry.config import LAWS
from kadam.chapters.local_geometry.measures import log_ratio
from kadam.chapters.local_geometry.methods import FAMILY, PAIR
from kadam.report import style
from kadam.report.ledger import with_range
from kadam.report.sentences import listed, of_all, said, span
from kadam.report.table import Table, table

STARTS = dict(zip(("d^-3", "d^-2", "1/d"), zip(style.shades(3), "o^s", strict=True), strict=True))
IN_SIGNS = {"d^-3": "$d^{-3}$", "d^-2": "$d^{-2}$", "1/d": "$1/d$"}
RATIOS = (1, 2, 5, 10, 20, 50)  # ticks
R_MED = style.R_MED
AT_END = f"{R_MED} at {END:.0%} of the initial loss"


@style.styled
def losses(record: xr.Dataset) -> style.Figure:
    """R_med by layer and pooled, largest dimension, smallest start: against the loss reached, and against steps.

    Median over seeds; the band is Adam's and SGD's middle half.
    """
    one = record.sel(dimension=record.dimension.max(), start=SMALLEST)
    figure, all_axes = style.panels(2, record.sizes["layer"], height=5.2, sharey=True, ylabel=R_MED)
    for layer, above, below in zip(record.layer.values, *all_axes, strict=True):
        for name, (colour, marker) in LOOKS.items():
            values = one.r_med.sel(optimizer=name, layer=layer).transpose("level", "seed")
            for axes, place in ((above, record.level), (below, one.step.sel(optimizer=name).median("seed"))):
                axes.plot(place, values.median("seed"), marker=marker, ms=3, color=colour, label=name)
                if name in PAIR:
                    axes.fill_between(place, *values.quantile([0.25, 0.75], "seed").values, color=colour, alpha=0.2, lw=0)
        above.set(xscale="log", yscale="log", xlabel="loss / initial loss", title=f"{layer}, $d = {int(one.dimension)}$")
        below.set(xlabel="steps", yscale="log")
        plain_ticks(above.xaxis, (0.9, 0.3, 0.1, 0.03, 0.01))
        above.invert_xaxis()  # as training goes
    return style.with_legend(figure, all_axes[0, 0], ncols=len(LOOKS))


@said
def losses_said(record: xr.Dataset) -> str:
    """R_med at the end, of single layers and pooled, and at how many losses SGD's is the larger or the smaller."""
    one = record.r_med.sel(dimension=record.dimension.max(), start=SMALLEST).median("seed")
    sgd, family = one.sel(optimizer="SGD"), one.sel(optimizer=list(FAMILY))
    ends = [span(of.sel(level=END, layer=layers), ".3g") for layers in (BOTH, "pooled") for of in (sgd, family)]
    above, under = (sgd > family).all("optimizer").sel(layer=BOTH), (sgd < family).all("optimizer").sel(layer="pooled")
    return (
        f"At {END:.0%} of the initial loss {R_MED} of a layer is {ends[0]} with SGD and {ends[1]} with Adam's family; of both "
        f"pooled it is {ends[2]} and {ends[3]}. SGD's is above the whole family in {of_all(above, 'layers and losses')}, and "
        f"with both pooled below all of it at {of_all(under, 'losses')}."
    )


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
        axes.set(xscale="log", yscale="log", xlabel="dimension $d$", title=layer)
        plain_ticks(axes.xaxis, record.dimension.values)
        plain_ticks(axes.yaxis, RATIOS)
    return style.with_legend(figure, all_axes[0], ncols=4)


@said
def dimensions_said(record: xr.Dataset) -> str:
    """SGD beside its theory and the Adam family, at the smallest and the largest dimension."""
    ends = at_end(record).sel(layer=BOTH).median("seed").isel(dimension=[0, -1])
    (few, many), theory = ends.dimension.values, [f"{x:.3g}" for x in record.typical_predicted.sel(dimension=ends.dimension)]
    sgd, family = ([span(ends.sel(optimizer=of, dimension=d), ".3g") for d in (few, many)] for of in ("SGD", list(FAMILY)))
    return (
        f"SGD's {R_MED} of a layer is {sgd[0]} in {few} dimensions, where the theory says {theory[0]}, and {sgd[1]} in {many}, "
        f"where it says {theory[1]}. The Adam family's is {family[0]} and {family[1]}."
    )


@style.styled
def laws(record: xr.Dataset) -> style.Figure:
    """SGD's R_med at the end against both laws from the initial weights: every dimension, start and seed."""
    figure, all_axes = style.panels(1, 2, height=3.6, sharex=True, sharey=True, ylabel=f"measured {R_MED}, SGD")
    measured = record.r_med.sel(optimizer="SGD", level=END)
    ends = [1, 2.0 * float(measured.sel(layer=BOTH).max())]
    for axes, (law, words) in zip(all_axes, LAWS.items(), strict=True):
        for start, (colour, marker) in STARTS.items():
            for layer, filled in zip(BOTH, (True, False), strict=True):
                x, y = (of.sel(start=start, layer=layer) for of in (record[f"{law}_predicted"], measured))
                look = {
                    "s": 12,
                    "marker": marker,
                    "edgecolors": [colour],
                    "facecolors": [colour] if filled else "none",
                    "lw": 0.7,
                }
                axes.scatter(x, y, label=f"{IN_SIGNS[start]}, {layer}", **look)
        axes.plot(ends, ends, color=style.GUIDE, lw=0.8)
        axes.set(xscale="log", yscale="log", xlabel=f"predicted {R_MED}", title=words)
        for axis in (axes.xaxis, axes.yaxis):
            plain_ticks(axis, RATIOS)
    return style.with_legend(figure, all_axes[0], ncols=3)


@said
def laws_said(record: xr.Dataset) -> str:
    """In how many dimensions and layers each law holds, from the smallest and from the largest start."""
    told = []
    for law, words in LAWS.items():
        errors = {start: law_errors(record, law, start).sel(layer=BOTH) for start in (SMALLEST, LARGEST)}
        held = listed([f"{of_all(error <= LAW_WITHIN, 'cases')} from {IN_SIGNS[of]}" for of, error in errors.items()])
        told.append(f"The law *{words}* is at most {LAW_WITHIN:g} off in {held}.")
    return " ".join(told)


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
                label = f"{name}, $d = {d}$" if d in (dimensions[0], dimensions[-1]) else None
                axes.plot(one, marker=marker, ms=4, lw=1, color=colour, alpha=strength, label=label)
        axes.set_xticks(range(len(STARTS)), list(IN_SIGNS.values()))
        axes.set(yscale="log", xlabel="initial variance", title=str(layer))
    return style.with_legend(figure, all_axes[0], ncols=4)


@said
def starts_said(record: xr.Dataset) -> str:
    """SGD's R_med over Adam's at the end, of single layers and pooled, from the smallest and from the largest start."""
    told = []
    for start in (SMALLEST, LARGEST):
        gap = log_ratio(at_end(record, start)).median("seed")
        single, pooled = (span(np.exp(gap.sel(layer=layers))) for layers in (BOTH, "pooled"))
        ends = f"{R_MED} ends at {single} times Adam's in a layer, and at {pooled} times it with both pooled"
        told.append(f"From {IN_SIGNS[start]} SGD's {ends}.")
    return " ".join(told)
