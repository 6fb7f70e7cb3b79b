"""What a few repetitions allow to say: intervals and tests of a mean, what each of them decides, and ranks."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from kadam.theory.arguments import array_that, check_count, finite_array, real_array

T = TypeVar("T")

LEVEL = 0.95
MOST_PAIRS = 16  # a test of so many goes through 2^15 ways to flip signs, in 4 MB
ALIKE = 1e-9  # relative difference of values that a run in float64 may give otherwise on another machine: they count as equal
ROUNDING = 1e-12  # of the largest difference: two sums of differences that are closer count as equal


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
    reach = stdtrit(n - 1, (1 + level) / 2) * deviation / np.sqrt(n)
    return Interval(mean, mean - reach, mean + reach)


def paired_interval(first: ArrayLike, second: ArrayLike, *, axis: int = -1, level: float = LEVEL) -> Interval:
    """:func:`mean_interval` of ``first`` minus ``second``; entries at the same place are a pair, such as runs of one seed.

    ``ValueError`` unless both have one shape (nothing is broadcast) and finite entries: a run that diverged has no difference,
    so whoever compares says first what it counts as, for example a guess.
    """
    a, b = finite_array("first", first), finite_array("second", second)
    if a.shape != b.shape:
        raise ValueError(f"first and second must have the same shape, got {a.shape} and {b.shape}")
    return mean_interval(a - b, axis=axis, level=level)


def paired_t_test(differences: ArrayLike, *, axis: int = -1) -> NDArray[np.float64]:
    """Student's two-sided p-value that the mean of paired, normal differences is zero, for each row of pairs along ``axis``.

    It is at most 1 - level where :func:`mean_interval` of that level leaves zero out. 1 for one pair, and for differences that
    are all zero. With so few pairs that :func:`least_p_value` is above the level this test can reject and the exact one cannot;
    what it rests on besides is that the differences are normal. ``ValueError`` for no pair, or a difference that is not finite.
    """
    given = finite_array("differences", differences)
    mean, low, _ = mean_interval(given, axis=axis)
    n, reach = given.shape[axis], mean - low
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean) / reach * stdtrit(n - 1, (1 + LEVEL) / 2)
    return np.where(np.isnan(t), 1.0, 2 * stdtr(n - 1, -t))


def sign_flip_test(differences: ArrayLike, *, axis: int = -1) -> NDArray[np.float64]:
    """Exact two-sided p-value that the mean of paired differences is zero, for each row of pairs along ``axis``.

    Under the hypothesis each difference is as likely as its negative, and independent of the others; nothing else is assumed
    of them. The p-value is the share of all 2^n choices of signs whose mean is at least as far from zero as the one seen; see
    :func:`least_p_value` for how small it can be. ``ValueError`` for no pair, more than ``MOST_PAIRS``, or a difference that is
    not finite. Source: Fisher, The Design of Experiments, 1935, section 21.
    """
    given = finite_array("differences", differences)
    if given.ndim == 0 or not 1 <= given.shape[axis] <= MOST_PAIRS:
        raise ValueError(f"differences must hold 1 to {MOST_PAIRS} pairs along axis {axis}, got shape {given.shape}")
    rows = np.moveaxis(given, axis, -1)
    n, largest = rows.shape[-1], np.abs(rows).max(-1, keepdims=True)
    bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1  # the last sign stays: to flip all leaves the size of the sum
    sums = np.abs(rows / np.where(largest > 0, largest, 1) @ (1.0 - 2 * bits).T)  # the first are the sums seen
    return (sums >= sums[..., :1] - ROUNDING).mean(-1)


def least_p_value(pairs: int) -> float:
    """The smallest p-value of :func:`sign_flip_test`, 2/2^n: 0.25 for three pairs, 0.0625 for five, below 0.05 from six on."""
    check_count("pairs", pairs)
    return 2.0 ** (1 - pairs)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values of one family of tests, adjusted by Holm's step-down method, in the shape given.

    To reject where the adjusted p-value is at most a level keeps the chance of any false rejection in the family at or below
    that level, however the tests depend on each other. With m tests the i-th smallest becomes the largest of (m - j + 1) p_j
    over j <= i, at most 1. ``ValueError`` for a p-value outside [0, 1], NaN among them: a test that was not made is no member.
    Source: Holm, Scandinavian Journal of Statistics 6, 1979, pages 65-70.
    """
    p = array_that("p_values", p_values, lambda x: (x >= 0) & (x <= 1), "lie in [0, 1];")
    order, adjusted = np.argsort(p, axis=None), np.empty(p.size)
    adjusted[order] = np.maximum.accumulate(p.ravel()[order] * np.arange(p.size, 0, -1))
    return np.minimum(adjusted, 1).reshape(p.shape)


def without_each(judge: Callable[[xr.Dataset], T], dataset: xr.Dataset, dim: str = "seed") -> list[T]:
    """What a judge makes of a dataset without its first, second, ... entry along ``dim``.

    ``ValueError`` unless the dataset has this dimension with two entries or more, so that something is left.
    """
    if (n := dataset.sizes.get(dim, 0)) < 2:
        raise ValueError(f"dim must be a dimension with two entries or more, got {dim!r} of {dict(dataset.sizes)}")
    return [judge(dataset.isel({dim: np.delete(np.arange(n), i)})) for i in range(n)]


def ranks_last(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks 1, 2, ... from the smallest value; ties share their mean rank, and NaN ("never") ranks after everything else.

    Values that differ by rounding alone are ties: which of them is larger, another machine would decide anew.
    """
    ranked = _never_last(real_array("values", values)).ravel()
    order = np.argsort(ranked, kind="stable")
    rises = ~np.isclose(ranked[order[1:]], ranked[order[:-1]], rtol=ALIKE, atol=0)
    place = np.concatenate([[0], np.cumsum(rises)])[: len(order)]
    count = np.bincount(place)
    ranks = np.empty(len(order))
    ranks[order] = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks


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
    return float(np.corrcoef(first, second)[0, 1])


def rank_agreement(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's tau of two sequences, in [-1, 1]: how much oftener two entries stand in the same order in both than not.

    Equals count as neither, and NaN ranks last. ``ValueError`` unless both are one-dimensional and equally long, two or more.
    """
    a, b = real_array("x", x), real_array("y", y)
    if a.ndim != 1 or a.shape != b.shape or len(a) < 2:
        raise ValueError(f"x and y must be one-dimensional, equally long, two or more, got shapes {a.shape} and {b.shape}")
    signs = (np.sign(np.subtract.outer(ranks, ranks)) for ranks in map(ranks_last, (a, b)))
    return float(np.prod(list(signs), axis=0).sum()) / (len(a) * (len(a) - 1))


def equal_groups(values: ArrayLike, count: int) -> NDArray[np.int64]:
    """Which of so many equally large groups, in the order of the values, each belongs to; ties stay together."""
    ranks = ranks_last(values)
    return ((ranks - 0.5) * count / len(ranks)).astype(np.int64)


def share_between(values: ArrayLike, groups: ArrayLike) -> float:
    """Share of the variance of the values' ranks that lies between groups, a label a value; NaN where all values are equal."""
    ranks, labels = ranks_last(values), np.asarray(groups)
    if ranks.ndim != 1 or ranks.shape != labels.shape:
        raise ValueError(f"values and groups must be one-dimensional and equally long, got {ranks.shape} and {labels.shape}")
    _, group, count = np.unique(labels, return_inverse=True, return_counts=True)
    means, total = (np.bincount(group, ranks) / count)[group], float(((ranks - ranks.mean()) ** 2).sum())
    return float(((means - ranks.mean()) ** 2).sum()) / total if total > 0 else float("nan")


def earlier(first: ArrayLike, second: ArrayLike) -> float:
    """Probability that one of ``first`` is smaller than one of ``second``, equals counting half; NaN ("never") comes last."""
    a, b = (real_array("values", x).ravel() for x in (first, second))
    if not (len(a) and len(b)) or (np.isnan(a).all() and np.isnan(b).all()):
        return float("nan")
    a, b = _never_last(a), _never_last(b)
    later = np.greater.outer(a, b).sum() + np.equal.outer(a, b).sum() / 2  # pairs in which a is larger
    return 1 - float(later) / (len(a) * len(b))
