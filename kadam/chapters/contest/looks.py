"""How a contest of optimizers is drawn: colours, panels, and what a run that learnt nothing looks like."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from kadam.chapters.contest.comparisons import EQUAL, MATCHED, TUNED
from kadam.chapters.contest.measures import BASIN, NATS, POINTS, Scale, networks, scale, search_score, two_stages
from kadam.report import style
from kadam.report.statistics import mean_interval

COMPARED = {
    EQUAL: (style.GUIDE, "o", "same learning rate"),
    TUNED: (style.MEASURED, "s", "each at its best learning rate"),
    MATCHED: (style.SECOND, "^", "updates as large as Adam's"),
}
BASELINE_LINES = {
    "Adam": (style.ADAM, "-", "."),
    "AdamW": (style.ADAM, "--", "."),
    "NAdam": (style.ADAM, "-.", "d"),
    "LaProp": (style.ADAM, ":", "."),
    "Lion": (style.SIGNS, "-", "."),
    "SGD": (style.SGD, "--", "."),
}
NEW_LINE = (style.GUIDE, ":", ".")  # of a baseline that is not listed yet
LARGEST = 0.05  # the largest size of a step that is drawn: beyond, nothing is learnt
VISIBLE = 0.5  # of the way from the best loss to a guess: what is worse lies beyond the axis

# Where on the vertical axis, from 0 to 1, a cross stands for a run that learnt nothing.
BOTTOM, TOP = 0.02, 0.98

Look = dict[str, Any]
LINE: Look = {"lw": 1}


def label(record: xr.Dataset, of: str = "test") -> str:
    """What the contest is scored by, with its unit, on the test data or on others."""
    return f"{of} {scale(record).quantity} ({scale(record).unit})"


def parameters(record: xr.Dataset) -> str:
    """How many numbers each network learns."""
    counts = zip(networks(record), record.parameters.values, strict=True)
    return "parameters: " + "; ".join(f"{name} {count:,.0f}" for name, count in counts)


def edge(scale: Scale) -> float:
    """Where an axis of this is worst."""
    return BOTTOM if scale.sign > 0 else TOP


def searched(record: xr.Dataset) -> xr.DataArray:
    """The accuracy or loss in the search, mean over seeds; NaN where one diverged, or lost more than a guess."""
    learnt = record.search_accuracy.notnull() if scale(record) is POINTS else record.search_loss < record.guess
    return (scale(record).sign * search_score(record)).where(learnt).mean("tuning_seed", skipna=False)


def shades(record: xr.Dataset) -> dict[int, Any]:
    """A colour for every k; 1 is Adam."""
    ks = sorted({int(k) for k in record.k.values if k >= 1})
    return dict(zip(ks, style.shades(len(ks)), strict=True))


def of_methods(record: xr.Dataset) -> dict[str, Look]:
    """Baselines in black, grey and red, told apart by their line; k = 2 in the colours and with the marks of the strategies."""
    lines = {name: BASELINE_LINES.get(name, NEW_LINE) for name in baselines(record)}
    found: dict[str, Look] = {name: dict(zip(("color", "ls", "marker"), line, strict=True)) for name, line in lines.items()}
    return found | {method: of_strategy(strategy) for strategy, method in two_stages(record).items()}


def baselines(record: xr.Dataset) -> list[str]:
    """Those of a record, Adam first."""
    return list(record.optimizer.values[record.k.values < 2].tolist())


def of_strategy(strategy: str) -> Look:
    return {"color": style.STRATEGIES.get(strategy, style.REST), "marker": style.MARKS.get(strategy, "X")}


def by_network(record: xr.Dataset, *, height: float, **options: Any) -> tuple[style.Figure, list[style.Axes]]:
    """A panel a network, two in a row of this height, with the options of :func:`style.panels`; the networks' axes in order."""
    names = networks(record)
    rows, columns = -(-len(names) // 2), min(2, len(names))
    figure, all_axes = style.panels(rows, columns, height=rows * height, squeeze=False, **options)
    for axes in all_axes.flat[len(names) :]:
        axes.set_visible(False)
    for axes, network in zip(all_axes.flat, names, strict=False):
        axes.set_title(network)
    return figure, list(all_axes.flat[: len(names)])


def end_at_a_guess(axes: style.Axes, record: xr.Dataset, network: str) -> None:
    """Where losses are drawn, end their axis at a guess, if what is drawn goes further."""
    if scale(record) is NATS:
        axes.set_ylim(top=min(axes.get_ylim()[1], float(record.guess.sel(network=network))))


def limits(record: xr.Dataset, network: str, methods: Sequence[str]) -> tuple[None, float | None]:
    """Of the axis of a network's search; of losses only those are of interest that are closer to the best than to a guess.

    Every one of these methods shows its own best in any case.
    """
    if scale(record) is POINTS:
        return None, None
    bests = searched(record).sel(network=network, optimizer=methods).min("rate")
    best, guess = float(bests.min()), float(record.guess.sel(network=network))
    top = max(best + VISIBLE * (guess - best), float(bests.max()) + BASIN)
    return None, top if np.isfinite(top) else None


def bars(axes: style.Axes, x: np.ndarray, of: np.ndarray, *, label: str | None = None, **look: Any) -> None:
    """Means with their intervals; ``of``: mean, low and high, (3, n)."""
    mean, low, high = of
    axes.errorbar(x, mean, np.nan_to_num([mean - low, high - mean]), ls="", ms=4, lw=1, label=label, **look)


def search_line(axes: style.Axes, x: xr.DataArray, of: xr.DataArray, look: Look, edge: float, label: str | None = None) -> None:
    """The score in the search; a cross at the edge where nothing was learnt, far right where no size is known."""
    axes.plot(x, of, ms=3, label=label, **LINE | look)
    lost = x.values[np.isnan(of.values)]
    crosses(axes, np.nan_to_num(lost, nan=np.inf) if label else np.full(len(lost), 0.8 * LARGEST), look, edge)


def band(axes: style.Axes, values: xr.DataArray, look: Look, label: str, edge: float) -> None:
    """Mean over seeds with its 95% interval; a cross at the edge at the first evaluation by which a run diverged."""
    mean, low, high = mean_interval(values.transpose("evaluation", "seed"))
    axes.plot(values.evaluation, mean, lw=1.2, ms=3, label=label, **look)
    axes.fill_between(values.evaluation, low, high, color=look["color"], alpha=0.15, lw=0)
    crosses(axes, values.evaluation.values[np.isnan(mean)][:1], look, edge)


def crosses(axes: style.Axes, x: np.ndarray, look: Look, edge: float) -> None:
    """Where runs learnt nothing."""
    axes.plot(x, np.full(len(x), edge), "x", color=look["color"], transform=axes.get_xaxis_transform())
