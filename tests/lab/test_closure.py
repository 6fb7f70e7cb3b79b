"""What names a record, and what executes a page again: the code that could change a number there, and no other."""

import shutil
from pathlib import Path

import pytest
from tiers import exhaustive

from kadam import chapters, notebooks
from kadam.lab.records import closure
from kadam.lab.records.closure import PACKAGE, files_of, imported, source_hash

ROOT = Path(__file__).parents[2]
PAGES = {source.stem: notebooks.Page(source) for source in sorted((ROOT / "notebooks").glob("*.md"))}
RUNS = {name: experiment.module_name("run") for name, experiment in chapters.CATALOGUE.items()}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    package = tmp_path_factory.mktemp("copy") / "kadam"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


@pytest.fixture(scope="module")
def before(copy):
    """What names records and pages before anything is edited."""
    return state(copy)


def edited(copy, before, path):
    """Which records and which pages another line in this file would make anew."""
    file = copy / path
    text = file.read_text()
    try:
        file.write_text(text + "\n# another line\n")
        after = state(copy)
    finally:
        file.write_text(text)
    return tuple({name for name in before[i] if before[i][name] != after[i][name]} for i in range(2))


def state(copy):
    return {name: source_hash(run, copy) for name, run in RUNS.items()}, {
        n: notebooks.code_hash(p, copy) for n, p in PAGES.items()
    }


@pytest.mark.parametrize(
    ("path", "pages"),
    [
        ("chapters/growth/claims.py", {"02-growth", "10-review"}),  # which answers from all claims
        ("chapters/growth/figures.py", {"02-growth"}),
        ("chapters/box/norms/figures.py", {"08-adamw-box"}),
        ("report/style.py", set(PAGES)),
        ("lab/engine/cluster.py", set()),
        pytest.param("lab/engine/sweep.py", set(), marks=exhaustive),
        ("cli.py", set()),
        pytest.param("book.py", set(), marks=exhaustive),
        pytest.param("notebooks.py", set(), marks=exhaustive),
        pytest.param("kernel.py", set(), marks=exhaustive),
        pytest.param("pictures.py", set(), marks=exhaustive),
        pytest.param("__main__.py", set(), marks=exhaustive),
        ("__init__.py", set()),
        ("chapters/__init__.py", set(PAGES)),
    ],
)
def test_what_shows_or_carries_out_computes_nothing_again_and_executes_only_the_pages_that_it_draws(copy, before, path, pages):
    assert edited(copy, before, path) == (set(), pages)


@pytest.mark.parametrize(
    ("path", "some"),
    [
        ("lab/train/networks.py", {"growth", "generalization", "radius", "invariance", "meta", "curvature", "cifar"}),
        ("lab/train/gpt.py", {"language", "tokens"}),
        ("optim/update.py", {"growth", "cifar", "language", "box", "speed"}),
        ("optim/numba_kernel.py", {"cifar", "speed"}),  # imported by its name, where numba is there
        ("lab/data/sources.py", {"growth", "orders", "language"}),
        ("lab/data/images.py", {"cifar", "box"}),
        ("chapters/growth/run.py", {"growth"}),
        ("chapters/growth/config.py", {"growth"}),
        ("decay.py", set(RUNS) - {"engine"}),
    ],
)
def test_what_could_change_a_number_computes_it_again(copy, before, path, some):
    records, _ = edited(copy, before, path)
    assert some <= records
    assert ("growth" in records) or not path.startswith("chapters/growth")


@pytest.mark.parametrize("path", ["chapters/growth/run.py", "lab/train/gpt.py", "theory/stability.py", "lab/data/images.py"])
def test_an_experiment_that_does_not_import_a_file_keeps_its_record(copy, before, path):
    records, _ = edited(copy, before, path)
    assert records
    assert records != set(RUNS)


def test_imports_are_found_wherever_they_stand():
    source = """
import kadam.a
from kadam.b import c
def f():
    from kadam.d import e
try:
    import kadam.g
except ImportError:
    pass
module = import_module("kadam.h.i")
words = "see kadam.j"
"""
    assert set(imported(source)) == {*("kadam.a", "kadam.b", "kadam.b.c", "kadam.d", "kadam.d.e", "kadam.g", "kadam.h.i")}


def test_a_package_runs_the_file_of_every_folder_above_a_module():
    names = {path.relative_to(PACKAGE).as_posix() for path in files_of("kadam.lab.train.gpt")}
    assert {"lab/__init__.py", "lab/train/__init__.py", "lab/train/gpt.py"} <= names


def test_a_new_library_computes_everything_again(monkeypatch):
    before = source_hash(RUNS["growth"])
    monkeypatch.setattr(closure, "version", lambda name: "0")
    assert source_hash(RUNS["growth"]) != before
