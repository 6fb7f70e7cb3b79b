"""What is claimed of speed, and how a record decides it."""

import numpy as np
import xarray as xr

from kadam.chapters.speed.speed.config import CEILING
from kadam.optim.chain import BLOCK
from kadam.report.ledger import Finding, Test, passes, passes_each


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
