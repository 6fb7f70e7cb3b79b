"""The figures of chapter 8 on convex losses, each with the numbers that it shows."""

import itertools

import numpy as np
import xarray as xr
from matplotlib.colors import BoundaryNorm

from kadam.chapters.box import pairs
from kadam.chapters.box.box.claims import STILL
from kadam.report import style
from kadam.report.selection import selected
from kadam.report.table import Table, table
from kadam.theory import box as theory

LINES = {
    "SignGD": (style.GUIDE, "-", "SignGD"),
    "equal": (style.CORRECTED, "-", "AdamW, both 0.95"),
    "Adam": (style.EXACT, "-", "AdamW, default"),
    "2-Adam inverse_exp": (style.SECOND, "-", "2-Adam, inverse_exp"),
    "2-Adam meta": (style.FIFTH, "-", "2-Adam, meta"),
    "above": (style.FOURTH, "-", r"AdamW, $\gamma$ = 0.95, $\beta$ = 0.93"),
    "unstable": (style.PAPER, "-", r"AdamW, $\gamma$ = 0.99, $\beta$ = 0.95"),
    "unstable, then equal": (style.CORRECTED, "--", "2-Adam: (0.99, 0.95), then both 0.95"),
    "equal, then unstable": (style.PAPER, "--", "2-Adam: both 0.95, then (0.99, 0.95)"),
}
FOUR = ("SignGD", "equal", "Adam", "2-Adam inverse_exp")
SHOWN_SIZES = {
    "one stage": ("equal", "Adam", "above", "unstable"),
    "two stages": ("2-Adam inverse_exp", "2-Adam meta", "unstable, then equal", "equal, then unstable"),
}
PAIRS = {"both 0.95": pairs.EQUAL, "default": pairs.ADAM, "above": pairs.ABOVE, "unstable": pairs.UNSTABLE}
LABELS = {"both 0.95": (-6, 5), "default": (-6, 5), "above": (-8, -12), "unstable": (-2, -13)}  # where, in points
KINDS = ("quadratic", "logistic")
LEAST = 1e-6  # of what is drawn of a weight outside of the box
CONTRAST = {"equal": "AdamW", "L2": "Adam, L2"}


@style.styled
def gaps(record: xr.Dataset) -> style.Figure:
    """The Frank-Wolfe gap over the first one: rows are kinds of problem, columns schedules; geometric mean over problems."""
    figure, all_axes = style.panels(2, record.sizes["schedule"], height=4.6, sharex=True, sharey="row")
    for row, kind in zip(all_axes, KINDS, strict=True):
        for axes, schedule in zip(row, record.schedule.values, strict=True):
            relative = np.log(_kind(record, kind).relative_gap.sel(schedule=schedule)).mean("problem")
            for setting in FOUR:
                colour, line, label = LINES[setting]
                axes.plot(record.step, np.exp(relative.sel(setting=setting)), line, color=colour, label=label)
            axes.set(xscale="log", yscale="log", xlabel="step", ylabel="gap / first gap", title=f"{kind}, rates {schedule}")
            axes.label_outer()
    return style.with_legend(figure, all_axes[0, 0], ncols=4, fontsize=8)


def _kind(record: xr.Dataset, kind: str) -> xr.Dataset:
    return record.isel(problem=[i for i, name in enumerate(record.problem.values) if str(name).startswith(kind)])


def limit_table(record: xr.Dataset) -> Table:
    """How many runs of each setting have settled, and how far these and the others are from the bounded minimum at most."""
    rows = []
    for setting, schedule in itertools.product(LINES, record.schedule.values):
        one = record.isel(kept=-1).sel(setting=setting, schedule=schedule)
        still = one.settled <= STILL
        distances = (one.distance[which].values for which in (still, ~still))
        rows.append((setting, schedule, f"{int(still.sum())} of {still.size}", *(max(x, default="-") for x in distances)))
    return table(("setting", "rates", "settled", "distance", "not settled"), rows, digits=".1e")


@style.styled
def radii() -> style.Figure:
    """The radius that decay enforces, over that of the box, in the plane of the decays; with the pairs of the runs."""
    figure, axes = style.panels(1, 1, height=3.9)
    gamma, beta = np.meshgrid(np.linspace(0.8, 0.9995, 400), np.linspace(0.8, 0.9995, 400))
    values = theory.radius(beta=beta, gamma=gamma, weight_decay=1.0)
    levels = [1.01, 1.1, 1.5, 2, 4, 8]
    shown, norm = np.where(np.isfinite(values), values, np.nan), BoundaryNorm([1, *levels, 16], 256)
    filled = axes.contourf(gamma, beta, shown, levels=[1, *levels, 1e9], cmap=style.GROWTH_MAP, norm=norm)
    axes.clabel(axes.contour(gamma, beta, shown, levels=levels, colors=style.GUIDE, linewidths=0.6), fmt="%g", fontsize=7)
    axes.plot([0.8, 1], [0.8, 1], color=style.EXACT, lw=1.4, label=r"$\gamma = \beta$: the box itself")
    edge = np.linspace(0.8, 1, 200)
    axes.plot(edge, edge**2, "--", color=style.MEASURED, lw=1, label=r"$\beta = \gamma^2$: no radius below")
    for name, pair in PAIRS.items():
        axes.plot(pair.gamma, pair.beta, "o", ms=5, color=style.MEASURED)
        axes.annotate(name, pair.betas, xytext=LABELS[name], textcoords="offset points", fontsize=8, ha="right")
    axes.set(xlabel=style.GAMMA_LABEL, ylabel=style.BETA_LABEL, xlim=(0.8, 1), ylim=(0.8, 1.004))
    axes.legend(loc="lower right", fontsize=8)
    figure.colorbar(filled, ax=axes, ticks=[1, *levels], format="%g", label="radius over 1/lambda")
    return figure


def pair_table() -> Table:
    """Radius over 1/lambda, and K, of the pairs that the map shows."""
    excess = {name: theory.average_excess(**vars(pair)) if pair.gamma <= pair.beta else "-" for name, pair in PAIRS.items()}
    rows = [(name, *vars(of).values(), theory.radius(**vars(of), weight_decay=1.0), excess[name]) for name, of in PAIRS.items()]
    return table(("pair", "beta", "gamma", "radius", "K (steps)"), rows, digits=("", "g", "g", ".3f", ".0f"))


def radius_table(record: xr.Dataset) -> Table:
    """For every setting the radius, and the largest weight of any run and step, both over the box's radius."""
    of = [record.sel(setting=setting) for setting in LINES]
    rows = [(one.setting, one.radius, one.largest.max(), one["size"].isel(kept=-1).max()) for one in of]
    return table(("setting", "radius", "largest weight", "at the end"), rows, digits=("", ".3f", ".3f", ".4f"))


@style.styled
def sizes(record: xr.Dataset, *, schedule: str = "1/sqrt(n)") -> style.Figure:
    """How far outside of the box the largest weight of any problem is, in its radii; dotted: the radius that decay enforces.

    A line ends where all weights are within the box.
    """
    figure, both = style.panels(1, 2, height=3.6, sharey=True, ylabel="largest weight, beyond the box\n(radii 1/lambda)")
    for axes, (title, settings) in zip(both, SHOWN_SIZES.items(), strict=True):
        for setting in settings:
            colour, line, label = LINES[setting]
            one = selected(record, setting=setting, schedule=schedule)
            outside, allowed = one["size"].max("problem") - 1, float(one.radius) - 1
            axes.plot(record.step, outside.where(outside > LEAST), line, color=colour, label=label)
            if LEAST < allowed < np.inf:
                axes.axhline(allowed, ls=":", lw=0.9, color=colour)
        axes.set(xscale="log", yscale="log", xlabel="step", title=title, ylim=(LEAST, 1e4))
        axes.legend(fontsize=7, loc="upper left")
    return figure


@style.styled
def contrast(record: xr.Dataset, *, schedule: str = "1/n") -> style.Figure:
    """Distance from the bounded minimum and from the regularised one, AdamW beside Adam with L2; mean over problems."""
    figure, both = style.panels(1, 2, height=3.2, sharey=True, ylabel="distance over 1/lambda")
    ends = {"distance": (style.EXACT, "bounded minimum"), "ridge_distance": (style.PAPER, "minimum of the L2-regularised loss")}
    for axes, kind in zip(both, KINDS, strict=True):
        for (setting, name), line in zip(CONTRAST.items(), ("-", "--"), strict=True):
            one = _kind(record, kind).sel(setting=setting, schedule=schedule)
            for end, (colour, words) in ends.items():
                axes.plot(record.step, one[end].mean("problem"), line, color=colour, label=f"{name}: to {words}")
        axes.set(xscale="log", yscale="log", xlabel="step", title=kind)
    return style.with_legend(figure, both[0], ncols=2, fontsize=8)


def contrast_table(record: xr.Dataset, *, schedule: str = "1/n") -> Table:
    """At the end: distances from both minima, mean over problems, and how far these are apart."""
    end = record.sel(schedule=schedule).isel(kept=-1)
    rows = []
    for kind, (setting, name) in itertools.product(KINDS, CONTRAST.items()):
        one = _kind(end, kind).sel(setting=setting).mean("problem")
        rows.append((kind, name, one.distance, one.ridge_distance, one.apart))
    head = ("losses", "optimizer", "from bounded", "from regularised", "apart")
    return table(head, rows, digits=("", "", ".1e", ".1e", ".2f"))
