"""The figures of chapter 1, each with what it shows in sentences."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.ticker import LogLocator, NullLocator

from kadam.chapters.stability.claims import ROUNDING, at_most, boundary_gap, rate_error
from kadam.report import style
from kadam.report.selection import selected
from kadam.report.sentences import listed, of_all, said, span
from kadam.report.table import Table, table
from kadam.theory import stability

# Where a pair's name stands beside its marker in the panels that show it, in points.
OFFSETS = {
    "SignSGD": {"square": (6, 4)},
    "RMSprop": {"square": (6, -12)},
    "Adam default": {"corner": (6, -11), "logarithmic": (7, -3)},
    "language models": {"corner": (-65, -13), "logarithmic": (-70, -3)},
    "Transformer": {"corner": (-58, -3), "logarithmic": (7, -3)},
    "equal betas": {"corner": (-46, -13), "logarithmic": (-20, -14)},
    "momentum 0.97": {"corner": (-52, 6), "logarithmic": (-52, 7)},
    "momentum 0.98": {"corner": (-38, -14), "logarithmic": (7, -5)},
    "default swapped": {"corner": (-76, -3), "logarithmic": (-72, -3)},
}

# Of the maps: title, where the axes begin, the level curves of C that are drawn, and at which beta C is written on those with
# C > 0 and on the others.
WINDOWS = {
    "square": ("the whole square", -0.02, [0.2, 0.5, 1, 2], (0.75, 0.75)),
    "corner": ("its corner near (1, 1)", 0.85, [-0.1, -0.05, 0.05, 0.1, 0.2], (0.9, 0.87)),
}

# Of the map of silence: the shares, in percent, whose contours are drawn, and at which gamma each is named.
SILENT: dict[str, dict[float, float]] = {
    "square": dict.fromkeys((10, 25, 50, 75, 90), 0.85),
    "corner": {90: 0.98, 95: 0.982, 98: 0.99},
}


@said
def answer(record: xr.Dataset) -> str:
    """What came out, in one paragraph."""
    held, exceeded = record.sequence_ratio <= 1 + ROUNDING, (_excess(record) > 1).any("n")
    return (
        f"**The answer.** The exact bound holds over {of_all(held, 'gradient sequences')}, and its worst case misses it by "
        f"{_tightness(record)} of its value. The paper's region is {_safety(record)}. Its expression, read as a bound on the "
        f"algorithm itself, is exceeded at {of_all(exceeded, 'pairs of decay rates')}. Outside of the exact region "
        f"{_named(record, record.practice_stable_discrete == 0)}."
    )


def _tightness(record: xr.Dataset) -> str:
    """The largest share by which the worst case misses the exact bound."""
    return at_most(float(np.abs(record.attained / record.bound_discrete - 1).max()), ROUNDING)


def _safety(record: xr.Dataset) -> str:
    """Whether updates can grow where the paper's coefficient is positive."""
    square = record.sel(window="square")
    grow = (square.rate_discrete > 0).values[square.coefficient.values > 0]
    return f"{'not safe' if grow.any() else 'safe'}: updates can grow at {of_all(grow, 'grid points')} that have $C > 0$"


def _excess(record: xr.Dataset) -> xr.DataArray:
    """What the algorithm reaches over the paper's expression, from the second iteration on."""
    return (record.attained / record.bound_continuous).isel(n=slice(1, None))


def _named(record: xr.Dataset, chosen: xr.DataArray) -> str:
    """How many of the named pairs are chosen, and which."""
    names = f" ({_pairs(chosen)})" if chosen.any() else ""
    return f"{'lies' if chosen.sum() == 1 else 'lie'} {of_all(chosen, 'named pairs')}{names}"


def _pairs(chosen: xr.DataArray) -> str:
    return listed(chosen.practice.values[chosen.values].tolist())


@style.styled
def region(record: xr.Dataset) -> style.Figure:
    """The (gamma, beta) plane and its corner: growth rate, boundaries, level curves of C, the normal curve, known pairs."""
    figure, both = style.panels(1, 2, height=4.1, ylabel=style.BETA_LABEL)
    for axes, (window, (title, low, levels, written)) in zip(both, WINDOWS.items(), strict=True):
        shading = _map(axes, record.sel(window=window), levels, written)
        _boundaries(axes, record)
        axes.plot(record.normal_gamma, record.normal_beta, ":", color=style.MEASURED, label="normal curve through Adam")
        axes.set(xlim=(low, 1), ylim=(low, 1), xlabel=style.GAMMA_LABEL, title=title)
        _mark(axes, record, window)
    figure.colorbar(shading, ax=both[1], label=r"exact growth rate of $\log|u|$ per step", extend="max", pad=0.02)
    return style.with_legend(figure, both[0], ncols=3)


@said
def region_said(record: xr.Dataset) -> str:
    """Which named pairs are outside, how fast they may grow, and how large an update the others allow."""
    exact, paper = (record[f"practice_stable_{time}"] == 0 for time in ("discrete", "continuous"))
    words = f"Outside of the exact region {_named(record, exact)}, and outside of the paper's {_named(record, paper)}."
    if exact.any():
        rates = record.practice_rate[exact], np.abs(record.practice_coefficient[exact]) / 2
        per_step, continuous = (span(rate, ".3f") for rate in rates)
        words += f" The exact rate of those outside is {per_step} per step, the paper's $|C|/2$ is {continuous}."
    largest = record.practice_bound_1000.where(~exact)
    least, most = (_pairs(np.abs(largest - end) <= ROUNDING * end) for end in (largest.min(), largest.max()))
    return (
        f"{words} Inside, the largest update that is possible by iteration 1000 is {span(largest)} learning rates: the "
        f"smallest for {least}, the largest for {most}."
    )


@style.styled
def corner(record: xr.Dataset) -> style.Figure:
    """Where people train, alone, with the axes in PyTorch's names: the picture of the front page."""
    figure, axes = style.panels(1, 1, height=3.4, ylabel=r"$\beta_2$")
    _, low, *_ = WINDOWS["corner"]
    shading = _map(axes, record.sel(window="corner"))
    _boundaries(axes, record, r"\beta_2", r"\beta_1")
    axes.set(xlim=(low, 1), ylim=(low, 1), xlabel=r"$\beta_1$")
    _mark(axes, record, "corner")
    figure.colorbar(shading, ax=axes, label=r"growth of $\log|u|$ per step", extend="max", pad=0.02)
    return style.with_legend(figure, axes, ncols=2)


@style.styled
def silences(record: xr.Dataset) -> style.Figure:
    """Outside of the exact region, from which share of silent steps on independent gradients make large updates: contours."""
    figure, both = style.panels(1, 2, height=3.9, ylabel=style.BETA_LABEL)
    for axes, (window, (title, low, *_)) in zip(both, WINDOWS.items(), strict=True):
        side = np.linspace(max(low, 1e-3), 1, 400, endpoint=False)
        share = 100 * stability.critical_silence(beta=side[:, None], gamma=side)
        shading = {"cmap": f"{style.GROWTH_MAP}_r", "vmin": 0, "vmax": 100, "alpha": 0.6}
        axes.contourf(side, side, share, levels=[share.min(), *SILENT[window], 100 - 1e-3], **shading)
        lines = axes.contour(side, side, share, levels=[*SILENT[window]], colors=style.MEASURED, linewidths=0.8)
        places = [(gamma, percent / 100 * gamma**2) for percent, gamma in SILENT[window].items()]
        axes.clabel(lines, fontsize=8, fmt="%g%%", manual=places)
        axes.plot(record.boundary_gamma, record.boundary_discrete, color=style.EXACT, label=r"exact boundary $\beta=\gamma^2$")
        axes.set(xlim=(low, 1), ylim=(low, 1), xlabel=style.GAMMA_LABEL, title=title)
        _mark(axes, record, window)
    return style.with_legend(figure, both[0])


@said
def silences_said(record: xr.Dataset) -> str:
    """For which named pairs there is a critical share of silence, and how large it is."""
    pairs = {"beta": record.practice_beta, "gamma": record.practice_gamma}
    share = 100 * xr.DataArray(stability.critical_silence(**pairs), record.practice.coords)
    outside = record.practice_stable_discrete == 0
    named = [f"{name} ({float(share.sel(practice=name)):.3g}%)" for name in record.practice.values[outside.values]]
    return (
        f"There is a critical share of silent steps at {of_all(outside, 'named pairs')}: {listed(named)}. With a smaller share "
        f"the mean square of the update stays bounded there, too."
    )


def _boundaries(axes: style.Axes, record: xr.Dataset, beta: str = r"\beta", gamma: str = r"\gamma") -> None:
    exact, paper = f"exact boundary ${beta}={gamma}^2$", f"the paper's, $C=0$: ${beta}={gamma}/(2-{gamma})$"
    axes.plot(record.boundary_gamma, record.boundary_discrete, color=style.EXACT, label=exact)
    axes.plot(record.boundary_gamma, record.boundary_continuous, "--", color=style.PAPER, label=paper)


def _map(axes: style.Axes, window: xr.Dataset, levels: Sequence[float] = (), written: tuple[float, float] = (0, 0)) -> Any:
    """Growth rates as colours, which are given back, and level curves of C, named where beta is as ``written``."""
    place, growing = (window.map_gamma, window.map_beta), window.rate_discrete.where(window.rate_discrete > 0)
    C = window.coefficient.where(np.isfinite(window.coefficient))
    if levels:
        lines = axes.contour(*place, C, levels=levels, colors=style.GUIDE, linewidths=0.6, linestyles="solid")
        heights = [written[C <= 0] for C in levels]
        places = [(1 / (1 + (1 / beta - 1 + C) / 2), beta) for C, beta in zip(levels, heights, strict=True)]
        axes.clabel(lines, fontsize=7, fmt="$C = %g$", manual=places)
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
    height, place = _widest(record)
    words = f"{height:.4f} at $\\gamma = {place:.3f}$"
    gap.plot(record.boundary_gamma, boundary_gap(record), color=style.MEASURED)
    gap.plot(place, height, "o", color=style.MEASURED)
    gap.annotate(words, (place, height), xytext=(0, 5), textcoords="offset points", ha="center")
    gap.set(xlabel=style.GAMMA_LABEL, ylabel=r"$\gamma/(2-\gamma)-\gamma^2$", title=r"gap in $\beta$", ylim=(0, 0.105))
    gamma = 1 - np.geomspace(1e-3, 0.98, 200)
    corner.plot(1 - gamma, 1 - stability.boundary(gamma), color=style.EXACT, label="exact")
    corner.plot(1 - gamma, 1 - stability.boundary(gamma, time="continuous"), "--", color=style.PAPER, label="the paper's")
    _mark(corner, record, "logarithmic", lambda rate: 1 - rate)
    corner.text(6e-3, 3e-1, "unstable", color=style.GUIDE)
    corner.text(4e-1, 2e-3, "stable", color=style.GUIDE)
    corner.set(xscale="log", yscale="log", xlim=(1, 8e-4), ylim=(1, 6e-4), title="the corner, logarithmic")
    corner.set(xlabel=r"$1-\gamma$  (1 / memory of the momentum)", ylabel=r"$1-\beta$  (1 / memory of $v$)")
    corner.legend(loc=(0.3, 0.02))
    return figure


def _widest(record: xr.Dataset) -> tuple[float, float]:
    """The widest gap between the boundaries in beta, and the gamma where it is."""
    gap = boundary_gap(record)
    return float(gap.max()), float(gap.idxmax("boundary_gamma"))


@said
def boundaries_said(record: xr.Dataset) -> str:
    """How far the boundaries are from each other, on which side, and who lies between them."""
    gap, (height, place) = boundary_gap(record), _widest(record)
    near = [f"{float(gap.sel(boundary_gamma=g, method='nearest')):.2g} at $\\gamma = {g:g}$" for g in (0.9, 0.99)]
    between = record.practice_stable_discrete != record.practice_stable_continuous
    return (
        f"The gap is widest, {height:.4f} in $\\beta$, at $\\gamma = {place:.3f}$; it is {listed(near)}. The paper's boundary "
        f"lies below the exact one at {of_all(gap < 0, 'values')} of $\\gamma$. The share {float(np.abs(gap).mean()):.3f} of "
        f"the whole square is between the two, and in it {_named(record, between)}."
    )


@style.styled
def bounds(record: xr.Dataset) -> style.Figure:
    """Both bounds over n, and what the algorithm reaches on the worst-case gradients."""
    figure, grid = style.panels(2, 3, height=4.4, sharex=True)
    for example, axes in enumerate(grid.flat):
        one = record.isel(example=example)
        axes.plot(one.n, one.bound_discrete, color=style.EXACT, lw=3, alpha=0.5, label="exact bound")
        axes.plot(one.n, one.attained, color=style.MEASURED, lw=1, label="reached by the algorithm")
        axes.plot(one.n, one.bound_continuous, "--", color=style.PAPER, label="the paper's expression")
        axes.set_title(rf"$\beta = {float(one.example_beta):g}$, $\gamma = {float(one.example_gamma):g}$")
        axes.set(yscale="log", ylim=(0.5, None))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    figure.supxlabel("iteration $n$", fontsize=9)
    figure.supylabel(f"largest possible {style.UPDATE} (learning rates)", fontsize=9)
    return style.with_legend(figure, grid.flat[0], ncols=3)


@said
def bounds_said(record: xr.Dataset, n: int) -> str:
    """Whether the exact bound is reached, and where the paper's expression is none."""
    excess = _excess(record)
    exceeded, last, one = excess > 1, excess.isel(n=-1), selected(record, n=n)
    until = f", for the last time at iteration {span(exceeded.n.where(exceeded).max('n'), '.0f')}" if exceeded.any() else ""
    worst = one.isel(example=int(np.argmax((one.attained / one.bound_continuous).values)))
    beta, gamma = float(worst.example_beta), float(worst.example_gamma)
    return (
        f"The algorithm's worst case misses the exact bound by {_tightness(record)} of it. It exceeds the paper's expression "
        f"at {of_all(exceeded.any('n'), 'pairs')}{until}. The ratio of the two is at most {float(excess.max()):.2f} after the "
        f"first iteration, and {span(last, '.2f')} at the last.\n\nAt iteration {n} the ratio is largest for $\\beta = "
        f"{beta:g}$ and $\\gamma = {gamma:g}$: the algorithm reaches {float(worst.attained):.4f} where the expression says "
        f"{float(worst.bound_continuous):.4f}."
    )


def bound_table(record: xr.Dataset, n: int) -> Table:
    """Both bounds and what is reached at iteration n, one pair a row."""
    names = ("example_beta", "example_gamma", "attained", "bound_discrete", "bound_continuous")
    head = ("beta", "gamma", f"reached at n = {n}", "exact bound", "paper's expression")
    return table(head, zip(*(selected(record, n=n)[name].values for name in names), strict=True), digits=".5g")


@style.styled
def runs(record: xr.Dataset) -> style.Figure:
    """Every sequence of gradients against its bound."""
    figure, axes = style.panels(1, 1, height=2.8)
    edges = np.linspace(0, 1, 41) + 1e-9  # a ratio of 1 belongs to the last bin
    axes.hist(record.sequence_ratio, edges, color=style.REST, label="Adam, its bound")
    axes.hist(
        record.last_stage_ratio, edges, histtype="step", lw=1.4, color=style.SECOND, label="$k$-Adam, bound of its last stage"
    )
    axes.axvline(1, color=style.MEASURED, lw=0.8)
    axes.set(xlabel=f"largest {style.UPDATE} of a sequence / its bound", ylabel="sequences", xlim=(-0.02, 1.06))
    axes.legend(loc="upper left")
    return figure


@said
def runs_said(record: xr.Dataset) -> str:
    """How far simulated growth is from the exact rate, who exceeds a bound, and what the order of stages does."""
    off = float(np.abs(record.growth_measured - record.growth_asymptotic).max())
    adam, staged = (of_all(r > 1 + ROUNDING, "sequences") for r in (record.sequence_ratio, record.last_stage_ratio))
    stages = zip(record.order.values, record.order_reached.values, strict=True)
    return (
        f"The simulated slope differs from the exact rate by at most {off:.4f} per step, and by "
        f"{at_most(rate_error(record), ROUNDING)} once the bias correction is counted in. The bound is exceeded by {adam} of "
        f"Adam, and that of the last stage by {staged} of k-Adam. Two stages, one stable and one not, reach "
        f"{listed([f'{reached:.4g} with the {order}' for order, reached in stages])}."
    )
