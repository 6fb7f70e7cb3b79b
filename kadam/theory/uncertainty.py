"""How far a mean over a few repetitions may be off."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval, each an array without the axis of the repetitions."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def mean_interval(values: ArrayLike, *, axis: int = -1, level: float = LEVEL) -> Interval:
    """Student's interval of a mean over independent repetitions along ``axis``, such as seeds; NaN ends for one alone.

    Give differences of runs that share a seed to compare two methods: what the seed does to both then cancels. It takes the
    repetitions for normally distributed. Raises ``ValueError`` for no repetition, or a level outside (0, 1).
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim == 0 or sample.shape[axis] == 0:
        raise ValueError(f"values must hold one repetition or more along axis {axis}, got shape {sample.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level!r}")
    n, mean = sample.shape[axis], sample.mean(axis)
    if n == 1:
        return Interval(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
    reach = stats.t.ppf((1 + level) / 2, n - 1) * sample.std(axis, ddof=1) / np.sqrt(n)
    return Interval(mean, mean - reach, mean + reach)
