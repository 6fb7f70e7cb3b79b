"""The figures of a contest of optimizers, each with the table of the numbers that it shows."""

import textwrap
from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kadam.chapters.contest.comparisons import ADAM, COMPARISONS, EQUAL, TUNED, overall
from kadam.chapters.contest.looks import (
    BOTTOM,
    COMPARED,
    LARGEST,
    STRATEGY_COLOURS,
    TOP,
    band,
    bars,
    by_network,
    edge,
    end_at_a_guess,
    ended,
    finished,
    label,
    limits,
    looks,
    search_line,
    searched,
    shades,
)
from kadam.chapters.contest.measures import by_k, cases, gain, gains, in_words, networks, scale, search_score, two_stages
from kadam.report import style
from kadam.report.statistics import mean_interval
from kadam.report.table import Table, table


@style.styled
def advantage(record: xr.Dataset) -> Figure:
    """How far k = 2 is ahead of Adam, by strategy and comparison; means and 95% intervals over seeds."""
    ylabel = f"k = 2 ahead of Adam ({scale(record).difference})"
    figure, all_axes = by_network(record, height=3.2, ylabel=ylabel, sharey=True)
    methods = two_stages(record)
    for i, axes in enumerate(all_axes):
        for j, (comparison, (colour, marker, name)) in enumerate(COMPARED.items()):
            of = [[part[i] for part in gain(record, method, ADAM, comparison)] for method in methods.values()]
            bars(axes, np.arange(len(methods)) + 0.18 * (j - 1), np.array(of).T, marker, colour, name)
        axes.axhline(0, color=style.GUIDE, lw=0.8)
        axes.set_xticks(range(len(methods)), list(methods), fontsize=7)
    return finished(figure, record, all_axes[0], ncols=3)


def advantage_table(record: xr.Dataset) -> Table:
    """How far k = 2 is ahead of Adam in every network, with 95% intervals."""
    rows = [
        (comparison, strategy, *gains(record, method, ADAM, comparison))
        for comparison in COMPARISONS
        for strategy, method in two_stages(record).items()
    ]
    return table(("comparison", "strategy", *networks(record)), rows)


@style.styled
def stages(record: xr.Dataset) -> Figure:
    """The score at the end against k for every strategy; a column a comparison, a row a network."""
    rows, of = len(networks(record)), ended(record)
    figure, all_axes = style.panels(rows, 3, height=1 + 1.9 * rows, sharex=True, sharey="row", squeeze=False)
    for row, network in zip(all_axes, networks(record), strict=True):
        for axes, comparison in zip(row, COMPARISONS, strict=True):
            _against_k(axes, of.sel(network=network, comparison=comparison))
            axes.set_title(f"{network}, {comparison}")
        row[0].set_ylabel(label(record))
        end_at_a_guess(row[0], record, network)
    for axes in all_axes[-1]:
        axes.set_xlabel("k (1 is Adam)")
    return finished(figure, record, all_axes[0, 0], ncols=5)


def _against_k(axes: Axes, of: xr.DataArray) -> None:
    """``of``: the scores of one network in one comparison, (optimizer, seed)."""
    ks = sorted({int(k) for k in of.k.values if k >= 1})
    for j, strategy in enumerate(s for s in STRATEGY_COLOURS if s in of.strategy.values):
        mine = by_k(of, strategy)
        x = np.array([ks.index(int(k)) for k in mine.k.values]) + 0.08 * (j - 2)
        found = np.array(mean_interval(mine))
        bars(axes, x, found, "o", STRATEGY_COLOURS[strategy])
        axes.plot(x, found[0], color=STRATEGY_COLOURS[strategy], lw=1, label=strategy)
    axes.set_xticks(range(len(ks)), list(map(str, ks)))


def stage_table(record: xr.Dataset, *comparisons: str) -> Table:
    """The score at the end by strategy and k, mean over seeds; k = 1 is Adam."""
    mean = ended(record).mean("seed")
    rows = [
        (comparison, network, strategy, *by_k(mean.sel(comparison=comparison, network=network), strategy).values)
        for comparison in comparisons
        for network in networks(record)
        for strategy in two_stages(record)
    ]
    head = (label(record), "network", "strategy", *(f"k = {k}" for k in shades(record)))
    return table(head, rows, digits=f".{scale(record).digits}f")


@style.styled
def rates(record: xr.Dataset) -> Figure:
    """The score in the search, a column a network: against the learning rate above, against the size of a step below."""
    columns, found = len(networks(record)), searched(record)
    figure, all_axes = style.panels(2, columns, height=5.6, sharey="col", squeeze=False)
    size = record.tried * record.search_update_rms.mean("tuning_seed")
    size_label = textwrap.fill("size of a step: learning rate x rms of u", 100 // columns)
    for (above, below), network in zip(all_axes.T, networks(record), strict=True):
        for method, look in looks(record).items():
            of = {"network": network, "optimizer": method}
            search_line(above, record.tried.sel(optimizer=method), found.sel(of), look, edge(record), label=method)
            search_line(below, size.sel(of), found.sel(of), look, edge(record))
        above.set(xscale="log", xlabel="learning rate (peak)", title=network, ylim=limits(record, network, list(looks(record))))
        below.set(xscale="log", xlabel=size_label, xlim=(0.8 * float(size.min().fillna(1e-4)), LARGEST))
    for axes in all_axes[:, 0]:
        axes.set_ylabel(label(record, "validation"))
    return finished(figure, record, all_axes[0, 0], ncols=4, fontsize=7)


def rate_table(record: xr.Dataset) -> Table:
    """Each method's best learning rate, the score there in the search, and its rms of u."""
    of = search_score(record).mean("tuning_seed")
    rms = record.search_update_rms.mean("tuning_seed").isel(rate=of.argmax("rate")).drop_vars("rate", errors="ignore")
    best = {"best": record.peak_rate.sel(comparison=TUNED), "score": scale(record).sign * of.max("rate"), "rms": rms}
    rows = cases(xr.Dataset(best).sel(optimizer=list(looks(record))), "network", "optimizer")
    head = ("network", "optimizer", "best rate", label(record, "validation"), "rms of u")
    return table(head, rows, digits=("", "", ".2g", f".{scale(record).digits}f", ".2g"))


@style.styled
def rates_by_k(record: xr.Dataset) -> Figure:
    """The score in the search against the learning rate for every k; a column a strategy, a row a network."""
    names, rows, found = list(two_stages(record)), len(networks(record)), searched(record)
    staged = record.optimizer.values[record.k >= 1].tolist()
    figure, all_axes = style.panels(rows, len(names), height=0.6 + 1.8 * rows, sharex=True, sharey="row", squeeze=False)
    for row, network in zip(all_axes, networks(record), strict=True):
        for axes, strategy in zip(row, names, strict=True):
            tried, mine = by_k(record.tried, strategy), by_k(found.sel(network=network), strategy)
            for x, of, (k, shade) in zip(tried, mine, shades(record).items(), strict=True):
                search_line(axes, x, of, {"color": shade, "marker": "."}, edge(record), label=f"k = {k}")
            axes.set(xscale="log", title=strategy)
            axes.set_xlabel("learning rate" if network == networks(record)[-1] else "")
        row[0].set(ylabel=textwrap.fill(label(record, f"{network}:"), 26), ylim=limits(record, network, staged))
    return finished(figure, record, all_axes[0, 0], ncols=len(shades(record)))


@style.styled
def ranking(record: xr.Dataset) -> Figure:
    """The score at the end of every method at its best learning rate, best on top; means and 95% intervals over seeds."""
    figure, all_axes = by_network(record, height=0.9 + 0.16 * record.sizes["optimizer"])
    for axes, network in zip(all_axes, networks(record), strict=True):
        of = _ranked(record, network)[::-1]
        mean, low, high = mean_interval(of)
        for i, k in enumerate(of.k.values):
            colour = style.MEASURED if k < 1 else style.PAPER if k == 1 else style.EXACT
            reach = np.nan_to_num([[mean[i] - low[i]], [high[i] - mean[i]]])
            axes.errorbar(mean[i], i, xerr=reach, fmt="o", ms=3, lw=1, color=colour)
        axes.set_yticks(range(of.sizes["optimizer"]), of.optimizer.values, fontsize=6)
        axes.set_xlabel(label(record))
    return finished(figure, record)


def _ranked(record: xr.Dataset, network: str) -> xr.DataArray:
    """The score at the end at tuned rates, best mean first. Dimensions: optimizer, seed."""
    of = ended(record).sel(network=network, comparison=TUNED).transpose("optimizer", "seed")
    return of.isel(optimizer=np.argsort(-scale(record).sign * of.mean("seed").values))


def ranking_table(record: xr.Dataset, *, shown: int = 5) -> Table:
    """The first places with tuned rates, and all baselines, with 95% intervals."""
    form = f".{scale(record).digits}f"
    rows = [
        (network, place, of.optimizer, in_words(of, form))
        for network in networks(record)
        for place, of in enumerate(_ranked(record, network), 1)
        if place <= shown or of.k < 2
    ]
    return table(("network", "place", "optimizer", label(record)), rows)


@style.styled
def sizes(record: xr.Dataset) -> Figure:
    """The rms of u over training at equal rates, for Adam and k-Adam; a column a strategy, first network."""
    names, rms = list(two_stages(record)), record.update_rms.sel(network=networks(record)[0], comparison=EQUAL).mean("seed")
    figure, all_axes = style.panels(1, len(names), height=2.6, sharey=True, squeeze=False)
    for axes, strategy in zip(all_axes[0], names, strict=True):
        for one, (k, shade) in zip(by_k(rms, strategy), shades(record).items(), strict=True):
            axes.plot(one.evaluation, one, marker=".", color=shade, lw=1, label=f"k = {k}")
        axes.set(title=strategy, xlabel="step")
    all_axes[0, 0].set(ylabel="rms of u", ylim=(0, None))
    return finished(figure, record, all_axes[0, 0], ncols=len(shades(record)))


def size_table(record: xr.Dataset) -> Table:
    """The rms of u over all of training at equal rates, by strategy and k, first network; mean over seeds."""
    rms = overall(record.update_rms).sel(comparison=EQUAL, network=networks(record)[0]).mean("seed")
    rows = [(strategy, *by_k(rms, strategy).values) for strategy in two_stages(record)]
    return table(("rms of u", *(f"k = {k}" for k in shades(record))), rows, digits=".2f")


SCORED = {"accuracy": (100, "%", ".1f", BOTTOM), "loss": (1, "nats", ".3f", TOP)}  # factor, unit, digits, worst end of the axis


@style.styled
def curves(record: xr.Dataset, *, methods: Sequence[str]) -> Figure:
    """What runs score on test data over training, at equal rates above and tuned rates below; bands are 95% intervals."""
    known, columns = looks(record), [(network, name) for network in networks(record) for name in SCORED if name in record]
    figure, all_axes = style.panels(2, len(columns), height=4.6, sharex=True, sharey="col", squeeze=False)
    for (network, name), pair in zip(columns, all_axes.T, strict=True):
        factor, unit, _, worst = SCORED[name]
        for axes, comparison in zip(pair, (EQUAL, TUNED), strict=True):
            for method in methods:
                of = record[name].sel(network=network, comparison=comparison, optimizer=method)
                band(axes, factor * of, known[method], method, worst)
        pair[0].set_title(f"{network}\n{name} ({unit})")
        end_at_a_guess(pair[0], record, network)
        pair[1].set_xlabel("step")
    for axes, comparison in zip(all_axes[:, 0], (EQUAL, TUNED), strict=True):
        axes.set_ylabel(comparison)
    return finished(figure, record, all_axes[0, 0], ncols=6)


def curve_table(record: xr.Dataset, *, methods: Sequence[str]) -> Table:
    """The same at the end, mean over seeds; nan where a run diverged."""
    names = [name for name in SCORED if name in record]
    of = record[names].isel(evaluation=-1).mean("seed", skipna=False).sel(comparison=[EQUAL, TUNED], optimizer=list(methods))
    rows = cases(of.map(lambda one: SCORED[one.name][0] * one), "network", "comparison", "optimizer")
    head = ("network", "comparison", "optimizer", *(f"test {name} ({SCORED[name][1]})" for name in names))
    return table(head, rows, digits=("", "", "", *(SCORED[name][2] for name in names)))
