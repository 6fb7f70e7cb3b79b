"""What the tables on how fast networks train share, from a record of one machine."""

from typing import Any

import xarray as xr

from kadam.chapters.speed.measures import cases, over_plain, shares, state, step_over
from kadam.report.table import Table, table

TIME, STATE = "time of a step / Adam's", "bytes of state / of weights"


def medians(record: xr.Dataset, **more: xr.DataArray) -> dict[str, Any]:
    """The numbers of the tables, by name and labels."""
    rates = {record.rate.attrs["units"].replace(" ", "_"): record.rate.median("round")}
    costs = {"step_over_adam": step_over(record), "state_bytes": state(record)}
    found = rates | {"ours_over_plain": over_plain(record), "shares": shares(record)} | costs | more
    return {name: nested(values) for name, values in found.items()}


def nested(values: xr.DataArray) -> dict[Any, Any]:
    """Values by the labels of their first dimension, then of the next."""
    labels = values[values.dims[0]].values.tolist()
    return {label: nested(one) if one.ndim else one.item() for label, one in zip(labels, values, strict=True)}


def loop_table(record: xr.Dataset, **more: xr.DataArray) -> Table:
    """Both loops, their ratio and the parts of a step, a case a row; ``more``: shares or words by case."""
    rates, units = record.rate.median("round"), record.rate.attrs["units"]
    parts = shares(record)
    columns = (cases(record), rates.values, over_plain(record).values, parts.values, *(x.values for x in more.values()))
    rows = [(name, *rate, ratio, *share, *rest) for name, rate, ratio, share, *rest in zip(*columns, strict=True)]
    loops = (f"{loop}, {units}" for loop in rates.loop.values)
    head = (rates.dims[0], *loops, "ours / plain", *parts.part.values, *more)
    return table(head, rows, digits=("", ",.0f", ",.0f", ".2f", *[".0%"] * (len(head) - 4)))


def optimizer_table(record: xr.Dataset) -> Table:
    """What each optimizer costs in time, by network where there are several, and in memory."""
    over = step_over(record)
    times = {TIME: over} if over.ndim == 1 else {f"step / Adam's: {one[over.dims[0]].item()}": one for one in over}
    rows = zip(record.optimizer.values, *(one.values for one in times.values()), state(record).values, strict=True)
    return table(("optimizer", *times, STATE), rows, digits=("", *[".2f"] * len(times), ".1f"))
