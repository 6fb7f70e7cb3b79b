"""How fast a step of KAdam is, against torch's fused AdamW and against the memory of the machine, and how much it takes.

Unlike other experiments this one measures a machine. It runs only when asked (``kadam bench optimizer``); the book and
the ledger show a record that exists.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from kadam.chapters.speed.speed.config import CEILING, PATHS, PROFILES, REPLAYED, TORCH, Config
from kadam.chapters.speed.ways import Shape, free, optimizer, peak_bytes, resnet18, scaling, step_of, tiny_network
from kadam.lab.records.record import device_name, recorded, with_units
from kadam.lab.train import devices, stopwatch

WAYS = (*TORCH, *PATHS, CEILING)
QUEUED = 20  # steps that a GPU can be asked for before the host has to wait for it


@recorded("speed", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Seconds a step by case, way, k and round (NaN where not measured), and a step's memory by way and k."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda' needs a CUDA GPU and there is none here; run the laptop profile instead")
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        torch.manual_seed(config.seed)
        dataset = _all_seconds(config).assign(peak=_all_memory(config))
    finally:
        torch.set_num_threads(before)
    device = {"device": f"{device_name()}, {config.threads} threads"} | devices.described(config.device)
    dataset.attrs = {"data": "none: random weights and gradients", "data_sha256": "", "data_origin": "none"} | device
    return with_units(dataset, {name: unit for name, unit in UNITS.items() if name in dataset})


UNITS = {"seconds": "s", "host": "s of the host alone", "peak": "bytes beyond weights, gradients and state"}


def cases(config: Config) -> dict[str, list[Shape]]:
    """What is stepped: one tensor of each size, a network of many tensors, and a tiny one."""
    single: dict[str, list[Shape]] = {label(n): [(n,)] for n in config.sizes}
    return single | {"ResNet-18": resnet18(), "tiny network": tiny_network()}


def label(n: int) -> str:
    """A size for people: 10M, 1B."""
    units = ((10**9, "B"), (10**6, "M"), (10**3, "k"))
    return next((f"{n / unit:g}{name}" for unit, name in units if n >= unit), str(n))


def ways(config: Config, size: int, k: int) -> Iterator[str]:
    """The ways measured for a size and k."""
    for way in ways_on(config.device):
        slow = size > config.slow and ("foreach" in way or way == REPLAYED)
        absent = config.device == "cuda" and way == "chained"
        if not slow and not absent and (k == 1 or way != "torch foreach"):
            yield way


def ways_on(device: str) -> list[str]:
    """The ways there are on a device."""
    return [*WAYS, REPLAYED] if device == "cuda" else [*WAYS]


def _all_seconds(config: Config) -> xr.Dataset:
    named = cases(config)
    sizes = {case: sum(map(math.prod, shapes)) for case, shapes in named.items()}
    coords: dict[str, list[Any]] = {"case": list(named), "way": ways_on(config.device), "k": list(config.ks)}
    blank = np.full([*map(len, coords.values()), config.rounds], np.nan)
    seconds = xr.DataArray(blank, coords, (*coords, "round"))
    host = seconds.isel(round=0).copy()
    parts = [(case, k) for case in named for k in config.ks if sizes[case] <= config.deep or k <= 4]
    for case, k in tqdm(parts, desc="speed", unit="part", disable=None):
        for way, values in _measured(config, named[case], sizes[case], k).items():
            place = {"case": case, "way": way, "k": k}
            host.loc[place], seconds.loc[place] = values[0], values[1:]
    dataset = xr.Dataset({"seconds": seconds, "numbers": ("case", list(sizes.values()))})
    return dataset.assign(host=host) if config.device == "cuda" else dataset


def _measured(config: Config, shapes: Sequence[Shape], size: int, k: int) -> dict[str, np.ndarray]:
    """Seconds a step by way: first those of the host alone, if a GPU computes, then of every round."""
    steps, repeated = {}, 1.0
    for way in ways(config, size, k):
        if way == CEILING:  # of the step's 3 + 4k numbers a parameter each pass reads and writes one: 2
            steps[way], repeated = scaling(size * (3 + 4 * k) // 2, config.device)
        else:
            steps[way] = step_of(way, optimizer(way, k, shapes, config.device))
    repeats = max(config.repeats, config.work // size if size >= 100_000 else config.work // 200_000)
    seconds = stopwatch.paired(steps, rounds=config.rounds, repeats=repeats, device=config.device)
    asked = functools.partial(stopwatch.host_seconds, repeats=min(repeats, QUEUED), device=config.device)
    hosts = {way: asked(step) if config.device == "cuda" else np.nan for way, step in steps.items()}
    found = {way: np.array([host, *seconds[way]]) for way, host in hosts.items()}
    del steps
    free()
    return found | {CEILING: found[CEILING] * repeated}


def _all_memory(config: Config) -> xr.DataArray:
    coords: dict[str, list[Any]] = {"way": ways_on(config.device), "k": list(config.ks)}
    peak = xr.DataArray(np.full([*map(len, coords.values())], np.nan), coords, tuple(coords))
    for k in config.ks:
        for way in ways(replace(config, slow=config.memory), config.memory, k):
            if way not in (CEILING, REPLAYED):
                made = optimizer(way, k, [(config.memory,)], config.device)
                peak.loc[{"way": way, "k": k}] = peak_bytes(step_of(way, made), config.device)
                del made
                free()
    return peak
