"""How pairs of betas, each at its own best rate, are drawn: a map of their losses, and what orders them; in words as well."""

import numpy as np
import xarray as xr

from kadam.chapters.contest.pairs import QUANTITIES, by_chance, in_words, losses, pairs, shares
from kadam.report import style
from kadam.report.sentences import listed
from kadam.report.statistics import mean_interval
from kadam.report.table import Table, table

LABELS = {"gamma": r"$\gamma$", "C": r"$C$", "beta": r"$\beta$", "rms of u": r"rms of $u$"}


def grid(record: xr.Dataset) -> xr.Dataset:
    """Mean loss and whether a pair is stable, (beta, gamma)."""
    of = pairs(record)[["loss", "stable", "gamma", "beta"]].mean("seed", keep_attrs=True)
    return of.set_index(optimizer=["beta", "gamma"]).unstack("optimizer")


def draw_map(axes: style.Axes, of: xr.Dataset) -> None:
    """The loss as a colour and a number, and a line between the pairs inside the exact region and those outside."""
    loss, stable = of.loss.transpose("beta", "gamma"), of.stable.transpose("beta", "gamma").values > 0
    axes.imshow(loss, origin="lower", cmap=style.SIZE_MAP, aspect="auto")
    middle = float(loss.min() + loss.max()) / 2
    for i, j in np.ndindex(*loss.shape):
        shade = "white" if loss.values[i, j] > middle else style.MEASURED
        axes.text(j, i, f"{loss.values[i, j]:.2f}", ha="center", va="center", fontsize=7, color=shade)
    ends, edges = stable.sum(1) - 0.5, np.arange(len(stable) + 1) - 0.5
    axes.plot(np.repeat(ends, 2), np.repeat(edges, 2)[1:-1], color=style.EXACT, lw=2, clip_on=False)
    axes.set_xticks(range(loss.sizes["gamma"]), [f"{x:g}" for x in loss.gamma.values])
    axes.set_yticks(range(loss.sizes["beta"]), [f"{x:g}" for x in loss.beta.values])
    axes.set(xlabel=style.GAMMA_LABEL, ylabel=style.BETA_LABEL, title="test loss (nats), each tuned")


def draw_shares(axes: style.Axes, record: xr.Dataset) -> None:
    """A bar for every quantity that might order the losses, and what groups without meaning have as a line."""
    found = shares(record).sel(quantity=list(QUANTITIES))
    mean, low, high = mean_interval(found.values)
    at = np.arange(len(QUANTITIES))
    axes.bar(at, mean, yerr=np.nan_to_num([mean - low, high - mean]), color=style.REST, error_kw={"lw": 1})
    axes.axhline(by_chance(record), color=style.GUIDE, lw=1, ls="--")
    axes.set_xticks(at, [LABELS[name] for name in QUANTITIES], fontsize=7)
    axes.set(ylim=(0, 1), ylabel="share of the variance of ranks", title="what orders it")


def pair_of(record: xr.Dataset, name: str) -> str:
    """gamma and beta of a method."""
    of = record.sel(optimizer=name)
    return f"{of.gamma.item():g}, {of.beta.item():g}"


def order_in_words(record: xr.Dataset) -> str:
    """Which pair is first, where the defaults and NAdam stand, and what orders the pairs."""
    mean, of = losses(record).mean("seed"), shares(record).mean("seed")
    ranked = mean.sortby(mean).optimizer.values.tolist()
    order = [f"{float(of.sel(quantity=name)):.0%} for {LABELS[name]}" for name in QUANTITIES]
    places = listed(f"{ranked.index(name) + 1} for {words}" for name, words in (("Adam", "the defaults"), ("NAdam", "NAdam")))
    best = ranked[0] if ranked[0] != "NAdam" else ranked[1]
    return (
        f"Of {len(ranked)} methods the pair with the lowest loss is $(\\gamma, \\beta) = ({pair_of(record, best)})$; the "
        f"place is {places}. Groups of pairs that are alike hold {listed(order)} of the variance of ranks; by chance "
        f"{by_chance(record):.0%}."
    )


def share_table(record: xr.Dataset) -> Table:
    """What orders the losses of all pairs and of those with C > 0, and accuracies, with 95% intervals over seeds."""
    found = {"all pairs": shares(record), "pairs with C > 0": shares(record, inside=True)}
    if "accuracy" in record:
        found["all pairs, accuracy"] = shares(record, score="accuracy")
    rows = [(name, *(in_words(mean_interval(of.sel(quantity=name).values)) for of in found.values())) for name in QUANTITIES]
    return table(("groups by", *found), rows)
