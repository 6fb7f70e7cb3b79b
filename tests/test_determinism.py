"""The same command twice gives the same notebooks, to the byte, and pictures; ``lab/test_resume.py`` holds it of records."""

from pathlib import Path

import pytest
from tiers import exhaustive

from kadam import chapters, notebooks

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("*.md"))


@pytest.fixture
def executed(smoke_records, shared_cache, shared_book, monkeypatch):
    """Executes a notebook of the book at the smoke profile; what this run of the tests has executed already is kept."""

    def execute(page, folder=None):
        used = {name: chapters.measured(name) for name in chapters.MEASURED if name in page.experiments()}
        used |= {name: smoke_records[name] for name in set(page.experiments()) - set(used)}
        with monkeypatch.context() as shared:
            shared.setenv("KADAM_CACHE", str(shared_cache))
            return notebooks.execute(page, notebooks.known_to(page, {"profile": "smoke"}), used, folder or shared_book)

    return execute


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_is_executed_to_the_bytes_that_are_committed(source, executed):
    text = notebooks.as_text(notebooks.without_images(executed(notebooks.Page(source))))
    assert text == (NOTEBOOKS / "smoke" / f"{source.stem}.ipynb").read_text()


@exhaustive
def test_pictures_are_equal_to_the_byte_too(executed, tmp_path):
    page = notebooks.Page(SOURCES[0])
    once, twice = (notebooks.as_text(executed(page, folder)) for folder in (None, tmp_path))
    assert "image/svg+xml" in once
    assert once.replace(*_seconds(once)) == twice.replace(*_seconds(twice))


def _seconds(text):
    """The line of the metadata that tells how long it took, and nothing."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith('"seconds"')]
    return line, ""
