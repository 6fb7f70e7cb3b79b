"""Timing ways to do the same side by side, in paired rounds."""

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

Step = Callable[[], object]


def paired(steps: Mapping[str, Step], *, rounds: int, repeats: int, device: str) -> dict[str, NDArray[np.float64]]:
    """Seconds a call, one value a round. In every round each is timed once, one after the other: on a machine whose
    speed drifts only ratios within a round are safe. A first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            seconds[name].append(_seconds(step, repeats, device))
    return {name: np.array(values[1:]) for name, values in seconds.items()}


def _seconds(step: Step, repeats: int, device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    _wait(device)
    return (time.perf_counter() - start) / repeats


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
