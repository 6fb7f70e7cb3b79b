"""The measures of the experiments on how fast networks train, and the criterion that they share.

A record has ``rate`` by loop and round and ``part_s`` by part and round, both by the cases that are their first dimension
(precisions, or networks), and ``step_s`` by optimizer and round.
"""

import xarray as xr

from kadam.report.ledger import Finding, limited


def cases(record: xr.Dataset) -> list[str]:
    """What is measured side by side: precisions, or networks."""
    return [str(name) for name in record[record.rate.dims[0]].values]


def over_plain(record: xr.Dataset) -> xr.DataArray:
    """Our rate over the plain loop's by case, median of the rounds' ratios."""
    return (record.rate.sel(loop="ours") / record.rate.sel(loop="plain")).median("round")


def step_over(record: xr.Dataset, against: str = "Adam") -> xr.DataArray:
    """A step's time over that with another optimizer, median of the rounds' ratios, by optimizer."""
    return (record.step_s / record.step_s.sel(optimizer=against)).median("round")


def shares(record: xr.Dataset) -> xr.DataArray:
    """Every part's share of a step, by case and part."""
    parts = record.part_s.median("round")
    return parts / parts.sum("part")


def state(record: xr.Dataset) -> xr.DataArray:
    """Bytes of state a byte of weights, by optimizer: the same for every network."""
    return record.state_bytes.isel(setting=0, missing_dims="ignore")


def each(found: xr.DataArray, digits: str = ".2f") -> str:
    """Values by the labels of their one dimension, in words."""
    return ", ".join(f"{name} {value:{digits}}" for name, value in found.to_series().items())


def as_fast(record: xr.Dataset, *, what: str, least: float) -> Finding:
    """Whether our loop is nearly as fast as a plain one, in each case."""
    found = over_plain(record)
    return f"our {what} a second over the plain loop's: {each(found)}", limited(found, least=least)
