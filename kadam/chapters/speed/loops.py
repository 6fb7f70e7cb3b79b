"""Timing how networks train: our loop beside a plain one, where a step's time goes, what an optimizer costs."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from kadam.lab.data.sources import Described, describe
from kadam.lab.engine.sweep import captured, one_thread
from kadam.lab.records.record import device_name
from kadam.lab.train import devices, stopwatch
from kadam.lab.train.ensemble import keep_freed_memory
from kadam.lab.train.replay import Replay
from kadam.lab.train.training import Training

LOOPS = ("ours", "plain")
PARTS = ("data", "forward", "backward", "optimizer")
STRATEGY = "inverse_exp"  # whose k is varied: all strategies do the same work but meta, whose later stages have no momentum

Counted = Callable[[int], object]  # something to do at step n
Part = Callable[[Any], xr.Dataset]  # what a bench measures


class Bench:
    """Something to learn, on the device, and how that is timed: in paired rounds, each way several times in a row."""

    def __init__(self, config: Any, data: Described) -> None:
        keep_freed_memory()
        self.config, self.data, self.device = config, data, devices.chosen(config.device)

    def measured(self, parts: Sequence[Part], *named: str) -> xr.Dataset:
        """What the parts find in one thread; ``named``: fields of the configuration that the record carries as attributes."""
        with one_thread():
            found = [part(self) for part in parts]
        device = {"device": f"{device_name()}, 1 thread"} | devices.described(self.config.device)
        fields = {name: getattr(self.config, name) for name in named}
        how = captured(part.attrs for part in found)
        return xr.merge(found, join="exact").assign_attrs(**fields, **describe(self.data), **device, **how)

    def seconds(self, groups: Mapping[str, Mapping[str, stopwatch.Step]]) -> NDArray[np.float64]:
        """Seconds a call, (groups, ways, rounds); all groups have the same ways."""
        config, steps = self.config, {f"{way} {group}": step for group, ways in groups.items() for way, step in ways.items()}
        found = stopwatch.paired(steps, rounds=config.rounds, repeats=config.repeats, device=config.device)
        return np.stack(list(found.values())).reshape(len(groups), -1, config.rounds)

    def step(self, action: Counted) -> stopwatch.Step:
        """The action at one step after the other, as something to time; after the limit from the first again."""
        return repeated(action, self.config.limit)

    def parts(self, case: str, trainings: Mapping[str, Training]) -> xr.Dataset:
        """Seconds of each part of a step, up to its end less up to its beginning, by the cases that are so trained."""
        ends = {name: {part: self.step(until) for part, until in prefixes(one).items()} for name, one in trainings.items()}
        seconds = np.diff(self.seconds(ends), axis=1, prepend=0.0)
        return xr.Dataset({"part_s": ((case, "part", "round"), seconds)}, coords={case: list(trainings), "part": list(PARTS)})

    def costs(self, trainings: Mapping[str, Training]) -> xr.Dataset:
        """Seconds of a step and bytes of state of trainings that differ in their optimizer, whose names they go by."""
        (seconds,) = self.seconds({"": {name: self.step(one.step) for name, one in trainings.items()}})
        state = [state_bytes(one) for one in trainings.values()]
        values = {"step_s": (("optimizer", "round"), seconds), "state_bytes": ("optimizer", state)}
        how = captured(one.replay.described for one in trainings.values())
        return xr.Dataset(values, {"optimizer": list(trainings)}, how)


def repeated(action: Counted, limit: int) -> stopwatch.Step:
    """The action at step 0, 1, ..., and after the limit from 0 again."""
    steps = cycle(range(limit))
    return lambda: action(next(steps))


def prefixes(training: Training) -> dict[str, Counted]:
    """A step up to the end of each part, each captured as the whole step is."""
    batches, (to_loss, to_gradient) = training.batches, (Replay(training.params[0].device) for _ in range(2))

    def loss(batch: Any) -> Tensor:
        return training.loss(batch).detach()

    def gradient(batch: Any) -> Tensor:
        training.model.zero_grad()
        found = training.loss(batch)
        found.backward()
        return found.detach()

    ends = (lambda n: to_loss(loss, batches[n]), lambda n: to_gradient(gradient, batches[n]))
    return dict(zip(PARTS, (batches.__getitem__, *ends, training.step), strict=True))


def state_bytes(training: Training) -> float:
    """Bytes of the optimizer's state a byte of weights, counters left out."""
    tensors = (x for state in training.optimizer.state.values() for x in state.values())
    kept = sum(x.nbytes for x in tensors if isinstance(x, Tensor) and x.dim() > 0)
    return kept / sum(p.nbytes for p in training.params)


UNITS = {"part_s": "s a step", "step_s": "s a step", "state_bytes": "bytes of state a byte of weights"}
