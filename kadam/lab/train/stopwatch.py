"""Measuring optimizers side by side: one timer, paired rounds, the bandwidth of this machine, the memory of a step."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer

from kadam.optim import KAdam
from kadam.optim.cpu import chain_only

Shape = tuple[int, ...]
Step = Callable[[], object]
R = TypeVar("R")

# Elements scaled at once when the bandwidth is measured: far more than any cache holds.
LARGEST_BUFFER = 200_000_000


def resnet18() -> list[Shape]:
    """The shapes of ResNet-18's 62 parameters for 1000 classes (He et al. 2016): 11,689,512 numbers."""

    def norm(width: int) -> list[Shape]:
        return [(width,), (width,)]

    shapes: list[Shape] = [(64, 3, 7, 7), *norm(64)]
    before = 64
    for width in (64, 128, 256, 512):
        for block in range(2):
            shapes += [(width, before, 3, 3), *norm(width), (width, width, 3, 3), *norm(width)]
            if block == 0 and width != before:
                shapes += [(width, before, 1, 1), *norm(width)]
            before = width
    return [*shapes, (1000, 512), (1000,)]


def tiny_network() -> list[Shape]:
    """The shapes of a four-layer perceptron, 64-64-64-32-10: 8 parameters, 10,730 numbers."""
    widths = (64, 64, 64, 32, 10)
    return [shape for a, b in pairwise(widths) for shape in ((b, a), (b,))]


# Ways to take a step: torch's AdamW and KAdam's paths. "chained" is the fused CPU path without numba.
TORCH = ("torch fused", "torch foreach")
PATHS = ("foreach", "chained", "fused")


def optimizer(way: str, k: int, shapes: Sequence[Shape], device: str) -> Optimizer:
    """An optimizer over float32 parameters of these shapes, with gradients."""
    params = [Parameter(torch.randn(shape, device=device)) for shape in shapes]
    for p in params:
        p.grad = torch.randn_like(p)
    if way in TORCH:
        return AdamW(params, fused=way == "torch fused", foreach=way == "torch foreach")
    return KAdam(params, k=k, weight_decay=0.01, fused=way != "foreach", foreach=way == "foreach")


def step_of(way: str, made: Optimizer) -> Step:
    """Its step, under the circumstances in which this way is what its name says."""

    def step() -> None:
        with chain_only() if way == "chained" else nullcontext():
            made.step()

    return step


def scaling(elements: int, device: str) -> tuple[Step, float]:
    """Scaling a tensor in place, and how many such passes make ``elements``: 8 bytes an element, the least an optimizer
    can do with a number that it updates."""
    buffer = torch.ones(min(elements, LARGEST_BUFFER), device=device)
    return lambda: buffer.mul_(1.0), elements / buffer.numel()


def timed(action: Callable[[], R], *, repeats: int = 1, device: str | torch.device = "cpu") -> tuple[R, float]:
    """What the last of ``repeats`` calls in a row returns, and the seconds a call took.

    The clock starts when the device has done what was asked of it before, and stops when it has done what the calls asked.
    ``ValueError`` for no call.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    wait(device)
    begin = time.perf_counter()
    for _ in range(repeats):
        result = action()
    wait(device)
    return result, (time.perf_counter() - begin) / repeats


def seconds(action: Callable[[], object], *, repeats: int = 1, device: str | torch.device = "cpu") -> float:
    """The seconds alone of :func:`timed`."""
    return timed(action, repeats=repeats, device=device)[1]


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


def peak_bytes(step: Step, device: str) -> float:
    """Memory that a step takes beyond weights, gradients and state; NaN where the system does not say.

    It is taken in a new thread, where no scratch memory of an earlier step is kept.
    """
    step()
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _in_new_thread(step)
        return float(torch.cuda.max_memory_allocated() - before)
    with _fresh_peak() as peak:
        _in_new_thread(step)
    return peak()


def _in_new_thread(step: Step) -> None:
    thread = Thread(target=step)
    thread.start()
    thread.join()


@contextmanager
def _fresh_peak() -> Iterator[Callable[[], float]]:
    """Linux counts the largest resident size of a process, and forgets it when asked to."""
    status, forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def kilobytes(name: str) -> float:
        return float(status.read_text().split(name)[1].split()[0])

    try:
        forget.write_text("5")
        before = kilobytes("VmRSS:")
    except OSError:
        yield lambda: float("nan")
        return
    yield lambda: 1024 * (kilobytes("VmHWM:") - before)
