"""Minutes of a GPU: slices, most telling first, each an experiment that ends in a record of its own.

A slice that learns is timed by a pilot, and its steps are cut to the time there is, never below what its criteria need. What
does not fit is left out and named. The same command goes on where the time ran out. While the first slice, which times nothing,
runs its tests, another process compiles what the later ones train.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kadam import chapters
from kadam.chapters.speed.speed.config import PROFILES as SPEED
from kadam.lab.records import files, profiles
from kadam.lab.records.cache import cache_folder
from kadam.notebooks import say

PROFILE = {"cuda": "paper", "cpu": "smoke"}  # cpu: a rehearsal
RESERVE = 15.0  # seconds for the last record, and to stop
NO_TIME = "no time was left"
# Bytes: of the largest tensor that is timed weights, gradients and moments lie there twice, under torch's fused AdamW (16 a
# weight) and with k = 8 (72 a weight); and room beside them.
LEAST_MEMORY = 88.0 * max(SPEED["paper"].sizes) + 8e9


class GPUError(ValueError):
    """The slices cannot run here, and why."""


@dataclass(frozen=True)
class Slice:
    """An experiment, what it decides, and the seconds that it is meant to have."""

    name: str
    what: str
    seconds: float


SLICES = (
    Slice("correctness", "the CUDA step passes its tests", 50),
    Slice("speed", "a step beside torch's fused AdamW and the memory's speed", 40),
    Slice("optimum", "learning rates on text, then the contest at their optima", 150),
    Slice("memory", "is it only the memory of momentum?", 50),
    Slice("growth", "growth outside the region, on fixed and on fresh batches", 50),
    Slice("cifar", "k-Adam on CIFAR-10 at full size", 50),
    Slice("training", "seconds to an accuracy on CIFAR-10, with Adam and with 2-Adam", 30),
)


@dataclass
class Budget:
    """The seconds there are, and how they are shared out among the slices that are left."""

    within: float
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.begin = self.clock()

    @property
    def left(self) -> float:
        return self.within - RESERVE - (self.clock() - self.begin)

    def share(self, these: tuple[Slice, ...]) -> float:
        """Seconds for the first of these slices: its part of what is left."""
        return self.left * these[0].seconds / sum(one.seconds for one in these)


def run(within: float, device: str, *, slices: tuple[Slice, ...] = SLICES) -> list[str]:
    """Run the slices within so many seconds; a line for each that is not done, and why. ``GPUError`` before anything starts."""
    check(device, slices)
    budget, missing = Budget(within), []
    names = [one.name for one in slices if hasattr(chapters.find(one.name).part("run"), "pilot")]
    ahead = subprocess.Popen([sys.executable, "-c", f"from kadam import gpu; gpu.compile_ahead({device!r}, {names})"])
    try:
        for i, one in enumerate(slices):
            if remark := _done(one, device, budget, slices[i:]):
                missing.append(f"{one.name} ({one.what}): {remark}")
            end(ahead, 0.1 * max(budget.left, 0.0))  # what comes next is timed
    finally:
        end(ahead, 0.0)
    return missing


def compile_ahead(device: str, names: Sequence[str]) -> None:
    """Take a few steps of everything that these experiments train, so that the compilers' caches on disk hold it."""
    for name in names:
        chapters.find(name).part("run").pilot(chapters.request(name, PROFILE[device]).config)


def end(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Wait so long at most for a process to end, and end it."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _done(one: Slice, device: str, budget: Budget, left: tuple[Slice, ...]) -> str:
    """Run a slice in the seconds that are its share of what is left; what kept it from its end, empty for nothing."""
    try:
        steps = chosen_steps(one, device, lambda: budget.share(left))
    except OutOfTime as error:
        return str(error)
    if not chapters.request(one.name, PROFILE[device], steps=steps).path.exists() and budget.left <= 0:
        return NO_TIME
    length = "" if steps is None else f", {steps:,} steps"
    say(f"{one.name}: {one.what}{length}; {max(budget.left, 0):.0f} s left")
    command = [sys.executable, "-m", "kadam", "run", one.name, "--profile", PROFILE[device], "--jobs", "1"]
    command += [] if steps is None else ["--steps", str(steps)]
    command += ["--commit"] if device == "cuda" else []
    status = within_time(command, max(budget.left, 1.0))
    return {0: "", None: "stopped, for its time was up"}.get(status, f"failed, exit status {status}")


class OutOfTime(Exception):
    """A slice cannot be long enough in the time there is."""


def chosen_steps(one: Slice, device: str, seconds: Callable[[], float]) -> int | None:
    """The steps for which there is time: those that an interrupted run began with, else by a pilot; None where they are fixed.

    ``OutOfTime`` where these are fewer than the slice's criteria need.
    """
    experiment, profile = chapters.find(one.name), PROFILE[device]
    least = takes_steps(one)
    if least is None:
        return None
    wanted = chapters.request(one.name, profile)
    kept = cache_folder() / "gpu" / wanted.path.with_suffix(".steps").name
    if kept.exists():
        return int(kept.read_text())
    if seconds() <= 0:
        raise OutOfTime(NO_TIME)
    full, least = wanted.config, min(least, wanted.config.steps)
    pilot = experiment.part("run").pilot
    most = pilot(full)
    fewest = most if least == full.steps else pilot(replace(full, steps=least))
    given = seconds()
    if given < fewest:
        raise OutOfTime(f"left out: {least:,} steps, the fewest that decide it, take {fewest:.0f} s")
    steps = full.steps if given >= most else least + int((full.steps - least) * (given - fewest) / (most - fewest))
    with files.whole_file(kept) as aside:
        aside.write_text(str(steps))
    return steps


def takes_steps(one: Slice) -> int | None:
    """The fewest steps with which its criteria mean something; None where it does not train."""
    least: int | None = getattr(chapters.find(one.name).part("config"), "LEAST", None)
    return least


def within_time(command: Sequence[str], seconds: float) -> int | None:
    """The exit status of a command, interrupted after so many seconds, for which it is None; what it has done stays done."""
    process = subprocess.Popen(command)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        end(process, RESERVE)
        return None
    finally:
        if process.poll() is None:  # this command was interrupted itself
            process.send_signal(signal.SIGTERM)
            process.wait()


def check(device: str, slices: Sequence[Slice]) -> None:
    """``GPUError`` in one line where a slice would fail for what is missing: a device, its memory, a compiler, real data."""
    if device == "cuda":
        _check_gpu()
    for one in slices if device == "cuda" else ():
        config = profiles.choose(chapters.find(one.name).part("config").PROFILES, PROFILE[device])
        data = chapters.data_of(one.name, config, fetch=True)
        if data is not None and data.stand_in:
            raise GPUError(
                f"{one.name} needs real data and found {data.label}; get it with: kadam data fetch, or make gpu-pack"
            )


def _check_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise GPUError(
            "no CUDA GPU is here, or its driver is too old for this torch; a rehearsal without one: kadam gpu --device cpu"
        )
    memory = torch.cuda.get_device_properties(0).total_memory
    if memory < LEAST_MEMORY:
        raise GPUError(f"the GPU has {memory / 1e9:.0f} GB, the slices need {LEAST_MEMORY / 1e9:.0f} GB")
    if importlib.util.find_spec("triton") is None:
        raise GPUError("Triton is not installed, with which the CUDA step is compiled; it comes with torch for Linux")
    named = os.environ.get("CC")
    if not any(map(shutil.which, [named] if named else ["gcc", "clang"])):
        there = f"at $CC, {named}" if named else "here (gcc or clang, or another that $CC names)"
        raise GPUError(f"no C compiler is {there}, which Triton needs at its first launch")
