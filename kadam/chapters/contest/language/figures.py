"""The figures of chapter 7 that only a contest on text has, each with the numbers that it shows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from kadam.chapters.contest import measures
from kadam.chapters.contest.comparisons import ADAM, EQUAL, TUNED, overall
from kadam.chapters.contest.language.claims import at_equal_time
from kadam.chapters.contest.looks import (
    BASELINE_LINES,
    STRATEGY_COLOURS,
    TOP,
    Look,
    band,
    by_network,
    finished,
    looks,
    parameters,
    shades,
)
from kadam.chapters.contest.measures import by_k, cases, intervals, nats, networks, two_stages
from kadam.report import style
from kadam.report.table import Table, table


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
    return "\n".join([*(line.format(**record.attrs) for line in lines), learnt, parameters(record)])


@style.styled
def basin(record: xr.Dataset) -> Figure:
    """How wide the range of good learning rates is, by k and strategy, and of the baselines; Adam's as a line."""
    figure, all_axes = by_network(record, height=2.7, ylabel="basin of good rates\n(powers of ten)", sharey=True)
    others = [name for name in BASELINE_LINES if name in record.optimizer and name != ADAM]
    ks = [k for k in shades(record) if k > 1]
    for axes, network in zip(all_axes, networks(record), strict=True):
        of = measures.basin(record).sel(network=network)
        adam = of.sel(optimizer=ADAM)
        axes.axhline(float(adam.width), color=style.MEASURED, lw=1, ls=":" if adam.cut else "-")
        for j, strategy in enumerate(two_stages(record)):
            for i in range(len(ks)):
                _dot(axes, i + 0.12 * (j - 2), by_k(of, strategy).isel(optimizer=i + 1), "o", STRATEGY_COLOURS[strategy])
        for i, name in enumerate(others, len(ks)):
            _dot(axes, i, of.sel(optimizer=name), "D", style.MEASURED)
        axes.set_xticks(range(len(ks) + len(others)), [f"k = {k}" for k in ks] + others, fontsize=7)
    all_axes[0].set_ylim(bottom=0)
    _name_dots(figure, list(two_stages(record)))
    return finished(figure, record)


def _dot(axes: Axes, x: float, of: xr.Dataset, marker: str, colour: str) -> None:
    """Hollow where the search ends before the basin does."""
    axes.plot(x, float(of.width), marker, ms=4, color=colour, markerfacecolor="white" if of.cut else colour)


def _name_dots(figure: Figure, strategies: Iterable[str]) -> None:
    handles = [Line2D([], [], color=STRATEGY_COLOURS[name], marker="o", ms=4, ls="", label=name) for name in strategies]
    handles.append(Line2D([], [], color=style.MEASURED, lw=1, label="Adam"))
    hollow: dict[str, Any] = {"marker": "o", "ms": 4, "markerfacecolor": "white", "ls": ":", "lw": 1}
    handles.append(Line2D([], [], color=style.MEASURED, label="at least so wide: the search ends", **hollow))
    figure.legend(handles=handles, loc="outside upper center", ncols=4)


def basin_table(record: xr.Dataset) -> Table:
    """The factor between the ends of every basin; > where the search ends first."""
    of = measures.basin(record)
    words = xr.apply_ufunc(_factor, of.width, of.cut, vectorize=True, output_dtypes=[object])
    return table(("factor", *networks(record)), words.transpose("optimizer", "network").to_pandas().itertuples(name=None))


def _factor(width: float, cut: bool) -> str:
    return f"{'> ' if cut else ''}{10**width:.1f}"


def time_table(record: xr.Dataset, cost: Mapping[str, float]) -> Table:
    """Test loss in nats at tuned rates after as many steps as Adam, and after as much time, with 95% intervals over seeds."""
    time = at_equal_time(record, cost)
    of = time.to_dataset(name="time").assign(steps=nats(record).sel(optimizer=time.optimizer)).sel(comparison=TUNED)
    words = of.map(intervals, form=".3f")
    words["cost"] = "optimizer", [cost[name] for name in time.optimizer.values]
    rows = cases(words[["cost", "steps", "time"]], "network", "optimizer")
    return table(("network", "optimizer", "cost", "loss at equal steps", "loss at equal time"), rows, digits=".2f")


@style.styled
def updates(record: xr.Dataset, *, methods: Sequence[str]) -> Figure:
    """The rms of u and the largest |u| over training with its bound, a column a network, at equal and tuned rates."""
    figure, all_axes = style.panels(2, len(networks(record)), height=5.0, sharex=True, sharey=True, squeeze=False)
    known = looks(record)
    for row, comparison in zip(all_axes, (EQUAL, TUNED), strict=True):
        for axes, network in zip(row, networks(record), strict=True):
            of = record.sel(network=network, comparison=comparison)
            for method in methods:
                band(axes, of.update_rms.sel(optimizer=method), known[method], method, TOP)
                _extremes(axes, of.sel(optimizer=method), known[method])
            axes.set(yscale="log", title=network if comparison == EQUAL else "")
        row[0].set_ylabel(f"{comparison}:\nu (learning rates)")
    for axes in all_axes[-1]:
        axes.set_xlabel("step")
    all_axes[0, 0].yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_locator=NullLocator())
    named, _ = all_axes[0, 0].get_legend_handles_labels()
    figure.legend(handles=[*named, *_kinds()], loc="outside upper center", ncols=4)
    return finished(figure, record)


def _extremes(axes: Axes, of: xr.Dataset, look: Look) -> None:
    """The largest |u| of all seeds, and above it the bound where there is one."""
    axes.plot(of.evaluation, of.max_update.max("seed"), **{**look, "marker": "^"}, ms=3, lw=0.6)
    axes.plot(of.evaluation, of.bound, ls=":", lw=1.2, color=look["color"])


def _kinds() -> list[Line2D]:
    """What the lines of one colour are."""
    return [
        Line2D([], [], color=style.GUIDE, marker=".", lw=1.2, label="rms of u"),
        Line2D([], [], color=style.GUIDE, marker="^", ms=3, lw=0.6, label="largest |u|"),
        Line2D([], [], color=style.GUIDE, ls=":", lw=1.2, label="its bound"),
    ]


def update_table(record: xr.Dataset, *, methods: Sequence[str]) -> Table:
    """The bound of u; rms of u over training, largest |u| of all runs, and spikes of the training loss a run."""
    of = xr.Dataset(
        {
            "bound": record.bound.isel(evaluation=-1).astype(object).fillna("-"),
            "rms": overall(record.update_rms).mean("seed"),
            "largest": record.max_update.max(["seed", "evaluation"]),
            "spikes": record.spikes.sum("evaluation").mean("seed"),
        }
    )
    rows = cases(of.sel(comparison=[EQUAL, TUNED], optimizer=list(methods)), "comparison", "network", "optimizer")
    head = ("comparison", "network", "optimizer", "bound", "rms of u", "largest |u|", "spikes")
    return table(head, rows, digits=("", "", "", "#.3g", ".2f", "#.3g", ".1f"))
