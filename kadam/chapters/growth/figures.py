"""The figures of chapter 2, each with the numbers that it shows."""

import numpy as np
import xarray as xr

from kadam.chapters.growth.claims import relative_errors
from kadam.report import style
from kadam.report.selection import selected
from kadam.report.table import Table, table

LAWS = {
    "continuous": (style.PAPER, "--", "the paper's |C|/2"),
    "discrete": (style.EXACT, "-", "exact rate"),
    "corrected": (style.CORRECTED, "-.", "exact rate with bias correction"),
}

LOOSE = 1e-3  # a rate, per step, from which on a point counts in the looser comparison

TITLES = {"fixed": "one fixed batch", "fresh": "fresh minibatches"}


@style.styled
def curves(record: xr.Dataset, *, seed: int = 0) -> style.Figure:
    """The largest update over iterations, a line per point of the normal curve, on a fixed batch and on fresh ones."""
    figure, both = style.panels(1, 2, height=3.6, sharey=True, ylabel="largest |u| (learning rates)")
    scale, run = style.along_curve(record.coefficient.values), selected(record, seed=seed)
    for axes, (setting, title) in zip(both, TITLES.items(), strict=True):
        one = run.max_update.sel(setting=setting)
        for point, colour in zip(record.point.values, scale.to_rgba(record.coefficient.values), strict=True):
            axes.plot(one.iteration, one.sel(point=point), color=colour, lw=0.8)
        axes.set(yscale="log", xlabel="iteration", title=title)
    ticks = [-0.04, -0.02, 0, 0.05, 0.1, 0.15, 0.2]
    figure.colorbar(scale, ax=both, label="C  (red: outside the region)", pad=0.02, ticks=ticks)
    return figure


@style.styled
def slopes(record: xr.Dataset) -> style.Figure:
    """The slope at the end against C, mean and range over seeds, beside the three laws; fixed and fresh batches."""
    figure, both = style.panels(1, 2, height=3.6, sharey=True, ylabel="slope of log max|u|  (a step)")
    for axes, (setting, title) in zip(both, TITLES.items(), strict=True):
        for law, (colour, line, label) in LAWS.items():
            axes.plot(record.coefficient, record[f"rate_{law}"], line, color=colour, label=label)
        slope = record.slope.sel(setting=setting)
        ends = np.stack([slope.mean("seed") - slope.min("seed"), slope.max("seed") - slope.mean("seed")])
        looks = {"fmt": ".", "ms": 4, "lw": 0.8, "color": style.MEASURED, "label": "measured (mean, range over seeds)"}
        axes.errorbar(record.coefficient, slope.mean("seed"), np.abs(ends), **looks)
        style.against_c(axes, title=title)
    both[0].legend(loc="upper left")
    return figure


def slope_table(record: xr.Dataset) -> Table:
    """Slopes against the laws for the points outside, one a row, most stable first."""
    outside = record.isel(point=record.rate_discrete.values > 0)
    names = ("beta", "gamma", "coefficient", *(f"rate_{law}" for law in LAWS))
    measured = [outside.slope.sel(setting=setting).mean("seed") for setting in TITLES]
    head = ("beta", "gamma", "C", "|C|/2", "exact", "corrected", *TITLES)
    return table(head, zip(*(outside[name].values for name in names), *(x.values for x in measured), strict=True), digits=".4f")


@style.styled
def errors(record: xr.Dataset) -> style.Figure:
    """The ratio of the measured slope to each law, point by point, on the fixed batch."""
    figure, axes = style.panels(1, 1, height=2.9)
    outside, window = record.isel(point=record.rate_discrete.values > LOOSE), record.attrs["one_e_fold"]
    for law, (colour, _, label) in LAWS.items():
        ratio = outside.slope.sel(setting="fixed") / outside[f"rate_{law}"]
        axes.fill_between(outside.rate_discrete, ratio.min("seed"), ratio.max("seed"), color=colour, alpha=0.2, lw=0)
        axes.plot(outside.rate_discrete, ratio.mean("seed"), "o-", ms=3, color=colour, label=label)
    axes.axhline(1, color=style.MEASURED, lw=0.8)
    axes.axvline(window, color=style.GUIDE, lw=0.6, ls=":")
    axes.annotate("one e-fold in the window", (window, 1), xytext=(3, 38), textcoords="offset points")
    axes.set(xlabel="exact rate (a step)", ylabel="measured slope / law")
    axes.legend()
    return figure


def error(record: xr.Dataset, law: str, *, least: float | None = None) -> str:
    """Root-mean-square relative error of a law on the fixed batch, mean over seeds, in words; see the claims."""
    errors = relative_errors(record, law, least=least)
    return f"{errors.mean():.1%}" if errors.notnull().any() else "not measured"


def error_table(record: xr.Dataset) -> Table:
    """The error of each law over points with at least one e-fold in the window, and over all above ``LOOSE`` a step."""
    counted = {"at least one e-fold": None, f"rate above {LOOSE:g}": LOOSE}
    rows = [(name, *(error(record, law, least=least) for law in LAWS)) for name, least in counted.items()]
    return table(("rms relative error", *LAWS), rows)


@style.styled
def places(record: xr.Dataset) -> style.Figure:
    """Which parameter holds the largest update over the last iterations, by point; and what PyTorch's eps changes."""
    figure, (shares, eps) = style.panels(1, 2, height=3.5, width_ratios=[1.25, 1])
    _share_bars(shares, record)
    end = record.max_update.isel(iteration=-1, seed=0)
    eps.plot(record.coefficient, end.sel(setting="fixed"), color=style.MEASURED, label="eps = 0")
    eps.plot(record.coefficient, end.sel(setting="eps"), "o", mfc="none", color=style.PAPER, label="eps = 1e-8")
    style.against_c(eps, yscale="log", ylabel="largest |u| at the end", title="PyTorch's eps")
    eps.legend()
    return figure


def holder_shares(record: xr.Dataset) -> dict[str, xr.DataArray]:
    """For each parameter that ever holds it: the share of (seed, late iteration) in which it does, by point."""
    late = record.isel(iteration=slice(int(record.attrs["fit_start"]), None)).sel(setting="fixed")
    holds = {"head.weight, absent characters": late.max_absent == 1}
    holds |= {name: late.max_parameter == index for index, name in enumerate(record.parameter.values.tolist())}
    shares = {name: of.mean(["seed", "iteration"]) for name, of in holds.items()}
    shares["head.weight"] = shares["head.weight"] - shares["head.weight, absent characters"]
    return {name: share for name, share in shares.items() if share.max() > 0}


def _share_bars(axes: style.Axes, record: xr.Dataset) -> None:
    shares = holder_shares(record)
    largest = sorted(shares, key=lambda name: -float(shares[name].mean()))[:4]
    rest = sum((shares[name] for name in shares if name not in largest), start=0 * record.coefficient)
    stacked = [shares[name] for name in largest] + [rest]
    colours = [style.EXACT, style.SECOND, style.CORRECTED, style.PAPER, "#cccccc"]
    axes.stackplot(record.coefficient, *stacked, labels=[*largest, "all others"], colors=colours, lw=0)
    axes.margins(x=0)
    style.against_c(axes, ylabel="share of late iterations", ylim=(0, 1), title="which weights hold the maximum")
    axes.legend(loc="lower left", frameon=True, fontsize=7)


def place_numbers(record: xr.Dataset) -> str:
    """Who holds the maximum inside and outside, and the largest effect of eps."""
    lines = []
    for where, points in (("inside", record.coefficient > 0), ("outside", record.rate_discrete > LOOSE)):
        shares = {name: float(share.where(points).mean()) for name, share in holder_shares(record).items()}
        top = sorted(shares, key=lambda name: -shares[name])[:3]
        lines.append(f"{where:<8}" + ", ".join(f"{name} {shares[name]:.0%}" for name in top))
    end = record.max_update.isel(iteration=-1, seed=0)
    ratio = end.sel(setting="eps") / end.sel(setting="fixed")
    lines.append(f"largest update at the end, eps = 1e-8 over eps = 0: {ratio.min():.3f} to {ratio.max():.3f}")
    return "\n".join(lines)
