"""An exponential Runge-Kutta method of order four, for variables that follow a target at a rate of their own.

Row i of the state y obeys

    y_i' = r_i (target_i(s, y) - y_i)    if its rate r_i > 0: a moving average of its target
    y_i' = target_i(s, y)                if its rate is 0

The decay at rate r_i is solved exactly and the rest by the fourth-order scheme ETDRK4. With all rates zero it is the
classical Runge-Kutta method, which would be unstable as soon as rate * step > 2.8. Here the step need not be small for the
sake of an average that forgets fast: one of infinite rate equals its target.

Source: Cox & Matthews, Exponential time differencing for stiff systems, J. Comput. Phys. 176 (2002).
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from kadam.theory.arguments import Array, finite_array

Target = Callable[[float, Array, int], Array]  # (s, y, nearest whole number to s) -> targets, shaped like y
Mend = Callable[[Array, Array], Array]  # (stage, plain average) -> the stage to go on with

# Instead of an infinite rate: an average this fast differs from its target by 1e-8 of the target's change in a unit of s.
FASTEST = 1e8

# Below this |z| the phi functions are summed as series: their closed forms lose digits there, about 16 - 3 log10(1/|z|).
SERIES_BELOW = 0.5
SERIES_TERMS = 16  # the first term left out is below 0.5^16 / 16! = 1e-18


def integrate(target: Target, start: Array, rates: ArrayLike, *, steps: int, substeps: int, mend: Mend) -> Iterator[Array]:
    """The states at s = 1, 2, ..., steps, each of shape (k, d) like ``start``, the state at s = 0.

    ``rates``: shape (k,), in units of 1/s. Every unit of s is divided into ``substeps`` equal steps of the scheme, each of
    which asks for the target four times. A substep hands the target the whole number nearest to its own middle.

    Only in the scheme's last stage a past target has a weight below zero: an average of positive targets can end below zero
    there, where a target falls by a factor of thousands within a substep. ``mend(stage, average)`` may put the plain average
    of state and target in its place, which has no such weight and is of lower order.
    """
    h = 1.0 / substeps
    r = np.minimum(np.asarray(rates, dtype=np.float64), FASTEST)[:, None]
    pull = h * np.where(r > 0, r, 1.0)  # a target's weight is the rate that follows it
    one, two, three = phi(-r * h)
    decay, half_decay, whole, half = np.exp(-r * h), np.exp(-r * h / 2), pull * one, pull / 2 * phi(-r * h / 2)[0]
    first, middle, last = pull * (one - 3 * two + 4 * three), pull * (2 * two - 4 * three), pull * (4 * three - two)
    y = start
    for n in range(steps):
        for i in range(substeps):
            s, nearest = n + i * h, n + (2 * i + 1 > substeps)  # n + (i + 1/2) h, rounded
            k1 = target(s, y, nearest)
            a = half_decay * y + half * k1
            k2 = target(s + h / 2, a, nearest)
            b = half_decay * y + half * k2
            k3 = target(s + h / 2, b, nearest)
            c = mend(half_decay * a + half * (2 * k3 - k1), decay * y + whole * k3)
            k4 = target(s + h, c, nearest)
            y = decay * y + first * k1 + middle * (k2 + k3) + last * k4
        yield y


def phi(z: ArrayLike) -> tuple[Array, Array, Array]:
    """phi_1, phi_2, phi_3 at real z, phi_k(z) = sum_j z^j / (j+k)!; ``ValueError`` above z = 700, where e^z ends."""
    z = finite_array("z", z)
    if (z > 700).any():
        raise ValueError(f"z must be at most 700, got {z.max()}")
    small = np.abs(z) < SERIES_BELOW
    away = np.where(small, 1.0, z)
    one = np.where(small, _series(z * small, 1), np.expm1(away) / away)
    two = np.where(small, _series(z * small, 2), (one - 1) / away)
    three = np.where(small, _series(z * small, 3), (two - 0.5) / away)
    return one, two, three


def _series(z: Array, k: int) -> Array:
    """phi_k by Horner's rule."""
    total = np.zeros_like(z)
    for j in range(SERIES_TERMS - 1, -1, -1):
        total = 1.0 + z / (j + k + 1) * total
    for factor in range(2, k + 1):
        total = total / factor
    return total
