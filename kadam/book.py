"""From records to pages: execute the notebooks, put a badge on each, generate the ledger and status pages, build.

A notebook is executed again only when its source, the package's code, its parameters or the records behind it have
changed. Whatever is interrupted leaves no half-written file and goes on at the next call.
"""

import ast
import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
import xarray as xr
from tqdm import tqdm
from traitlets.config import Config

from kadam import chapters
from kadam.lab.engine.sweep import all_cores
from kadam.lab.records import committed, files
from kadam.lab.records.closure import PACKAGE, code_of, files_of, imported
from kadam.lab.records.record import device_name, save
from kadam.report import explorer
from kadam.report.ledger import Claim, Verdict, short_table
from kadam.report.table import table

Notebook = nbformat.NotebookNode


class BookError(ValueError):
    """The book cannot be built, and why."""


# Kernels are spoken to through files: no ports, so none that another process could take or listen to.
# They log only what is critical: at shutdown they would complain of being interrupted.
KERNEL: Any = {
    "kernel_name": "python3",
    "config": Config({"KernelManager": {"transport": "ipc"}}),
    "extra_arguments": ["--log-level=CRITICAL"],
}


@dataclass(frozen=True)
class Page:
    """A notebook of the book: its MyST source and the experiments whose records it shows."""

    source: Path

    @property
    def name(self) -> str:
        return self.source.stem

    def read(self) -> Notebook:
        return jupytext.read(self.source)

    def experiments(self) -> list[str]:
        return list(self.read().metadata.get("experiments", []))


def repository() -> Path:
    """The checkout that holds the book; ``BookError`` where there is none."""
    root = committed.repository()
    if root is None:
        raise BookError("no book here: run this inside a clone of the kadam repository (it holds _config.yml and notebooks/)")
    return root


def build(profile: str, parameters: Mapping[str, Any], *, update_smoke: bool = False) -> Path:
    """Make the book at a profile; returns its front page. Raises ``BookError`` where the strict build fails."""
    root = repository()
    pages = [Page(source) for source in sorted((root / "notebooks").glob("*.md"))]
    _check_names("the notebooks", [name for page in pages for name in parameter_names(page)], parameters)
    used = {name: chapters.obtain(name, profile, jobs=all_cores()) for name in chapters.NAMES}
    used |= {name: chapters.measured(name) for name in chapters.MEASURED}
    larger = [chapters.larger(name, root / "results") for name in chapters.NAMES]
    used |= {f"{r.attrs['experiment']}, {r.attrs['profile']}": r for r in larger if r is not None}
    generated = root / "book" / "generated"
    seconds = {}
    for page in tqdm(pages, desc="notebooks", unit="page", disable=None):
        executed = execute(page, {"profile": profile, **known_to(page, parameters)}, used, root)
        seconds[page.name] = executed.metadata.get("seconds", 0.0)
        _write(root / "book" / "notebooks" / f"{page.name}.ipynb", as_text(with_badge(executed, page, used, generated)))
        if update_smoke:
            _write(root / "notebooks" / "smoke" / f"{page.name}.ipynb", as_text(without_images(executed)))
    ledger = chapters.ledger(profile, root / "results")
    _write(generated / "badge.md", badge_of(used))
    _write(generated / "claims.md", ledger_page(ledger))
    _write(generated / "claims-short.md", short_table(ledger, mark=marked_verdict).markdown())
    _write(generated / "status.md", status_page(used, seconds))
    _write(generated / "explorer.md", f"```{{raw}} html\n{explorer.fragment()}\n```\n")
    return _render(root, profile)


def execute(page: Page, parameters: Mapping[str, Any], used: Mapping[str, xr.Dataset], root: Path) -> Notebook:
    """The executed notebook, free of times and random ids; from ``_build/executed`` where nothing has changed."""
    key = _key(page, parameters, used)
    path = root / "_build" / "executed" / f"{page.name}-{key}.ipynb"
    if not path.exists():
        _check_names(page.name, parameter_names(page), parameters)
        with files.whole_file(path) as aside:
            start = time.perf_counter()
            try:
                done = papermill.execute_notebook(page.read(), aside, dict(parameters), progress_bar=False, **KERNEL)
            except papermill.PapermillExecutionError as error:
                raise BookError(f"{page.source}: cell {error.exec_count} failed with {error.ename}: {error.evalue}") from None
            done.metadata["seconds"] = round(time.perf_counter() - start, 1)
            aside.write_text(as_text(normalised(done)))
    return nbformat.read(path, as_version=4)


def _check_names(where: str, valid: Sequence[str], given: Mapping[str, Any]) -> None:
    """``BookError`` listing the valid names if a given parameter is none of them."""
    unknown = [name for name in given if name not in valid]
    if unknown:
        raise BookError(f"{where}: no parameter {unknown[0]!r}; it has: {', '.join(dict.fromkeys(valid))}")


def known_to(page: Page, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the given parameters that this notebook has."""
    return {name: value for name, value in given.items() if name in parameter_names(page)}


def parameter_names(page: Page) -> list[str]:
    """The names that the notebook's cell tagged ``parameters`` assigns."""
    for cell in page.read().cells:
        if "parameters" in cell.metadata.get("tags", []):
            assignments = [node for node in ast.parse(cell.source).body if isinstance(node, ast.Assign)]
            return [target.id for node in assignments for target in node.targets if isinstance(target, ast.Name)]
    return []


def _key(page: Page, parameters: Mapping[str, Any], used: Mapping[str, xr.Dataset]) -> str:
    digest = hashlib.sha256(page.source.read_bytes())
    digest.update(json.dumps(dict(parameters), sort_keys=True).encode())
    digest.update("".join(used[name].attrs["sha256"] for name in page.experiments()).encode())
    if folder := committed.results_folder():  # a page may read committed records too
        digest.update(json.dumps(committed.manifest(folder)).encode())
    digest.update(code_hash(page).encode())
    return digest.hexdigest()[:12]


def code_hash(page: Page, package: Path = PACKAGE) -> str:
    """Eight hex digits over the code that a page is drawn by: what its cells import, and the claims that they print."""
    modules = [name for cell in page.read().cells if cell.cell_type == "code" for name in imported(cell.source)]
    modules += [chapters.find(name).module_name("claims") for name in page.experiments()]
    return code_of(set().union(*(files_of(module, package) for module in modules)), package)


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
    """A small copy for comparison: nbval compares printed numbers, not pictures."""
    slim = nbformat.from_dict(notebook)
    slim.metadata.pop("seconds", None)
    for output in (output for cell in slim.cells for output in cell.get("outputs", [])):
        if "data" in output:
            output.data.pop("image/png", None)
    return slim


def with_badge(notebook: Notebook, page: Page, used: Mapping[str, xr.Dataset], generated: Path) -> Notebook:
    """A copy with the page's provenance below its title, and what the badge links to put beside the book."""
    shown = {key: record for key, record in used.items() if record.attrs["experiment"] in page.experiments()}
    for record in shown.values():
        save(record, generated / "{experiment}-{profile}.nc".format(**record.attrs))
    _write(generated / page.source.name, page.source.read_text())
    source = f" · {{download}}`this page's source <../generated/{page.source.name}>`"
    badge = nbformat.v4.new_markdown_cell(badge_of(shown, folder="../generated", after=source), id="badge")
    marked = with_tables_apart(notebook)
    for cell in marked.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("remove-cell")  # the badge names the profile
    title = next(i for i, cell in enumerate(marked.cells) if cell.cell_type == "markdown")
    heading, _, rest = marked.cells[title].source.partition("\n")
    marked.cells[title].source = heading
    below = [nbformat.v4.new_markdown_cell(rest.strip(), id="after-title")] if rest.strip() else []
    marked.cells[title + 1 : title + 1] = [badge, *below]
    return marked


def with_tables_apart(notebook: Notebook) -> Notebook:
    """A copy in which the tables of a figure's cell stand below it: on the page all that such a cell displays is the figure."""
    apart = nbformat.from_dict(notebook)
    cells = []
    for cell in apart.cells:
        cells.append(cell)
        figure = "figure" in cell.metadata.get("mystnb", {})
        tables = [output for output in cell.outputs if "text/html" in output.get("data", {})] if figure else []
        if tables:
            cell.outputs = [output for output in cell.outputs if output not in tables]
            hidden = {"tags": ["remove-input"]}
            cells.append(
                nbformat.v4.new_code_cell(
                    "# a page leaves out cells without a line", outputs=tables, metadata=hidden, id=f"{cell.id}-tables"
                )
            )
    apart.cells = cells
    return apart


def badge_of(shown: Mapping[str, xr.Dataset], *, folder: str = "generated", after: str = "") -> str:
    """Where the numbers of these records come from; ``folder``: the way from the page to the records' copies."""
    facts = "profile {profile} · {device} · {date} · commit {commit} · {wall_time_s:.1f} s · data: {data} · result {sha256:.8}"
    link = f" · {{{{download}}}}`{{experiment}} record <{folder}/{{experiment}}-{{profile}}.nc>`"
    lines = "\\\n".join((facts + link).format(**record.attrs) for record in shown.values())
    return f":::{{div}} kadam-badge\n{lines}{after}\n:::\n"


def marked_verdict(verdict: Verdict) -> str:
    """A verdict in its colour, by its name in the style sheet."""
    short = {"not reproduced": "not", "not run at this profile": "notrun"}
    return f"[{verdict}]{{.verdict-{short.get(verdict, verdict)}}}"


def ledger_page(ledger: list[Claim]) -> str:
    """The ledger with sources and criteria, one claim after another."""
    entries = (
        f"**{claim.id}** — {marked_verdict(claim.verdict)}\n: {claim.statement}.\n\n"
        f"  *Source:* {claim.source}. *Criterion:* {claim.criterion}. *Measured:* {claim.measured}.\n\n"
        f"  Profile {claim.profile}, record `{claim.record}`, chapter [](notebooks/{claim.notebook}.ipynb)."
        for claim in ledger
    )
    return "\n\n".join(entries) + "\n"


def status_page(used: Mapping[str, xr.Dataset], seconds: Mapping[str, float]) -> str:
    """What machine and versions made this book, and how long each part took."""
    versions = json.loads(next(iter(used.values())).attrs["versions"])
    machine = {"platform": platform.platform(terse=True), "processor": device_name(), **versions}
    shown = ("profile", "device", "date", "commit", "wall_time_s", "data")
    records = ([name, *(record.attrs[fact] for fact in shown)] for name, record in used.items())
    tables = [
        table(("part", "value"), machine.items()),
        table(("record", *shown[:4], "seconds", "data"), records),
        table(("notebook", "seconds to execute"), seconds.items()),
    ]
    return "\n\n".join(one.markdown() for one in tables) + "\n"


def _render(root: Path, profile: str) -> Path:
    output = root if profile == "laptop" else root / "_build" / profile
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "book", "--config", "_config.yml"]
    strict = ["--path-output", str(output), "-W", "-n", "--keep-going"]
    finished = subprocess.run([*command, *strict], cwd=root, capture_output=True, text=True)
    if finished.returncode != 0:
        raise BookError(f"the strict build failed:\n{finished.stdout[-4000:]}\n{finished.stderr[-4000:]}")
    return output / "_build" / "html" / "index.html"


def as_text(notebook: Notebook) -> str:
    """A notebook as its file holds it."""
    return nbformat.writes(notebook) + "\n"


def _write(path: Path, text: str) -> None:
    """Write a file whole, and only if its text changes: Sphinx rebuilds what is newer."""
    if not path.exists() or path.read_text() != text:
        with files.whole_file(path) as aside:
            aside.write_text(text)
