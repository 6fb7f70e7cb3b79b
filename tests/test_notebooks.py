"""Notebooks hold prose and calls, every figure is captioned and shown, and their committed numbers are compared."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml
from tiers import exhaustive

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("*.md"))
SMOKE = sorted((ROOT / "notebooks" / "smoke").glob("*.ipynb"))


def code_cells(path):
    notebook = jupytext.read(path) if path.suffix == ".md" else nbformat.read(path, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def figure_cells(path):
    return [cell for cell in code_cells(path) if "figure" in cell.metadata.get("mystnb", {})]


def test_every_notebook_has_its_smoke_twin():
    assert len(SOURCES) >= 2
    assert [p.stem for p in SOURCES] == [p.stem for p in SMOKE]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_a_notebook_holds_no_definitions_and_few_short_cells(path):
    cells = code_cells(path)
    trees = [ast.parse(cell.source) for cell in cells]
    assert not [
        node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)
    ]
    assert 3 <= len(cells) <= 24
    assert max(len(cell.source.splitlines()) for cell in cells) <= 14


def ideas(path):
    return [cell.source for cell in code_cells(path) if "idea" in cell.metadata.get("tags", [])]


LAID_OUT = {"10-review", "12-scale"}  # these chapters answer and count, and have no idea of their own


@pytest.mark.parametrize("path", [path for path in SOURCES if path.stem not in LAID_OUT], ids=lambda p: p.stem)
def test_a_chapter_has_its_idea_in_ten_lines_that_run_alone_with_the_core(path, capsys):
    """A reader can copy it: ten lines and what they import, of the core."""
    (source,) = ideas(path)
    lines = [line for line in source.splitlines() if line]
    imports = [line for line in lines if re.match("(from|import) ", line)]
    assert len(lines) - len(imports) <= 10
    assert max(map(len, lines)) <= 86, "it would be cut off on the page"
    own = [line for line in imports if "kadam" in line]
    assert not [line for line in own if re.search("kadam.(lab|report|chapters)", line)]
    assert {line.split()[1] for line in imports if line not in own} <= {"numpy", "torch", "itertools", "warnings"}
    exec(source, {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_every_figure_has_a_caption_alt_text_a_name_and_sentences(path):
    """Captions say what is drawn and how to read it; what came out is said by a function, in the cell's last line."""
    figures = figure_cells(path)
    assert figures
    for cell in figures:
        figure, image = cell.metadata["mystnb"]["figure"], cell.metadata["mystnb"]["image"]
        assert figure["name"].startswith("fig-")
        assert len(image["alt"]) > 60
        for words in (figure["caption"], image["alt"]):
            assert not RESULT.findall(free(words)) + MEASURED.findall(free(words)), words
        assert re.match(r"\w+\.\w+_said\(", cell.source.splitlines()[-1]), cell.source


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_prose_holds_no_measured_number(path):
    """Numbers of a record are computed; those that are typed belong to a paper, a configuration or a formula."""
    prose = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "markdown"]
    after = prose[prose.index(next(words for words in prose if re.search("## (?!The idea)", words))) + 1 :]
    for words in after:
        assert not MEASURED.findall(free(words)), words


# Words by which a result is told. "Above" and "below" may name places on a page.
RESULT = re.compile(
    r"\b(see:|\w+(?<!wheth)(?<!rath)er than|twice|half of|factor of|nearly|almost|flattest|better|worse|best of|worst"
    r"|follows?|agrees?|exceeds?|(lies?|stays?|remains?) (above|below|near|within|flat))\b",
    re.IGNORECASE,
)
MEASURED = re.compile(r"\d+(?:\.\d+)? ?%|\b\d+\.\d+\b|\bby a factor of\b|\b(?:twice|half) as\b")


def free(words):
    """What is neither mathematics, code, a reference nor a configured number (a level, an option of PyTorch) in a text."""
    words = re.sub(r"\$[^$]*\$|`[^`]*`|\b(95|90|99)% (confidence |)(interval|level)s?", "", words)
    return re.sub(r"\{[^}]*\}|\b(eps|betas?|beta\d|gamma|C|k|lr) ?(=|of) ?[-(\d][\d., e-]*\)?", "", words)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_every_notebook_says_what_would_falsify_it(path):
    assert "What would falsify this chapter." in path.read_text()


def shown(output):
    """What an output says in words: printed text, sentences, or a table."""
    is_shown = {"text/html", "text/markdown"} & set(output.get("data", {}))
    return output.data["text/plain"] if is_shown else output.text if output.get("name") == "stdout" else ""


@pytest.mark.parametrize("path", SMOKE, ids=lambda p: p.stem)
def test_every_figure_cell_showed_a_figure_and_numbers_and_no_cell_complained(path):
    for cell in figure_cells(path):
        assert any("<Figure size" in output.get("data", {}).get("text/plain", "") for output in cell.outputs)
        assert sum(len(re.findall(r"\d", shown(output))) for output in cell.outputs) >= 3, cell.source
    assert not [o for cell in code_cells(path) for o in cell.outputs if o.get("name") == "stderr"]
    assert path.stat().st_size < 130_000


@pytest.mark.parametrize("path", SMOKE, ids=lambda p: p.stem)
def test_a_smoke_notebook_is_its_sources_execution(path):
    source = [cell.source for cell in code_cells(ROOT / "notebooks" / f"{path.stem}.md")]
    executed = [c.source for c in code_cells(path) if "injected-parameters" not in c.metadata.get("tags", [])]
    assert executed == source


@exhaustive
def test_a_changed_number_in_a_smoke_notebook_is_caught(tmp_path):
    """By nbval, as `make notebooks` runs it, in the cell of that number and in no other."""
    path = tmp_path / SMOKE[0].name
    path.write_text(SMOKE[0].read_text().replace("0.2212", "0.2213", 1))
    options = ["--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "-p", "no:randomly", "-q"]
    command = [sys.executable, "-m", "pytest", *options, "--rootdir", str(path.parent), "-c", "/dev/null", str(path)]
    changed = subprocess.run(command, capture_output=True, text=True, cwd=path.parent)
    assert changed.returncode == 1
    assert "0.2213" in changed.stdout
    assert re.search(rf"\n1 failed, {len(code_cells(path)) - 1} passed", changed.stdout)


def test_every_notebook_is_in_the_table_of_contents():
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    files = {chapter["file"] for part in contents["parts"] for chapter in part["chapters"]}
    assert {f"notebooks/{path.stem}" for path in SOURCES} <= files
