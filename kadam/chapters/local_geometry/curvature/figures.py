"""The figures of chapter 9 on networks that learn real data, each with the numbers that it shows."""

import itertools
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from kadam.chapters.local_geometry.curvature import claims
from kadam.chapters.local_geometry.curvature.config import USUAL
from kadam.chapters.local_geometry.drawing import LOOKS, plain_ticks
from kadam.chapters.local_geometry.measures import logs
from kadam.chapters.local_geometry.methods import METHODS, NETWORKS, PAIR, RELATIVES
from kadam.report import style
from kadam.report.sentences import listed, of_all, said, span
from kadam.report.statistics import Interval, mean_interval
from kadam.report.table import Table, table

COLOURS = dict(zip(NETWORKS, (style.EXACT, style.CORRECTED, style.FOURTH), strict=True))
LAYER_COLOURS = (style.EXACT, style.PAPER, style.CORRECTED, style.SECOND, style.FOURTH, style.FIFTH, style.MEASURED)
LAYER_MARKERS = "os^vDPX"

R_MED = style.R_MED


@said
def answer(linear: xr.Dataset, record: xr.Dataset) -> str:
    """What came out in the linear network and in the three networks on real data, in one paragraph."""
    end = linear.r_med.isel(level=-1, start=0).median("seed")
    adam, sgd = (end.sel(optimizer=name) for name in PAIR)
    ends = [span(of.isel(layer=[0, 1])) for of in (sgd, adam)]
    ratios = [f"{float(np.exp(gap.mean())):.2g} in *{network}*" for network, gap in _gaps(record).items()]
    return (
        f"**The answer.** In the linear network, from the smallest start, {R_MED} of a layer ends at {ends[0]} with SGD and at "
        f"{ends[1]} with Adam; with both layers pooled SGD's is the larger in "
        f"{of_all((sgd > adam).isel(layer=2), 'dimensions')}. On real data, averaged over layers at the lowest loss that all "
        f"methods reach, SGD's over Adam's is {listed(ratios, none='not known')}; the 95% interval excludes 1 in "
        f"{_decided(record)}."
    )


def _gaps(record: xr.Dataset, **which: Any) -> dict[str, xr.DataArray]:
    """log R_med, SGD's less Adam's, of the networks with a loss that all methods reach."""
    return {network: gap for network in NETWORKS if (gap := claims.gap(record, network, **which)) is not None}


def _over_layers(gap: xr.DataArray) -> Interval:
    """Over seeds, of the mean over layers."""
    return mean_interval(gap.mean(set(gap.dims) - {"seed"}).values)


def _decided(record: xr.Dataset, **which: Any) -> str:
    """In how many networks the interval of the mean over layers lies on one side."""
    intervals = [_over_layers(gap) for gap in _gaps(record, **which).values()]
    return of_all([of.low > 0 or of.high < 0 for of in intervals], "networks")


@style.styled
def paths(record: xr.Dataset) -> style.Figure:
    """R_med of every layer against the loss reached, usual initial weights: geometric mean over seeds."""
    columns = 5
    rows = -(-record.sizes["layer"] // columns)
    figure, all_axes = style.panels(rows, columns, height=0.7 + 1.7 * rows)
    for axes, layer in zip(all_axes.flat, record.layer.values, strict=False):
        _path(axes, logs(record.r_med.sel(layer=layer, scale=USUAL)).mean("seed", skipna=False))
    for axes in all_axes.flat[record.sizes["layer"] :]:
        axes.set_axis_off()
    for axes in all_axes[-1]:
        axes.set_xlabel("loss / initial", fontsize=7.5)
    for axes in all_axes[:, 0]:
        axes.set_ylabel(R_MED, fontsize=7.5)
    return style.with_legend(figure, all_axes.flat[0], ncols=3)


def _path(axes: style.Axes, mean: xr.DataArray) -> None:
    """One layer: the mean of log R_med by optimizer and level."""
    others = mean.sel(optimizer=list(RELATIVES))
    low, high = np.exp(others.min("optimizer")), np.exp(others.max("optimizer"))
    axes.fill_between(mean.level, low, high, color=style.REST, lw=0, label="the others")
    for name in PAIR:
        colour, marker = LOOKS[name]
        axes.plot(mean.level, np.exp(mean.sel(optimizer=name)), marker=marker, ms=3, color=colour, label=name)
    axes.set(xscale="log", xlim=(1.15 * float(mean.level.max()), float(mean.level.min()) / 1.15))
    axes.set_title(str(mean.layer.values), fontsize=7.5)
    plain_ticks(axes.xaxis, mean.level.values)
    axes.tick_params(labelsize=7)
    _ratio_axis(axes)


def _ratio_axis(axes: style.Axes) -> None:
    """A vertical axis for ratios: logarithmic where they span a factor of five, and a few plain labels in any case."""
    low, high = axes.dataLim.intervaly
    if high > 5 * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20) if high < 100 * low else LogLocator())
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))


@said
def paths_said(record: xr.Dataset) -> str:
    """In how many layers of each network SGD's R_med is above Adam's, and where the two differ most."""
    gaps = {network: gap.mean("seed") for network, gap in _gaps(record).items()}
    if not gaps:
        return "No network has a loss that all methods reach."
    above = [f"{of_all(gap > 0, 'layers')} of *{network}*" for network, gap in gaps.items()]
    layers = xr.concat(gaps.values(), "layer")
    most = layers.isel(layer=int(np.argmax(abs(layers).values)))
    return (
        f"At the lowest loss that all methods reach SGD's {R_MED} is above Adam's in {listed(above)}. The two differ most in "
        f"*{most.layer.values}*, where SGD's is {float(np.exp(most)):.2g} times Adam's."
    )


def path_table(record: xr.Dataset) -> Table:
    """R_med at the lowest loss that all methods reach, by network: geometric mean over layers and seeds."""
    rows: list[tuple[object, ...]] = []
    for network in NETWORKS:
        reached = claims.at_common_levels(record, network)
        if reached.sizes["level"]:
            mean = logs(reached.isel(level=-1)).mean(("layer", "seed"))
            rows.append((network, f"{float(mean.level):g}", *(np.exp(mean.sel(optimizer=name)) for name in METHODS)))
        else:
            rows.append((network, "no loss that all methods reach", *["-"] * len(METHODS)))
    return table(("", "loss", *METHODS), rows, digits=".1f")


# Which difference is meant, and the markers of the first three; a diamond is not filled.
MEASURES: dict[str, dict[str, Any]] = {
    "lowest loss": {},
    "whole path": {"whole": True},
    "smallest rates": {"of": "slow_r_med"},
    "pooled layers": {"of": "pooled"},
}
MARKERS = dict(zip(MEASURES, "oDx", strict=False))


@style.styled
def differences(record: xr.Dataset) -> style.Figure:
    """log R_med, SGD's less Adam's, of every layer: mean and interval over seeds, by three measures."""
    figure, axes = style.panels(1, 1, height=5.0)
    for network, colour in COLOURS.items():
        rows = np.flatnonzero(record.owner.values == network)
        for i, (words, marker) in enumerate(MARKERS.items()):
            found = claims.gap(record, network, **MEASURES[words])
            if found is not None:
                mean, low, high = mean_interval(found.values)
                look = {"fmt": marker, "ms": 4, "lw": 0.9, "color": colour, "mfc": "white" if marker == "D" else colour}
                axes.errorbar(mean, rows + 0.25 * (i - 1), xerr=[mean - low, high - mean], **look)
    axes.axvline(0, color=style.GUIDE, lw=0.8)
    axes.set_yticks(range(record.sizes["layer"]), record.layer.values)
    axes.invert_yaxis()
    axes.set_xlabel(rf"$\log$ {R_MED} of SGD less that of Adam  (right of 0: Adam's is smaller)")
    for words, marker in MARKERS.items():
        axes.plot([], [], marker, ms=4, color=style.GUIDE, mfc="white" if marker == "D" else style.GUIDE, label=words)
    return style.with_legend(figure, axes, ncols=len(MARKERS))


@said
def differences_said(record: xr.Dataset) -> str:
    """In how many networks the mean over layers is decided, at the best and the smallest rates and with pooled layers."""
    best, slow, pooled = (_decided(record, **MEASURES[name]) for name in ("lowest loss", "smallest rates", "pooled layers"))
    return (
        f"The interval of the mean over layers lies on one side of the line in {best} at the best rates, and in {slow} at the "
        f"smallest; with pooled layers, in {pooled}. At the best rates the last loss takes "
        f"{span(record.step.sel(scale=USUAL).isel(level=-1).median('seed'), '.0f')} steps."
    )


def difference_table(record: xr.Dataset) -> Table:
    """log R_med, SGD's less Adam's: mean and interval over seeds of the mean over a network's layers, and of all pooled."""
    rows = [(words, *(_interval(claims.gap(record, n, **which)) for n in NETWORKS)) for words, which in MEASURES.items()]
    return table(("log(SGD/Adam)", *NETWORKS), rows)


def _interval(gap: xr.DataArray | None) -> str:
    if gap is None:
        return "-"
    mean, low, high = _over_layers(gap)
    return f"{mean:+.2f} ({low:+.2f}, {high:+.2f})"


@style.styled
def scales(record: xr.Dataset) -> style.Figure:
    """The same difference at the lowest loss against the size of the initial weights, a line a layer; median over seeds."""
    figure, all_axes = style.panels(1, len(NETWORKS), height=3.6, sharey=True, ylabel=rf"$\log$ {R_MED}, SGD less Adam")
    for axes, network in zip(all_axes, NETWORKS, strict=True):
        axes.set_prop_cycle(color=LAYER_COLOURS, marker=list(LAYER_MARKERS))
        points = {place: gap.median("seed").values for place, gap in enumerate(_by_scale(record, network)) if gap is not None}
        labels = [name.split(": ")[1] for name in record.layer.values[record.owner.values == network].tolist()]
        axes.plot(list(points), np.reshape(list(points.values()), (-1, len(labels))), ms=3.5, lw=1, label=labels)
        axes.axhline(0, color=style.GUIDE, lw=0.8)
        axes.set_xticks(range(record.sizes["scale"]), [f"{scale:g}" for scale in record.scale.values])
        axes.set(xlabel="size of the initial weights", title=network)
        axes.legend(fontsize=7, ncols=2, loc="best", columnspacing=0.8, handlelength=1.2)
    return figure


def _by_scale(record: xr.Dataset, network: str) -> list[xr.DataArray | None]:
    return [claims.gap(record, network, scale=scale) for scale in record.scale.values]


@said
def scales_said(record: xr.Dataset) -> str:
    """In how many layers of all networks Adam's R_med is the smaller, by scale, and how many change sides."""
    medians = np.full((record.sizes["scale"], record.sizes["layer"]), np.nan)
    for network, (row, scale) in itertools.product(NETWORKS, enumerate(record.scale.values)):
        if (gap := claims.gap(record, network, scale=scale)) is not None:
            medians[row, record.owner.values == network] = gap.median("seed")
    usual = medians[record.scale.values == USUAL][0]
    turned = (medians * usual < 0).any(0)[np.isfinite(usual)]
    each = zip(medians, record.scale.values, strict=True)
    smaller = listed([f"{of_all(row[np.isfinite(row)] > 0, 'layers')} at {scale:g}" for row, scale in each])
    return (
        f"Adam's {R_MED} is the smaller in {smaller} times the usual weights. Between these and others sides change in "
        f"{of_all(turned, 'layers')}."
    )


def _probe_sizes(record: xr.Dataset) -> xr.DataArray:
    """Root mean square error of log R_med over fresh weights: checked layer, number of probes."""
    return np.sqrt((record.probe_error**2).mean("start")).transpose("checked", "probe_count")


@style.styled
def estimates(record: xr.Dataset) -> style.Figure:
    """The error of estimated R_med: against the number of probes at fresh weights, and beside the exact one in training."""
    figure, (left, right) = style.panels(1, 2, height=3.6)
    sizes, counts = _probe_sizes(record), record.probe_count.values
    looks = zip(itertools.cycle(LAYER_COLOURS), itertools.cycle(LAYER_MARKERS), strict=True)
    for layer, (colour, marker) in zip(record.checked.values, looks, strict=False):
        left.plot(counts, sizes.sel(checked=layer), marker=marker, ms=3.5, lw=1, color=colour, label=str(layer))
        right.scatter(record.exact.sel(layer=layer), record.r_med.sel(layer=layer), s=14, marker=marker, color=colour)
    first = float(sizes.isel(probe_count=0).mean())
    left.plot(counts, first * np.sqrt(counts[0] / counts), ":", color=style.GUIDE, label=r"$1/\sqrt{\mathrm{probes}}$")
    left.axhline(claims.ESTIMATE_WITHIN, color=style.GUIDE, lw=0.6)
    left.set(xscale="log", yscale="log", xlabel="probes", ylabel=rf"error of $\log$ {R_MED}")
    plain_ticks(left.xaxis, counts)
    plain_ticks(left.yaxis, (0.02, 0.05, 0.1, 0.2, 0.5))
    ends = [float(record.exact.min()) / 1.3, float(record.exact.max()) * 1.3]
    right.plot(ends, ends, color=style.GUIDE, lw=0.8)
    right.set(xscale="log", yscale="log", xlabel=f"exact {R_MED}", ylabel=f"estimated, {record.attrs['probes']} probes")
    return style.with_legend(figure, left, ncols=3)


@said
def estimates_said(record: xr.Dataset) -> str:
    """How the error falls with the number of probes, and how large it is in training."""
    sizes, counts = _probe_sizes(record).mean("checked"), record.probe_count.values
    errors = abs(claims.estimate_errors(record))
    small = errors.values[errors.notnull().values] <= claims.ESTIMATE_WITHIN
    return (
        f"From {counts[0]} to {counts[-1]} probes the error of $\\log$ {R_MED}, in the mean over layers, goes from "
        f"{float(sizes[0]):.2g} to {float(sizes[-1]):.2g}. In training, with {record.attrs['probes']} probes, its median size "
        f"is {span(errors.median())}, and it is at most {claims.ESTIMATE_WITHIN:g} in {of_all(small, 'cases')}."
    )


@style.styled
def region(record: xr.Dataset) -> style.Figure:
    """R_med of the perceptron's layers along the normal curve at every loss, against C; mean and interval over seeds."""
    layers = record.curve_layer.values
    figure, all_axes = style.panels(1, len(layers), height=3.4, ylabel=R_MED)
    for axes, layer in zip(all_axes, layers, strict=True):
        for level, colour in zip(record.level.values, style.shades(record.sizes["level"]), strict=True):
            by_seed = logs(record.curve_r_med.sel(curve_layer=layer, level=level)).transpose("point", "seed").values
            mean, low, high = mean_interval(by_seed - by_seed.mean(0) + by_seed.mean())  # without what a seed does to all alike
            label = f"at {level:g} of the initial loss"
            axes.plot(record.coefficient, np.exp(mean), "-o", ms=3, lw=1, color=colour, label=label)
            axes.fill_between(record.coefficient, np.exp(low), np.exp(high), color=colour, alpha=0.15, lw=0)
        style.against_c(axes, title=str(layer))
    return style.with_legend(figure, all_axes[0], ncols=record.sizes["level"])


@said
def region_said(record: xr.Dataset) -> str:
    """How steady R_med's order along the curve is, and what happens at the edge."""
    orders = claims.curve_orders(record)
    return (
        f"{R_MED} rises as $C$ falls, by its rank correlation, in {of_all(orders < 0, 'layers and losses')}; the correlation "
        f"is 0.8 or more in size in {of_all(abs(orders) >= 0.8, 'cases')}. At the lowest loss the change across $C = 0$ is "
        f"{span(claims.edge_changes(record, -1))} times the median change between neighbours."
    )


def region_table(record: xr.Dataset) -> Table:
    """Rank correlation of mean log R_med with C by layer and loss, and R_med at both ends of the curve at the lowest loss."""
    ends = np.exp(claims.curve_logs(record).isel(level=-1, point=[0, -1]).values)
    rows = [
        (layer, *(f"{order:+.2f}" for order in orders), *end)
        for layer, orders, end in zip(record.curve_layer.values, claims.curve_orders(record).values, ends, strict=True)
    ]
    return table(("", *(f"at {level:g}" for level in record.level.values), "C largest", "C smallest"), rows, digits=".2f")
