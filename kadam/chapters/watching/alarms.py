"""When is the loss up, and when does a number of the training stand out? Rules for series with a number for every step."""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Of healthy training on seeds 0 to 2 no loss lay so far above the usual one; and one step is enough, for a row of a rare
# character that was moved far away hurts only the batches that hold the character.
SPREADS = 6.0
APART = 100  # steps within which it is one spike or one alarm, and for which an alarm holds

GAUSSIAN = 0.6745  # median distance of normal numbers from their median, in standard deviations


def spikes(loss: Array, *, window: int, ignored: Sequence[int] = ()) -> Flags:
    """The steps at which the loss begins to be up; both (..., steps).

    The loss of a step is up if it lies ``SPREADS`` times the usual spread above the usual loss: the median, and the median
    distance from it as a standard deviation, over the ``window`` steps before. A spike begins where it is up for the first time
    in ``APART`` steps. The first ``window`` steps have none. The losses of ``ignored`` steps are replaced by that of the step
    before them: a bad batch's says nothing of the weights. What is not a number is up.
    """
    loss = loss.copy()
    for step in ignored:
        loss[..., step] = loss[..., step - 1]
    middle, spread = usual(loss, window=window)
    up = ~(loss <= middle + SPREADS * spread)
    up[..., :window] = False
    return up & ~recent(up)


def usual(loss: Array, *, window: int) -> tuple[Array, Array]:
    """The usual loss and the usual spread before each step, both (..., steps); NaN in the first ``window`` steps."""
    runs = np.ascontiguousarray(loss).reshape(-1, loss.shape[-1])
    found = np.stack([_usual(run.tobytes(), run.dtype.str, window) for run in runs], 1)
    middle, spread = found.reshape(2, *loss.shape)
    return middle, spread


@functools.lru_cache(maxsize=2**12)  # a record is judged again without each of its seeds: the other runs are as they were
def _usual(loss: bytes, kind: str, window: int) -> Array:
    run = np.frombuffer(loss, kind)
    before = sliding_window_view(run[:-1], window)
    middle = np.median(before, -1)
    spread = np.median(abs(before - middle[:, None]), -1) / GAUSSIAN
    first = np.full(window, np.nan, run.dtype)
    return np.stack([np.concatenate([first, middle]), np.concatenate([first, spread])])


def recent(flags: Flags) -> Flags:
    """Whether there was one in the ``APART`` steps before each step; (..., steps)."""
    count = np.concatenate([np.zeros((*flags.shape[:-1], APART + 1), int), flags.cumsum(-1)], -1)
    return count[..., APART : APART + flags.shape[-1]] > count[..., : flags.shape[-1]]


def alarms(series: Array, factor: float | Array, *, memory: float, settle: int) -> Flags:
    """The steps at which a series, (..., steps), rises above ``factor`` times its running level.

    Of several factors, (many, 1 ...), all at once: (many, ..., steps).

    As in the monitor: the level is a geometric mean, at first over all steps and then with a ``memory`` of so many, which one
    step pulls by no more than the factor; there is no alarm before step ``settle``, and no second one before the series
    was down to the root of the factor.
    """
    most = np.log(factor)
    found = np.zeros((*np.broadcast_shapes(np.shape(factor), series.shape[:-1]), series.shape[-1]), bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.nan_to_num(np.log(series), nan=50.0, posinf=50.0, neginf=-50.0)
    level, out = np.broadcast_to(x[..., 0], found.shape[:-1]).copy(), np.zeros(found.shape[:-1], bool)
    for n in range(1, x.shape[-1]):
        change = x[..., n] - level
        high = (change > most) & (n >= settle)
        found[..., n] = high & ~out
        out = high | (out & (change > most / 2))
        level += max(1 / (n + 1), 1 / memory) * change.clip(-most, most)
    return found


def counted(flags: Flags) -> Flags:
    """Those of alarms that count: not those in the ``APART`` steps after one that does; (..., steps)."""
    kept, last = np.zeros(flags.shape, bool), np.full(flags.shape[:-1], -np.inf)
    for n in range(flags.shape[-1]):
        kept[..., n] = flags[..., n] & (n > last + APART)
        last = np.where(kept[..., n], n, last)
    return kept


def leads(flags: Flags, begins: Flags) -> Array:
    """How many steps before each spike the first alarm came, of the ``APART`` steps before it; NaN without one or a spike."""
    found = np.full(begins.shape, np.nan)
    for place in np.argwhere(begins):
        *which, step = place
        before = flags[(*which, slice(max(step - APART, 0), step))]
        if before.any():
            found[tuple(place)] = len(before) - before.argmax()
    return found


def false(flags: Flags, begins: Flags) -> Flags:
    """Those that count of the alarms with no spike in the ``APART`` steps before or after them."""
    near = recent(begins) | begins | recent(begins[..., ::-1])[..., ::-1]
    return counted(flags) & ~near
