"""The part of a record that a reader asked for."""

from typing import Any

import xarray as xr

LISTED = 12  # labels that an error lists; of more it names the ends


def selected(record: xr.Dataset, **labels: Any) -> xr.Dataset:
    """The part with these labels; ``ValueError`` with the dimension, what it has and what was asked for, where it lacks one."""
    for dim, label in labels.items():
        known = list(map(str, record[dim].values))
        if label not in record[dim].values.tolist():
            listed = known if len(known) <= LISTED else [known[0], known[1], "...", known[-1]]
            raise ValueError(f"{dim} must be one of {', '.join(listed)}; got {label!r}")
    return record.sel(labels)
