"""The core as a user installs it: a wheel, with torch, numpy and scipy and what they need, and nothing else."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tiers import exhaustive

from kadam import __version__

ROOT = Path(__file__).parents[1]
CORE = ("torch", "numpy", "scipy")

USER_SCRIPT = """\
import torch

import kadam
from kadam import Decay, KAdam

model = torch.nn.Linear(3, 1)
optimizer = KAdam(model.parameters(), lr=1e-2, betas=(0.9, 0.999), k=2)
model(torch.ones(2, 3)).sum().backward()
optimizer.step()
last: Decay = kadam.stages(Decay.from_betas((0.9, 0.999)), 2)[-1]
print(kadam.advise(last.betas).sentence(), kadam.advise((0.9, 0.999), k=2).stable_discrete)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the wheel and the source archive of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The Python of an empty environment that holds the wheel and links to the installed libraries that the core needs."""
    folder = tmp_path_factory.mktemp("core")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    for name in needed(CORE):
        for top in {file.parts[0] for file in distribution(name).files or () if file.parts[0] not in ("..", "__pycache__")}:
            target = site / top
            if not target.exists():
                target.symlink_to(distribution(name).locate_file(top))
    (wheel,) = built.glob("*.whl")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return python


def needed(names):
    """These distributions and all that they need here, without extras."""
    found, waiting = [], list(names)
    while waiting:
        name = waiting.pop()
        try:
            requires = [Requirement(text) for text in distribution(name).requires or ()]
        except PackageNotFoundError:
            continue  # needed on other platforms
        if name not in found:
            found.append(name)
            waiting += [r.name for r in requires if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def run(python, *arguments):
    return subprocess.run([str(python), *arguments], capture_output=True, text=True, cwd=python.parent)


def test_the_core_needs_torch_numpy_and_scipy_alone(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"kadam-{__version__}.dist-info/METADATA").decode()
    requires = [Requirement(line.partition(": ")[2]) for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert {r.name for r in requires if "extra" not in str(r.marker)} == set(CORE)


def test_the_laboratorys_libraries_are_not_there(installed):
    libraries = ("click", "xarray", "matplotlib", "tqdm", "pandas", "joblib", "numba", "kadam.cli", "kadam.chapters")
    tried = "\ntry: import {0}; print('{0}')\nexcept ModuleNotFoundError: pass"
    assert run(installed, "-c", "".join(map(tried.format, libraries))).stdout == ""
    assert run(installed, "-c", tried.format("torch")).stdout == "torch\n"


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(USER_SCRIPT)
    return path


def test_a_users_script_runs_on_the_core(installed, script):
    result = run(installed, str(script))
    assert result.returncode == 0, result.stderr
    assert "stable" in result.stdout


@exhaustive
def test_the_types_of_a_users_script_hold(installed, script, tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(USER_SCRIPT.replace("k=2).stable_discrete", "k='2').stable_discrete"))
    types = ["--strict", "--python-executable", str(installed), "--cache-dir", str(ROOT / ".mypy_cache" / "core")]
    checked = run(Path(sys.executable), "-m", "mypy", *types, str(script), str(wrong)).stdout
    # What mypy has kept of an earlier run names the file where it lay then.
    assert [Path(line.partition(":")[0]).name for line in checked.splitlines() if "error:" in line] == ["wrong.py"], checked


def test_every_part_of_the_core_can_be_imported_without_the_laboratory(installed):
    parts = [path for name in ("theory", "optim") for path in (ROOT / "kadam" / name).glob("*.py")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in parts if path.stem != "numba_kernel"]
    result = run(installed, "-c", f"import kadam.flat, kadam.advice, {', '.join(sorted(names))}")
    assert result.returncode == 0, result.stderr


def test_the_command_answers_what_the_core_can_and_says_what_it_lacks(installed):
    kadam = installed.with_name("kadam")
    answer = run(kadam, "stability", "--betas", "0.9", "0.999")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "stable" in answer.stdout
    assert run(kadam, "--version").stdout == f"kadam {__version__}\n"
    refused = run(kadam, "run", "growth")
    assert refused.returncode == 1
    assert "pip install 'kadam[lab]'" in refused.stderr
    assert "kadam stability" in run(kadam, "-h").stderr


def test_the_archives_hold_the_package_and_its_embedded_data_and_no_tests_notebooks_or_records(built):
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    assert __version__ in wheel.name
    with zipfile.ZipFile(wheel) as archive, tarfile.open(source) as tar:
        for names in (archive.namelist(), tar.getnames()):
            words = "\n".join(names)
            for held in ("py.typed", "embedded/tinyshakespeare-excerpt.txt", "embedded/digits.npz", "explorer.js", "LICENSE"):
                assert held in words
            assert not [name for name in names if name.endswith((".ipynb", ".nc")) or "/tests/" in name or "results" in name]
