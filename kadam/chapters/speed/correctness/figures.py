"""What a record of the tests on a GPU shows: tables, and no picture."""

import json
from typing import Any

import xarray as xr

from kadam.report.table import Table, table

COUNTS = ("passed", "failed", "skipped")


def by_file(record: xr.Dataset) -> xr.Dataset:
    """The counts and seconds of each test file."""
    files = [name.partition("::")[0] for name in record.function.values.tolist()]
    return record.assign_coords(file=("function", files)).groupby("file").sum()


def file_table(record: xr.Dataset) -> Table:
    """How many tests of each file passed, failed and were skipped, and the seconds they took, summed over processes."""
    counted = by_file(record)
    rows = [(name, *(int(counted[count].sel(file=name)) for count in COUNTS)) for name in counted.file.values.tolist()]
    seconds = [f"{value:.1f}" for value in counted.seconds.values]
    return table(("tests", *COUNTS, "seconds"), [(*row, time) for row, time in zip(rows, seconds, strict=True)])


def medians(record: xr.Dataset) -> dict[str, Any]:
    """Counts and seconds by file."""
    counted = by_file(record)
    return {
        name: {count: counted[count].sel(file=name).item() for count in (*COUNTS, "seconds")} for name in counted.file.values
    }


def summary(record: xr.Dataset) -> str:
    """What a terminal shows: the files, and what failed."""
    failed = "".join(f"\nfailed: {one}" for one in json.loads(record.attrs["failures"]))
    return f"{record.attrs['device']}, {record.attrs['date']}, {record.attrs['commit']}\n{file_table(record)}{failed}"
