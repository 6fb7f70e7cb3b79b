"""Series with a number for every step as a record keeps them: so many times their logarithm, in 16 bits, to half a percent."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

FINENESS, LARGEST = 200, 2**15 - 1


def coded(series: NDArray[np.float64]) -> NDArray[np.int16]:
    """What is not a number counts as the largest."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.rint(FINENESS * np.log(series)).clip(-LARGEST, LARGEST)
    return np.where(np.isnan(found), LARGEST, found).astype(np.int16)


def series(record: xr.Dataset, name: str) -> xr.DataArray:
    """A series of the record in its own unit, (..., step)."""
    kept: xr.DataArray = record[name].transpose(..., "step")
    return kept.copy(data=np.exp(kept.values / float(record.attrs["fineness"])))
