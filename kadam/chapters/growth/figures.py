"""The figures of chapter 2, each with the numbers that it shows."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from kadam.report import style

LAWS = {
    "continuous": (style.PAPER, "--", "the paper's |C|/2"),
    "discrete": (style.EXACT, "-", "exact rate"),
    "corrected": (style.CORRECTED, "-.", "exact rate with bias correction"),
}

TITLES = {"fixed": "one fixed batch", "fresh": "fresh minibatches"}


@style.styled
def curves(record: xr.Dataset, *, seed: int = 0) -> Figure:
    """The largest update over iterations, a line a point of the normal curve, on a fixed batch and on fresh ones."""
    figure, both = style.panels(1, 2, height=3.6, sharey=True)
    norm = TwoSlopeNorm(0, float(record.coefficient.min()), float(record.coefficient.max()))
    scale = ScalarMappable(norm, style.ALONG_CURVE)
    for axes, (setting, title) in zip(both, TITLES.items(), strict=True):
        one = record.max_update.sel(setting=setting).isel(seed=seed)
        for point, colour in zip(record.point.values, scale.to_rgba(record.coefficient.values), strict=True):
            axes.plot(one.iteration, one.sel(point=point), color=colour, lw=0.8)
        axes.set(yscale="log", xlabel="iteration", title=title)
    both[0].set_ylabel("largest |u| (learning rates)")
    ticks = [-0.04, -0.02, 0, 0.05, 0.1, 0.15, 0.2]
    figure.colorbar(scale, ax=both, label="C  (red: outside the region)", pad=0.02, ticks=ticks)
    style.label_stand_in(figure, record)
    return figure


@style.styled
def slopes(record: xr.Dataset) -> Figure:
    """The slope at the end against C, mean and range over seeds, beside the three laws; fixed and fresh batches."""
    figure, both = style.panels(1, 2, height=3.6, sharey=True)
    for axes, (setting, title) in zip(both, TITLES.items(), strict=True):
        for law, (colour, line, label) in LAWS.items():
            axes.plot(record.coefficient, record[f"rate_{law}"], line, color=colour, label=label)
        _with_range(axes, record.coefficient, record.slope.sel(setting=setting))
        axes.axvline(0, color=style.GUIDE, lw=0.6)
        axes.set(xlabel="C(beta, gamma)", title=title)
        axes.invert_xaxis()
    both[0].set_ylabel("slope of log max|u|  (a step)")
    both[0].legend(loc="upper left")
    style.label_stand_in(figure, record)
    return figure


def _with_range(axes: Axes, x: xr.DataArray, y: xr.DataArray) -> None:
    mean = y.mean("seed")
    reach = np.abs(np.stack([mean - y.min("seed"), y.max("seed") - mean]))
    axes.errorbar(x, mean, reach, fmt=".", ms=4, lw=0.8, color=style.MEASURED, label="measured (mean, range over seeds)")


def slope_table(record: xr.Dataset) -> str:
    """Slopes against the laws for the points outside, one a line, most stable first."""
    head = f"{'beta':>7} {'gamma':>7} {'C':>8} {'|C|/2':>8} {'exact':>8} {'corrected':>9} {'fixed':>8} {'fresh':>8}"
    outside = record.isel(point=record.rate_discrete.values > 0)
    return "\n".join([head, *(_slope_line(outside.isel(point=i)) for i in range(outside.sizes["point"]))])


def _slope_line(one: xr.Dataset) -> str:
    measured = [float(one.slope.sel(setting=setting).mean()) for setting in TITLES]
    rates = [float(one[f"rate_{law}"]) for law in LAWS]
    return (
        f"{float(one.beta):>7.4f} {float(one.gamma):>7.4f} {float(one.coefficient):>8.4f} {rates[0]:>8.4f} {rates[1]:>8.4f} "
        f"{rates[2]:>9.4f} {measured[0]:>8.4f} {measured[1]:>8.4f}"
    )


@style.styled
def errors(record: xr.Dataset) -> Figure:
    """The ratio of the measured slope to each law, point by point, on the fixed batch."""
    figure, axes = style.panels(1, 1, height=2.9)
    outside = record.isel(point=record.rate_discrete.values > 1e-3)
    window = record.attrs["one_e_fold"]
    for law, (colour, _, label) in LAWS.items():
        ratio = outside.slope.sel(setting="fixed") / outside[f"rate_{law}"]
        mean = ratio.mean("seed")
        axes.fill_between(outside.rate_discrete, ratio.min("seed"), ratio.max("seed"), color=colour, alpha=0.2, lw=0)
        axes.plot(outside.rate_discrete, mean, "o-", ms=3, color=colour, label=label)
    axes.axhline(1, color=style.MEASURED, lw=0.8)
    axes.axvline(window, color=style.GUIDE, lw=0.6, ls=":")
    axes.annotate("one e-fold in the window", (window, 1), xytext=(3, 38), textcoords="offset points")
    axes.set(xlabel="exact rate (a step)", ylabel="measured slope / law")
    axes.legend()
    style.label_stand_in(figure, record)
    return figure


def error(record: xr.Dataset, law: str, *, least: float | None = None) -> str:
    """Root-mean-square relative error of a law on the fixed batch, mean over seeds, in words; see the experiment."""
    measured, rate = record.slope.sel(setting="fixed"), record[f"rate_{law}"]
    counted = record.rate_discrete >= (record.attrs["one_e_fold"] if least is None else least)
    if not bool(counted.any()):
        return "not measured"
    return f"{float(np.sqrt((((measured - rate) / rate) ** 2).where(counted).mean('point')).mean()):.1%}"


def error_table(record: xr.Dataset) -> str:
    """The error of each law over points with at least one e-fold in the window, and over all above 0.001 a step."""
    lines = [f"{'rms relative error':<22}" + "".join(f"{law:>14}" for law in LAWS)]
    for name, least in (("at least one e-fold", None), ("rate above 0.001", 1e-3)):
        lines.append(f"{name:<22}" + "".join(f"{error(record, law, least=least):>14}" for law in LAWS))
    return "\n".join(lines)


@style.styled
def places(record: xr.Dataset) -> Figure:
    """Which parameter holds the largest update over the last iterations, by point; and what PyTorch's eps changes."""
    figure, (shares, eps) = style.panels(1, 2, height=3.5, width_ratios=[1.25, 1])
    _share_bars(shares, record)
    _eps_points(eps, record)
    style.label_stand_in(figure, record)
    return figure


def holder_shares(record: xr.Dataset) -> dict[str, xr.DataArray]:
    """For each parameter that ever holds it: the share of (seed, late iteration) in which it does, by point."""
    late = record.isel(iteration=slice(int(record.attrs["fit_start"]), None)).sel(setting="fixed")
    absent = (late.max_absent == 1).mean(["seed", "iteration"])
    shares = {"head.weight, absent characters": absent}
    for index, name in enumerate(record.parameter.values):
        share = (late.max_parameter == index).mean(["seed", "iteration"])
        shares[str(name)] = share - absent if name == "head.weight" else share
    return {name: share for name, share in shares.items() if float(share.max()) > 0}


def _share_bars(axes: Axes, record: xr.Dataset) -> None:
    shares = holder_shares(record)
    largest = sorted(shares, key=lambda name: -float(shares[name].mean()))[:4]
    rest = sum((shares[name] for name in shares if name not in largest), start=0 * record.coefficient)
    stacked = [shares[name] for name in largest] + [rest]
    colours = [style.EXACT, style.SECOND, style.CORRECTED, style.PAPER, "#cccccc"]
    axes.stackplot(record.coefficient, *stacked, labels=[*largest, "all others"], colors=colours, lw=0)
    axes.axvline(0, color="black", lw=0.8)
    axes.set(xlabel="C(beta, gamma)", ylabel="share of late iterations", ylim=(0, 1), title="which weights hold the maximum")
    axes.invert_xaxis()
    axes.margins(x=0)
    axes.legend(loc="lower left", frameon=True, fontsize=7)


def _eps_points(axes: Axes, record: xr.Dataset) -> None:
    end = record.max_update.isel(iteration=-1, seed=0)
    with_eps = end.sel(setting="eps")
    axes.plot(record.coefficient, end.sel(setting="fixed"), color=style.MEASURED, label="eps = 0")
    axes.plot(record.coefficient, with_eps, "o", mfc="none", color=style.PAPER, label="eps = 1e-8")
    axes.axvline(0, color=style.GUIDE, lw=0.6)
    axes.set(yscale="log", xlabel="C(beta, gamma)", ylabel="largest |u| at the end", title="PyTorch's eps")
    axes.invert_xaxis()
    axes.legend()


def _top_holders(where: str, record: xr.Dataset, points: xr.DataArray) -> str:
    shares = {name: float(share.where(points).mean()) for name, share in holder_shares(record).items()}
    top = sorted(shares, key=lambda name: -shares[name])[:3]
    return f"{where:<8}" + ", ".join(f"{name} {shares[name]:.0%}" for name in top)


def place_numbers(record: xr.Dataset) -> str:
    """Who holds the maximum inside and outside, and the largest effect of eps."""
    lines = [_top_holders("inside", record, record.coefficient > 0)]
    lines.append(_top_holders("outside", record, record.rate_discrete > 1e-3))
    end = record.max_update.isel(iteration=-1, seed=0)
    ratio = (end.sel(setting="eps") / end.sel(setting="fixed")).dropna("point")
    lines.append(f"largest update at the end, eps = 1e-8 over eps = 0: {float(ratio.min()):.3f} to {float(ratio.max()):.3f}")
    return "\n".join(lines)
