"""The repository's ``results`` folder: reference records, and a manifest with the sha256 of every file."""

import hashlib
import json
from pathlib import Path

import xarray as xr

from kadam.lab.records import files
from kadam.lab.records.closure import PACKAGE
from kadam.lab.records.files import RecordError
from kadam.lab.records.record import Reader, read, save

MANIFEST = "manifest.json"


def repository() -> Path | None:
    """The checkout that holds the book: the current folder or one above it, else where the package lies; None without one."""
    folders = (Path.cwd(), *Path.cwd().parents, PACKAGE.parent)
    return next((one for one in folders if (one / "_config.yml").is_file() and (one / "notebooks").is_dir()), None)


def results_folder() -> Path | None:
    """The repository's committed records, where there is a repository."""
    root = repository()
    return None if root is None else root / "results"


def committed(folder: Path, experiment: str, profile: str, reader: Reader = read) -> xr.Dataset | None:
    """The record of an experiment at a profile, if any; ``RecordError``, with a remedy, where the manifest says otherwise.

    ``reader``: may read its attributes alone.
    """
    start = f"{experiment}/{profile}-"
    listed = {name: sha256 for name, sha256 in manifest(folder).items() if name.startswith(start)}
    present = {path.relative_to(folder).as_posix() for path in folder.glob(f"{start}*.nc")}
    for name in sorted(present - set(listed)):
        remedy = f"remove it, or run: kadam run {experiment} --profile {profile} --commit"
        raise RecordError(f"{folder / name}: the manifest does not list it; {remedy}")
    if len(listed) > 1:
        raise RecordError(f"{folder / MANIFEST}: lists {len(listed)} records of {experiment} at {profile}; {_repair(folder)}")
    return next((_listed(folder, name, sha256, reader) for name, sha256 in listed.items()), None)


def manifest(folder: Path) -> dict[str, str]:
    """Name and sha256 of every record in the folder; ``RecordError`` for a manifest that is none, or missing."""
    path = folder / MANIFEST
    if not path.exists():
        missing = path if folder.exists() else folder
        raise RecordError(f"{missing}: missing; bring it back with: git checkout -- {missing} (an archive: unpack it again)")
    try:
        listed = json.loads(path.read_bytes())
    except ValueError as error:
        raise RecordError(f"{path}: cannot be read ({error}); {_repair(folder)}") from None
    if not isinstance(listed, dict) or not all(isinstance(value, str) for value in listed.values()):
        raise RecordError(f"{path}: must be an object of names and checksums; {_repair(folder)}")
    return listed


def _listed(folder: Path, name: str, sha256: str, reader: Reader) -> xr.Dataset:
    """A record that the manifest lists, which must be what its name and checksum say."""
    path = folder / name
    command = f"git checkout -- {path}"
    if not path.exists():
        raise RecordError(f"{path}: listed in the manifest but missing; bring it back with: {command}")
    found = _sha256(path)
    if found != sha256:
        raise RecordError(f"{path}: file has sha256 {found}, the manifest says {sha256}; bring it back with: {command}")
    record = reader(path, command=command)
    if _name(record) != name:
        raise RecordError(f"{path}: holds the record {_name(record)}; bring the right one back with: {command}")
    return record


def commit(dataset: xr.Dataset, folder: Path) -> Path:
    """Put a record into the folder and its manifest, replacing that profile's earlier one, which goes last."""
    name = _name(dataset)
    earlier = f"{dataset.attrs['experiment']}/{dataset.attrs['profile']}-"
    with files.locked(folder / ".lock"):
        listed = manifest(folder) if (folder / MANIFEST).exists() or any(folder.glob("*/*.nc")) else {}
        save(dataset, folder / name)
        kept = {old: sha256 for old, sha256 in listed.items() if not old.startswith(earlier)}
        listed = dict(sorted({**kept, name: _sha256(folder / name)}.items()))
        with files.whole_file(folder / MANIFEST) as aside:
            aside.write_text(json.dumps(listed, indent=2) + "\n")
        for old in set(folder.glob(f"{earlier}*.nc")) - {folder / name}:
            old.unlink()
    return folder / name


def _name(dataset: xr.Dataset) -> str:
    return "{experiment}/{profile}-{config_hash}.nc".format(**dataset.attrs)


def _repair(folder: Path) -> str:
    return f"bring the right one back with: git checkout -- {folder / MANIFEST}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
