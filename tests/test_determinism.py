"""The same command twice gives the same bits: records with any number of processes, notebooks to the byte, pictures too."""

from pathlib import Path

import pytest
import xarray as xr

from kadam import chapters, notebooks
from kadam.lab.records import record as records

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("*.md"))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", chapters.NAMES)
def test_a_second_run_in_two_processes_gives_the_bits_of_the_kept_one(smoke_records, name, tmp_path):
    again = chapters.find(name).part("run").run(chapters.request(name, "smoke").config, jobs=2, checkpoint=tmp_path / "pieces")
    records.save(again, tmp_path / "again.nc")
    again, kept = records.read(tmp_path / "again.nc", command="x"), smoke_records[name]
    assert again.attrs["sha256"] == kept.attrs["sha256"]
    xr.testing.assert_identical(again.drop_attrs(deep=False), kept.drop_attrs(deep=False))


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


def test_pictures_are_equal_to_the_byte_too(executed, tmp_path):
    page = notebooks.Page(SOURCES[0])
    once, twice = (notebooks.as_text(executed(page, folder)) for folder in (None, tmp_path))
    assert "image/png" in once
    assert once.replace(*_seconds(once)) == twice.replace(*_seconds(twice))


def _seconds(text):
    """The line of the metadata that tells how long it took, and nothing."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith('"seconds"')]
    return line, ""
