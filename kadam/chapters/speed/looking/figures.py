"""The table of what the monitor costs, from a record of one machine."""

from typing import Any

import xarray as xr

from kadam.chapters.speed.looking.claims import share
from kadam.report.sentences import listed, said
from kadam.report.table import Table, table


def medians(record: xr.Dataset) -> dict[str, Any]:
    """The share by setting, and the median seconds of its parts."""
    seconds = record.seconds.median("round")
    parts = {part: seconds.sel(part=part).to_series().to_dict() for part in record.part.values.tolist()}
    return {"share": share(record).to_series().to_dict(), **parts}


def summary(record: xr.Dataset) -> str:
    """What a terminal shows."""
    return str(cost(record))


def cost(record: xr.Dataset) -> Table:
    """Time of a step and of a measurement, and the share of the training time, a setting a row; names hold the rest."""
    seconds = 1000 * record.seconds.median("round")
    columns = record.tokens, *(seconds.sel(part=part) for part in ("step", "look")), share(record)
    rows = list(zip(record.setting.values.tolist(), *(column.values.tolist() for column in columns), strict=True))
    head = ("network", "tokens a step", "step (ms)", "measurement (ms)", "share of the time")
    return table(head, rows, digits=("", ",.0f", ",.1f", ",.1f", ".1%"))


@said
def cost_said(record: xr.Dataset) -> str:
    """The share of the time in each setting."""
    each = [f"{value:.1%} ({name})" for name, value in share(record).to_series().items()]
    return f"Of the time of training, `StabilityMonitor` takes {listed(each)}."
