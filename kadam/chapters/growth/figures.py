"""The figures of chapter 2, each with the numbers that it shows."""

import numpy as np
import xarray as xr

from kadam.chapters.growth.claims import outside, relative_errors
from kadam.chapters.growth.config import fit_window
from kadam.report import style
from kadam.report.selection import selected
from kadam.report.sentences import listed, of_all, said, span, written
from kadam.report.table import Table, table

LAWS = {
    "continuous": (style.PAPER, "--", r"the paper's $|C|/2$"),
    "discrete": (style.EXACT, "-", "exact rate"),
    "corrected": (style.CORRECTED, "-.", "exact rate with bias correction"),
}

LOOSE = 1e-3  # a rate, per step, from which on a point counts in the looser comparison

TITLES = {"fixed": "one fixed batch", "fresh": "fresh minibatches"}


LAW_NAMES = {
    "continuous": "the paper's $|C|/2$",
    "discrete": "the exact rate",
    "corrected": "the exact rate with its bias correction",
}

NONE_GREW = "No pair outside the region had time to grow by a factor $e$ within the fitted iterations, so no rate is judged."


@said
def answer(record: xr.Dataset) -> str:
    """What came out, in one paragraph."""
    window, counted, inside = record.attrs["one_e_fold"], outside(record).values, record.coefficient.values > 0
    if not counted.any():
        return f"**The answer.** {NONE_GREW}"
    grew = [record.slope.sel(setting=setting).mean("seed").values >= window for setting in TITLES]
    fixed, fresh = (
        f"{of_all(g[counted], 'pairs')} outside the region that have time for it, and at {of_all(g[inside], 'pairs')} inside"
        for g in grew
    )
    rate = float((record.slope.sel(setting="fresh") / record.rate_corrected).isel(point=counted).mean())
    return (
        f"**The answer.** On one fixed batch the largest update grows at {fixed}. Its rate differs from the paper's $|C|/2$ by "
        f"{error(record, 'continuous')} and from the exact rate with its bias correction by {error(record, 'corrected')}. With "
        f"fresh minibatches it grows at {fresh}, at {rate:.2f} times the exact rate. Growth is a factor $e$ or more within the "
        f"fitted iterations, mean over {record.sizes['seed']} seeds; errors are root mean squares."
    )


def _closest(record: xr.Dataset, *, least: float | None = None) -> str:
    """The law with the smallest error on the fixed batch."""
    return LAW_NAMES[min(LAWS, key=lambda law: float(relative_errors(record, law, least=least).mean()))]


@style.styled
def curves(record: xr.Dataset, *, seed: int | None = None) -> style.Figure:
    """The largest update over iterations, a line per point of the normal curve, on a fixed batch and on fresh ones.

    ``seed``: whose curves; by default the first one's.
    """
    figure, both = style.panels(1, 2, height=3.6, sharey=True, ylabel=f"largest {style.UPDATE} (learning rates)")
    scale, run = (
        style.along_curve(record.coefficient.values),
        selected(record, seed=int(record.seed[0]) if seed is None else seed),
    )
    for axes, (setting, title) in zip(both, TITLES.items(), strict=True):
        one = run.max_update.sel(setting=setting)
        for point, colour in zip(record.point.values, scale.to_rgba(record.coefficient.values), strict=True):
            axes.plot(one.iteration, one.sel(point=point), color=colour, lw=0.8)
        axes.set(yscale="log", xlabel="iteration", title=title)
    style.name_along_curve(figure, scale, both)
    return figure


@said
def curves_said(record: xr.Dataset) -> str:
    """How far updates got at the two ends of the curve, and how often growth is broken off."""
    last = record.max_update.isel(iteration=-1).mean("seed")
    late = record.max_update.sel(iteration=slice(record.attrs["fit_start"], None))
    peak = xr.apply_ufunc(np.maximum.accumulate, late, kwargs={"axis": late.get_axis_num("iteration")})
    broken = (late < peak / 2).any("iteration").isel(point=record.coefficient.values < 0).mean(["seed", "point"])
    each = [
        f"{listed(written(float(last.sel(setting=s)[end]), '.2g') for end in (0, -1))} learning rates on {TITLES[s]}, and "
        f"{float(broken.sel(setting=s)):.0%} of the lines outside the region fall to half of their peak"
        for s in TITLES
    ]
    return f"The largest update at the end, at the most and at the least stable pair, is {'; '.join(each)}."


@style.styled
def slopes(record: xr.Dataset) -> style.Figure:
    """The fitted slope against C, mean and range over seeds, beside the three laws; fixed and fresh batches."""
    figure, both = style.panels(1, 2, height=3.6, sharey=True, ylabel=r"slope of $\log\,\max|u|$  (per step)")
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


@said
def slopes_said(record: xr.Dataset) -> str:
    """The largest slope inside, the farthest point outside beside the laws, and what fresh minibatches change."""
    means = record.slope.mean("seed")
    inside = means.isel(point=record.coefficient.values > 0).max("point")
    largest = [f"{float(inside.sel(setting=setting)):.4f} on {title}" for setting, title in TITLES.items()]
    words = f"Inside the region the largest mean slope per step is {listed(largest)}."
    if not outside(record).any():
        return f"{words} {NONE_GREW}"
    fixed, fresh = (means.sel(setting=setting).isel(point=outside(record).values) for setting in TITLES)
    laws = [f"{float(fixed[-1] / record[f'rate_{law}'][-1]):.2f} of {LAW_NAMES[law]}" for law in LAWS]
    return (
        f"{words} At the pair farthest outside the slope on the fixed batch is {listed(laws)}. With fresh minibatches growth "
        f"is slower than on the fixed batch at {of_all(fresh < fixed, 'pairs')} outside."
    )


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
    for law, (colour, line, label) in LAWS.items():
        ratio = outside.slope.sel(setting="fixed") / outside[f"rate_{law}"]
        axes.fill_between(outside.rate_discrete, ratio.min("seed"), ratio.max("seed"), color=colour, alpha=0.2, lw=0)
        axes.plot(outside.rate_discrete, ratio.mean("seed"), f"o{line}", ms=3, color=colour, label=label)
    axes.axhline(1, color=style.MEASURED, lw=0.8)
    axes.axvline(window, color=style.GUIDE, lw=0.6, ls=":")
    axes.annotate("a factor $e$ in the window", (window, 1), xytext=(3, 38), textcoords="offset points")
    axes.set(xlabel="exact rate (per step)", ylabel="measured slope / law", xlim=(0, float(outside.rate_discrete.max())))
    style.name_lines(axes)
    return figure


@said
def errors_said(record: xr.Dataset) -> str:
    """Which law predicts best, and whether this hangs on the rule by which points are counted."""
    rules = {"with at least one $e$-fold in the fitted window": None, f"with an exact rate above {LOOSE:g} per step": LOOSE}
    told = []
    for rule, least in rules.items():
        if relative_errors(record, "discrete", least=least).isnull().all():
            told.append(f"There is no pair {rule}.")
            continue
        each = listed([f"{error(record, law, least=least)} for {LAW_NAMES[law]}" for law in LAWS])
        told.append(f"Over the pairs {rule} the error is {each}; the closest is {_closest(record, least=least)}.")
    return " ".join(told)


def error(record: xr.Dataset, law: str, *, least: float | None = None) -> str:
    """Root-mean-square relative error of a law on the fixed batch, mean over seeds, in words; see the claims."""
    errors = relative_errors(record, law, least=least)
    return f"{errors.mean():.1%}" if errors.notnull().any() else "not measured"


@style.styled
def places(record: xr.Dataset) -> style.Figure:
    """Which parameter holds the largest update over the fitted iterations, by point; and what PyTorch's eps changes."""
    figure, (shares, eps) = style.panels(1, 2, height=3.5, width_ratios=[1.25, 1])
    _share_bars(shares, record)
    end = record.max_update.isel(iteration=-1, seed=0)
    eps.plot(record.coefficient, end.sel(setting="fixed"), color=style.MEASURED, label=r"$\varepsilon = 0$")
    eps.plot(record.coefficient, end.sel(setting="eps"), "o", mfc="none", color=style.SECOND, label=r"$\varepsilon = 10^{-8}$")
    style.against_c(eps, yscale="log", ylabel=f"largest {style.UPDATE} at the end", title=r"PyTorch's $\varepsilon$")
    eps.legend()
    return figure


def holder_shares(record: xr.Dataset) -> dict[str, xr.DataArray]:
    """For each parameter that ever holds it: the share of (seed, fitted iteration) in which it does, by point."""
    fitted = record.isel(iteration=fit_window(record.sizes["iteration"])).sel(setting="fixed")
    holds = {"head.weight, absent characters": fitted.max_absent == 1}
    holds |= {name: fitted.max_parameter == index for index, name in enumerate(record.parameter.values.tolist())}
    shares = {name: of.mean(["seed", "iteration"]) for name, of in holds.items()}
    shares["head.weight"] = shares["head.weight"] - shares["head.weight, absent characters"]
    return {name: share for name, share in shares.items() if share.max() > 0}


def _share_bars(axes: style.Axes, record: xr.Dataset) -> None:
    shares = holder_shares(record)
    largest = sorted(shares, key=lambda name: -float(shares[name].mean()))[:4]
    rest = sum((shares[name] for name in shares if name not in largest), start=0 * record.coefficient)
    stacked = [shares[name] for name in largest] + [rest]
    colours = [style.FIFTH, style.SECOND, style.FOURTH, style.GUIDE, style.REST]
    axes.stackplot(record.coefficient, *stacked, labels=[*largest, "all others"], colors=colours, lw=0)
    axes.margins(x=0)
    style.against_c(axes, ylabel="share of late iterations", ylim=(0, 1), title="which weights hold the maximum")
    axes.legend(loc="lower left", frameon=True, fontsize=7)


@said
def places_said(record: xr.Dataset) -> str:
    """Who holds the maximum inside and outside, and the largest effect of eps."""
    parts = []
    for where, points in (("inside", record.coefficient > 0), ("outside", record.rate_discrete > LOOSE)):
        shares = {name: float(share.where(points).mean()) for name, share in holder_shares(record).items()}
        top = [name for name in sorted(shares, key=lambda name: -shares[name])[:3] if shares[name] >= 0.005]
        parts.append(f"{where} the region, in " + listed([f"`{name}` for {shares[name]:.0%}" for name in top]))
    end = record.max_update.isel(iteration=-1, seed=0)
    ratio = span(end.sel(setting="eps") / end.sel(setting="fixed"), ".3f")
    where = f"The largest update lies, {'; '.join(parts)} of the late iterations."
    return f"{where} PyTorch's $\\varepsilon$ multiplies it, at the end, by {ratio}."
