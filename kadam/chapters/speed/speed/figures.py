"""The figures of the chapter on speed, and its tables, from a record of one machine."""

import itertools
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.ticker import LogLocator

from kadam.chapters.speed.speed.claims import LARGE, time_ratio
from kadam.chapters.speed.speed.config import CEILING
from kadam.report import style
from kadam.report.sentences import listed, of_all, said, span
from kadam.report.table import Table, table

# Colour, line and words of each way to take a step.
WAYS = {
    "fused": (style.EXACT, "o-", "KAdam fused"),
    "chained": (style.CORRECTED, "s-", "KAdam fused, without numba"),
    "foreach": (style.SECOND, "^-", "KAdam foreach"),
    "torch fused": (style.PAPER, "D", "torch AdamW fused ($k = 1$)"),
    "torch foreach": (style.MEASURED, "x", "torch AdamW foreach ($k = 1$)"),
    CEILING: (style.GUIDE, "--", "limit: the bytes moved, nothing computed"),
}
OURS = ("fused", "chained", "foreach")
NAMES = {"fused": "the fused step", "chained": "the fused step without numba", "foreach": "foreach"}


@said
def answer(record: xr.Dataset) -> str:
    """What came out, in one paragraph."""
    case = max(_measured(record, "fused"), key=lambda name: float(record.numbers.sel(case=name)))
    over = time_ratio(record, "fused").sel(case=case).dropna("k")
    reached = 1 / time_ratio(record, "fused", CEILING).sel(case=case).dropna("k")
    return (
        f"**The answer.** On {float(record.numbers.sel(case=case)) / 1e6:,.0f} million parameters a fused step of "
        f"{listed(over.k.values)} stages takes {listed([f'{ratio:.2f}' for ratio in over.values])} times "
        f"as long as torch's fused AdamW, and runs at {span(100 * reached, '.0f')}% of the speed at which memory, measured "
        f"beside it, moves the same bytes. {_against_foreach(record)}"
    )


def _measured(record: xr.Dataset, way: str) -> list[str]:
    """The cases in which a way was timed."""
    return [case for case in record.case.values.tolist() if record.seconds.sel(case=case, way=way).notnull().any()]


def _against_foreach(record: xr.Dataset) -> str:
    over = time_ratio(record, ["fused", "chained"], "foreach").sel(k=record.k >= 2)
    known = over.values[over.notnull().values]
    return (
        f"With two stages or more the path that `KAdam` chooses by itself takes less time than foreach in "
        f"{of_all(known < 1, 'cases')}: {span(known, '.2f')} of it."
    )


def per_step(record: xr.Dataset) -> xr.DataArray:
    """Median seconds per step by case, way and k."""
    return _with_stages(record.seconds.median("round"))


def _with_stages(values: xr.DataArray) -> xr.DataArray:
    """Of torch's AdamW, which has no stages, only k = 1."""
    return values.where(~values.way.str.startswith("torch") | (values.k == 1))


@style.styled
def large(record: xr.Dataset) -> style.Figure:
    """Time per parameter against k for single large tensors, with the limit of memory."""
    names = [case for case in record.case.values.tolist() if case[0].isdigit()]
    figure, (all_axes,) = style.panels(1, len(names), height=3.6, sharey=True, squeeze=False)
    for axes, case in zip(all_axes, names, strict=True):
        _by_k(axes, per_step(record).sel(case=case) * 1e9 / float(record.numbers.sel(case=case)), title=f"{case} parameters")
    all_axes[0].set_ylabel("time per parameter (ns)")
    return _with_legend(figure, all_axes[0])


@said
def large_said(record: xr.Dataset) -> str:
    """How each of our ways stands beside the limit of memory, where no cache holds the tensor."""
    over = time_ratio(record, list(OURS), CEILING).sel(case=[case for case in LARGE if case in record.case.values])
    each = [f"{span(over.sel(way=way), '.2f')} with {name}" for way, name in NAMES.items()]
    return f"On {listed(over.case.values)} parameters the time of a step, divided by the limit, is {listed(each)}."


@style.styled
def small(record: xr.Dataset) -> style.Figure:
    """Time of a whole step against k for networks of several tensors, where bookkeeping counts."""
    figure, both = style.panels(1, 2, height=3.6)
    seconds = per_step(record)
    in_cache = (seconds.case == "tiny network") & (seconds.way == CEILING)  # no limit from memory
    for axes, (case, unit, name) in zip(both, (("tiny network", 1e6, "µs"), ("ResNet-18", 1e3, "ms")), strict=True):
        title = f"{case}: {int(record.numbers.sel(case=case)):,} parameters"
        _by_k(axes, seconds.where(~in_cache).sel(case=case) * unit, title=title, ylabel=f"time per step ({name})")
    return _with_legend(figure, both[1])


@said
def small_said(record: xr.Dataset) -> str:
    """What a second stage adds, and how one stage compares with torch, where bookkeeping counts."""
    words = []
    for case in ("tiny network", "ResNet-18"):
        times = per_step(record).sel(case=case)
        each = [f"{float(times.sel(way=way, k=2) / times.sel(way=way, k=1)):.2f} with {name}" for way, name in NAMES.items()]
        one = f"{float(time_ratio(record, 'fused').sel(case=case, k=1)):.2f} times as long as torch's fused AdamW"
        words.append(
            f"{case[0].upper() + case[1:]}: one fused stage takes {one}; a second multiplies the time by {listed(each)}."
        )
    return " ".join(words)


@style.styled
def memory(record: xr.Dataset) -> style.Figure:
    """Memory that a step takes beyond weights, gradients and state, against k."""
    figure, axes = style.panels(1, 1, height=3.4)
    _by_k(axes, _with_stages(record.peak) / 2**20, ylabel="peak beyond the state (MiB)")
    axes.set_yscale("linear")
    return _with_legend(figure, axes)


@said
def memory_said(record: xr.Dataset) -> str:
    """The peak of every way over all numbers of stages."""
    each = [f"{span(record.peak.sel(way=way) / 2**20, '.0f')} MiB with {name}" for way, name in NAMES.items()]
    return f"Over all numbers of stages the peak is {listed(each)}."


def _by_k(axes: style.Axes, values: xr.DataArray, **words: str) -> None:
    """A line for each way that was measured, against k."""
    for way, (colour, line, label) in reversed(WAYS.items()):
        found = values.sel(way=way).dropna("k")
        if found.size:
            axes.plot(found.k, found, line, color=colour, ms=5, label=label, zorder=3 if way.startswith("torch") else 2)
    axes.set(xscale="log", yscale="log", xlabel="stages $k$", **words)
    axes.set_xticks(values.k.values, [str(k) for k in values.k.values])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(base=2, subs=(1.0,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(True)


def _with_legend(figure: style.Figure, axes: style.Axes) -> style.Figure:
    handles, words = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], words[::-1], loc="outside lower center", ncols=2)
    return figure


def medians(record: xr.Dataset) -> dict[str, Any]:
    """Median seconds per step: case, way, k; what was not measured is left out."""
    seconds, cases = per_step(record), record.case.values.tolist()
    found = {case: {way: seconds.sel(case=case, way=way).dropna("k") for way in WAYS} for case in cases}
    return {case: {way: x.to_series().to_dict() for way, x in ways.items() if x.size} for case, ways in found.items()}


def summary(record: xr.Dataset) -> str:
    """What a terminal shows: the time a step by case, way and k, and in brackets its ratio to torch's fused AdamW."""
    measured, rows = (1e3 * per_step(record), time_ratio(record, list(WAYS))), []
    for case, way in itertools.product(record.case.values, WAYS):
        found = zip(*(values.sel(case=case, way=way).values for values in measured), strict=True)
        cells = ["-" if np.isnan(ms) else f"{ms:.3g} [{ratio:.2f}]" for ms, ratio in found]
        if set(cells) != {"-"}:
            rows.append((f"{case}, {int(record.numbers.sel(case=case)):,}", way, *cells))
    head = f"{record.attrs['device']}, {record.attrs['date']}, medians of {record.sizes['round']} paired rounds; ms per step"
    return f"{head} [times torch's fused AdamW]\n{table(('case, parameters', 'way', *_ks(record)), rows)}"


def _ks(record: xr.Dataset) -> list[str]:
    return [f"k = {k}" for k in record.k.values]


def _or_dash(values: xr.DataArray, digits: str) -> list[str]:
    """Numbers as a table shows them, where they were measured."""
    return ["-" if np.isnan(value) else format(value, digits) for value in values.values]


def ratio_table(record: xr.Dataset, *cases: str) -> Table:
    """Time over that of torch's fused AdamW, which takes one stage, by k."""
    ratios = ((case, way, time_ratio(record, way).sel(case=case)) for case in cases for way in OURS)
    rows = [(case, WAYS[way][2], *_or_dash(ratio, ".2f")) for case, way, ratio in ratios if ratio.notnull().any()]
    return table(("time / torch's fused AdamW", "way", *_ks(record)), rows)


def limit_table(record: xr.Dataset, *cases: str) -> Table:
    """The limit of memory as one stage met it, and how much of it the fused step reaches, by k."""
    share, moved = 1 / time_ratio(record, "fused", CEILING), 28 * record.numbers  # bytes: 3 + 4k numbers of 4, k = 1
    speed = moved / 1e9 / record.seconds.sel(way=CEILING, k=1).median("round")
    rows = [(case, speed.sel(case=case), *_or_dash(share.sel(case=case), ".0%")) for case in cases]
    return table(("share of the limit, fused", "limit (GB/s)", *_ks(record)), rows, digits=".0f")


def memory_table(record: xr.Dataset) -> Table:
    """State and peak by k, for float32 parameters."""
    peak = record.peak.sel(way=list(OURS)) / 2**20
    rows = [(k, 8 * k, *_or_dash(peak.sel(k=k), ".1f")) for k in record.k.values]
    return table(("k", "bytes of state per parameter", *(f"{WAYS[way][2]}: peak (MiB)" for way in OURS)), rows)
