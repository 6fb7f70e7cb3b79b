"""The figures of chapter 9 on networks that learn real data, each with the numbers that it shows."""

import functools
from collections.abc import Callable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from kadam.chapters.local_geometry.geometry.figures import METHODS
from kadam.report import style
from kadam.report.statistics import mean_interval, rank_correlation

NETWORKS = {
    "perceptron": (style.EXACT, "o"),
    "language": (style.CORRECTED, "^"),
    "images": (style.FOURTH, "s"),
}
USUAL = 1.0
COLOURS = (style.EXACT, style.PAPER, style.CORRECTED, style.SECOND, style.FOURTH, style.FIFTH, style.MEASURED)


@style.styled
def paths(record: xr.Dataset) -> Figure:
    """R_med of every layer against the loss reached, usual initial weights: geometric mean over seeds."""
    columns = 5
    rows = -(-record.sizes["layer"] // columns)
    figure, all_axes = style.panels(rows, columns, height=0.7 + 1.7 * rows)
    for axes, layer in zip(all_axes.flat, record.layer.values, strict=False):
        one = np.log(record.r_med.sel(layer=layer, scale=USUAL))
        for name, (colour, marker) in METHODS.items():
            wide = 1.6 if name in ("Adam", "SGD") else 0.7
            mean = np.exp(one.sel(optimizer=name).mean("seed", skipna=False))
            axes.plot(record.level, mean, marker=marker, ms=2.5, lw=wide, color=colour, label=name)
        axes.set(xscale="log", xlim=(1.15 * float(record.level.max()), float(record.level.min()) / 1.15))
        axes.set_title(str(layer), fontsize=7.5)
        axes.set_xticks(record.level.values, [f"{level:g}" for level in record.level.values])
        axes.set_xticks([], minor=True)
        axes.tick_params(labelsize=6.5)
        _ratio_axis(axes)
    for axes in all_axes.flat[record.sizes["layer"] :]:
        axes.set_axis_off()
    for axes in all_axes[-1]:
        axes.set_xlabel("loss / initial", fontsize=7.5)
    for axes in all_axes[:, 0]:
        axes.set_ylabel("R_med", fontsize=7.5)
    figure.legend(*all_axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(METHODS))
    style.label_stand_in(figure, record)
    return figure


def _ratio_axis(axes: Axes) -> None:
    """A vertical axis for ratios: logarithmic where they span a factor of five, and a few plain labels in any case."""
    low, high = axes.dataLim.intervaly
    if high > 5 * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20) if high < 100 * low else LogLocator())
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))


def path_table(record: xr.Dataset) -> str:
    """R_med at the lowest loss that all methods reach, by network: geometric mean over layers and seeds."""
    lines = [f"{'':<12}{'loss':>6}" + "".join(f"{name:>9}" for name in METHODS)]
    for network in NETWORKS:
        common = np.flatnonzero(record.common.sel(network=network, scale=USUAL))
        if not len(common):
            lines.append(f"{network:<12}{'no loss that all methods reach':>32}")
            continue
        level = record.level.values[common[-1]]
        layers = np.log(record.r_med.isel(layer=record.owner.values == network).sel(scale=USUAL, level=level))
        cells = "".join(f"{float(np.exp(layers.sel(optimizer=name).mean())):>9.1f}" for name in METHODS)
        lines.append(f"{network:<12}{level:>6g}{cells}")
    return "\n".join(lines)


def gaps(record: xr.Dataset, network: str, scale: float, *, whole: bool = False) -> xr.DataArray | None:
    """log R_med, SGD's less Adam's, of a network's layers by seed at the lowest loss that all reach, or over all; or None."""
    common = record.common.sel(network=network, scale=scale).values == 1
    if not common.any():
        return None
    logs = np.log(record.r_med.sel(scale=scale).isel(layer=record.owner.values == network, level=common))
    gap = logs.sel(optimizer="SGD", drop=True) - logs.sel(optimizer="Adam", drop=True)
    chosen = gap.mean("level", skipna=False) if whole else gap.isel(level=-1, drop=True)
    return chosen.transpose("layer", "seed")


def slow_gaps(record: xr.Dataset, network: str) -> xr.DataArray | None:
    """The same at the smallest rates, at the lowest loss that both methods reach; or None."""
    common = record.slow_common.sel(network=network).values == 1
    if not common.any():
        return None
    found = record.slow_r_med.isel(layer=record.owner.values == network, level=common).isel(level=-1, drop=True)
    return np.log(found.sel(optimizer="SGD", drop=True) / found.sel(optimizer="Adam", drop=True)).transpose("layer", "seed")


# Which difference is meant, and its marker.
MEASURES: dict[str, tuple[str, Callable[[xr.Dataset, str], xr.DataArray | None]]] = {
    "lowest loss": ("o", functools.partial(gaps, scale=USUAL)),
    "whole path": ("D", functools.partial(gaps, scale=USUAL, whole=True)),
    "smallest rates": ("x", slow_gaps),
}


@style.styled
def differences(record: xr.Dataset) -> Figure:
    """log R_med, SGD's less Adam's, of every layer: mean and interval over seeds, by three measures."""
    figure, axes = style.panels(1, 1, height=5.0)
    labels: list[str] = []
    for network, (colour, _) in NETWORKS.items():
        names = [str(layer) for layer in record.layer.values[record.owner.values == network]]
        for i, (marker, measure) in enumerate(MEASURES.values()):
            found = measure(record, network)
            if found is not None:
                mean, low, high = mean_interval(found.values)
                place = len(labels) + np.arange(len(mean)) + 0.25 * (i - 1)
                fill = "white" if marker == "D" else colour
                reach = [mean - low, high - mean]
                axes.errorbar(mean, place, xerr=reach, fmt=marker, ms=4, lw=0.9, color=colour, mfc=fill)
        labels += names
    axes.axvline(0, color=style.GUIDE, lw=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("log R_med of SGD less that of Adam; right of 0, Adam's is smaller")
    for words, (marker, _) in MEASURES.items():
        axes.plot([], [], marker, ms=4, color=style.GUIDE, mfc="white" if marker == "D" else style.GUIDE, label=words)
    figure.legend(loc="outside upper center", ncols=len(MEASURES))
    style.label_stand_in(figure, record)
    return figure


def difference_table(record: xr.Dataset) -> str:
    """log R_med, SGD's less Adam's: mean and interval over seeds of the mean over a network's layers, and of all pooled."""
    lines = [f"{'':<15}" + "".join(f"{network:>21}" for network in NETWORKS)]
    for words, (_, measure) in MEASURES.items():
        found = [measure(record, network) for network in NETWORKS]
        cells = ["-" if gap is None else _interval(gap.mean("layer").values) for gap in found]
        lines.append(f"{words:<15}" + "".join(f"{cell:>21}" for cell in cells))
    cells = [_interval(gap.values) if (gap := pooled_gap(record, network)) is not None else "-" for network in NETWORKS]
    return "\n".join([*lines, f"{'pooled layers':<15}" + "".join(f"{cell:>21}" for cell in cells)])


def pooled_gap(record: xr.Dataset, network: str) -> xr.DataArray | None:
    """log R_med of all layers pooled, SGD's less Adam's, by seed at the lowest loss that all reach; or None."""
    common = np.flatnonzero(record.common.sel(network=network, scale=USUAL))
    if not len(common):
        return None
    pooled = np.log(record.pooled.sel(network=network, scale=USUAL).isel(level=common[-1]))
    return pooled.sel(optimizer="SGD") - pooled.sel(optimizer="Adam")


def _interval(values: np.ndarray) -> str:
    mean, low, high = mean_interval(values)
    return f"{mean:+.2f} ({low:+.2f}, {high:+.2f})"


@style.styled
def scales(record: xr.Dataset) -> Figure:
    """The same difference at the lowest loss against the size of the initial weights, a line a layer; median over seeds."""
    figure, all_axes = style.panels(1, len(NETWORKS), height=3.6, sharey=True)
    for axes, network in zip(all_axes, NETWORKS, strict=True):
        found = [gaps(record, network, float(scale)) for scale in record.scale.values]
        names = record.layer.values[record.owner.values == network]
        for i, name in enumerate(names):
            points = [(s, float(gap[i].median("seed"))) for s, gap in enumerate(found) if gap is not None]
            label = str(name).split(": ")[1]
            axes.plot(*zip(*points, strict=True), "-o", ms=3.5, lw=1, color=COLOURS[i % len(COLOURS)], label=label)
        axes.axhline(0, color=style.GUIDE, lw=0.8)
        axes.set_xticks(range(record.sizes["scale"]), [f"{scale:g}" for scale in record.scale.values])
        axes.set(xlabel="size of the initial weights", title=network)
        axes.legend(fontsize=6.5, ncols=2, loc="best", columnspacing=0.8, handlelength=1.2)
    all_axes[0].set_ylabel("log R_med, SGD less Adam")
    style.label_stand_in(figure, record)
    return figure


def scale_table(record: xr.Dataset) -> str:
    """Layers of each network in which Adam's R_med is the smaller, by scale, at the lowest loss; medians over seeds."""
    lines = [f"{'Adam smaller in':<16}" + "".join(f"{f'scale {scale:g}':>12}" for scale in record.scale.values)]
    for network in NETWORKS:
        found = [gaps(record, network, float(scale)) for scale in record.scale.values]
        middle = [None if gap is None else gap.median("seed") for gap in found]
        cells = ["-" if gap is None else f"{int((gap > 0).sum())} of {gap.size}" for gap in middle]
        lines.append(f"{network:<16}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


@style.styled
def estimates(record: xr.Dataset) -> Figure:
    """The error of estimated R_med: against the number of probes at fresh weights, and beside the exact one in training."""
    figure, (left, right) = style.panels(1, 2, height=3.6)
    size = np.sqrt((record.probe_error**2).mean("start"))
    for i, layer in enumerate(record.checked.values):
        left.plot(
            record.probe_count, size.sel(checked=layer), "-o", ms=3.5, lw=1, color=COLOURS[i % len(COLOURS)], label=str(layer)
        )
    first = float(size.isel(probe_count=0).mean())
    guide = first * np.sqrt(float(record.probe_count[0]) / record.probe_count)
    left.plot(record.probe_count, guide, ":", color=style.GUIDE, label="1/sqrt(probes)")
    left.axhline(0.1, color=style.GUIDE, lw=0.6)
    left.set(xscale="log", yscale="log", xlabel="probes", ylabel="error of log R_med")
    left.set_xticks(record.probe_count.values, [str(count) for count in record.probe_count.values])
    left.set_xticks([], minor=True)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    known = record.exact.notnull()
    for i, layer in enumerate(record.checked.values):
        here = known.sel(layer=layer).values
        exact, estimated = record.exact.sel(layer=layer).values[here], record.r_med.sel(layer=layer).values[here]
        right.scatter(exact, estimated, s=14, color=COLOURS[i % len(COLOURS)])
    ends = [float(record.exact.min()) / 1.3, float(record.exact.max()) * 1.3]
    right.plot(ends, ends, color=style.GUIDE, lw=0.8)
    right.set(xscale="log", yscale="log", xlabel="exact R_med", ylabel=f"estimated, {record.attrs['probes']} probes")
    style.label_stand_in(figure, record)
    return figure


def estimate_table(record: xr.Dataset) -> str:
    """Root mean square error of log R_med by layer and number of probes at fresh weights; then that in training."""
    size = np.sqrt((record.probe_error**2).mean("start"))
    lines = [f"{'probes':<20}" + "".join(f"{count:>8}" for count in record.probe_count.values)]
    lines += [
        f"{layer:<20}" + "".join(f"{float(x):>8.3f}" for x in size.sel(checked=layer).transpose("probe_count"))
        for layer in record.checked.values
    ]
    errors = np.log(record.r_med / record.exact)
    lines.append(f"in training, {record.attrs['probes']} probes: median |error| {float(abs(errors).median()):.3f}")
    return "\n".join(lines)


@style.styled
def region(record: xr.Dataset) -> Figure:
    """R_med of the perceptron's layers along the normal curve at every loss, against C; mean and interval over seeds."""
    layers = record.curve_layer.values
    figure, all_axes = style.panels(1, len(layers), height=3.4, sharex=True)
    for axes, layer in zip(all_axes, layers, strict=True):
        for i, level in enumerate(record.level.values):
            logs = np.log(record.curve_r_med.sel(curve_layer=layer, level=level)).transpose("point", "seed").values
            mean, low, high = mean_interval(logs - logs.mean(0) + logs.mean())  # what a seed does to all alike is left out
            label = f"at {level:g} of the initial loss"
            axes.plot(record.coefficient, np.exp(mean), "-o", ms=3, lw=1, color=COLOURS[i % len(COLOURS)], label=label)
            axes.fill_between(record.coefficient, np.exp(low), np.exp(high), color=COLOURS[i % len(COLOURS)], alpha=0.15, lw=0)
        axes.axvline(0, color=style.GUIDE, lw=0.8)
        axes.set(xlabel="C", title=str(layer))
    all_axes[0].set_ylabel("R_med")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=record.sizes["level"])
    style.label_stand_in(figure, record)
    return figure


def region_table(record: xr.Dataset) -> str:
    """Rank correlation of mean log R_med with C by layer and loss, and R_med at both ends of the curve at the lowest loss."""
    lines = [
        f"{'':<10}"
        + "".join(f"{f'at {level:g}':>10}" for level in record.level.values)
        + f"{'C largest':>12}{'C smallest':>12}"
    ]
    for layer in record.curve_layer.values:
        logs = np.log(record.curve_r_med.sel(curve_layer=layer)).mean("seed").transpose("level", "point").values
        orders = "".join(f"{rank_correlation(record.coefficient.values, one):>+10.2f}" for one in logs)
        lines.append(f"{layer:<10}{orders}{np.exp(logs[-1, 0]):>12.2f}{np.exp(logs[-1, -1]):>12.2f}")
    return "\n".join(lines)
