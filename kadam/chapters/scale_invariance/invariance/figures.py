"""The figures of chapter 5 on the norm of scale-invariant weights, each with the numbers that it shows."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kadam.report import style
from kadam.report.ledger import with_range

SETTINGS = {"small batches": "o", "larger batches": "s", "one fixed batch": "^"}
WEIGHTS = {
    "query": style.EXACT,
    "key": style.SECOND,
    "hidden": style.CORRECTED,
    "convolution 2": style.FOURTH,
    "convolution 3": style.FIFTH,
}
PARTS = {
    "start": ("#cccccc", "start"),
    "kept": (style.PAPER, "|u|^2, the paper's law"),
    "momentum": (style.EXACT, "momentum, from |u|^2"),
    "unequal": (style.SECOND, "unequal v"),
    "changing": (style.CORRECTED, "changing v"),
}
USUAL = 0.9


@style.styled
def growth(record: xr.Dataset) -> Figure:
    """The growth of |W|^2 over what |u|^2 alone gives, against gamma: every weight and kind of batch."""
    figure, axes = style.panels(1, 1, height=4.0)
    place = _by_gamma(axes, record)
    axes.plot(place, record.factor, color=style.EXACT, lw=1, label="with the cross term: (1+gamma)/(1-gamma)")
    axes.axhline(1, color=style.PAPER, ls="--", lw=1, label="the paper's law")
    _points(axes, record.growth_ratio.sel(weight_decay=0.0))
    axes.set(yscale="log", ylabel="growth of |W|^2 / (eta^2 sum |u|^2)")
    _key(figure, axes)
    return figure


def _by_gamma(axes: Axes, record: xr.Dataset) -> np.ndarray:
    """A place on the horizontal axis for every gamma, at equal distances."""
    place = np.arange(record.sizes["gamma"])
    axes.set_xticks(place, [f"{gamma:g}" for gamma in record.gamma.values])
    axes.set_xlabel(style.GAMMA_LABEL)
    return place


def _points(axes: Axes, values: xr.DataArray) -> None:
    """Mean over seeds with their range; a marker a kind of batch, a colour a weight, side by side at every gamma."""
    for i, (setting, marker) in enumerate(SETTINGS.items()):
        for j, (weight, colour) in enumerate(WEIGHTS.items()):
            one = values.sel(setting=setting, weight=weight)
            mean = one.mean("seed")
            reach = np.abs(np.stack([mean - one.min("seed"), one.max("seed") - mean]))
            place = np.arange(one.sizes["gamma"]) + 0.045 * (len(WEIGHTS) * i + j - 7)
            axes.errorbar(place, mean, reach, fmt=marker, ms=3.5, lw=0.7, color=colour)


def _key(figure: Figure, axes: Axes) -> None:
    """What lines, markers and colours mean, above the panels; the lines are those of ``axes``."""
    lines = axes.get_legend_handles_labels()[0]
    markers = [Line2D([], [], ls="", marker=m, color=style.GUIDE, ms=4, label=setting) for setting, m in SETTINGS.items()]
    colours = [Line2D([], [], ls="", marker="o", color=colour, ms=4, label=weight) for weight, colour in WEIGHTS.items()]
    figure.legend(handles=[*lines, *markers, *colours], fontsize=7, loc="outside upper center", ncols=5)


def growth_table(record: xr.Dataset) -> str:
    """Measured growth over the paper's and over the corrected law, by gamma: mean and range over weights, batches, seeds."""
    lines = [f"{'gamma':>6}{'factor':>8}{'over the paper' + chr(39) + 's law':>26}{'over the law with the cross term':>36}"]
    for gamma in record.gamma.values:
        ratio = record.growth_ratio.sel(weight_decay=0.0, gamma=gamma)
        factor = float(record.factor.sel(gamma=gamma))
        lines.append(f"{gamma:>6g}{factor:>8.0f}{with_range(ratio, '.1f'):>26}{with_range(ratio / factor, '.2f'):>36}")
    return "\n".join(lines)


@style.styled
def norms(record: xr.Dataset, *, weight: str = "hidden", gamma: float = USUAL) -> Figure:
    """|W|^2 over training beside both laws: without decay above, with the largest below; one column a kind of batch."""
    figure, all_axes = style.panels(2, len(SETTINGS), height=4.6, sharex=True, sharey="row")
    steps = _steps(record)
    for row, weight_decay in zip(all_axes, record.weight_decay.values[[0, -1]], strict=True):
        for axes, setting in zip(row, SETTINGS, strict=True):
            one = record.sel(setting=setting, weight=weight, gamma=gamma, weight_decay=weight_decay).isel(seed=0)
            axes.plot(steps, one.norm, color=style.MEASURED, lw=2, label="measured")
            axes.plot(steps, one.norm_corrected, "--", color=style.EXACT, label="law with the cross term")
            axes.plot(steps, one.norm_paper, color=style.PAPER, label="paper's law")
            axes.set_title(f"{setting}, lambda = {weight_decay:g}")
        row[0].set_ylabel("|W|^2")
        row[0].set_ylim(bottom=0)
    for axes in all_axes[-1]:
        axes.set_xlabel("step")
    all_axes[0, 0].legend(fontsize=7)
    return figure


def _steps(record: xr.Dataset) -> np.ndarray:
    return np.arange(record.sizes["step"]) * int(record.attrs["every"])


def norm_table(record: xr.Dataset) -> str:
    """Relative error of both laws at the end of training at the usual gamma, by decay: mean and range."""
    lines = [f"{'lambda':>7}{'law with the cross term':>32}{'paper' + chr(39) + 's law':>30}"]
    ends = record.sel(gamma=USUAL).isel(step=-1)
    for weight_decay in record.weight_decay.values:
        one = ends.sel(weight_decay=weight_decay)
        errors = [with_range(one[name] / one.norm - 1, "+.2f") for name in ("norm_corrected", "norm_paper")]
        lines.append(f"{weight_decay:>7g}{errors[0]:>32}{errors[1]:>30}")
    return "\n".join(lines)


@style.styled
def orthogonality(record: xr.Dataset) -> Figure:
    """Above: the cosine of W and u, and the dropped term over the kept one. Below: earlier gradients, and the way made."""
    figure, ((cosines, terms), (earlier, moved)) = style.panels(2, 2, height=6.2)
    without = record.sel(weight_decay=0.0)
    _points(cosines, -without.cosine)
    _by_gamma(cosines, record)
    cosines.set(ylabel="-cosine of W and u", ylim=(0, 1), title="a small cosine")
    _terms(terms, record)
    _looking_back(earlier, moved, without.sel(gamma=USUAL).mean("seed"))
    _key(figure, moved)
    return figure


def _terms(axes: Axes, record: xr.Dataset) -> None:
    _points(axes, record.dropped.sel(weight_decay=0.0))
    axes.plot(_by_gamma(axes, record), 2 * record.gamma / (1 - record.gamma), color=style.EXACT, lw=1)
    axes.axhline(1, color=style.PAPER, ls="--", lw=1)
    axes.set_yscale("symlog", linthresh=1)
    axes.set(ylabel="dropped term / kept term", title="is not a small term")


def _looking_back(earlier: Axes, moved: Axes, one: xr.Dataset) -> None:
    for setting, marker in SETTINGS.items():
        for weight, colour in WEIGHTS.items():
            case = one.sel(setting=setting, weight=weight)
            look: Any = {"marker": marker, "ms": 3.5, "lw": 0.7, "color": colour}
            earlier.plot(one.lag, case.past_cosine, **look)
            moved.plot(one.window, case.moved, **look)
            moved.plot(one.window, case.moved_largest, **(look | {"ls": ":"}))
    moved.plot([], [], ":", color=style.GUIDE, lw=0.7, label="largest entry")
    moved.axhline(1, color=style.PAPER, ls="--", lw=1, label="the paper's")
    earlier.set(xlabel="steps back", ylabel="cosine of W with that gradient", title="earlier gradients")
    moved.set(
        xscale="log", xlabel="steps", ylabel="displacement / (eta sum |u|)", ylim=(0, 1.05), title="how far a weight goes"
    )


def orthogonality_table(record: xr.Dataset) -> str:
    """Cosine and the two terms' ratio by gamma, and how exactly the momentum's product follows its recursion."""
    without = record.sel(weight_decay=0.0)
    lines = [f"{'gamma':>6}{'cosine of W and u':>28}{'dropped over kept':>26}{'2 gamma/(1-gamma)':>20}"]
    for gamma in record.gamma.values:
        one = without.sel(gamma=gamma)
        cosine, dropped = with_range(one.cosine, ".3f"), with_range(one.dropped, ".1f")
        lines.append(f"{gamma:>6g}{cosine:>28}{dropped:>26}{2 * gamma / (1 - gamma):>20.1f}")
    return "\n".join([*lines, f"<W, m^> follows its recursion to 1e-9: {bool(record.momentum_gap.max() < 1e-9)}"])


def past_table(record: xr.Dataset) -> str:
    """Cosines with earlier gradients, and displacements in both norms, over weights, batches and seeds."""
    one = record.sel(gamma=USUAL, weight_decay=0.0)
    lines = [f"{'steps':>6}{'cosine with a gradient so far back':>38}"]
    lines += [f"{lag:>6}{with_range(one.past_cosine.sel(lag=lag), '.3f'):>38}" for lag in record.lag.values]
    lines += [f"{'steps':>6}{'displacement, Euclidean':>28}{'largest entry':>28}"]
    for window in record.window.values:
        both = [with_range(one[name].sel(window=window), ".2f") for name in ("moved", "moved_largest")]
        lines.append(f"{window:>6}{both[0]:>28}{both[1]:>28}")
    return "\n".join(lines)


@style.styled
def causes(record: xr.Dataset) -> Figure:
    """What |W|^2 at the end of training without decay is made of, mean over seeds: one bar a weight and kind of batch."""
    figure, all_axes = style.panels(1, len(SETTINGS), height=3.4, sharey=True)
    shares = record.parts.sel(gamma=USUAL, weight_decay=0.0).mean("seed")
    for axes, setting in zip(all_axes, SETTINGS, strict=True):
        above, below = np.zeros(len(WEIGHTS)), np.zeros(len(WEIGHTS))
        for part, (colour, label) in PARTS.items():
            share = shares.sel(setting=setting, part=part, weight=list(WEIGHTS)).values
            axes.bar(range(len(WEIGHTS)), share, 0.7, bottom=np.where(share > 0, above, below), color=colour, label=label)
            above, below = above + np.maximum(share, 0), below + np.minimum(share, 0)
        axes.set_xticks(range(len(WEIGHTS)), [name.replace("olution", ".") for name in WEIGHTS], rotation=60)
        axes.axhline(0, color="black", lw=0.6)
        axes.set_title(setting)
    all_axes[0].set_ylabel("share of |W|^2 at the end")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(PARTS), fontsize=7)
    return figure


def causes_table(record: xr.Dataset) -> str:
    """Each cause's share of |W|^2 at the end by kind of batch, mean over weights and seeds; and the spread of v."""
    one = record.sel(gamma=USUAL, weight_decay=0.0)
    lines = [f"{'':>16}" + "".join(f"{part:>10}" for part in PARTS) + f"{'spread':>17}"]
    for setting in SETTINGS:
        shares = [float(one.parts.sel(setting=setting, part=part).mean()) for part in PARTS]
        spread = with_range(one.spread.sel(setting=setting), ".1f")
        lines.append(f"{setting:>16}" + "".join(f"{share:>10.3f}" for share in shares) + f"{spread:>17}")
    return "\n".join(lines)


@style.styled
def departure(record: xr.Dataset) -> Figure:
    """Measured growth without decay over that of the law with the cross term, before and after the burn-in."""
    figure, both = style.panels(1, 2, height=3.4, sharey=True)
    for axes, phase in zip(both, record.phase.values, strict=True):
        _by_gamma(axes, record)
        axes.axhline(1, color=style.EXACT, lw=1, label="law with the cross term")
        _points(axes, record.departure.sel(weight_decay=0.0, phase=phase))
        axes.set_title(f"{phase} in training")
    both[0].set_ylabel("growth of |W|^2 / the law's")
    _key(figure, both[0])
    return figure


def departure_table(record: xr.Dataset) -> str:
    """Growth over the law's at the usual gamma by kind of batch, with what late gradients and updates are like."""
    one = record.sel(gamma=USUAL, weight_decay=0.0)
    lines = [f"{'':>16}{'early':>22}{'late':>22}{'correlation':>13}{'|u|^2':>9}"]
    for setting in SETTINGS:
        case = one.sel(setting=setting)
        grown = [with_range(case.departure.sel(phase=phase), ".2f") for phase in record.phase.values]
        means = f"{float(case.correlation.mean()):>13.2f}{float(case.update_size.mean()):>9.4f}"
        lines.append(f"{setting:>16}{grown[0]:>22}{grown[1]:>22}{means}")
    return "\n".join(lines)


@style.styled
def rotation(record: xr.Dataset) -> Figure:
    """The angle that a step turns a weight by, late in training with decay, against gamma: one panel a weight decay."""
    decays = [rate for rate in record.weight_decay.values if rate > 0]
    figure, all_axes = style.panels(1, len(decays), height=3.6, sharey=True, squeeze=False)
    for axes, rate in zip(all_axes[0], decays, strict=True):
        one = record.sel(weight_decay=rate)
        place = _by_gamma(axes, record)
        axes.plot(place, one.rotation_law, color=style.EXACT, lw=1, label="arccos((q+gamma)/(1+gamma q))")
        axes.axhline(float(one.rotation_paper), ls="--", color=style.PAPER, lw=1, label="without the cross term")
        _points(axes, one.rotation)
        axes.set(yscale="log", title=f"lambda = {rate:g}")
    all_axes[0, 0].set_ylabel("angle of one step (radians)")
    _key(figure, all_axes[0, 0])
    return figure


def rotation_table(record: xr.Dataset) -> str:
    """Measured angle over both predictions by gamma: mean and range over weight decays, weights, batches and seeds."""
    lines = [f"{'gamma':>6}{'angle':>9}{'over the law':>26}{'over sqrt(2 eta lambda)':>28}"]
    for gamma in record.gamma.values:
        one = record.sel(gamma=gamma, weight_decay=record.weight_decay > 0)
        ratios = [with_range(one.rotation / one[name], ".2f") for name in ("rotation_law", "rotation_paper")]
        lines.append(f"{gamma:>6g}{float(one.rotation.mean()):>9.4f}{ratios[0]:>26}{ratios[1]:>28}")
    return "\n".join(lines)
