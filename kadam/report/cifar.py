"""The figures of chapter 6, each with the numbers that it shows."""

from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kadam.report import style
from kadam.report.contest import ADAM, EQUAL, MATCHED, TUNED, gain, networks, overall, points, signed, two_stages
from kadam.theory.uncertainty import mean_interval

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
ACCURACY = "test accuracy (%)"


def setting(record: xr.Dataset) -> str:
    """What was trained on what."""
    counts = zip(networks(record), record.parameters.values, strict=True)
    learnt = ", ".join(f"{name} {count:,.0f}" for name, count in counts)
    images = "{train_images:,} images to train, {validation_images:,} to validate, {test_images:,} to test"
    return (
        "profile {profile}; {data}, {pixels} x {pixels} pixels, {steps} steps, "
        f"{record.sizes['seed']} seeds\n{images}; parameters: {learnt}"
    ).format(**record.attrs)


@style.styled
def advantage(record: xr.Dataset) -> Figure:
    """How many points k = 2 is ahead of Adam, by strategy and comparison; means and 95% intervals over seeds."""
    figure, all_axes = style.panels(1, 2, height=3.2, sharey=True)
    methods = two_stages(record)
    for i, (axes, network) in enumerate(zip(all_axes, networks(record), strict=True)):
        for j, (comparison, (colour, marker, label)) in enumerate(COMPARISONS.items()):
            of = [[part[i] for part in gain(record, method, ADAM, comparison)] for method in methods.values()]
            _bars(axes, np.arange(len(methods)) + 0.18 * (j - 1), np.array(of).T, marker, colour, label)
        axes.axhline(0, color=style.GUIDE, lw=0.8)
        axes.set_xticks(range(len(methods)), list(methods), fontsize=7)
        axes.set_title(network)
    all_axes[0].set_ylabel("k = 2 ahead of Adam (points)")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    style.label_stand_in(figure, record)
    return figure


def _bars(axes: Axes, x: np.ndarray, of: np.ndarray, marker: str, colour: str, label: str | None = None) -> None:
    """Means with their intervals; ``of``: mean, low and high, (3, n)."""
    mean, low, high = of
    axes.errorbar(x, mean, np.nan_to_num([mean - low, high - mean]), fmt=marker, ms=4, lw=1, color=colour, label=label)


def advantage_table(record: xr.Dataset) -> str:
    """The same numbers."""
    lines = [f"{'':>12}{'':>14}" + "".join(f"{name:>24}" for name in networks(record))]
    for comparison in COMPARISONS:
        for strategy, method in two_stages(record).items():
            cells = [signed(*one) for one in zip(*gain(record, method, ADAM, comparison), strict=True)]
            lines.append(f"{comparison:>14}{strategy:>12}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


@style.styled
def stages(record: xr.Dataset) -> Figure:
    """Test accuracy against k for every strategy; a column a comparison, a row a network."""
    figure, all_axes = style.panels(2, 3, height=4.8, sharex=True, sharey="row")
    for row, network in zip(all_axes, networks(record), strict=True):
        for axes, comparison in zip(row, COMPARISONS, strict=True):
            of = points(record).sel(network=network, comparison=comparison)
            _against_k(axes, of)
            axes.set_title(f"{network}, {comparison}")
        row[0].set_ylabel(ACCURACY)
    for axes in all_axes[-1]:
        axes.set_xlabel("k (1 is Adam)")
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    style.label_stand_in(figure, record)
    return figure


def _against_k(axes: Axes, of: xr.DataArray) -> None:
    """``of``: points of one network in one comparison, (optimizer, seed)."""
    ks = sorted({int(k) for k in of.k.values if k >= 1})
    place = {k: i for i, k in enumerate(ks)}
    for j, strategy in enumerate(s for s in STRATEGIES if s in of.strategy.values):
        mine = of.isel(optimizer=np.flatnonzero((of.k == 1) | (of.strategy == strategy))).sortby("k")
        x = np.array([place[int(k)] for k in mine.k.values]) + 0.08 * (j - 2)
        found = np.array(mean_interval(mine.transpose("optimizer", "seed")))
        _bars(axes, x, found, "o", STRATEGIES[strategy])
        axes.plot(x, found[0], color=STRATEGIES[strategy], lw=1, label=strategy)
    axes.set_xticks(range(len(ks)), list(map(str, ks)))


def stage_table(record: xr.Dataset, comparison: str) -> str:
    """Mean test accuracy by strategy and k in one comparison, both networks."""
    mean = points(record).sel(comparison=comparison).mean("seed")
    ks = sorted({int(k) for k in record.k.values if k > 1})
    adam = ", ".join(f"{name} {float(mean.sel(network=name, optimizer=ADAM)):.1f}%" for name in networks(record))
    lines = [f"{comparison}; Adam: {adam}", f"{'':>12}{'':>12}" + "".join(f"{f'k = {k}':>9}" for k in ks)]
    for network in networks(record):
        for strategy in two_stages(record):
            mine = mean.sel(network=network).isel(optimizer=np.flatnonzero(record.strategy == strategy)).sortby("k")
            lines.append(f"{network:>12}{strategy:>12}" + "".join(f"{value:>9.1f}" for value in mine.values))
    return "\n".join(lines)


@style.styled
def rates(record: xr.Dataset) -> Figure:
    """Validation accuracy in the search: against the learning rate above, against the size of a step below."""
    figure, all_axes = style.panels(2, 2, height=5.6, sharey="col")
    size = record.tried * record.search_update_rms.mean("tuning_seed")
    for (above, below), network in zip(all_axes.T, networks(record), strict=True):
        for method, look in _looks(record).items():
            one = record.sel(network=network, optimizer=method)
            _search_line(above, one.tried, one, look, label=method)
            _search_line(below, size.sel(network=network, optimizer=method), one, look)
        above.set(xscale="log", xlabel="learning rate (peak)", title=network)
        below.set(xscale="log", xlabel="size of a step: learning rate x rms of u", xlim=(1e-4, LARGEST))
    for axes in all_axes[:, 0]:
        axes.set_ylabel("validation accuracy (%)")
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7)
    style.label_stand_in(figure, record)
    return figure


def _looks(record: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Baselines in black and grey, told apart by their line; k = 2 in the colours of the strategies."""
    looks: dict[str, dict[str, Any]] = {}
    for name, (colour, line) in BASELINES.items():
        looks[name] = {"color": colour, "ls": line, "marker": "."}
    for strategy, method in two_stages(record).items():
        looks[method] = {"color": STRATEGIES[strategy], "marker": "o"}
    return looks


def _search_line(axes: Axes, x: xr.DataArray, one: xr.Dataset, look: Mapping[str, Any], label: str | None = None) -> None:
    """Accuracy in the search, mean over seeds; a cross at the bottom where a run diverged, at the edge if its x is beyond."""
    accuracy = 100 * one.search_accuracy.mean("tuning_seed", skipna=False)
    axes.plot(x, accuracy, lw=1, ms=3, label=label, **look)
    diverged = np.isnan(accuracy.values)
    place = np.nan_to_num(x.values[diverged], nan=np.inf) if label else np.full(diverged.sum(), 0.8 * LARGEST)
    axes.plot(place, np.full(diverged.sum(), 0.02), "x", color=look["color"], transform=axes.get_xaxis_transform())


@style.styled
def rates_by_k(record: xr.Dataset) -> Figure:
    """Validation accuracy against the learning rate for every k; a column a strategy, a row a network."""
    names = list(two_stages(record))
    figure, all_axes = style.panels(2, len(names), height=4.2, sharex=True, sharey="row", squeeze=False)
    ks = sorted({int(k) for k in record.k.values if k >= 1})
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(ks)))
    for row, network in zip(all_axes, networks(record), strict=True):
        for axes, strategy in zip(row, names, strict=True):
            for k, shade in zip(ks, shades, strict=True):
                chosen = (record.k == k) & ((record.strategy == strategy) | (record.k == 1))
                one = record.sel(network=network).isel(optimizer=int(np.flatnonzero(chosen)[0]))
                _search_line(axes, one.tried, one, {"color": shade, "marker": "."}, label=f"k = {k}")
            axes.set(xscale="log", title=strategy)
            axes.set_xlabel("learning rate" if network == networks(record)[-1] else "")
        row[0].set_ylabel(f"{network}: accuracy (%)")
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(ks))
    style.label_stand_in(figure, record)
    return figure


def rate_table(record: xr.Dataset) -> str:
    """Each method's best learning rate, its validation accuracy there, its rms of u, and the rate that matches Adam's size."""
    lines = [f"{'':>18}" + "".join(f"{name + ': best':>18}{'val. %':>8}{'rms u':>7}" for name in networks(record))]
    shown = [*BASELINES, *two_stages(record).values()]
    found = record.search_accuracy.fillna(0).mean("tuning_seed")
    for method in shown:
        cells = ""
        for network in networks(record):
            one, of = record.sel(network=network, optimizer=method), found.sel(network=network, optimizer=method)
            rms = float(one.search_update_rms.mean("tuning_seed").isel(rate=of.argmax("rate")))
            rate = float(one.peak_rate.sel(comparison=TUNED))
            cells += f"{rate:>18.2g}{100 * float(of.max()):>8.1f}{rms:>7.2g}"
        lines.append(f"{method:>18}{cells}")
    return "\n".join(lines)


@style.styled
def ranking(record: xr.Dataset) -> Figure:
    """Test accuracy of every method at its best learning rate, in order; means and 95% intervals over seeds."""
    figure, all_axes = style.panels(1, 2, height=0.9 + 0.16 * record.sizes["optimizer"])
    for axes, network in zip(all_axes, networks(record), strict=True):
        of = points(record).sel(network=network, comparison=TUNED)
        of = of.isel(optimizer=np.argsort(of.mean("seed").values))
        mean, low, high = mean_interval(of.transpose("optimizer", "seed"))
        place = np.arange(of.sizes["optimizer"])
        for i, k in enumerate(of.k.values):
            colour = style.MEASURED if k < 1 else style.PAPER if k == 1 else style.EXACT
            reach = np.nan_to_num([[mean[i] - low[i]], [high[i] - mean[i]]])
            axes.errorbar(mean[i], place[i], xerr=reach, fmt="o", ms=3, lw=1, color=colour)
        axes.set_yticks(place, of.optimizer.values, fontsize=6)
        axes.set(xlabel=ACCURACY, title=network)
    style.label_stand_in(figure, record)
    return figure


def ranking_table(record: xr.Dataset, *, shown: int = 5) -> str:
    """The first places with tuned rates, and all baselines, with 95% intervals."""
    lines = []
    for network in networks(record):
        of = points(record).sel(network=network, comparison=TUNED)
        order = np.argsort(-of.mean("seed").values)
        kept = [i for rank, i in enumerate(order) if rank < shown or record.k.values[i] < 2]
        for i in kept:
            mean, low, high = mean_interval(of.isel(optimizer=i))
            place = f"{int(np.flatnonzero(order == i)[0]) + 1:>4}."
            lines.append(f"{network:>12}{place}{of.optimizer.values[i]!s:>20}{mean:>8.1f} ({low:.1f} to {high:.1f})")
    return "\n".join(lines)


@style.styled
def curves(record: xr.Dataset, *, methods: Iterable[str]) -> Figure:
    """Test accuracy above and test loss below over training, at tuned and at equal rates; bands are 95% intervals."""
    figure, all_axes = style.panels(2, 4, height=4.6, sharex=True, sharey="row")
    columns = [(network, comparison) for network in networks(record) for comparison in (EQUAL, TUNED)]
    looks = _looks(record)
    for (above, below), (network, comparison) in zip(all_axes.T, columns, strict=True):
        for method in methods:
            one = record.sel(network=network, comparison=comparison, optimizer=method)
            _band(above, 100 * one.accuracy, looks[method], method)
            _band(below, one.loss, looks[method], method)
        above.set_title(f"{network},\n{comparison}")
        below.set_xlabel("step")
    all_axes[0, 0].set_ylabel(ACCURACY)
    all_axes[1, 0].set_ylabel("test loss (nats)")
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6)
    style.label_stand_in(figure, record)
    return figure


def _band(axes: Axes, values: xr.DataArray, look: Mapping[str, Any], label: str) -> None:
    mean, low, high = mean_interval(values.transpose("evaluation", "seed"))
    axes.plot(values.evaluation, mean, lw=1.2, ms=3, label=label, **look)
    axes.fill_between(values.evaluation, low, high, color=look["color"], alpha=0.15, lw=0)


def curve_table(record: xr.Dataset, *, methods: Iterable[str]) -> str:
    """Test accuracy and loss at the end, mean over seeds, at equal and tuned rates."""
    cases = [(network, comparison) for network in networks(record) for comparison in (EQUAL, TUNED)]
    heads = (["", *(network for network, _ in cases)], ["%, nats", *(comparison for _, comparison in cases)])
    lines = ["".join(f"{name:>18}" for name in head) for head in heads]
    for method in methods:
        cells = ""
        for network, comparison in cases:
            end = record.sel(network=network, comparison=comparison, optimizer=method).isel(evaluation=-1).mean("seed")
            cells += f"{100 * float(end.accuracy):>10.1f}{float(end.loss):>8.3f}"
        lines.append(f"{method:>18}{cells}")
    return "\n".join(lines)


@style.styled
def sizes(record: xr.Dataset) -> Figure:
    """The rms of u over training at equal rates, for Adam and k-Adam; a column a strategy, first network."""
    names, network = list(two_stages(record)), networks(record)[0]
    figure, all_axes = style.panels(1, len(names), height=2.6, sharey=True, squeeze=False)
    ks = sorted({int(k) for k in record.k.values if k >= 1})
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(ks)))
    for axes, strategy in zip(all_axes[0], names, strict=True):
        for k, shade in zip(ks, shades, strict=True):
            chosen = (record.k == k) & ((record.strategy == strategy) | (record.k == 1))
            one = record.update_rms.sel(network=network, comparison=EQUAL).isel(optimizer=int(np.flatnonzero(chosen)[0]))
            axes.plot(one.evaluation, one.mean("seed"), marker=".", color=shade, lw=1, label=f"k = {k}")
        axes.set(title=strategy, xlabel="step")
    all_axes[0, 0].set(ylabel="rms of u", ylim=(0, None))
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(ks))
    style.label_stand_in(figure, record)
    return figure


def size_table(record: xr.Dataset) -> str:
    """The rms of u over all of training at equal rates, by strategy and k, first network; mean over seeds."""
    rms = overall(record.update_rms).sel(comparison=EQUAL, network=networks(record)[0]).mean("seed")
    ks = sorted({int(k) for k in record.k.values if k > 1})
    lines = [f"Adam: {float(rms.sel(optimizer=ADAM)):.2f}", f"{'':>12}" + "".join(f"{f'k = {k}':>8}" for k in ks)]
    for strategy in two_stages(record):
        mine = rms.isel(optimizer=np.flatnonzero(record.strategy == strategy)).sortby("k")
        lines.append(f"{strategy:>12}" + "".join(f"{value:>8.2f}" for value in mine.values))
    return "\n".join(lines)
