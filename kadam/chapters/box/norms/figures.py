"""The figures of chapter 8 on steepest descent in two norms, each with the numbers that it shows."""

import numpy as np
import xarray as xr

from kadam.chapters.box.looks import COLOURS
from kadam.chapters.box.norms.config import BASES
from kadam.report import style
from kadam.report.ledger import below
from kadam.report.sentences import of_all, said, span
from kadam.report.table import Table, table

DESCENTS = {
    "l_inf": (COLOURS["SignGD"], "--", r"$\ell_\infty$: SignGD"),
    "l_2": (COLOURS["l_2"], "-", r"$\ell_2$: normalised gradient"),
    "AdamW, equal": (COLOURS["equal"], "-.", "AdamW, both 0.95"),
    "AdamW, default": (COLOURS["Adam"], "-", "AdamW, default"),
}


@style.styled
def identity(record: xr.Dataset) -> style.Figure:
    """The gap of the optimizer with betas (0, 0) and of Frank & Wolfe's steps, and how far apart their weights ever are."""
    figure, (left, right) = style.panels(1, 2, height=2.8)
    left.plot(record.step, record.gap.sel(path="Frank-Wolfe"), color=style.REST, lw=4, label="Frank-Wolfe")
    left.plot(record.step, record.gap.sel(path="optimizer"), color=style.MEASURED, lw=1, label="SignGD with decay")
    left.set(xscale="log", yscale="log", xlabel="step", ylabel="Frank-Wolfe gap")
    left.legend()
    right.plot(record.step, np.maximum(record.difference, 1e-18), "o", ms=3, color=style.MEASURED)
    right.axhline(np.finfo(float).eps, color=style.GUIDE, lw=0.8)
    right.annotate("one rounding of 1", (1, np.finfo(float).eps), xytext=(2, 4), textcoords="offset points", fontsize=7)
    right.set(xscale="log", yscale="log", ylim=(1e-19, 1e-10), xlabel="step", ylabel="largest difference so far")
    return figure


@said
def identity_said(record: xr.Dataset) -> str:
    """How far apart the two ever are, and how far the gap falls."""
    first, last = (span(record.gap.isel(kept=place)) for place in (0, -1))
    return (
        f"The largest difference of a weight of the two at any step is {below(float(record.difference.max()))} radii. Their "
        f"gap is {first} after the first step and {last} after the last one, the {int(record.step[-1]):,}th."
    )


@style.styled
def losses(record: xr.Dataset) -> style.Figure:
    """Loss along the axes and in a random basis in the largest dimension, with Frank & Wolfe's bounds; median over seeds."""
    figure, both = style.panels(1, 2, height=3.4, sharey=True, ylabel="loss / first loss")
    largest = record.isel(dimension=-1).median("seed")
    titles = {"axes": "curvature along the axes", "rotated": "the same in a random basis"}
    for axes, basis in zip(both, record.basis.values, strict=True):
        for descent, (colour, line, label) in DESCENTS.items():
            one = largest.sel(basis=basis, descent=descent)
            axes.plot(record.step, one.loss, line, color=colour, label=label)
            if descent.startswith("l_"):
                axes.plot(record.step, one.bound, ":", color=colour, lw=1)
        axes.set(xscale="log", yscale="log", ylim=(1e-6, 1e3), xlabel="step", title=titles[str(basis)])
    return style.with_legend(figure, both[0], ncols=4, fontsize=8)


@said
def losses_said(record: xr.Dataset) -> str:
    """How many times their steps the Euclidean method takes, by basis, and what the theorem's constant says of it."""
    steps = record.reached.fillna(float(record.step.max()) + 1)
    times = steps.sel(descent="l_2") / steps
    (along, rotated), kept = (times.sel(descent="l_inf", basis=basis) for basis in BASES), times.sel(descent="AdamW, equal")
    signs, adam = (span(of.median("seed")) for of in (rotated, kept.sel(basis="rotated")))
    constants = record.constant.isel(dimension=-1).sel(descent="l_inf").median("seed")
    before, after = (f"{float(constants.sel(basis=basis)):.3g}" for basis in BASES)
    return (
        f"Along the axes the Euclidean method takes more steps than SignGD in {of_all(along > 1, 'runs')}, "
        f"{span(along.median('seed'))} times as many; in a random basis in {of_all(rotated > 1, 'runs')}, {signs} times as "
        f"many. There it takes {adam} times the steps of AdamW with equal decays. In the largest dimension the theorem's "
        rf"constant in $\ell_\infty$ is {before} along the axes and {after} in a random basis."
    )


def step_table(record: xr.Dataset) -> Table:
    """Steps to the level by dimension and basis, median over seeds; inf: never."""
    middle = record.reached.fillna(np.inf).median("seed")
    cases = [middle.sel(basis=basis, descent=descent) for basis in middle.basis.values for descent in middle.descent.values]
    head = (f"steps to {record.attrs['level']:g} of the first loss", "basis", *(f"d = {d}" for d in record.dimension.values))
    return table(head, [(one.descent, one.basis, *one.values) for one in cases], digits=".0f")
