"""A pack holds all that a machine without a network or git lacks, and kadam finds it there."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from kadam.lab import packing
from kadam.lab.data import sources
from kadam.lab.records import pack, record, store

PACKAGE = Path(record.__file__).parents[2]

# Run before all else: what the pack carries is not found among the installed packages.
HIDE = """
import sys
from importlib.machinery import PathFinder

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name not in ("h5netcdf", "platformdirs", "pooch"):
            return None
        places = [place for place in sys.path if "site-packages" not in place]
        if (found := PathFinder.find_spec(name, places)) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found

sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Sources whose files are the excerpt, in the folder $KADAM_DATA; by the names that a pack wants."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("KADAM_DATA", str(folder))
    excerpt, known = sources.TINY_SHAKESPEARE.excerpt, {}
    for name, file in packing.FILES.items():
        (folder / file).write_bytes(sources.packaged(excerpt))
        address = "https://example.org/text" if file.endswith(".txt") else None
        known[name] = sources.Source(name, name, (sources.File(file, excerpt.sha256, address), replace(excerpt, url="-")))
    monkeypatch.setattr(packing, "SOURCES", known)
    return folder


@pytest.fixture
def bare(small, tmp_path):
    """A machine that has a copy of the package, a pack beside it, and none of what the pack carries; and what runs there."""
    there = tmp_path / "there"
    shutil.copytree(PACKAGE, there / "kadam", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(HIDE)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KADAM_")}
    environment = kept | {"PYTHONPATH": f"{tmp_path / 'start'}{os.pathsep}{there}", "KADAM_CACHE": str(tmp_path / "records")}
    environment["GIT_CEILING_DIRECTORIES"] = str(tmp_path)

    def run(*command):
        return subprocess.run([sys.executable, *command], env=environment, cwd=there, capture_output=True, text=True)

    return SimpleNamespace(folder=there, run=run)


def test_on_a_bare_machine_a_run_leaves_a_record_of_the_packs_commit(bare, tmp_path):
    packing.make(bare.folder / "gpu-pack")
    done = bare.run("-m", "kadam", "run", "stability", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "records").rglob("*.nc")
    assert record.read(path, command="-").attrs["commit"] == record.commit() != "unknown"
    found = bare.run("-m", "kadam", "data", "status")
    assert f"tinyshakespeare: WRONG: {bare.folder / 'gpu-pack' / 'data' / 'tinyshakespeare.txt'}: sha256" in found.stdout
    where = bare.run("-c", "import kadam.lab, h5netcdf, pooch; print(h5netcdf.__version__, pooch.__file__)").stdout
    assert where.strip() == f"{packing.distribution('h5netcdf').version} {bare.folder / 'gpu-pack/packages/pooch/__init__.py'}"


def test_on_a_bare_machine_without_a_pack_one_line_says_what_is_missing_and_how_to_have_it(bare):
    refused = bare.run("-m", "kadam", "run", "stability", "--profile", "smoke")
    remedy = "pip install 'kadam[lab]', or without a network a pack, which `make gpu-pack` makes"
    assert (refused.returncode, refused.stderr) == (1, f"kadam run: needs platformdirs, which is not installed: {remedy}\n")


def test_what_saving_needs_is_missed_before_a_run_and_not_after_it(monkeypatch):
    wanted = SimpleNamespace(name="stability", run="kadam.chapters.stability.run", path=Path("/nowhere/a.nc"))
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(ModuleNotFoundError, match=r"saving a record needs h5netcdf: pip install 'kadam\[lab\]'") as missed:
        store._compute(wanted, lambda *given, **more: pytest.fail("it ran"), fresh=False, jobs=1)
    assert missed.value.name == "h5netcdf"


def test_a_pack_is_found_where_the_variable_says_and_else_beside_the_package(tmp_path, monkeypatch):
    beside = tmp_path / "gpu-pack"
    monkeypatch.setattr(pack, "PACKAGE", tmp_path / "kadam")
    monkeypatch.delenv("KADAM_PACK")
    assert pack.folder() is None
    beside.mkdir()
    assert (pack.folder(), pack.part("data")) == (beside, None)
    monkeypatch.setenv("KADAM_PACK", str(tmp_path))
    assert (pack.folder(), pack.part("gpu-pack")) == (tmp_path, beside)
    monkeypatch.setenv("KADAM_PACK", "")
    assert pack.folder() is None
    monkeypatch.setenv("KADAM_PACK", str(tmp_path / "none"))
    pack.use()
    with pytest.raises(ValueError, match=r"KADAM_PACK must name a folder, got '.*none'; make gpu-pack makes one"):
        pack.folder()


def test_the_commit_of_a_pack_says_where_the_package_is_not_the_packed_one(tmp_path, monkeypatch):
    assert pack.commit() is None
    monkeypatch.setenv("KADAM_PACK", str(tmp_path))
    for name, code, told in (("abc", pack.code(), "abc"), ("abc", "another", "abc+"), ("abc+", "another", "abc+")):
        (tmp_path / "commit").write_text(f"{name}\n")
        (tmp_path / "code").write_text(f"{code}\n")
        assert pack.commit() == told
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    record.commit.cache_clear()
    assert record.commit() == "abc+"
    record.commit.cache_clear()


def test_data_is_taken_from_the_pack_after_the_folder_and_before_the_cache(small, tmp_path, monkeypatch):
    packing.make(tmp_path / "pack")
    monkeypatch.setenv("KADAM_PACK", str(tmp_path / "pack"))
    source = packing.SOURCES["tinyshakespeare"]
    assert sources.locate(source) == ("folder", small / "tinyshakespeare.txt")
    monkeypatch.delenv("KADAM_DATA")
    assert sources.locate(source) == ("pack", tmp_path / "pack" / "data" / "tinyshakespeare.txt")
    again = packing.make(tmp_path / "pack")  # from its own data
    assert again == sum(path.stat().st_size for path in (tmp_path / "pack").rglob("*") if path.is_file())


def test_a_missing_file_is_an_error_with_its_remedy(small, tmp_path, monkeypatch):
    (small / "imdb.valid.txt.xz").unlink()
    with pytest.raises(ValueError, match=r"imdb\.valid\.txt\.xz: is not here.*put a copy into a folder, and.*KADAM_DATA"):
        packing.make(tmp_path / "pack")
    (small / "tinyshakespeare.txt").unlink()
    with pytest.raises(ValueError, match=r"tinyshakespeare\.txt: cannot be had from https://example.org/text \(no network\)"):
        packing.make(tmp_path / "pack")
    assert not (tmp_path / "pack").exists()


def test_a_wrong_file_is_refused(small, tmp_path):
    (small / "cifar10_jpeg.npz").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"cifar10_jpeg\.npz: sha256 is"):
        packing.make(tmp_path / "pack")


def test_a_pack_that_is_too_large_names_the_largest_files_and_is_not_made(small, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "LIMIT", 200_000)
    with pytest.raises(ValueError, match=r"may hold 0 MB, this would hold 0\.\d; the largest files: \S+ \(0\.1 MB\), "):
        packing.make(tmp_path / "pack")
    assert not (tmp_path / "pack").exists()


def test_a_folder_that_is_no_pack_is_left_alone(small, tmp_path):
    with pytest.raises(ValueError, match="is there already, and is no pack"):
        packing.make(small)
    assert (small / "tinyshakespeare.txt").exists()


def test_only_packages_of_pure_python_that_are_installed_are_packed():
    with pytest.raises(ValueError, match="h5py: cannot be packed, since it is compiled"):
        dict(packing._package("h5py"))
    with pytest.raises(ValueError, match="none-such: cannot be packed, since it is not installed here"):
        dict(packing._package("none-such"))


def test_the_command_makes_a_pack_or_says_in_one_line_why_not(small, tmp_path, capsys):
    packing.main([str(tmp_path / "pack")])
    assert f"of commit {record.commit()}" in capsys.readouterr().out
    (small / "imdb.train.txt.xz").unlink()
    for given, words in (([str(tmp_path / "pack")], r"Error: imdb\.train"), ([], "usage: python -m kadam")):
        with pytest.raises(SystemExit, match=words):
            packing.main(given)
    assert (tmp_path / "pack" / "commit").exists()
