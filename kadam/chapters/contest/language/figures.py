"""The figures of chapter 7 that only a contest on text has, each with what it shows in words."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.ticker import NullLocator

from kadam.chapters.contest import looks, measures
from kadam.chapters.contest.comparisons import ADAM, EQUAL, TUNED, overall
from kadam.chapters.contest.language.claims import at_equal_time
from kadam.chapters.contest.measures import by_k, cases, ended, gain, intervals, networks, second_and_first, two_stages
from kadam.chapters.contest.words import extremes, firsts, in_short
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
def answer(record: xr.Dataset, close: xr.Dataset) -> str:
    """What came out, in one paragraph; ``close``: the record with optima read between the rates."""
    ahead = [f"`{name}` in {of_all(gain(close, TUNED, name).low > 0, 'settings')}" for name in two_stages(close).values()]
    closely = f"With optima read between closer rates it is ahead with {listed(ahead)}."
    return f"**The answer.** {in_short(record)} {closely} Of all methods, each at its best rate, the first is {firsts(record)}."


@style.styled
def basin(record: xr.Dataset) -> style.Figure:
    """How wide the range of good learning rates is, by k and strategy, and of the baselines; Adam's as a line."""
    figure, all_axes = looks.by_network(record, height=2.7, ylabel="basin of good rates\n(powers of ten)", sharey=True)
    others = [name for name in looks.baselines(record) if name != ADAM]
    ks = [k for k in looks.shades(record) if k > 1]
    for axes, network in zip(all_axes, networks(record), strict=True):
        of = measures.basin(record).sel(network=network)
        adam = of.sel(optimizer=ADAM)
        axes.axhline(float(adam.width), color=style.MEASURED, lw=1, ls=":" if adam.cut else "-")
        for j, strategy in enumerate(two_stages(record)):
            for i in range(len(ks)):
                _dot(axes, i + 0.12 * (j - 2), by_k(of, strategy).isel(optimizer=i + 1), looks.of_strategy(strategy))
        for i, name in enumerate(others, len(ks)):
            _dot(axes, i, of.sel(optimizer=name), {"color": style.ADAM, "marker": "d"})
        axes.set_xticks(range(len(ks) + len(others)), [f"$k = {k}$" for k in ks] + others, fontsize=7)
    all_axes[0].set_ylim(bottom=0)
    for strategy in two_stages(record):
        all_axes[0].plot([], [], ls="", ms=4, label=strategy, **looks.of_strategy(strategy))
    all_axes[0].plot([], [], color=style.MEASURED, lw=1, label="Adam")
    cut = "at least so wide: the search ends"
    all_axes[0].plot([], [], "o:", ms=4, lw=1, color=style.MEASURED, markerfacecolor="white", label=cut)
    return style.with_legend(figure, all_axes[0], ncols=4)


def _dot(axes: style.Axes, x: float, of: xr.Dataset, look: looks.Look) -> None:
    """Hollow where the search ends before the basin does."""
    axes.plot(x, float(of.width), ms=4, markerfacecolor="white" if of.cut else look["color"], **look)


@said
def basin_said(record: xr.Dataset) -> str:
    """How often two and more stages narrow Adam's basin, and what normalised queries and keys do."""
    of, both = measures.basin(record), [name for name in networks(record) if name + NORMALISED in networks(record)]
    second, adam = second_and_first(of.width)
    wide = of_all([one[-1] > one[1] for one in (by_k(of.width, name) for name in two_stages(record))], "cases")
    narrow = second < NARROW * adam
    cut = int((narrow & second_and_first(of.cut)[0]).sum())
    cut_off = f" ({cut} of them cut off by the search)" if cut else ""
    wider = of.width.sel(network=[name + NORMALISED for name in both]).values > of.width.sel(network=both).values
    normalised = f" Normalised queries and keys widen it in {of_all(wider, 'cases')}." if both else ""
    return (
        f"With $k = 2$ the basin is narrower than Adam's, by more than a tenth of its logarithm, in {of_all(narrow, 'cases')}"
        f"{cut_off}. From $k = 2$ to $k = {int(record.k.max())}$ it widens in "
        f"{wide}.{normalised}"
    )


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
    """Which methods are better than Adam after as much time, and whether their order is that after as many steps."""
    time = at_equal_time(record, cost).sel(comparison=TUNED).mean("seed").transpose("network", "optimizer")
    steps = ended(record).sel(comparison=TUNED, optimizer=time.optimizer).mean("seed").transpose("network", "optimizer")
    others = [name for name in time.optimizer.values.tolist() if name != ADAM]
    better = of_all(time.sel(optimizer=others) < time.sel(optimizer=ADAM), "cases")
    same = of_all((np.argsort(steps.values) == np.argsort(time.values)).all(1), "networks")
    return (
        f"A step of the others takes {span([cost[name] for name in others], '.2f')} times as long as Adam's. After as much "
        f"time their loss is lower than Adam's in {better}; the order of all is that after as many steps in {same}."
    )


@style.styled
def updates(record: xr.Dataset, *, methods: Sequence[str]) -> style.Figure:
    """Over training at equal rates, a column a network: the rms of u above, the largest |u| with its bound below."""
    figure, all_axes = style.panels(2, len(networks(record)), height=5.0, sharex=True, sharey="row", squeeze=False)
    known = looks.of_methods(record)
    for (above, below), network in zip(all_axes.T, networks(record), strict=True):
        for method in methods:
            of, look = record.sel(network=network, comparison=EQUAL, optimizer=method), known[method]
            looks.band(above, of.update_rms, look, method, looks.TOP)
            below.plot(of.evaluation, of.max_update.max("seed"), ms=3, lw=1, **look)
            below.plot(of.evaluation, of.bound, ":", color=look["color"])
        above.set(yscale="log", title=network)
        below.set(yscale="log", xlabel="step")
    above.plot([], [], ":", color=style.GUIDE, label="largest that is possible")
    for axes, label in zip(all_axes[:, 0], (style.RMS, f"largest {style.UPDATE}"), strict=True):
        axes.set_ylabel(f"{label} (learning rates)")
        low, high = axes.get_ylim()
        ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low <= tick <= high]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.yaxis.set_minor_locator(NullLocator())
    return style.with_legend(figure, above, ncols=4)


@said
def updates_said(record: xr.Dataset, *, methods: Sequence[str]) -> str:
    """How large updates are, how near to their bound; and, of all methods, which runs were unstable."""
    of = record.sel(optimizer=list(methods), comparison=EQUAL)
    rms, largest = overall(of.update_rms).mean("seed"), of.max_update.max(["seed", "evaluation"])
    share = (record.max_update / record.bound).max(["comparison", "network", "seed", "evaluation"]).dropna("optimizer")
    diverged = [*record.search_diverged_at.values.ravel(), *record.diverged_at.values.ravel()]
    lost = (record.loss.isel(evaluation=-1) >= record.guess).any(["comparison", "network", "seed"]).values
    names = listed(f"`{name}`" for name in record.optimizer.values[lost])
    return (
        f"At the same learning rate, of the methods drawn, the rms of u is {extremes(rms, '.2f', 'optimizer')}, its largest "
        f"entry {extremes(largest, '.1f', 'optimizer')}. It stays within its bound in "
        f"{of_all(share <= 1, 'methods')} that have one, at {span(share, '.0%')} of it. In search and comparison "
        f"{of_all(np.isfinite(diverged), 'runs')} diverged. Methods "
        f"of which a compared run ended at the loss of a guess or above: {names}."
    )
