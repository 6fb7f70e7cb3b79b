"""Files that are whole or not there: written aside and renamed, sealed with a checksum, guarded by a lock.

A seal is the last line of a file: the sha256 of all bytes before it. HDF5, and so netCDF, reads a sealed file as if the seal
were not there.
"""

import filecmp
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout
from tqdm import tqdm

SEAL = b"\nkadam sha256 %s\n"
SEAL_LENGTH = len(SEAL % (b"0" * 64))


class RecordError(ValueError):
    """A record is damaged, missing or not what it says it is."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to; renamed to ``path`` when the block ends well, removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{uuid4().hex}.{path.name}")  # no other process, on no machine, writes there
    try:
        yield aside
        with aside.open("r+b") as file:
            os.fsync(file.fileno())  # a rename may get to the disk before the contents
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def copy(source: Path, path: Path) -> None:
    """Make ``path`` a copy of a file; where it is one already it stays as it is."""
    if not (path.exists() and filecmp.cmp(source, path, shallow=False)):
        with whole_file(path) as aside:
            shutil.copyfile(source, aside)


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left of files of this name. Only under a lock: another process may be writing."""
    for aside in folder.rglob(f".*.{name}"):
        aside.unlink(missing_ok=True)


def write_sealed(path: Path, content: bytes) -> None:
    """Write the content and its seal, whole or not at all; ``OSError`` names the file where the disk refuses it."""
    with whole_file(path) as aside:
        try:
            aside.write_bytes(content + _seal(content))
        except OSError as error:
            remark = f"{error.strerror}; what was finished is kept, make room and run the same command"
            raise OSError(error.errno, remark, str(path)) from None


def read_sealed(path: Path, *, command: str) -> bytes:
    """The content of a sealed file; ``RecordError`` with the file, the reason and ``command``, which makes it anew."""
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        raise RecordError(f"{path}: no such record; make it with: {command}") from None
    content, seal = whole[:-SEAL_LENGTH], whole[-SEAL_LENGTH:]
    if seal != _seal(content):
        altered = "contents do not have the sha256 of the file's last line, so they were altered"
        cut = "ends without the checksum of a finished record: cut short, altered, or written by an earlier version"
        raise RecordError(f"{path}: {altered if seal.startswith(SEAL[:14]) else cut}; make it anew with: {command}")
    return content


def _seal(content: bytes) -> bytes:
    return SEAL % hashlib.sha256(content).hexdigest().encode()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While the block runs no other process is in one with this lock file; it ends with its process, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        tqdm.write(f"{path.stem}: another process is at it; waiting for its result", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
