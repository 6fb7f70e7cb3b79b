"""Steps of a run: learning rates that fall with them, and those at which values are kept."""

import numpy as np
from numpy.typing import NDArray


def falling(rate: float, *, steps: int, bend: float, power: float) -> NDArray[np.float64]:
    """Learning rates rate/(1 + n/bend)^power, shape (steps,); their sum diverges for powers of at most 1."""
    return np.asarray(rate / (1 + np.arange(steps) / bend) ** power)


def kept_steps(steps: int, kept: int) -> NDArray[np.int64]:
    """At most so many of the steps 0, 1, ..., evenly spaced in logarithm, the first and the last among them."""
    return np.unique(np.round(np.geomspace(1, steps, kept)).astype(np.int64)) - 1
