"""A record or a finished piece is kept only if no code that it depends on was edited since this process imported it."""

import hashlib
import os
import shutil
import subprocess
import sys

import pytest
import xarray as xr

from kadam.lab.engine.sweep import sweep
from kadam.lab.records import closure
from kadam.lab.records.closure import PACKAGE, RecordError

# In a process of its own, on a copy of the package: the code is edited before the run, then in it, then not at all.
SCRIPT = """
from pathlib import Path
from kadam import chapters
from kadam.chapters.stability import run
from kadam.lab.records.cache import cache_folder
from kadam.lab.records.files import RecordError

path, maps = Path(run.__file__), run.maps
sound = path.read_text()

def edit(*config):
    path.write_text(sound + "# a remark")
    return maps(*config) if config else None

def outcome():
    try:
        return chapters.obtain("stability", "smoke").attrs["experiment"]
    except RecordError as refusal:
        return refusal
    finally:
        path.write_text(sound)

edit()
print(outcome())
run.maps = edit
print(outcome(), list(cache_folder().rglob("*.nc")))
run.maps = maps
print(outcome())
"""


def test_code_that_is_edited_before_or_while_it_runs_gives_no_record(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "kadam", ignore=shutil.ignore_patterns("__pycache__"))
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    answer = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=env, cwd=tmp_path)
    refusal = f"{tmp_path}/kadam/chapters/stability/run.py: was edited while stability ran, or after it was imported; run again"
    first, second, third = answer.stdout.splitlines()
    assert first.startswith(refusal)
    assert second.startswith(refusal)
    assert second.endswith(" []")
    assert third == "stability"


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A file that the pieces of a sweep depend on, as this process loaded it."""
    path = tmp_path / "source.py"
    path.write_text("x = 1")
    monkeypatch.setitem(closure.LOADED, path, hashlib.sha256(b"x = 1").digest())
    monkeypatch.setattr(closure, "_needed", lambda module: (path,) * (module == __name__))
    return path


def test_pieces_that_were_finished_before_the_edit_are_kept_and_no_other(source, tmp_path):
    def compute(piece, progress):
        if piece == "c":
            source.write_text("x = 2")
        return xr.Dataset({"x": 1})

    folder = tmp_path / "pieces"
    with pytest.raises(RecordError, match=r"source\.py: was edited while c ran"):
        sweep(list("abcd"), compute, steps=1, title="test", checkpoint=folder)
    assert sorted(path.name for path in folder.iterdir()) == ["a.nc", "b.nc"]


@pytest.mark.parametrize("path", ["lab/engine/sweep.py", "lab/records/store.py", "chapters/growth/figures.py"])
def test_code_that_changes_no_number_may_be_edited_meanwhile(path, monkeypatch):
    monkeypatch.setitem(closure.LOADED, PACKAGE / path, b"another")
    closure.check_unedited("kadam.chapters.growth.run", "growth")
