"""A pack: what a machine without a network or git is given beside the checkout.

``packages`` holds packages of pure Python, ``data`` the experiments' files, ``commit`` the name of the commit, and ``code`` a
hash of the package at that commit. ``make gpu-pack`` makes one (``kadam.lab.packing``). The environment variable KADAM_PACK
names its folder; where it is not set, ``gpu-pack`` beside the package is taken; where it is empty, there is none.
"""

import hashlib
import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2]

# What the laboratory imports and machines for computing seldom have; what these need in turn such machines do have.
CARRIED = ("h5netcdf", "platformdirs", "pooch")

PACKAGES, DATA, COMMIT, CODE = "packages", "data", "commit", "code"


def folder() -> Path | None:
    """The pack at hand, if there is one; ``ValueError`` where KADAM_PACK names no folder."""
    named = os.environ.get("KADAM_PACK")
    found = PACKAGE.parent / "gpu-pack" if named is None else Path(named).absolute()
    if named and not found.is_dir():
        raise ValueError(f"KADAM_PACK must name a folder, got {named!r}; make gpu-pack makes one, and empty it names none")
    return found if named != "" and found.is_dir() else None


def part(name: str) -> Path | None:
    """A folder or file of the pack at hand; None where there is no pack, or no such part in it."""
    whole = folder()
    return whole / name if whole and (whole / name).exists() else None


def use() -> None:
    """Let Python find the pack's packages, after all that is installed. A wrong KADAM_PACK is refused elsewhere."""
    try:
        packages = part(PACKAGES)
    except ValueError:
        return
    if packages and str(packages) not in sys.path:
        sys.path.append(str(packages))


def commit() -> str | None:
    """The commit that the pack names, "+" added where the package is not the one that was packed."""
    named = part(COMMIT)
    if named is None:
        return None
    name, packed = named.read_text().strip(), part(CODE)
    as_packed = packed is not None and packed.read_text().strip() == code()
    return name if as_packed or name.endswith("+") else f"{name}+"


def code() -> str:
    """A hash over the names and contents of the package's modules."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
