"""When an update is unusually large for its layer, and what made it so: the momentum or the second moment."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kadam.monitor.packet import FAINT, F, weight_of_new

Array = NDArray[np.float64]

# What is followed of a layer: logarithms of the root mean square of its updates and of that of its row with the largest.
QUANTITIES = ("update", "top")

# For each: its level, its mean distance from it, the latest step at which it was calm. For the layer (in the first row): over
# how many measurements, the step of the first, of the last, and whether an excursion is under way.
LEVELS = ("level", "swing", "calm", "count", "first", "last", "out")
L = {name: i for i, name in enumerate(LEVELS)}

FAINT_PACE = 0.02  # of a level while updates are a tenth of it, against its usual pace

# An alarm is so many mean distances from the level; of independent Gaussian numbers this is four standard deviations.
SWINGS = 5.0


@dataclass(frozen=True)
class Event:
    """One unusually large update of one layer."""

    step: int  # that the layer had made
    name: str  # of the parameter
    cause: str  # in words, beginning with "momentum" or "second moment"
    factor: float  # by which the update was larger than its running level
    since: int  # the step after which it began: the last calm one, or the last before a silence
    row: int | None = None  # along the first dimension, where one row stood out

    @property
    def kind(self) -> str:
        """``momentum`` or ``second moment``."""
        return "second moment" if self.cause.startswith("second moment") else "momentum"

    def __str__(self) -> str:
        where = self.name if self.row is None else f"{self.name}, row {self.row}"
        size = f"updates {self.factor:.3g} times their level"
        return f"step {self.step}: {where}: {size}; {self.cause} (since step {self.since})"


def fresh_levels() -> Array:
    """(2, 7)"""
    levels = np.zeros((len(QUANTITIES), len(LEVELS)))
    levels[:, L["first"]] = levels[:, L["last"]] = levels[:, L["calm"]] = -1
    return levels


@dataclass(frozen=True)
class Rule:
    """When an update is unusual."""

    threshold: float  # times its level
    memory: float  # steps over which a level is averaged
    settle: float  # steps of a layer before its first alarm
    every: int  # steps between measurements

    @property
    def rate(self) -> float:
        return min(self.every / self.memory, 0.25)

    def judged(self, packet: Array, levels: Array) -> tuple[list[tuple[int, dict[str, Any]]], Array]:
        """Which layers have an event, and what is known of it; and the levels with this measurement.

        ``packet``: (layers, fields); ``levels``: (layers, 2, 7). A layer that was not measured, or not stepped since the last
        measurement, stays as it is.
        """
        x, step = _followed(packet), packet[:, F["step"]]
        first, count, out = levels[:, 0, L["first"]], levels[:, 0, L["count"]], levels[:, 0, L["out"]]
        silent = (packet[:, F["silent"]] >= packet[:, F["size"]]) | ~np.isfinite(x).all(1)
        new = (packet[:, F["size"]] > 0) & (step != levels[:, 0, L["last"]])
        known = count > 0
        level, swing, calm = (levels[:, :, L[name]] for name in ("level", "swing", "calm"))
        width = np.maximum(math.log(self.threshold), SWINGS * swing)
        with np.errstate(invalid="ignore"):
            change = np.where(known[:, None] & ~np.isnan(x), x - level, 0.0).clip(-50.0, 50.0)
        high = change > width
        settled = new & (step - first >= self.settle) & (count >= 10)
        fires = settled & high.any(1) & (out == 0)
        found = [(i, self._facts(packet[i], change[i], width[i], calm[i])) for i in map(int, np.flatnonzero(fires))]

        mid = (change > width / 2).any(1)
        after = levels.copy()
        after[:, :, L["level"]], after[:, :, L["swing"]] = self._moved(x, silent, change, level, swing, count)
        after[:, :, L["calm"]] = np.where(change > width / 2, calm, step[:, None])
        after[:, 0, L["out"]] = np.where(high.any(1) & settled, 1.0, np.where(mid, out, 0.0))
        after[:, 0, L["count"]], after[:, 0, L["last"]] = count + ~silent, step
        after[:, 0, L["first"]] = np.where(known, first, step)
        return found, np.where(new[:, None, None], after, levels)

    def _moved(
        self, x: Array, silent: NDArray[np.bool_], change: Array, level: Array, swing: Array, count: Array
    ) -> tuple[Array, Array]:
        """Levels and swings: still in a silence, slow while the layer is faint, never by more than a threshold at once."""
        faint = change[:, 0] < -FAINT
        weight = np.where(silent, 0.0, weight_of_new(count, self.rate))[:, None] * np.ones(len(QUANTITIES))
        weight[faint & ~silent] = FAINT_PACE * self.rate
        most = math.log(self.threshold)
        clipped = change.clip(-most, most)
        started = ((count == 0) & ~silent)[:, None]
        moved = np.where(started, np.where(np.isfinite(x), x, 0.0), level + weight * clipped)
        return moved, swing + weight * (np.abs(clipped) - swing)

    def _facts(self, numbers: Array, change: Array, width: Array, calm: Array) -> dict[str, Any]:
        """Of the event in one layer: of its row with the largest update if that is most of it, or the layer is still calm."""
        share = numbers[F["top"]] * numbers[F["size"]] / numbers[F["rows"]] / numbers[F["update"]]
        whole, fired = bool(change[0] > width[0] / 2 and share < 0.5), 0 if change[0] > width[0] else 1
        if whole:
            grown, fallen = (numbers[F[name]] / numbers[F["update"]] for name in ("grown", "fallen"))
        else:
            grown, fallen = numbers[F["top_grown"]], numbers[F["top_fallen"]]
        decayed, silence = bool(fallen > grown), numbers[F["top_since"]]
        since = silence if decayed and silence >= 0 else calm[fired]
        return {
            "step": int(numbers[F["step"]]),
            "cause": _words(decayed, math.exp(min(grown, 50.0)), math.exp(max(-fallen, -50.0))),
            "factor": math.exp(change[fired]),
            "since": int(max(since, 0)),
            "row": int(numbers[F["top_row"]]) if not whole and numbers[F["top_row"]] >= 0 else None,
        }


def _followed(packet: Array) -> Array:
    """(layers, 2): the logarithms; -inf of zero."""
    size = np.maximum(packet[:, F["size"]], 1.0)
    squares = packet[:, F["update"]] / size, packet[:, F["top"]]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.stack(squares, 1)) / 2


def _words(decayed: bool, momentum: float, root: float) -> str:
    if decayed:
        return f"second moment decayed: its root is {root:.2g} times its usual size, the momentum {momentum:.2g} times"
    return f"momentum lined up: it is {momentum:.2g} times its usual size, the root of the second moment {root:.2g} times"
