"""The best of several learning rates, and where between them a parabola has its minimum."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kadam.theory.arguments import array_that, real_array


class Optimum(NamedTuple):
    """The rate at which a value is smallest, that value, and whether rates on both sides were tried."""

    rate: float
    value: float
    inside: bool


def interpolated_optimum(rates: ArrayLike, values: ArrayLike) -> Optimum:
    """The minimum of the parabola in log rate through the best of the ``rates`` tried and its two neighbours, at any spacing.

    Where larger is better give the negative. Values that are not finite, of runs that diverged, are never the best; next to one
    the best rate itself is the optimum, and so it is at an end of the rates, where ``inside`` is False. Of equally good rates
    the one nearest the middle is taken, of two the smaller. ``ValueError`` unless both are one-dimensional and equally long,
    three or more, the rates positive and increasing, and one value is finite.
    """
    x, y = _log_rates(rates), real_array("values", values)
    if y.shape != x.shape or not np.isfinite(y).any():
        raise ValueError(f"values must be as many as rates, {len(x)}, one of them finite, got {values!r}")
    y = np.where(np.isfinite(y), y, np.inf)
    best = min(np.flatnonzero(y == y.min()).tolist(), key=lambda i: abs(2 * i - len(y) + 1))
    inside = 0 < best < len(y) - 1
    move, gain = _vertex(x[best - 1 : best + 2] - x[best], y[best - 1 : best + 2] - y[best]) if inside else (0.0, 0.0)
    return Optimum(float(np.asarray(rates)[best] * np.exp(move)), float(y[best] - gain), inside)


def _log_rates(rates: ArrayLike) -> NDArray[np.float64]:
    x = np.log(array_that("rates", rates, lambda x: (x > 0) & (x < np.inf), "be positive and finite;"))
    if x.ndim != 1 or len(x) < 3 or not (np.diff(x) > 0).all():
        raise ValueError(f"rates must be one-dimensional, three or more, and increasing, got {rates!r}")
    return x


def _vertex(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Where a parabola through three points, of which the middle one is (0, 0) and lowest, is smallest, and how far below 0."""
    if y.max() in (0, np.inf):
        return 0.0, 0.0
    left, right = y[0] / x[0], y[2] / x[2]  # slopes
    slope, curvature = (right * -x[0] + left * x[2]) / (x[2] - x[0]), (right - left) / (x[2] - x[0])
    return -slope / (2 * curvature), slope**2 / (4 * curvature)
