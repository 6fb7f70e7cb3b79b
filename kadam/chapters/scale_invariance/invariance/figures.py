"""The figures of chapter 5 on the norm of scale-invariant weights, each with the numbers that it shows."""

import itertools
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from kadam.chapters.scale_invariance.invariance.claims import USUAL, end_errors, growth_over_law, turn_over, usual
from kadam.report import style
from kadam.report.ledger import with_range
from kadam.report.selection import selected
from kadam.report.sentences import listed, of_all, said, span
from kadam.report.table import Table, table
from kadam.theory import invariance as theory

MARKERS = ("o", "s", "^")  # of the kinds of batch
COLOURS = (style.FIFTH, style.SECOND, style.CORRECTED, style.FOURTH, style.MEASURED)  # of the weights: no law's
PARTS = {  # colour, hatching and words
    "start": (style.REST, "", "start"),
    "kept": (style.PAPER, "////", f"{style.SQUARE}, the paper's law"),
    "momentum": (style.EXACT, "", f"momentum, from {style.SQUARE}"),
    "unequal": (style.SECOND, "", "unequal $v$"),
    "changing": (style.CORRECTED, "....", "changing $v$"),
}

CLOSE, TURNED = 0.15, 0.1  # how near to 1 a ratio counts as near: of growths, and of angles


@said
def answer(record: xr.Dataset) -> str:
    """What came out, in one paragraph."""
    one, ends = usual(record), record.sel(gamma=USUAL)
    off = {law: float(abs(end_errors(ends, law)).mean()) for law in ("corrected", "paper")}
    return (
        f"**The answer.** At $\\gamma = {USUAL:g}$ without weight decay $|W|^2$ grows "
        f"{with_range(one.growth_ratio, '.1f')} times as fast as the paper's law says; the law with the cross term says "
        f"{float(one.factor):.0f}. At the end of a run the paper's law is off by {off['paper']:.0%} "
        f"in the mean, the law with the cross term by {off['corrected']:.0%}. The cosine of $W$ and $u$ is "
        f"{span(one.cosine, '.2f')}, and the term dropped with it {float(one.dropped.mean()):.1f} times the one that is kept."
    )


def _by_batch(values: xr.DataArray) -> str:
    """The span on every kind of batch, as a list in a sentence."""
    return listed(f"{span(values.sel(setting=setting), '.2f')} on {setting}" for setting in values.setting.values)


@style.styled
def growth(record: xr.Dataset) -> style.Figure:
    """The growth of |W|^2 over what |u|^2 alone gives, against gamma: every weight and kind of batch."""
    figure, axes = style.panels(1, 1, height=4.0)
    gammas = style.fine_gammas(record.gamma.values)
    factors = [theory.growth_factor(gamma) for gamma in gammas]
    axes.plot(gammas, factors, color=style.EXACT, lw=1, label=r"with the cross term: $(1+\gamma)/(1-\gamma)$")
    axes.axhline(1, color=style.PAPER, ls="--", lw=1, label="the paper's law")
    _points(axes, record.growth_ratio.sel(weight_decay=0.0))
    axes.set(yscale="log", ylabel=r"growth of $|W|^2$ / $\eta^2\Sigma|u|^2$")
    _key(figure, axes, record)
    return figure


@said
def growth_said(record: xr.Dataset) -> str:
    """Which law is nearer and how often it is near; and what the longest memory and the kind of batch change."""
    found, over = record.growth_ratio.sel(weight_decay=0.0).mean("seed"), growth_over_law(record).mean("seed")
    moving, kinds = found.sel(gamma=found.gamma > 0), over.sel(gamma=USUAL).mean("weight")
    nearer = abs(moving - record.factor) < abs(moving - 1)
    return (
        f"At $\\gamma > 0$ growth is nearer to the law with the cross term than to the paper's in {of_all(nearer, 'cases')}; "
        f"over all $\\gamma$ it is within {CLOSE:.0%} of it in {of_all(abs(over - 1) <= CLOSE, 'cases')}. Over this law it "
        f"is {span(kinds, '.2f')} on the three kinds of batch at $\\gamma = {USUAL:g}$, in the mean over weights, and "
        f"{span(over[{'gamma': -1}], '.2f')} at $\\gamma = {float(record.gamma[-1]):g}$."
    )


def _cases(values: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Every kind of batch and weight, with how it looks: a marker a kind of batch, a colour a weight."""
    kinds, weights = zip(values.setting.values, MARKERS, strict=True), zip(values.weight.values, COLOURS, strict=True)
    for (setting, marker), (weight, colour) in itertools.product(kinds, weights):
        yield values.sel(setting=setting, weight=weight), {"marker": marker, "color": colour, "ms": 3.5, "lw": 0.7}


def _points(axes: style.Axes, values: xr.DataArray) -> None:
    """Mean over seeds with their range, all cases side by side at every gamma."""
    style.against_gamma(axes, values.gamma.values)
    for i, (one, look) in enumerate(_cases(values)):
        mean = one.mean("seed")
        reach = np.abs(np.stack([mean - one.min("seed"), one.max("seed") - mean]))
        axes.errorbar(style.beside(one.gamma.values, 0.013 * (i - 7)), mean, reach, ls="", **look)


def _key(figure: style.Figure, axes: style.Axes, record: xr.Dataset) -> None:
    """What lines, markers and colours mean, above the panels; the lines are those of ``axes``."""
    kinds = [(marker, style.GUIDE, name) for marker, name in zip(MARKERS, record.setting.values, strict=True)]
    weights = [("o", colour, name) for colour, name in zip(COLOURS, record.weight.values, strict=True)]
    points = [Line2D([], [], ls="", marker=m, color=colour, ms=4, label=name) for m, colour, name in kinds + weights]
    lines = axes.get_legend_handles_labels()[0]
    figure.legend(handles=[*lines, *points], fontsize=7, loc="outside upper center", ncols=5)


def _by(dim: str, *columns: tuple[xr.DataArray, str]) -> list[tuple[Any, ...]]:
    """Rows of a table, a label of ``dim`` each: of every column mean and range in its format, or the mean where it has none."""
    return [
        (label, *(with_range(x.sel({dim: label}), form) if form else x.sel({dim: label}).mean() for x, form in columns))
        for label in columns[0][0][dim].values
    ]


@style.styled
def norms(record: xr.Dataset, *, weight: str = "hidden", gamma: float = USUAL) -> style.Figure:
    """|W|^2 over training beside both laws: without decay above, with the largest below; one column a kind of batch."""
    figure, all_axes = style.panels(2, record.sizes["setting"], height=4.6, sharex=True, sharey="row")
    steps = np.arange(record.sizes["step"]) * int(record.attrs["every"])
    for row, weight_decay in zip(all_axes, record.weight_decay.values[[0, -1]], strict=True):
        for axes, setting in zip(row, record.setting.values, strict=True):
            one = selected(record, setting=setting, weight=weight, gamma=gamma, weight_decay=weight_decay).isel(seed=0)
            axes.plot(steps, one.norm_corrected, color=style.EXACT, lw=4, alpha=0.5, label="law with the cross term")
            axes.plot(steps, one.norm, color=style.MEASURED, lw=1, label="measured")
            axes.plot(steps, one.norm_paper, "--", color=style.PAPER, label="paper's law")
            axes.set_title(rf"{setting}, $\lambda = {weight_decay:g}$")
        row[0].set(ylabel=style.NORM, ylim=(0, None))
    plt.setp(all_axes[-1], xlabel="step")
    all_axes[0, 0].legend(fontsize=7)
    return figure


@said
def norms_said(record: xr.Dataset, *, gamma: float = USUAL) -> str:
    """Errors of both laws at the end at one gamma, over decays, weights, batches and seeds."""
    corrected, paper = (end_errors(record.sel(gamma=gamma), law) for law in ("corrected", "paper"))
    return (
        f"At $\\gamma = {gamma:g}$ the error of $|W|^2$ at the end is {float(corrected.mean()):+.1%} in the mean "
        f"({span(corrected, '+.0%')}) by the law with the cross term and {float(paper.mean()):+.1%} ({span(paper, '+.0%')}) by "
        f"the paper's. The first is the nearer of the two in {of_all(abs(corrected) < abs(paper), 'runs')}."
    )


@style.styled
def orthogonality(record: xr.Dataset) -> style.Figure:
    """Above: the cosine of W and u, and the dropped term over the kept one. Below: earlier gradients, and the way made."""
    figure, ((cosines, terms), (earlier, moved)) = style.panels(2, 2, height=6.0)
    gammas = style.fine_gammas(record.gamma.values)
    terms.plot(gammas, 2 * gammas / (1 - gammas), color=style.EXACT, lw=1, label=r"$2\gamma/(1-\gamma)$")
    terms.axhline(0, color=style.PAPER, ls="--", lw=1, label="the paper's assumption")
    cosines.axhline(0, color=style.PAPER, ls="--", lw=1)
    for axes, values in ((cosines, -record.cosine), (terms, record.dropped)):
        _points(axes, values.sel(weight_decay=0.0))
    cosines.set(ylabel=r"$-\cos(W, u)$", title="a small cosine")
    terms.set_yscale("symlog", linthresh=1)
    terms.set(ylabel="dropped term / kept term", title="is not a small term")
    _looking_back(earlier, moved, usual(record).mean("seed"))
    _key(figure, terms, record)
    return figure


def _looking_back(earlier: style.Axes, moved: style.Axes, mean: xr.Dataset) -> None:
    """A line a kind of batch, mean over weights, with the range over them as a band."""
    for (setting, marker), colour in zip(zip(mean.setting.values, MARKERS, strict=True), style.shades(3), strict=True):
        one, look = mean.sel(setting=setting), {"color": colour, "marker": marker, "ms": 3.5, "lw": 1}
        for axes, name, line in ((earlier, "past_cosine", "-"), (moved, "moved", "-"), (moved, "moved_largest", ":")):
            values, place = one[name], one.lag if name == "past_cosine" else one.window
            axes.plot(place, values.mean("weight"), ls=line, **look)
            if line == "-":
                axes.fill_between(place, values.min("weight"), values.max("weight"), color=colour, alpha=0.15, lw=0)
    for axes, at in ((earlier, 0), (moved, 1)):
        axes.axhline(at, color=style.PAPER, ls="--", lw=1)
    earlier.set(xlabel="steps back", ylabel="cosine of $W$ with that gradient", title="earlier gradients")
    way = r"displacement / $\eta\,\Sigma\,|u|$"
    moved.set(xscale="log", xlabel="steps", ylabel=way, title="how far a weight goes", ylim=(0, 1.05))


@said
def orthogonality_said(record: xr.Dataset) -> str:
    """The cosine and the dropped term, earlier gradients, and how far a weight goes."""
    one, window = usual(record), int(record.window[1])
    earlier, way = one.past_cosine.sel(lag=record.lag > 0), one[["moved", "moved_largest"]].sel(window=window).mean()
    return (
        f"At $\\gamma = {USUAL:g}$ the cosine of $W$ and $u$ is at most {float(abs(one.cosine).max()):.3f} in size, and the "
        f"dropped term {float(one.dropped.mean()):.1f} times the kept one in the mean, where the line says "
        f"{2 * USUAL / (1 - USUAL):.0f}. The cosine with earlier gradients is negative in {of_all(earlier < 0, 'cases')}. Over "
        f"{window} steps a weight goes {float(way.moved):.2f} of the length of its updates, and {float(way.moved_largest):.2f} "
        f"in the norm of the largest entry."
    )


def orthogonality_table(record: xr.Dataset) -> Table:
    """Cosine and the two terms' ratio by gamma."""
    one, ratio = record.sel(weight_decay=0.0), 2 * record.gamma / (1 - record.gamma)
    head = ("gamma", "cosine of W and u", "dropped over kept", "2 gamma/(1-gamma)")
    return table(head, _by("gamma", (one.cosine, ".3f"), (one.dropped, ".1f"), (ratio, "")), digits=("g", "", "", ".1f"))


def past_table(record: xr.Dataset) -> Table:
    """Cosines with earlier gradients, over weights, batches and seeds."""
    return table(("steps back", "cosine with that gradient"), _by("lag", (usual(record).past_cosine, ".3f")))


def moved_table(record: xr.Dataset) -> Table:
    """Displacements over the way that updates describe, in both norms, over weights, batches and seeds."""
    shares = [(usual(record)[name], ".2f") for name in ("moved", "moved_largest")]
    return table(("steps", "displacement, Euclidean", "largest entry"), _by("window", *shares))


@style.styled
def causes(record: xr.Dataset) -> style.Figure:
    """What |W|^2 at the end of training without decay is made of, mean over seeds: one bar a weight and kind of batch."""
    figure, all_axes = style.panels(
        1, record.sizes["setting"], height=3.4, sharey=True, ylabel=f"share of {style.NORM} at the end"
    )
    shares, names = usual(record).parts.mean("seed"), [name.replace("olution", ".") for name in record.weight.values]
    for axes, setting in zip(all_axes, record.setting.values, strict=True):
        above, below = np.zeros(len(names)), np.zeros(len(names))
        for part, (colour, hatch, label) in PARTS.items():
            share = shares.sel(setting=setting, part=part).values
            bottom = np.where(share > 0, above, below)
            axes.bar(names, share, 0.7, bottom=bottom, fc=colour, hatch=hatch, ec="white", lw=0.5, label=label)
            above, below = above + np.maximum(share, 0), below + np.minimum(share, 0)
        axes.tick_params("x", rotation=60)
        axes.axhline(0, color=style.MEASURED, lw=0.6)
        axes.set_title(setting)
    return style.with_legend(figure, all_axes[0], ncols=len(PARTS), fontsize=7)


@said
def causes_said(record: xr.Dataset) -> str:
    """What is added to the start, and how large the effects of second moments are."""
    parts = usual(record).parts.mean("seed")
    shares, second = parts.mean(["setting", "weight"]), abs(parts.sel(part="unequal") + parts.sel(part="changing"))
    added = shares / shares.drop_sel(part="start").sum("part")
    return (
        f"In the mean over weights and batches momentum makes {float(added.sel(part='momentum')):.0%} of what is added to the "
        f"start, and what the paper's law keeps makes {float(added.sel(part='kept')):.0%}. Unequal and changing second moments "
        f"together come to {span(second, '.1%')} of $|W|^2$."
    )


def causes_table(record: xr.Dataset) -> Table:
    """Each cause's share of |W|^2 at the end by kind of batch, mean over weights and seeds; and the spread of v."""
    one = usual(record)
    rows = _by("setting", *((one.parts.sel(part=part), "") for part in PARTS), (one.spread, ".1f"))
    return table(("batches", *PARTS, "spread of v"), rows, digits=".3f")


@said
def departure_said(record: xr.Dataset) -> str:
    """How many cases are near the law in both phases, and which kinds of batch leave it."""
    found = record.departure.sel(weight_decay=0.0).mean("seed")
    near = [f"{of_all(abs(found.sel(phase=phase) - 1) <= CLOSE, 'cases')} {phase}" for phase in record.phase.values]
    late = found.isel(phase=-1).sel(gamma=record.gamma[:-1])
    return (
        f"Growth over the law's is within {CLOSE:.0%} of 1 in {listed(near)} in training. Late, below the largest $\\gamma$, "
        f"it is {_by_batch(late)}."
    )


def departure_table(record: xr.Dataset) -> Table:
    """Growth over the law's at the usual gamma by kind of batch, with what late gradients and updates are like."""
    one = usual(record)
    grown = [(one.departure.sel(phase=phase), ".2f") for phase in record.phase.values]
    rows = _by("setting", *grown, (one.correlation, ""), (one.update_size, ""))
    return table(("batches", *record.phase.values, "correlation", "|u|^2"), rows, digits=("", "", "", ".2f", ".4f"))


@style.styled
def rotation(record: xr.Dataset) -> style.Figure:
    """The angle that a step turns a weight by, late in training with decay, against gamma: one panel a weight decay."""
    decays = [rate for rate in record.weight_decay.values if rate > 0]
    figure, all_axes = style.panels(1, len(decays), height=3.6, sharey=True, squeeze=False)
    for axes, rate in zip(all_axes[0], decays, strict=True):
        one = record.sel(weight_decay=rate)
        gammas, q = style.fine_gammas(record.gamma.values), np.cos(float(one.rotation_paper))
        law = np.arccos((q + gammas) / (1 + gammas * q))
        axes.plot(gammas, law, color=style.EXACT, lw=1, label=r"$\arccos\,(q+\gamma)/(1+\gamma q)$")
        axes.axhline(float(one.rotation_paper), ls="--", color=style.PAPER, lw=1, label="without the cross term")
        _points(axes, one.rotation)
        axes.set(yscale="log", title=rf"$\lambda = {rate:g}$")
    all_axes[0, 0].set_ylabel("angle of one step (radians)")
    _key(figure, all_axes[0, 0], record)
    return figure


@said
def rotation_said(record: xr.Dataset) -> str:
    """The angle over both predictions, which is nearer, how often the law is near, and what the batch changes."""
    law, paper = (turn_over(record, which).mean("seed") for which in ("law", "paper"))
    turned = record.rotation.sel(gamma=record.gamma > 0, weight_decay=record.weight_decay > 0).mean("seed")
    nearer = abs(turned - record.rotation_law) < abs(turned - record.rotation_paper)
    law_here, paper_here = (f"{float(one.sel(gamma=USUAL).mean()):.2f}" for one in (law, paper))
    return (
        f"At $\\gamma > 0$ the angle is nearer to the law's than to that without the cross term in {of_all(nearer, 'cases')}; "
        f"over all $\\gamma$ it is within {TURNED:.0%} of the law's in {of_all(abs(law - 1) <= TURNED, 'cases')}. At "
        f"$\\gamma = {USUAL:g}$ it is {law_here} of the law's and {paper_here} of the other. Over the law's it is "
        f"{_by_batch(law.mean(['gamma', 'weight', 'weight_decay']))}."
    )


def rotation_table(record: xr.Dataset) -> Table:
    """Measured angle over both predictions by gamma: mean and range over weight decays, weights, batches and seeds."""
    angle = record.rotation.sel(weight_decay=record.weight_decay > 0)
    rows = _by("gamma", (angle, ""), *((turn_over(record, law), ".2f") for law in ("law", "paper")))
    return table(("gamma", "angle", "over the law", "over sqrt(2 eta lambda)"), rows, digits=("g", ".4f", "", ""))
