"""What is claimed of the speed of a step, and how a record decides it."""

import functools
from collections.abc import Mapping, Sequence

import xarray as xr

from kadam.chapters.speed.speed.config import CEILING, TORCH
from kadam.report.ledger import NOT_RUN, Cases, Claims, Criterion, Finding, limited

LARGE = ("10M", "100M")  # single tensors that no cache holds
LARGEST = "1B"  # of the profile for a GPU alone


def time_ratio(dataset: xr.Dataset, way: str | list[str], against: str = TORCH[0]) -> xr.DataArray:
    """Median over the rounds of the ratio of two ways within a round, by case and k; NaN where not measured."""
    return (dataset.seconds.sel(way=way) / dataset.seconds.sel(way=against)).median("round")


def _within(found: xr.DataArray, cases: Sequence[str], limits: Mapping[int, float]) -> Finding:
    """Whether a ratio of times is within its limit for every case and k that was measured."""
    measured = {place: value for place, value in found.to_series().dropna().items() if place[0] in cases and place[1] in limits}
    words = [f"{case} k={k}: {value:.2f} (limit {limits[k]:.3g})" for (case, k), value in measured.items()]
    return "; ".join(words) or "-", Cases({f"{size}, k = {k}": value <= limits[k] for (size, k), value in measured.items()})


def _near_torch(dataset: xr.Dataset, *, cases: Sequence[str], way: str, **limits: float) -> Finding:
    """``limits``: the largest ratio to torch's fused AdamW, k1 for k = 1, and so on."""
    return _within(time_ratio(dataset, way), cases, {int(k[1:]): limit for k, limit in limits.items()})


def _near_bandwidth(dataset: xr.Dataset, **shares: float) -> Finding:
    return _within(time_ratio(dataset, "fused", CEILING), LARGE, {int(k[1:]): 1 / share for k, share in shares.items()})


def _near_bandwidth_on_gpu(dataset: xr.Dataset, *, least: float) -> Finding:
    """Every k at the largest size, of the speed of scaling a tensor in place, which moves what a copy moves."""
    if LARGEST not in dataset.case:
        return NOT_RUN
    share = 1 / time_ratio(dataset, "fused", CEILING).sel(case=LARGEST).dropna("k")
    words = [f"k={k}: {float(of):.2f}" for k, of in zip(share.k.values, share, strict=True)]
    return "; ".join(words), limited(share, least=least)


def _no_slower_on_gpu(dataset: xr.Dataset, *, most: float) -> Finding:
    if LARGEST not in dataset.case:
        return NOT_RUN
    ratio = time_ratio(dataset, "fused").sel(case=LARGEST, k=1)
    return f"{float(ratio):.2f} of its time", limited(float(ratio), most=most)


def _never_slower_than_foreach(dataset: xr.Dataset, *, most: float) -> Finding:
    """The automatic choice is foreach for k = 1, and one of the fused steps for k >= 2."""
    largest = time_ratio(dataset, ["fused", "chained"], "foreach").sel(k=dataset.k >= 2).max(["case", "k"]).dropna("way")
    return f"at most {float(largest.max()):.2f} of foreach's time", limited(largest, most=most)


def _little_memory(dataset: xr.Dataset, *, blocks: float, counting: float) -> Finding:
    peak = float(dataset.peak.sel(way=["fused", "chained"]).max()) / 2**20
    return (f"at most {peak:.1f} MiB", limited(peak, most=blocks + counting)) if peak == peak else NOT_RUN


HERE = "measured here: Speed"
ON_LARGE = "for k = 1, 2, 4 (10M and 100M parameters)"
OF_LIMIT = "at least {k1:.0%}, {k2:.0%} and {k4:.0%} of that speed for k = 1, 2, 4, that is times at most one over that"
PEAK = "peak at most {blocks} MiB (two blocks of 2^20 float32) and {counting} MiB for the system's counting"

TESTS: Claims = {
    ("D-11a", HERE): (
        "On CPU a fused step of k stages takes little more time than its memory traffic asks for",
        Criterion(f"with numba at most {{k1}}, {{k2}} and {{k4}} times torch's fused AdamW {ON_LARGE}", k1=1.0, k2=1.7, k4=3.1),
        functools.partial(_near_torch, cases=LARGE, way="fused"),
    ),
    ("D-11b", HERE): (
        "Without numba the chain of torch's fused steps is nearly as fast",
        Criterion(f"at most {{k1}}, {{k2}} and {{k4}} times torch's fused AdamW {ON_LARGE}", k1=1.0, k2=1.9, k4=3.6),
        functools.partial(_near_torch, cases=LARGE, way="chained"),
    ),
    ("D-11c", HERE): (
        "The fused step moves its bytes at nearly the speed of scaling a tensor in place",
        Criterion(OF_LIMIT, k1=0.97, k2=0.9, k4=0.85),
        _near_bandwidth,
    ),
    ("D-11d", HERE): (
        "A whole step of ResNet-18's 62 tensors with two stages takes little more than their memory traffic",
        Criterion("k = 2 at most {k2} times torch's fused AdamW", k2=1.8),
        functools.partial(_near_torch, cases=["ResNet-18"], way="fused"),
    ),
    ("D-11e", HERE): (
        "A whole step of a network of 8 small tensors is as fast as torch's fused AdamW",
        Criterion("at most {k1} and {k2} times torch's fused AdamW for k = 1, 2", k1=1.0, k2=1.2),
        functools.partial(_near_torch, cases=["tiny network"], way="fused"),
    ),
    ("D-11f", HERE): (
        "The path that KAdam chooses by itself is never slower than foreach",
        Criterion(
            "ratio at most {most:g} in every case measured, for both fused steps and k >= 2 (for k = 1 it is foreach)", most=1.0
        ),
        _never_slower_than_foreach,
    ),
    ("D-11g", HERE): (
        "A fused step takes two scratch blocks of memory beyond the state",
        Criterion(PEAK, blocks=8, counting=1),
        _little_memory,
    ),
    ("D-11h", HERE): (
        "On a GPU a fused step of any k moves its bytes at nearly the speed of memory",
        Criterion("every k at 1B parameters: at least {least:.0%} of the speed of scaling a tensor in place", least=0.85),
        _near_bandwidth_on_gpu,
    ),
    ("D-11i", HERE): (
        "On a GPU one fused stage is no slower than torch's fused AdamW",
        Criterion("at 1B parameters at most {most:g} of its time", most=1.0),
        _no_slower_on_gpu,
    ),
}
