"""The memory that a step takes for a while."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import torch

from kadam.lab.train.stopwatch import Step


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
