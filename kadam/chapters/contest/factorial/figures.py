"""The figure of pairs of betas, each at its own best rate, with what it shows in words, and tables of the numbers."""

from typing import Any

import numpy as np
import xarray as xr

from kadam.chapters.contest.factorial import claims
from kadam.chapters.contest.factorial.claims import QUANTITIES, long_runs, losses, pairs, shares
from kadam.report import style
from kadam.report.sentences import listed, said
from kadam.report.statistics import mean_interval, ranks_last
from kadam.report.table import Table, table

LABELS = {"gamma": r"$\gamma$", "C": r"$C$", "beta": r"$\beta$", "rms of u": r"rms of $u$"}


@style.styled
def factorial(record: xr.Dataset) -> style.Figure:
    """The loss of every pair at its own rate, what orders it, and how ranks change from short runs to long ones."""
    figure, (left, middle, right) = style.panels(1, 3, height=3.1, width_ratios=(1.5, 0.8, 1.2))
    _map(left, grid(record))
    _shares(middle, record)
    _ranks(right, record)
    return figure


def grid(record: xr.Dataset) -> xr.Dataset:
    """Mean loss and whether a pair is stable, (beta, gamma)."""
    of = pairs(record)[["loss", "stable", "gamma", "beta"]].mean("seed", keep_attrs=True)
    return of.set_index(optimizer=["beta", "gamma"]).unstack("optimizer")


def _map(axes: style.Axes, of: xr.Dataset) -> None:
    """The loss as a colour and a number, and a line between the pairs inside the exact region and those outside."""
    loss, stable = of.loss.transpose("beta", "gamma"), of.stable.transpose("beta", "gamma").values > 0
    axes.imshow(loss, origin="lower", cmap="viridis_r", aspect="auto")
    middle = float(loss.min() + loss.max()) / 2
    for i, j in np.ndindex(*loss.shape):
        shade = "white" if loss.values[i, j] > middle else style.MEASURED
        axes.text(j, i, f"{loss.values[i, j]:.2f}", ha="center", va="center", fontsize=6, color=shade)
    ends, edges = stable.sum(1) - 0.5, np.arange(len(stable) + 1) - 0.5
    axes.plot(np.repeat(ends, 2), np.repeat(edges, 2)[1:-1], color=style.PAPER, lw=2, clip_on=False)
    axes.set_xticks(range(loss.sizes["gamma"]), [f"{x:g}" for x in loss.gamma.values])
    axes.set_yticks(range(loss.sizes["beta"]), [f"{x:g}" for x in loss.beta.values])
    axes.set(xlabel=style.GAMMA_LABEL, ylabel=style.BETA_LABEL, title="test loss (nats), each tuned")


def _shares(axes: style.Axes, record: xr.Dataset) -> None:
    found = shares(record).sel(quantity=list(QUANTITIES))
    mean, low, high = mean_interval(found.values)
    at = np.arange(len(QUANTITIES))
    axes.bar(at, mean, yerr=np.nan_to_num([mean - low, high - mean]), color=style.FIFTH, error_kw={"lw": 1})
    axes.axhline(claims.by_chance(record), color=style.GUIDE, lw=1, ls="--")
    axes.set_xticks(at, [LABELS[name] for name in QUANTITIES], fontsize=7)
    axes.set(ylim=(0, 1), ylabel="share of the variance of ranks", title="what orders it")


def _ranks(axes: style.Axes, record: xr.Dataset) -> None:
    """A line a pair from its place in short runs to its place in long ones; the lowest loss is on top."""
    early, late = _places(record)
    for name, first, last in zip(early.optimizer.values, early.values, late.values, strict=True):
        colour = style.PAPER if name == "Adam" else style.EXACT
        axes.plot([0, 1], [first, last], color=colour, marker="o", ms=4)
        beside: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "annotation_clip": False}
        axes.annotate(_pair(record, name), (1, last), fontsize=7, **beside)
    steps = [f"{record.attrs[name]:,}\nsteps" for name in ("steps", "long_steps")]
    axes.set_xticks([0, 1], steps)
    axes.set(xlim=(-0.1, 1.1), ylabel="place", title=r"does it last? $\gamma$, $\beta$")
    axes.set_yticks(range(1, len(early) + 1))
    axes.invert_yaxis()


def _pair(record: xr.Dataset, name: str) -> str:
    of = record.sel(optimizer=name)
    return f"{of.gamma.item():g}, {of.beta.item():g}"


def _places(record: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Places of the pairs that run long, the lowest mean loss first: in short runs and in long ones."""
    late = losses(long_runs(record)).mean("seed")
    early = losses(record).mean("seed").sel(optimizer=late.optimizer.values)
    return early.copy(data=ranks_last(early.values)), late.copy(data=ranks_last(late.values))


@said
def factorial_said(record: xr.Dataset) -> str:
    """Which pairs are first and last, what orders them, and whether long runs rank them alike."""
    mean, of = losses(record).mean("seed"), shares(record).mean("seed")
    ranked = mean.sortby(mean).optimizer.values.tolist()
    order = [f"{float(of.sel(quantity=name)):.0%} for {LABELS[name]}" for name in QUANTITIES]
    places = listed(f"{ranked.index(name) + 1} for {words}" for name, words in (("Adam", "the defaults"), ("NAdam", "NAdam")))
    early, late = (one.idxmin("optimizer").item() for one in _places(record))
    best = ranked[0] if ranked[0] != "NAdam" else ranked[1]
    change = "still first" if early == late else f"then ${_pair(record, late)}$"
    return (
        f"Of {len(ranked)} methods the pair with the lowest loss is $(\\gamma, \\beta) = ({_pair(record, best)})$; the "
        f"place is {places}. Groups of pairs that are alike hold {listed(order)} of the variance of ranks; by chance "
        f"{claims.by_chance(record):.0%}. "
        f"Kendall's tau between short and long runs is {claims.agreement_of_means(record):.2f}; of those that run long "
        f"${_pair(record, early)}$ is first, {change}."
    )


def share_table(record: xr.Dataset) -> Table:
    """What orders the losses: of all pairs and of those with C > 0, with 95% intervals over seeds."""
    both = [shares(record, inside=inside) for inside in (False, True)]
    rows = [(name, *(claims.in_words(mean_interval(of.sel(quantity=name).values)) for of in both)) for name in QUANTITIES]
    return table(("groups by", "all pairs", "pairs with C > 0"), rows)


def pair_table(record: xr.Dataset) -> Table:
    """The pairs that run long: their loss and best rate in short runs and in long ones."""
    late, rows = long_runs(record), []
    for name in late.optimizer.values:
        of = [one.sel(optimizer=name) for one in (record, late)]
        found = [f"{float(losses(one).sel(optimizer=name).mean()):.3f}" for one in (record, late)]
        rows.append((_pair(record, name), *found, *(f"{float(one.peak_rate.squeeze()):.2g}" for one in of)))
    steps = [f"{record.attrs[name]:,} steps" for name in ("steps", "long_steps")]
    return table(("gamma, beta", *(f"loss, {n}" for n in steps), *(f"best rate, {n}" for n in steps)), rows)
