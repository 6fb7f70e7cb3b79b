"""What the figures of closely tuned contests draw: optima between the rates tried, and how far methods are ahead there."""

import re
import textwrap

import numpy as np
import xarray as xr

from kadam.chapters.contest import looks, measures
from kadam.chapters.contest.comparisons import ADAM, MATCHED, TUNED
from kadam.chapters.contest.measures import POINTS, cases, intervals, lead, networks, scale, two_stages
from kadam.chapters.contest.parabola import Optimum, interpolated_optimum
from kadam.report import style
from kadam.report.sentences import listed, of_all, said, span
from kadam.report.statistics import mean_interval
from kadam.report.table import Table, table

FINE = 50  # points of a drawn parabola


@style.styled
def optima(record: xr.Dataset) -> style.Figure:
    """Above, the loss in the search with the parabola of every method and its optimum; below, how far each is ahead of Adam."""
    figure, all_axes = style.panels(2, len(networks(record)), height=5.4, squeeze=False)
    for (above, below), network in zip(all_axes.T, networks(record), strict=True):
        of = record.sel(network=[network])
        for method, look in looks_of(record).items():
            _search(above, of.sel(optimizer=[method]), look, _in_signs(method))
        above.set(xscale="log", title=network, xlabel="learning rate")
        below.sharey(all_axes[1, 0])
        differences(below, of)
    all_axes[0, 0].set_ylabel(looks.label(record, "validation"))
    all_axes[1, 0].set_ylabel(f"ahead of Adam ({scale(record).difference})")
    figure.legend(*all_axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return style.with_legend(figure, all_axes[0, 0], ncols=4)


@said
def optima_said(record: xr.Dataset) -> str:
    """Which methods are ahead of Adam where each is best, and which still with updates of one size."""
    of, others = scale(record), [name for name in _methods(record) if name != ADAM]
    parts = []
    for comparison in record.comparison.values.tolist():
        mean, low, _ = mean_interval(lead(record, comparison, others))
        ahead = [of_all(above > 0, "networks" if of is POINTS else "settings") for above in low]
        if comparison == TUNED:
            ahead = [f"{n} ({span(gain, f'+{of.form}')} {of.difference})" for n, gain in zip(ahead, mean, strict=True)]
        each = [f"`{name}` in {n}" for name, n in zip(others, ahead, strict=True)]
        parts.append(f"{HOW[comparison]} {listed(each)}.")
    return f"{' '.join(parts)} Ahead is a 95% interval above zero."


HOW = {TUNED: "Ahead of Adam, each method at its optimum, is", MATCHED: "With updates as large as Adam's it is"}


def _methods(record: xr.Dataset) -> list[str]:
    return list(record.optimizer.values.tolist())


# Of Adam with other decay rates, the darker the nearer to Adam itself, which is black; a method with more than two stages is
# a hollow mark of its strategy.
OTHERS = tuple({"color": shade, "marker": marker} for shade, marker in zip(style.shades(4)[:0:-1], "s^v", strict=True))


def looks_of(record: xr.Dataset) -> dict[str, looks.Look]:
    """Every method's look, no two alike: Adam, NAdam and k = 2 as in the other figures of contests."""
    known, others = looks.of_methods(record), iter(OTHERS)
    own = {name for name in known if name in (ADAM, "NAdam") or name in two_stages(record).values()}
    found = {}
    for name, k, strategy in zip(_methods(record), record.k.values, record.strategy.values, strict=True):
        staged = looks.of_strategy(strategy) | {"mfc": "white"}
        found[name] = known[name] if name in own else staged if k > 1 else next(others)
    return found


def _search(axes: style.Axes, of: xr.Dataset, look: looks.Look, label: str) -> None:
    """The scores of one method on one network, the parabola through the best three, and where it is best."""
    sign, rates = scale(of).sign, of.tried.values.squeeze()
    losses = -measures.search_score(of).mean("tuning_seed").values.squeeze()
    optimum = interpolated_optimum(rates, losses)
    x, y = _parabola(rates, losses, optimum)
    axes.plot(x, -sign * y, lw=1, color=look["color"], ls=look.get("ls", "-"))
    axes.plot(rates, -sign * losses, ms=4, label=label, **look | {"ls": ""})
    best = optimum.rate, -sign * optimum.value
    axes.plot(*best, "*", ms=9, color=look["color"], markeredgecolor="white", markeredgewidth=0.5)


def _parabola(rates: np.ndarray, losses: np.ndarray, optimum: Optimum) -> tuple[np.ndarray, np.ndarray]:
    """Its points over the best rate and the two beside it; none where the best is at an end."""
    if not optimum.inside:
        return np.array([]), np.array([])
    best = int(np.clip(abs(np.log(rates / optimum.rate)).argmin(), 1, len(rates) - 2))
    around, x = slice(best - 1, best + 2), np.geomspace(rates[best - 1], rates[best + 1], FINE)
    return x, np.polyval(np.polyfit(np.log(rates[around]), losses[around], 2), np.log(x))


def differences(axes: style.Axes, of: xr.Dataset) -> None:
    """Means and 95% intervals over seeds of one network, in every comparison, of all methods but Adam."""
    others, compared = [name for name in _methods(of) if name != ADAM], of.comparison.values.tolist()
    for j, name in enumerate(compared):
        colour, marker, label = looks.COMPARED[name]
        found = np.stack(mean_interval(lead(of, name, others)))[..., 0]
        places = np.arange(len(others)) + 0.2 * (j - (len(compared) - 1) / 2)
        looks.bars(axes, places, found, marker=marker, color=colour, label=label)
    axes.axhline(0, color=style.GUIDE, lw=0.8)
    axes.set_xticks(range(len(others)), [_in_lines(_in_signs(name)) for name in others], fontsize=7)


def _in_signs(method: str) -> str:
    return re.sub(r"beta1 = (\S+)", r"$\\beta_1=\1$", method)


def _in_lines(name: str) -> str:
    """A method's name as narrow as its place on an axis."""
    return "\n".join(textwrap.fill(part, 14, break_long_words=False) for part in name.split(", "))


def optimum_table(record: xr.Dataset) -> Table:
    """Every method's optimum, and how far it is ahead of Adam there and with updates of one size, with 95% intervals."""
    of = xr.Dataset({"rate": record.peak_rate.sel(comparison=TUNED, drop=True)})
    for name in record.comparison.values.tolist():
        of[name] = intervals(lead(record, name, _methods(record)), f"+{scale(record).form}")
    head = (
        "network",
        "optimizer",
        "optimum",
        *(f"{name}: ahead ({scale(record).difference})" for name in record.comparison.values),
    )
    return table(head, cases(of, *head[:2]), digits=("", "", ".2g", *("" for _ in head[3:])))
