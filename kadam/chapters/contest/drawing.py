"""The figures of a contest of optimizers, each with the numbers that it shows.

A contest is scored by test accuracy in per cent or by test loss in nats. :func:`quantity` reads from the record by which, and
every figure and table here follows.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kadam.chapters.contest.judges import (
    ADAM,
    BASIN,
    EQUAL,
    MATCHED,
    NATS,
    POINTS,
    TUNED,
    ahead,
    gain,
    networks,
    overall,
    scale,
    score,
    search_score,
    two_stages,
)
from kadam.report import style
from kadam.report.statistics import mean_interval

COMPARISONS = {
    EQUAL: (style.PAPER, "o", "same learning rate"),
    TUNED: (style.EXACT, "s", "each at its best learning rate"),
    MATCHED: (style.CORRECTED, "^", "updates as large as Adam's"),
}
STRATEGIES = {
    "repeat": style.PAPER,
    "inverse_exp": style.EXACT,
    "scaled": style.CORRECTED,
    "root": style.SECOND,
    "meta": style.FOURTH,
}
BASELINES = {
    "Adam": (style.MEASURED, "-"),
    "AdamW": (style.MEASURED, "--"),
    "NAdam": (style.MEASURED, "-."),
    "LaProp": (style.MEASURED, ":"),
    "Lion": (style.GUIDE, "-"),
    "SGD": (style.GUIDE, "--"),
}
LARGEST = 0.05  # the largest size of a step that is drawn: beyond, nothing is learnt
VISIBLE = 0.5  # of the way from the best loss to a guess: what is worse lies beyond the axis

# Where on the vertical axis, from 0 to 1, a cross stands for a run that learnt nothing.
BOTTOM, TOP = 0.02, 0.98


class Quantity(NamedTuple):
    """What a contest is scored by, as figures and tables give it."""

    name: str
    unit: str
    mark: str  # the unit behind a number
    factor: float  # of a score in the search
    sign: int  # of a score in the contest; 1 where larger is better
    edge: float  # where the axis is worst
    searched: Callable[[xr.Dataset], xr.DataArray]  # every run of the search; NaN: learnt nothing

    @property
    def label(self) -> str:
        return f"test {self.name} ({self.unit})"

    @property
    def search_label(self) -> str:
        return f"validation {self.name} ({self.unit})"


QUANTITIES = {
    POINTS: Quantity("accuracy", "%", "%", 100.0, 1, BOTTOM, lambda record: 100 * record.search_accuracy),
    NATS: Quantity(
        "loss", "nats", " nats", -1.0, -1, TOP, lambda record: record.search_loss.where(record.search_loss < record.guess)
    ),
}


def quantity(record: xr.Dataset) -> Quantity:
    """By what this contest is scored."""
    return QUANTITIES[scale(record)]


def ended(record: xr.Dataset) -> xr.DataArray:
    """The quantity at the end of every run on test data; a run that diverged guesses."""
    return quantity(record).sign * score(record)


def searched(record: xr.Dataset) -> xr.DataArray:
    """The quantity in the search, mean over seeds; NaN where one diverged, or lost more than a guess."""
    return quantity(record).searched(record).mean("tuning_seed", skipna=False)


def shades(record: xr.Dataset) -> dict[int, Any]:
    """A colour for every k; 1 is Adam."""
    ks = sorted({int(k) for k in record.k.values if k >= 1})
    return dict(zip(ks, mpl.colormaps["viridis"](np.linspace(0, 0.9, len(ks))), strict=True))


def place(record: xr.Dataset, strategy: str, k: int) -> int:
    """Where the method stands among the optimizers; with k = 1 it is Adam."""
    return int(np.flatnonzero((record.k == k) & ((record.strategy == strategy) | (record.k == 1)))[0])


def later_stages(record: xr.Dataset) -> list[int]:
    """Every k above 1."""
    return [k for k in shades(record) if k > 1]


def by_network(record: xr.Dataset, *, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A panel a network, two in a row of this height; the axes of the networks in order."""
    names = networks(record)
    rows, columns = -(-len(names) // 2), min(2, len(names))
    figure, all_axes = style.panels(rows, columns, height=rows * height, squeeze=False, **options)
    for axes in all_axes.flat[len(names) :]:
        axes.set_visible(False)
    for axes, network in zip(all_axes.flat, names, strict=False):
        axes.set_title(network)
    return figure, list(all_axes.flat[: len(names)])


def leftmost(axes: Sequence[Axes]) -> Sequence[Axes]:
    """Of panels by network, the first of every row."""
    return axes[::2]


def pairs(record: xr.Dataset) -> list[list[str]]:
    """The networks by two, which a table has side by side."""
    names = networks(record)
    return [names[i : i + 2] for i in range(0, len(names), 2)]


def broken(names: Sequence[str], width: int) -> list[list[str]]:
    """The heads of columns: where one is too wide, it is broken at its comma. One list a line."""
    split = [name.rsplit(", ", 1) if len(name) >= width and ", " in name else [name] for name in names]
    if max(map(len, split)) == 1:
        return [list(names)]
    return [[f"{parts[0]}," if len(parts) > 1 else "" for parts in split], [parts[-1] for parts in split]]


def label_width(record: xr.Dataset) -> int:
    """Of a column of networks' names."""
    return max(12, *map(len, networks(record)))


@style.styled
def advantage(record: xr.Dataset) -> Figure:
    """How far k = 2 is ahead of Adam, by strategy and comparison; means and 95% intervals over seeds."""
    figure, all_axes = by_network(record, height=3.2, sharey=True)
    methods = two_stages(record)
    for i, axes in enumerate(all_axes):
        for j, (comparison, (colour, marker, label)) in enumerate(COMPARISONS.items()):
            of = [[part[i] for part in gain(record, method, ADAM, comparison)] for method in methods.values()]
            bars(axes, np.arange(len(methods)) + 0.18 * (j - 1), np.array(of).T, marker, colour, label)
        axes.axhline(0, color=style.GUIDE, lw=0.8)
        axes.set_xticks(range(len(methods)), list(methods), fontsize=7)
    for axes in leftmost(all_axes):
        axes.set_ylabel(f"k = 2 ahead of Adam ({scale(record).unit})")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def bars(axes: Axes, x: np.ndarray, of: np.ndarray, marker: str, colour: Any, label: str | None = None) -> None:
    """Means with their intervals; ``of``: mean, low and high, (3, n)."""
    mean, low, high = of
    axes.errorbar(x, mean, np.nan_to_num([mean - low, high - mean]), fmt=marker, ms=4, lw=1, color=colour, label=label)


def advantage_table(record: xr.Dataset) -> str:
    """The same numbers."""
    cells = {
        (comparison, strategy): [ahead(record, of) for of in zip(*gain(record, method, ADAM, comparison), strict=True)]
        for comparison in COMPARISONS
        for strategy, method in two_stages(record).items()
    }
    width = max(24, 2 + max(len(cell) for row in cells.values() for cell in row))
    lines = []
    for names in pairs(record):
        lines.append(f"{'':>26}" + "".join(f"{name:>{width}}" for name in names))
        for (comparison, strategy), row in cells.items():
            kept = [cell for cell, name in zip(row, networks(record), strict=True) if name in names]
            lines.append(f"{comparison:>14}{strategy:>12}" + "".join(f"{cell:>{width}}" for cell in kept))
    return "\n".join(lines)


@style.styled
def stages(record: xr.Dataset) -> Figure:
    """The quantity at the end against k for every strategy; a column a comparison, a row a network."""
    rows, of = len(networks(record)), ended(record)
    figure, all_axes = style.panels(rows, 3, height=1 + 1.9 * rows, sharex=True, sharey="row", squeeze=False)
    for row, network in zip(all_axes, networks(record), strict=True):
        for axes, comparison in zip(row, COMPARISONS, strict=True):
            _against_k(axes, of.sel(network=network, comparison=comparison))
            axes.set_title(f"{network}, {comparison}")
        row[0].set_ylabel(quantity(record).label)
        end_at_a_guess(row[0], record, network)
    for axes in all_axes[-1]:
        axes.set_xlabel("k (1 is Adam)")
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def end_at_a_guess(axes: Axes, record: xr.Dataset, network: str) -> None:
    """Where losses are drawn, end their axis at a guess, if what is drawn goes further."""
    if scale(record) is NATS:
        axes.set_ylim(top=min(axes.get_ylim()[1], float(record.guess.sel(network=network))))


def _against_k(axes: Axes, of: xr.DataArray) -> None:
    """``of``: the quantity of one network in one comparison, (optimizer, seed)."""
    ks = sorted({int(k) for k in of.k.values if k >= 1})
    places = {k: i for i, k in enumerate(ks)}
    for j, strategy in enumerate(s for s in STRATEGIES if s in of.strategy.values):
        mine = of.isel(optimizer=np.flatnonzero((of.k == 1) | (of.strategy == strategy))).sortby("k")
        x = np.array([places[int(k)] for k in mine.k.values]) + 0.08 * (j - 2)
        found = np.array(mean_interval(mine.transpose("optimizer", "seed")))
        bars(axes, x, found, "o", STRATEGIES[strategy])
        axes.plot(x, found[0], color=STRATEGIES[strategy], lw=1, label=strategy)
    axes.set_xticks(range(len(ks)), list(map(str, ks)))


def stage_table(record: xr.Dataset, comparison: str) -> str:
    """The quantity at the end, mean over seeds, by strategy and k in one comparison, every network."""
    mean, width = ended(record).sel(comparison=comparison).mean("seed"), label_width(record)
    digits, mark = scale(record).digits, quantity(record).mark
    adam = [f"{name} {float(mean.sel(network=name, optimizer=ADAM)):.{digits}f}{mark}" for name in networks(record)]
    lines = textwrap.wrap(f"{comparison}; Adam: {', '.join(adam)}", 90)
    lines.append(f"{'':>{width}}{'':>12}" + "".join(f"{f'k = {k}':>9}" for k in later_stages(record)))
    for network in networks(record):
        for strategy in two_stages(record):
            mine = mean.sel(network=network).isel(optimizer=np.flatnonzero(record.strategy == strategy)).sortby("k")
            cells = "".join(f"{value:>9.{digits}f}" for value in mine.values)
            lines.append(f"{network:>{width}}{strategy:>12}{cells}")
    return "\n".join(lines)


@style.styled
def rates(record: xr.Dataset) -> Figure:
    """The quantity in the search, a column a network: against the learning rate above, against the size of a step below."""
    columns, found = len(networks(record)), searched(record)
    figure, all_axes = style.panels(2, columns, height=5.6, sharey="col", squeeze=False)
    size = record.tried * record.search_update_rms.mean("tuning_seed")
    edge, label = quantity(record).edge, textwrap.fill("size of a step: learning rate x rms of u", 100 // columns)
    for (above, below), network in zip(all_axes.T, networks(record), strict=True):
        for method, look in looks(record).items():
            of = {"network": network, "optimizer": method}
            search_line(above, record.tried.sel(optimizer=method), found.sel(of), look, edge, label=method)
            search_line(below, size.sel(of), found.sel(of), look, edge)
        above.set(xscale="log", xlabel="learning rate (peak)", title=network, ylim=limits(record, network, list(looks(record))))
        below.set(xscale="log", xlabel=label, xlim=(_below(size), LARGEST))
    for axes in all_axes[:, 0]:
        axes.set_ylabel(quantity(record).search_label)
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7)
    return figure


def limits(record: xr.Dataset, network: str, methods: Sequence[str]) -> tuple[None, float | None]:
    """Of the axis of a network's search; of losses only those are of interest that are closer to the best than to a guess.

    Every one of these methods shows its own best in any case.
    """
    if scale(record) is POINTS:
        return None, None
    bests = searched(record).sel(network=network, optimizer=methods).min("rate")
    best, guess = float(bests.min()), float(record.guess.sel(network=network))
    top = max(best + VISIBLE * (guess - best), float(bests.max()) + BASIN)
    return None, top if np.isfinite(top) else None


def _below(size: xr.DataArray) -> float:
    """The next smaller number of 1, 2, 5, 10 and so on."""
    least = float(size.min())
    decade = 10 ** np.floor(np.log10(least))
    return float(max((step * decade for step in (1, 2, 5) if step * decade <= least), default=1e-4))


def looks(record: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Baselines in black and grey, told apart by their line; k = 2 in the colours of the strategies."""
    found: dict[str, dict[str, Any]] = {}
    for name, (colour, line) in BASELINES.items():
        if name in record.optimizer:
            found[name] = {"color": colour, "ls": line, "marker": "."}
    for strategy, method in two_stages(record).items():
        found[method] = {"color": STRATEGIES[strategy], "marker": "o"}
    return found


def search_line(
    axes: Axes, x: xr.DataArray, of: xr.DataArray, look: Mapping[str, Any], edge: float, label: str | None = None
) -> None:
    """The quantity in the search; a cross at the edge where nothing was learnt, far right where no size is known."""
    axes.plot(x, of, lw=1, ms=3, label=label, **look)
    lost = np.isnan(of.values)
    places = np.nan_to_num(x.values[lost], nan=np.inf) if label else np.full(lost.sum(), 0.8 * LARGEST)
    axes.plot(places, np.full(lost.sum(), edge), "x", color=look["color"], transform=axes.get_xaxis_transform())


@style.styled
def rates_by_k(record: xr.Dataset) -> Figure:
    """The quantity in the search against the learning rate for every k; a column a strategy, a row a network."""
    names, rows, found = list(two_stages(record)), len(networks(record)), searched(record)
    staged, unit = record.optimizer.values[record.k >= 1].tolist(), f"{quantity(record).name} ({quantity(record).unit})"
    figure, all_axes = style.panels(rows, len(names), height=0.6 + 1.8 * rows, sharex=True, sharey="row", squeeze=False)
    for row, network in zip(all_axes, networks(record), strict=True):
        for axes, strategy in zip(row, names, strict=True):
            for k, shade in shades(record).items():
                one = {"optimizer": place(record, strategy, k)}
                of, look = found.sel(network=network).isel(one), {"color": shade, "marker": "."}
                search_line(axes, record.tried.isel(one), of, look, quantity(record).edge, label=f"k = {k}")
            axes.set(xscale="log", title=strategy)
            axes.set_xlabel("learning rate" if network == networks(record)[-1] else "")
        row[0].set(ylabel=textwrap.fill(f"{network}: {unit}", 26), ylim=limits(record, network, staged))
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(shades(record)))
    return figure


def rate_table(record: xr.Dataset) -> str:
    """Each method's best learning rate, the quantity there in the search, and its rms of u."""
    head = f"val. {quantity(record).unit}"
    width = max(8, len(head) + 1)
    lines = []
    for names in pairs(record):
        *over, last = broken([f"{name}: best" for name in names], 18)
        lines += [f"{'':>18}" + "".join(f"{cell:>18}{'':>{width + 7}}" for cell in cells).rstrip() for cells in over]
        lines.append(f"{'':>18}" + "".join(f"{cell:>18}{head:>{width}}{'rms u':>7}" for cell in last))
        lines += [_rate_line(record, method, names, width) for method in looks(record)]
    return "\n".join(lines)


def _rate_line(record: xr.Dataset, method: str, names: Sequence[str], width: int) -> str:
    found, cells = search_score(record).sel(optimizer=method).mean("tuning_seed"), ""
    for network in names:
        one, of = record.sel(network=network, optimizer=method), found.sel(network=network)
        rms = float(one.search_update_rms.mean("tuning_seed").isel(rate=of.argmax("rate")))
        rate, best = float(one.peak_rate.sel(comparison=TUNED)), quantity(record).factor * float(of.max())
        cells += f"{rate:>18.2g}{best:>{width}.{scale(record).digits}f}{rms:>7.2g}"
    return f"{method:>18}{cells}"


@style.styled
def ranking(record: xr.Dataset) -> Figure:
    """The quantity at the end of every method at its best learning rate, best on top; means and 95% intervals over seeds."""
    figure, all_axes = by_network(record, height=0.9 + 0.16 * record.sizes["optimizer"])
    for axes, network in zip(all_axes, networks(record), strict=True):
        of = ended(record).sel(network=network, comparison=TUNED)
        of = of.isel(optimizer=np.argsort(quantity(record).sign * of.mean("seed").values))
        mean, low, high = mean_interval(of.transpose("optimizer", "seed"))
        places = np.arange(of.sizes["optimizer"])
        for i, k in enumerate(of.k.values):
            colour = style.MEASURED if k < 1 else style.PAPER if k == 1 else style.EXACT
            reach = np.nan_to_num([[mean[i] - low[i]], [high[i] - mean[i]]])
            axes.errorbar(mean[i], places[i], xerr=reach, fmt="o", ms=3, lw=1, color=colour)
        axes.set_yticks(places, of.optimizer.values, fontsize=6)
        axes.set_xlabel(quantity(record).label)
    return figure


def ranking_table(record: xr.Dataset, *, shown: int = 5) -> str:
    """The first places with tuned rates, and all baselines, with 95% intervals."""
    lines, width, digits = [], label_width(record), scale(record).digits
    for network in networks(record):
        of = ended(record).sel(network=network, comparison=TUNED)
        order = np.argsort(-quantity(record).sign * of.mean("seed").values)
        for rank, i in enumerate(order, 1):
            if rank <= shown or record.k.values[i] < 2:
                mean, low, high = mean_interval(of.isel(optimizer=i))
                words = f"{mean:>8.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
                lines.append(f"{network:>{width}}{rank:>4}.{of.optimizer.values[i]!s:>20}{words}")
    return "\n".join(lines)


def band(axes: Axes, values: xr.DataArray, look: Mapping[str, Any], label: str, edge: float) -> None:
    """Mean over seeds with its 95% interval; a cross at the edge at the first evaluation by which a run diverged."""
    mean, low, high = mean_interval(values.transpose("evaluation", "seed"))
    axes.plot(values.evaluation, mean, lw=1.2, ms=3, label=label, **look)
    axes.fill_between(values.evaluation, low, high, color=look["color"], alpha=0.15, lw=0)
    lost = values.evaluation.values[np.isnan(mean)][:1]
    axes.plot(lost, np.full(len(lost), edge), "x", color=look["color"], transform=axes.get_xaxis_transform())


@style.styled
def sizes(record: xr.Dataset) -> Figure:
    """The rms of u over training at equal rates, for Adam and k-Adam; a column a strategy, first network."""
    names, rms = list(two_stages(record)), record.update_rms.sel(network=networks(record)[0], comparison=EQUAL).mean("seed")
    figure, all_axes = style.panels(1, len(names), height=2.6, sharey=True, squeeze=False)
    for axes, strategy in zip(all_axes[0], names, strict=True):
        for k, shade in shades(record).items():
            one = rms.isel(optimizer=place(record, strategy, k))
            axes.plot(one.evaluation, one, marker=".", color=shade, lw=1, label=f"k = {k}")
        axes.set(title=strategy, xlabel="step")
    all_axes[0, 0].set(ylabel="rms of u", ylim=(0, None))
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(shades(record)))
    return figure


def size_table(record: xr.Dataset) -> str:
    """The rms of u over all of training at equal rates, by strategy and k, first network; mean over seeds."""
    rms = overall(record.update_rms).sel(comparison=EQUAL, network=networks(record)[0]).mean("seed")
    heads = "".join(f"{f'k = {k}':>8}" for k in later_stages(record))
    lines = [f"Adam: {float(rms.sel(optimizer=ADAM)):.2f}", f"{'':>12}{heads}"]
    for strategy in two_stages(record):
        mine = rms.isel(optimizer=np.flatnonzero(record.strategy == strategy)).sortby("k")
        lines.append(f"{strategy:>12}" + "".join(f"{value:>8.2f}" for value in mine.values))
    return "\n".join(lines)
