"""Whether one thing goes up with another, whatever the shape of the dependence."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from kadam.theory.arguments import real_array


def ranks_last(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks 1, 2, ... from the smallest value; ties share their mean rank, and NaN ("never") ranks after everything else."""
    x = real_array("values", values)
    return np.asarray(rankdata(np.where(np.isnan(x), np.inf, x)), dtype=np.float64)


def rank_correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation of two sequences, in [-1, 1]; NaN entries rank last.

    NaN where either holds one value only: then there is no order to compare. ``ValueError`` unless both are one-dimensional and
    of the same length, two or more.
    """
    a, b = real_array("x", x), real_array("y", y)
    if a.ndim != 1 or a.shape != b.shape or len(a) < 2:
        raise ValueError(f"x and y must be one-dimensional, equally long, two or more, got shapes {a.shape} and {b.shape}")
    first, second = (ranks - ranks.mean() for ranks in (ranks_last(a), ranks_last(b)))
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / size if size > 0 else float("nan")


def share_between(values: ArrayLike, groups: ArrayLike) -> float:
    """Share of the variance of the values' ranks that lies between groups: 0 none, 1 all; NaN where all values are equal.

    ``groups``: a label a value. ``ValueError`` unless both are one-dimensional and of the same length.
    """
    ranks, labels = ranks_last(values), np.asarray(groups)
    if ranks.ndim != 1 or ranks.shape != labels.shape:
        raise ValueError(f"values and groups must be one-dimensional and equally long, got {ranks.shape} and {labels.shape}")
    means = np.zeros(len(ranks))
    for label in np.unique(labels):
        means[labels == label] = ranks[labels == label].mean()
    total = float(((ranks - ranks.mean()) ** 2).sum())
    return float(((means - ranks.mean()) ** 2).sum()) / total if total > 0 else float("nan")


def earlier(first: ArrayLike, second: ArrayLike) -> float:
    """Probability that one of ``first`` is smaller than one of ``second``, equals counting half; NaN ("never") comes last.

    NaN where there is no pair to compare, or all values are NaN.
    """
    a, b = (real_array("values", x).ravel() for x in (first, second))
    if not (len(a) and len(b)) or (np.isnan(a).all() and np.isnan(b).all()):
        return float("nan")
    a, b = (np.where(np.isnan(x), np.inf, x) for x in (a, b))
    return float((a[:, None] < b).mean() + 0.5 * (a[:, None] == b).mean())
