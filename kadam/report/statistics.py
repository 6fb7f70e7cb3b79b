"""What a few repetitions allow to say: intervals of a mean, and whether one thing goes up with another."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from kadam.theory.arguments import real_array

LEVEL = 0.95


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval, each an array without the axis of the repetitions."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def mean_interval(values: ArrayLike, *, axis: int = -1, level: float = LEVEL) -> Interval:
    """Student's interval of a mean over independent, normal repetitions along ``axis``, such as seeds; NaN ends for one alone.

    To compare two methods give differences of runs that share a seed: what the seed does to both then cancels. ``ValueError``
    for no repetition, or a level outside (0, 1).
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim == 0 or sample.shape[axis] == 0:
        raise ValueError(f"values must hold one repetition or more along axis {axis}, got shape {sample.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level!r}")
    n, mean = sample.shape[axis], sample.mean(axis)
    deviation = sample.std(axis, ddof=1) if n > 1 else np.full_like(mean, np.nan)
    reach = stats.t.ppf((1 + level) / 2, n - 1) * deviation / np.sqrt(n)
    return Interval(mean, mean - reach, mean + reach)


def ranks_last(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks 1, 2, ... from the smallest value; ties share their mean rank, and NaN ("never") ranks after everything else."""
    return np.asarray(stats.rankdata(_never_last(real_array("values", values))), dtype=np.float64)


def _never_last(values: ArrayLike) -> NDArray[np.float64]:
    return np.where(np.isnan(values), np.inf, values)


def rank_correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation of two sequences, in [-1, 1]; NaN entries rank last; NaN where either has one value only."""
    a, b = real_array("x", x), real_array("y", y)
    if a.ndim != 1 or a.shape != b.shape or len(a) < 2:
        raise ValueError(f"x and y must be one-dimensional, equally long, two or more, got shapes {a.shape} and {b.shape}")
    first, second = ranks_last(a), ranks_last(b)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(stats.spearmanr(first, second).statistic)


def share_between(values: ArrayLike, groups: ArrayLike) -> float:
    """Share of the variance of the values' ranks that lies between groups, a label a value; NaN where all values are equal."""
    ranks, labels = ranks_last(values), np.asarray(groups)
    if ranks.ndim != 1 or ranks.shape != labels.shape:
        raise ValueError(f"values and groups must be one-dimensional and equally long, got {ranks.shape} and {labels.shape}")
    means, total = pd.Series(ranks).groupby(labels).transform("mean"), float(((ranks - ranks.mean()) ** 2).sum())
    return float(((means - ranks.mean()) ** 2).sum()) / total if total > 0 else float("nan")


def earlier(first: ArrayLike, second: ArrayLike) -> float:
    """Probability that one of ``first`` is smaller than one of ``second``, equals counting half; NaN ("never") comes last."""
    a, b = (real_array("values", x).ravel() for x in (first, second))
    if not (len(a) and len(b)) or (np.isnan(a).all() and np.isnan(b).all()):
        return float("nan")
    later = stats.mannwhitneyu(_never_last(a), _never_last(b), method="asymptotic").statistic  # pairs in which a is larger
    return 1 - float(later) / (len(a) * len(b))
