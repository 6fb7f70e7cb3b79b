"""The figures of chapter 5 on the second normalisation, each with the numbers that it shows."""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from kadam.chapters.scale_invariance.meta.claims import at_best_rates, over_own_turn
from kadam.report import style
from kadam.report.ledger import with_range
from kadam.report.selection import selected
from kadam.report.table import Table, table

HISTORIES = {"|u|^2": (style.EXACT, "--"), "|g/sqrt(v)|^2": (style.CORRECTED, "-."), "constant": (style.GUIDE, ":")}
RULES = {
    "1% larger": (style.GUIDE, "-"),
    "law's norm": (style.EXACT, "--"),
    "constant norm": (style.GUIDE, ":"),
    "paper's norm": (style.PAPER, "--"),
    "2-Adam": (style.CORRECTED, "-"),
    "2-Adam, paper's rate": (style.PAPER, "-"),
    "one v": (style.SECOND, "-"),
}
SHOWN_CHANGES = ["none", "loss / 10", "loss x 10"]
NETWORKS = {
    "normalised, Adam": (style.EXACT, "o", "batch norm, Adam"),
    "plain, Adam": (style.PAPER, "s", "no norm, Adam"),
    "plain, 2-Adam": (style.CORRECTED, "^", "no norm, 2-Adam (meta)"),
}


@style.styled
def histories(record: xr.Dataset, *, weight: str = "query") -> style.Figure:
    """|W|^2 of one weight through every change, first seed, beside what three histories make of it."""
    figure, all_axes = style.panels(2, 3, height=4.8, sharex=True, ylabel="|W|^2")
    steps = np.arange(record.sizes["step"]) * int(record.attrs["every"])
    for axes, change in zip(all_axes.flat, record.change.values, strict=True):
        one = selected(record, change=change, weight=weight).isel(seed=0)
        axes.plot(steps, one.norm, color=style.MEASURED, lw=2, label="measured")
        for history, (colour, line) in HISTORIES.items():
            axes.plot(steps, one.norm_predicted.sel(history=history), line, color=colour, label=f"from {history}")
        axes.axvline(int(record.attrs["change"]), color=style.GUIDE, lw=0.6)
        axes.set(yscale="log", title=f"change: {change}")
    plt.setp(all_axes[-1], xlabel="step")
    return style.with_legend(figure, all_axes[0, 0], ncols=4, fontsize=8)


def history_table(record: xr.Dataset) -> Table:
    """Errors of log |W|^2 after each change by history, and how far size and norm went: mean over weights and seeds."""
    mean = record[["history_error", "size_change", "norm_change"]].mean(("weight", "seed"))
    rows = [(change, *(x for name in mean for x in mean[name].sel(change=change).values.flat)) for change in mean.change.values]
    head = ("change", *(f"from {history}" for history in record.history.values), "log |u|^2", "log |W|^2")
    return table(head, rows, digits=("", ".3f", ".3f", ".3f", "+.2f", "+.2f"))


@style.styled
def directions(record: xr.Dataset) -> style.Figure:
    """How far the directions of other rules are from AdamW's, after three of the changes; mean over weights and seeds."""
    figure, all_axes = style.panels(1, len(SHOWN_CHANGES), height=3.8, sharey=True, ylabel="angle to AdamW / AdamW's own turn")
    apart = over_own_turn(record.angle).mean("weight")
    since = np.arange(record.sizes["since"]) * int(record.attrs["every"]) + 1
    for axes, change in zip(all_axes, SHOWN_CHANGES, strict=True):
        for rule, (colour, line) in RULES.items():
            axes.plot(since, apart.sel(change=change, rule=rule), line, color=colour, label=rule)
        axes.axvline(int(record.attrs["horizon"]), color=style.GUIDE, lw=0.6)
        axes.set(xscale="log", yscale="log", ylim=(2e-3, 4), xlabel="steps since the change", title=f"change: {change}")
    return style.with_legend(figure, all_axes[0], ncols=4, fontsize=8)


def direction_table(record: xr.Dataset) -> Table:
    """The angles at the horizon by rule, mean over seeds, with the range over weights."""
    ratio = over_own_turn(record.angle_at_horizon).sel(change=SHOWN_CHANGES).transpose("change", ...)
    return table(("rule", *SHOWN_CHANGES), [(rule, *map(with_range, ratio.sel(rule=rule))) for rule in RULES])


def moment_table(record: xr.Dataset) -> Table:
    """The law's error since the change with Adam's second moments and with one a weight, over changes, weights and seeds."""
    rows = [(moments, with_range(record.law_error.sel(moments=moments))) for moments in record.moments.values]
    return table(("second moments", "error of log |W|^2 by the law"), rows)


@style.styled
def networks(record: xr.Dataset) -> style.Figure:
    """Late training loss of the convolutional networks against the learning rate; mean and range over seeds."""
    figure, axes = style.panels(1, 1, height=3.4, ylabel="training loss, last quarter (nats)")
    for network, (colour, marker, label) in NETWORKS.items():
        loss = record.network_loss.sel(network=network)
        mean = loss.mean("seed")
        reach = np.abs(np.stack([mean - loss.min("seed"), loss.max("seed") - mean]))
        axes.errorbar(record.rate, mean, reach, fmt=f"-{marker}", ms=4, lw=1, color=colour, label=label)
    style.rate_axis(axes, record.rate.values.tolist())
    axes.legend(fontsize=8)
    return figure


def network_table(record: xr.Dataset) -> Table:
    """The best learning rate of every network, its loss there, and the root mean square of its last update."""
    best = at_best_rates(record)
    each = [(label, best.sel(network=network)) for network, (_, _, label) in NETWORKS.items()]
    rows = [(label, one.rate, with_range(one.network_loss, ".3f"), one.network_update.mean()) for label, one in each]
    return table(("network", "best rate", "loss", "update"), rows, digits=("", "g", "", ".2f"))
