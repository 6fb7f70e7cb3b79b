"""What is claimed of generalization, and how a record decides it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from kadam.chapters.generalization.config import CHOICES, NORMAL
from kadam.report.ledger import BEFORE, OTHER_SEEDS, Cases, Claims, Criterion, Finding, judged, on_enough_seeds
from kadam.report.once import once
from kadam.report.statistics import LEVEL, Interval, earlier, mean_interval, rank_correlation, ranks_last, share_between

BAD = 0.1  # nats above the median inside: a run that ends there ends badly


class Points(NamedTuple):
    """Those of one target and seed, an array each."""

    iterations: np.ndarray
    rms_u: np.ndarray
    coefficient: np.ndarray  # C
    curve: np.ndarray
    gamma: np.ndarray


Measure = Callable[[Points], float]


def at(dataset: xr.Dataset, variable: str, choice: str) -> xr.DataArray:
    """A variable at the learning rate of each run's choice, "fixed" or "tuned"; dimensions seed, point, and its others."""
    return dataset[variable].isel(rate=dataset.chosen.sel(choice=choice))


def arrivals(dataset: xr.Dataset, choice: str) -> xr.DataArray:
    """Iterations to each target, (seed, point, target), with the size of the updates, the rms of u, as a coordinate."""
    size = (at(dataset, "update_rms", choice) ** 2).mean("evaluation") ** 0.5
    return at(dataset, "iterations", choice).assign_coords(rms_u=size)


def middle(dataset: xr.Dataset) -> float:
    """The target that is shown where one is enough."""
    return float(dataset.target[dataset.sizes["target"] // 2])


def paired(iterations: xr.DataArray) -> xr.DataArray:
    """Without what a seed does to all pairs alike: every seed gets the same mean, over the pairs inside that no seed misses."""
    shared = iterations.notnull().all("seed") & (iterations.coefficient > 0)
    mean = iterations.isel(point=shared.values).mean("point")
    return iterations - mean.fillna(0) + mean.mean().fillna(0)


def by_target(dataset: xr.Dataset, choice: str, measure: Measure) -> dict[float, Interval]:
    """A number made of the points' iterations, by target: interval over seeds; NaN where a seed's iterations give none."""
    return {target: mean_interval([measure(points) for points in each]) for target, each in _points(dataset, choice).items()}


@once
def _points(dataset: xr.Dataset, choice: str) -> dict[float, list[Points]]:
    """By target, those of each seed."""
    of = arrivals(dataset, choice).transpose("target", "seed", "point")
    sizes, common = of.rms_u.transpose("seed", "point").values, [of[name].values for name in ("coefficient", "curve", "gamma")]
    found = [[Points(*one, *common) for one in zip(seeds, sizes, strict=True)] for seeds in of.values]
    return dict(zip(of.target.values.tolist(), found, strict=True))


def speed_with(points: Points, name: str = "coefficient", *, normal: bool = False) -> float:
    """Rank correlation of a coordinate with speed over the points with C > 0; ``normal``: of the normal curve alone."""
    counted = (points.coefficient > 0) & ((points.curve == NORMAL) | (not normal))
    return -rank_correlation(getattr(points, name)[counted], points.iterations[counted])


on_normal_curve = partial(speed_with, normal=True)


def beats_c(points: Points, *, name: str) -> float:
    """How much larger |rank correlation| with speed is for another coordinate than for C."""
    return abs(speed_with(points, name)) - abs(speed_with(points))


def between_levels(points: Points) -> float:
    """Share of the variance of the ranks on level curves that lies between the curves."""
    counted = points.curve != NORMAL
    return share_between(points.iterations[counted], points.curve[counted])


def inside_first(points: Points) -> float:
    """Probability that a point of the normal curve inside is faster than one outside."""
    normal, c = points.curve == NORMAL, points.coefficient
    return earlier(points.iterations[normal & (c > 0)], points.iterations[normal & (c < 0)])


def in_words(of: Interval) -> str:
    """A mean and its interval, if it has one; correlations and shares end at 1, whatever Student's interval does."""
    if np.isnan(of.mean):
        return "-"
    return f"{of.mean:.2f}" if np.isnan(of.low) else f"{of.mean:.2f} ({max(of.low, -1):.2f} to {min(of.high, 1):.2f})"


REGIONS: dict[str, Callable[[xr.Dataset], xr.DataArray]] = {
    "paper's": lambda dataset: dataset.coefficient < 0,
    "exact": lambda dataset: ~dataset.stable,
    "between": lambda dataset: (dataset.coefficient < 0) & dataset.stable,
}


def behind(loss: xr.DataArray) -> xr.DataArray:
    """How far the last loss lies above the median of the points with C > 0; infinite where a run diverged."""
    end = loss.isel(evaluation=-1)
    inside = end.isel(point=(loss.coefficient > 0).values).fillna(np.inf)
    return (end - inside.median("point")).fillna(np.inf)


@on_enough_seeds
def _at_each_target(
    dataset: xr.Dataset, *, choice: str, what: str, measure: Measure, beyond: float, least: float = -np.inf
) -> Finding:
    """Holds where the mean over seeds is at least ``least`` and its interval lies above ``beyond``, target by target."""
    found = {target: of for target, of in by_target(dataset, choice, measure).items() if np.isfinite(of.mean)}
    words = "; ".join(f"{target:g} nats {in_words(of)}" for target, of in found.items()) or "no target orders them"
    held = {f"{target:g} nats": bool(of.mean >= least and of.low > beyond) for target, of in found.items()}
    return f"{what}: {words}", Cases(held)


@on_enough_seeds
def _ends(dataset: xr.Dataset, *, region: str, choice: str, badly: bool, bad: float) -> Finding:
    """Whether every run outside a boundary, or between the two, ends badly, or none does."""
    outside = REGIONS[region](dataset).values
    ends = behind(at(dataset, "loss", choice)).isel(point=outside) > bad
    diverged = int(at(dataset, "diverged_at", choice).isel(point=outside).notnull().sum())
    measured = f"{int(ends.sum())} of {ends.size} runs end badly, of which {diverged} diverged"
    return measured, judged(ends == badly)


@on_enough_seeds
def _equal_betas(dataset: xr.Dataset, *, close: float, best: float) -> Finding:
    words, held = [], []
    for choice in CHOICES:
        loss = at(dataset, "loss", choice).isel(evaluation=-1).mean("seed", skipna=False)
        curve = loss[loss.curve == NORMAL]
        place, gap = int(ranks_last(curve)[curve.equal.values].item()), float(curve[curve.equal].item() - curve.min())
        words.append(f"{choice} rate: place {place} of {curve.size}, {gap:.3f} nats behind the best")
        held.append(gap <= close or place <= best * curve.size)
    return "; ".join(words), judged(held, names=CHOICES)


@on_enough_seeds
def _rates_inside(dataset: xr.Dataset) -> Finding:
    loss = dataset.loss.isel(evaluation=-1, point=(dataset.coefficient > 0).values).fillna(np.inf).mean("seed")
    best = loss.argmin("rate")
    inside = (best > 0) & (best < dataset.sizes["rate"] - 1)
    share = float(inside.mean())
    return f"best rate inside the range for {share:.0%} of the pairs", judged(inside)


FIGURE_3 = "[G&T] Section 3.3 and Figure 3 as we read them"
QUESTION = "a question from the paper's public reviews"

ALONG = "Inside, along the normal curve, larger C is faster"
OVER_ALL = "Over all pairs with C > 0, those on level curves too, larger C is faster"
SAME = "Pairs with the same C generalise equally fast"
OUTSIDE = "On the normal curve pairs inside are faster than pairs outside"
ENDS = "Every run outside the {} boundary ends badly"
BETWEEN = "Outside the paper's region but inside the exact one no run ends badly"
BETTER = "tells speed better than C, over all pairs with C > 0"

EACH = f"{LEVEL:.0%} interval over seeds above {{beyond:g}}, each target"
MONOTONE = Criterion(f"Spearman's correlation of C with speed at least {{least:g}}, {EACH}", least=0.5, beyond=0)
ALIKE = Criterion(
    f"share of the variance of ranks on level curves that lies between them at least {{least:g}}, {EACH}", least=0.75, beyond=0
)
INSIDE_FIRST = "how probably a pair inside is the faster one"
FIRST = Criterion(f"probability that one inside is first at least {{least:g}}, {EACH}", least=0.75, beyond=0.5)
STRONGER, LATER = (
    Criterion(f"|rank correlation| with speed above that of C, {EACH}", beyond=0, when=when) for when in (BEFORE, OTHER_SEEDS)
)

BADLY = Criterion("every run ends {bad:g} nats above the median at C > 0, or diverges", bad=BAD)
WELL = Criterion("every run ends at most {bad:g} nats above the median at C > 0, and none diverges", bad=BAD)


def _claim(number: str, source: str, statement: str, choice: str, criterion: Criterion, judge: Any, **what: Any) -> Any:
    """A claim about one choice of the learning rate."""
    return (number, source), (f"{statement} ({choice} learning rate)", criterion, partial(judge, choice=choice, **what))


TESTS: Claims = {
    **dict(
        _claim(number, source, statement, choice, criterion, _at_each_target, what=what, measure=measure)
        for number, source, statement, choice, criterion, what, measure in (
            ("GT-4a", FIGURE_3, ALONG, "fixed", MONOTONE, "at one rate the rank correlation of C with speed", on_normal_curve),
            ("D-4d", QUESTION, ALONG, "tuned", MONOTONE, "tuned, the rank correlation of C with speed", on_normal_curve),
            ("D-4e", QUESTION, OVER_ALL, "fixed", MONOTONE, "at one rate the rank correlation of C with speed", speed_with),
            ("D-4i", QUESTION, OVER_ALL, "tuned", MONOTONE, "tuned, the rank correlation of C with speed", speed_with),
            ("GT-4b", FIGURE_3, SAME, "fixed", ALIKE, "share between curves", between_levels),
            ("GT-4c", FIGURE_3, OUTSIDE, "fixed", FIRST, INSIDE_FIRST, inside_first),
        )
    ),
    **dict(
        _claim(f"{number}{choice}", source, statement, choice, criterion, _ends, region=region, badly=criterion is BADLY)
        for number, source, statement, criterion, region in (
            ("D-4f paper's, ", QUESTION, ENDS.format("paper's"), BADLY, "paper's"),
            ("D-4f exact, ", QUESTION, ENDS.format("exact"), BADLY, "exact"),
            ("D-4g ", "derived here: Theory, discrete boundary", BETWEEN, WELL, "between"),
        )
        for choice in CHOICES
    ),
    ("D-4h", "related work on equal betas, tested along the normal curve"): (
        "Equal betas are as good as the best pair of the normal curve",
        Criterion(
            "final loss, mean over seeds, within {close:g} nats of the best or among the best {best:.0%}, at either choice",
            close=0.02,
            best=0.1,
        ),
        _equal_betas,
    ),
    **dict(
        _claim(
            number, "derived here", f"{words} {BETTER}", choice, stronger, _at_each_target, what="larger by", measure=measure
        )
        for number, stronger, words, choice, measure in (
            ("D-4j", STRONGER, "The size of the update, the rms of u,", "fixed", partial(beats_c, name="rms_u")),
            ("D-4l fixed", LATER, "The momentum gamma alone", "fixed", partial(beats_c, name="gamma")),
            ("D-4l tuned", LATER, "The momentum gamma alone", "tuned", partial(beats_c, name="gamma")),
        )
    ),
    ("D-4k", "the design of this comparison"): (
        "The range of learning rates holds the best one",
        "best mean final loss not at an end of the range, for all pairs with C > 0",
        _rates_inside,
    ),
}
