"""The figures of chapter 5 on the second normalisation, each with the numbers that it shows."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from kadam.report import style
from kadam.report.ledger import with_range

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
SHOWN_CHANGES = ("none", "loss / 10", "loss x 10")
NETWORKS = {
    "normalised, Adam": (style.EXACT, "o", "batch norm, Adam"),
    "plain, Adam": (style.PAPER, "s", "no norm, Adam"),
    "plain, 2-Adam": (style.CORRECTED, "^", "no norm, 2-Adam (meta)"),
}


@style.styled
def histories(record: xr.Dataset, *, weight: str = "query") -> Figure:
    """|W|^2 of one weight through every change, first seed, beside what three histories make of it."""
    figure, all_axes = style.panels(2, 3, height=4.8, sharex=True)
    steps = np.arange(record.sizes["step"]) * int(record.attrs["every"])
    for axes, change in zip(all_axes.flat, record.change.values, strict=True):
        one = record.sel(change=change, weight=weight).isel(seed=0)
        axes.plot(steps, one.norm, color=style.MEASURED, lw=2, label="measured")
        for history, (colour, line) in HISTORIES.items():
            axes.plot(steps, one.norm_predicted.sel(history=history), line, color=colour, label=f"from {history}")
        axes.axvline(int(record.attrs["change"]), color=style.GUIDE, lw=0.6)
        axes.set(yscale="log", title=f"change: {change}")
    for axes in all_axes[:, 0]:
        axes.set_ylabel("|W|^2")
    for axes in all_axes[-1]:
        axes.set_xlabel("step")
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=8)
    return figure


def history_table(record: xr.Dataset) -> str:
    """Errors of log |W|^2 after each change by history, and how far size and norm went: mean over weights and seeds."""
    lines = [f"{'change':>16}" + "".join(f"{history:>15}" for history in HISTORIES) + f"{'log |u|^2':>12}{'log |W|^2':>11}"]
    for change in record.change.values:
        one = record.sel(change=change)
        errors = "".join(f"{float(one.history_error.sel(history=history).mean()):>15.3f}" for history in HISTORIES)
        moves = f"{float(one.size_change.mean()):>+12.2f}{float(one.norm_change.mean()):>+11.2f}"
        lines.append(f"{change:>16}{errors}{moves}")
    return "\n".join(lines)


def turned(record: xr.Dataset) -> xr.DataArray:
    """The angle of every rule to AdamW's direction over the angle that AdamW turned since the change, mean over seeds."""
    return (record.angle / record.angle.sel(rule="AdamW")).mean("seed")


@style.styled
def directions(record: xr.Dataset) -> Figure:
    """How far the directions of other rules are from AdamW's, after three of the changes; mean over weights and seeds."""
    figure, all_axes = style.panels(1, len(SHOWN_CHANGES), height=3.8, sharey=True)
    apart = turned(record).mean("weight")
    since = np.arange(record.sizes["since"]) * int(record.attrs["every"]) + 1
    for axes, change in zip(all_axes, SHOWN_CHANGES, strict=True):
        for rule, (colour, line) in RULES.items():
            axes.plot(since, apart.sel(change=change, rule=rule), line, color=colour, label=rule)
        axes.axvline(int(record.attrs["horizon"]), color=style.GUIDE, lw=0.6)
        axes.set(xscale="log", yscale="log", ylim=(2e-3, 4), xlabel="steps since the change", title=f"change: {change}")
    all_axes[0].set_ylabel("angle to AdamW / AdamW's own turn")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=8)
    return figure


def direction_table(record: xr.Dataset) -> str:
    """The angles at the horizon by rule, mean over seeds, with the range over weights."""
    final = record.angle_at_horizon
    ratio = (final / final.sel(rule="AdamW")).mean("seed")
    lines = [f"{'':>20}" + "".join(f"{change:>20}" for change in SHOWN_CHANGES)]
    for rule in RULES:
        cells = [with_range(ratio.sel(rule=rule, change=change)) for change in SHOWN_CHANGES]
        lines.append(f"{rule:>20}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def moment_table(record: xr.Dataset) -> str:
    """The law's error since the change with Adam's second moments and with one a weight, over changes, weights and seeds."""
    lines = [f"{'second moments':>16}{'error of log |W|^2 by the law':>32}"]
    lines += [f"{moments:>16}{with_range(record.law_error.sel(moments=moments)):>32}" for moments in record.moments.values]
    return "\n".join(lines)


@style.styled
def networks(record: xr.Dataset) -> Figure:
    """Late training loss of the convolutional networks against the learning rate; mean and range over seeds."""
    figure, axes = style.panels(1, 1, height=3.4)
    for network, (colour, marker, label) in NETWORKS.items():
        loss = record.network_loss.sel(network=network)
        mean = loss.mean("seed")
        reach = np.abs(np.stack([mean - loss.min("seed"), loss.max("seed") - mean]))
        axes.errorbar(record.rate, mean, reach, fmt=f"-{marker}", ms=4, lw=1, color=colour, label=label)
    style.rate_axis(axes, record.rate.values.tolist())
    axes.set_ylabel("training loss, last quarter (nats)")
    axes.legend(fontsize=8)
    return figure


def network_table(record: xr.Dataset) -> str:
    """The best learning rate of every network, its loss there, and the root mean square of its last update."""
    lines = [f"{'':>24}{'best rate':>10}{'loss':>26}{'update':>8}"]
    for network, (_, _, label) in NETWORKS.items():
        one = record.sel(network=network)
        best = one.isel(rate=one.network_loss.mean("seed", skipna=False).fillna(np.inf).argmin("rate"))
        update = f"{float(best.network_update.mean()):>8.2f}"
        lines.append(f"{label:>24}{float(best.rate):>10g}{with_range(best.network_loss, '.3f'):>26}{update}")
    return "\n".join(lines)
