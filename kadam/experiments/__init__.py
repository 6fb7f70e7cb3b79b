"""One module per figure group: ``Config``, ``PROFILES``, ``run(config) -> Dataset`` and ``claims(dataset)``."""

import shutil
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import xarray as xr

from kadam.lab import files, profiles, records, results
from kadam.lab.cache import cache_folder
from kadam.lab.data import StandInWarning
from kadam.report.claims import Claim

NAMES = (
    "stability",
    "growth",
    "trajectories",
    "orders",
    "generalization",
    "invariance",
    "meta",
    "cifar",
    "language",
    "box",
    "norms",
    "radius",
    "geometry",
    "curvature",
)

# Experiments that measure a machine instead of mathematics: they run only when asked, and a record of them is shown at
# every profile.
MEASURED = ("speed", "engine", "training", "tokens")
MEASURED_PROFILE = "laptop"

# Profiles beyond the laptop's, the most convincing first. Not every experiment has both.
LARGER = ("paper", "cpu")


@dataclass(frozen=True)
class Request:
    """One experiment at one profile, and everything that decides which record answers it."""

    name: str
    profile: str
    module: ModuleType
    config: Any
    path: Path  # of the local record

    @property
    def command(self) -> str:
        """What makes the record anew."""
        return f"kadam run {self.name} --profile {self.profile} --fresh"

    def read(self) -> xr.Dataset:
        """The local record, verified."""
        whose = {"experiment": self.name, "profile": self.profile, "config_hash": records.config_hash(self.config)}
        return records.read(self.path, command=self.command, expected=whose)


def request(name: str, profile: str) -> Request:
    """``ValueError`` listing the valid names for an unknown experiment or profile. Downloads nothing."""
    module = _module(name)
    config = profiles.choose(module.PROFILES, profile)
    path = records.local_path(name, profile, config, _data_sha256(module, config))
    return Request(name, profile, module, config, path)


def _module(name: str) -> ModuleType:
    if name not in NAMES + MEASURED:
        raise ValueError(f"experiment must be one of {', '.join(NAMES + MEASURED)}; got {name!r}")
    return import_module(f"kadam.experiments.{name}")


def _data_sha256(module: ModuleType, config: Any, *, fetch: bool = False) -> str:
    if not hasattr(module, "load_data"):
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StandInWarning)  # the record and its figures say it
        return str(module.load_data(config, fetch=fetch).sha256)


def obtain(name: str, profile: str, *, fresh: bool = False, jobs: int = 1) -> xr.Dataset:
    """The record of an experiment at a profile: the local one if it is current, else a run, which is then kept.

    A run that was interrupted goes on from its checkpoint; ``fresh`` computes everything again. Of two processes that want
    the same record one computes it and the other waits. Data is looked for, and downloaded, only when a run needs it. Raises
    ``RecordError`` for a damaged local record.
    """
    wanted = request(name, profile)
    if fresh or not wanted.path.exists():
        _data_sha256(wanted.module, wanted.config, fetch=True)
        wanted = request(name, profile)
        with files.locked(cache_folder() / "locks" / f"{name}-{wanted.path.stem}.lock"):
            if fresh or not wanted.path.exists():
                _run(wanted, fresh=fresh, jobs=jobs)
    return wanted.read()


def _run(wanted: Request, *, fresh: bool, jobs: int) -> None:
    checkpoint = cache_folder() / "checkpoints" / wanted.path.stem / wanted.name
    if fresh:
        shutil.rmtree(checkpoint, ignore_errors=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StandInWarning)
        dataset = wanted.module.run(wanted.config, checkpoint=checkpoint, jobs=jobs)
    files.remove_leftovers(wanted.path)
    records.save(dataset, wanted.path)
    shutil.rmtree(checkpoint, ignore_errors=True)


def ledger(profile: str, folder: Path | None) -> list[Claim]:
    """Every claim with its verdict from the records that exist: the local one first, else the committed one.

    At profile laptop a committed record of a larger profile comes before both.
    """
    claims: list[Claim] = []
    for name in NAMES + MEASURED:
        at = MEASURED_PROFILE if name in MEASURED else profile
        record = larger(name, folder) if profile == "laptop" else None
        if record is None and at in profiles_of(name):
            record = _existing(request(name, at), folder)
        claims += _module(name).claims(record, profile=at)
    return claims


def larger(name: str, folder: Path | None) -> xr.Dataset | None:
    """The committed record of an experiment at the most convincing profile beyond the laptop, if there is one."""
    known = [profile for profile in LARGER if profile in profiles_of(name)]
    found = (results.committed(folder, name, profile) for profile in known) if folder else iter(())
    return next((record for record in found if record is not None), None)


def shown(name: str, profile: str, folder: Path | None) -> xr.Dataset:
    """The record that a page draws: the larger committed one where there is one, else that of the page's profile."""
    record = larger(name, folder)
    return obtain(name, profile) if record is None else record


def profiles_of(name: str) -> tuple[str, ...]:
    """The profiles that an experiment has."""
    return tuple(_module(name).PROFILES)


def measured(name: str, folder: Path | None) -> xr.Dataset:
    """The record of an experiment that measures a machine: the local one, else the committed one; it is not run here.

    Raises ``RecordError`` with the command that makes one where there is none.
    """
    wanted = request(name, MEASURED_PROFILE)
    found = _existing(wanted, folder)
    if found is None:
        raise files.RecordError(f"{name}: no record on this machine or in the repository; make one with: {wanted.command}")
    return found


def _existing(wanted: Request, folder: Path | None) -> xr.Dataset | None:
    if wanted.path.exists():
        return wanted.read()
    return results.committed(folder, wanted.name, wanted.profile) if folder else None
