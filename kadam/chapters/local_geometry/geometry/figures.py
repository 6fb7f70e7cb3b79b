"""The figures of chapter 9 on two-layer linear networks, each with the numbers that it shows."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kadam.report import style
from kadam.report.ledger import with_range

METHODS = {
    "Adam": (style.EXACT, "o"),
    "2-Adam": (style.CORRECTED, "^"),
    "4-Adam": (style.SECOND, "v"),
    "RMSprop": (style.FOURTH, "D"),
    "SignGD": (style.FIFTH, "P"),
    "SGD": (style.PAPER, "s"),
}
STARTS = {"d^-3": (style.EXACT, "o"), "d^-2": (style.CORRECTED, "^"), "1/d": (style.FOURTH, "s")}
LAWS = {"small_start": "vanishing start", "from_start": "with shrinking part and rest"}
SMALLEST = "d^-3"


@style.styled
def losses(record: xr.Dataset) -> Figure:
    """R_med by layer and pooled, largest dimension, smallest start: against the loss reached, and against steps.

    Median over seeds; the band is Adam's and SGD's middle half.
    """
    d = int(record.dimension.max())
    figure, all_axes = style.panels(2, record.sizes["layer"], height=5.2, sharey=True)
    for layer, above, below in zip(record.layer.values, *all_axes, strict=True):
        one = record.sel(dimension=d, start=SMALLEST)
        for name, (colour, marker) in METHODS.items():
            values = one.r_med.sel(optimizer=name, layer=layer).transpose("level", "seed")
            for axes, place in ((above, record.level), (below, one.step.sel(optimizer=name).median("seed"))):
                axes.plot(place, values.median("seed"), marker=marker, ms=3, color=colour, label=name)
                if name in ("Adam", "SGD"):
                    axes.fill_between(place, *values.quantile([0.25, 0.75], "seed").values, color=colour, alpha=0.2, lw=0)
        above.set(xscale="log", yscale="log", xlabel="loss / initial loss", title=f"{layer}, d = {d}")
        below.set(xlabel="steps", yscale="log")
        _shares(above)
    for axes in all_axes[:, 0]:
        axes.set_ylabel("R_med")
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(METHODS))
    return figure


def _shares(axes: Axes) -> None:
    """A logarithmic axis of loss shares that falls from left to right, as training goes."""
    axes.set_xticks([0.9, 0.3, 0.1, 0.03, 0.01], ["0.9", "0.3", "0.1", "0.03", "0.01"])
    axes.set_xticks([], minor=True)
    axes.invert_xaxis()


def loss_table(record: xr.Dataset) -> str:
    """R_med at half and a hundredth of the initial loss, largest dimension, smallest start, and steps: medians over seeds."""
    d = int(record.dimension.max())
    one = record.sel(dimension=d, start=SMALLEST).median("seed")
    heads = "".join(f"{layer:>12}: 50%{'1%':>6}"[-20:].rjust(20) for layer in record.layer.values)
    lines = [f"d = {d:<5}{heads}{'steps':>7}"]
    for name in METHODS:
        cells = ""
        for layer in record.layer.values:
            half, end = (float(one.r_med.sel(optimizer=name, layer=layer, level=level)) for level in (0.5, 0.01))
            cells += f"{half:>13.2f}{end:>7.2f}"
        lines.append(f"{name:<9}{cells}{float(one.step.sel(optimizer=name, level=0.01)):>7.0f}")
    return "\n".join(lines)


@style.styled
def dimensions(record: xr.Dataset) -> Figure:
    """R_med of both layers at 1% of the initial loss against the dimension, smallest start; median and range over seeds."""
    figure, all_axes = style.panels(1, 2, height=3.6, sharey=True)
    for axes, layer in zip(all_axes, ("layer 1", "layer 2"), strict=True):
        one = record.r_med.sel(start=SMALLEST, layer=layer, level=0.01)
        for i, (name, (colour, marker)) in enumerate(METHODS.items()):
            values = one.sel(optimizer=name)
            middle = values.median("seed")
            reach = np.abs(np.stack([middle - values.min("seed"), values.max("seed") - middle]))
            place = record.dimension * 1.04 ** (i - 2.5)
            axes.errorbar(place, middle, reach, fmt=marker, ms=4, lw=0.8, color=colour, label=name)
        axes.plot(
            record.dimension, record.typical_predicted, "--", color=style.MEASURED, lw=1, label="gradient descent, theory"
        )
        axes.set(xscale="log", yscale="log", xlabel="dimension d", title=layer)
        axes.set_xticks(record.dimension.values, [str(d) for d in record.dimension.values])
        axes.set_xticks([], minor=True)
        axes.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
        axes.set_yticks([], minor=True)
    all_axes[0].set_ylabel("R_med at 1% of the initial loss")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def dimension_table(record: xr.Dataset) -> str:
    """R_med at 1% of the initial loss by dimension: median over seeds of both layers, and the theory's median for SGD."""
    one = record.r_med.sel(start=SMALLEST, level=0.01).median("seed")
    names = ("Adam", "SignGD", "SGD")
    head = "".join(f"{f'{name}, layers 1, 2':>20}" for name in names)
    lines = [f"{'d':>4}{head}{'theory':>8}"]
    for d in record.dimension.values:
        pairs = [one.sel(dimension=d, optimizer=name) for name in names]
        cells = "".join(f"{f'{float(x[0]):.2f}, {float(x[1]):.2f}':>20}" for x in (pair.values for pair in pairs))
        lines.append(f"{d:>4}{cells}{float(record.typical_predicted.sel(dimension=d)):>8.1f}")
    return "\n".join(lines)


@style.styled
def laws(record: xr.Dataset) -> Figure:
    """SGD's R_med at 1% of the initial loss against both laws from the initial weights: every dimension, start and seed."""
    figure, all_axes = style.panels(1, 2, height=3.6, sharex=True, sharey=True)
    measured = record.r_med.sel(optimizer="SGD", level=0.01)
    ends = [1, 2.0 * float(measured.sel(layer=["layer 1", "layer 2"]).max())]
    for axes, (law, words) in zip(all_axes, LAWS.items(), strict=True):
        for start, (colour, marker) in STARTS.items():
            for layer, fill in (("layer 1", colour), ("layer 2", "none")):
                one = {"start": start, "layer": layer}
                x, y = record[f"{law}_predicted"].sel(one), measured.sel(one)
                label = f"{start}, {layer}"
                axes.scatter(x, y, s=12, marker=marker, edgecolors=colour, facecolors=fill, lw=0.7, label=label)
        axes.plot(ends, ends, color=style.GUIDE, lw=0.8)
        axes.set(xscale="log", yscale="log", xlabel="predicted R_med", title=words)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks([1, 2, 5, 10, 20, 50], labels=["1", "2", "5", "10", "20", "50"])
            axis.set_ticks([], minor=True)
    all_axes[0].set_ylabel("measured R_med, SGD")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def law_table(record: xr.Dataset) -> str:
    """Median over seeds of |log(measured/predicted)| of SGD's R_med by start and layer: mean and range over dimensions."""
    measured = record.r_med.sel(optimizer="SGD", level=0.01)
    lines = [f"{'start':>6}{'layer':>9}" + "".join(f"{words:>31}" for words in LAWS.values())]
    for start in STARTS:
        for layer in ("layer 1", "layer 2"):
            one = {"start": start, "layer": layer}
            errors = [abs(np.log(measured.sel(one) / record[f"{law}_predicted"].sel(one))).median("seed") for law in LAWS]
            lines.append(f"{start:>6}{layer:>9}" + "".join(f"{with_range(error, '.3f'):>31}" for error in errors))
    return "\n".join(lines)


@style.styled
def starts(record: xr.Dataset) -> Figure:
    """R_med at 1% of the initial loss against the variance of the initial weights, Adam and SGD, every dimension."""
    figure, all_axes = style.panels(1, record.sizes["layer"], height=3.4, sharey=True)
    place = np.arange(len(STARTS))
    dimensions = record.dimension.values
    for axes, layer in zip(all_axes, record.layer.values, strict=True):
        for name in ("Adam", "SGD"):
            colour, marker = METHODS[name]
            for i, d in enumerate(dimensions):
                middle = record.r_med.sel(optimizer=name, level=0.01, dimension=d, layer=layer).median("seed")
                strength = 0.35 + 0.65 * (i + 1) / len(dimensions)
                label = f"{name}, d = {d}" if d in (dimensions[0], dimensions[-1]) else None
                axes.plot(place, middle, marker=marker, ms=4, lw=1, color=colour, alpha=strength, label=label)
        axes.set_xticks(place, list(STARTS))
        axes.set(yscale="log", xlabel="initial variance", title=str(layer))
    all_axes[0].set_ylabel("R_med at 1% of the initial loss")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def start_table(record: xr.Dataset) -> str:
    """log(SGD/Adam) of R_med at 1% of the initial loss by start and layer: median over seeds, range over dimensions."""
    one = record.r_med.sel(level=0.01)
    ratio = np.log(one.sel(optimizer="SGD", drop=True) / one.sel(optimizer="Adam", drop=True))
    lines = [" " * 5 + "".join(f"{layer:>24}" for layer in record.layer.values)]
    for start in STARTS:
        cells = [with_range(ratio.sel(start=start, layer=layer).median("seed"), "+.2f") for layer in record.layer.values]
        lines.append(f"{start:>5}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)
