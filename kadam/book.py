"""From records to pages: execute the notebooks, put a badge on each, generate the ledger and status pages, build.

Only what has changed is made again. Whatever is interrupted leaves no half-written file and goes on at the next call.
"""

import hashlib
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import metadata, version
from pathlib import Path
from typing import Any

import nbformat
import xarray as xr
from joblib import cpu_count

from kadam import chapters, gpu, notebooks
from kadam.chapters.speed import predicted
from kadam.lab.records import committed, files
from kadam.lab.records.closure import whole_hash
from kadam.lab.records.record import device_name, read_attributes
from kadam.lab.records.store import command
from kadam.notebooks import DRAWN, BookError, Notebook, Page, as_text, say, write
from kadam.rendering import renderer
from kadam.report import crate, explorer, journal
from kadam.report.ledger_page import Made, Makings, answers, fragment, readings, shortfalls
from kadam.report.rows import KINDS, Answered, count
from kadam.report.sentences import listed, plain
from kadam.report.table import table

# What turns pages into html; another version of one makes the html anew.
TOOLS = (
    "jupyter-book",
    "math-core",
    "myst-nb",
    "pydata-sphinx-theme",
    "rocrate",
    "sphinx",
    "sphinx-book-theme",
    "sphinx-notfound-page",
    "sphinx-proof",
    "sphinx-sitemap",
    "sphinxext-opengraph",
    "ziamath",
)

REHEARSED = "Rehearsed on a CPU alone, with the kernel compiled for compute capability 9.0 in the tests: "
PENDING = "known when it is done"  # stands on the machine page for the seconds of the html, until it is


class Stages:
    """The parts of a build: each says that it begins and how long it took, and its seconds are kept for the machine page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    @contextmanager
    def __call__(self, name: str, *, kept: bool = True) -> Iterator[None]:
        """``kept``: whether there is enough to do for its seconds to say something."""
        say(f"{name} ...")
        begin = time.perf_counter()
        yield
        seconds = round(time.perf_counter() - begin, 1)
        say(f"{name}: {seconds} s")
        if kept:
            self.seconds[name] = seconds
            write(self.path, json.dumps(self.seconds))


def repository() -> Path:
    """The checkout that holds the book; ``BookError`` where there is none."""
    root = committed.repository()
    if root is None:
        raise BookError(
            "no book here: run this inside a clone or an unpacked archive of the kadam repository (it holds _config.yml and "
            "notebooks/)"
        )
    return root


def build(profile: str, parameters: Mapping[str, Any], *, update_smoke: bool = False) -> Path:
    """Make the book at a profile; returns its front page. Raises ``BookError`` where the strict build fails.

    Of two processes that build in one folder one waits for the other.
    """
    root = repository()
    pages = [Page(source) for source in sorted((root / "notebooks").glob("*.md"))]
    notebooks.check_settings(pages, parameters)
    output = root if profile == "laptop" else root / "_build" / profile
    html = output / "_build" / "html"
    stamp, given = html.with_name("html.stamp"), {"profile": profile, **parameters}
    with files.locked(root / "_build" / "book.lock"):
        own = {name: _own(name, profile) for name in chapters.NAMES}
        missing = [name for name, path in own.items() if not path.exists()]
        made_of = None if missing else _made_of(root, given, own.values())
        if not update_smoke and _is_whole(html, root) and stamp.exists() and stamp.read_text() == made_of:
            say("nothing has changed since the book was built")
            return html / "index.html"
        stamp.unlink(missing_ok=True)
        stages = Stages(root / "_build" / f"seconds-{profile}.json")
        with stages("records", kept=bool(missing)):
            used = records(profile, root / "results", missing)
        made_of = made_of or _made_of(root, given, own.values())
        with renderer(root, output) as render:
            plan = notebooks.planned(pages, given, used, root)
            with stages("notebooks", kept=not all(path.exists() for *_, path in plan)):
                executed = dict(zip(pages, notebooks.execute_all(plan), strict=True))
            ledger = chapters.rows.answered(chapters.ledger(profile, root / "results"))
            makings = makings_of(ledger, root / "results")
            _write_pages(ledger, makings, executed, used, root, stages.seconds)
            if update_smoke:
                for page, notebook in executed.items():
                    write(root / "notebooks" / "smoke" / f"{page.name}.ipynb", as_text(notebooks.without_images(notebook)))
            with stages("html"):
                render()
        _fill_in(html / "status.html", stages.seconds["html"])
        crate.write(html, ledger, makings, about(root))
        write(stamp, made_of)
    return html / "index.html"


def _own(name: str, profile: str) -> Path:
    """Where this machine's record of an experiment is or will be."""
    return chapters.request(name, chapters.offered(name, profile)).path


def records(profile: str, results: Path, missing: Sequence[str]) -> dict[str, xr.Dataset]:
    """All that the book is made of: this machine's records, the missing ones computed, and the larger committed ones."""
    used = {}
    for name in chapters.NAMES:
        begin = time.perf_counter()
        used[name] = chapters.obtain(name, profile, jobs=int(cpu_count()), reader=read_attributes)
        if name in missing:
            say(f"  {name}: {time.perf_counter() - begin:.1f} s")
    if remark := chapters.remark_on_stand_ins(used):
        say(f"  {remark}")
    used |= {name: chapters.measured(name, read_attributes) for name in chapters.MEASURED}
    larger = [chapters.larger(name, results, read_attributes) for name in chapters.NAMES] if profile != "smoke" else []
    return used | {f"{r.attrs['experiment']}, {r.attrs['profile']}": r for r in larger if r is not None}


def _made_of(root: Path, given: Mapping[str, Any], own: Iterable[Path]) -> str:
    """A hash over all that the html is made of: pages, parameters, records, code, and the tools' versions."""
    digest = hashlib.sha256(repr([sys.version, *map(version, TOOLS), whole_hash()]).encode())
    digest.update(json.dumps(dict(given) | {"address": os.environ.get("KADAM_BASEURL", "")}, sort_keys=True).encode())
    wanted = [*own, *(chapters.request(name, chapters.MEASURED_PROFILE).path for name in chapters.MEASURED)]
    made = {root / "book" / "generated", root / "book" / "notebooks", root / "notebooks" / "smoke"}
    sources = (path for folder in ("book", "notebooks", "results") for path in (root / folder).rglob("*"))
    kept = [path for path in sources if path.suffix != ".pyc" and path.name != ".lock" and not made & set(path.parents)]
    for path in sorted([root / "_config.yml", *wanted, *kept]):
        if path.is_file():
            digest.update(str(path).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _is_whole(html: Path, root: Path) -> bool:
    """Whether every page of the book has its html."""
    names = [path.stem for path in (root / "book").glob("*.md")]
    names += [f"notebooks/{path.stem}" for path in (root / "notebooks").glob("*.md")]
    return all((html / f"{name}.html").exists() for name in ["index", *names])


def _write_pages(
    ledger: Sequence[Answered],
    makings: Makings,
    executed: Mapping[Page, Notebook],
    used: Mapping[str, xr.Dataset],
    root: Path,
    stages: Mapping[str, float],
) -> None:
    """What Sphinx reads besides the pages that are written by hand."""
    generated = root / "book" / "generated"
    for page, notebook in executed.items():
        write(root / "book" / "notebooks" / f"{page.name}.ipynb", as_text(with_badge(notebook, page, used, generated)))
    seconds = {page.name: notebook.metadata.get("seconds", 0.0) for page, notebook in executed.items()}
    write(generated / "badge.md", badge_of(used))
    write(generated / "claims.md", f"```{{raw}} html\n{ledger_page(ledger, makings, root)}\n```\n")
    write(generated / "three.md", answers(ledger, chapters.rows.FRONT) + "\n")
    write(generated / "stages.md", answers(ledger, chapters.rows.STAGES) + "\n")
    write(generated / "counts.md", summary(ledger))
    write(generated / "arithmetic.md", _kept_arithmetic(root))
    write(generated / "gpu.md", on_gpu(root / "results"))
    write(generated / "shortfalls.md", shortfalls(ledger))
    write(generated / "readings.md", readings(ledger))
    for name, words in journal.parts(ledger, makings).items():
        write(generated / f"report-{name}.md", words + "\n")
    write(generated / "status.md", status_page(used, seconds, installed() | dict(stages)))
    write(generated / "explorer.md", f"```{{raw}} html\n{explorer.fragment()}\n```\n")


def with_badge(notebook: Notebook, page: Page, used: Mapping[str, xr.Dataset], generated: Path) -> Notebook:
    """A copy with the page's provenance below its title, and what the badge links to put beside the book."""
    mine = {} if page.shows_every else used
    shown = {key: record for key, record in mine.items() if record.attrs["experiment"] in page.experiments()}
    for record in shown.values():
        _offered(record, generated)
    write(generated / page.source.name, page.source.read_text())
    source = f" · {{download}}`this page's source <../generated/{page.source.name}>`"
    if page.shows_every:
        source = f"computed from every record, which [the machine page](../status.md) lists{source}"
    badge = nbformat.v4.new_markdown_cell(badge_of(shown, folder="../generated", after=source), id="badge")
    by_hash = {record.attrs["sha256"]: record for record in mine.values()}
    marked = with_links_below(with_words_apart(notebook), generated, by_hash)
    for cell in marked.cells:
        tags = cell.metadata.setdefault("tags", [])
        if "injected-parameters" in tags:
            tags.append("remove-cell")  # the badge names the profile
        elif cell.cell_type == "code" and "mystnb" not in cell.metadata and not {"idea", "remove-input"} & {*tags}:
            tags.append("hide-input")  # all is folded but the chapter's idea and the lines that draw
    title = next(i for i, cell in enumerate(marked.cells) if cell.cell_type == "markdown")
    heading, _, rest = marked.cells[title].source.partition("\n")
    marked.cells[title].source = heading
    below = [nbformat.v4.new_markdown_cell(rest.strip(), id="after-title")] if rest.strip() else []
    marked.cells[title + 1 : title + 1] = [badge, *below]
    return marked


def with_words_apart(notebook: Notebook) -> Notebook:
    """A copy in which sentences and tables of a figure's cell stand below it, and its sentences also in the alternative text.

    On the page all that such a cell displays is the figure.
    """
    apart = nbformat.from_dict(notebook)
    cells = []
    for cell in apart.cells:
        cells.append(cell)
        drawn = cell.metadata.get("mystnb", {})
        words = [output for output in cell.get("outputs", []) if {"text/html", "text/markdown"} & set(output.get("data", {}))]
        if words and "figure" in drawn:
            cell.outputs = [output for output in cell.outputs if output not in words]
            told = [plain(output.data["text/markdown"]) for output in words if "text/markdown" in output.data]
            alt = " ".join([drawn["image"]["alt"].strip(), *told])
            cell.metadata["mystnb"] = {**drawn, "image": {**drawn["image"], "alt": alt}}
            line, hidden = "# a page leaves out cells without a line", {"tags": ["remove-input"]}
            cells.append(nbformat.v4.new_code_cell(line, outputs=words, metadata=hidden, id=f"{cell.id}-words"))
    apart.cells = cells
    return apart


def with_links_below(notebook: Notebook, generated: Path, records: Mapping[str, xr.Dataset]) -> Notebook:
    """A copy in which a line below each figure leads to what it is made of. ``records``: by their hash."""
    apart = nbformat.from_dict(notebook)
    cells = []
    for cell in apart.cells:
        cells.append(cell)
        tables = [output for output in cell.get("outputs", []) if DRAWN in output.get("data", {})]
        if tables:
            cell.outputs = [output for output in cell.outputs if output not in tables]
            below = f":::{{div}} kadam-figure-links\n{_links(cell, tables[0], generated, records)}\n:::"
            cells.append(nbformat.v4.new_markdown_cell(below, id=f"{cell.id}-data"))
    apart.cells = cells
    return apart


def _links(cell: Notebook, table: Notebook, generated: Path, records: Mapping[str, xr.Dataset]) -> str:
    """Of a figure: what draws it, the records that it draws, its points and picture, and the commands that compute it again."""
    name, told = cell.metadata["mystnb"]["figure"]["name"], table.metadata
    module, _, function = told["drawn by"].rpartition(".")
    found = [f"[source](../../{module.replace('.', '/')}.py) of `{function}`"]
    for one in told["records"]:
        words, known = f"{one['experiment']} record", records.get(one["sha256"])
        found.append(words if known is None else f"[{words}](../generated/{_offered(known, generated)})")
    write(generated / f"{name}.csv", table.data[DRAWN])
    found.append(f"[data as CSV](../generated/{name}.csv)")
    for picture in (output.data["image/svg+xml"] for output in cell.outputs if "image/svg+xml" in output.get("data", {})):
        write(generated / f"{name}.svg", picture)
        found.append(f"[SVG](../generated/{name}.svg)")
    again = " and ".join(f"`{command(one['experiment'], one['profile'])}`" for one in told["records"])
    return " · ".join([*found, *([f"rerun: {again}"] if again else [])])


def _offered(record: xr.Dataset, generated: Path) -> str:
    """The name of a record's file, once it lies beside the book."""
    name = "{experiment}-{profile}.nc".format(**record.attrs)
    files.copy(Path(record.encoding["source"]), generated / name)
    return name


def badge_of(shown: Mapping[str, xr.Dataset], *, folder: str = "generated", after: str = "") -> str:
    """Where the numbers of these records come from; ``folder``: the way from the page to the records' copies."""
    facts = "profile {profile} · {device} · {date} · commit {commit} · {wall_time_s:.1f} s · data: {data} · result {sha256:.8}"
    facts += f" · again: `{command('{experiment}', '{profile}')}`"
    link = f" · {{{{download}}}}`{{experiment}} record <{folder}/{{experiment}}-{{profile}}.nc>`"
    lines = "\\\n".join((facts + link).format(**record.attrs) for record in shown.values())
    return f":::{{div}} kadam-badge\n{lines}{after}\n:::\n"


def makings_of(ledger: Sequence[Answered], results: Path) -> dict[str, Made]:
    """How each record was made on which the ledger's verdicts rest."""
    claims = [claim for one in ledger for claim in one.claims]
    judged = {claim.record: (claim.record.partition("/")[0], claim.profile) for claim in claims if claim.record != "-"}
    found = {record: (one, chapters.best(*one, results, read_attributes)) for record, one in judged.items()}
    return {
        record: Made(command(*one), json.loads(read.attrs["config"]), read.attrs)
        for record, (one, read) in found.items()
        if read is not None
    }


def ledger_page(ledger: Sequence[Answered], makings: Makings, root: Path) -> str:
    """The ledger with all that is known of each row: how its records are made, and where its judges are tested."""
    claims = [claim for one in ledger for claim in one.claims]
    words = {path.relative_to(root).as_posix(): path.read_text() for path in sorted((root / "tests").rglob("test_*.py"))}
    checks = {claim.id: [name for name, text in words.items() if f'"{claim.id}"' in text] for claim in claims}
    return fragment(ledger, makings, checks)


def about(root: Path) -> dict[str, str]:
    """What the book is, for programs."""
    title = re.search(r'^title: "(.+)"$', (root / "_config.yml").read_text(), flags=re.M)
    return {
        "name": title[1] if title else "kadam",
        "description": metadata("kadam")["Summary"],
        "version": version("kadam"),
        "url": os.environ.get("KADAM_BASEURL", ""),
    }


def summary(ledger: Sequence[Answered]) -> str:
    """How many rows of each kind came out how."""
    return "\n".join(f"- **{kind}**: {count(ledger, kind)}" for kind in KINDS) + "\n"


def arithmetic() -> str:
    """What every experiment of profile paper computes."""
    having = [name for name in chapters.NAMES if "paper" in chapters.find(name).profiles]
    return chapters.arithmetic_table(chapters.arithmetic(name, "paper") for name in having).markdown() + "\n"


def _kept_arithmetic(root: Path) -> str:
    """The same, counted once for the code there is: that takes seconds, and an edit of prose changes nothing of it."""
    kept = root / "_build" / f"arithmetic-{whole_hash()}.md"
    if not kept.exists():
        write(kept, arithmetic())
    return kept.read_text()


def on_gpu(results: Path) -> str:
    """Predictions beside what the slices' committed records measured, which there are, and what those decide without a page."""
    found = {one.name: committed.committed(results, one.name, gpu.PROFILE["cuda"]) for one in gpu.SLICES}
    known = {name: record for name, record in found.items() if record is not None}
    parts = [predicted.beside(known).markdown()]
    if known:
        parts.append("Measured: " + "; ".join(f"`{name}`, {r.attrs['device']}, {r.attrs['date']}" for name, r in known.items()))
    if unseen := [record for name, record in known.items() if name not in chapters.NAMES]:
        parts.append(chapters.verdicts(*unseen).markdown())
    if missing := [f"`{name}`" for name in found if name not in known]:
        parts.append(f"{REHEARSED}{listed(missing)}.")
    return "\n\n".join(parts) + "\n"


def installed() -> dict[str, float]:
    """The seconds that ``make`` took to install this environment, where it did."""
    mark = Path(sys.prefix) / ".ready"
    return {"installation": float(words)} if mark.exists() and (words := mark.read_text().strip()) else {}


def status_page(used: Mapping[str, xr.Dataset], seconds: Mapping[str, float], stages: Mapping[str, float]) -> str:
    """What machine and versions made this book, and how long each part took when it last had something to do."""
    versions = json.loads(next(iter(used.values())).attrs["versions"])
    machine = {"platform": platform.platform(terse=True), "processor": device_name(), **versions}
    shown = ("profile", "device", "date", "commit", "wall_time_s", "data")
    records = ([name, *(record.attrs[fact] for fact in shown)] for name, record in used.items())
    tables = [
        table(("part", "value"), machine.items()),
        table(("stage", "seconds"), {**stages, "html": PENDING}.items()),
        table(("record", *shown[:4], "seconds", "data"), records),
        table(("notebook", "seconds to execute"), seconds.items()),
    ]
    return "\n\n".join(f":::{{div}} kadam-close\n{one.markdown()}\n:::" for one in tables) + "\n"


def _fill_in(status: Path, seconds: float) -> None:
    """The seconds of the html, which are known only when the machine page is written."""
    page = status.read_text(encoding="utf-8")
    if PENDING in page:
        status.write_text(page.replace(PENDING, f"{seconds}"), encoding="utf-8")
