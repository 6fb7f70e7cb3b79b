"""The way from records to pages: parameters are checked, nothing is half-written, badges and ledger say what is so."""

import nbformat
import pytest

from kadam import book

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
        return book.Page(source)

    return write


@pytest.fixture
def used(smoke_records, tmp_path):
    from kadam.lab.records import record as records

    records.save(smoke_records["stability"], tmp_path / "stability.nc")
    return {"stability": records.read(tmp_path / "stability.nc", command="x")}


def test_a_page_knows_its_parameters_and_experiments(page):
    assert book.parameter_names(page()) == ["profile", "size"]
    assert page().experiments() == ["stability"]


def test_an_unknown_parameter_is_refused_with_the_valid_ones(page):
    with pytest.raises(book.BookError, match="01-page: no parameter 'sise'; it has: profile, size"):
        book._check_names(page().name, book.parameter_names(page()), {"sise": 4})


def test_a_parameter_goes_to_the_notebooks_that_have_it(page):
    given = {"size": 5, "shown_seed": 1}
    assert book.known_to(page(), given) == {"size": 5}
    book._check_names("the notebooks", [*book.parameter_names(page()), "shown_seed"], given)
    with pytest.raises(book.BookError, match="the notebooks: no parameter 'seed'; it has: profile, size, shown_seed"):
        book._check_names("the notebooks", [*book.parameter_names(page()), "profile", "shown_seed"], {"seed": 1})


def test_a_page_is_executed_with_its_parameters_and_kept(page, used, tmp_path):
    first = book.execute(page(), {"profile": "smoke", "size": 5}, used, tmp_path)
    assert first.cells[-1].outputs[0].text == "smoke 5\n"
    (kept,) = (tmp_path / "_build" / "executed").iterdir()
    stamp = kept.stat().st_mtime_ns
    book.execute(page(), {"profile": "smoke", "size": 5}, used, tmp_path)
    assert kept.stat().st_mtime_ns == stamp


def test_what_a_page_depends_on_executes_it_again(page, used, tmp_path):
    parameters = {"profile": "smoke"}
    keys = {
        book._key(page(), parameters, used),
        book._key(page("print(profile)"), parameters, used),
        book._key(page(), {"profile": "laptop"}, used),
        book._key(page(), parameters, {"stability": used["stability"].assign_attrs(sha256="other")}),
    }
    assert len(keys) == 4


def test_a_newly_committed_record_executes_pages_again(page, used, tmp_path, monkeypatch):
    before = book._key(page(), {}, used)
    (tmp_path / "manifest.json").write_text("{}")
    monkeypatch.setattr(book.committed, "results_folder", lambda: tmp_path)
    assert book._key(page(), {}, used) != before


def test_two_executions_are_equal_to_the_byte(page, used, tmp_path):
    texts = []
    for folder in ("a", "b"):
        done = book.execute(page(), {"profile": "smoke"}, used, tmp_path / folder)
        texts.append(nbformat.writes(book.without_images(done)))
    assert texts[0] == texts[1]


def test_a_cell_that_fails_is_named_and_leaves_nothing_behind(page, used, tmp_path):
    with pytest.raises(book.BookError, match=r"01-page.md: cell 3 failed with ZeroDivisionError: division by zero"):
        book.execute(page("1 / 0"), {"profile": "smoke"}, used, tmp_path)
    assert list((tmp_path / "_build" / "executed").iterdir()) == []


def test_the_badge_stands_below_the_title_and_links_record_and_source(page, used, tmp_path):
    executed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A page\n\nSome words.")])
    marked = book.with_badge(executed, page(), used, tmp_path / "generated")
    title, badge, rest = (cell.source for cell in marked.cells)
    assert (title, rest) == ("# A page", "Some words.")
    attrs = used["stability"].attrs
    assert all(str(attrs[name]) in badge for name in ("profile", "device", "date", "commit", "data"))
    assert {p.name for p in (tmp_path / "generated").iterdir()} == {"stability-smoke.nc", "01-page.md"}
    assert executed.cells[0].source.endswith("Some words.")  # the executed notebook itself is left alone


def test_pictures_are_left_out_of_what_is_compared_and_only_there():
    output = nbformat.v4.new_output("display_data", data={"image/png": "xx", "text/plain": "<Figure>"})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    assert book.without_images(notebook).cells[0].outputs[0].data == {"text/plain": "<Figure>"}
    assert "image/png" in notebook.cells[0].outputs[0].data


def test_outside_a_checkout_the_book_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(book.committed, "PACKAGE", tmp_path / "kadam")
    with pytest.raises(book.BookError, match="inside a clone of the kadam repository"):
        book.repository()
    assert book.committed.results_folder() is None


def test_a_file_is_rewritten_only_when_its_text_changes(tmp_path):
    path = tmp_path / "page.md"
    book._write(path, "a")
    stamp = path.stat().st_mtime_ns
    book._write(path, "a")
    assert path.stat().st_mtime_ns == stamp
    book._write(path, "b")
    assert path.read_text() == "b"


def test_printed_text_that_comes_in_pieces_is_joined_and_nothing_else_is():
    def printed(text, name="stdout"):
        return nbformat.v4.new_output("stream", name=name, text=text)

    shown = nbformat.v4.new_output("display_data", data={"text/plain": "figure"})
    outputs = [printed("a"), printed("b\n"), printed("!", "stderr"), shown, printed("c"), printed("\n")]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("1", outputs=outputs), nbformat.v4.new_markdown_cell("2")]
    )
    found = book.normalised(notebook).cells[0].outputs
    assert [(x.output_type, x.get("name"), x.get("text")) for x in found] == [
        ("stream", "stdout", "ab\n"),
        ("stream", "stderr", "!"),
        ("display_data", None, None),
        ("stream", "stdout", "c\n"),
    ]


def test_a_figures_tables_stand_below_it_in_a_cell_of_their_own():
    def shown(**data):
        return nbformat.v4.new_output("display_data", data=data)

    figure, table = shown(**{"image/png": "x"}), shown(**{"text/plain": "a", "text/html": "<table>"})
    printed = nbformat.v4.new_output("stream", text="1")
    cells = [
        nbformat.v4.new_code_cell("1", outputs=[table, printed, figure], metadata={"mystnb": {"figure": {"name": "fig"}}}),
        nbformat.v4.new_code_cell("2", outputs=[table]),
    ]
    apart = book.with_tables_apart(nbformat.v4.new_notebook(cells=cells))
    assert [cell.outputs for cell in apart.cells] == [[printed, figure], [table], [table]]
    assert [cell.metadata.get("tags") for cell in apart.cells] == [None, ["remove-input"], None]
