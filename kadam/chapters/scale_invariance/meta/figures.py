"""The figures of chapter 5 on the second normalisation, each with the numbers that it shows."""

import re
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from kadam.chapters.scale_invariance.meta.claims import ANGLE, at_best_rates, over_own_turn
from kadam.report import style
from kadam.report.ledger import with_range
from kadam.report.selection import selected
from kadam.report.sentences import listed, of_all, said, span
from kadam.report.table import Table, table

HISTORIES: dict[str, tuple[dict[str, Any], str]] = {
    "|u|^2": ({"color": style.EXACT, "lw": 4, "alpha": 0.5}, f"from {style.SQUARE}"),
    "|g/sqrt(v)|^2": ({"color": style.CORRECTED, "ls": "-."}, r"from $|g/\sqrt{v}|^2$"),
    "constant": ({"color": style.GUIDE, "ls": ":"}, f"from a constant {style.SQUARE}"),
}
RULES = {
    "1% larger": (style.MEASURED, "-"),
    "law's norm": (style.EXACT, "-"),
    "constant norm": (style.GUIDE, ":"),
    "paper's norm": (style.PAPER, "--"),
    "2-Adam": (style.CORRECTED, "o-"),
    "2-Adam, paper's rate": (style.PAPER, "s-"),
    "one v": (style.SECOND, "^-"),
}
SHOWN_CHANGES = ["none", "loss / 10", "loss x 10"]
NETWORKS = {
    "normalised, Adam": (style.ADAM, "o-", "batch norm, Adam"),
    "plain, Adam": (style.ADAM, "s--", "no norm, Adam"),
    "plain, 2-Adam": (style.STRATEGIES["meta"], "^--", "no norm, 2-Adam (meta)"),
}

IN_WORDS = {
    "law's norm": "with the norm that the law with the cross term makes",
    "2-Adam": "under 2-Adam",
    "2-Adam, paper's rate": "under 2-Adam at the paper's rate",
    "one v": "with one second moment",
}
CALM = float(ANGLE.limits["calm"])  # up to it a weight made 1% larger leaves training as it was


@said
def answer(record: xr.Dataset) -> str:
    """What came out, in one paragraph."""
    by, constant = (float(record.history_error.sel(history=history).mean()) for history in ("|u|^2", "constant"))
    turned = _apart(record, "law's norm", "2-Adam, paper's rate")
    return (
        f"**The second normalisation.** Over all changes of the gradients the history of $|u|^2$ predicts $\\log |W|^2$ with "
        f"an error of {by:.2f}, a constant $|u|^2$ with one of {constant:.2f}. "
        f"{turned} {_gap(record)}"
    )


def _calm(record: xr.Dataset) -> xr.DataArray:
    """Where directions can be compared. (change, weight)"""
    return over_own_turn(record.angle_at_horizon).sel(rule="1% larger") <= CALM


def _apart(record: xr.Dataset, *rules: str) -> str:
    """How far rules are from AdamW over AdamW's own turn, mean over the calm cases."""
    calm = _calm(record)
    if not calm.any():
        return "Training is too chaotic to compare directions."
    mean = over_own_turn(record.angle_at_horizon).where(calm).mean(["change", "weight"])
    each = [f"{float(mean.sel(rule=rule)):.2f} {IN_WORDS[rule]}" for rule in rules]
    return f"The angle to AdamW's direction, over AdamW's own turn, is {listed(each)}."


def _gap(record: xr.Dataset) -> str:
    """What 2-Adam closes of the gap between a network without normalisation and one with it, each at its best rate."""
    normalised, plain, second = (at_best_rates(record).network_loss.sel(network=name).mean() for name in NETWORKS)
    if not plain > normalised:
        return "No gap in loss between networks without normalisation and with it is there to be closed."
    share = span((plain - second) / (plain - normalised), ".0%")
    return f"Of the gap in loss between a network without normalisation and one with it a second Adam closes {share}."


@style.styled
def histories(record: xr.Dataset, *, weight: str = "query") -> style.Figure:
    """|W|^2 of one weight through every change, first seed, beside what three histories make of it."""
    figure, all_axes = style.panels(2, 3, height=4.8, sharex=True, ylabel=style.NORM)
    steps = np.arange(record.sizes["step"]) * int(record.attrs["every"])
    for axes, change in zip(all_axes.flat, record.change.values, strict=True):
        one = selected(record, change=change, weight=weight).isel(seed=0)
        for history, (look, label) in HISTORIES.items():
            axes.plot(steps, one.norm_predicted.sel(history=history), label=label, **look)
        axes.plot(steps, one.norm, color=style.MEASURED, lw=1, label="measured")
        axes.axvline(int(record.attrs["change"]), color=style.GUIDE, lw=0.6)
        axes.set(yscale="log", title=f"change: {_in_signs(change)}")
        _plain_powers(axes)
    plt.setp(all_axes[-1], xlabel="step")
    return style.with_legend(figure, all_axes[0, 0], ncols=4, fontsize=8)


def _in_signs(change: str) -> str:
    return change.replace(" x ", " × ").replace(" / ", " ÷ ")


def _plain_powers(axes: style.Axes) -> None:
    """Ticks at 1, 2 and 5 times powers of ten, written out."""
    axes.yaxis.set(
        major_locator=LogLocator(subs=(1, 2, 5)), major_formatter=FuncFormatter("{0:g}".format), minor_locator=NullLocator()
    )


@said
def histories_said(record: xr.Dataset) -> str:
    """Errors of the three histories, at how many changes the first is nearest, and how much the norm takes back."""
    mean = record.history_error.mean(["seed", "weight"])
    each = [span(mean.sel(history=history), ".2f") for history in HISTORIES]
    first = mean.sel(history="|u|^2") < mean.drop_sel(history="|u|^2").min("history")
    divided = record[["size_change", "norm_change"]].sel(change="loss / 10").mean()
    return (
        f"The error of $\\log |W|^2$ after a change is {each[0]} by the history of $|u|^2$, {each[1]} by that of "
        f"$|g/\\sqrt v|^2$ and {each[2]} with a constant; the first is the smallest at {of_all(first, 'changes')}. With the "
        f"loss divided by 10 $\\log |u|^2$ changes by {float(divided.size_change):+.2f} and $\\log |W|^2$ by "
        f"{float(divided.norm_change):+.2f}."
    )


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
            axes.plot(since, apart.sel(change=change, rule=rule), line, ms=3, color=colour, label=re.sub(r"\bv$", "$v$", rule))
        axes.axvline(int(record.attrs["horizon"]), color=style.GUIDE, lw=0.6)
        axes.set(
            xscale="log", yscale="log", ylim=(2e-3, 4), xlabel="steps since the change", title=f"change: {_in_signs(change)}"
        )
    return style.with_legend(figure, all_axes[0], ncols=4, fontsize=8)


@said
def directions_said(record: xr.Dataset) -> str:
    """How many cases are calm, how far each rule goes there, and how well the law does with one second moment."""
    errors = [f"{float(record.law_error.sel(moments=of).mean()):.2f}" for of in ("one an entry", "one a weight")]
    return (
        f"At the grey line a weight made 1% larger is within {CALM:g} of AdamW's own turn in {of_all(_calm(record), 'cases')} "
        f"of change and weight. {_apart(record, *IN_WORDS)}\n\nThe law's error of $\\log |W|^2$ since the change is "
        f"{errors[0]} with one second moment per entry and {errors[1]} with one per weight."
    )


def direction_table(record: xr.Dataset) -> Table:
    """The angles at the horizon by rule, mean over seeds, with the range over weights."""
    ratio = over_own_turn(record.angle_at_horizon).sel(change=SHOWN_CHANGES).transpose("change", ...)
    return table(("rule", *SHOWN_CHANGES), [(rule, *map(with_range, ratio.sel(rule=rule))) for rule in RULES])


@style.styled
def networks(record: xr.Dataset) -> style.Figure:
    """Late training loss of the convolutional networks against the learning rate; mean and range over seeds."""
    figure, axes = style.panels(1, 1, height=3.4, ylabel="training loss, last quarter (nats)")
    for network, (colour, line, label) in NETWORKS.items():
        loss = record.network_loss.sel(network=network)
        mean = loss.mean("seed")
        reach = np.abs(np.stack([mean - loss.min("seed"), loss.max("seed") - mean]))
        axes.errorbar(record.rate, mean, reach, fmt=line, ms=4, lw=1, color=colour, label=label)
    style.rate_axis(axes, record.rate.values.tolist())
    return style.with_legend(figure, axes, ncols=len(NETWORKS))


@said
def networks_said(record: xr.Dataset) -> str:
    """Best losses, what is left of the gap, at how many rates 2-Adam helps, and how large its updates are."""
    best, mean = at_best_rates(record), record.network_loss.mean("seed", skipna=False)
    each = [f"{float(best.network_loss.sel(network=of).mean()):.3f} for {label}" for of, (*_, label) in NETWORKS.items()]
    lower = mean.sel(network="plain, 2-Adam") < mean.sel(network="plain, Adam")
    sizes = [f"{float(best.network_update.sel(network=of).mean()):.2f}" for of in ("plain, 2-Adam", "plain, Adam")]
    return (
        f"The lowest mean loss over the learning rates is {'; '.join(each)}. {_gap(record)} At one learning rate for both "
        f"2-Adam has the lower loss in {of_all(lower, 'cases')}. The root mean square of its last update is {sizes[0]}, that "
        f"of Adam's {sizes[1]}."
    )
