"""The figures of chapter 5 on the second normalisation, each with the numbers that it shows."""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from kadam.chapters.scale_invariance.meta.claims import ANGLE, HISTORY, at_best_rates, over_own_turn
from kadam.report import style
from kadam.report.ledger import with_range
from kadam.report.selection import selected
from kadam.report.sentences import listed, of_all, said, span
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

IN_WORDS = {
    "|u|^2": "from the history of $|u|^2$",
    "|g/sqrt(v)|^2": "from that of $|g/\\sqrt v|^2$",
    "constant": "with a constant $|u|^2$",
}
RULES_IN_WORDS = {
    "1% larger": "a weight made 1% larger",
    "law's norm": "the norm of the law with the cross term",
    "constant norm": "a constant norm",
    "2-Adam": "2-Adam",
    "2-Adam, paper's rate": "2-Adam at the paper's rate",
    "one v": "one second moment",
}
MOMENTS = {"one an entry": "one second moment per entry", "one a weight": "one per weight"}
CALM = float(ANGLE.limits["calm"])  # up to it a weight made 1% larger leaves training as it was
CALM_RULE = "a weight made 1% larger stays within"


@said
def answer(record: xr.Dataset) -> str:
    """What came out, in one paragraph."""
    error, calm = record.history_error.mean("seed"), _calm(record)
    if not calm.any():
        turned = "training is too chaotic to compare directions"
    else:
        law, paper, second = (_mean_apart(record, rule) for rule in ("law's norm", "2-Adam, paper's rate", "2-Adam"))
        turned = (
            f"the direction is {law} of AdamW's own turn away from AdamW's with the norm that the law dictates, "
            f"{paper} under a second Adam at the paper's rate and {second} at the law's"
        )
    return (
        f"**The second normalisation.** Over all changes of the gradients the history of $|u|^2$ predicts $\\log |W|^2$ "
        f"with an error of {float(error.sel(history='|u|^2').mean()):.2f}, a constant $|u|^2$ with one of "
        f"{float(error.sel(history='constant').mean()):.2f}; {turned}. {_gap(record)}"
    )


def _calm(record: xr.Dataset) -> xr.DataArray:
    """Where directions can be compared. (change, weight)"""
    return over_own_turn(record.angle_at_horizon).sel(rule="1% larger") <= CALM


def _mean_apart(record: xr.Dataset, rule: str) -> str:
    """A rule's angle to AdamW over AdamW's own turn, mean over the calm cases."""
    return span(over_own_turn(record.angle_at_horizon).sel(rule=rule).where(_calm(record)).mean(), ".2f")


def _gap(record: xr.Dataset) -> str:
    """What 2-Adam closes of the gap between a network without normalisation and one with it, each at its best rate."""
    normalised, plain, second = (at_best_rates(record).network_loss.sel(network=name).mean() for name in NETWORKS)
    if not np.isfinite(plain - normalised):
        return "The gap between networks without normalisation and with it is not measured."
    if plain <= normalised:
        return "Without normalisation the loss is no higher than with it, so there is no gap for a second Adam to close."
    share = span((plain - second) / (plain - normalised), ".0%")
    return f"Of the gap in loss between a network without normalisation and one with it a second Adam closes {share}."


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


@said
def histories_said(record: xr.Dataset) -> str:
    """Errors of the three histories, at how many changes the first is nearest, and how much the norm takes back."""
    error, mean = record.history_error.mean("seed"), record.history_error.mean(["seed", "weight"])
    each = [f"{span(mean.sel(history=h), '.2f')} {words}" for h, words in IN_WORDS.items()]
    first = mean.sel(history="|u|^2") < mean.drop_sel(history="|u|^2").min("history")
    few = error.sel(history="|u|^2") <= error.sel(history="constant") * HISTORY.limits["most"]
    divided = record[["size_change", "norm_change"]].sel(change="loss / 10").mean()
    return (
        f"The error of $\\log |W|^2$ after a change, mean over weights and seeds, is {listed(each)}. That from the history "
        f"of $|u|^2$ is the smallest of the three at {of_all(first, 'changes')}, and at most {HISTORY.limits['most']:g} of "
        f"the constant's in {of_all(few, 'cases')} of change and weight. Where nothing changes on purpose the constant's "
        f"is {float(mean.sel(history='constant', change='none')):.2f}. With the loss divided by 10 $\\log |u|^2$ changes "
        f"by {float(divided.size_change):+.2f} and $\\log |W|^2$ by {float(divided.norm_change):+.2f}."
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
            axes.plot(since, apart.sel(change=change, rule=rule), line, color=colour, label=rule)
        axes.axvline(int(record.attrs["horizon"]), color=style.GUIDE, lw=0.6)
        axes.set(xscale="log", yscale="log", ylim=(2e-3, 4), xlabel="steps since the change", title=f"change: {change}")
    return style.with_legend(figure, all_axes[0], ncols=4, fontsize=8)


@said
def directions_said(record: xr.Dataset) -> str:
    """Which changes are calm, how far each rule goes there, who stays as near as the 1% copy, and what one moment costs."""
    ratio, calm = over_own_turn(record.angle_at_horizon), _calm(record)
    law = [f"{with_range(record.law_error.sel(moments=name))} with {words}" for name, words in MOMENTS.items()]
    moments = f"The law's error of $\\log |W|^2$ since the change is {listed(law)}."
    if not calm.any():
        return f"In {of_all(calm, 'cases')} of change and weight {CALM_RULE} {CALM:g} of AdamW's own turn. {moments}"
    each = [f"{_mean_apart(record, rule)} for {words}" for rule, words in RULES_IN_WORDS.items()]
    near = (ratio.sel(rule="law's norm") <= ratio.sel(rule="1% larger")).where(calm).values[calm.values]
    beyond = ratio.sel(rule="2-Adam, paper's rate").values[calm.values] > 1
    first = over_own_turn(record.angle.isel(since=0)).where(calm).mean(["change", "weight"])
    start = [f"{span(first.sel(rule=rule), '.2f')} for {RULES_IN_WORDS[rule]}" for rule in ("2-Adam", "one v")]
    left = [str(change) for change in record.change.values if not calm.sel(change=change).all()]
    return (
        f"At the grey line {CALM_RULE} {CALM:g} of AdamW's own turn in {of_all(calm, 'cases')} of change and weight; "
        f"changes with a case that is left out: {listed(left)}. In the mean over the others the angle is {listed(each)}. "
        f"The law's norm is as close as the 1% copy or closer in {of_all(near, 'cases')}, and 2-Adam at the paper's rate "
        f"is farther away than AdamW turned in {of_all(beyond, 'cases')}. One step after the change the angle is "
        f"{listed(start)}.\n\n{moments}"
    )


def direction_table(record: xr.Dataset) -> Table:
    """The angles at the horizon by rule, mean over seeds, with the range over weights."""
    ratio = over_own_turn(record.angle_at_horizon).sel(change=SHOWN_CHANGES).transpose("change", ...)
    return table(("rule", *SHOWN_CHANGES), [(rule, *map(with_range, ratio.sel(rule=rule))) for rule in RULES])


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


@said
def networks_said(record: xr.Dataset) -> str:
    """Best losses and rates, what is left of the gap, and at which rates 2-Adam helps."""
    best, mean = at_best_rates(record), record.network_loss.mean("seed", skipna=False)
    losses = {name: best.network_loss.sel(network=name) for name in NETWORKS}
    each = [
        f"{span(losses[name].mean(), '.3f')} ({span(losses[name], '.3f')}) at {float(best.rate.sel(network=name)):g} for "
        f"{label}"
        for name, (_, _, label) in NETWORKS.items()
    ]
    gain = mean.sel(network="plain, Adam") - mean.sel(network="plain, 2-Adam")
    return (
        f"Lowest mean loss over the learning rates: {'; '.join(each)}. {_gap(record)} At one learning rate for both 2-Adam "
        f"has the lower loss in {of_all(gain > 0, 'cases')}; Adam's loss minus that of 2-Adam is {span(gain[0], '+.3f')} "
        f"at the smallest rate and {span(gain[-1], '+.3f')} at the largest. The last update of 2-Adam has a root mean "
        f"square of {span(best.network_update.sel(network='plain, 2-Adam').mean(), '.2f')}, that of Adam "
        f"{span(best.network_update.sel(network='plain, Adam').mean(), '.2f')}."
    )
