"""Plans past one machine, as arithmetic on measured numbers: what many runs cost, which limit binds, what k-Adam keeps.

A *run* is one member of a sweep, trained to its end: one network with its seed and its decays. A *task* is what the engine
hands out: a piece of one run or more that train side by side. Times are in seconds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from kadam.report.ledger import record_name

GIGA = 1e9

# An H100 (SXM) as its maker describes it (NVIDIA's data sheet, nvidia2023h100): nothing of it was measured here.
H100_BANDWIDTH = 3.35e12  # bytes a second
H100_FLOPS = 989e12  # bfloat16 a second, dense
H100_MEMORY = 80e9  # bytes

# Work of one parameter for one token, forward and backward (kaplan2020scaling).
FLOPS_A_TOKEN = 6


# How many runs the record of an experiment holds.
COUNTED: dict[str, Callable[[xr.Dataset], int]] = {
    "growth": lambda record: int(record.slope.notnull().sum()),  # setting, seed, pair of decays
    "invariance": lambda record: 2 * record.rotation.isel(weight=0).size,  # language and images; setting, seed, decays
    "meta": lambda record: record.loss.size + record.network_loss.size,  # change, seed, rule; network, seed, learning rate
}


@dataclass(frozen=True)
class Runs:
    """What the runs of one experiment took, all processes together."""

    experiment: str
    record: str  # its name
    count: int
    seconds: float  # a run, in one thread
    size: float  # bytes of the record a run


def runs(record: xr.Dataset, folder: Path) -> Runs:
    """From an experiment's record and the folder that holds its file."""
    experiment, name = str(record.attrs["experiment"]), record_name(record)
    count = COUNTED[experiment](record)
    size = (folder / f"{name}.nc").stat().st_size
    return Runs(experiment, name, count, float(record.attrs["computed_s"]) / count, size / count)


def elapsed(number: int, seconds: float, workers: int, overhead: float, *, together: int = 1) -> float:
    """From start to end of so many runs of so many seconds each, ``together`` of them in a task.

    All ``workers`` take a task each until none is left, and the last ones wait for the last task; meanwhile the engine spends
    ``overhead`` on one task after another. Whichever takes longer decides.
    """
    tasks = math.ceil(number / together)
    return max(math.ceil(tasks / workers) * together * seconds, tasks * overhead)


def most_workers(seconds: Any, overhead: float, *, together: int = 1) -> Any:
    """How many workers can be kept busy by something that spends ``overhead`` on every task of ``together`` runs."""
    return seconds * together / overhead


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """How much y grows by x from the first to the last."""
    return (y[-1] - y[0]) / (x[-1] - x[0])


def commits(number: int, first: float, each: float) -> float:
    """Seconds to commit so many records one after another: ``first`` the first, and ``each`` more for every one listed."""
    return number * first + each * number * (number - 1) / 2


@dataclass(frozen=True)
class Precision:
    """Bytes of a number in weights and gradients, and in k-Adam's moments."""

    weight: int
    state: int

    def kept(self, k: int) -> int:
        """Bytes a parameter that stay from step to step: its weight, its gradient, and 2k moments."""
        return 2 * self.weight + 2 * k * self.state

    def moved(self, k: int) -> int:
        """Bytes a parameter that a step reads and writes: 3 + 4k numbers."""
        return 3 * self.weight + 4 * k * self.state


# FULL and WEIGHTS are what KAdam does with float32 and bfloat16 parameters; HALF it does not do.
FULL, WEIGHTS, HALF = Precision(4, 4), Precision(2, 4), Precision(2, 2)
PRECISIONS = {"float32": FULL, "bfloat16 weights": WEIGHTS, "bfloat16 weights and state": HALF}


def a_gpu(parameters: float, k: int, precision: Precision, gpus: int) -> float:
    """Bytes of weights, gradients and state on one of so many GPUs that share them out (FSDP)."""
    return parameters * precision.kept(k) / gpus


def fewest_gpus(parameters: float, k: int, precision: Precision, memory: float = H100_MEMORY) -> int:
    """The smallest number of GPUs that hold weights, gradients and state; activations and buffers come on top."""
    return math.ceil(parameters * precision.kept(k) / memory)


def step_seconds(parameters: float, k: int, precision: Precision, bandwidth: float, *, gpus: int = 1) -> float:
    """Seconds of an optimizer's step that moves its bytes at this bandwidth on each of so many GPUs."""
    return parameters / gpus * precision.moved(k) / bandwidth


def optimizers_share(tokens: Any, k: int, precision: Precision, bandwidth: float, flops: float) -> Any:
    """The optimizer's share of a training step, by the tokens that one copy of the state serves in a step.

    With FSDP there is one copy for all GPUs, and ``tokens`` are all of the step's; where every GPU has its own copy, they
    are that GPU's. The size of the network and the number of GPUs cancel.
    """
    moving, computing = precision.moved(k) / bandwidth, FLOPS_A_TOKEN * tokens / flops
    return moving / (moving + computing)


def tokens_at_share(share: float, k: int, precision: Precision, bandwidth: float, flops: float) -> float:
    """The tokens a step at which the optimizer takes this share of it."""
    return precision.moved(k) / bandwidth * flops / FLOPS_A_TOKEN * (1 / share - 1)


def bandwidth(speed: xr.Dataset, case: str = "100M", k: int = 2) -> float:
    """Bytes a second of a record of speed: the median way to scale in place what a step of k stages moves."""
    seconds = float(speed.seconds.sel(case=case, way="scaling in place", k=k).median("round"))
    return float(speed.numbers.sel(case=case)) * FULL.moved(k) / seconds
