"""The figures of the chapter on speed, and its tables, from a record of one machine."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

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


def per_step(record: xr.Dataset, case: str, way: str) -> xr.DataArray:
    """Median seconds a step by k; of torch's AdamW, which has no stages, only k = 1."""
    seconds = record.seconds.sel(case=case, way=way).median("round")
    return seconds.sel(k=[1]) if way.startswith("torch") else seconds.dropna("k")


@style.styled
def large(record: xr.Dataset) -> Figure:
    """Time a parameter against k for single large tensors, with the limit of memory."""
    names = [str(case) for case in record.case.values if str(case)[0].isdigit()]
    figure, all_axes = style.panels(1, len(names), height=3.6, sharey=True, squeeze=False)
    for axes, case in zip(all_axes[0], names, strict=True):
        for way in reversed(WAYS):
            seconds = per_step(record, case, way)
            _line(axes, seconds.k, seconds * 1e9 / float(record.numbers.sel(case=case)), way)
        _by_k(axes, record, f"{case} parameters")
    all_axes[0][0].set_ylabel("time a parameter (ns)")
    _legend_below(figure, all_axes[0][0])
    return figure


@style.styled
def small(record: xr.Dataset) -> Figure:
    """Time a whole step against k for networks of several tensors, where bookkeeping counts."""
    figure, both = style.panels(1, 2, height=3.6)
    for axes, (case, unit, name) in zip(both, (("tiny network", 1e6, "µs"), ("ResNet-18", 1e3, "ms")), strict=True):
        for way in reversed(WAYS):
            if way != CEILING or case != "tiny network":  # a tiny network lies in the cache: no limit from memory
                seconds = per_step(record, case, way)
                _line(axes, seconds.k, seconds * unit, way)
        _by_k(axes, record, f"{case}: {int(record.numbers.sel(case=case)):,} parameters")
        axes.set_ylabel(f"time a step ({name})")
    _legend_below(figure, both[1])
    return figure


@style.styled
def memory(record: xr.Dataset) -> Figure:
    """Memory that a step takes beyond weights, gradients and state, against k."""
    figure, axes = style.panels(1, 1, height=3.0)
    for way in reversed(WAYS):
        peak = record.peak.sel(way=way).dropna("k")
        if way != CEILING and peak.size:
            _line(axes, peak.k, peak / 2**20, way)
    _by_k(axes, record, "")
    axes.set(yscale="linear", ylabel="peak beyond the state (MiB)")
    axes.legend(loc="center right")
    return figure


def _line(axes: Axes, x: xr.DataArray, y: xr.DataArray, way: str) -> None:
    colour, line, words = WAYS[way]
    axes.plot(x, y, line, color=colour, ms=5, label=words, zorder=3 if way.startswith("torch") else 2)


def _by_k(axes: Axes, record: xr.Dataset, title: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="stages k", title=title)
    axes.set_xticks(record.k.values, [str(k) for k in record.k.values])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(base=2, subs=(1.0,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.grid(True)


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, words = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], words[::-1], loc="outside lower center", ncols=2)


def medians(record: xr.Dataset) -> dict[str, dict[str, dict[int, float]]]:
    """Median seconds a step: case, way, k."""
    found = {case: {way: per_step(record, case, way).to_series().dropna().to_dict() for way in WAYS} for case in _cases(record)}
    return {case: {way: by_k for way, by_k in ways.items() if by_k} for case, ways in found.items()}


def _cases(record: xr.Dataset) -> list[str]:
    return [str(case) for case in record.case.values]


def summary(record: xr.Dataset) -> str:
    """What a terminal shows: the time a step by case, way and k, and in brackets its ratio to torch's fused AdamW."""
    rows = [
        (f"{case}, {int(record.numbers.sel(case=case)):,}", way, *(_timed(record, case, way, k, by_k) for k in record.k.values))
        for case, ways in medians(record).items()
        for way, by_k in ways.items()
    ]
    head = f"{record.attrs['device']}, {record.attrs['date']}, medians of {record.sizes['round']} paired rounds; ms a step"
    return f"{head} [times torch's fused AdamW]\n{table(('case, parameters', 'way', *_ks(record)), rows)}"


def _timed(record: xr.Dataset, case: str, way: str, k: int, by_k: dict[int, float]) -> str:
    return f"{1e3 * by_k[k]:.3g} [{float(time_ratio(record, way).sel(case=case, k=k)):.2f}]" if k in by_k else "-"


def _ks(record: xr.Dataset) -> list[str]:
    return [f"k = {k}" for k in record.k.values]


def _or_dash(values: xr.DataArray, digits: str) -> list[str]:
    """Numbers as a table shows them, where they were measured."""
    return ["-" if np.isnan(value) else format(value, digits) for value in values.values]


def ratio_table(record: xr.Dataset, *cases: str) -> Table:
    """Time over that of torch's fused AdamW, which takes one stage, by k."""
    found = {way: time_ratio(record, way) for way in ("fused", "chained", "foreach")}
    rows = [
        (case, WAYS[way][2], *_or_dash(ratio.sel(case=case), ".2f"))
        for case in cases
        for way, ratio in found.items()
        if ratio.sel(case=case).notnull().any()
    ]
    return table(("time / torch's fused AdamW", "way", *_ks(record)), rows)


def limit_table(record: xr.Dataset, *cases: str) -> Table:
    """The limit of memory as one stage met it, and how much of it the fused step reaches, by k."""
    share, moved = 1 / time_ratio(record, "fused", CEILING), 28 * record.numbers  # bytes: 3 + 4k numbers of 4, k = 1
    speed = moved / 1e9 / record.seconds.sel(way=CEILING, k=1).median("round")
    rows = [(case, speed.sel(case=case), *_or_dash(share.sel(case=case), ".0%")) for case in cases]
    return table(("share of the limit, fused", "limit (GB/s)", *_ks(record)), rows, digits=".0f")


def memory_table(record: xr.Dataset) -> Table:
    """State and peak by k, for float32 parameters."""
    peaks = {WAYS[way][2]: record.peak.sel(way=way) / 2**20 for way in ("fused", "chained", "foreach")}
    rows = [(k, 8 * k, *_or_dash(xr.concat(peaks.values(), "way").sel(k=k), ".1f")) for k in record.k.values]
    return table(("k", "bytes of state a parameter", *(f"{name}: peak (MiB)" for name in peaks)), rows)
