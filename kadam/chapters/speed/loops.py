"""Timing how networks train: our loop beside a plain one, where a step's time goes, what an optimizer costs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from kadam.chapters.speed.names import PARTS
from kadam.lab.records import record as records
from kadam.lab.train import devices, stopwatch
from kadam.lab.train.training import Training

Counted = Callable[[int], object]  # something to do at step n


@dataclass(frozen=True)
class Clock:
    """How ways to do the same are timed: in paired rounds, each several times in a row; steps begin again after a limit."""

    rounds: int
    repeats: int
    limit: int
    device: str

    def seconds(self, groups: Mapping[str, Mapping[str, stopwatch.Step]]) -> NDArray[np.float64]:
        """Seconds a call, (groups, ways, rounds); all groups have the same ways."""
        steps = {f"{way} {group}": step for group, ways in groups.items() for way, step in ways.items()}
        found = stopwatch.paired(steps, rounds=self.rounds, repeats=self.repeats, device=self.device)
        return np.stack(list(found.values())).reshape(len(groups), -1, self.rounds)

    def step(self, action: Counted) -> stopwatch.Step:
        """The action at one step after the other, as something to time."""
        return repeated(action, self.limit)

    def parts(self, case: str, trainings: Mapping[str, Training]) -> xr.Dataset:
        """Seconds of each part of a step, up to its end less up to its beginning, by the cases that are so trained."""
        ends = {name: {part: self.step(until) for part, until in prefixes(one).items()} for name, one in trainings.items()}
        seconds = np.diff(self.seconds(ends), axis=1, prepend=0.0)
        return xr.Dataset({"part_s": ((case, "part", "round"), seconds)}, coords={case: list(trainings), "part": list(PARTS)})

    def costs(self, trainings: Mapping[str, Training]) -> xr.Dataset:
        """Seconds of a step and bytes of state of trainings that differ in their optimizer, whose names they go by."""
        steps = {name: self.step(one.step) for name, one in trainings.items()}
        (seconds,) = self.seconds({"": steps})
        state = [state_bytes(one) for one in trainings.values()]
        values = {"step_s": (("optimizer", "round"), seconds), "state_bytes": ("optimizer", state)}
        return xr.Dataset(values, coords={"optimizer": list(trainings)})


def repeated(action: Counted, limit: int) -> stopwatch.Step:
    """The action at step 0, 1, ..., and after the limit from 0 again."""
    n = -1

    def step() -> None:
        nonlocal n
        n = (n + 1) % limit
        action(n)

    return step


def prefixes(training: Training) -> dict[str, Counted]:
    """A step up to the end of each part."""

    def forward(n: int) -> Tensor:
        return training.loss(training.batches[n])

    def backward(n: int) -> None:
        forward(n).backward()
        training.model.zero_grad()

    ends: tuple[Counted, ...] = (training.batches.__getitem__, forward, backward, training.step)
    return dict(zip(PARTS, ends, strict=True))


def state_bytes(training: Training) -> float:
    """Bytes of the optimizer's state a byte of weights, counters left out."""
    tensors = (x for state in training.optimizer.state.values() for x in state.values())
    kept = sum(x.nbytes for x in tensors if isinstance(x, Tensor) and x.dim() > 0)
    return kept / sum(p.nbytes for p in training.params)


def device_name(name: str) -> str:
    """What computes, for people: the GPU, or one thread of the processor."""
    return devices.described(name).get("device", f"{records.device_name()}, 1 thread")


UNITS = {"part_s": "s a step", "step_s": "s a step", "state_bytes": "bytes of state a byte of weights"}
