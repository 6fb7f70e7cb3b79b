"""The figures of chapter 8 on convex losses, each with the numbers that it shows."""

import itertools

import numpy as np
import xarray as xr
from matplotlib.colors import BoundaryNorm

from kadam.chapters.box import pairs
from kadam.chapters.box.box.claims import DIVERGENT, ROUNDING, STILL, WITHIN
from kadam.chapters.box.looks import COLOURS
from kadam.chapters.box.pairs import ENDS
from kadam.report import style
from kadam.report.selection import selected
from kadam.report.sentences import listed, of_all, said, span
from kadam.report.table import Table, table
from kadam.theory import box as theory

# Of each setting: colour, line and words.
LINES = {
    "SignGD": (COLOURS["SignGD"], "--", "SignGD"),
    "equal": (COLOURS["equal"], "-.", "AdamW, both 0.95"),
    "Adam": (COLOURS["Adam"], "-", "AdamW, default"),
    "2-Adam inverse_exp": (COLOURS["2-Adam inverse_exp"], "-", "2-Adam, inverse_exp"),
    "2-Adam meta": (COLOURS["2-Adam meta"], "-", "2-Adam, meta"),
    "above": (COLOURS["above"], "-", r"AdamW, $\gamma = 0.95$, $\beta = 0.93$"),
    "unstable": (COLOURS["unstable"], "-", r"AdamW, $\gamma = 0.99$, $\beta = 0.95$"),
    "unstable, then equal": (COLOURS["equal"], "--", "2-Adam: (0.99, 0.95), then both 0.95"),
    "equal, then unstable": (COLOURS["unstable"], "--", "2-Adam: both 0.95, then (0.99, 0.95)"),
}
FOUR = ("SignGD", "equal", "Adam", "2-Adam inverse_exp")
SHOWN_SIZES = {
    "one stage": ("equal", "Adam", "above", "unstable"),
    "two stages": ("2-Adam inverse_exp", "2-Adam meta", "unstable, then equal", "equal, then unstable"),
}
PAIRS = {"both 0.95": pairs.EQUAL, "default": pairs.ADAM, "above": pairs.ABOVE, "unstable": pairs.UNSTABLE}
LABELS = {"both 0.95": (-6, 5), "default": (-6, 5), "above": (-8, -12), "unstable": (-2, -13)}  # where, in points
KINDS = ("quadratic", "logistic")
IN_SIGNS = {"1/n": "rates $1/n$", "1/sqrt(n)": r"rates $1/\sqrt{n}$", "summable": "summable rates"}
LEAST = 1e-6  # of what is drawn of a weight outside of the box
CONTRAST = {"equal": "AdamW", "L2": "Adam, L2"}
FALLEN = 0.01  # of the first gap: when this is reached is compared


@said
def answer(record: xr.Dataset, race: xr.Dataset, network: xr.Dataset) -> str:
    """What came out on the convex losses, on the network and in the two norms, in one paragraph."""
    end = network["size"].isel(kept=-1)
    largest = listed([f"{float(end.sel(setting=name).max()):.2f} with {words}" for name, words in ENDS.items()])
    steps = race.reached.fillna(np.inf)
    fewer = steps.sel(descent="l_inf") < steps.sel(descent="l_2")
    along, rotated = (of_all(fewer.sel(basis=basis), "runs") for basis in race.basis.values)
    return (
        rf"**The answer.** On convex losses with $\gamma\le\beta$ and rates of divergent sum {_settled(record)}. On the "
        f"network the largest weight ends at up to {largest}, in radii. SignGD takes fewer steps than steepest descent "
        rf"in $\ell_2$ in {along} along the axes, and in {rotated} in a random basis."
    )


def _settled(record: xr.Dataset) -> str:
    """How many runs have settled where the theorem applies, and how near to the minimum within the box."""
    runs = record.isel(kept=-1).sel(setting=list(WITHIN), schedule=list(DIVERGENT))
    still = runs.settled <= STILL
    if not still.any():
        return f"{of_all(still, 'runs')} settle, so where they end is not judged"
    farthest = float(runs.distance.where(still).max())
    return f"{of_all(still, 'runs')} settle, at most {farthest:.2g} radii from the solver's minimum within the box"


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
            axes.set(
                xscale="log", yscale="log", xlabel="step", ylabel="gap / first gap", title=f"{kind}, {IN_SIGNS[str(schedule)]}"
            )
            axes.label_outer()
    return style.with_legend(figure, all_axes[0, 0], ncols=4, fontsize=8)


@said
def gaps_said(record: xr.Dataset) -> str:
    """How far the mean gaps fall at rates of divergent and of finite sum, and how much longer the default pair takes."""
    relative = xr.concat([np.exp(np.log(_kind(record, kind).relative_gap).mean("problem")) for kind in KINDS], "kind")
    drawn = relative.sel(setting=list(FOUR))
    falls, stays = (span(drawn.min("kept").sel(schedule=schedule)) for schedule in (list(DIVERGENT), "summable"))
    arrived = drawn.step.where(drawn <= FALLEN).min("kept").sel(schedule=list(DIVERGENT))
    default, equal = (arrived.sel(setting=setting) for setting in ("Adam", "equal"))
    return (
        f"At rates of divergent sum the mean gap gets down to {falls} of the first one, at rates of finite sum to {stays}. To "
        f"reach a hundredth, the default pair takes more steps than equal decays in "
        f"{of_all(default.fillna(np.inf) > equal, 'panels')} (ratio {span(default / equal)})."
    )


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
    filled = axes.contourf(gamma, beta, shown, levels=[1, *levels, 1e9], cmap=style.SIZE_MAP, norm=norm)
    lines = axes.contour(gamma, beta, shown, levels=levels, colors=style.MEASURED, linewidths=0.5)
    axes.clabel(lines, levels[:4], fmt="%g", fontsize=7)
    axes.plot([0.8, 1], [0.8, 1], "--", color=COLOURS["equal"], lw=1.4, label=r"$\gamma = \beta$: the box itself")
    edge = np.linspace(0.8, 1, 200)
    axes.plot(edge, edge**2, color=style.EXACT, label=r"$\beta = \gamma^2$: no radius below")
    for name, pair in PAIRS.items():
        axes.plot(pair.gamma, pair.beta, "o", ms=5, color=style.MEASURED)
        axes.annotate(name, pair.betas, xytext=LABELS[name], textcoords="offset points", fontsize=8, ha="right")
    axes.set(xlabel=style.GAMMA_LABEL, ylabel=style.BETA_LABEL, xlim=(0.8, 1), ylim=(0.8, 1.004))
    axes.legend(loc="lower right", fontsize=8)
    figure.colorbar(filled, ax=axes, ticks=[1, *levels], format="%g", label=r"radius over $1/\lambda$")
    return figure


@said
def radii_said(record: xr.Dataset) -> str:
    """What decay allows two pairs, and what their runs use of it."""
    default, above = (record.sel(setting=setting) for setting in ("Adam", "above"))
    return (
        f"The default pair may go to {float(default.radius):.3g} radii of the box, and the largest weight of any run reaches "
        f"{float(default.largest.max()):.3g}. For the pair *above* the numbers are {float(above.radius):.3g} and "
        f"{float(above.largest.max()):.3g}."
    )


@style.styled
def sizes(record: xr.Dataset, *, schedule: str = "1/sqrt(n)") -> style.Figure:
    """How far outside of the box the largest weight of any problem is, in its radii; dotted: the radius that decay enforces.

    A line ends where all weights are within the box.
    """
    figure, both = style.panels(1, 2, height=3.6, sharey=True, ylabel="largest weight, beyond the box\n" r"(radii $1/\lambda$)")
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


@said
def sizes_said(record: xr.Dataset, *, schedule: str = "1/sqrt(n)") -> str:
    """How many settings leave the box, which goes farthest, and where all end."""
    runs = record.sel(schedule=schedule, setting=[name for names in SHOWN_SIZES.values() for name in names])
    largest, end = runs.largest.max("problem"), runs["size"].isel(kept=-1).max("problem")
    farthest = str(largest.idxmax("setting").values)
    return (
        f"At rates {schedule} the box is left by {of_all(largest > 1 + ROUNDING, 'settings')}. {LINES[farthest][2]} goes "
        f"farthest, to {float(largest.max()):.3g} radii, and ends at {float(end.sel(setting=farthest)):.3g}; the "
        f"largest weight of the others ends at {float(end.drop_sel(setting=farthest).max()):.3g}."
    )


@style.styled
def contrast(record: xr.Dataset, *, schedule: str = "1/n") -> style.Figure:
    """Distance from the bounded minimum and from the regularised one, AdamW beside Adam with L2; mean over problems."""
    figure, both = style.panels(1, 2, height=3.2, sharey=True, ylabel=r"distance over $1/\lambda$")
    ends = {
        "distance": (style.MEASURED, "bounded minimum"),
        "ridge_distance": (style.GUIDE, "minimum of the L2-regularised loss"),
    }
    for axes, kind in zip(both, KINDS, strict=True):
        for (setting, name), line in zip(CONTRAST.items(), ("-", "--"), strict=True):
            one = _kind(record, kind).sel(setting=setting, schedule=schedule)
            for end, (colour, words) in ends.items():
                axes.plot(record.step, one[end].mean("problem"), line, color=colour, label=f"{name}: to {words}")
        axes.set(xscale="log", yscale="log", xlabel="step", title=kind)
    return style.with_legend(figure, both[0], ncols=2, fontsize=8)


@said
def contrast_said(record: xr.Dataset, *, schedule: str = "1/n") -> str:
    """How far each ends from its own minimum, how far apart these are, and which is nearer."""
    end = record.sel(schedule=schedule).isel(kept=-1)
    box, ridge = (end.sel(setting=setting) for setting in CONTRAST)
    at_box, at_ridge = (of_all(one.distance < one.ridge_distance, "problems") for one in (box, ridge))
    return (
        f"AdamW ends nearer to the minimum within the box in {at_box}, at most {float(box.distance.max()):.2g} radii away. "
        f"Adam with L2 does so in {at_ridge}, and ends at most {float(ridge.ridge_distance.max()):.2g} radii from the minimum "
        f"of the regularised loss. The two minima are {span(box.apart)} radii apart."
    )
