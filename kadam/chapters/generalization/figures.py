"""The figures of chapter 4, each with the numbers that it shows."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize

from kadam.chapters.generalization import claims
from kadam.chapters.generalization.config import NORMAL
from kadam.report import style
from kadam.report.sentences import listed, of_all, plain, said, span
from kadam.report.statistics import mean_interval, rank_correlation
from kadam.report.table import Table, table
from kadam.theory import stability

TITLES = {"fixed": "one learning rate", "tuned": "each at its best rate"}
BOTH = "at one learning rate and with tuned rates"  # the same in a sentence, for two numbers
MARKERS = "os^Dvp"  # of the normal curve and the level curves
EVERY = 4  # of the normal curve's pairs in its table
NEAR = (-0.05, 0.03)  # exact rates that the figure of the unstable side shows
MEMORIES = (2, 5, 10, 20, 50, 100)  # ticks
MEMORY = r"memory of momentum, $1/(1-\gamma)$"
TO_TARGET = "iterations to {:g} nats"


def setting(record: xr.Dataset) -> str:
    """What was trained on what."""
    rates = ", ".join(f"{rate:g}" for rate in record.rate.values)
    return (
        "profile {profile}; {data}, {train_characters:,} characters to train\n"
        f"{record.sizes['point']} pairs x {record.sizes['rate']} learning rates ({rates}) x {record.sizes['seed']} seeds\n"
        "{steps} steps; fixed rate {fixed_rate:g}"
    ).format(**record.attrs)


def reached(record: xr.Dataset, choice: str) -> xr.DataArray:
    """Iterations to the middle target, mean over seeds; NaN where some seed never got there. (point,)"""
    return claims.arrivals(record, choice).sel(target=claims.middle(record)).mean("seed", skipna=False)


@said
def answer(record: xr.Dataset) -> str:
    """What came out, in one paragraph."""
    bad = _ends_badly(record)
    return (
        f"**The answer.** In the region the rank correlation with speed, {BOTH}, is "
        f"{_means(record, claims.speed_with)} for $C$ and {_means(record, RIVALS['a shorter memory'])} for a short memory of "
        f"momentum. If $C$ decided speed, level curves would explain all variance of their ranks; they explain "
        f"{_means(record, claims.between_levels, '.0%')}. The loss ends over {claims.BAD:g} nats above the median in "
        f"{bad['exactly unstable']} outside of the exact boundary and in {bad['C > 0']} in the region."
    )


def _both(tell: Callable[[str], str]) -> str:
    """What is told of either choice of the learning rate; see ``BOTH``."""
    return " and ".join(tell(choice) for choice in TITLES)


def _means(record: xr.Dataset, measure: claims.Measure, form: str = ".2f") -> str:
    """A number made of the iterations to the middle target, in the mean over seeds, at both choices of the rate."""
    return _both(lambda choice: span(claims.by_target(record, choice, measure)[claims.middle(record)].mean, form))


def on(record: xr.Dataset, curve: str) -> xr.Dataset:
    """The pairs of one curve."""
    return record.isel(point=np.flatnonzero(record.curve == curve))


def level_names(record: xr.Dataset) -> list[str]:
    """The level curves, largest C first."""
    return [name for name in dict.fromkeys(record.curve.values.tolist()) if name != NORMAL]


def memory(of: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """1/(1-gamma): how many gradients the momentum averages over."""
    return 1 / (1 - of.gamma)


@style.styled
def normal_curve(record: xr.Dataset) -> style.Figure:
    """Validation loss over training, a line per pair of the normal curve, at one learning rate and at tuned ones."""
    figure, both = style.panels(1, 2, height=3.6, sharey=True, ylabel="validation loss (nats per character)")
    curve = on(record, NORMAL)
    scale = style.along_curve(curve.coefficient.values)
    for axes, (choice, title) in zip(both, TITLES.items(), strict=True):
        _loss_lines(axes, curve, choice, scale.to_rgba(curve.coefficient.values))
        axes.set_title(title)
    both[0].plot([], [], "--", color=style.MEASURED, label="equal betas")
    both[0].legend(loc="upper right")
    style.name_along_curve(figure, scale, both)
    return figure


def _loss_lines(axes: style.Axes, pairs: xr.Dataset, choice: str, colours: np.ndarray) -> None:
    """Mean over seeds; equal betas dashed, and a cross where a run of any seed diverged."""
    loss = claims.at(pairs, "loss", choice).mean("seed", skipna=False).isel(evaluation=slice(1, None))
    for one, colour in zip(loss.transpose("point", ...), colours, strict=True):
        axes.plot(one.evaluation, one, color=colour, lw=0.9)
        if one.equal:
            axes.plot(one.evaluation, one, "--", color=style.MEASURED, lw=1.2, zorder=3)
    ends = claims.at(pairs, "diverged_at", choice).min("seed")
    axes.plot(ends, np.full(ends.shape, 0.97), "x", color=style.PAPER, transform=axes.get_xaxis_transform())
    axes.set_xlabel("iteration")


@said
def normal_curve_said(record: xr.Dataset) -> str:
    """Final losses inside and outside, whether they lie in the order of C, and what diverged."""
    curve = on(record, NORMAL)
    inside, final = curve.coefficient.values > 0, {choice: _final(curve, choice) for choice in TITLES}
    order = _both(lambda choice: span(-rank_correlation(curve.coefficient, final[choice]), ".2f"))
    return (
        f"The loss ends at {_both(lambda choice: span(final[choice][inside], '.2f'))} nats inside the region and at "
        f"{_both(lambda choice: span(final[choice][~inside], '.2f'))} outside, {BOTH}. Its rank correlation with $-C$ is "
        f"{order}; {of_all(curve.diverged_at.notnull(), 'runs')} diverged."
    )


def normal_table(record: xr.Dataset) -> Table:
    """Final loss, iterations to the middle target and tuned rate of some pairs of the normal curve, most stable first."""
    curve, target = on(record, NORMAL), claims.middle(record)
    found = [of for choice in TITLES for of in (_final(curve, choice), _words(reached(curve, choice)))]
    rate = curve.rate.isel(rate=curve.chosen.sel(choice="tuned")).median("seed")
    diverged, note = curve.diverged_at.notnull().sum(["rate", "seed"]), np.where(curve.equal, "equal betas", "")
    columns = (curve.beta, curve.gamma, curve.coefficient, *found, rate, diverged, note)
    shown = (np.arange(curve.sizes["point"]) % EVERY == 0) | curve.equal.values
    heads = [f"{choice}: {what}" for choice in TITLES for what in ("loss", f"to {target:g}")]
    digits = (".4f", ".4f", ".3f", ".3f", "", ".3f", "", ".2g", "", "")
    rows = zip(*(np.asarray(column)[shown] for column in columns), strict=True)
    return table(("beta", "gamma", "C", *heads, "tuned rate", "diverged", ""), rows, digits=digits)


def _final(record: xr.Dataset, choice: str) -> xr.DataArray:
    """The last loss, mean over seeds. (point,)"""
    return claims.at(record, "loss", choice).isel(evaluation=-1).mean("seed")


def _words(iterations: xr.DataArray) -> list[str]:
    return ["never" if np.isnan(mean) else f"{mean:.0f}" for mean in iterations.values]


@style.styled
def level_curves(record: xr.Dataset) -> style.Figure:
    """The same along level curves, a column per curve, a row per choice of the rate; coloured by the memory of momentum."""
    names = level_names(record)
    figure, grid = style.panels(2, len(names), height=4.6, sharex=True, sharey=True, squeeze=False, ylabel="validation loss")
    longest = max(float(memory(on(record, name)).max()) for name in names)
    scale = ScalarMappable(LogNorm(2, longest), style.NUMBERS.reversed())
    for row, (choice, title) in zip(grid, TITLES.items(), strict=True):
        row[0].set_ylabel(f"{title}:\nvalidation loss")
        for axes, name in zip(row, names, strict=True):
            pairs = on(record, name)
            _loss_lines(axes, pairs, choice, scale.to_rgba(memory(pairs).values))
            axes.set(title=f"${name}$", xlabel="iteration" if choice == "tuned" else "")
    figure.colorbar(scale, ax=grid, label=MEMORY, pad=0.02, ticks=MEMORIES, format="%g").minorticks_off()
    return figure


@said
def level_curves_said(record: xr.Dataset) -> str:
    """How much pairs with one C differ, and on how many curves the longest memory is the slowest."""
    curves = [reached(on(record, name), choice).fillna(np.inf).values for choice in TITLES for name in level_names(record)]
    longest = [one[-1] > one[:-1].max() for one in curves]
    return (
        f"On a level curve the slowest pair needs {_apart(record, record.curve)} times the iterations of the fastest, {BOTH}. "
        f"The longest memory is the slowest on {of_all(longest, 'curves')} of both rows."
    )


def _apart(record: xr.Dataset, by: xr.DataArray) -> str:
    """How many times the iterations of the fastest the slowest pair of a level curve needs, of those alike in ``by``."""
    levels = np.flatnonzero(record.curve != NORMAL)
    groups = {choice: reached(record, choice)[levels].groupby(by[levels]) for choice in TITLES}
    return _both(lambda choice: span((groups[choice].max() / groups[choice].min())[groups[choice].count() > 1], ".2f"))


def level_table(record: xr.Dataset) -> Table:
    """Iterations to the middle target at both ends of every level curve, and what share of the ranks' variance curves hold."""
    rows: list[tuple[Any, ...]] = []
    for name in level_names(record):
        ends = on(record, name).isel(point=[0, -1])
        rows += zip(ends.curve, memory(ends), *(_words(reached(ends, choice)) for choice in TITLES), strict=True)
    rows.append(("variance between curves", "", *_at_middle(record, claims.between_levels)))
    return table((TO_TARGET.format(claims.middle(record)), "memory of momentum", *TITLES), rows)


def _at_middle(record: xr.Dataset, measure: claims.Measure) -> list[str]:
    """A number made of the iterations to the middle target, with its interval over seeds, at both choices of the rate."""
    return [claims.in_words(claims.by_target(record, choice, measure)[claims.middle(record)]) for choice in TITLES]


@style.styled
def speed(record: xr.Dataset) -> style.Figure:
    """Iterations to each target against C on the normal curve, means with 95% intervals over seeds; both choices."""
    figure, both = style.panels(1, 2, height=3.6, ylabel="iterations to the target")
    curve = on(record, NORMAL)
    for axes, (choice, title) in zip(both, TITLES.items(), strict=True):
        for i, (target, colour) in enumerate(zip(curve.target.values, style.shades(curve.sizes["target"]), strict=True)):
            _speed_points(axes, claims.at(curve, "iterations", choice).sel(target=target), colour, height=0.97 - 0.025 * i)
        style.against_c(axes, title=title, ylim=(0, 1.05 * record.attrs["steps"]))
    both[1].plot([], [], "*", color=style.MEASURED, ms=8, label="equal betas")
    both[1].plot([], [], "x", color=style.MEASURED, ms=4, label="not by every seed")
    return style.with_legend(figure, both[1], ncols=5)


def _speed_points(axes: style.Axes, iterations: xr.DataArray, colour: str, *, height: float) -> None:
    """Means with intervals from which what a seed does to all pairs alike is taken out; crosses where a seed never came."""
    mean, low, high = mean_interval(claims.paired(iterations).transpose("point", "seed"))
    C, never, equal = iterations.coefficient.values, np.isnan(mean), iterations.equal.values
    looks: Any = {"fmt": ".-", "ms": 4, "lw": 0.9, "elinewidth": 0.7, "label": f"{iterations.target:g} nats"}
    axes.errorbar(C, mean, np.nan_to_num([mean - low, high - mean]), color=colour, **looks)
    axes.plot(C[never], np.full(never.sum(), height), "x", ms=4, color=colour, transform=axes.get_xaxis_transform(), zorder=1)
    axes.plot(C[equal], mean[equal], "*", ms=9, color=colour, mec="white", mew=0.5, zorder=4)


@said
def speed_said(record: xr.Dataset) -> str:
    """Step by step along the curve: how often smaller C costs iterations, what half of it costs, and what the boundary adds."""
    curve = on(record, NORMAL)
    C, known = curve.coefficient.values, np.array([reached(curve, choice) for choice in TITLES])
    edge, half = int((C > 0).sum()) - 1, int(np.abs(C - C[0] / 2).argmin())  # the last pair inside; one half way to it
    ordered, steps = np.nan_to_num(known[:, : edge + 1], nan=np.inf), np.diff(known)
    beside = np.delete(steps, edge, axis=1)[:, max(edge - 3, 0) : edge + 3]  # three on either side
    across, most = (listed(span(one, ".0f") for one in of) for of in (steps[:, edge], np.fmax.reduce(beside, axis=1)))
    costs = [listed(span(one, ".2f") for one in known[:, place] / known[:, 0]) for place in (half, edge)]
    return (
        f"From a pair to its neighbour with smaller $C$ the iterations to {claims.middle(record):g} nats rise in "
        f"{of_all(ordered[:, 1:] > ordered[:, :-1], 'steps')} inside the region. The pair with half of the largest $C$ needs "
        f"{costs[0]} times the iterations of that with the largest, {BOTH}, and the last pair inside {costs[1]} times. The "
        f"step across $C = 0$ adds {across} iterations, and the largest of the steps beside it {most}."
    )


def speed_table(record: xr.Dataset) -> Table:
    """Rank correlation of C with speed at C > 0, on the normal curve and over all pairs, target by target."""
    rows = []
    for pairs, measure in (("normal curve", claims.on_normal_curve), ("all pairs", claims.speed_with)):
        found = [claims.by_target(record, choice, measure) for choice in TITLES]
        rows += [(pairs, target, *(claims.in_words(of[target]) for of in found)) for target in found[0]]
    return table(("C with speed, C > 0", "nats", *TITLES), rows)


# What might tell a pair's speed: where it lies on an axis, whose name, and whose ticks where it is logarithmic.
AXES: tuple[tuple[Callable[[xr.DataArray], xr.DataArray], str, tuple[float, ...]], ...] = (
    (lambda of: of.coefficient, style.C_LABEL, ()),
    (memory, MEMORY, MEMORIES),
    (lambda of: of.rms_u.mean("seed"), f"size of the update, {style.RMS}", (0.2, 0.5, 1)),
)

# What might tell speed, over the pairs with C > 0: rank correlations.
RIVALS: dict[str, claims.Measure] = {
    "a larger $C$": claims.speed_with,
    "a shorter memory": lambda points: -claims.speed_with(points, "gamma"),
    "a larger update": partial(claims.speed_with, name="rms_u"),
}


@style.styled
def causes(record: xr.Dataset) -> style.Figure:
    """Iterations to the middle target against C, the memory of momentum, and the size of the update; a mark for each pair."""
    figure, grid = style.panels(2, len(AXES), height=5.0, sharey="row", sharex="col")
    C = np.array([float(on(record, name).coefficient.mean()) for name in level_names(record)])
    colours = [style.MEASURED, *style.along_curve(C).to_rgba(C)]  # on the normal curve C changes
    for row, (choice, title) in zip(grid, TITLES.items(), strict=True):
        for axes, (place, label, ticks) in zip(row, AXES, strict=True):
            x, y = place(claims.arrivals(record, choice)), reached(record, choice)
            for name, colour, marker in zip([NORMAL, *level_names(record)], colours, MARKERS, strict=False):
                of, pairs = np.flatnonzero(record.curve == name), "normal curve" if name == NORMAL else f"${name}$"
                axes.plot(x[of], y[of], marker, ms=3.5, mfc="none", color=colour, label=pairs)
            axes.set_xlabel(label if choice == "tuned" else "")
            if ticks:
                axes.set(xscale="log", xticks=ticks, xticklabels=[f"{tick:g}" for tick in ticks])
                axes.set_xticks([], minor=True)
            else:
                axes.axvline(0, color=style.GUIDE, lw=0.8)
        row[0].set(ylabel=TO_TARGET.format(claims.middle(record)), title=title)
    grid[0, 0].invert_xaxis()
    return style.with_legend(figure, grid[0, 0], ncols=5)


@said
def causes_said(record: xr.Dataset) -> str:
    """Which quantity orders the pairs with C > 0, and which one all of them."""
    each = [f"{_means(record, measure)} for {name}" for name, measure in RIVALS.items()]
    whole = [f"{_means(record, _on_all_sides(measure))} for {name}" for name, measure in list(RIVALS.items())[1:]]
    return (
        f"The rank correlation with speed to {claims.middle(record):g} nats where $C > 0$, {BOTH}, is {listed(each)}. With all "
        f"other pairs counted as well it is {listed(whole)}."
    )


def _on_all_sides(measure: claims.Measure) -> claims.Measure:
    """The same with no pair left out for its C."""
    return lambda points: measure(points._replace(coefficient=np.ones_like(points.coefficient)))


def cause_table(record: xr.Dataset) -> Table:
    """Rank correlation with speed over all pairs with C > 0: of C, of a shorter memory, and of the update's size."""
    head = (f"with speed to {claims.middle(record):g} nats, C > 0", *TITLES)
    return table(head, [(plain(name), *_at_middle(record, measure)) for name, measure in RIVALS.items()])


@style.styled
def plane(record: xr.Dataset) -> style.Figure:
    """All pairs by the memories of momentum and second moment, coloured by iterations to the middle target."""
    figure, both = style.panels(1, 2, height=3.9, sharey=True, ylabel=r"memory of $v$, $1/(1-\beta)$")
    x, y = memory(record).values, 1 / (1 - record.beta.values)
    gamma = 1 - 1 / np.geomspace(min(x), max(x), 100)
    norm = Normalize(*np.nanquantile([reached(record, choice).values for choice in TITLES], (0, 1)))  # one for both
    for axes, (choice, title) in zip(both, TITLES.items(), strict=True):
        iterations = reached(record, choice).values
        never = np.isnan(iterations)
        for beta, colour, line, label in (
            (stability.boundary(gamma, time="continuous"), style.PAPER, "--", "paper's boundary, $C = 0$"),
            (stability.boundary(gamma), style.EXACT, "-", r"exact boundary, $\beta = \gamma^2$"),
            (gamma, style.GUIDE, ":", "equal betas"),
        ):
            axes.plot(1 / (1 - gamma), 1 / (1 - beta), line, color=colour, label=label)
        dots = axes.scatter(
            x[~never], y[~never], c=iterations[~never], cmap=style.NUMBERS.reversed(), norm=norm, s=24, zorder=3
        )
        axes.plot(x[never], y[never], "x", ms=5, color=style.MEASURED, label="not by every seed", zorder=3)
        axes.set(xscale="log", yscale="log", xlabel=MEMORY, title=title, ylim=(1.3, 2500))
    figure.colorbar(dots, ax=both, label=TO_TARGET.format(claims.middle(record)), pad=0.02)
    return style.with_legend(figure, both[1], ncols=4)


@said
def plane_said(record: xr.Dataset) -> str:
    """How much pairs of one momentum differ, on different level curves, and pairs of one level curve."""
    momenta = memory(record).round(3).rename("momentum")
    return (
        f"Among pairs with one momentum on different level curves the slowest needs {_apart(record, momenta)} times the "
        f"iterations of the fastest, {BOTH}; among pairs of one level curve {_apart(record, record.curve)} times."
    )


@style.styled
def unstable(record: xr.Dataset) -> style.Figure:
    """How far the loss ends above the median inside, and the largest update, against the exact rate; a colour per rate."""
    figure, (loss, update) = style.panels(1, 2, height=3.6)
    exact_rate, worse = np.log(record.gamma) - np.log(record.beta) / 2, claims.behind(record.loss)
    for rate, shade in zip(record.rate.values, style.shades(record.sizes["rate"]), strict=True):
        look, gap = {"ls": "", "marker": "o", "ms": 3.5, "mfc": "none", "color": shade}, worse.sel(rate=rate)
        loss.plot(exact_rate, gap.mean("seed"), label=f"rate {style.scientific(rate)}", **look)
        diverged = exact_rate[gap.max("seed") == np.inf]
        loss.plot(diverged, np.full(diverged.shape, 0.97), "x", color=shade, transform=loss.get_xaxis_transform())
        update.plot(exact_rate, record.peak_update.sel(rate=rate).max("seed"), **look)
    loss.axhline(claims.BAD, color=style.GUIDE, lw=0.8, ls="--")
    loss.annotate("ends badly", (NEAR[0], claims.BAD), xytext=(3, 3), textcoords="offset points", fontsize=8, color=style.GUIDE)
    for axes in (loss, update):
        axes.axvline(0, color=style.EXACT, lw=0.8)
        axes.set(xlim=NEAR, xlabel=r"exact rate $\ln\gamma - \frac{1}{2}\ln\beta$  (right of 0: unstable)")
    loss.set(ylabel="final loss above the median inside (nats)")
    update.set(yscale="log", ylabel=f"largest {style.UPDATE} of the run (learning rates)")
    return style.with_legend(figure, loss, ncols=record.sizes["rate"])


def _sides(record: xr.Dataset) -> dict[str, xr.DataArray]:
    """Which pairs lie inside the paper's region, between the two boundaries, and outside of both. (point,)"""
    between, exact = (claims.REGIONS[region](record) for region in ("between", "exact"))
    return {"C > 0": record.coefficient > 0, "between": between, "exactly unstable": exact}


def _ends_badly(record: xr.Dataset) -> dict[str, str]:
    """How many runs do on each side."""
    bad = claims.behind(record.loss) > claims.BAD
    return {side: of_all(bad.isel(point=among.values), "runs") for side, among in _sides(record).items()}


@said
def unstable_said(record: xr.Dataset) -> str:
    """Bad ends outside; then, at equal momentum, what it costs to be outside and to remember long."""
    bad, (first, second) = _ends_badly(record), (on(record, name) for name in level_names(record)[-2:])
    i, j = np.nonzero(np.isclose(first.gamma.values[:, None], second.gamma.values))
    gaps = {choice: (_final(second, choice).values[j] - _final(first, choice).values[i]).max() for choice in TITLES}
    long = {choice: _final(first, choice)[-1] - _final(first, choice).min() for choice in TITLES}
    one, other = (f"${name}$" for name in level_names(record)[-2:])
    return (
        f"Between the boundaries {bad['between']} end badly, outside of both {bad['exactly unstable']}.\n\n"
        f"At equal momentum the loss ends at most {_both(lambda choice: span(gaps[choice], '+.3f'))} nats higher on the curve "
        f"{other} than on {one}, {BOTH}. On {one} alone the longest memory costs "
        f"{_both(lambda choice: span(long[choice], '.3f'))} nats."
    )


def unstable_table(record: xr.Dataset) -> Table:
    """By learning rate and side: runs that end badly, that diverged, spikes per run, and the largest update."""
    judged, rows = record.assign(bad=claims.behind(record.loss) > claims.BAD), []
    for rate, (side, among) in product(record.rate.values, _sides(record).items()):
        one = judged.sel(rate=rate).isel(point=among.values)
        bad, diverged = f"{int(one.bad.sum())} of {one.bad.size}", one.diverged_at.count()
        rows.append((rate, side, bad, diverged, one.spikes.mean(), one.peak_update.max()))
    head = ("rate", "side", "end badly", "diverged", "spikes per run", "largest |u|")
    return table(head, rows, digits=("g", "", "", "", ".2f", ".3g"))
