"""The one timer of the package, which waits for the device; and timing ways to do the same side by side, in paired rounds."""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Step = Callable[[], object]
R = TypeVar("R")


def timed(action: Callable[[], R], *, repeats: int = 1, device: str | torch.device = "cpu") -> tuple[R, float]:
    """What the last of ``repeats`` calls in a row returns, and the seconds a call took, the device's included."""
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    wait(device)
    passed = _started(device)
    for _ in range(repeats):
        result = action()
    return result, passed() / repeats


def seconds(action: Callable[[], object], *, repeats: int = 1, device: str | torch.device = "cpu") -> float:
    """The seconds alone of :func:`timed`."""
    return timed(action, repeats=repeats, device=device)[1]


def host_seconds(action: Callable[[], object], *, repeats: int, device: str) -> float:
    """The seconds that a call takes of the host alone, which goes on before a GPU is done."""
    wait(device)
    begin = time.perf_counter()
    for _ in range(repeats):
        action()
    found = (time.perf_counter() - begin) / repeats
    wait(device)
    return found


def _started(device: str | torch.device) -> Callable[[], float]:
    """A watch that runs from now on: the seconds until the device has done what it is then asked for. A GPU has its own."""
    if torch.device(device).type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record(torch.cuda.current_stream(device))

        def passed_there() -> float:
            end.record(torch.cuda.current_stream(device))
            end.synchronize()
            return float(begin.elapsed_time(end)) / 1000

        return passed_there
    start = time.perf_counter()

    def passed() -> float:
        wait(device)
        return time.perf_counter() - start

    return passed


def wait(device: str | torch.device) -> None:
    """Until the device has done what was asked of it: a GPU still computes when Python has gone on."""
    match torch.device(device).type:
        case "cuda":
            torch.cuda.synchronize(device)
        case "mps":
            torch.mps.synchronize()


def paired(steps: Mapping[str, Step], *, rounds: int, repeats: int, device: str) -> dict[str, NDArray[np.float64]]:
    """Seconds a call, one value a round. In every round each is timed once, one after the other: on a machine whose
    speed drifts only ratios within a round are safe. A first round is not counted."""
    all_rounds = [[seconds(step, repeats=repeats, device=device) for step in steps.values()] for _ in range(rounds + 1)]
    return dict(zip(steps, np.array(all_rounds[1:]).T, strict=True))
