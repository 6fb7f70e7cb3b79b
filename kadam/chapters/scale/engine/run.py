"""What the engine under the sweeps costs: seconds a task, a record and a commit; and what a second moment in bfloat16 loses.

Like :mod:`kadam.chapters.speed.speed.run` this one measures a machine, and its disk. It runs only when asked (``kadam bench engine``).
The tasks are empty, so that nothing but the engine is measured. Everything is written where records lie, in the cache.
"""

import io
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from kadam.lab.engine import cluster
from kadam.lab.engine.progress import Progress, noted
from kadam.lab.engine.sweep import sweep
from kadam.lab.records import committed as results
from kadam.lab.records import record as records
from kadam.lab.records.cache import cache_folder
from kadam.lab.records.profiles import check_counts
from kadam.report.ledger import NOT_RUN, Claim, Finding, Test, judge_all, passes, passes_each

NOTEBOOK = "12-scale"

WAYS = ("here", "processes", "dask")  # where tasks go: this process, processes of joblib, workers of a Dask cluster
KEEPING = ("nothing", "each result")  # what a sweep writes: with a checkpoint, a record a task

# What second moments average: ones, squares of normal numbers, or nothing after having been one.
GRADIENTS = ("constant", "noise", "silent")
ROUNDINGS = ("float32", "bfloat16, nearest", "bfloat16, stochastic")
KEPT_STEPS = 100


@dataclass(frozen=True)
class Config:
    """What is measured; the defaults are the laptop profile."""

    tasks: tuple[int, ...] = (100, 1_000, 10_000)  # in one sweep
    workers: int = 2  # processes, and workers of the Dask cluster
    dask: bool = True  # whether a cluster is started; without Dask there is none either
    rounds: int = 3
    # Tasks that all rounds together may have: a long sweep is measured less often, and not at all if it is longer.
    most: int = 10_000  # where nothing is kept
    most_kept: int = 1_000  # where each result is written: a hundredth of a second a task
    numbers: tuple[int, ...] = (128, 12_800, 131_072)  # float64 numbers in a record: 1 kB, 100 kB, 1 MB
    saves: int = 15  # of each size
    listed: tuple[int, ...] = (1, 10, 100, 1_000, 10_000)  # other records that the manifest lists
    commits: int = 15  # with each manifest
    decays: tuple[float, ...] = (0.95, 0.99, 0.999)  # beta2 of the moments in bfloat16
    moments: int = 1_000  # moments that are averaged over
    moment_steps: int = 5_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self, "workers", "rounds", "most", "most_kept", "saves", "commits", "moments", "moment_steps")
        for name, values in (("tasks", self.tasks), ("numbers", self.numbers), ("listed", self.listed)):
            if not values or min(values) < 1:
                raise ValueError(f"{name} must hold one whole number >= 1 or more, got {values!r}")
        if not self.decays or not all(0 <= decay < 1 for decay in self.decays):
            raise ValueError(f"decays must hold one number in [0, 1) or more, got {self.decays!r}")


PROFILES = {
    "smoke": Config(
        tasks=(4, 16),
        dask=False,  # its workers take longer to start than this profile has
        rounds=2,
        most=32,
        most_kept=32,
        numbers=(128,),
        saves=2,
        listed=(1, 100),
        commits=2,
        moments=10,
        moment_steps=100,
    ),
    "laptop": Config(),
    "paper": Config(most=30_000, most_kept=30_000),  # about half an hour
}


@records.recorded("engine", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Seconds of sweeps of empty tasks (NaN where not measured), of records and of commits; moments in bfloat16."""
    load = os.getloadavg()[0]
    parts = (_sweeps, _records, _asking, _commits, _moments)
    dataset = xr.merge([part(config) for part in parts])
    dataset.attrs = {
        "workers": config.workers,
        "load_before": round(load, 2),  # processes that wanted to run in the minute before: 0 on an idle machine
        "data": "none: empty tasks",
        "data_sha256": "",
        "data_origin": "none",
    }
    return records.with_units(dataset, UNITS)


UNITS = {
    "content": "bytes of numbers",
    "seconds": "s, of a whole sweep",
    "save": "s",
    "read": "s",
    "file_bytes": "bytes",
    "ask": "s",
    "commit": "s",
    "manifest_bytes": "bytes",
    "moment": "mean of v",
}


def empty(piece: str, progress: Progress) -> xr.Dataset:
    """A task that does nothing."""
    progress.tick()
    return xr.Dataset({"nothing": ((), 0.0)})


def ways(config: Config) -> Iterator[str]:
    """The ways that can be measured here."""
    for way in WAYS:
        if way != "dask" or (config.dask and find_spec("distributed") is not None):
            yield way


def rounds(config: Config, tasks: int, keeping: str) -> int:
    """How often a sweep is measured: 0 where it is too long."""
    return min(config.rounds, (config.most if keeping == "nothing" else config.most_kept) // tasks)


def _sweeps(config: Config) -> xr.Dataset:
    coords = {"way": list(WAYS), "keeping": list(KEEPING), "tasks": list(config.tasks)}
    blank = np.full((len(WAYS), len(KEEPING), len(config.tasks), config.rounds), np.nan)
    seconds = xr.DataArray(blank, dims=(*coords, "round"), coords=coords)
    parts = [(n, keeping, i) for n in config.tasks for keeping in KEEPING for i in range(rounds(config, n, keeping))]
    total = sum(n for n, _, _ in parts) * len(list(ways(config)))
    with tqdm(total=total, desc="engine", unit="task", disable=None) as bar:
        for way in ways(config):
            with _workers(config, way):
                _sweep_s(config, way, 2 * config.workers, "nothing")  # processes start, and import what they need
                for n, keeping, i in parts:
                    place = {"way": way, "keeping": keeping, "tasks": n, "round": i}
                    seconds.loc[place] = _sweep_s(config, way, n, keeping)
                    bar.update(n)
    return xr.Dataset({"seconds": seconds})


def _workers(config: Config, way: str) -> AbstractContextManager[None]:
    return cluster.local(config.workers) if way == "dask" else nullcontext()


def _sweep_s(config: Config, way: str, tasks: int, keeping: str) -> float:
    """Seconds of one sweep. Its own bar is not drawn: that would be measured too, where a terminal shows it."""
    pieces = [str(i) for i in range(tasks)]
    jobs = config.workers if way == "processes" else 1
    with _folder() as folder, redirect_stderr(io.StringIO()):
        checkpoint = folder if keeping == "each result" else None
        begin = time.perf_counter()
        found = sweep(pieces, empty, steps=1, title=way, checkpoint=checkpoint, jobs=jobs)
        end = time.perf_counter()
    assert len(found) == tasks
    return end - begin


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder on the disk that records lie on, removed afterwards."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="engine-", dir=cache_folder()) as name:
        yield Path(name)


def _timed(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def _record(config: Config, numbers: int) -> xr.Dataset:
    """A record of so many numbers, no two alike, so that compression finds nothing."""
    values = np.random.default_rng(config.seed).standard_normal(numbers)
    return xr.Dataset({"x": ("i", values)}, attrs=records.provenance("engine", "custom", config, 0.0))


def _records(config: Config) -> xr.Dataset:
    """Seconds to save and to read a record by the bytes of its numbers; what is read was just written."""
    shape = (len(config.numbers), config.saves)
    save, read, size = np.empty(shape), np.empty(shape), np.empty(len(config.numbers))
    with _folder() as folder:
        path = folder / "record.nc"
        for i, numbers in enumerate(tqdm(config.numbers, desc="records", unit="size", disable=None)):
            record = _record(config, numbers)
            for j in range(config.saves):
                save[i, j] = _timed(lambda record=record: records.save(record, path))  # type: ignore[misc]
                read[i, j] = _timed(lambda: records.read(path, command="the same again"))
            size[i] = path.stat().st_size
    data = {"save": (("content", "saved"), save), "read": (("content", "saved"), read), "file_bytes": ("content", size)}
    return xr.Dataset(data, coords={"content": [8 * n for n in config.numbers]})


def _asking(config: Config) -> xr.Dataset:
    """Seconds to look for a file that is not there, as the bar looks for a note of every task once a second."""
    with _folder() as folder:
        paths = [folder / str(i) for i in range(1_000)]
        seconds = [_timed(lambda: [noted(path) for path in paths]) / len(paths) for _ in range(config.rounds)]
    return xr.Dataset({"ask": ("round", seconds)})


def _commits(config: Config) -> xr.Dataset:
    """Seconds to commit a small record, and the manifest's bytes, by how many other records the manifest lists."""
    seconds, size = np.empty((len(config.listed), config.commits)), np.empty(len(config.listed))
    record = _record(config, min(config.numbers))
    for i, listed in enumerate(tqdm(config.listed, desc="commits", unit="manifest", disable=None)):
        with _folder() as folder:
            manifest = folder / results.MANIFEST
            manifest.write_text(json.dumps({f"other/laptop-{j:08x}.nc": f"{j:064x}" for j in range(listed)}, indent=2) + "\n")
            size[i] = manifest.stat().st_size
            for j in range(config.commits):
                seconds[i, j] = _timed(lambda folder=folder: results.commit(record, folder))  # type: ignore[misc]
    data = {"commit": (("listed", "committed"), seconds), "manifest_bytes": ("listed", size)}
    return xr.Dataset(data, coords={"listed": list(config.listed)})


def _moments(config: Config) -> xr.Dataset:
    """The mean of v over time, by decay, gradients and how v is rounded after a step that is computed in float32."""
    steps = np.unique(np.linspace(1, config.moment_steps, KEPT_STEPS, dtype=int))
    means = np.stack([_averaged(config, rounding, steps) for rounding in ROUNDINGS])
    coords = {"rounding": list(ROUNDINGS), "moment_step": steps, "beta2": list(config.decays), "gradients": list(GRADIENTS)}
    return xr.Dataset({"moment": (tuple(coords), means)}, coords=coords)


def _averaged(config: Config, rounding: str, kept: np.ndarray) -> np.ndarray:
    """Means of shape (kept, beta2, gradients)."""
    draws, bits = (torch.Generator().manual_seed(config.seed + i) for i in range(2))
    beta2 = torch.tensor(config.decays)[:, None, None]
    v = torch.tensor([0.0, 0.0, 1.0])[:, None] * torch.ones(len(config.decays), 1, config.moments)
    squares, means = torch.tensor([1.0, 0.0, 0.0])[:, None] * torch.ones(config.moments), []
    for step in range(1, config.moment_steps + 1):
        squares[GRADIENTS.index("noise")] = torch.randn(config.moments, generator=draws).square()
        v = rounded(beta2 * v + (1 - beta2) * squares, rounding, bits)
        if step in kept:
            means.append(v.mean(-1).numpy())
    return np.stack(means)


def rounded(x: torch.Tensor, rounding: str, generator: torch.Generator) -> torch.Tensor:
    """Numbers of float32 as bfloat16 holds them: the nearest, or one of the two around it, the likelier the nearer."""
    if rounding == "float32":
        return x
    if rounding == "bfloat16, nearest":
        return x.bfloat16().float()
    below = torch.randint(2**16, x.shape, dtype=torch.int32, generator=generator)  # bfloat16 is float32 without 16 bits
    return ((x.view(torch.int32) + below) & -(2**16)).view(torch.float32)


def per_task(dataset: xr.Dataset) -> xr.DataArray:
    """Median seconds a task: way, keeping, tasks; NaN where not measured."""
    return dataset.seconds.median("round") / dataset.tasks


def _cheap(dataset: xr.Dataset, keeping: str, tasks: int) -> Finding:
    """Whether a task costs less than 1% of a second, in each way that was measured."""
    if tasks not in dataset.tasks:
        return NOT_RUN
    measured = per_task(dataset).sel(keeping=keeping, tasks=tasks).dropna("way")
    found = [f"{way} {1e3 * float(s):.3g} ms" for way, s in zip(measured.way.values, measured, strict=True)]
    return "; ".join(found) or "-", passes_each([float(s) < 0.01 for s in measured])


def _overhead(dataset: xr.Dataset) -> Finding:
    return _cheap(dataset, "nothing", 10_000)


def _writing(dataset: xr.Dataset) -> Finding:
    return _cheap(dataset, "each result", 1_000)


def _constant(dataset: xr.Dataset) -> Finding:
    """The cost of a task in the longest sweep over that in the shortest, for ways whose longest has 10^4 tasks."""
    if not {100, 10_000} <= set(dataset.tasks.values):
        return NOT_RUN
    measured = per_task(dataset).sel(keeping="nothing")
    growth = (measured.sel(tasks=10_000) / measured.sel(tasks=100)).dropna("way")
    found = [f"{way} {float(g):.2f}" for way, g in zip(growth.way.values, growth, strict=True)]
    return "; ".join(found) or "-", passes_each([float(g) <= 2 for g in growth])


def _manifest(dataset: xr.Dataset) -> Finding:
    """How many times longer ten times the manifest takes, beyond what a commit with one takes."""
    if not {1, 1_000, 10_000} <= set(dataset.listed.values):
        return NOT_RUN
    seconds = dataset.commit.median("committed")
    beyond = seconds - seconds.sel(listed=1)
    times = float(beyond.sel(listed=10_000) / beyond.sel(listed=1_000))
    each = float(beyond.sel(listed=10_000)) / 10_000
    return f"{times:.1f} times; {each * 1e6:.1f} us a record listed", passes(5 <= times <= 20)


def _small_files(dataset: xr.Dataset) -> Finding:
    large = dataset.file_bytes.sel(content=dataset.content >= 100_000)
    ratio = large / large.content
    found = [f"{int(content):,} bytes of numbers: {float(r):.2f}" for content, r in zip(ratio.content, ratio, strict=True)]
    return "; ".join(found) or "-", passes_each([float(r) <= 1.1 for r in ratio])


def _bfloat16(dataset: xr.Dataset) -> Finding:
    """At beta2 = 0.999: ones averaged to the end, and what is left two memories (2000 steps) after gradients fell silent."""
    if 0.999 not in dataset.beta2 or dataset.moment_step[-1] < 5_000:
        return NOT_RUN
    v = dataset.moment.sel(beta2=0.999)
    reached = v.sel(gradients="constant").isel(moment_step=-1)
    left = v.sel(gradients="silent").sel(moment_step=2_000, method="nearest")
    found = {rounding: (float(reached.sel(rounding=rounding)), float(left.sel(rounding=rounding))) for rounding in ROUNDINGS}
    exact, nearest, stochastic = found.values()
    loses = nearest[0] <= 0.5 * exact[0] and nearest[1] >= 0.9
    mends = all(abs(a - b) <= 0.1 * b for a, b in zip(stochastic, exact, strict=True))
    words = "; ".join(f"{rounding}: reaches {up:.2f}, keeps {down:.2f}" for rounding, (up, down) in found.items())
    return words, passes_each([loses, mends])


SOURCE = "measured here: Scale"
TESTS = [
    Test(
        "D-12a",
        SOURCE,
        "In a sweep of 10,000 tasks the engine costs less than 1% of a run of one second",
        "less than 10 ms a task where nothing is kept, in this process, in two processes and on two Dask workers",
        _overhead,
    ),
    Test(
        "D-12b",
        SOURCE,
        "With each result written to disk the engine costs less than 1% of a run of one second, too",
        "less than 10 ms a task in a sweep of 1,000, in each of the three ways",
        _writing,
    ),
    Test(
        "D-12c",
        SOURCE,
        "What the engine costs a task does not grow with the number of tasks",
        "10,000 tasks cost at most twice as much a task as 100, in each of the three ways",
        _constant,
    ),
    Test(
        "D-12d",
        SOURCE,
        "A commit takes time in proportion to the records that the manifest lists",
        "beyond a commit with one record listed, 10,000 records take 5 to 20 times as long as 1,000",
        _manifest,
    ),
    Test(
        "D-12e",
        SOURCE,
        "A record takes hardly more of a disk than its numbers",
        "the file at most 1.1 times as large, for random numbers of 100 kB and of 1 MB",
        _small_files,
    ),
    Test(
        "D-12f",
        SOURCE,
        "Rounded to the nearest bfloat16, a second moment with beta2 = 0.999 neither reaches its value nor forgets; rounded "
        "at random it does both",
        "nearest: at most half of float32's value after 5,000 ones, at least 0.9 left after 2,000 zeros; at random: both "
        "within 10% of float32",
        _bfloat16,
    ),
]


def claims(dataset: xr.Dataset | None, *, profile: str = "") -> list[Claim]:
    """The verdicts on this chapter's claims."""
    return judge_all(TESTS, dataset, profile=profile, notebook=NOTEBOOK)
