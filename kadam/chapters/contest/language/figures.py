"""The figures of chapter 7 that only a contest on text has, each with the numbers that it shows."""

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from kadam.chapters.contest import judges as contest
from kadam.chapters.contest.drawing import (
    BASELINES,
    STRATEGIES,
    TOP,
    band,
    broken,
    by_network,
    end_at_a_guess,
    label_width,
    later_stages,
    leftmost,
    looks,
    place,
    quantity,
)
from kadam.chapters.contest.judges import ADAM, BASIN, EQUAL, TUNED, networks, overall, search_score, two_stages
from kadam.report import style
from kadam.report.statistics import mean_interval

LINE = 78  # characters that a page shows without scrolling


def setting(record: xr.Dataset) -> str:
    """What was trained on what."""
    learnt = zip(networks(record), record.parameters.values, strict=True)
    tokens = {name.removesuffix("_tokens"): count for name, count in record.attrs.items() if str(name).endswith("_tokens")}
    seeds, searches = record.sizes["seed"], record.sizes["tuning_seed"]
    lines = [
        f"profile {{profile}}; {{steps}} steps of {{batch}} windows of {{context}} tokens, {seeds} seeds",
        f"search: {record.sizes['rate']} learning rates, {{tuning_steps}} steps, {searches} seed{'s' * (searches > 1)}",
        "{data}",
        "tokens to learn from: " + ", ".join(f"{name} {count:,.0f}" for name, count in tokens.items()),
        "parameters: " + "; ".join(f"{name} {count:,.0f}" for name, count in learnt),
    ]
    return "\n".join(part for line in lines for part in textwrap.wrap(line.format(**record.attrs), LINE))


@style.styled
def curves(record: xr.Dataset, *, methods: Iterable[str]) -> Figure:
    """Test loss over training, a column a network, at equal rates above and tuned rates below; bands are 95% intervals."""
    figure, all_axes = style.panels(2, len(networks(record)), height=4.6, sharex=True, sharey="col", squeeze=False)
    known = looks(record)
    for row, comparison in zip(all_axes, (EQUAL, TUNED), strict=True):
        for axes, network in zip(row, networks(record), strict=True):
            of = record.loss.sel(network=network, comparison=comparison)
            for method in methods:
                band(axes, of.sel(optimizer=method), known[method], method, TOP)
        row[0].set_ylabel(f"{comparison}:\n{quantity(record).label}")
    for (above, below), network in zip(all_axes.T, networks(record), strict=True):
        above.set_title(network)
        end_at_a_guess(above, record, network)
        below.set_xlabel("step")
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6)
    return figure


def curve_table(record: xr.Dataset, *, methods: Iterable[str]) -> str:
    """Test loss in nats at the end, mean over seeds, at equal and tuned rates."""
    lines = _heads(record, 18, "".join(f"{name:>9}" for name in ("equal", "tuned")))
    end = record.loss.isel(evaluation=-1).mean("seed", skipna=False)
    for method in methods:
        of = end.sel(optimizer=method)
        cells = [of.sel(network=network, comparison=c) for network in networks(record) for c in (EQUAL, TUNED)]
        lines.append(f"{method:>18}" + "".join(f"{float(cell):>9.3f}" for cell in cells))
    return "\n".join(lines)


def _heads(record: xr.Dataset, width: int, below: str, *, before: int = 18) -> list[str]:
    """The networks' names over columns of this width, then a line of what stands below each."""
    names = broken(networks(record), width)
    lines = ["".join(f"{name:>{width}}" for name in line) for line in names]
    return [f"{'':>{before}}{line}" for line in (*lines, below * len(networks(record)))]


@style.styled
def basin(record: xr.Dataset) -> Figure:
    """How wide the range of good learning rates is, by k and strategy, and of the baselines; Adam's as a line."""
    figure, all_axes = by_network(record, height=2.7, sharey=True)
    others = [name for name in BASELINES if name in record.optimizer and name != ADAM]
    ks = later_stages(record)
    for axes, network in zip(all_axes, networks(record), strict=True):
        widths, cut = contest.basin(record).sel(network=network), cut_off(record).sel(network=network)
        axes.axhline(float(widths.sel(optimizer=ADAM)), color=style.MEASURED, lw=1, ls=":" if cut.sel(optimizer=ADAM) else "-")
        for j, strategy in enumerate(two_stages(record)):
            for i, k in enumerate(ks):
                at = {"optimizer": place(record, strategy, k)}
                _dot(axes, i + 0.12 * (j - 2), widths.isel(at), cut.isel(at), "o", STRATEGIES[strategy])
        for i, name in enumerate(others, len(ks)):
            _dot(axes, i, widths.sel(optimizer=name), cut.sel(optimizer=name), "D", style.MEASURED)
        axes.set_xticks(range(len(ks) + len(others)), [f"k = {k}" for k in ks] + others, fontsize=7)
    all_axes[0].set_ylim(bottom=0)
    for axes in leftmost(all_axes):
        axes.set_ylabel("basin of good rates\n(powers of ten)")
    _name_dots(figure, list(two_stages(record)))
    return figure


def _dot(axes: Axes, x: float, width: xr.DataArray, cut: xr.DataArray, marker: str, colour: str) -> None:
    """Hollow where the search ends before the basin does."""
    axes.plot(x, float(width), marker, ms=4, color=colour, markerfacecolor="white" if cut else colour)


def _name_dots(figure: Figure, strategies: Iterable[str]) -> None:
    handles = [Line2D([], [], color=STRATEGIES[name], marker="o", ms=4, ls="", label=name) for name in strategies]
    handles.append(Line2D([], [], color=style.MEASURED, lw=1, label="Adam"))
    hollow: dict[str, Any] = {"marker": "o", "ms": 4, "markerfacecolor": "white", "ls": ":", "lw": 1}
    handles.append(Line2D([], [], color=style.MEASURED, label="at least so wide: the search ends", **hollow))
    figure.legend(handles=handles, loc="outside upper center", ncols=4)


def cut_off(record: xr.Dataset) -> xr.DataArray:
    """Whether the basin of good rates reaches an end of the search, and may be wider; by network and optimizer."""
    loss = -search_score(record).mean("tuning_seed")
    return xr.apply_ufunc(
        _reaches_an_end, loss, input_core_dims=[["rate"]], output_core_dims=[[]], output_dtypes=[bool], vectorize=True
    )


def _reaches_an_end(loss: np.ndarray) -> bool:
    best, good = int(loss.argmin()), loss <= loss.min() + BASIN
    return bool(good[best:].all() or good[: best + 1].all())


def basin_table(record: xr.Dataset) -> str:
    """The factor between the ends of every basin; > where the search ends first."""
    widths, cut = contest.basin(record), cut_off(record)
    lines = _heads(record, 18, f"{'factor':>18}")
    for method in record.optimizer.values:
        cells = ""
        for network in networks(record):
            of = {"network": network, "optimizer": method}
            cells += f"{'> ' * bool(cut.sel(of)) + f'{10 ** float(widths.sel(of)):.1f}':>18}"
        lines.append(f"{method:>18}{cells}")
    return "\n".join(lines)


def at_equal_time(record: xr.Dataset, cost: Mapping[str, float]) -> xr.DataArray:
    """Test loss of every run in the time that Adam takes for all its steps; of the optimizers that ``cost`` knows.

    ``cost``: time of a step over Adam's. The loss is read off the method's own curve at steps / cost, linear between the
    evaluations from a guess at the start. The learning rate had not come down by then, as it would have in a run planned for
    that time: what this loses to the end of the curve is an upper bound of what the time costs. A method faster than Adam is
    read at its end. A run that diverged, or is worse than a guess, counts as guessing there.
    """
    known = [name for name in record.optimizer.values.tolist() if name in cost]
    loss = record.loss.fillna(np.inf).clip(max=record.guess).sel(optimizer=known)
    start = xr.full_like(loss.isel(evaluation=[0]), 0).assign_coords(evaluation=[0]) + record.guess
    whole = xr.concat([start, loss], "evaluation").transpose(*loss.dims)
    steps = whole.evaluation.values
    at = xr.DataArray([steps[-1] / cost[name] for name in known], dims="optimizer", coords={"optimizer": known})
    read = xr.apply_ufunc(
        lambda step, curve: np.interp(step, steps, curve),
        at,
        whole,
        input_core_dims=[[], ["evaluation"]],
        vectorize=True,
    )
    return read.transpose("comparison", "network", "optimizer", "seed")


def time_table(record: xr.Dataset, cost: Mapping[str, float], *, comparison: str = TUNED) -> str:
    """Test loss in nats after as many steps as Adam, and after as much time, with 95% intervals over seeds."""
    steps, time, width = contest.nats(record), at_equal_time(record, cost), label_width(record)
    lines = [f"{comparison + ':':>{width}}{'':>19}{'cost':>5}{'at equal steps':>23}{'at equal time':>23}"]
    for network in networks(record):
        for method in time.optimizer.values:
            both = [of.sel(comparison=comparison, network=network, optimizer=method) for of in (steps, time)]
            cells = "".join(f"{_with_interval(of):>23}" for of in both)
            lines.append(f"{network:>{width}}{method:>19}{cost[method]:>5.2f}{cells}")
    return "\n".join(lines)


def _with_interval(of: xr.DataArray) -> str:
    mean, low, high = mean_interval(of)
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"


@style.styled
def updates(record: xr.Dataset, *, methods: Iterable[str]) -> Figure:
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
    return figure


def _extremes(axes: Axes, of: xr.Dataset, look: Mapping[str, Any]) -> None:
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


def update_table(record: xr.Dataset, *, methods: Iterable[str]) -> str:
    """By network: rms of u over training, largest |u| of all runs, and spikes of the training loss a run; and the bound."""
    rms, largest = overall(record.update_rms).mean("seed"), record.max_update.max(["seed", "evaluation"])
    spikes, bound = record.spikes.sum("evaluation").mean("seed"), record.bound.isel(evaluation=-1)
    lines = []
    for comparison in (EQUAL, TUNED):
        *over, last = _heads(record, 16, f"{'rms':>5}{'max':>5}{'spike':>6}", before=24)
        lines += [*over, f"{comparison + ':':>18}{'bound':>6}{last[24:]}"]
        for method in methods:
            cells = f"{method:>18}{float(bound.sel(optimizer=method)):>#6.3g}".replace("nan", "  -")
            for network in networks(record):
                of = {"network": network, "optimizer": method, "comparison": comparison}
                cells += f"{float(rms.sel(of)):>5.2f}{float(largest.sel(of)):>#5.3g}{float(spikes.sel(of)):>6.1f}"
            lines.append(cells)
    return "\n".join(lines)
