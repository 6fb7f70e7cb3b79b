"""How learning rates change over the steps of a run, and at which steps values are kept."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kadam.lab.records.profiles import check_choice


@dataclass(frozen=True)
class Schedule:
    """The learning rate rises from 0 linearly over a share of the steps, then falls; lr is its peak.

    ``fall``: "linear", or "cosine" for half a period of one. ``end``: the share of the peak at which it ends.
    """

    steps: int
    warmup: float = 0.1
    fall: str = "linear"
    end: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a share of the steps in [0, 1), got {self.warmup!r}")
        check_choice("fall", self.fall, ("linear", "cosine"))
        if not 0 <= self.end <= 1:
            raise ValueError(f"end must be a share of the peak in [0, 1], got {self.end!r}")

    def __call__(self, n: int) -> float:
        """The factor at step n = 0, 1, ...; neither the first nor the last step has a rate of 0."""
        done, rise = (n + 0.5) / self.steps, self.warmup
        if done < rise:
            return done / rise
        left = (1 - done) / (1 - rise)
        falling = left if self.fall == "linear" else (1 - math.cos(math.pi * left)) / 2
        return self.end + (1 - self.end) * falling


def falling(rate: float, *, steps: int, bend: float, power: float) -> NDArray[np.float64]:
    """Learning rates rate/(1 + n/bend)^power, shape (steps,); their sum diverges for powers of at most 1."""
    return np.asarray(rate / (1 + np.arange(steps) / bend) ** power)


def kept_steps(steps: int, kept: int) -> NDArray[np.int64]:
    """At most so many of the steps 0, 1, ..., evenly spaced in logarithm, the first and the last among them."""
    return np.unique(np.round(np.geomspace(1, steps, kept)).astype(np.int64)) - 1
