"""The book's notebooks: their parameters, their execution, and what is kept of it.

A notebook is executed again only when its cells, the package's code, its parameters or the records behind it have changed;
prose and captions are always the source's. Whatever is interrupted leaves no half-written file and goes on at the next call.
"""

import ast
import copy
import functools
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import xarray as xr
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from kadam import chapters
from kadam.lab.records import committed, files
from kadam.lab.records.closure import PACKAGE, code_of, files_of, imported

Notebook = nbformat.NotebookNode
Plan = list[tuple["Page", dict[str, Any], Path]]

# Sockets have paths of at most about 100 characters, so theirs begins here and not in a folder of the user's choice.
SOCKETS = "/tmp"

EVERY = "all"  # in place of a page's experiments


class BookError(ValueError):
    """The book cannot be built, and why."""


@dataclass(frozen=True)
class Page:
    """A notebook of the book: its MyST source and the experiments whose records it shows."""

    source: Path

    @property
    def name(self) -> str:
        return self.source.stem

    def read(self) -> Notebook:
        return _parsed(self.source.read_text(encoding="utf-8"))

    def experiments(self) -> list[str]:
        named = self.read().metadata.get("experiments", [])
        return list(chapters.NAMES if named == EVERY else named)

    @property
    def shows_every(self) -> bool:
        """Whether it shows what all records say together, and none by itself."""
        return bool(self.read().metadata.get("experiments") == EVERY)


@functools.cache
def _parsed(source: str) -> Notebook:
    return jupytext.reads(source, fmt="md")


DRAWN = "text/csv"  # the kind of output that holds what a figure draws


def execute(page: Page, parameters: Mapping[str, Any], used: Mapping[str, xr.Dataset], root: Path) -> Notebook:
    """The executed notebook, free of times and random ids; from ``_build/executed`` where nothing has changed."""
    return execute_all(planned([page], parameters, used, root))[0]


def planned(pages: Sequence[Page], given: Mapping[str, Any], used: Mapping[str, xr.Dataset], root: Path) -> Plan:
    """Each page with those of the given parameters that it has, and the file that holds it executed, once it is."""
    each = [(page, known_to(page, given)) for page in pages]
    return [(page, known, root / "_build" / "executed" / f"{page.name}-{key(page, known, used)}.ipynb") for page, known in each]


def execute_all(plan: Plan) -> list[Notebook]:
    """The executed notebooks; those that have no file yet are executed side by side in processes."""
    todo = [one for one in plan if not one[2].exists()]
    with tempfile.TemporaryDirectory(prefix="kadam-", dir=SOCKETS) as sockets:
        if len(todo) < 2:
            for one in todo:
                _execute(*one, sockets)
        else:
            parallel = Parallel(n_jobs=min(len(todo), int(cpu_count())), return_as="generator_unordered", batch_size=1)
            for done in parallel(delayed(_execute)(*one, sockets) for one in todo):
                say(f"  {done}")
    return [with_prose(nbformat.v4.reads(path.read_text()), page) for page, _, path in plan]


def _execute(page: Page, parameters: Mapping[str, Any], path: Path, sockets: str) -> str:
    """Write the executed notebook; its name and seconds."""
    from kadam import kernel  # a build that has nothing to execute does without

    start = time.perf_counter()
    try:
        done = kernel.execute(copy.deepcopy(page.read()), parameters, f"{sockets}/{page.name[:20]}")
    except kernel.CellError as error:
        raise BookError(f"{page.source}: {error}") from None
    done.metadata["seconds"] = round(time.perf_counter() - start, 1)
    write(path, as_text(normalised(done)))
    return f"{page.name}: {done.metadata['seconds']} s"


def with_prose(executed: Notebook, page: Page) -> Notebook:
    """The executed notebook with the prose and the captions that its source has now."""
    own = (cell for cell in executed.cells if "injected-parameters" not in cell.metadata.tags)
    for cell, now in zip(own, page.read().cells, strict=True):
        cell.source, cell.metadata = now.source, {**now.metadata, "tags": cell.metadata.tags}
    return executed


def check_settings(pages: Sequence[Page], given: Mapping[str, Any]) -> None:
    """``BookError`` for a given parameter that no page has, or whose value is of another kind."""
    if "profile" in given:
        raise BookError(f"profile is set by --profile, not by --set; got profile={given['profile']!r}")
    known = [(page, name, example) for page in pages for name, example in defaults(page).items() if name != "profile"]
    for name in given:
        if name not in (valid := [name for _, name, _ in known]):
            raise BookError(f"the notebooks: no parameter {name!r}; they have: {', '.join(dict.fromkeys(valid))}")
    for page, name, example in known:
        if name in given and not _is_like(given[name], example):
            raise BookError(f"{page.name}: {name} must be of the kind of {example!r}, got {given[name]!r}")


def _is_like(value: Any, example: Any) -> bool:
    """Whether a value is of the kind of an example: a whole number will do for any number."""
    if isinstance(example, list):
        return isinstance(value, list) and bool(value) and all(_is_like(one, example[0]) for one in value)
    return isinstance(value, (int, float) if isinstance(example, float) else type(example)) and not isinstance(value, bool)


def known_to(page: Page, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the given parameters that this notebook has."""
    return {name: value for name, value in given.items() if name in defaults(page)}


def defaults(page: Page) -> dict[str, Any]:
    """What the notebook's cell tagged ``parameters`` assigns, by name."""
    for cell in page.read().cells:
        if "parameters" in cell.metadata.get("tags", []):
            assignments = [node for node in ast.parse(cell.source).body if isinstance(node, ast.Assign)]
            return {ast.unparse(target): ast.literal_eval(node.value) for node in assignments for target in node.targets}
    return {}


def key(page: Page, parameters: Mapping[str, Any], used: Mapping[str, xr.Dataset]) -> str:
    code = [(cell.cell_type == "code" and cell.source, cell.metadata.get("tags")) for cell in page.read().cells]
    digest = hashlib.sha256(json.dumps([code, dict(parameters)], sort_keys=True).encode())
    digest.update("".join(used[name].attrs["sha256"] for name in page.experiments()).encode())
    if folder := committed.results_folder():  # a page may read committed records too
        digest.update(json.dumps(committed.manifest(folder)).encode())
    digest.update(code_hash(page).encode())
    return digest.hexdigest()[:12]


def code_hash(page: Page, package: Path = PACKAGE) -> str:
    """Eight hex digits over the code that a page is drawn by: what its cells import, and the claims that they print."""
    modules = [name for cell in page.read().cells if cell.cell_type == "code" for name in imported(cell.source)]
    modules += [chapters.find(name).module_name("claims") for name in page.experiments()] + ["kadam.report.drawn"]
    return code_of(files_of(*modules, package=package), package)


def normalised(notebook: Notebook) -> Notebook:
    """Without what differs from run to run: random cell ids, execution times, the injected cell's traces, pieces of text."""
    kept = {name: value for name, value in notebook.metadata.items() if name in ("kernelspec", "experiments", "seconds")}
    notebook.metadata = nbformat.from_dict(kept)
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if "outputs" in cell:
            cell.outputs = _joined(cell.outputs)
    return notebook


def _joined(outputs: Sequence[Notebook]) -> list[Notebook]:
    """Printed text in one piece: a slow kernel may send it in several."""
    whole: list[Notebook] = []
    for output in outputs:
        if whole and output.output_type == whole[-1].output_type == "stream" and output.name == whole[-1].name:
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def without_images(notebook: Notebook) -> Notebook:
    """A small copy for comparison: nbval compares printed numbers, not pictures, nor the tables of what they draw."""
    slim = nbformat.from_dict(notebook)
    slim.metadata.pop("seconds", None)
    for cell in slim.cells:
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if DRAWN not in output.get("data", {})]
            for output in cell.outputs:
                for picture in ("image/png", "image/svg+xml"):
                    output.get("data", {}).pop(picture, None)
    return slim


def as_text(notebook: Notebook) -> str:
    """A notebook as its file holds it."""
    return nbformat.writes(notebook) + "\n"


def write(path: Path, text: str) -> None:
    """Write a file whole, and only if its text changes: Sphinx rebuilds what is newer."""
    if not path.exists() or path.read_text() != text:
        with files.whole_file(path) as aside:
            aside.write_text(text)


def say(words: str) -> None:
    """A line about what goes on."""
    tqdm.write(words, file=sys.stderr)
