"""How fast a step of KAdam is, against torch's fused AdamW and against the memory of the machine, and how much it takes.

Unlike other experiments this one measures a machine. It runs only when asked (``kadam bench optimizer``); the book and
the ledger show a record that exists.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from kadam.lab import records, stopwatch
from kadam.lab.profiles import check_choice, check_counts
from kadam.optim.chain import BLOCK
from kadam.report.claims import Claim, Finding, Test, judge_all, passes, passes_each

NOTEBOOK = "11-speed"

CEILING = "scaling in place"  # the same bytes moved, and nothing computed
WAYS = (*stopwatch.TORCH, *stopwatch.PATHS, CEILING)


@dataclass(frozen=True)
class Config:
    """What is measured; the defaults are the laptop profile."""

    sizes: tuple[int, ...] = (1_000_000, 10_000_000, 100_000_000)  # numbers in one tensor
    ks: tuple[int, ...] = (1, 2, 4, 8)
    rounds: int = 15  # paired rounds; in each every way is timed once
    # Numbers updated in one timing: several steps, so that what the way before left behind in caches and threads weighs
    # little, and many of a small network.
    work: int = 60_000_000
    slow: int = 20_000_000  # above this size no foreach: many times slower, and several copies of everything
    deep: int = 20_000_000  # above this size no k > 4: two optimizers of that many moments do not fit
    memory: int = 10_000_000  # numbers in the tensor whose step's memory is measured
    threads: int = 2
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self, "rounds", "work", "slow", "deep", "memory", "threads")
        check_choice("device", self.device, ("cpu", "cuda"))
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"sizes must hold one whole number >= 1 or more, got {self.sizes!r}")
        if not self.ks or min(self.ks) < 1:
            raise ValueError(f"ks must hold one whole number >= 1 or more, got {self.ks!r}")


PROFILES = {
    "smoke": Config(sizes=(20_000,), ks=(1, 2), rounds=3, work=20_000, memory=20_000),
    "laptop": Config(),
    "paper": Config(sizes=(10_000_000, 1_000_000_000), slow=100_000_000, deep=2_000_000_000, memory=100_000_000, device="cuda"),
}


@records.recorded("speed", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Seconds a step by case, way, k and round (NaN where not measured), and a step's memory by way and k."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda' needs a CUDA GPU and there is none here; run the laptop profile instead")
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        torch.manual_seed(config.seed)
        seconds = _all_seconds(config)
        memory = _all_memory(config)
    finally:
        torch.set_num_threads(before)
    dataset = xr.Dataset({"seconds": seconds, "numbers": _numbers(config), "peak": memory})
    dataset.seconds.attrs["units"], dataset.peak.attrs["units"] = "s", "bytes beyond weights, gradients and state"
    return dataset.assign_attrs(
        data="none: random weights and gradients", data_sha256="", data_origin="none", **_machine(config)
    )


def _machine(config: Config) -> dict[str, str]:
    if config.device == "cuda":
        return {"device": torch.cuda.get_device_name()}
    return {"device": f"{records.device_name()}, {config.threads} threads"}


def cases(config: Config) -> dict[str, list[stopwatch.Shape]]:
    """What is stepped: one tensor of each size, a network of many tensors, and a tiny one."""
    single: dict[str, list[stopwatch.Shape]] = {label(n): [(n,)] for n in config.sizes}
    return single | {"ResNet-18": stopwatch.resnet18(), "tiny network": stopwatch.tiny_network()}


def label(n: int) -> str:
    """A size for people: 10M, 1B."""
    for unit, name in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if n >= unit:
            return f"{n / unit:g}{name}"
    return str(n)


def _size(shapes: list[stopwatch.Shape]) -> int:
    return sum(int(np.prod(shape)) for shape in shapes)


def _numbers(config: Config) -> xr.DataArray:
    named = cases(config)
    return xr.DataArray([_size(shapes) for shapes in named.values()], dims="case", coords={"case": list(named)})


def ways(config: Config, size: int, k: int) -> Iterator[str]:
    """The ways measured for a size and k."""
    for way in WAYS:
        slow = size > config.slow and "foreach" in way
        absent = config.device == "cuda" and way == "chained"
        if not slow and not absent and (k == 1 or way != "torch foreach"):
            yield way


def _all_seconds(config: Config) -> xr.DataArray:
    named = cases(config)
    blank = np.full((len(named), len(WAYS), len(config.ks), config.rounds), np.nan)
    coords = {"case": list(named), "way": list(WAYS), "k": list(config.ks)}
    seconds = xr.DataArray(blank, dims=("case", "way", "k", "round"), coords=coords)
    parts = [(case, k) for case in named for k in config.ks if _size(named[case]) <= config.deep or k <= 4]
    for case, k in tqdm(parts, desc="speed", unit="part", disable=None):
        for way, values in _measured(config, named[case], k).items():
            seconds.loc[{"case": case, "way": way, "k": k}] = values
    return seconds


def _measured(config: Config, shapes: list[stopwatch.Shape], k: int) -> dict[str, np.ndarray]:
    size, steps, repeated = _size(shapes), {}, 1.0
    for way in ways(config, size, k):
        if way == CEILING:  # of the step's 3 + 4k numbers a parameter each pass reads and writes one: 2
            steps[way], repeated = stopwatch.scaling(size * (3 + 4 * k) // 2, config.device)
        else:
            steps[way] = stopwatch.step_of(way, stopwatch.optimizer(way, k, shapes, config.device))
    repeats = max(1, config.work // size if size >= 100_000 else config.work // 200_000)
    seconds = stopwatch.paired(steps, rounds=config.rounds, repeats=repeats, device=config.device)
    return seconds | {CEILING: seconds[CEILING] * repeated}


def _all_memory(config: Config) -> xr.DataArray:
    blank = np.full((len(WAYS), len(config.ks)), np.nan)
    peak = xr.DataArray(blank, dims=("way", "k"), coords={"way": list(WAYS), "k": list(config.ks)})
    for k in config.ks:
        for way in ways(replace(config, slow=config.memory), config.memory, k):
            if way != CEILING:
                made = stopwatch.optimizer(way, k, [(config.memory,)], config.device)
                peak.loc[{"way": way, "k": k}] = stopwatch.peak_bytes(stopwatch.step_of(way, made), config.device)
    return peak


def ratio(dataset: xr.Dataset, case: str, way: str, against: str = "torch fused") -> xr.DataArray:
    """Median over the rounds of the ratio within a round, by k."""
    seconds = dataset.seconds.sel(case=case)
    return (seconds.sel(way=way) / seconds.sel(way=against)).median("round")


def _within(dataset: xr.Dataset, names: list[str], way: str, limits: dict[int, float], against: str = "torch fused") -> Finding:
    """Whether the ratio of times is within its limit for every case and k that was measured."""
    found, held = [], []
    for case in names:
        measured = ratio(dataset, case, way, against)
        for k, limit in limits.items():
            if k in measured.k and np.isfinite(measured.sel(k=k)):
                value = float(measured.sel(k=k))
                found.append(f"{case} k={k}: {value:.2f} (limit {limit:.3g})")
                held.append(value <= limit)
    return "; ".join(found) or "-", passes_each(held)


def _large(dataset: xr.Dataset) -> list[str]:
    """The single tensors that no cache holds."""
    return [str(case) for case in dataset.case.values if case in ("10M", "100M")]


def _one_pass(dataset: xr.Dataset) -> Finding:
    return _within(dataset, _large(dataset), "fused", {1: 1.0, 2: 1.7, 4: 3.1})


def _chain(dataset: xr.Dataset) -> Finding:
    return _within(dataset, _large(dataset), "chained", {1: 1.0, 2: 1.9, 4: 3.6})


def _bandwidth(dataset: xr.Dataset) -> Finding:
    return _within(dataset, _large(dataset), "fused", {1: 1 / 0.97, 2: 1 / 0.9, 4: 1 / 0.85}, CEILING)


def _many_tensors(dataset: xr.Dataset) -> Finding:
    return _within(dataset, ["ResNet-18"], "fused", {2: 1.8})


def _tiny(dataset: xr.Dataset) -> Finding:
    return _within(dataset, ["tiny network"], "fused", {1: 1.0, 2: 1.2})


def _never_slower_than_foreach(dataset: xr.Dataset) -> Finding:
    """The automatic choice is foreach for k = 1, and one of the fused steps for k >= 2."""
    limits = {int(k): 1.0 for k in dataset.k.values if k >= 2}
    names = [str(case) for case in dataset.case.values]
    both = [_within(dataset, names, way, limits, "foreach") for way in ("fused", "chained")]
    held = [verdict == "reproduced" for _, verdict in both if verdict != "not run at this profile"]
    worst = max(
        float(ratio(dataset, case, way, "foreach").sel(k=list(limits)).max()) for case in names for way in ("fused", "chained")
    )
    return f"at most {worst:.2f} of foreach's time", passes_each(held)


def _little_memory(dataset: xr.Dataset) -> Finding:
    """Two scratch blocks of float32, and what the system counts in pages."""
    limit, peak = 2 * BLOCK * 4 + 2**20, dataset.peak.sel(way=["fused", "chained"])
    if not bool(np.isfinite(peak).any()):
        return "-", "not run at this profile"
    return f"at most {float(peak.max()) / 2**20:.1f} MiB", passes(float(peak.max()) <= limit)


SOURCE = "measured here: Speed"
TESTS = [
    Test(
        "D-11a",
        SOURCE,
        "On CPU a fused step of k stages takes little more time than its memory traffic asks for",
        "with numba at most 1.0, 1.7 and 3.1 times torch's fused AdamW for k = 1, 2, 4 (10M and 100M parameters)",
        _one_pass,
    ),
    Test(
        "D-11b",
        SOURCE,
        "Without numba the chain of torch's fused steps is nearly as fast",
        "at most 1.0, 1.9 and 3.6 times torch's fused AdamW for k = 1, 2, 4 (10M and 100M parameters)",
        _chain,
    ),
    Test(
        "D-11c",
        SOURCE,
        "The fused step moves its bytes at nearly the speed of scaling a tensor in place",
        "at least 97%, 90% and 85% of that speed for k = 1, 2, 4: times at most 1.03, 1.11 and 1.18 of it",
        _bandwidth,
    ),
    Test(
        "D-11d",
        SOURCE,
        "A whole step of ResNet-18's 62 tensors with two stages takes little more than their memory traffic",
        "k = 2 at most 1.8 times torch's fused AdamW",
        _many_tensors,
    ),
    Test(
        "D-11e",
        SOURCE,
        "A whole step of a network of 8 small tensors is as fast as torch's fused AdamW",
        "at most 1.0 and 1.2 times torch's fused AdamW for k = 1, 2",
        _tiny,
    ),
    Test(
        "D-11f",
        SOURCE,
        "The path that KAdam chooses by itself is never slower than foreach",
        "ratio at most 1 in every case measured, for both fused steps and k >= 2 (for k = 1 it is foreach)",
        _never_slower_than_foreach,
    ),
    Test(
        "D-11g",
        SOURCE,
        "A fused step takes two scratch blocks of memory beyond the state",
        "peak at most 8 MiB (two blocks of 2^20 float32) and 1 MiB for the system's counting",
        _little_memory,
    ),
]


def claims(dataset: xr.Dataset | None, *, profile: str = "") -> list[Claim]:
    """The verdicts on this chapter's claims."""
    return judge_all(TESTS, dataset, profile=profile, notebook=NOTEBOOK)
