"""Adam's path and the differential equations that are set beside it."""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kadam.decay import Decay
from kadam.theory.arguments import Array
from kadam.theory.flow import Gradient, adam, adam_flow
from kadam.theory.neighbours import classical_limit, integral_model

Grads = Gradient | Sequence[Gradient]  # one for all iterations, or one an iteration

FLOWS: dict[str, Callable[..., Array]] = {
    "paper": functools.partial(adam_flow, order=1),
    "second": functools.partial(adam_flow, order=2),
    "classical": classical_limit,
}
BOTH = ("paper", "second")  # that are compared everywhere; the third only where problems are small
RACERS = FLOWS | {"integral": integral_model}  # one more, for the race


def distance(path: Array, reference: Array) -> float:
    """The largest Euclidean distance of a path from a reference over the steps, over how far the reference went."""
    return float(np.linalg.norm(path - reference, axis=1).max() / np.linalg.norm(reference - reference[0], axis=1).max())


def median_distance(path: Array, reference: Array) -> float:
    """The same weight by weight: the median of their largest gaps over the median of their largest moves.

    Weights that the reference never moves are left out.
    """
    gap, move = np.abs(path - reference).max(0), np.abs(reference - reference[0]).max(0)
    return float(np.median(gap[move > 0]) / np.median(move[move > 0]))


@dataclass(frozen=True)
class Compared:
    """Adam's path and those of some flows, each of shape (steps + 1, d), and the seconds that each took."""

    adam: Array
    flows: dict[str, Array]
    seconds: dict[str, float]

    def errors(self, measure: Callable[[Array, Array], float] = distance) -> list[float]:
        """The distance of every flow's path from Adam's."""
        return [measure(path, self.adam) for path in self.flows.values()]


def compare(
    grad: Grads, start: Array, decay: Decay, *, span: float, steps: int, substeps: int, flows: Sequence[str] = BOTH
) -> Compared:
    """Adam and some flows over one stretch of time, ``span`` = eta * steps."""
    paths, seconds = {}, {}
    for name in ("adam", *flows):
        follow = adam if name == "adam" else functools.partial(FLOWS[name], substeps=substeps)
        begin = time.perf_counter()
        paths[name] = follow(grad, start, decay=decay, eta=span / steps, steps=steps)
        seconds[name] = time.perf_counter() - begin
    return Compared(paths.pop("adam"), paths, seconds)
