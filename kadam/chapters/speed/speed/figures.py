"""The figures of the chapter on speed, and its tables, from a record of one machine."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from kadam.report import style

CEILING = "scaling in place"
TORCH = "torch fused"

# Colour, line and words of each way to take a step.
WAYS = {
    "fused": (style.EXACT, "o-", "KAdam fused"),
    "chained": (style.CORRECTED, "s-", "KAdam fused, without numba"),
    "foreach": (style.SECOND, "^-", "KAdam foreach"),
    TORCH: (style.PAPER, "D", "torch AdamW fused (k = 1)"),
    "torch foreach": (style.MEASURED, "x", "torch AdamW foreach (k = 1)"),
    CEILING: (style.GUIDE, "--", "limit: the bytes moved, nothing computed"),
}


def per_step(record: xr.Dataset, case: str, way: str) -> xr.DataArray:
    """Median seconds a step by k; of torch's AdamW, which has no stages, only k = 1."""
    seconds = record.seconds.sel(case=case, way=way).median("round")
    return seconds.sel(k=[1]) if way.startswith("torch") else seconds.dropna("k")


def ratios(record: xr.Dataset, case: str, way: str, against: str = TORCH) -> xr.DataArray:
    """Median over the rounds of the ratio of two ways within a round, by k."""
    seconds = record.seconds.sel(case=case)
    return (seconds.sel(way=way) / seconds.sel(way=against)).median("round").dropna("k")


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


def medians(record: xr.Dataset) -> dict[str, dict[str, dict[str, float]]]:
    """Median seconds a step: case, way, k."""
    return {
        str(case): {
            way: {str(k): float(value) for k, value in zip(found.k.values, found.values, strict=True)}
            for way in WAYS
            if (found := per_step(record, str(case), way)).size and bool(np.isfinite(found).all())
        }
        for case in record.case.values
    }


def table(record: xr.Dataset) -> str:
    """What a terminal shows: for each case and way the time a step by k, and in brackets its ratio to torch's fused AdamW."""
    lines = [f"{record.attrs['device']}, {record.attrs['date']}, medians of {record.sizes['round']} paired rounds"]
    for case, found in medians(record).items():
        lines.append(f"\n{case} ({int(record.numbers.sel(case=case)):,} parameters): ms a step [times torch's fused AdamW]")
        lines += [
            f"  {way:17s}" + "  ".join(_cell(record, case, way, k, t) for k, t in by_k.items()) for way, by_k in found.items()
        ]
    return "\n".join(lines)


def _cell(record: xr.Dataset, case: str, way: str, k: str, seconds: float) -> str:
    ratio = float(ratios(record, case, way).sel(k=int(k)))
    return f"k={k}: {seconds * 1e3:.3g} [{ratio:.2f}]"


def ratio_table(record: xr.Dataset, case: str) -> str:
    """For a chapter: ratios to torch's fused AdamW, and the fused step's share of the limit."""
    lines = [f"{case}: time over torch's fused AdamW, by k"]
    for way in ("fused", "chained", "foreach"):
        found = ratios(record, case, way)
        if found.size:
            lines.append(
                f"  {WAYS[way][2]}: " + ", ".join(f"{int(k)}: {v:.2f}" for k, v in zip(found.k, found.values, strict=True))
            )
    if case == "tiny network":  # it lies in the cache
        return "\n".join(lines)
    limit = per_step(record, case, CEILING).sel(k=1)
    moved = 28 * int(record.numbers.sel(case=case))  # bytes: 3 + 4k numbers of 4 bytes a parameter, k = 1
    lines.append(f"  limit: {moved / float(limit) / 1e9:.0f} GB/s")
    share = 1 / ratios(record, case, "fused", CEILING)
    lines.append(
        "  fused, share of the limit: " + ", ".join(f"{int(k)}: {v:.0%}" for k, v in zip(share.k, share.values, strict=True))
    )
    return "\n".join(lines)


def memory_table(record: xr.Dataset) -> str:
    """State and peak by k, for float32 parameters."""
    lines = ["k, bytes of state a parameter, peak beyond it in MiB: fused, without numba, foreach"]
    for k in record.k.values:
        peaks = [float(record.peak.sel(way=way, k=k)) / 2**20 for way in ("fused", "chained", "foreach")]
        lines.append(f"  {k}, {8 * k}, " + ", ".join("-" if np.isnan(peak) else f"{peak:.1f}" for peak in peaks))
    return "\n".join(lines)
