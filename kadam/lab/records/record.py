"""Records: what a run measured, together with everything needed to trust it.

A record is an xarray Dataset in a sealed netCDF file. Its attributes say where it comes from, and its own ``sha256`` names the
result: every number and attribute but those that say where and when it was computed, so that equal ones are equal to the bit.
"""

import functools
import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from kadam import __version__
from kadam.lab.records import files, netcdf, pack, profiles
from kadam.lab.records.closure import LIBRARIES, PACKAGE
from kadam.lab.records.files import RecordError as RecordError

SCHEMA = 2

# What xarray imports only when a record is written or read.
SAVING = ("h5netcdf", "h5py")

# Attributes that say where, when and how fast a result was computed; two equal results may differ in them.
CIRCUMSTANCES = ("date", "commit", "versions", "device", "captured", "wall_time_s", "computed_s", "cost_paper", "cost_second")


Run = Callable[..., xr.Dataset]  # of an experiment: run(config, *, checkpoint: Path | None = None, jobs: int = 1)
Reader = Callable[..., xr.Dataset]  # read or read_attributes


def recorded(experiment: str, known: Mapping[str, Any], least: int | None = None) -> Callable[[Run], Run]:
    """Decorate an experiment's ``run`` so that its Dataset carries its provenance.

    ``known``: its profiles; ``least``: the fewest steps with which one still goes by its name, where it may have fewer.
    """

    def decorate(run: Run) -> Run:
        @functools.wraps(run)
        def run_and_stamp(config: Any, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
            start = time.perf_counter()
            dataset = run(config, checkpoint=checkpoint, jobs=jobs)
            stamp = provenance(experiment, profiles.name_of(known, config, least), config, time.perf_counter() - start)
            dataset.attrs = stamp | dataset.attrs
            return dataset

        return run_and_stamp

    return decorate


def provenance(experiment: str, profile: str, config: Any, seconds: float) -> dict[str, Any]:
    """The attributes that say where a result comes from."""
    return {
        "schema": SCHEMA,
        "experiment": experiment,
        "profile": profile,
        "config": json.dumps(asdict(config), sort_keys=True),
        "config_hash": config_hash(config),
        "seed": getattr(config, "seed", 0),
        "versions": json.dumps(
            {"python": platform.python_version(), "kadam": __version__} | {n: version(n) for n in LIBRARIES}
        ),
        "device": device_name(),
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "wall_time_s": round(float(seconds), 3),
    }


def with_units(dataset: xr.Dataset, units: Mapping[str, str]) -> xr.Dataset:
    """The dataset with the attribute ``units`` on each of the variables named.

    ``ValueError`` for a unit that readers of netCDF take for a calendar's, "days since 1970", and refuse to read.
    """
    for name, unit in units.items():
        if " since " in unit:
            raise ValueError(f"units must not hold the word 'since', got {unit!r} for {name}")
        dataset[name].attrs["units"] = unit
    return dataset


def config_hash(config: Any) -> str:
    """Eight hex digits that name a configuration."""
    return hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:8]


def check_saving() -> None:
    """``ModuleNotFoundError`` where what :func:`save` needs is missing: to be known before a run and not after it."""
    for name in SAVING:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            remedy = "pip install 'kadam[lab]', or without a network a pack, which `make gpu-pack` makes"
            raise ModuleNotFoundError(f"saving a record needs {error.name}: {remedy}", name=error.name) from None


def save(dataset: xr.Dataset, path: Path) -> None:
    """Write a record, with the sha256 of its result, under its name at once or not at all."""
    complete = dataset.assign_attrs(schema=SCHEMA)
    named = complete.assign_attrs(sha256=result_sha256(complete))
    encoding = {name: {"zlib": True} for name in dataset.data_vars}
    files.write_sealed(path, bytes(named.to_netcdf(engine="h5netcdf", encoding=encoding)))


def read(path: Path, *, command: str, expected: Mapping[str, Any] | None = None) -> xr.Dataset:
    """A record with the ``expected`` attributes; ``RecordError`` with file, reason and the command that makes it anew.

    Its ``encoding["source"]`` is the file, as with all that xarray opens.
    """
    kept, sha256 = _decoded(files.read_sealed(path, command=command))
    return _as_expected(kept.copy(deep=True), path, command, {"sha256": sha256, **(expected or {})})


def read_attributes(path: Path, *, command: str, expected: Mapping[str, Any] | None = None) -> xr.Dataset:
    """The same without its variables, in a fraction of the time: enough for where a record comes from.

    The seal is compared, ``sha256`` with the numbers is not.
    """
    told = netcdf.attributes(files.read_sealed(path, command=command))
    return _as_expected(xr.Dataset(attrs=told), path, command, expected or {})


def _as_expected(dataset: xr.Dataset, path: Path, command: str, expected: Mapping[str, Any]) -> xr.Dataset:
    for name, value in {"schema": SCHEMA, **expected}.items():
        found = dataset.attrs.get(name, "missing")
        if found != value:
            raise RecordError(f"{path}: {name} is {found}, expected {value}; make it anew with: {command}")
    dataset.encoding["source"] = str(path)
    return dataset


@functools.lru_cache(64)  # a book's pages and its ledger ask for the same records
def _decoded(content: bytes) -> tuple[xr.Dataset, str]:
    """What a record's file holds, and the sha256 of it."""
    dataset = netcdf.dataset(content)
    return dataset, result_sha256(dataset)


def result_sha256(dataset: xr.Dataset) -> str:
    """sha256 over every variable and attribute but :data:`CIRCUMSTANCES`, independent of how a file stores them."""
    digest = hashlib.sha256(_attributes(dataset.attrs))
    for name in sorted(map(str, dataset.variables)):
        variable = dataset[name]
        values = variable.values
        if values.dtype.kind in "OUS":
            content = json.dumps(values.astype(str).tolist()).encode()
        else:
            content = f"{values.dtype.str}{values.shape}".encode() + np.ascontiguousarray(values).tobytes()
        digest.update(f"{name}{variable.dims}".encode() + content + _attributes(variable.attrs))
    return digest.hexdigest()


def _attributes(attrs: Mapping[Any, Any]) -> bytes:
    counted = {str(k): v for k, v in attrs.items() if k not in (*CIRCUMSTANCES, "sha256")}
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in counted.items()}
    return json.dumps(plain, sort_keys=True).encode()


def device_name() -> str:
    """What computes here, for people: cores and kind of processor."""
    return f"{os.cpu_count()}-core {platform.machine()} CPU"


@functools.cache
def commit() -> str:
    """The git commit of the package's source, "+" added where files differ from it.

    Outside a checkout the one that the pack names (:mod:`kadam.lab.records.pack`), or "unknown".
    """

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        return git("rev-parse", "--short=10", "HEAD") + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return pack.commit() or "unknown"
