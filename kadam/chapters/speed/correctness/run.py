"""Whether the step on a GPU computes what it should: the repository's tests of it and of replays, run by pytest, counted.

The tests are no part of the package, so that a checkout is needed. On the CPU a few of them run in Triton's interpreter, and
show that the way from here to the counts works.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from xml.etree import ElementTree

import xarray as xr

from kadam.chapters.speed.correctness.config import PROFILES, Config
from kadam.lab.records import pack
from kadam.lab.records.closure import PACKAGE
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import devices

ROOT = PACKAGE.parent  # of the checkout

# What is tested: a change of it, or of what it imports, makes another record.
TESTED = ("kadam.optim", "kadam.optim.cuda", "kadam.optim.steps", "kadam.lab.train.training", "kadam.chapters.growth.run")

# The end of an answer that is no result of tests, and of a failure, in a message and in a record.
SHOWN_CHARACTERS, SHOWN_FAILURES = 400, 20

OUTCOMES = ("passed", "failed", "skipped")


class Outcome(NamedTuple):
    """What became of one test."""

    file: str
    test: str  # with its parameters
    outcome: str
    seconds: float
    message: str


@recorded("correctness", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """How many tests of each test function passed, failed and were skipped, and their seconds in all."""
    device = devices.described(config.device)  # first: without the GPU there is nothing to test
    outcomes = _outcomes(config)
    failed = [f"{one.file}::{one.test}: {one.message}" for one in outcomes if one.outcome == "failed"]
    data = {"data": "none: the repository's tests", "data_sha256": "", "data_origin": "none"}
    dataset = _counted(outcomes).assign_attrs(failures=json.dumps(failed[:SHOWN_FAILURES]), **data, **device)
    return with_units(dataset, {"seconds": "s", **dict.fromkeys(OUTCOMES, "tests")})


def _counted(outcomes: Iterable[Outcome]) -> xr.Dataset:
    """By test function, named FILE::FUNCTION, in alphabetical order, since processes end as they like."""
    groups: dict[str, list[Outcome]] = {}
    for one in sorted(outcomes):
        groups.setdefault(f"{one.file}::{one.test.partition('[')[0]}", []).append(one)
    counts = {name: [sum(one.outcome == name for one in group) for group in groups.values()] for name in OUTCOMES}
    seconds = [round(sum(one.seconds for one in group), 3) for group in groups.values()]
    columns = {**counts, "seconds": seconds}
    return xr.Dataset({name: ("function", values) for name, values in columns.items()}, {"function": list(groups)})


def _outcomes(config: Config) -> list[Outcome]:
    """``ValueError`` where no checkout is, or where pytest gives no results."""
    files = [path_of(name) for name in config.files]
    if missing := [name for name in files if not (ROOT / name).is_file()]:
        raise ValueError(
            f"{ROOT / missing[0]}: no such tests; they are no part of the package, so run this in a checkout of it"
        )
    import_module("pytest")  # so that its absence is told as that of any other package
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            *files,
            *_options(config),
            f"--basetemp={folder}/tests",
            f"--junitxml={report}",
        ]
        done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True)
        if done.returncode not in (0, 1) or not report.exists():  # all passed, some failed
            said = (done.stdout + done.stderr).strip()[-SHOWN_CHARACTERS:]
            raise ValueError(f"pytest ended with status {done.returncode} and no results: {said}")
        return list(_read(report))


def path_of(name: str) -> str:
    """Where the tests of a name stand in the checkout."""
    return f"tests/{name if '/' in name else f'optim/{name}'}.py"


def _options(config: Config) -> list[str]:
    marked = ["-m", "gpu" if config.device == "cuda" else "not gpu"]
    named = ["-k", config.words] if config.words else []
    spread = config.processes > 1 and find_spec("xdist") is not None
    return [
        *marked,
        *named,
        *(["-n", str(config.processes), "--dist", "worksteal"] if spread else []),
        "-p",
        "no:cacheprovider",
    ]


def _environment() -> dict[str, str]:
    """This package and the pack's come first; nothing that this process's own pytest or warnings were told is passed on."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONWARNINGS"))}
    paths = [str(ROOT), str(pack.part(pack.PACKAGES) or ""), kept.get("PYTHONPATH", "")]
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _read(report: Path) -> Iterator[Outcome]:
    """The tests of a report as pytest writes it for JUnit."""
    for case in ElementTree.parse(report).iter("testcase"):
        bad = next((one for tag in ("failure", "error", "skipped") if (one := case.find(tag)) is not None), None)
        outcome = "passed" if bad is None else "skipped" if bad.tag == "skipped" else "failed"
        message = "" if bad is None else bad.get("message", "")[:SHOWN_CHARACTERS]
        file = case.get("classname", "").rpartition(".")[2]
        yield Outcome(file, case.get("name", ""), outcome, float(case.get("time", 0)), message)
