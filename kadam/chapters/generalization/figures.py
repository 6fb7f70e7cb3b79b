"""The figures of chapter 4, each with the numbers that it shows."""

from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, TwoSlopeNorm
from matplotlib.figure import Figure

from kadam.chapters.generalization.curves import NORMAL
from kadam.report import style
from kadam.report.statistics import mean_interval, rank_correlation, share_between
from kadam.theory import stability

CHOICES = {"fixed": "one learning rate", "tuned": "each at its best rate"}
TARGETS = (style.EXACT, style.CORRECTED, style.PAPER, style.SECOND)
CURVES = (style.MEASURED, style.EXACT, style.CORRECTED, style.FOURTH, style.PAPER, style.SECOND)
MARKERS = "os^Dvp"
EVERY = 4  # of the normal curve's pairs in its table
BAD = 0.1  # nats above the median inside, as the experiment has it
NEAR = (-0.05, 0.03)  # exact rates that the figure of the unstable side shows
LOSS = "validation loss (nats a character)"
MEMORY = r"memory of momentum, $1/(1-\gamma)$"
TO_TARGET = "iterations to {:g} nats"

Values = Callable[[xr.Dataset, str], xr.DataArray]


def at(record: xr.Dataset, variable: str, choice: str) -> xr.DataArray:
    """A variable at the fixed or the tuned learning rate; its dimensions without the rate."""
    return record[variable].isel(rate=record.chosen.sel(choice=choice))


def setting(record: xr.Dataset) -> str:
    """What was trained on what."""
    rates = ", ".join(f"{rate:g}" for rate in record.rate.values)
    return (
        "profile {profile}; {data}, {train_characters:,} characters to train\n"
        f"{record.sizes['point']} pairs x {record.sizes['rate']} learning rates ({rates}) x {record.sizes['seed']} seeds\n"
        "{steps} steps; fixed rate {fixed_rate:g}"
    ).format(**record.attrs)


def middle(record: xr.Dataset) -> float:
    """The target that is shown where one is enough."""
    return float(record.target[record.sizes["target"] // 2])


def on(record: xr.Dataset, curve: str) -> xr.Dataset:
    """The pairs of one curve."""
    return record.isel(point=np.flatnonzero(record.curve == curve))


def level_names(record: xr.Dataset) -> list[str]:
    """The level curves, largest C first."""
    return [name for name in dict.fromkeys(record.curve.values.tolist()) if name != NORMAL]


def memory(record: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """1/(1-gamma): how many gradients the momentum averages over."""
    return 1 / (1 - record.gamma)


@style.styled
def normal_curve(record: xr.Dataset) -> Figure:
    """Validation loss over training, a line a pair of the normal curve, at one learning rate and at tuned ones."""
    figure, both = style.panels(1, 2, height=3.6, sharey=True)
    curve = on(record, NORMAL)
    low, high = float(curve.coefficient.min()), float(curve.coefficient.max())
    scale = ScalarMappable(TwoSlopeNorm(0, min(low, -1e-3), max(high, 1e-3)), style.ALONG_CURVE)
    for axes, (choice, title) in zip(both, CHOICES.items(), strict=True):
        _loss_lines(axes, curve, choice, scale.to_rgba(curve.coefficient.values))
        axes.set_title(title)
    both[0].set_ylabel(LOSS)
    both[0].plot([], [], "--", color=style.MEASURED, label="equal betas")
    both[0].legend(loc="upper right")
    figure.colorbar(scale, ax=both, label="C  (red: outside the region)", pad=0.02, ticks=[-0.04, -0.02, 0, 0.1, 0.2])
    style.label_stand_in(figure, record)
    return figure


def _loss_lines(axes: Axes, pairs: xr.Dataset, choice: str, colours: np.ndarray) -> None:
    """Mean over seeds; equal betas dashed, and a cross where a run of any seed diverged."""
    loss = at(pairs, "loss", choice).mean("seed", skipna=False).isel(evaluation=slice(1, None))
    for i, colour in enumerate(colours):
        one = loss.isel(point=i)
        axes.plot(one.evaluation, one, color=colour, lw=0.9)
        if bool(one.equal):
            axes.plot(one.evaluation, one, "--", color=style.MEASURED, lw=1.2, zorder=3)
    ends = at(pairs, "diverged_at", choice).min("seed")
    axes.plot(ends, np.full(ends.shape, 0.97), "x", color=style.PAPER, transform=axes.get_xaxis_transform())
    axes.set_xlabel("iteration")


def normal_table(record: xr.Dataset) -> str:
    """Final loss, iterations to the middle target and tuned rate of some pairs of the normal curve, most stable first."""
    curve, target = on(record, NORMAL), middle(record)
    heads = "".join(f"{choice + ': loss':>13}{f'to {target:g}':>7}" for choice in CHOICES)
    lines = [f"{'beta':>8}{'gamma':>8}{'C':>8}{heads}{'rate':>8}{'diverged':>10}"]
    rows = sorted({*range(0, curve.sizes["point"], EVERY), *np.flatnonzero(curve.equal).tolist()})
    return "\n".join([*lines, *(_normal_line(curve.isel(point=i), target) for i in rows)])


def _normal_line(one: xr.Dataset, target: float) -> str:
    cells = ""
    for choice in CHOICES:
        loss = float(at(one, "loss", choice).isel(evaluation=-1).mean("seed"))
        cells += f"{loss:>13.3f}{_iterations(at(one, 'iterations', choice).sel(target=target)):>7}"
    rate = float(np.median(one.rate.values[one.chosen.sel(choice="tuned").values]))
    name = "  equal" if bool(one.equal) else ""
    diverged = int(one.diverged_at.notnull().sum())
    return (
        f"{float(one.beta):>8.4f}{float(one.gamma):>8.4f}{float(one.coefficient):>8.3f}{cells}{rate:>8.2g}{diverged:>10}{name}"
    )


def _iterations(of: xr.DataArray) -> str:
    """Mean over seeds, "never" where some seed did not get there."""
    mean = float(of.mean(skipna=False))
    return "never" if np.isnan(mean) else f"{mean:.0f}"


@style.styled
def level_curves(record: xr.Dataset) -> Figure:
    """The same along level curves, a column a curve, a row a choice of learning rate; coloured by the memory of momentum."""
    names = level_names(record)
    figure, grid = style.panels(2, len(names), height=4.6, sharex=True, sharey=True, squeeze=False)
    longest = max(float(memory(on(record, name)).max()) for name in names)
    scale = ScalarMappable(LogNorm(2, longest), mpl.colormaps["viridis_r"])
    for row, choice in zip(grid, CHOICES, strict=True):
        for axes, name in zip(row, names, strict=True):
            pairs = on(record, name)
            _loss_lines(axes, pairs, choice, scale.to_rgba(memory(pairs).values))
            axes.set(title=f"{name}, {choice}", xlabel="iteration" if choice == "tuned" else "")
        row[0].set_ylabel("validation loss")
    bar = figure.colorbar(scale, ax=grid, label=MEMORY, pad=0.02)
    bar.set_ticks([2, 5, 10, 20, 50, 100], labels=["2", "5", "10", "20", "50", "100"])
    bar.set_ticks([], minor=True)
    style.label_stand_in(figure, record)
    return figure


def level_table(record: xr.Dataset) -> str:
    """Iterations to the middle target at both ends of every level curve, and what share of the ranks' variance curves hold."""
    target = middle(record)
    lines = [f"{'iterations to ' + format(target, 'g') + ' nats':<28}" + "".join(f"{choice:>22}" for choice in CHOICES)]
    for name in level_names(record):
        pairs = on(record, name)
        for word, i in (("shortest", 0), ("longest", -1)):
            one = pairs.isel(point=i)
            cells = "".join(f"{_iterations(at(one, 'iterations', choice).sel(target=target)):>22}" for choice in CHOICES)
            lines.append(f"{name:<12}{f'{word}, {float(memory(one)):.3g}':<16}{cells}")
    lines.append(f"{'variance between curves':<28}" + "".join(f"{_between(record, choice):>22}" for choice in CHOICES))
    return "\n".join(lines)


def _between(record: xr.Dataset, choice: str) -> str:
    levels = record.isel(point=np.flatnonzero(record.curve != NORMAL))
    iterations = at(levels, "iterations", choice).sel(target=middle(record)).transpose("seed", "point")
    return _with_interval([share_between(one.values, levels.curve.values) for one in iterations])


def _with_interval(values: Sequence[float]) -> str:
    """Mean and 95% interval over seeds of a share or a correlation, cut at 1."""
    mean, low, high = mean_interval(values)
    if np.isnan(mean):
        return "-"
    return f"{mean:.2f}" if np.isnan(low) else f"{mean:.2f} ({max(low, -1):.2f} to {min(high, 1):.2f})"


@style.styled
def speed(record: xr.Dataset) -> Figure:
    """Iterations to each target against C on the normal curve, means with 95% intervals over seeds; both choices."""
    figure, both = style.panels(1, 2, height=3.6)
    curve = on(record, NORMAL)
    for axes, (choice, title) in zip(both, CHOICES.items(), strict=True):
        for i, (target, colour) in enumerate(zip(curve.target.values, TARGETS, strict=False)):
            _speed_points(axes, at(curve, "iterations", choice).sel(target=target), colour, height=0.97 - 0.025 * i)
        axes.axvline(0, color=style.GUIDE, lw=0.8)
        axes.set(xlabel="C(beta, gamma)", title=title, ylim=(0, 1.05 * record.attrs["steps"]))
        axes.invert_xaxis()
    both[0].set_ylabel("iterations to the target")
    both[1].plot([], [], "*", color=style.MEASURED, ms=8, label="equal betas")
    both[1].plot([], [], "x", color=style.MEASURED, ms=4, label="not by every seed")
    handles, labels = both[1].get_legend_handles_labels()
    order = np.argsort([" nats" not in label for label in labels], kind="stable")
    figure.legend([handles[i] for i in order], [labels[i] for i in order], loc="outside upper center", ncols=5)
    style.label_stand_in(figure, record)
    return figure


def _speed_points(axes: Axes, iterations: xr.DataArray, colour: str, *, height: float) -> None:
    """Means with intervals from which what a seed does to all pairs alike is taken out; crosses where a seed never came."""
    mean, low, high = mean_interval(paired(iterations).transpose("point", "seed"))
    C = iterations.coefficient.values
    reach = np.nan_to_num([mean - low, high - mean])
    label = f"{float(iterations.target):g} nats"
    axes.errorbar(C, mean, reach, fmt=".-", ms=4, lw=0.9, elinewidth=0.7, color=colour, label=label)
    never, equal = np.isnan(mean), iterations.equal.values
    axes.plot(C[never], np.full(never.sum(), height), "x", ms=4, color=colour, transform=axes.get_xaxis_transform(), zorder=1)
    axes.plot(C[equal], mean[equal], "*", ms=9, color=colour, mec="white", mew=0.5, zorder=4)


def paired(iterations: xr.DataArray) -> xr.DataArray:
    """Without what a seed does to all pairs alike: every seed gets the same mean, over the pairs inside that no seed misses."""
    shared = iterations.notnull().all("seed") & (iterations.coefficient > 0)
    mean = iterations.isel(point=np.flatnonzero(shared)).mean("point")
    return iterations - mean.fillna(0) + mean.mean().fillna(0)


def correlations(record: xr.Dataset, choice: str, target: float, of: Values, among: np.ndarray) -> list[float]:
    """Rank correlation with speed, seed by seed, of a quantity over some pairs."""
    iterations = at(record, "iterations", choice).sel(target=target)
    values = of(record, choice).broadcast_like(iterations)
    pairs = zip(values.transpose("seed", "point").values, iterations.transpose("seed", "point").values, strict=True)
    return [-rank_correlation(x[among], y[among]) for x, y in pairs]


def speed_table(record: xr.Dataset) -> str:
    """Rank correlation of C with speed at C > 0, on the normal curve and over all pairs, target by target."""
    inside = record.coefficient.values > 0
    groups = {"normal curve": inside & (record.curve.values == NORMAL), "all pairs": inside}
    lines = [f"{'C with speed, C > 0':<24}" + "".join(f"{choice:>24}" for choice in CHOICES)]
    for group, among in groups.items():
        for target in record.target.values:
            found = [correlations(record, choice, target, RIVALS["C"], among) for choice in CHOICES]
            lines.append(f"{f'{group}, {target:g} nats':<24}" + "".join(f"{_with_interval(values):>24}" for values in found))
    return "\n".join(lines)


def _size(record: xr.Dataset, choice: str) -> xr.DataArray:
    return (at(record, "update_rms", choice) ** 2).mean("evaluation") ** 0.5


# What could tell a pair's speed, on a scale where more should be faster.
RIVALS: dict[str, Values] = {
    "C": lambda record, choice: record.coefficient,
    "memory": lambda record, choice: -memory(record),
    "size": _size,
}
AXES: dict[str, tuple[Values, str]] = {
    "C": (RIVALS["C"], "C(beta, gamma)"),
    "memory": (lambda record, choice: memory(record), MEMORY),
    "size": (RIVALS["size"], "size of the update, rms of u"),
}


@style.styled
def causes(record: xr.Dataset) -> Figure:
    """Iterations to the middle target of all pairs against C, the memory of momentum, and the size of the update."""
    figure, grid = style.panels(2, len(AXES), height=5.0, sharey="row", sharex="col")
    for row, (choice, title) in zip(grid, CHOICES.items(), strict=True):
        for axes, (name, (of, label)) in zip(row, AXES.items(), strict=True):
            _by_curve(axes, record, choice, of(record, choice))
            axes.set_xlabel(label if choice == "tuned" else "")
            if name == "C":
                axes.axvline(0, color=style.GUIDE, lw=0.8)
            else:
                axes.set_xscale("log")
        row[0].set(ylabel=TO_TARGET.format(middle(record)), title=title)
    grid[0, 0].invert_xaxis()
    for axes, ticks in ((grid[1, 1], (2, 5, 10, 20, 50, 100)), (grid[1, 2], (0.2, 0.3, 0.5))):
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    style.label_stand_in(figure, record)
    return figure


def _by_curve(axes: Axes, record: xr.Dataset, choice: str, x: xr.DataArray) -> None:
    """Means over the seeds, a colour and a marker a curve; pairs that some seed never brings there are left out."""
    iterations = at(record, "iterations", choice).sel(target=middle(record)).mean("seed", skipna=False)
    place = x.mean("seed") if "seed" in x.dims else x
    for name, colour, marker in zip([NORMAL, *level_names(record)], CURVES, MARKERS, strict=False):
        of = np.flatnonzero(record.curve == name)
        label = "normal curve" if name == NORMAL else name
        axes.plot(place[of], iterations[of], marker, ms=3.5, mfc="none", color=colour, label=label)


def cause_table(record: xr.Dataset) -> str:
    """Rank correlation with speed over all pairs with C > 0: of C, of a shorter memory, and of the update's size."""
    inside, target = record.coefficient.values > 0, middle(record)
    words = {"C": "C", "memory": "shorter memory", "size": "larger update"}
    lines = [f"{f'with speed to {target:g} nats, C > 0':<32}" + "".join(f"{choice:>24}" for choice in CHOICES)]
    for name, of in RIVALS.items():
        cells = [_with_interval(correlations(record, choice, target, of, inside)) for choice in CHOICES]
        lines.append(f"{words[name]:<32}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


@style.styled
def plane(record: xr.Dataset) -> Figure:
    """All pairs by the memories of momentum and second moment, coloured by iterations to the middle target."""
    figure, both = style.panels(1, 2, height=3.9, sharey=True)
    for axes, (choice, title) in zip(both, CHOICES.items(), strict=True):
        iterations = at(record, "iterations", choice).sel(target=middle(record)).mean("seed", skipna=False)
        never = np.isnan(iterations.values)
        x, y = memory(record).values, 1 / (1 - record.beta.values)
        _boundaries(axes, x)
        dots = axes.scatter(x[~never], y[~never], c=iterations.values[~never], cmap="viridis_r", s=24, zorder=3)
        axes.plot(x[never], y[never], "x", ms=5, color=style.MEASURED, label="not by every seed", zorder=3)
        axes.set(xscale="log", yscale="log", xlabel=MEMORY, title=title, ylim=(1.3, 2500))
        figure.colorbar(dots, ax=axes, label=TO_TARGET.format(middle(record)), pad=0.02)
    both[0].set_ylabel(r"memory of $v$, $1/(1-\beta)$")
    figure.legend(*both[1].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    style.label_stand_in(figure, record)
    return figure


def _boundaries(axes: Axes, memories: np.ndarray) -> None:
    """The two boundaries and the line of equal betas over the momenta shown."""
    gamma = 1 - 1 / np.geomspace(min(memories), max(memories), 100)
    lines = {
        "paper's boundary, C = 0": (stability.boundary(gamma, time="continuous"), style.PAPER, "--"),
        r"exact boundary, $\beta = \gamma^2$": (stability.boundary(gamma), style.EXACT, "-"),
        "equal betas": (gamma, style.GUIDE, ":"),
    }
    for label, (beta, colour, line) in lines.items():
        axes.plot(1 / (1 - gamma), 1 / (1 - beta), line, color=colour, label=label)


def plane_table(record: xr.Dataset, *, shown: int = 3) -> str:
    """The fastest and the slowest pairs to the middle target at tuned rates, and where equal betas come."""
    iterations = at(record, "iterations", "tuned").sel(target=middle(record)).mean("seed", skipna=False)
    order = np.argsort(iterations.fillna(np.inf).values, kind="stable")
    places = {int(i): place + 1 for place, i in enumerate(order)}
    lines = [f"{'place':>5}{'beta':>8}{'gamma':>8}{'C':>8}{'iterations':>12}{'final loss':>12}  curve (tuned rates)"]
    loss = at(record, "loss", "tuned").isel(evaluation=-1).mean("seed")
    for i in dict.fromkeys([*order[:shown], *np.flatnonzero(record.equal), *order[-shown:]]):
        one = record.isel(point=int(i))
        numbers = f"{float(one.beta):>8.4f}{float(one.gamma):>8.4f}{float(one.coefficient):>8.3f}"
        name = str(one.curve.values) + (", equal betas" if bool(one.equal) else "")
        lines.append(f"{places[int(i)]:>5}{numbers}{_iterations(iterations[i]):>12}{float(loss[i]):>12.3f}  {name}")
    return "\n".join(lines)


def exact_rate(record: xr.Dataset) -> xr.DataArray:
    """ln(gamma) - ln(beta)/2, positive outside the exact boundary and negative inside."""
    return np.log(record.gamma) - np.log(record.beta) / 2


def behind(record: xr.Dataset) -> xr.DataArray:
    """Final loss above the median of the pairs with C > 0 at that rate and seed; infinite for a diverged run."""
    end = record.loss.isel(evaluation=-1).fillna(np.inf)
    return end - end.isel(point=np.flatnonzero(record.coefficient > 0)).median("point")


@style.styled
def unstable(record: xr.Dataset) -> Figure:
    """How far the loss ends above the median inside, and the largest update, against the exact rate; a colour a rate."""
    figure, (loss, update) = style.panels(1, 2, height=3.6)
    rate, worse = exact_rate(record), behind(record)
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.9, record.sizes["rate"]))
    for i, shade in enumerate(shades):
        label = f"rate {float(record.rate[i]):g}"
        loss.plot(rate, worse.isel(rate=i).mean("seed"), "o", ms=3.5, mfc="none", color=shade, label=label)
        diverged = np.isinf(worse.isel(rate=i).max("seed").values)
        loss.plot(rate[diverged], np.full(diverged.sum(), 0.97), "x", color=shade, transform=loss.get_xaxis_transform())
        update.plot(rate, record.peak_update.isel(rate=i).max("seed"), "o", ms=3.5, mfc="none", color=shade)
    loss.axhline(BAD, color=style.GUIDE, lw=0.8, ls="--")
    loss.annotate("ends badly", (NEAR[0], BAD), xytext=(3, 3), textcoords="offset points", fontsize=8, color=style.GUIDE)
    for axes in (loss, update):
        axes.axvline(0, color=style.EXACT, lw=0.8)
        axes.set(xlim=NEAR, xlabel=r"exact rate $\ln\gamma - \frac{1}{2}\ln\beta$ (right of 0: unstable)")
    loss.set(ylabel="final loss above the median inside (nats)")
    update.set(yscale="log", ylabel="largest |u| of the run (learning rates)")
    figure.legend(*loss.get_legend_handles_labels(), loc="outside upper center", ncols=record.sizes["rate"])
    style.label_stand_in(figure, record)
    return figure


def unstable_table(record: xr.Dataset) -> str:
    """By learning rate and side: runs that end badly, that diverged, spikes a run, and the largest update."""
    bad, stable, C = behind(record) > BAD, record.stable.values, record.coefficient.values
    sides = {"C > 0": C > 0, "between": (C < 0) & stable, "exactly unstable": ~stable}
    lines = [f"{'rate':>7}{'side':>18}{'end badly':>12}{'diverged':>10}{'spikes a run':>14}{'largest |u|':>13}"]
    for rate in record.rate.values:
        for side, among in sides.items():
            one = record.sel(rate=rate).isel(point=np.flatnonzero(among))
            ends = bad.sel(rate=rate).isel(point=np.flatnonzero(among))
            count = f"{int(ends.sum())} of {ends.size}"
            numbers = f"{int(one.diverged_at.notnull().sum()):>10}{float(one.spikes.mean()):>14.2f}"
            lines.append(f"{rate:>7g}{side:>18}{count:>12}{numbers}{float(one.peak_update.max()):>13.3g}")
    return "\n".join(lines)
