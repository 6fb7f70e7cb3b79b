"""The figures of a contest of optimizers, each with what it shows in words, and tables of the numbers."""

import textwrap
from collections.abc import Sequence

import numpy as np
import xarray as xr

from kadam.chapters.contest import looks, measures
from kadam.chapters.contest.comparisons import ADAM, COMPARISONS, EQUAL, TUNED
from kadam.chapters.contest.measures import SCALES, by_k, cases, ended, gain, gains, networks, scale, two_stages
from kadam.chapters.contest.words import ahead, beyond, extremes, firsts, over_adam, sizes_at_equal_rates
from kadam.report import style
from kadam.report.sentences import listed, of_all, said, span
from kadam.report.statistics import mean_interval
from kadam.report.table import Table, table


@style.styled
def advantage(record: xr.Dataset) -> style.Figure:
    """How far k = 2 is ahead of Adam, by strategy and comparison; means and 95% intervals over seeds."""
    ylabel = f"$k = 2$ ahead of Adam ({scale(record).difference})"
    figure, all_axes = looks.by_network(record, height=3.2, ylabel=ylabel, sharey=True)
    methods = two_stages(record)
    for j, (comparison, (colour, marker, name)) in enumerate(looks.COMPARED.items()):
        found = np.stack(gain(record, comparison, list(methods.values())))
        for i, axes in enumerate(all_axes):
            looks.bars(axes, np.arange(len(methods)) + 0.18 * (j - 1), found[..., i], marker=marker, color=colour, label=name)
    for axes in all_axes:
        axes.axhline(0, color=style.GUIDE, lw=0.8)
        axes.set_xticks(range(len(methods)), list(methods), fontsize=7)
    return style.with_legend(figure, all_axes[0], ncols=3)


@said
def advantage_said(record: xr.Dataset) -> str:
    """How often k = 2 is ahead at the same learning rate, what stays of it, and where Adam's own best rate lies."""
    of, (equal, *others) = scale(record), (ahead(record, comparison).values for comparison in COMPARISONS)
    mean = measures.lead(record, EQUAL, list(two_stages(record).values())).mean("seed")
    rate = record.peak_rate.sel(optimizer=ADAM)
    above = (rate.sel(comparison=TUNED) > rate.sel(comparison=EQUAL)).values
    tuned, matched, there = (of_all(one[equal], "leads") for one in (*others, above | np.zeros_like(equal)))
    return (
        f"At the same learning rate $k = 2$ is ahead of Adam in {of_all(equal, 'cases')}, with differences of "
        f"{extremes(mean, f'+{of.form}')} {of.difference}. Left of these at matched size: {matched}, at tuned rates: "
        f"{tuned}. Adam's own best rate lies above the shared one in {of_all(above, 'networks')}; found there: {there}."
    )


def advantage_table(record: xr.Dataset) -> Table:
    """How far k = 2 is ahead of Adam in every network, with 95% intervals."""
    methods = two_stages(record).items()
    rows = [(name, strategy, *gains(record, name, method)) for name in COMPARISONS for strategy, method in methods]
    return table(("comparison", "strategy", *networks(record)), rows)


@style.styled
def stages(record: xr.Dataset) -> style.Figure:
    """The score at the end against k for every strategy; a column a comparison, a row a network."""
    rows, of = len(networks(record)), ended(record)
    figure, all_axes = style.panels(rows, 3, height=1 + 1.9 * rows, sharex=True, sharey="row", squeeze=False)
    for row, network in zip(all_axes, networks(record), strict=True):
        for axes, comparison in zip(row, COMPARISONS, strict=True):
            _against_k(axes, of.sel(network=network, comparison=comparison))
            first, last = (network == networks(record)[place] for place in (0, -1))
            axes.set(title=comparison if first else "", xlabel="$k$ (1 is Adam)" if last else "")
        row[0].set_ylabel(f"{network}:\n{looks.label(record)}")
        row[0].set_ylim(top=looks.limits(record, network, record.optimizer.values[record.k >= 1].tolist())[1])
    return style.with_legend(figure, all_axes[0, 0], ncols=5)


@said
def stages_said(record: xr.Dataset) -> str:
    """How many methods with several stages are ahead of a tuned Adam, and what further stages change."""
    count = of_all(ahead(record, TUNED, record.optimizer.values[record.k > 1].tolist()), "cases")
    return f"At tuned rates methods with two or more stages are ahead of Adam in {count}; {beyond(record, TUNED)}"


def _against_k(axes: style.Axes, of: xr.DataArray) -> None:
    """``of``: the scores of one network in one comparison, (optimizer, seed)."""
    ks = sorted({int(k) for k in of.k.values if k >= 1})
    for j, strategy in enumerate(dict.fromkeys(of.strategy.values[of.k.values > 1])):
        mine = by_k(of, strategy)
        x, found = np.searchsorted(ks, mine.k) + 0.08 * (j - 2), np.array(mean_interval(mine))
        looks.bars(axes, x, found, **looks.of_strategy(strategy))
        axes.plot(x, found[0], lw=1, ms=4, label=strategy, **looks.of_strategy(strategy))
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
    head = (looks.label(record), "network", "strategy", *(f"k = {k}" for k in looks.shades(record)))
    return table(head, rows, digits=scale(record).form)


@style.styled
def rates(record: xr.Dataset) -> style.Figure:
    """The score in the search, a column a network: against the learning rate above, against the size of a step below."""
    columns, found, drawn = len(networks(record)), looks.searched(record), looks.of_methods(record)
    drawn[ADAM]["lw"] = 2  # what the others are compared with
    figure, all_axes = style.panels(2, columns, height=5.6, sharey="col", squeeze=False)
    size = record.tried * record.search_update_rms.mean("tuning_seed")
    size_label = textwrap.fill("size of a step: learning rate × rms of $u$", 100 // columns)
    edge = looks.edge(scale(record))
    for (above, below), network in zip(all_axes.T, networks(record), strict=True):
        for method, look in drawn.items():
            of = {"network": network, "optimizer": method}
            looks.search_line(above, record.tried.sel(optimizer=method), found.sel(of), look, edge, label=method)
            looks.search_line(below, size.sel(of), found.sel(of), look, edge)
        above.set(xscale="log", xlabel="learning rate (peak)", title=network, ylim=looks.limits(record, network, list(drawn)))
        below.set(xscale="log", xlabel=size_label, xlim=(0.8 * float(size.min().fillna(1e-4)), looks.LARGEST))
    for axes in all_axes[:, 0]:
        axes.set_ylabel(looks.label(record, "validation"))
    return style.with_legend(figure, all_axes[0, 0], ncols=4, fontsize=7)


@said
def rates_said(record: xr.Dataset) -> str:
    """Which rates the search chooses for k = 2 beside Adam's, how long steps are there, and how good the runs."""
    found, rate = measures.search_score(record).mean("tuning_seed"), record.peak_rate.sel(comparison=TUNED)
    size = rate * record.search_update_rms.mean("tuning_seed").isel(rate=found.argmax("rate"))
    second, adam = measures.second_and_first(found.max("rate"))
    return (
        f"The learning rate chosen for $k = 2$ is {span(over_adam(rate))} times Adam's, the size of a step there "
        f"{extremes(over_adam(size), '.2f')} times. The validation {scale(record).quantity} is then better than Adam's in "
        f"{of_all(second > adam, 'cases')}."
    )


def rate_table(record: xr.Dataset) -> Table:
    """Each method's best learning rate, the score there in the search, and its rms of u."""
    of, by = measures.search_score(record).mean("tuning_seed"), scale(record)
    rms = record.search_update_rms.mean("tuning_seed").isel(rate=of.argmax("rate")).drop_vars("rate", errors="ignore")
    best = {"best": record.peak_rate.sel(comparison=TUNED), "score": by.sign * of.max("rate"), "rms": rms}
    rows = cases(xr.Dataset(best).sel(optimizer=list(looks.of_methods(record))), "network", "optimizer")
    head = ("network", "optimizer", "best rate", looks.label(record, "validation"), "rms of u")
    return table(head, rows, digits=("", "", ".2g", by.form, ".2g"))


@style.styled
def rates_by_k(record: xr.Dataset) -> style.Figure:
    """The score in the search against the learning rate for every k; a column a strategy, a row a network."""
    names, rows, found = list(two_stages(record)), len(networks(record)), looks.searched(record)
    staged, edge, colours = record.optimizer.values[record.k >= 1].tolist(), looks.edge(scale(record)), looks.shades(record)
    figure, all_axes = style.panels(rows, len(names), height=0.6 + 1.9 * rows, sharex=True, sharey="row", squeeze=False)
    for row, network in zip(all_axes, networks(record), strict=True):
        for axes, strategy in zip(row, names, strict=True):
            tried, mine = by_k(record.tried, strategy), by_k(found.sel(network=network), strategy)
            for x, of, (k, shade) in zip(tried, mine, colours.items(), strict=True):
                looks.search_line(axes, x, of, {"color": shade, "marker": "."}, edge, label=f"$k = {k}$")
            axes.set(
                xscale="log",
                title=strategy if network == networks(record)[0] else "",
                xlabel="learning rate" if network == networks(record)[-1] else "",
            )
        ylabel = f"{network}:\n{looks.label(record, 'validation')}"
        row[0].set(ylabel=ylabel, ylim=looks.limits(record, network, staged))
    return style.with_legend(figure, all_axes[0, 0], ncols=len(colours))


@said
def rates_by_k_said(record: xr.Dataset) -> str:
    """How often the chosen rate is the smallest that was tried, and with which strategies."""
    lowest = (measures.search_score(record).mean("tuning_seed").argmax("rate") == 0)[{"optimizer": (record.k > 1).values}]
    names = listed(dict.fromkeys(f"`{name}`" for name in lowest.strategy.values[lowest.any("network").values]))
    tried = f"the smallest of {record.sizes['rate']} rates that were tried"
    return f"With 2 to {int(record.k.max())} stages {tried} is the best in {of_all(lowest, 'cases')}: with {names}."


@style.styled
def ranking(record: xr.Dataset) -> style.Figure:
    """The score at the end of every method at its best learning rate, best on top; means and 95% intervals over seeds."""
    figure, all_axes = looks.by_network(record, height=0.9 + 0.16 * record.sizes["optimizer"])
    for axes, network in zip(all_axes, networks(record), strict=True):
        of = _ranked(record, network)[::-1]
        mean, low, high = mean_interval(of)
        for i, k in enumerate(of.k.values):
            colour = style.GUIDE if k < 1 else style.ADAM if k == 1 else looks.of_strategy(str(of.strategy.values[i]))["color"]
            reach = np.nan_to_num([[mean[i] - low[i]], [high[i] - mean[i]]])
            axes.errorbar(mean[i], i, xerr=reach, fmt="D" if k == 1 else "o", ms=4 if k == 1 else 3, lw=1, color=colour)
        axes.set_yticks(range(of.sizes["optimizer"]), of.optimizer.values, fontsize=7)
        axes.set_xlabel(looks.label(record))
    return figure


@said
def ranking_said(record: xr.Dataset) -> str:
    """Which method is first, the places of Adam and of the first with k = 2, and how many methods are ahead of Adam."""
    others = record.optimizer.values[record.k != 1].tolist()
    score, won = measures.lead(record, TUNED, [ADAM, *others]).mean("seed"), ahead(record, TUNED, others)
    second, adam = measures.second_and_first(score)
    places = [span(1 + (score > one).sum("optimizer"), ".0f") for one in (adam, second.max("optimizer"))]
    always = listed(f"`{name}`" for name in won.optimizer.values[won.all("network").values])
    return (
        f"The first of {score.sizes['optimizer']} methods is {firsts(record)}. Adam has place {places[0]}, the best with "
        f"$k = 2$ place {places[1]}. In one network or more {of_all(won.any('network'), 'others')} are ahead of Adam, in every "
        f"network {always}."
    )


def _ranked(record: xr.Dataset, network: str) -> xr.DataArray:
    """The score at the end at tuned rates, best mean first. Dimensions: optimizer, seed."""
    of = ended(record).sel(network=network, comparison=TUNED).transpose("optimizer", "seed")
    return of.isel(optimizer=np.argsort(-scale(record).sign * of.mean("seed").values))


@style.styled
def sizes(record: xr.Dataset) -> style.Figure:
    """The rms of u over training at equal rates, for Adam and k-Adam; a column a strategy, first network."""
    names, rms = list(two_stages(record)), record.update_rms.sel(comparison=EQUAL).isel(network=0).mean("seed")
    figure, all_axes = style.panels(1, len(names), height=2.6, sharey=True, squeeze=False)
    for axes, strategy in zip(all_axes[0], names, strict=True):
        for one, (k, shade) in zip(by_k(rms, strategy), looks.shades(record).items(), strict=True):
            axes.plot(one.evaluation, one, marker=".", color=shade, lw=1, label=f"$k = {k}$")
        axes.set(title=strategy, xlabel="step")
    all_axes[0, 0].set(ylabel=style.RMS, ylim=(0, None))
    return style.with_legend(figure, all_axes[0, 0], ncols=len(looks.shades(record)))


@said
def sizes_said(record: xr.Dataset) -> str:
    """The rms of u of Adam, with k = 2 and with the largest k."""
    of, ks = sizes_at_equal_rates(record).isel(network=0), sorted({1, 2, int(record.k.max())})
    each = [f"{span(of[(of.k == k).values], '.2f')} with $k = {k}$" for k in ks]
    return f"Over the whole training the rms of u is {listed(each)}."


@style.styled
def curves(record: xr.Dataset, *, methods: Sequence[str]) -> style.Figure:
    """What runs score on test data over training, at equal rates above and tuned rates below; bands are 95% intervals."""
    if not methods:
        raise ValueError(f"methods must hold one or more of {', '.join(record.optimizer.values)}; got none of them")
    known = looks.of_methods(record)
    columns = [(network, by) for network in networks(record) for name, by in SCALES.items() if name in record]
    figure, all_axes = style.panels(2, len(columns), height=4.6, sharex=True, sharey="col", squeeze=False)
    for (network, by), pair in zip(columns, all_axes.T, strict=True):
        for axes, comparison in zip(pair, (EQUAL, TUNED), strict=True):
            of = by.factor * record[by.quantity].sel(network=network, comparison=comparison)
            for method in methods:
                looks.band(axes, of.sel(optimizer=method), known[method], method, looks.edge(by))
        pair[0].set_title(f"{network}\n{by.quantity} ({by.unit})")
        looks.end_at_a_guess(pair[0], record, network)
        pair[1].set_xlabel("step")
    for axes, comparison in zip(all_axes[:, 0], (EQUAL, TUNED), strict=True):
        axes.set_ylabel(comparison)
    return style.with_legend(figure, all_axes[0, 0], ncols=6)


@said
def curves_said(record: xr.Dataset, *, methods: Sequence[str]) -> str:
    """How often tuned methods with several stages are better than Adam, early and at the end."""
    of, staged = scale(record), [name for name in methods if record.k.sel(optimizer=name) > 1]
    score = (of.sign * record[of.quantity].sel(comparison=TUNED)).mean("seed").isel(evaluation=[0, -1])
    better = score.sel(optimizer=staged) > score.sel(optimizer=ADAM)
    early, late = (of_all(one, "cases") for one in better.transpose("evaluation", ...))
    return (
        f"At tuned rates the methods drawn with two or more stages are better than Adam, on average over seeds, in {early} "
        f"at step {int(record.evaluation[0])} and in {late} at the end."
    )
