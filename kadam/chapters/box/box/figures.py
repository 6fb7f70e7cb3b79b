"""The figures of chapter 8 on convex losses, each with the numbers that it shows."""

import numpy as np
import xarray as xr
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from kadam.report import style
from kadam.theory import box as theory

SETTINGS = {
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
PAIRS = {"both 0.95": (0.95, 0.95), "default": (0.999, 0.9), "above": (0.93, 0.95), "unstable": (0.95, 0.99)}
LABELS = {"both 0.95": (-6, 5), "default": (-6, 5), "above": (-8, -12), "unstable": (-2, -13)}
LEAST = 1e-6  # of what is drawn of a weight outside of the box
CONTRAST = {"equal": "AdamW", "L2": "Adam, L2"}


@style.styled
def gaps(record: xr.Dataset) -> Figure:
    """The Frank-Wolfe gap over the first one: rows are kinds of problem, columns schedules; geometric mean over problems."""
    figure, all_axes = style.panels(2, record.sizes["schedule"], height=4.6, sharex=True, sharey="row")
    for row, kind in zip(all_axes, ("quadratic", "logistic"), strict=True):
        for axes, schedule in zip(row, record.schedule.values, strict=True):
            relative = np.log(_kind(record, kind).relative_gap.sel(schedule=schedule)).mean("problem")
            for setting in FOUR:
                colour, line, label = SETTINGS[setting]
                axes.plot(record.step, np.exp(relative.sel(setting=setting)), line, color=colour, label=label)
            axes.set(xscale="log", yscale="log", title=f"{kind}, rates {schedule}")
    for axes in all_axes[:, 0]:
        axes.set_ylabel("gap / first gap")
    for axes in all_axes[1]:
        axes.set_xlabel("step")
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=8)
    style.label_stand_in(figure, record)
    return figure


def _kind(record: xr.Dataset, kind: str) -> xr.Dataset:
    return record.isel(problem=[i for i, name in enumerate(record.problem.values) if str(name).startswith(kind)])


def limit_table(record: xr.Dataset) -> str:
    """How many runs of each setting have settled, and how far these are from the bounded minimum at most."""
    lines = [f"{'':>22}{'rates':>12}{'settled':>10}{'distance':>11}{'not settled':>13}"]
    last = record.isel(kept=-1)
    for setting in SETTINGS:
        for schedule in record.schedule.values:
            one = last.sel(setting=setting, schedule=schedule)
            still = one.settled <= 0.01
            near, far = (_largest(one.distance.where(which)) for which in (still, ~still))
            lines.append(f"{setting:>22}{schedule:>12}{int(still.sum()):>5} of {one.sizes['problem']:<2}{near:>10}{far:>13}")
    return "\n".join(lines)


def _largest(values: xr.DataArray) -> str:
    return f"{float(values.max()):.1e}" if bool(values.notnull().any()) else "-"


@style.styled
def radii() -> Figure:
    """The radius that decay enforces, over that of the box, in the plane of the decays; with the pairs of the runs."""
    figure, axes = style.panels(1, 1, height=3.9)
    gamma, beta = np.meshgrid(np.linspace(0.8, 0.9995, 400), np.linspace(0.8, 0.9995, 400))
    values = theory.radius(beta=beta, gamma=gamma, weight_decay=1.0)
    levels = [1.01, 1.1, 1.5, 2, 4, 8]
    shown = np.where(np.isfinite(values), values, np.nan)
    filled = axes.contourf(
        gamma, beta, shown, levels=[1, *levels, 1e9], cmap=style.GROWTH_MAP, norm=BoundaryNorm([1, *levels, 16], 256)
    )
    lines = axes.contour(gamma, beta, shown, levels=levels, colors=style.GUIDE, linewidths=0.6)
    axes.clabel(lines, fmt="%g", fontsize=7)
    axes.plot([0.8, 1], [0.8, 1], color=style.EXACT, lw=1.4, label=r"$\gamma = \beta$: the box itself")
    edge = np.linspace(0.8, 1, 200)
    axes.plot(edge, edge**2, "--", color=style.MEASURED, lw=1, label=r"$\beta = \gamma^2$: no radius below")
    for name, (b, g) in PAIRS.items():
        axes.plot(g, b, "o", ms=5, color=style.MEASURED)
        axes.annotate(name, (g, b), xytext=LABELS[name], textcoords="offset points", fontsize=8, ha="right")
    axes.set(xlabel=style.GAMMA_LABEL, ylabel=style.BETA_LABEL, xlim=(0.8, 1), ylim=(0.8, 1.004))
    axes.legend(loc="lower right", fontsize=8)
    bar = figure.colorbar(filled, ax=axes, ticks=[1, *levels])
    bar.ax.set_yticklabels([f"{level:g}" for level in [1, *levels]])
    bar.set_label("radius over 1/lambda")
    return figure


def pair_table() -> str:
    """Radius over 1/lambda, and K, of the pairs that the map shows."""
    lines = [f"{'':>12}{'beta':>8}{'gamma':>8}{'radius':>9}{'K (steps)':>11}"]
    for name, (beta, gamma) in PAIRS.items():
        radius = float(theory.radius(beta=beta, gamma=gamma, weight_decay=1.0))
        excess = f"{theory.average_excess(beta=beta, gamma=gamma):>11.0f}" if gamma <= beta else f"{'-':>11}"
        lines.append(f"{name:>12}{beta:>8g}{gamma:>8g}{radius:>9.3f}{excess}")
    return "\n".join(lines)


def radius_table(record: xr.Dataset) -> str:
    """For every setting the radius, and the largest weight of any run and step, both over the box's radius."""
    lines = [f"{'':>22}{'radius':>9}{'largest weight':>16}{'at the end':>12}"]
    for setting in SETTINGS:
        one = record.sel(setting=setting)
        end = float(one["size"].isel(kept=-1).max())
        lines.append(f"{setting:>22}{float(one.radius):>9.3f}{float(one.largest.max()):>16.3f}{end:>12.4f}")
    return "\n".join(lines)


@style.styled
def sizes(record: xr.Dataset, *, schedule: str = "1/sqrt(n)") -> Figure:
    """How far outside of the box the largest weight of any problem is, in its radii; dotted: the radius that decay enforces.

    A line ends where all weights are within the box.
    """
    figure, both = style.panels(1, 2, height=3.6, sharey=True)
    for axes, (title, settings) in zip(both, SHOWN_SIZES.items(), strict=True):
        for setting in settings:
            colour, line, label = SETTINGS[setting]
            one = record.sel(setting=setting, schedule=schedule)
            outside = one["size"].max("problem") - 1
            axes.plot(record.step, outside.where(outside > LEAST), line, color=colour, label=label)
            if LEAST < float(one.radius) - 1 < np.inf:
                axes.axhline(float(one.radius) - 1, ls=":", lw=0.9, color=colour)
        axes.set(xscale="log", yscale="log", xlabel="step", title=title, ylim=(LEAST, 1e4))
        axes.legend(fontsize=7, loc="upper left")
    both[0].set_ylabel("largest weight, beyond the box\n(radii 1/lambda)")
    style.label_stand_in(figure, record)
    return figure


@style.styled
def contrast(record: xr.Dataset, *, schedule: str = "1/n") -> Figure:
    """Distance from the bounded minimum and from the regularised one, AdamW beside Adam with L2; mean over problems."""
    figure, both = style.panels(1, 2, height=3.2, sharey=True)
    ends = {"distance": (style.EXACT, "bounded minimum"), "ridge_distance": (style.PAPER, "minimum of the L2-regularised loss")}
    for axes, kind in zip(both, ("quadratic", "logistic"), strict=True):
        for (setting, name), line in zip(CONTRAST.items(), ("-", "--"), strict=True):
            one = _kind(record, kind).sel(setting=setting, schedule=schedule)
            for end, (colour, words) in ends.items():
                axes.plot(record.step, one[end].mean("problem"), line, color=colour, label=f"{name}: to {words}")
        axes.set(xscale="log", yscale="log", xlabel="step", title=kind)
    both[0].set_ylabel("distance over 1/lambda")
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=8)
    style.label_stand_in(figure, record)
    return figure


def contrast_table(record: xr.Dataset, *, schedule: str = "1/n") -> str:
    """At the end: distances from both minima, mean over problems, and how far these are apart."""
    lines = [f"{'':>12}{'':>10}{'from bounded':>14}{'from regularised':>18}{'apart':>8}"]
    for kind in ("quadratic", "logistic"):
        for setting, name in CONTRAST.items():
            one = _kind(record, kind).sel(setting=setting, schedule=schedule).isel(kept=-1).mean("problem")
            near = f"{float(one.distance):>14.1e}{float(one.ridge_distance):>18.1e}"
            lines.append(f"{kind:>12}{name:>10}{near}{float(one.apart):>8.2f}")
    return "\n".join(lines)
