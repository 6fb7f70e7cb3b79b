"""The figures of chapter 1, each with the numbers that it shows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from kadam.chapters.stability.claims import ROUNDING, at_most, boundary_gap, rate_error
from kadam.report import style
from kadam.report.selection import selected
from kadam.report.table import Table, table
from kadam.theory import stability

# Where a pair's name stands beside its marker in the panels that show it, in points.
OFFSETS = {
    "SignSGD": {"square": (6, 4)},
    "RMSprop": {"square": (6, -12)},
    "Adam default": {"corner": (6, -11), "logarithmic": (6, -3)},
    "language models": {"corner": (-80, -3), "logarithmic": (-14, -14)},
    "Transformer": {"corner": (-58, -3), "logarithmic": (6, -3)},
    "equal betas": {"corner": (-46, -13), "logarithmic": (2, 5)},
    "momentum 0.97": {"corner": (-52, 6), "logarithmic": (-50, -14)},
    "momentum 0.98": {"corner": (5, -11), "logarithmic": (-68, 2)},
    "default swapped": {"corner": (-76, -3), "logarithmic": (6, -3)},
}

# Of the maps: title, where the axes begin, and the level curves of C that are drawn.
WINDOWS = {
    "square": ("the whole square", -0.02, [0.2, 0.5, 1, 2]),
    "corner": ("its corner near (1, 1)", 0.85, [-0.1, -0.05, 0.05, 0.1, 0.2]),
}


@style.styled
def region(record: xr.Dataset) -> style.Figure:
    """The (gamma, beta) plane and its corner: growth rate, boundaries, level curves of C, the normal curve, known pairs."""
    figure, both = style.panels(1, 2, height=4.1, ylabel=style.BETA_LABEL)
    for axes, (window, (title, low, levels)) in zip(both, WINDOWS.items(), strict=True):
        shading = _map(axes, record.sel(window=window), levels)
        _boundaries(axes, record)
        axes.plot(record.normal_gamma, record.normal_beta, ":", color=style.MEASURED, label="normal curve through Adam")
        axes.set(xlim=(low, 1), ylim=(low, 1), xlabel=style.GAMMA_LABEL, title=title)
        _mark(axes, record, window)
    figure.colorbar(shading, ax=both[1], label="exact growth rate of log|u| per step", extend="max", pad=0.02)
    return style.with_legend(figure, both[0], ncols=3)


@style.styled
def corner(record: xr.Dataset) -> style.Figure:
    """Where people train, alone, with the axes in PyTorch's names: the picture of the front page."""
    figure, axes = style.panels(1, 1, height=3.4, ylabel="beta2")
    _, low, _ = WINDOWS["corner"]
    shading = _map(axes, record.sel(window="corner"), [])
    _boundaries(axes, record, r"\beta_2", r"\beta_1")
    axes.set(xlim=(low, 1), ylim=(low, 1), xlabel="beta1")
    _mark(axes, record, "corner")
    figure.colorbar(shading, ax=axes, label="growth of log|u| per step", extend="max", pad=0.02)
    return style.with_legend(figure, axes, ncols=2)


def _boundaries(axes: style.Axes, record: xr.Dataset, beta: str = r"\beta", gamma: str = r"\gamma") -> None:
    exact, paper = f"exact boundary ${beta}={gamma}^2$", f"the paper's, $C=0$: ${beta}={gamma}/(2-{gamma})$"
    axes.plot(record.boundary_gamma, record.boundary_discrete, color=style.EXACT, label=exact)
    axes.plot(record.boundary_gamma, record.boundary_continuous, "--", color=style.PAPER, label=paper)


def _map(axes: style.Axes, window: xr.Dataset, levels: Sequence[float]) -> Any:
    """Growth rates as colours, which are given back, and level curves of C."""
    place, growing = (window.map_gamma, window.map_beta), window.rate_discrete.where(window.rate_discrete > 0)
    C = window.coefficient.where(np.isfinite(window.coefficient))
    if levels:
        lines = axes.contour(*place, C, levels=levels, colors=style.GUIDE, linewidths=0.6, linestyles="solid")
        axes.clabel(lines, fontsize=6, fmt="C = %g")
    return axes.pcolormesh(*place, growing, cmap=style.GROWTH_MAP, vmin=0, vmax=0.1, rasterized=True)


def _mark(axes: style.Axes, record: xr.Dataset, panel: str, place: Callable[[float], float] = float) -> None:
    """A dot for each named pair, filled where it is unstable; ``place`` takes a rate to where it lies on both axes."""
    for name, offset in ((name, of[panel]) for name, of in OFFSETS.items() if panel in of):
        pair = record.sel(practice=name)
        x, y = place(float(pair.practice_gamma)), place(float(pair.practice_beta))
        fill = "white" if pair.practice_stable_discrete else style.MEASURED
        axes.plot(x, y, "o", ms=5, mec=style.MEASURED, mfc=fill, clip_on=False, zorder=5)
        box = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7}
        axes.annotate(name, (x, y), xytext=offset, textcoords="offset points", fontsize=7.5, bbox=box, zorder=6)


def practice_table(record: xr.Dataset) -> Table:
    """What the theory says of each named pair, one a row."""
    numbers = [record[f"practice_{name}"] for name in ("gamma", "beta", "coefficient", "rate")]
    stable = [np.where(record[f"practice_stable_{time}"], "stable", "unstable") for time in ("discrete", "continuous")]
    columns = [record.practice, *numbers, *stable, record.practice_bound_10, record.practice_bound_1000]
    head = ("pair", "beta1", "beta2", "C", "rate", "exact", "paper", "n = 10", "n = 1000")
    digits = ("", "g", "g", ".4f", ".3f", "", "", ".3g", ".2g")
    return table(head, zip(*map(np.asarray, columns), strict=True), digits=digits)


@style.styled
def boundaries(record: xr.Dataset) -> style.Figure:
    """Where the two boundaries disagree: the gap in beta, and the corner on logarithmic axes."""
    figure, (gap, corner) = style.panels(1, 2, height=3.3)
    height, place, *_ = boundary_numbers(record).values()
    words = f"{height:.4f} at $\\gamma$ = {place:.3f}"
    gap.plot(record.boundary_gamma, boundary_gap(record), color=style.MEASURED)
    gap.plot(place, height, "o", color=style.MEASURED)
    gap.annotate(words, (place, height), xytext=(0, 5), textcoords="offset points", ha="center")
    gap.set(xlabel=style.GAMMA_LABEL, ylabel=r"$\gamma/(2-\gamma)-\gamma^2$", title="gap in beta", ylim=(0, 0.105))
    gamma = 1 - np.geomspace(1e-3, 0.5, 200)
    corner.plot(1 - gamma, 1 - stability.boundary(gamma), color=style.EXACT, label="exact")
    corner.plot(1 - gamma, 1 - stability.boundary(gamma, time="continuous"), "--", color=style.PAPER, label="the paper's")
    _mark(corner, record, "logarithmic", lambda rate: 1 - rate)
    corner.text(3e-3, 2e-1, "unstable", color=style.GUIDE)
    corner.text(1.5e-1, 2e-3, "stable", color=style.GUIDE)
    corner.set(xscale="log", yscale="log", xlim=(8e-4, 0.6), ylim=(6e-4, 0.6), title="the corner, logarithmic")
    corner.set(xlabel=r"$1-\gamma$  (1 / memory of the momentum)", ylabel=r"$1-\beta$  (1 / memory of $v$)")
    corner.legend(loc="lower left")
    return figure


def boundary_numbers(record: xr.Dataset) -> dict[str, float]:
    """The widest gap between the boundaries, where it is, and how much of the square lies between them."""
    gap = boundary_gap(record)
    numbers = {"widest gap in beta": gap.max(), "at gamma": gap.idxmax("boundary_gamma"), "area between": gap.mean()}
    places = {f"gap at gamma {gamma:g}": gap.sel(boundary_gamma=gamma, method="nearest") for gamma in (0.9, 0.99)}
    return {name: float(value) for name, value in (numbers | places).items()}


@style.styled
def bounds(record: xr.Dataset) -> style.Figure:
    """Both bounds over n, and what the algorithm reaches on the worst-case gradients."""
    figure, grid = style.panels(2, 3, height=4.4, sharex=True)
    for example, axes in enumerate(grid.flat):
        one = record.isel(example=example)
        axes.plot(one.n, one.bound_discrete, color=style.EXACT, lw=3, alpha=0.5, label="exact bound")
        axes.plot(one.n, one.attained, color=style.MEASURED, lw=1, label="reached by the algorithm")
        axes.plot(one.n, one.bound_continuous, "--", color=style.PAPER, label="the paper's expression")
        axes.set_title(rf"$\beta$ = {float(one.example_beta):g}, $\gamma$ = {float(one.example_gamma):g}")
        if float(one.bound_discrete[-1]) > 100:
            axes.set_yscale("log")
    figure.supxlabel("iteration n", fontsize=9)
    figure.supylabel("largest possible |u| (learning rates)", fontsize=9)
    return style.with_legend(figure, grid.flat[0], ncols=3)


def bound_table(record: xr.Dataset, n: int) -> Table:
    """Both bounds and what is reached at iteration n, one pair a row."""
    names = ("example_beta", "example_gamma", "attained", "bound_discrete", "bound_continuous")
    head = ("beta", "gamma", f"reached at n = {n}", "exact bound", "paper's expression")
    return table(head, zip(*(selected(record, n=n)[name].values for name in names), strict=True), digits=".5g")


@style.styled
def runs(record: xr.Dataset) -> style.Figure:
    """Simulated growth on both sides of the boundary, and every sequence against its bound."""
    figure, (growth, ratios) = style.panels(1, 2, height=3.1)
    limits = [float(record.growth_asymptotic.min()), float(record.growth_asymptotic.max())]
    growth.axhline(0, color=style.GUIDE, lw=0.6)
    growth.axvline(0, color=style.GUIDE, lw=0.6)
    growth.plot(limits, limits, color=style.EXACT, label="exact rate")
    growth.plot(record.growth_asymptotic, record.growth_measured, ".", ms=4, color=style.MEASURED, label="simulated")
    growth.set(xlabel=r"$\ln\gamma-\frac{1}{2}\ln\beta$  (a step)", ylabel="slope of log|u| after silence")
    growth.legend()
    edges = np.linspace(0, 1, 41) + 1e-9  # a ratio of 1 belongs to the last bin
    ratios.hist(record.sequence_ratio, edges, color=style.EXACT, alpha=0.6, label="Adam, its bound")
    ratios.hist(record.last_stage_ratio, edges, color=style.SECOND, alpha=0.6, label="k-Adam, last stage's bound")
    ratios.axvline(1, color=style.MEASURED, lw=0.8)
    ratios.set(xlabel="largest |u| / bound of a sequence", ylabel="sequences", xlim=(-0.02, 1.06))
    ratios.legend(loc="upper left")
    return figure


def run_numbers(record: xr.Dataset) -> str:
    """The extremes of those runs, and what the order of two stages does."""
    orders = zip(record.order.values, record.order_reached.values, record.order_limit.values, strict=True)
    return "\n".join(
        [
            f"pairs simulated: {record.sizes['pair']}; error of the rate, a step: {at_most(rate_error(record), ROUNDING)}",
            f"largest |u|/bound of Adam: {record.sequence_ratio.max():.6f}",
            f"largest |u|/bound of k-Adam: {record.last_stage_ratio.max():.6f}",
            *(f"{order}: reaches {reached:.4g}, its last stage allows {limit:.4g}" for order, reached, limit in orders),
        ]
    )
