"""Which of the package's files a module depends on: all that it imports, directly or not, and a hash that names them.

Imports inside functions and guarded ones count, and so does a module that is named in a string, as ``import_module`` takes it.
"""

import ast
import functools
import hashlib
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from kadam.lab.records.files import RecordError

PACKAGE = Path(__file__).parents[2]
NAME = PACKAGE.name
LIBRARIES = ("numpy", "scipy", "torch")

version = functools.cache(metadata.version)

# How pieces run and where records lie: tests hold that neither changes a bit of a result.
HARMLESS = (f"{NAME}.lab.engine", f"{NAME}.lab.records")

# Packages whose own file lists what lies in them: whoever imports one by name depends on it, a module inside does not.
LISTS = (NAME, f"{NAME}.chapters")

# What cannot change a number in any room: figures, verdicts, pages and commands.
SHOWN = ("claims.py", "figures.py", "cli.py", "book.py", "notebooks.py", "kernel.py", "pictures.py", "rendering.py")

# Every file as it was when this process began to load the laboratory: the code that it runs.
LOADED = {path: hashlib.sha256(path.read_bytes()).digest() for path in PACKAGE.rglob("*.py")}


def source_hash(module: str, package: Path = PACKAGE) -> str:
    """Eight hex digits over the code that the numbers of this ``run`` module depend on, and the libraries' versions."""
    return code_of(files_of(module, package=package, without=HARMLESS), package)


def check_unedited(module: str, what: str) -> None:
    """``RecordError`` where code that ``module`` depends on is not what this process loaded: nobody knows which of them ran."""
    for path in _needed(module):
        if hashlib.sha256(path.read_bytes()).digest() != LOADED.get(path):
            remedy = "run again, and in a notebook restart the kernel first"
            raise RecordError(f"{path}: was edited while {what} ran, or after it was imported; {remedy}")


@functools.cache  # long sweeps ask often; an edit that adds an import is found in the file that it edits
def _needed(module: str) -> tuple[Path, ...]:
    return tuple(sorted(files_of(module, without=HARMLESS)))


@functools.cache  # of the code as it was when this process first asked
def package_hash() -> str:
    """The same over all code that computes anything: what two processes must share to work on one result."""
    computing = (path for path in PACKAGE.rglob("*.py") if path.name not in SHOWN and PACKAGE / "report" not in path.parents)
    return code_of(computing, PACKAGE)


def whole_hash() -> str:
    """The same over all of the package's code, as it is now."""
    return code_of(PACKAGE.rglob("*.py"), PACKAGE)


def code_of(files: Iterator[Path] | set[Path], package: Path) -> str:
    """Eight hex digits over the names and contents of files, and the libraries' versions."""
    digest = hashlib.sha256(repr([version(name) for name in LIBRARIES]).encode())
    for path in sorted(files):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]


def files_of(*modules: str, package: Path = PACKAGE, without: tuple[str, ...] = ()) -> set[Path]:
    """The files of modules and of all that they import, in this copy of the package; ``without``: packages left out."""
    found: set[Path] = set()
    waiting, met = [*modules], {*modules}
    while waiting:
        name = waiting.pop()
        path = _file(name, package)
        if path is None or path in found or name.startswith(without):
            continue
        found.add(path)
        new = {*_parents(name), *_imports(path)} - met
        waiting += new
        met |= new
    return found


def _imports(path: Path) -> tuple[str, ...]:
    """What a file imports, as it is now."""
    held = os.stat(path)
    return _imports_of(path, held.st_mtime_ns, held.st_size)


@functools.lru_cache(2**10)  # a book asks for every file hundreds of times
def _imports_of(path: Path, changed_ns: int, size: int) -> tuple[str, ...]:
    return imported(path.read_text(encoding="utf-8"))


def _file(name: str, package: Path) -> Path | None:
    """Where a module of the package lies; None for what is no module."""
    place = f"{package.parent}/{name.replace('.', '/')}"  # paths as objects would take most of a closure's time
    return next((Path(path) for path in (f"{place}.py", f"{place}/__init__.py") if os.path.isfile(path)), None)


def _parents(name: str) -> list[str]:
    """The packages that Python runs before a module, but for those that only list what there is."""
    parts = name.split(".")
    return [parent for i in range(2, len(parts)) if (parent := ".".join(parts[:i])) not in LISTS]


@functools.cache
def imported(source: str) -> tuple[str, ...]:
    """Names in this package that a source imports, or may name in a string: modules, and what may be one."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                names += [alias.name for alias in node.names]
            case ast.ImportFrom(module=str(module)):
                names += [module if module != NAME else "", *(f"{module}.{alias.name}" for alias in node.names)]
            case ast.Constant(value=str(text)):
                names.append(text)
    return tuple(name for name in dict.fromkeys(names) if name.startswith(f"{NAME}."))
