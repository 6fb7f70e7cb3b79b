"""From a request to its record: the local one where it is current, else a run, which is then kept.

Its name says what decides its numbers: configuration, data, and the code that the run imports (``records.closure``).
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr

from kadam.lab.records import committed, files, record
from kadam.lab.records.cache import cache_folder
from kadam.lab.records.closure import check_unedited, source_hash


def command(name: str, profile: str) -> str:
    """What makes the record of an experiment at a profile anew."""
    return f"kadam run {name} --profile {profile} --fresh"


@dataclass(frozen=True)
class Request:
    """One experiment at one profile, and everything that decides which record answers it."""

    name: str
    profile: str
    config: Any
    run: str  # the module that computes it
    data_sha256: str = ""

    @cached_property  # of the code as it was when the record was asked for: it may be edited while a run goes on
    def path(self) -> Path:
        """Of the local record: any change of an input, or of code that could change a number, changes it."""
        code, data = source_hash(self.run), (self.data_sha256 or "nodata")[:8]
        return cache_folder() / "records" / self.name / f"{self.profile}-{record.config_hash(self.config)}-{code}-{data}.nc"

    @property
    def command(self) -> str:
        """What makes the record anew."""
        return command(self.name, self.profile)

    def read(self, reader: record.Reader = record.read) -> xr.Dataset:
        """The local record, verified; ``reader``: may read its attributes alone."""
        whose = {"experiment": self.name, "profile": self.profile, "config_hash": record.config_hash(self.config)}
        return reader(self.path, command=self.command, expected=whose)

    def existing(self, folder: Path | None, reader: record.Reader = record.read) -> xr.Dataset | None:
        """The local record, else the one committed in the folder; None where there is neither."""
        if self.path.exists():
            return self.read(reader)
        return committed.committed(folder, self.name, self.profile, reader) if folder else None


def obtain(
    wanted: Request, run: Callable[[], record.Run], *, fresh: bool, jobs: int, reader: record.Reader = record.read
) -> xr.Dataset:
    """The local record, computed by what ``run()`` imports where there is none, or with ``fresh`` in any case.

    Of two processes that want the same record one computes it and the other waits. ``RecordError`` for a damaged one, and where
    code was edited between its import and the end of the run, so that the record's name might not be that of what ran.
    """
    if fresh or not wanted.path.exists():
        with files.locked(cache_folder() / "locks" / f"{wanted.name}-{wanted.path.stem}.lock"):
            if fresh or not wanted.path.exists():
                _compute(wanted, run(), fresh=fresh, jobs=jobs)
    return wanted.read(reader)


def _compute(wanted: Request, run: record.Run, *, fresh: bool, jobs: int) -> None:
    checkpoint = cache_folder() / "checkpoints" / wanted.path.stem / wanted.name
    if fresh:
        shutil.rmtree(checkpoint, ignore_errors=True)
    files.remove_leftovers(wanted.path.parent, wanted.path.name)
    check_unedited(wanted.run, wanted.name)
    record.check_saving()
    try:
        result = run(wanted.config, checkpoint=checkpoint, jobs=jobs)
    finally:
        files.remove_leftovers(checkpoint)
    check_unedited(wanted.run, wanted.name)
    record.save(result, wanted.path)
    shutil.rmtree(checkpoint, ignore_errors=True)
