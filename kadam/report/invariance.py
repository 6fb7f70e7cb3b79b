"""The figures of chapter 5, each with the numbers that it shows."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kadam.report import style
from kadam.report.claims import with_range

SETTINGS = {"small batches": "o", "larger batches": "s", "one fixed batch": "^"}
WEIGHTS = {"query": style.EXACT, "key": style.SECOND, "hidden": style.CORRECTED}
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
    axes.legend(fontsize=7, ncols=2, loc="upper left")
    style.label_stand_in(figure, record)
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
            place = np.arange(one.sizes["gamma"]) + 0.06 * (3 * i + j - 4)
            axes.errorbar(place, mean, reach, fmt=marker, ms=4, lw=0.7, color=colour, label=f"{weight}, {setting}")


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
    """|W|^2 over training beside both laws: without decay above, with decay below; one column a kind of batch."""
    figure, all_axes = style.panels(2, len(SETTINGS), height=4.6, sharex=True, sharey="row")
    steps = _steps(record)
    for row, weight_decay in zip(all_axes, record.weight_decay.values, strict=True):
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
    style.label_stand_in(figure, record)
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
    """Left: the mean cosine of W and u. Right: the dropped term over the kept one, with 2 gamma/(1-gamma)."""
    figure, (cosines, terms) = style.panels(1, 2, height=3.6)
    without = record.sel(weight_decay=0.0)
    _points(cosines, -without.cosine)
    _points(terms, without.dropped)
    expected = 2 * record.gamma / (1 - record.gamma)
    _by_gamma(cosines, record)
    terms.plot(_by_gamma(terms, record), expected, color=style.EXACT, lw=1, label="2 gamma/(1-gamma)")
    terms.axhline(1, color=style.PAPER, ls="--", lw=1)
    terms.set_yscale("symlog", linthresh=1)
    cosines.set(ylabel="-cosine of W and u", ylim=(0, 1), title="a small cosine")
    terms.set(ylabel="dropped term / kept term", title="is not a small term")
    style.label_stand_in(figure, record)
    return figure


def orthogonality_table(record: xr.Dataset) -> str:
    """Cosine and the two terms' ratio by gamma, and how exactly the momentum's product follows its recursion."""
    without = record.sel(weight_decay=0.0)
    lines = [f"{'gamma':>6}{'cosine of W and u':>28}{'dropped over kept':>26}{'2 gamma/(1-gamma)':>20}"]
    for gamma in record.gamma.values:
        one = without.sel(gamma=gamma)
        cosine, dropped = with_range(one.cosine, ".3f"), with_range(one.dropped, ".1f")
        lines.append(f"{gamma:>6g}{cosine:>28}{dropped:>26}{2 * gamma / (1 - gamma):>20.1f}")
    return "\n".join([*lines, f"<W, m^> follows its recursion to 1e-9: {bool(record.momentum_gap.max() < 1e-9)}"])


@style.styled
def rotation(record: xr.Dataset) -> Figure:
    """The angle that a step turns a weight by, late in training with decay, against gamma."""
    figure, axes = style.panels(1, 1, height=3.6)
    place = _by_gamma(axes, record)
    axes.plot(place, record.rotation_law, color=style.EXACT, lw=1, label="arccos((q+gamma)/(1+gamma q))")
    axes.plot(place, record.rotation_paper, "--", color=style.PAPER, lw=1, label="without the cross term")
    _points(axes, record.rotation.isel(weight_decay=-1))
    axes.set(yscale="log", ylabel="angle of one step (radians)")
    axes.legend(fontsize=7, ncols=2)
    style.label_stand_in(figure, record)
    return figure


def rotation_table(record: xr.Dataset) -> str:
    """Measured angle over both predictions by gamma: mean and range."""
    lines = [f"{'gamma':>6}{'angle':>9}{'over the law':>26}{'over sqrt(2 eta lambda)':>28}"]
    for gamma in record.gamma.values:
        one = record.sel(gamma=gamma).isel(weight_decay=-1)
        ratios = [with_range(one.rotation / one[name], ".2f") for name in ("rotation_law", "rotation_paper")]
        lines.append(f"{gamma:>6g}{float(one.rotation.mean()):>9.4f}{ratios[0]:>26}{ratios[1]:>28}")
    return "\n".join(lines)
