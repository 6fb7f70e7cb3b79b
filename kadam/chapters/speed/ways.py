"""Ways to take a step of an optimizer, the networks that it is taken on, and what memory has to do with it."""

import functools
import gc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import torch
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer

from kadam.chapters.speed.speed.config import REPLAYED, TORCH
from kadam.lab.train.replay import Replay
from kadam.lab.train.stopwatch import Step
from kadam.optim import KAdam
from kadam.optim.cpu import chain_only

Shape = tuple[int, ...]

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
    return [shape for a, b in pairwise((64, 64, 64, 32, 10)) for shape in ((b, a), (b,))]


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
    replay = Replay(made.param_groups[0]["params"][0].device)

    def step() -> tuple[()]:
        with chain_only() if way == "chained" else nullcontext():
            made.step()
        return ()

    return functools.partial(replay, step) if way == REPLAYED else step


def scaling(elements: int, device: str) -> tuple[Step, float]:
    """Scaling a tensor in place, and how many such passes make ``elements``: 8 bytes an element, the least an optimizer
    can do with a number that it updates."""
    buffer = torch.ones(min(elements, LARGEST_BUFFER), device=device)
    return lambda: buffer.mul_(1.0), elements / buffer.numel()


def free() -> None:
    """Give back what is dropped: torch's fused AdamW lives on in a cycle of references, with gigabytes of a GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def peak_bytes(step: Step, device: str) -> float:
    """Memory that a step takes beyond weights, gradients and state; NaN where the system does not say.

    It is taken in a new thread, where no scratch memory of an earlier step is kept.
    """
    step()
    gc.collect()
    with ThreadPoolExecutor(1) as pool:
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            pool.submit(step).result()
            return float(torch.cuda.max_memory_allocated() - before)
        try:
            Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the largest resident size of a process so far
        except OSError:
            return float("nan")
        resident = _kilobytes("VmRSS:")
        pool.submit(step).result()
        return 1024 * (_kilobytes("VmHWM:") - resident)


def _kilobytes(name: str) -> float:
    return float(Path("/proc/self/status").read_text().split(name)[1].split()[0])
