"""How R_med of SGD and of Adam's relatives is set against Adam's."""

from collections.abc import Iterable

import numpy as np
import xarray as xr

from kadam.chapters.local_geometry.methods import PAIR, RELATIVES


def logs(r_med: xr.DataArray) -> xr.DataArray:
    found: xr.DataArray = np.log(r_med)  # type: ignore[assignment]
    return found


def log_ratio(r_med: xr.DataArray) -> xr.DataArray:
    """log R_med of SGD less that of Adam, in runs that share a seed; above 0 Adam's is the smaller."""
    adam, sgd = (r_med.sel(optimizer=name, drop=True) for name in PAIR)
    return logs(sgd / adam)


def distances(r_med: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """How far the relatives lie from Adam and from SGD, in the median over seeds of log R_med."""
    middle = logs(r_med).median("seed", skipna=False)
    adam, sgd = (abs(middle.sel(optimizer=list(RELATIVES)) - middle.sel(optimizer=name, drop=True)) for name in PAIR)
    return adam, sgd


def listed(values: Iterable[float], digits: str) -> str:
    return ", ".join(f"{float(value):{digits}}" for value in values)
