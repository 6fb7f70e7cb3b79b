"""What the engine under the sweeps costs: seconds a task, a record and a commit; and what a second moment in bfloat16 loses.

Like ``speed`` this one measures a machine, and its disk. It runs only when asked (``kadam bench engine``).
The tasks are empty, so that nothing but the engine is measured. Everything is written where records lie, in the cache.
"""

import functools
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from kadam.chapters.scale.engine.config import PROFILES, ROUNDINGS, Config
from kadam.lab.engine import cluster
from kadam.lab.engine.progress import Progress, noted
from kadam.lab.engine.sweep import sweep
from kadam.lab.records import committed
from kadam.lab.records.cache import cache_folder
from kadam.lab.records.record import provenance, read, recorded, save, with_units
from kadam.lab.train import stopwatch
from kadam.lab.train.stopwatch import timed

WAYS = ("here", "processes", "dask")  # where tasks go: this process, processes of joblib, workers of a Dask cluster
KEEPING = ("nothing", "each result")  # what a sweep writes: with a checkpoint, a record a task

# What second moments average: ones, squares of normal numbers, or nothing after having been one.
GRADIENTS = ("constant", "noise", "silent")
KEPT_STEPS = 100


@recorded("engine", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Seconds of sweeps of empty tasks (NaN where not measured), of records and of commits; moments in bfloat16."""
    load = os.getloadavg()[0]  # processes that wanted to run in the minute before: 0 on an idle machine
    dataset = xr.merge([part(config) for part in (_sweeps, _records, _asking, _commits, _moments)])
    data = {"data": "none: empty tasks", "data_sha256": "", "data_origin": "none"}
    return with_units(dataset.assign_attrs(workers=config.workers, load_before=round(load, 2), **data), UNITS)


UNITS = {
    "seconds": "s, of a whole sweep",
    **dict.fromkeys(("save", "read", "ask", "commit"), "s"),
    "content": "bytes of numbers",
    **dict.fromkeys(("file_bytes", "manifest_bytes"), "bytes"),
    "moment": "mean of v",
}


def empty(piece: str, progress: Progress) -> xr.Dataset:
    """A task that does nothing."""
    progress.tick()
    return xr.Dataset({"nothing": ((), 0.0)})


def ways(config: Config) -> list[str]:
    """The ways that can be measured here."""
    dask = config.dask and find_spec("distributed") is not None
    return [way for way in WAYS if way != "dask" or dask]


def rounds(config: Config, tasks: int, keeping: str) -> int:
    """How often a sweep is measured: 0 where it is too long."""
    return min(config.rounds, (config.most if keeping == "nothing" else config.most_kept) // tasks)


def _sweeps(config: Config) -> xr.Dataset:
    coords = {"way": list(WAYS), "keeping": list(KEEPING), "tasks": list(config.tasks)}
    blank = np.full((len(WAYS), len(KEEPING), len(config.tasks), config.rounds), np.nan)
    seconds = xr.DataArray(blank, dims=(*coords, "round"), coords=coords)
    parts = [(n, keeping, i) for n in config.tasks for keeping in KEEPING for i in range(rounds(config, n, keeping))]
    with tqdm(total=sum(n for n, _, _ in parts) * len(ways(config)), desc="engine", unit="task", disable=None) as bar:
        for way in ways(config):
            with cluster.local(config.workers) if way == "dask" else nullcontext():
                _sweep_s(config, way, 2 * config.workers, "nothing")  # processes start, and import what they need
                for n, keeping, i in parts:
                    seconds.loc[{"way": way, "keeping": keeping, "tasks": n, "round": i}] = _sweep_s(config, way, n, keeping)
                    bar.update(n)
    return xr.Dataset({"seconds": seconds})


def _sweep_s(config: Config, way: str, tasks: int, keeping: str) -> float:
    """Seconds of one sweep. Its own bar is not drawn: that would be measured too, where a terminal shows it."""
    pieces, jobs = [str(i) for i in range(tasks)], config.workers if way == "processes" else 1
    with _folder() as folder, redirect_stderr(io.StringIO()):
        checkpoint = folder if keeping == "each result" else None
        found, took = timed(lambda: sweep(pieces, empty, steps=1, title=way, checkpoint=checkpoint, jobs=jobs))
    assert len(found) == tasks
    return took


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder on the disk that records lie on, removed afterwards."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="engine-", dir=cache_folder()) as name:
        yield Path(name)


def _record(config: Config, numbers: int) -> xr.Dataset:
    """A record of so many numbers, no two alike, so that compression finds nothing."""
    values = np.random.default_rng(config.seed).standard_normal(numbers)
    return xr.Dataset({"x": ("i", values)}, attrs=provenance("engine", "custom", config, 0.0))


def _records(config: Config) -> xr.Dataset:
    """Seconds to save and to read a record by the bytes of its numbers; what is read was just written."""
    seconds, size = np.empty((2, len(config.numbers), config.saves)), np.empty(len(config.numbers))
    with _folder() as folder:
        path = folder / "record.nc"
        for i, numbers in enumerate(tqdm(config.numbers, desc="records", unit="size", disable=None)):
            actions = (functools.partial(save, _record(config, numbers), path), functools.partial(read, path, command="again"))
            for j in range(config.saves):
                seconds[:, i, j] = [stopwatch.seconds(action) for action in actions]
            size[i] = path.stat().st_size
    data = {name: (("content", "saved"), found) for name, found in zip(("save", "read"), seconds, strict=True)}
    return xr.Dataset({**data, "file_bytes": ("content", size)}, coords={"content": [8 * n for n in config.numbers]})


def _asking(config: Config) -> xr.Dataset:
    """Seconds to look for a file that is not there, as the bar looks for a note of every task once a second."""
    with _folder() as folder:
        paths = [folder / str(i) for i in range(1_000)]
        seconds = [stopwatch.seconds(lambda: [noted(path) for path in paths]) / len(paths) for _ in range(config.rounds)]
    return xr.Dataset({"ask": ("round", seconds)})


def _commits(config: Config) -> xr.Dataset:
    """Seconds to commit a small record, and the manifest's bytes, by how many other records the manifest lists."""
    seconds, size = np.empty((len(config.listed), config.commits)), np.empty(len(config.listed))
    record = _record(config, min(config.numbers))
    for i, listed in enumerate(tqdm(config.listed, desc="commits", unit="manifest", disable=None)):
        with _folder() as folder:
            manifest = folder / committed.MANIFEST
            manifest.write_text(json.dumps({f"other/laptop-{j:08x}.nc": f"{j:064x}" for j in range(listed)}, indent=2) + "\n")
            size[i] = manifest.stat().st_size
            for j in range(config.commits):
                seconds[i, j] = stopwatch.seconds(functools.partial(committed.commit, record, folder))
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
