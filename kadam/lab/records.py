"""Records: what a run measured, together with everything needed to trust it.

A record is an xarray Dataset in a netCDF file. Its attributes carry the experiment, profile, configuration and its
hash, seed, versions, device, commit, date, wall time, data and its sha256, and the sha256 of the contents. It is
written aside and renamed, so a file under its name is whole; on reading, contents and hash must agree.
"""

import functools
import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import xarray as xr

from kadam.lab import profiles
from kadam.lab.cache import cache_folder

SCHEMA = 1
PACKAGE = Path(__file__).parents[1]
LIBRARIES = ("kadam", "numpy", "scipy", "torch")

# What a result depends on besides its own experiment; figures and the command line do not change a number.
SOURCES = ("decay.py", "theory", "optim", "lab")


class RecordError(ValueError):
    """A record is damaged, missing or not what it says it is."""


class Experiment(Protocol):
    """What an experiment's ``run`` looks like from outside."""

    def __call__(self, config: Any, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset: ...


def recorded(experiment: str, known: Mapping[str, Any]) -> Callable[[Experiment], Experiment]:
    """Decorate an experiment's ``run`` so that its Dataset carries its provenance. ``known``: its profiles."""

    def decorate(run: Experiment) -> Experiment:
        @functools.wraps(run)
        def run_and_stamp(config: Any, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
            start = time.perf_counter()
            dataset = run(config, checkpoint=checkpoint, jobs=jobs)
            stamp = provenance(experiment, profiles.name_of(known, config), config, time.perf_counter() - start)
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
        "versions": json.dumps({"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}),
        "device": device_name(),
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "wall_time_s": round(float(seconds), 3),
    }


def with_units(dataset: xr.Dataset, units: Mapping[str, str]) -> xr.Dataset:
    """The dataset with the attribute ``units`` on each of the variables named."""
    for name, unit in units.items():
        dataset[name].attrs["units"] = unit
    return dataset


def config_hash(config: Any) -> str:
    """Eight hex digits that name a configuration."""
    return _sha256(json.dumps(asdict(config), sort_keys=True).encode())[:8]


def source_hash(experiment: str) -> str:
    """Eight hex digits over the package's code that this experiment's numbers depend on, and the libraries' versions."""
    digest = hashlib.sha256(json.dumps([version(name) for name in LIBRARIES]).encode())
    for part in (*SOURCES, f"experiments/{experiment}.py"):
        for file in sorted(_python_files(PACKAGE / part)):
            digest.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:8]


def _python_files(path: Path) -> Iterator[Path]:
    return iter([path]) if path.is_file() else path.rglob("*.py")


def local_path(experiment: str, profile: str, config: Any, data_sha256: str) -> Path:
    """Where the local record of this very computation lies: any change of input or code changes the name."""
    key = "-".join([profile, config_hash(config), source_hash(experiment), (data_sha256 or "nodata")[:8]])
    return cache_folder() / "records" / experiment / f"{key}.nc"


def save(dataset: xr.Dataset, path: Path) -> None:
    """Write a record, with the sha256 of its contents, under its name at once or not at all."""
    complete = dataset.assign_attrs({"schema": SCHEMA} | dataset.attrs)
    sealed = complete.assign_attrs(sha256=content_sha256(complete))
    with whole_file(path) as aside:
        sealed.to_netcdf(aside, engine="h5netcdf", encoding={name: {"zlib": True} for name in dataset.data_vars})


def read(path: Path, *, command: str) -> xr.Dataset:
    """A record, verified. Raises ``RecordError`` with the file, the reason and the command that makes it anew."""
    try:
        with h5py.File(path):  # where this fails h5netcdf would leave a half-made file object behind
            pass
        dataset = xr.load_dataset(path, engine="h5netcdf", decode_times=False)  # units here are words, "since" too
    except FileNotFoundError:
        raise RecordError(f"{path}: no such record; make it with: {command}") from None
    except Exception as error:  # h5py raises many kinds on a damaged file
        raise RecordError(f"{path}: cannot be read ({error}); make it anew with: {command}") from None
    found, expected = content_sha256(dataset), dataset.attrs.get("sha256")
    if found != expected:
        raise RecordError(f"{path}: contents have sha256 {found}, recorded {expected}; make it anew with: {command}")
    if dataset.attrs.get("schema") != SCHEMA:
        raise RecordError(f"{path}: schema is {dataset.attrs.get('schema')}, expected {SCHEMA}; make it anew with: {command}")
    return dataset


def read_committed(folder: Path, name: str, sha256: str) -> xr.Dataset:
    """A record of the repository's ``results`` folder; its file must be the one that the manifest lists."""
    path = folder / name
    command = f"git checkout -- {path}"
    if not path.exists():
        raise RecordError(f"{path}: listed in the manifest but missing; bring it back with: {command}")
    found = _sha256(path.read_bytes())
    if found != sha256:
        raise RecordError(f"{path}: file has sha256 {found}, the manifest says {sha256}; bring it back with: {command}")
    return read(path, command=command)


def commit_record(dataset: xr.Dataset, folder: Path) -> Path:
    """Put a record into the repository's ``results`` folder and its manifest, replacing that profile's earlier one."""
    name = "{experiment}/{profile}-{config_hash}.nc".format(**dataset.attrs)
    manifest = folder / "manifest.json"
    listed: dict[str, str] = json.loads(manifest.read_text()) if manifest.exists() else {}
    earlier = f"{dataset.attrs['experiment']}/{dataset.attrs['profile']}-"
    for old in [path for path in listed if path.startswith(earlier)]:
        del listed[old]
        (folder / old).unlink(missing_ok=True)
    save(unsealed(dataset), folder / name)
    listed[name] = _sha256((folder / name).read_bytes())
    with whole_file(manifest) as aside:
        aside.write_text(json.dumps(dict(sorted(listed.items())), indent=2) + "\n")
    return folder / name


def unsealed(dataset: xr.Dataset) -> xr.Dataset:
    """A copy without the sha256 that reading found; saving computes it again."""
    copy = dataset.copy()
    del copy.attrs["sha256"]
    return copy


def content_sha256(dataset: xr.Dataset) -> str:
    """sha256 over every variable and attribute, independent of how the file stores them."""
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
    plain = {str(k): v.item() if isinstance(v, np.generic) else v for k, v in attrs.items() if k != "sha256"}
    return json.dumps(plain, sort_keys=True).encode()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to; renamed to ``path`` when the block ends well, removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def device_name() -> str:
    """What computes here, for people: cores and kind of processor."""
    return f"{os.cpu_count()}-core {platform.machine()} CPU"


@functools.cache
def commit() -> str:
    """The git commit of the package's source, "+" added where files differ from it; "unknown" outside a checkout."""

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        return git("rev-parse", "--short=10", "HEAD") + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
