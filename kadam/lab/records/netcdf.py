"""What is read of a netCDF file as xarray writes it, by way of HDF5, which it is made of.

xarray's reader takes several times as long, most of it to look dimensions up again and again; the tests hold that both give the
same.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

NUMBER, DIMENSIONS = ("_Netcdf4Dimid", "_Netcdf4Coordinates")  # of a dimension; of a variable, those of its dimensions

# Attributes that netCDF keeps for itself, and the mark of a missing number, which here is NaN.
OWN = {NUMBER, DIMENSIONS, "CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_FillValue", "_NCProperties"}


def dataset(content: bytes) -> xr.Dataset:
    """All of it. Its units are words, also those that say "since"."""
    import h5py  # xarray, too, loads it only when a file is read

    with h5py.File(io.BytesIO(content)) as file:
        held = dict(file)
        names = {one.attrs[NUMBER]: name for name, one in held.items() if one.is_scale}
        of = {name: [names[i] for i in one.attrs.get(DIMENSIONS, ())] for name, one in held.items()}
        whole = {name: one for name, one in held.items() if of[name] or not one.shape}  # others are a dimension's length alone
        variables = {name: (of[name], _values(one), _told(one.attrs)) for name, one in whole.items()}
        return xr.decode_cf(xr.Dataset(variables, attrs=_told(file.attrs)), decode_times=False)


def attributes(content: bytes) -> dict[str, Any]:
    """Those of the file itself."""
    import h5py

    with h5py.File(io.BytesIO(content)) as file:
        return _told(file.attrs)


def _values(variable: Any) -> Any:
    return np.asarray(variable.asstr()[()]).astype(str) if variable.dtype == object else variable[()]


def _told(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """A number is kept as an array of one."""
    found = {name: attrs[name] for name in attrs if name not in OWN}
    return {name: value[0] if np.shape(value) == (1,) else value for name, value in found.items()}
