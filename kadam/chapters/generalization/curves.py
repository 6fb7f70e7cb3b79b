"""Pairs (beta, gamma) to compare in training: along the normal curve, where C falls, and along level curves, where C stays."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kadam.decay import Decay
from kadam.theory import stability

Array = NDArray[np.float64]

NORMAL = "normal"
ADAM = Decay(beta=0.999, gamma=0.9)  # through which the normal curve goes

# On a level curve momentum remembers 2 iterations or more, up to 100, or as far as v remembers 1000, which is Adam's.
SHORTEST, LONGEST, LONGEST_SQUARE = 2.0, 100.0, 1000.0


class Pairs(NamedTuple):
    """Equally long arrays: the curve's name, beta, gamma, and C, which on a level curve is the level itself, not rounded."""

    curve: NDArray[np.str_]
    beta: Array
    gamma: Array
    coefficient: Array


def pairs(normal: int, level: int, levels: Sequence[float]) -> Pairs:
    """``normal`` pairs of the normal curve, most stable first, then ``level`` of each level curve, shortest memory first."""
    curves = [normal_pairs(normal), *(level_pairs(C, level) for C in levels)]
    return Pairs(*(np.concatenate(parts) for parts in zip(*curves, strict=True)))


def normal_pairs(num: int) -> Pairs:
    """On the normal curve through Adam's pair: evenly spaced in gamma, but for one that has exactly equal decays."""
    beta, gamma = stability.normal_curve(beta=ADAM.beta, gamma=ADAM.gamma, num=num - 1) if num > 1 else (np.empty(0),) * 2
    equal = np.cbrt((2 * ADAM.beta**3 + ADAM.gamma**3) / 3)
    place = int(np.searchsorted(gamma, equal))
    beta, gamma = np.insert(beta, place, equal), np.insert(gamma, place, equal)
    return Pairs(np.full(num, NORMAL), beta, gamma, stability.coefficient(beta=beta, gamma=gamma))


def level_pairs(C: float, num: int) -> Pairs:
    """On a level curve of C: momenta whose memories 1/(1-gamma) are evenly spaced on a logarithmic scale."""
    steepness = C + 1 / (LONGEST_SQUARE - 1)  # 2 (1-gamma)/gamma where 1/(1-beta) is the longest
    longest = min(LONGEST, 1 + 2 / steepness) if steepness > 0 else LONGEST
    gamma = 1 - 1 / np.geomspace(SHORTEST, longest, num)
    return Pairs(np.full(num, f"C = {C:.3g}"), stability.level_curve(gamma, C=C), gamma, np.full(num, float(C)))
