"""What CI runs is all of the checks, and none of them can fail unseen: the workflows, `.ci/run` and the Makefile."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
JOBS = {(name, job): flow["jobs"][job] for name, flow in WORKFLOWS.items() for job in flow["jobs"]}
TORCH_FOR_CPUS = {"PIP_EXTRA_INDEX_URL": "https://download.pytorch.org/whl/cpu"}

# The majors that GitHub's runners still start (they dropped Node 20 in 2026).
ACTIONS = {
    "actions/checkout@v7",
    "actions/setup-python@v7",
    "actions/upload-artifact@v7",
    "actions/download-artifact@v8",
    "actions/configure-pages@v6",
    "actions/upload-pages-artifact@v5",
    "actions/deploy-pages@v5",
}
RUNS = {
    ("ci", "tests"): ["make test", "make exhaustive"],
    ("ci", "address"): [],
    ("ci", "book"): ["make book"],
    ("ci", "deploy"): [],
    ("nightly", "fuzz"): ["make fuzz"],
    ("nightly", "clients"): ["make clients"],
    ("weekly", "published"): ["make ${{ matrix.target }}"],
}
FROM_MAIN = "github.event_name == 'push' && github.ref == 'refs/heads/main'"
CONDITIONS = {
    ("ci", "address"): FROM_MAIN,
    ("ci", "book"): "${{ !cancelled() && needs.tests.result == 'success' }}",  # whether or not there is an address
    ("ci", "deploy"): FROM_MAIN,
}
ADDRESS = {("ci", "book"): {"KADAM_BASEURL": "${{ needs.address.outputs.base_url }}"}}

MARK = "exhaustive"  # of the tests that `make test` leaves out

# What `make test` consists of: a part's name, and words of its command.
PARTS = {
    "ruff check": "ruff check .",
    "ruff format": "ruff format --check .",
    "types": "mypy",
    "unit tests": "-m pytest tests",
    "notebooks": "-m pytest --nbval",
    "smoke book": "-m kadam book --profile smoke",
}


def test_every_job_runs_its_command_and_nothing_else():
    assert {key: [str(step["run"]).strip() for step in job["steps"] if "run" in step] for key, job in JOBS.items()} == RUNS


@pytest.mark.parametrize("key", JOBS, ids="-".join)
def test_no_step_can_be_left_out_or_fail_unseen(key):
    job = JOBS[key]
    assert not {"continue-on-error", "defaults", "container"} & set(job) | {"defaults"} & set(WORKFLOWS[key[0]])
    for step in job["steps"]:
        assert set(step) <= {"id", "uses", "with", "run"}
        assert step.get("uses", next(iter(ACTIONS))) in ACTIONS
    assert job.get("if") == CONDITIONS.get(key)
    assert {**WORKFLOWS[key[0]].get("env", {}), **job.get("env", {})} == {**TORCH_FOR_CPUS, **ADDRESS.get(key, {})}
    assert job["timeout-minutes"] <= 60


def test_the_book_is_built_after_the_tests_kept_for_every_pull_request_and_published_from_main_alone():
    tests, book, deploy = (JOBS["ci", name] for name in ("tests", "book", "deploy"))
    assert (book["needs"], deploy["needs"]) == (["tests", "address"], ["address", "book"])
    (kept,) = [step["with"] for step in book["steps"] if "upload-artifact" in step.get("uses", "")]
    assert (kept["path"], kept["if-no-files-found"]) == ("_build/html", "error")
    assert deploy["if"] == FROM_MAIN
    fetched, published, _ = (step.get("with", {}) for step in deploy["steps"])
    assert (fetched["name"], fetched["path"]) == (kept["name"], published["path"])
    assert tests["strategy"]["fail-fast"] is False


def test_a_push_runs_once_and_main_is_never_cancelled():
    ci = WORKFLOWS["ci"]
    assert ci[True] == {"push": {"branches": ["main"]}, "pull_request": None}  # YAML reads the word "on" as True
    # A pull request's runs share its number; a run of main shares its group with no other.
    assert ci["concurrency"]["group"] == "ci-${{ github.event.pull_request.number || github.run_id }}"
    assert JOBS["ci", "deploy"]["concurrency"] == {"group": "pages", "cancel-in-progress": False}


def test_jobs_may_read_and_publishing_alone_may_write():
    assert all(flow["permissions"] == {"contents": "read"} for flow in WORKFLOWS.values())
    assert {key: job["permissions"] for key, job in JOBS.items() if "permissions" in job} == {
        ("ci", "address"): {"pages": "read"},
        ("ci", "deploy"): {"pages": "write", "id-token": "write"},
    }


def test_the_book_is_built_for_the_address_that_github_names():
    address = JOBS["ci", "address"]
    (asked,) = address["steps"]
    assert asked == {"id": "pages", "uses": "actions/configure-pages@v6"}
    assert address["outputs"] == {"base_url": "${{ steps.pages.outputs.base_url }}"}
    assert "needs" not in address


def test_what_needs_a_network_is_checked_every_week():
    job, makefile = JOBS["weekly", "published"], (ROOT / "Makefile").read_text()
    targets = job["strategy"]["matrix"]["target"]
    assert targets == ["links", "validate", "sphinx-book"]
    assert [one for one in targets if not re.search(rf"^{one}: ", makefile, flags=re.M)] == []
    assert job["strategy"]["fail-fast"] is False
    (often,) = WORKFLOWS["weekly"][True]["schedule"]
    assert often["cron"].split()[2:] == ["*", "*", "1"]


def test_ci_runs_the_oldest_python_that_is_allowed():
    versions = [one["python-version"] for one in JOBS["ci", "tests"]["strategy"]["matrix"]["include"]]
    (floor,) = re.findall(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert versions[0] == f"{floor}.0" if floor.count(".") == 1 else floor


class Stand:
    """A folder in which `make` runs with programs that only note what they are asked, and fail where told to."""

    def __init__(self, folder):
        self.folder, self.log, self.programs = folder, folder / "log", folder / ".venv" / "bin"
        self.programs.mkdir(parents=True)
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copyfile(ROOT / name, folder / name)
        note = '#!/bin/sh\nline="$(basename "$0") $*"\necho "$line" >> log\n'
        note += 'test -z "$FAIL" && exit 0\ncase "$line" in *"$FAIL"*) exit 1;; esac\n'
        for name in ("python", "python3", "ruff", "mypy", "make"):
            (self.programs / name).write_text(note)
            (self.programs / name).chmod(0o755)

    def run(self, *command, fail="", **environment):
        plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        given = {**plain, **environment, "FAIL": fail}
        result = subprocess.run(command, cwd=self.folder, env=given, capture_output=True, text=True)
        return result, self.log.read_text().splitlines() if self.log.exists() else []

    def make(self, target, fail=""):
        return self.run("make", "PYTHON=.venv/bin/python3", target, fail=fail)


@pytest.fixture
def stand(tmp_path):
    return Stand(tmp_path / 'a folder für "it\'s"')


def test_make_test_runs_every_part(stand):
    result, asked = stand.make("test")
    assert result.returncode == 0, result.stderr
    assert [part for part, words in PARTS.items() if not any(words in line for line in asked)] == []
    (unit,) = [line for line in asked if PARTS["unit tests"] in line]
    left_out = unit.partition(" tests")[2].replace(f" -m not {MARK}", "")
    assert not re.search(r"--(ignore|deselect|collect-only|co\b)| -[km] ", left_out)
    (notebooks,) = [line for line in asked if PARTS["notebooks"] in line]
    assert notebooks.endswith(" notebooks/smoke")
    assert "lax" not in notebooks


def test_make_exhaustive_runs_what_make_test_leaves_out(stand):
    result, asked = stand.make("exhaustive")
    assert result.returncode == 0, result.stderr
    (unit,) = [line for line in asked if PARTS["unit tests"] in line]
    assert f" -m {MARK} " in unit
    assert stand.make("exhaustive", fail="-m pytest")[0].returncode != 0


@pytest.mark.parametrize("part", PARTS)
def test_make_test_fails_where_a_part_fails(stand, part):
    result, asked = stand.make("test", fail=PARTS[part])
    assert any(PARTS[part] in line for line in asked)
    assert result.returncode != 0


def test_make_clients_installs_the_libraries_and_lets_none_be_missing(stand):
    result, asked = stand.make("clients")
    assert result.returncode == 0, result.stderr
    (installed,) = [i for i, line in enumerate(asked) if ".[clients]" in line]
    (tested,) = [i for i, line in enumerate(asked) if line.endswith("-m pytest tests/clients")]
    assert installed < tested
    assert re.search(r"^clients: export KADAM_CLIENTS := 1$", (ROOT / "Makefile").read_text(), flags=re.M)
    assert stand.make("clients", fail="-m pytest")[0].returncode != 0


def test_make_browser_installs_its_driver_builds_the_book_and_lets_nothing_be_missing(stand):
    result, asked = stand.make("browser")
    assert result.returncode == 0, result.stderr
    order = (".[browser]", PARTS["smoke book"], "-m pytest tests/browser")
    (installed,), (built,), (tested,) = ([i for i, line in enumerate(asked) if words in line] for words in order)
    assert max(installed, built) < tested
    assert re.search(r"^browser: export KADAM_BROWSER := 1$", (ROOT / "Makefile").read_text(), flags=re.M)
    assert stand.make("browser", fail="-m pytest")[0].returncode != 0


def test_make_test_installs_no_library_of_the_recipes_and_no_driver_of_a_browser(stand):
    assert [line for line in stand.make("test")[1] if "clients" in line or "browser" in line] == []


def test_make_book_computes_and_builds(stand):
    result, asked = stand.make("book")
    assert result.returncode == 0, result.stderr
    assert any("-m kadam" in line and "book" in line and "laptop" in line for line in asked)
    assert stand.make("book", fail="-m kadam")[0].returncode != 0


@pytest.mark.parametrize(("browser", "more"), [("", []), ("chromium", ["make browser"])])
def test_the_script_of_ci_runs_all_tests_and_those_of_a_browser_where_there_is_one_and_fails_with_them(stand, browser, more):
    commands = ["make test", "make exhaustive", *more]
    script = stand.folder / ".ci" / "run"
    script.parent.mkdir()
    shutil.copyfile(ROOT / ".ci" / "run", script)
    for name in ("sh", "basename", "dirname"):  # all that the script and the stand-ins ask of the machine
        (stand.programs / name).symlink_to(shutil.which(name))
    if browser:
        shutil.copy(stand.programs / "make", stand.programs / browser)
    result, asked = stand.run(shutil.which("bash"), str(script), PATH=str(stand.programs))
    assert (result.returncode, asked) == (0, commands)
    for command in commands:
        assert stand.run(shutil.which("bash"), str(script), PATH=str(stand.programs), fail=command)[0].returncode != 0


def test_every_target_that_the_makefile_describes_is_one():
    makefile = (ROOT / "Makefile").read_text()
    described = re.findall(r"^# make (\w[\w-]*) ", makefile, flags=re.M)
    assert len(described) >= 3
    for target in described:
        assert re.search(rf"^{target}:", makefile, flags=re.M)


def test_conda_takes_a_python_that_ci_runs():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (python,) = [part for part in environment["dependencies"] if str(part).startswith("python")]
    (of_the_book,) = [step["with"]["python-version"] for step in JOBS["ci", "book"]["steps"] if "setup-python" in str(step)]
    assert python == f"python={of_the_book}"
