"""What was predicted of an H200 before any run, and what the records of profile paper measured of it."""

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from kadam.chapters.speed.speed.claims import time_ratio
from kadam.chapters.speed.speed.config import CEILING, REPLAYED
from kadam.report.table import Table, table

Measure = Callable[[xr.Dataset], xr.DataArray]  # of a record; one number, or one for each k

MEMBERS = 64  # of growth, for whose step the prediction is


def _share(speed: xr.Dataset) -> xr.DataArray:
    return time_ratio(speed, CEILING, "fused").sel(case="1B")


def _step(case: str, way: str) -> Measure:
    return lambda speed: 1e3 * speed.seconds.sel(case=case, way=way).median("round")


def _trained(training: xr.Dataset) -> xr.DataArray:
    return 1e3 * training.step_s.sel(optimizer="Adam").median("round")


def _contest(optimum: xr.Dataset) -> xr.DataArray:
    """All that it computed, evaluations too, over the steps of its search and its comparison."""
    searched, compared = (optimum[name].size for name in ("search_loss", "diverged_at"))
    return xr.DataArray(1e3 * optimum.computed_s / (searched * optimum.tuning_steps + compared * optimum.steps))


def _members(growth: xr.Dataset) -> xr.DataArray:
    """All that it computed over the steps of its members, of which more than these train at once."""
    trained = int(growth.slope.notnull().sum()) * growth.sizes["iteration"]
    return xr.DataArray(1e3 * MEMBERS * growth.computed_s / trained)


KS = "$k = 1, 2, 4, 8$"

# What is predicted, from the compiled kernel, its traffic and host times with the launch left out; and by which record it is
# measured, and how.
ROWS: tuple[tuple[str, str, str, Measure], ...] = (
    (f"1B weights, {KS}: share of the copy bandwidth", "0.90, 0.90, 0.88, 0.85", "speed", _share),
    ("the same: ms per step", "7.2, 11.4, 20, 38", "speed", _step("1B", "fused")),
    (
        f"ResNet-18's 62 tensors on the device, {KS}: ms per step",
        "0.09, 0.14, 0.24, 0.45",
        "speed",
        _step("ResNet-18", REPLAYED),
    ),
    ("the same as called, which the host bounds: ms per step", "0.4, 0.45, 0.6, 0.9", "speed", _step("ResNet-18", "fused")),
    ("network of `optimum`, replayed as one CUDA graph: ms per step (launched one by one: 1.6)", "0.7", "optimum", _contest),
    ("network of `cifar`, batch 512: ms per training step", "1.1", "training", _trained),
    (f"growth: ms per step of {MEMBERS} members", "15", "growth", _members),
)


def beside(records: Mapping[str, xr.Dataset]) -> Table:
    """Predictions beside what these records, by experiment, measured; a dash where there is none."""

    def measured(name: str, of: Measure) -> str:
        return ", ".join(f"{value:.2g}" for value in np.ravel(of(records[name]))) if name in records else "-"

    return table(("on an H200", "predicted", "measured"), [(what, told, measured(name, of)) for what, told, name, of in ROWS])
