"""Makes a pack: ``make gpu-pack``, or ``python -m kadam.lab.packing FOLDER``. What lies in one: :mod:`kadam.lab.records.pack`.

Packages are copied from the environment at hand, so that no network is needed, and refused unless they are pure Python.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from kadam.lab.data.sources import SOURCES, DataError, Source, data_folder, download, download_folder, verify
from kadam.lab.records import pack
from kadam.lab.records.record import commit

LIMIT = 50_000_000  # bytes in all

# The files of the slices' data, by source. Those of CIFAR-10 that are exact are larger than a whole pack.
FILES = {
    "tinyshakespeare": "tinyshakespeare.txt",
    "reviews-train": "imdb.train.txt.xz",
    "reviews-valid": "imdb.valid.txt.xz",
    "cifar10": "cifar10_jpeg.npz",
}

LEFT_OUT = {"..", "__pycache__", "tests", "sboms"}  # of a package: what nobody imports

Contents = Mapping[str, bytes]  # by the name of a file in the pack


def make(folder: Path) -> int:
    """Make a pack, in place of an earlier one, and return its bytes. ``ValueError`` for what is missing, wrong or too large."""
    if folder.exists() and not (folder / pack.COMMIT).is_file():
        raise ValueError(f"{folder}: is there already, and is no pack; name another folder")
    contents = dict(_contents())
    size = _checked_size(contents)
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return size


def _contents() -> Iterator[tuple[str, bytes]]:
    for name in pack.CARRIED:
        yield from _package(name)
    for name, file in FILES.items():
        yield f"{pack.DATA}/{file}", _data(SOURCES[name], file)
    yield pack.CODE, f"{pack.code()}\n".encode()
    yield pack.COMMIT, f"{commit()}\n".encode()  # last: a pack without it is not whole


def _package(name: str) -> Iterator[tuple[str, bytes]]:
    """The files of an installed package and what describes it, as a wheel would hold them."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        raise ValueError(f"{name}: cannot be packed, since it is not installed here: pip install 'kadam[lab]'") from None
    if "Tag: py3-none-any" not in (found.read_text("WHEEL") or "").splitlines():
        raise ValueError(f"{name}: cannot be packed, since it is compiled for this machine, or of an unknown kind")
    for file in found.files or ():
        if not LEFT_OUT & set(file.parts):
            yield f"{pack.PACKAGES}/{file.as_posix()}", Path(str(file.locate())).read_bytes()


def _data(source: Source, name: str) -> bytes:
    """The verified content of a source's file, downloaded where it has an address and is not on this machine."""
    folders = (data_folder(), pack.part(pack.DATA), download_folder())
    path = next((one / name for one in folders if one and (one / name).is_file()), None)
    if path is None and source.download.name != name:
        raise DataError(f"{name}: is not here and cannot be downloaded; put a copy into a folder, and name that by KADAM_DATA")
    try:
        return verify(source, path or download(source))
    except OSError as error:
        remedy = "put a copy into a folder, and name that by KADAM_DATA"
        raise DataError(f"{name}: cannot be had from {source.download.url} ({error}); {remedy}") from error


def _checked_size(contents: Contents) -> int:
    size = sum(map(len, contents.values()))
    if size > LIMIT:
        largest = sorted(contents, key=lambda name: -len(contents[name]))[:3]
        words = ", ".join(f"{name} ({len(contents[name]) / 1e6:.1f} MB)" for name in largest)
        raise ValueError(f"a pack may hold {LIMIT / 1e6:.0f} MB, this would hold {size / 1e6:.1f}; the largest files: {words}")
    return size


def main(arguments: list[str]) -> None:
    """Make the pack in the folder named; what a user can mend is one line."""
    if len(arguments) != 1:
        sys.exit("usage: python -m kadam.lab.packing FOLDER")
    try:
        size = make(Path(arguments[0]))
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")
    print(f"{arguments[0]}: {size / 1e6:.1f} MB, of commit {commit()}; beside the package, or named by KADAM_PACK, it is used")


if __name__ == "__main__":
    main(sys.argv[1:])
