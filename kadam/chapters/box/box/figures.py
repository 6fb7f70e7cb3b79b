"""The figures of chapter 8 on convex losses, each with the numbers that it shows."""

import itertools

import numpy as np
import xarray as xr
from matplotlib.colors import BoundaryNorm

from kadam.chapters.box import pairs
from kadam.chapters.box.box.claims import DIVERGENT, ROUNDING, STAGED, STILL, WITHIN
from kadam.report import style
from kadam.report.selection import selected
from kadam.report.sentences import listed, of_all, said, span
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
FALLEN = 0.01  # of the first gap: when this is reached is said


NAMES = {
    "SignGD": "SignGD",
    "equal": "equal decays",
    "Adam": "the default pair",
    "2-Adam inverse_exp": "2-Adam (`inverse_exp`)",
    "2-Adam meta": "2-Adam (`meta`)",
    "above": "the pair *above*",
    "unstable": "the *unstable* pair",
    "unstable, then equal": "2-Adam (*unstable* before *equal*)",
    "equal, then unstable": "2-Adam (*equal* before *unstable*)",
}


@said
def answer(record: xr.Dataset, race: xr.Dataset, network: xr.Dataset) -> str:
    """What came out on the convex losses, on the network and in the two norms, in one paragraph."""
    end = network["size"].isel(kept=-1)
    largest = listed([f"{span(end.sel(setting=name), '.2f')} with {words}" for name, words in ON_NETWORK.items()])
    steps = race.reached.fillna(np.inf)
    slower = steps.sel(descent="l_2") > steps.sel(descent="l_inf")
    along, rotated = (of_all(slower.sel(basis=basis), "runs") for basis in race.basis.values)
    return (
        rf"**The answer.** Of AdamW and SignGD with $\gamma\le\beta$, on convex losses and at rates of divergent sum, "
        rf"{_settled(record, *WITHIN)}. On the network, over all weight decays and batches, the largest weight ends at "
        rf"{largest} (in radii of the box). With the curvature along the axes SignGD takes fewer steps than steepest descent "
        rf"in $\ell_2$ in {along}, and in a random basis in {rotated}."
    )


ON_NETWORK = {"equal": "equal decays", "Adam": "PyTorch's default pair", "2-Adam": "2-Adam"}


def _settled(record: xr.Dataset, *settings: str) -> str:
    """How many runs of these settings have settled at rates of divergent sum, and where."""
    runs = record.isel(kept=-1).sel(setting=list(settings), schedule=list(DIVERGENT))
    still = runs.settled <= STILL
    if not still.any():
        return f"{of_all(still, 'runs')} settle, so where they end is not judged"
    farthest, largest = (float(runs[name].where(still).max()) for name in ("distance", "size"))
    return (
        f"{of_all(still, 'runs')} settle: at most {farthest:.2g} radii from the solver's minimum within the box, and with a "
        f"largest weight of {largest:.4f} radii"
    )


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


@said
def gaps_said(record: xr.Dataset) -> str:
    """When the mean gap has fallen to a hundredth, how near rates of finite sum come, and which runs settle."""
    relative = xr.concat([np.exp(np.log(_kind(record, kind).relative_gap).mean("problem")) for kind in KINDS], "kind")
    drawn = relative.sel(setting=list(FOUR))
    arrived = drawn.step.where(drawn <= FALLEN).min("kept").sel(schedule=list(DIVERGENT))
    each = [_arrival(setting, arrived.sel(setting=setting)) for setting in FOUR]
    first = arrived.fillna(np.inf).argmin("setting").values[arrived.notnull().any("setting").values]
    winners = [f"{NAMES[FOUR[i]]} in {of_all(first == i, 'panels')}" for i in np.unique(first)]
    least = span(drawn.min("kept").sel(schedule="summable"))
    return (
        f"At rates of divergent sum the mean gap falls to a hundredth of the first one with {'; with '.join(each)}. The first "
        f"to get there is {listed(winners, none='no method')}. At rates of finite sum the smallest mean gap is {least} of the "
        f"first one.\n\n"
        rf"Of the *unstable* pair {_settled(record, 'unstable')}. With two stages, the last of which has "
        rf"$\gamma_2\le\beta_2$, {_settled(record, *STAGED)}."
    )


def _arrival(setting: str, steps: xr.DataArray) -> str:
    reached = steps.notnull()
    after = f", after {span(steps, ',.0f')} steps" if reached.any() else ""
    return f"{NAMES[setting]} in {of_all(reached, 'panels')}{after}"


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


@said
def radii_said(record: xr.Dataset) -> str:
    """The radius of the pairs that the map shows, and how much of it the runs use."""
    radius = {name: float(theory.radius(**vars(pair), weight_decay=1.0)) for name, pair in PAIRS.items()}
    each = [f"{f'{x:.3g}' if np.isfinite(x) else 'without bound'} for the pair *{name}*" for name, x in radius.items()]
    bounded = record.sel(setting=list(LINES)).where(np.isfinite(record.radius), drop=True)
    used = {str(one.setting.values): float((one.largest / one.radius).max()) for one in _each_setting(bounded)}
    least = min(used, key=lambda setting: used[setting])
    return (
        rf"In units of $1/\lambda$ the radius is {listed(each)}. Of its radius the largest weight of any run and step uses "
        f"{span(list(used.values()), '.0%')}, the smallest share with {NAMES[least]}."
    )


def _each_setting(record: xr.Dataset) -> list[xr.Dataset]:
    return [record.sel(setting=setting) for setting in record.setting.values]


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


@said
def sizes_said(record: xr.Dataset, *, schedule: str = "1/sqrt(n)") -> str:
    """Which settings leave the box, how far, whether they come back, and whether the radius holds."""
    runs = record.sel(schedule=schedule, setting=[name for names in SHOWN_SIZES.values() for name in names])
    outside = [one for one in _each_setting(runs) if float(one.largest.max()) > 1 + ROUNDING]
    largest = [
        f"{float(one.largest.max()):.4g} with {NAMES[str(one.setting.values)]}, at the end "
        f"{float(one['size'].isel(kept=-1).max()):.4g}"
        for one in outside
    ]
    never = [NAMES[name] for name in runs.setting.values if name not in [one.setting for one in outside]]
    stable = runs.where(np.isfinite(runs.radius), drop=True)
    holds = stable.largest.max("problem") <= stable.radius * (1 + ROUNDING)
    return (
        f"At rates *{schedule}* the box is never left by {listed(never, none='no setting')}. Outside of it the largest weight "
        f"of any problem and step, in radii, is {'; '.join(largest) or 'none'}. The radius that decay enforces is kept by "
        f"{of_all(holds, 'settings that have one')}."
    )


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


@said
def contrast_said(record: xr.Dataset, *, schedule: str = "1/n") -> str:
    """At the end: distances from both minima, means over problems, and in how many problems each goes to its own."""
    end = record.sel(schedule=schedule).isel(kept=-1)
    told = []
    for kind in KINDS:
        box, ridge = (_kind(end, kind).sel(setting=setting) for setting in CONTRAST)
        means = [float(x.mean()) for x in (box.distance, ridge.distance, ridge.ridge_distance, box.ridge_distance, box.apart)]
        ours, theirs, own, other, apart = (f"{x:.2g}" for x in means)
        told.append(
            f"On the {kind} losses AdamW ends {ours} radii from the minimum within the box and Adam with L2 {theirs}; from the "
            f"minimum of the regularised loss they end {other} and {own} away; the two minima are {apart} apart."
        )
    at_box, at_ridge = ((end.sel(setting=setting).distance < end.sel(setting=setting).ridge_distance) for setting in CONTRAST)
    return (
        f"{' '.join(told)} AdamW ends nearer to the minimum within the box in {of_all(at_box, 'problems')}, Adam with L2 in "
        f"{of_all(at_ridge, 'problems')}."
    )
