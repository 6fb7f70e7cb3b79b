"""The figures of the chapter on speed, and its tables, from a record of one machine."""

import itertools
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.ticker import LogLocator

from kadam.chapters.speed.speed.claims import time_ratio
from kadam.chapters.speed.speed.config import CEILING
from kadam.report import style
from kadam.report.table import Table, table

# Colour, line and words of each way to take a step.
WAYS = {
    "fused": (style.EXACT, "o-", "KAdam fused"),
    "chained": (style.CORRECTED, "s-", "KAdam fused, without numba"),
    "foreach": (style.SECOND, "^-", "KAdam foreach"),
    "torch fused": (style.PAPER, "D", "torch AdamW fused (k = 1)"),
    "torch foreach": (style.MEASURED, "x", "torch AdamW foreach (k = 1)"),
    CEILING: (style.GUIDE, "--", "limit: the bytes moved, nothing computed"),
}
OURS = ("fused", "chained", "foreach")


def per_step(record: xr.Dataset) -> xr.DataArray:
    """Median seconds a step by case, way and k; of torch's AdamW, which has no stages, only k = 1."""
    return record.seconds.median("round").where(~record.way.str.startswith("torch") | (record.k == 1))


@style.styled
def large(record: xr.Dataset) -> style.Figure:
    """Time a parameter against k for single large tensors, with the limit of memory."""
    names = [case for case in record.case.values.tolist() if case[0].isdigit()]
    figure, (all_axes,) = style.panels(1, len(names), height=3.6, sharey=True, squeeze=False)
    for axes, case in zip(all_axes, names, strict=True):
        _by_k(axes, per_step(record).sel(case=case) * 1e9 / float(record.numbers.sel(case=case)), title=f"{case} parameters")
    all_axes[0].set_ylabel("time a parameter (ns)")
    return _with_legend(figure, all_axes[0])


@style.styled
def small(record: xr.Dataset) -> style.Figure:
    """Time a whole step against k for networks of several tensors, where bookkeeping counts."""
    figure, both = style.panels(1, 2, height=3.6)
    seconds = per_step(record)
    in_cache = (seconds.case == "tiny network") & (seconds.way == CEILING)  # no limit from memory
    for axes, (case, unit, name) in zip(both, (("tiny network", 1e6, "µs"), ("ResNet-18", 1e3, "ms")), strict=True):
        title = f"{case}: {int(record.numbers.sel(case=case)):,} parameters"
        _by_k(axes, seconds.where(~in_cache).sel(case=case) * unit, title=title, ylabel=f"time a step ({name})")
    return _with_legend(figure, both[1])


@style.styled
def memory(record: xr.Dataset) -> style.Figure:
    """Memory that a step takes beyond weights, gradients and state, against k."""
    figure, axes = style.panels(1, 1, height=3.0)
    _by_k(axes, record.peak / 2**20, ylabel="peak beyond the state (MiB)")
    axes.set_yscale("linear")
    axes.legend(loc="center right")
    return figure


def _by_k(axes: style.Axes, values: xr.DataArray, **words: str) -> None:
    """A line for each way that was measured, against k."""
    for way, (colour, line, label) in reversed(WAYS.items()):
        found = values.sel(way=way).dropna("k")
        if found.size:
            axes.plot(found.k, found, line, color=colour, ms=5, label=label, zorder=3 if way.startswith("torch") else 2)
    axes.set(xscale="log", yscale="log", xlabel="stages k", **words)
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
    """Median seconds a step: case, way, k; what was not measured is left out."""
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
    head = f"{record.attrs['device']}, {record.attrs['date']}, medians of {record.sizes['round']} paired rounds; ms a step"
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
    return table(("k", "bytes of state a parameter", *(f"{WAYS[way][2]}: peak (MiB)" for way in OURS)), rows)
