"""The way from records to pages: parameters are checked, nothing is half-written, badges and ledger say what is so."""

import json
import re
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from threading import Thread

import nbformat
import pytest
from tiers import exhaustive

from kadam import book, chapters, notebooks

SOURCE = """---
kernelspec: {{display_name: Python 3, language: python, name: python3}}
experiments: [stability]
---

# A page

Some words.

```{{code-cell}} ipython3
:tags: [parameters]

profile = "laptop"
size = 3
```

```{{code-cell}} ipython3
{code}
```
"""


@pytest.fixture
def page(tmp_path):
    def write(code="print(profile, size)"):
        source = tmp_path / "01-page.md"
        source.write_text(SOURCE.format(code=code))
        return notebooks.Page(source)

    return write


@pytest.fixture
def used(smoke_records, tmp_path):
    from kadam.lab.records import record as records

    records.save(smoke_records["stability"], tmp_path / "stability.nc")
    return {"stability": records.read(tmp_path / "stability.nc", command="x")}


def test_a_page_knows_its_parameters_and_experiments(page):
    assert notebooks.defaults(page()) == {"profile": "laptop", "size": 3}
    assert page().experiments() == ["stability"]


def test_a_parameter_goes_to_the_notebooks_that_have_it(page):
    assert notebooks.known_to(page(), {"size": 5, "shown_seed": 1}) == {"size": 5}
    notebooks.check_settings([page()], {"size": 5})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sise": 4}, "the notebooks: no parameter 'sise'; they have: size"),
        ({"profile": "laptop"}, "profile is set by --profile, not by --set; got profile='laptop'"),
        ({"size": "big"}, "01-page: size must be of the kind of 3, got 'big'"),
        ({"size": 2.5}, "01-page: size must be of the kind of 3, got 2.5"),
        ({"size": True}, "01-page: size must be of the kind of 3, got True"),
    ],
)
def test_a_setting_that_no_page_can_take_is_refused_with_what_is_allowed(page, given, message):
    with pytest.raises(notebooks.BookError, match=f"^{re.escape(message)}$"):
        notebooks.check_settings([page()], given)


@pytest.mark.parametrize(
    ("value", "example", "like"),
    [(1, 2, True), (1, 2.5, True), (1.5, 2, False), ([1, 2.5], [7e9], True), ([], [7e9], False), (["a"], [7e9], False)],
)
def test_a_value_is_of_the_kind_of_its_example(value, example, like):
    assert notebooks._is_like(value, example) is like


def test_a_page_is_executed_with_its_parameters_and_kept(page, used, tmp_path):
    first = notebooks.execute(page(), {"profile": "smoke", "size": 5}, used, tmp_path)
    assert first.cells[-1].outputs[0].text == "smoke 5\n"
    (kept,) = (tmp_path / "_build" / "executed").iterdir()
    stamp = kept.stat().st_mtime_ns
    notebooks.execute(page(), {"profile": "smoke", "size": 5}, used, tmp_path)
    assert kept.stat().st_mtime_ns == stamp


def test_prose_is_the_sources_and_executes_nothing_again(page, used, tmp_path):
    code = '---\nmystnb: {figure: {caption: Old.}}\n---\nprint("once")'
    first = notebooks.execute(page(code), {"profile": "smoke"}, used, tmp_path)
    edited = page(code.replace("Old", "New"))
    edited.source.write_text(edited.source.read_text().replace("Some words.", "Other words."))
    second = notebooks.execute(edited, {"profile": "smoke"}, used, tmp_path)
    assert len(list((tmp_path / "_build" / "executed").iterdir())) == 1
    assert second.cells[0].source == "# A page\n\nOther words."
    assert second.cells[-1].metadata.mystnb.figure.caption == "New."
    assert [cell.outputs for cell in second.cells[1:]] == [cell.outputs for cell in first.cells[1:]]


def test_what_a_page_depends_on_executes_it_again(page, used, tmp_path):
    parameters = {"profile": "smoke"}
    keys = {
        notebooks.key(page(), parameters, used),
        notebooks.key(page("print(profile)"), parameters, used),
        notebooks.key(page(), {"profile": "laptop"}, used),
        notebooks.key(page(), parameters, {"stability": used["stability"].assign_attrs(sha256="other")}),
    }
    assert len(keys) == 4


def test_a_newly_committed_record_executes_pages_again(page, used, tmp_path, monkeypatch):
    before = notebooks.key(page(), {}, used)
    (tmp_path / "manifest.json").write_text("{}")
    monkeypatch.setattr(notebooks.committed, "results_folder", lambda: tmp_path)
    assert notebooks.key(page(), {}, used) != before


def test_two_executions_are_equal_to_the_byte(page, used, tmp_path):
    texts = []
    for folder in ("a", "b"):
        done = notebooks.execute(page(), {"profile": "smoke"}, used, tmp_path / folder)
        texts.append(nbformat.writes(notebooks.without_images(done)))
    assert texts[0] == texts[1]


def test_a_cell_that_fails_is_named_and_leaves_nothing_behind(page, used, tmp_path):
    with pytest.raises(notebooks.BookError, match=r"01-page.md: cell 3 failed with ZeroDivisionError: division by zero"):
        notebooks.execute(page("1 / 0"), {"profile": "smoke"}, used, tmp_path)
    assert [path for path in (tmp_path / "_build").rglob("*") if path.is_file()] == []


def test_what_cells_ask_of_a_record_is_computed_once(page, used, tmp_path):
    code = "from kadam.report.once import once\nasked = []\ntotal = once(lambda data: asked.append(data))\n"
    code += "import xarray as xr\nrecord = xr.Dataset()\n_ = total(record), total(record)\nprint(len(asked))"
    done = notebooks.execute(page(code), {"profile": "smoke"}, used, tmp_path)
    assert done.cells[-1].outputs[0].text == "1\n"


@exhaustive
def test_two_executions_at_once_in_one_folder_do_not_meet(tmp_path):
    execute = (
        "import sys, pathlib; from kadam import notebooks; here = pathlib.Path.cwd(); notebooks.SOCKETS = sys.argv[2]; "
        "done = notebooks.execute(notebooks.Page(here / sys.argv[1]), {}, {}, here); print(done.cells[-1].outputs[0].text)"
    )
    (tmp_path / "sockets").mkdir()
    processes = []
    for name in ("a", "b"):
        source = SOURCE.format(code=f'import time; time.sleep(0.3); print("{name}")').replace("[stability]", "[]")
        (tmp_path / f"{name}.md").write_text(source)
        command = [sys.executable, "-c", execute, f"{name}.md", str(tmp_path / "sockets")]
        processes.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True))
    assert [process.communicate(timeout=100)[0] for process in processes] == ["a\n\n", "b\n\n"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.md", "b.md", "_build", "sockets"}
    assert not list((tmp_path / "sockets").iterdir())


def test_a_notebook_is_executed_by_the_python_that_builds_whatever_kernel_has_its_name(page, used, tmp_path, monkeypatch):
    kernel = {"argv": ["false", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    folder = tmp_path / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(kernel))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    done = notebooks.execute(page("import sys; print(sys.executable)"), {"profile": "smoke"}, used, tmp_path)
    assert done.cells[-1].outputs[0].text == f"{sys.executable}\n"


def test_the_badge_stands_below_the_title_and_links_record_and_source(page, used, tmp_path):
    executed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A page\n\nSome words.")])
    marked = book.with_badge(executed, page(), used, tmp_path / "generated")
    title, badge, rest = (cell.source for cell in marked.cells)
    assert (title, rest) == ("# A page", "Some words.")
    attrs = used["stability"].attrs
    assert all(str(attrs[name]) in badge for name in ("profile", "device", "date", "commit", "data"))
    assert {p.name for p in (tmp_path / "generated").iterdir()} == {"stability-smoke.nc", "01-page.md"}
    assert executed.cells[0].source.endswith("Some words.")  # the executed notebook itself is left alone


def test_a_page_folds_all_code_but_its_idea_and_what_draws(page, used, tmp_path):
    drawn, named = {"mystnb": {"figure": {}}}, {"tags": ["idea"]}
    cells = [nbformat.v4.new_code_cell("1", metadata=metadata) for metadata in ({}, named, drawn, {"tags": ["parameters"]})]
    executed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A page"), *cells])
    marked = book.with_badge(executed, page(), used, tmp_path / "generated").cells
    folded = ["hide-input" in cell.metadata["tags"] for cell in marked if cell.cell_type == "code"]
    assert folded == [True, False, False, True]


def test_below_a_figure_all_that_it_is_made_of_can_be_had_and_its_cell_keeps_the_picture(page, used, tmp_path):
    """As the kernel gives both; what nbval compares with has neither."""
    source = page("from kadam.chapters.stability import figures\n_ = figures.region(record)")
    text = source.source.read_text().replace("{code-cell} ipython3\nfrom", "{code-cell} ipython3\n---\n" + FIGURE + "---\nfrom")
    source.source.write_text(text.replace("_ = figures", "from kadam import chapters\n_ = figures").replace("(record)", CALL))
    executed = notebooks.execute(source, {"profile": "smoke"}, used, tmp_path)
    slim = notebooks.without_images(executed)
    assert not [
        output for cell in slim.cells for output in cell.get("outputs", []) if {"text/csv", "image/svg+xml"} & {*output.data}
    ]
    marked = book.with_badge(executed, source, used, tmp_path / "generated").cells
    (at,) = (i for i, cell in enumerate(marked) if "outputs" in cell and cell.outputs)
    assert [set(output.data) for output in marked[at].outputs] == [{"image/svg+xml", "text/plain"}]
    line = marked[at + 1].source.splitlines()[1]
    linked = [(tmp_path / "generated" / target).resolve() for target in re.findall(r"\]\(([^)]+)\)", line)]
    assert [path.name for path in linked] == ["figures.py", "stability-smoke.nc", "fig-it.csv", "fig-it.svg"]
    assert linked[0].relative_to(tmp_path.parent) == Path("kadam/chapters/stability/figures.py")
    assert all(path.stat().st_size > 100 for path in linked[1:])
    assert "of `region`" in line
    assert "rerun: `kadam run stability --profile smoke --fresh`" in line
    assert (tmp_path / "generated" / "fig-it.csv").read_text().startswith("panel,title,kind,label,x,y,value\n1,")


FIGURE = "mystnb:\n  figure:\n    name: fig-it\n    caption: It.\n  image:\n    alt: It.\n"
CALL = '(chapters.obtain("stability", "smoke"))'


def test_a_page_of_all_records_copies_none_and_says_where_they_are_listed(page, tmp_path):
    source = page().source
    source.write_text(source.read_text().replace("experiments: [stability]", "experiments: all"))
    every = notebooks.Page(source)
    assert every.experiments() == list(chapters.NAMES)
    used = dict.fromkeys(chapters.NAMES)  # it looks at none of them
    executed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A page\n\nSome words.")])
    badge = book.with_badge(executed, every, used, tmp_path / "generated").cells[1].source
    assert "computed from every record, which [the machine page](../status.md) lists · {download}" in badge
    assert {p.name for p in (tmp_path / "generated").iterdir()} == {"01-page.md"}


def test_pictures_are_left_out_of_what_is_compared_and_only_there():
    output = nbformat.v4.new_output(
        "display_data", data={"image/png": "xx", "image/svg+xml": "<svg/>", "text/plain": "<Figure>"}
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    assert notebooks.without_images(notebook).cells[0].outputs[0].data == {"text/plain": "<Figure>"}
    assert {"image/png", "image/svg+xml"} <= set(notebook.cells[0].outputs[0].data)


def test_outside_a_checkout_the_book_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(book.committed, "PACKAGE", tmp_path / "kadam")
    with pytest.raises(notebooks.BookError, match="inside a clone or an unpacked archive of the kadam repository"):
        book.repository()
    assert book.committed.results_folder() is None


def test_a_stage_keeps_its_seconds_only_where_there_was_something_to_do(tmp_path):
    path = tmp_path / "seconds.json"
    stages = book.Stages(path)
    with stages("records"):
        time.sleep(0.11)
    with stages("notebooks", kept=False):
        pass
    assert book.Stages(path).seconds == stages.seconds
    assert list(stages.seconds) == ["records"]
    assert 0.1 <= stages.seconds["records"] < 10


@pytest.fixture
def small_book(tmp_path, monkeypatch, page, used):
    """A book of one page, whose html is written by a stand-in for Sphinx that counts."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "manifest.json").write_text("{}")
    page().source.rename(tmp_path / "notebooks" / "01-page.md")
    (tmp_path / "_config.yml").write_text("title: a book")
    (tmp_path / "book" / "intro.md").write_text("# A book")
    built = []

    def render(root, output):
        built.append(output)
        for name in ("index", "intro", "status", "notebooks/01-page"):
            path = output / "_build" / "html" / f"{name}.html"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"<p>{book.PENDING}</p>")

    monkeypatch.setattr(book, "repository", lambda: tmp_path)
    monkeypatch.setattr(book, "records", lambda profile, results, missing: used)
    monkeypatch.setattr(book, "renderer", lambda *given: nullcontext(lambda: render(*given)))
    monkeypatch.setattr(book.chapters, "NAMES", ("stability",))
    record = book.chapters.request("stability", "smoke").path
    record.parent.mkdir(parents=True)
    shutil.copyfile(tmp_path / "stability.nc", record)
    return tmp_path, built


def test_the_html_is_made_again_only_when_what_it_is_made_of_has_changed_or_a_page_is_missing(small_book):
    folder, built = small_book
    front = book.build("smoke", {})
    book.build("smoke", {})
    assert len(built) == 1
    (folder / "book" / "intro.md").write_text("# Another book")
    book.build("smoke", {})
    assert len(built) == 2
    front.with_name("intro.html").unlink()
    book.build("smoke", {})
    assert len(built) == 3
    book.build("smoke", {"size": 5})
    assert len(built) == 4
    book.chapters.request("stability", "smoke").path.write_bytes(b"no record")
    with pytest.raises(book.files.RecordError, match="make it anew"):
        book.build("smoke", {"size": 5})


def test_the_built_book_holds_the_crate_of_its_ledger(small_book):
    crate = json.loads(book.build("smoke", {}).with_name("ro-crate-metadata.json").read_text())
    found = {one["@id"]: one for one in crate["@graph"]}
    assert found["#kadam"]["softwareVersion"] == book.version("kadam")
    assert [id for id in found if id.startswith("claims.html#P")]


def test_of_two_builds_in_one_folder_one_waits_for_the_other(small_book, monkeypatch):
    folder, built = small_book
    executed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A page")])
    monkeypatch.setattr(book.notebooks, "execute_all", lambda *given: [executed])
    with book.files.locked(folder / "_build" / "book.lock"):
        other = Thread(target=book.build, args=("smoke", {}))
        other.start()
        other.join(0.3)
        assert other.is_alive()
        assert built == []
    other.join()
    assert len(built) == 1


def test_a_build_that_failed_is_done_again(small_book, monkeypatch):
    _, built = small_book
    book.build("smoke", {})

    def fail():
        raise notebooks.BookError("a warning")

    with monkeypatch.context() as patch:
        patch.setattr(book, "renderer", lambda *given: nullcontext(fail))
        with pytest.raises(notebooks.BookError, match="a warning"):
            book.build("smoke", {"size": 5})
    book.build("smoke", {})
    assert len(built) == 2


def test_the_machine_page_holds_the_seconds_of_the_html_that_it_is_part_of(small_book):
    folder, _ = small_book
    page = book.build("smoke", {}).with_name("status.html").read_text()
    seconds = json.loads((folder / "_build" / "seconds-smoke.json").read_text())
    assert page == f"<p>{seconds['html']}</p>"
    status = (folder / "book" / "generated" / "status.md").read_text()
    assert "| notebooks |" in status
    assert f"| html | {book.PENDING} |" in status


def test_a_file_is_rewritten_only_when_its_text_changes(tmp_path):
    path = tmp_path / "page.md"
    notebooks.write(path, "a")
    stamp = path.stat().st_mtime_ns
    notebooks.write(path, "a")
    assert path.stat().st_mtime_ns == stamp
    notebooks.write(path, "b")
    assert path.read_text() == "b"


def test_printed_text_that_comes_in_pieces_is_joined_and_nothing_else_is():
    def printed(text, name="stdout"):
        return nbformat.v4.new_output("stream", name=name, text=text)

    shown = nbformat.v4.new_output("display_data", data={"text/plain": "figure"})
    outputs = [printed("a"), printed("b\n"), printed("!", "stderr"), shown, printed("c"), printed("\n")]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("1", outputs=outputs), nbformat.v4.new_markdown_cell("2")]
    )
    found = notebooks.normalised(notebook).cells[0].outputs
    assert [(x.output_type, x.get("name"), x.get("text")) for x in found] == [
        ("stream", "stdout", "ab\n"),
        ("stream", "stderr", "!"),
        ("display_data", None, None),
        ("stream", "stdout", "c\n"),
    ]


def test_what_a_figures_cell_says_stands_below_it_and_in_its_alternative_text():
    def shown(**data):
        return nbformat.v4.new_output("display_data", data=data)

    figure, table = shown(**{"image/png": "x"}), shown(**{"text/plain": "a", "text/html": "<table>"})
    words = shown(**{"text/plain": "b", "text/markdown": r"**Small** at $\beta = 0$," + "\n`eps`."})
    printed = nbformat.v4.new_output("stream", text="1")
    drawn = {"mystnb": {"figure": {"name": "fig"}, "image": {"alt": "Two lines.\n"}}}
    cells = [
        nbformat.v4.new_code_cell("1", outputs=[table, words, printed, figure], metadata=drawn),
        nbformat.v4.new_code_cell("2", outputs=[table]),
    ]
    apart = book.with_words_apart(nbformat.v4.new_notebook(cells=cells))
    assert [cell.outputs for cell in apart.cells] == [[printed, figure], [table, words], [table]]
    assert [cell.metadata.get("tags") for cell in apart.cells] == [None, ["remove-input"], None]
    assert apart.cells[0].metadata.mystnb.image.alt == "Two lines. Small at beta = 0, eps."
    assert cells[0].metadata.mystnb.image.alt == "Two lines.\n"
    assert len(cells[0].outputs) == 4


def test_where_no_html_can_be_made_it_is_said_why(tmp_path):
    why = r"(?s)the strict build failed:.*'book' does not exist"
    with book.renderer(tmp_path, tmp_path / "built") as render, pytest.raises(book.BookError, match=why):
        render()


@exhaustive
def test_a_link_that_leads_nowhere_fails_the_build_and_nothing_is_kept_of_it(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "_config.yml").write_text("title: a book")
    (tmp_path / "book" / "_toc.yml").write_text("format: jb-book\nroot: intro")
    (tmp_path / "book" / "intro.md").write_text("# A book\n\nSee [nowhere](nowhere.md).")
    why = r"(?s)the strict build failed:.*'nowhere.md'"
    with book.renderer(tmp_path, tmp_path / "built") as render, pytest.raises(book.BookError, match=why):
        render()
    assert not (tmp_path / "built" / "_build" / ".doctrees").exists()
