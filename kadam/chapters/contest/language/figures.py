"""The figures of chapter 7 that only a contest on text has, each with what it shows in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.ticker import LogLocator, NullLocator

from kadam.chapters.contest import looks, measures
from kadam.chapters.contest.comparisons import ADAM, EQUAL, TUNED, overall
from kadam.chapters.contest.language.claims import at_equal_time
from kadam.chapters.contest.measures import by_k, cases, ended, intervals, networks, second_and_first, two_stages
from kadam.chapters.contest.words import in_short
from kadam.report import style
from kadam.report.sentences import listed, of_all, said, span
from kadam.report.table import Table, table

NARROW = 0.9  # of the logarithm of Adam's basin: a smaller share counts as narrower, as in the claims
NORMALISED = ", q/k norm"  # ends the name of a setting with normalised queries and keys


def setting(record: xr.Dataset) -> str:
    """What was trained on what."""
    tokens = {name.removesuffix("_tokens"): count for name, count in record.attrs.items() if str(name).endswith("_tokens")}
    seeds, searches = record.sizes["seed"], record.sizes["tuning_seed"]
    lines = [
        f"profile {{profile}}; {{steps}} steps of {{batch}} windows of {{context}} tokens, {seeds} seeds",
        f"search: {record.sizes['rate']} learning rates, {{tuning_steps}} steps, {searches} seed{'s' * (searches > 1)}",
        "{data}",
    ]
    learnt = "tokens to learn from: " + ", ".join(f"{name} {count:,.0f}" for name, count in tokens.items())
    return "\n".join([*(line.format(**record.attrs) for line in lines), learnt, looks.parameters(record)])


@said
def answer(record: xr.Dataset) -> str:
    """What came out, in one paragraph."""
    mean = (-ended(record)).sel(comparison=TUNED).mean("seed")
    best = [mean.sel(network=network).idxmax("optimizer").item() for network in networks(record)]
    first = listed([f"`{name}` in {of_all([name == one for one in best], 'settings')}" for name in dict.fromkeys(best)])
    return f"**The answer.** {in_short(record)} Of all methods, each at its best learning rate, the first is {first}."


@style.styled
def basin(record: xr.Dataset) -> style.Figure:
    """How wide the range of good learning rates is, by k and strategy, and of the baselines; Adam's as a line."""
    figure, all_axes = looks.by_network(record, height=2.7, ylabel="basin of good rates\n(powers of ten)", sharey=True)
    others = [name for name in looks.baselines(record) if name != ADAM]
    ks, colours = [k for k in looks.shades(record) if k > 1], [looks.colour_of(name) for name in two_stages(record)]
    for axes, network in zip(all_axes, networks(record), strict=True):
        of = measures.basin(record).sel(network=network)
        adam = of.sel(optimizer=ADAM)
        axes.axhline(float(adam.width), color=style.MEASURED, lw=1, ls=":" if adam.cut else "-")
        for j, (strategy, colour) in enumerate(zip(two_stages(record), colours, strict=True)):
            for i in range(len(ks)):
                _dot(axes, i + 0.12 * (j - 2), by_k(of, strategy).isel(optimizer=i + 1), "o", colour)
        for i, name in enumerate(others, len(ks)):
            _dot(axes, i, of.sel(optimizer=name), "D", style.MEASURED)
        axes.set_xticks(range(len(ks) + len(others)), [f"k = {k}" for k in ks] + others, fontsize=7)
    all_axes[0].set_ylim(bottom=0)
    for strategy, colour in zip(two_stages(record), colours, strict=True):
        all_axes[0].plot([], [], "o", ms=4, color=colour, label=strategy)
    all_axes[0].plot([], [], color=style.MEASURED, lw=1, label="Adam")
    cut = "at least so wide: the search ends"
    all_axes[0].plot([], [], "o:", ms=4, lw=1, color=style.MEASURED, markerfacecolor="white", label=cut)
    return style.with_legend(figure, all_axes[0], ncols=4)


def _dot(axes: style.Axes, x: float, of: xr.Dataset, marker: str, colour: str) -> None:
    """Hollow where the search ends before the basin does."""
    axes.plot(x, float(of.width), marker, ms=4, color=colour, markerfacecolor="white" if of.cut else colour)


@said
def basin_said(record: xr.Dataset) -> str:
    """How wide Adam's basin is, how often more stages narrow it, and what normalised queries and keys do."""
    of = measures.basin(record)
    each = zip(networks(record), *(one.sel(optimizer=ADAM).values for one in (10**of.width, of.cut)), strict=True)
    widths = listed([f"{'at least ' * bool(cut)}{width:.1f} in `{name}`" for name, width, cut in each])
    second, adam = second_and_first(of.width)
    narrow = second < NARROW * adam
    cut = of.cut.sel(optimizer=second.optimizer)
    told = [
        f"The largest rate of Adam's basin is, as a multiple of the smallest, {widths}.",
        f"With $k = 2$ the basin is narrower than Adam's, by more than a tenth of its logarithm, in {of_all(narrow, 'cases')}, "
        f"{int((narrow & cut).sum())} of which the search cuts off.",
    ]
    if (last := int(record.k.max())) > 2:
        ends = [by_k(of.width, name) for name in two_stages(record)]
        told.append(f"From $k = 2$ to $k = {last}$ it widens in {of_all([one[-1] > one[1] for one in ends], 'cases')}.")
    for name in networks(record):
        if (other := name + NORMALISED) in networks(record):
            wider = of_all(of.width.sel(network=other) > of.width.sel(network=name), "methods")
            told.append(f"Normalised queries and keys widen it for {wider} in `{name}`.")
    return " ".join(told)


def basin_table(record: xr.Dataset) -> Table:
    """The factor between the ends of every basin; > where the search ends first."""
    of, write = measures.basin(record), lambda width, cut: f"{'> ' if cut else ''}{10**width:.1f}"
    words = xr.apply_ufunc(write, of.width, of.cut, vectorize=True, output_dtypes=[object])
    return table(("factor", *networks(record)), words.transpose("optimizer", "network").to_pandas().itertuples(name=None))


def time_table(record: xr.Dataset, cost: Mapping[str, float]) -> Table:
    """Test loss in nats at tuned rates after as many steps as Adam, and after as much time, with 95% intervals over seeds."""
    time = at_equal_time(record, cost)
    of = time.to_dataset(name="time").assign(steps=ended(record).sel(optimizer=time.optimizer)).sel(comparison=TUNED)
    words = of.map(intervals, form=".3f")
    words["cost"] = "optimizer", [cost[name] for name in time.optimizer.values]
    rows = cases(words[["cost", "steps", "time"]], "network", "optimizer")
    return table(("network", "optimizer", "cost", "loss at equal steps", "loss at equal time"), rows, digits=".2f")


@said
def time_said(record: xr.Dataset, cost: Mapping[str, float]) -> str:
    """Which methods are better than Adam after as many steps and after as much time."""
    time = at_equal_time(record, cost).sel(comparison=TUNED).mean("seed")
    steps = ended(record).sel(comparison=TUNED, optimizer=time.optimizer).mean("seed")
    others = [name for name in time.optimizer.values.tolist() if name != ADAM]
    better = [(of < of.sel(optimizer=ADAM)).sel(optimizer=others) for of in (steps, time)]
    at_steps, at_time = (of_all(one, "cases") for one in better)
    orders = [np.argsort(of.transpose("network", "optimizer").values, axis=1) for of in (steps, time)]
    same = of_all((orders[0] == orders[1]).all(axis=1), "settings")
    costs = span([cost[name] for name in others], ".2f")
    return (
        f"A step of the other methods takes {costs} times as long as Adam's. Their loss is lower than Adam's in {at_steps} "
        f"after as many steps and in {at_time} after as much time; the order of all is the same in {same}."
    )


KINDS: dict[str, dict[str, Any]] = {  # what the lines of one colour are
    "rms of u": {"marker": ".", "lw": 1.2},
    "largest |u|": {"marker": "^", "ms": 3, "lw": 0.6},
    "its bound": {"ls": ":", "lw": 1.2},
}


@style.styled
def updates(record: xr.Dataset, *, methods: Sequence[str]) -> style.Figure:
    """The rms of u and the largest |u| over training with its bound, a column a network, at equal and tuned rates."""
    figure, all_axes = style.panels(2, len(networks(record)), height=5.0, sharex=True, sharey=True, squeeze=False)
    known, first = looks.of_methods(record), all_axes[0, 0]
    for row, comparison in zip(all_axes, (EQUAL, TUNED), strict=True):
        for axes, network in zip(row, networks(record), strict=True):
            for method in methods:
                of, look = record.sel(network=network, comparison=comparison, optimizer=method), known[method]
                looks.band(axes, of.update_rms, look, method, looks.TOP)
                axes.plot(of.evaluation, of.max_update.max("seed"), **(look | KINDS["largest |u|"]))
                axes.plot(of.evaluation, of.bound, color=look["color"], **KINDS["its bound"])
            axes.set(yscale="log", title=network if comparison == EQUAL else "", xlabel="step" if comparison == TUNED else "")
        row[0].set_ylabel(f"{comparison}:\nu (learning rates)")
    first.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_locator=NullLocator())
    for kind, line in KINDS.items():
        first.plot([], [], color=style.GUIDE, label=kind, **line)
    return style.with_legend(figure, first, ncols=4)


@said
def updates_said(record: xr.Dataset, *, methods: Sequence[str]) -> str:
    """How large updates are, how near to their bound; and, of all methods, which runs were unstable."""
    of = record.sel(optimizer=list(methods), comparison=[EQUAL, TUNED])
    rms, largest = overall(of.update_rms).mean("seed"), of.max_update.max(["seed", "evaluation"])
    sizes = [
        f"{span(rms.sel(optimizer=name), '.2f')} with `{name}` (largest entry {span(largest.sel(optimizer=name), '.1f')})"
        for name in methods
    ]
    share = (record.max_update / record.bound).max(["comparison", "network", "seed", "evaluation"])
    held = of_all(share.dropna("optimizer") <= 1, "methods")
    return (
        f"Over the whole training the rms of u is {listed(sizes)}. The largest entry of an update stays within the bound "
        f"in {held} that have one, at {span(share, '.0%')} of it."
        f"\n\n{_stability(record)}"
    )


def _stability(record: xr.Dataset) -> str:
    """How many runs diverged, which methods had one that ended no better than a guess, and how many had spikes."""
    diverged = [*record.search_diverged_at.values.ravel(), *record.diverged_at.values.ravel()]
    losses = (record.search_loss, record.loss.isel(evaluation=-1))
    lost = [(loss >= record.guess).any([dim for dim in loss.dims if dim != "optimizer"]).values for loss in losses]
    names = [f"`{name}`" for name in record.optimizer.values[lost[0] | lost[1]]]
    second, adam = second_and_first(record.spikes.sel(comparison=TUNED).sum("evaluation") > 0)
    return (
        f"In search and comparison {of_all(np.isfinite(diverged), 'runs')} diverged. Methods with a run whose last loss was at "
        f"or above that of a guess: {listed(names)}. At tuned rates the training loss had a spike in {of_all(adam, 'runs')} "
        f"with Adam and in {of_all(second, 'runs')} with $k = 2$."
    )
