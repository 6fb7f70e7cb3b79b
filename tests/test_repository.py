"""What the repository promises in words and pins is what its files say."""

import contextlib
import doctest
import re
import socket
import subprocess
import tomllib
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
import yaml
from packaging.specifiers import SpecifierSet
from recorded import readme

from kadam import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)


def name_of(requirement):
    return re.split(r"[<>=!\[;]", requirement)[0].strip()


def requirements():
    return [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["book"], *PROJECT["optional-dependencies"]["dev"]]


def test_the_lock_pins_everything_that_is_asked_for():
    locked = {name.lower().replace("_", "-") for name in LOCK}
    everything = [*requirements(), *(r for extra in ("clients", "browser") for r in PROJECT["optional-dependencies"][extra])]
    missing = [r for r in everything if name_of(r) != "kadam" and name_of(r).lower() not in locked]
    assert missing == []
    assert LOCK["torch"] == "2.13.0"
    assert LOCK["triton"] == "3.7.1"  # what that torch asks for exactly where it comes with CUDA, as PyPI's does on Linux


def test_the_locks_pins_are_exact_and_free_of_hashes_and_addresses():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(lines) > 80
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+", line) for line in lines)


def test_no_pin_asks_for_a_newer_python_than_the_project_does():
    """The newest patch of the oldest Python would hide a pin that its first one cannot install."""
    floor = PROJECT["requires-python"].removeprefix(">=") + ".0"
    asked = {}
    for name, version in LOCK.items():
        with contextlib.suppress(PackageNotFoundError):
            installed = distribution(name)
            if installed.version.partition("+")[0] == version:
                asked[name] = SpecifierSet(installed.metadata.get("Requires-Python") or "")
    assert len(asked) > 100
    assert [f"{name} asks for {python}" for name, python in asked.items() if floor not in python] == []


def test_condas_environment_pins_what_pyproject_and_the_lock_pin():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [part["pip"] for part in environment["dependencies"] if isinstance(part, dict)]
    pinned = dict(line.split("==") for line in pip if "==" in line)
    plain = [r.partition(";")[0] for r in requirements()]  # without conditions on the platform
    exact = dict(r.split("==") for r in plain if "==" in r)
    assert pinned == {**exact, "torch": LOCK["torch"]}
    assert all(LOCK[name] == version for name, version in pinned.items())
    assert "-c constraints.txt" in pip


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == __version__ == citation["version"]


def test_the_readmes_answers_are_those_of_the_committed_records():
    assert (ROOT / "README.md").read_text() == readme()


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert len(text.encode()) <= 12_000


def make(*arguments, folder):
    command = ["make", "--silent", "--file", str(ROOT / "Makefile"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_make_help_has_a_line_about_every_target(tmp_path):
    (targets,) = re.findall(r"^.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.M)
    lines = make("help", folder=tmp_path).stdout.splitlines()
    assert sorted(line.split()[1] for line in lines) == sorted(targets.split())
    assert all(len(line.split()) > 3 for line in lines)


def test_serving_a_book_that_is_not_there_says_how_to_build_it(tmp_path):
    served = make("serve", folder=tmp_path)
    assert served.returncode != 0
    assert "There is no book in _build/html yet; build it with: make book" in served.stderr


def test_serving_at_a_port_that_is_taken_says_so(tmp_path):
    (tmp_path / "_build" / "html").mkdir(parents=True)
    (tmp_path / "_build" / "html" / "index.html").write_text("a book")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        served = make("serve", f"PORT={taken.getsockname()[1]}", folder=tmp_path)
    assert served.returncode != 0
    assert "Traceback" not in served.stderr
    assert re.search(r"Port (\d+) cannot be had; without PORT=\1 a free one is found", served.stderr)


@pytest.mark.parametrize("page", ["theory", "typical", "continuous-time", "invariance"])
def test_a_theory_page_names_functions_and_tests_that_exist(page):
    page = (ROOT / "book" / f"{page}.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "theory").glob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", page)) - {"test_flow", "test_invariance"}
    assert len(named) >= 7
    assert [name for name in named if f"def {name}(" not in tests] == []
    functions = re.findall(r"`(stability|exact_rates|last_stage|reference|flow|neighbours|exponential|invariance)\.(\w+)", page)
    assert functions
    assert [f for m, f in functions if not hasattr(import_module(f"kadam.theory.{m}"), f)] == []


def test_the_readmes_example_of_a_flow_runs():
    readme = (ROOT / "README.md").read_text()
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", readme, flags=re.S) if "adam_flow" in code]
    model = torch.nn.Linear(3, 1)
    given = {"model": model, "loss_function": lambda model, batch: model(batch).square().mean(), "batch": torch.eye(3).double()}
    exec(example, given)
    assert given["discrete"].shape == given["flow"].shape == (101, 4)
    assert 0 < abs(given["discrete"] - given["flow"]).max() < 1e-4


def test_the_example_in_the_optimizers_docstring_runs():
    import kadam.optim.kadam

    result = doctest.testmod(kadam.optim.kadam)
    assert result.attempted >= 4
    assert result.failed == 0


def test_the_page_on_this_repository_names_files_and_folders_that_exist():
    page = (ROOT / "book" / "building.md").read_text()
    named = set(re.findall(r"`((?:kadam|tests|notebooks|book|results)/[\w./-]*\w/?)`", page))
    assert len(named) >= 15
    assert [path for path in named if "..." not in path and not (ROOT / path).exists()] == []
    tree = page.split("```\nkadam/")[1].split("```")[0]
    rooms = re.findall(r"^  (\w+(?:\.py|/))", tree, flags=re.M)
    assert {
        "theory/",
        "optim/",
        "monitor/",
        "compiled.py",
        "lab/",
        "report/",
        "chapters/",
        "decay.py",
        "advice.py",
        "flat.py",
        "book.py",
        "cli.py",
    } == set(rooms)
    assert [room for room in rooms if not (ROOT / "kadam" / room).exists()] == []
