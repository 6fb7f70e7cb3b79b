"""The experiment that runs the tests of the step on a GPU: what it counts, refuses and claims, never whether they pass."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiers import cases, exhaustive

from kadam import chapters
from kadam.chapters.speed.correctness import claims, config, figures
from kadam.chapters.speed.correctness import run as correctness
from kadam.lab.records.closure import PACKAGE, files_of

GPU = config.Config(files=("test_cuda", "test_kadam"), words="", device="cuda", processes=1)

TESTS = """
import os, pytest
pytestmark = pytest.mark.gpu

@pytest.mark.parametrize("k", [1, 2, 3])
def test_passes(k):
    assert "PYTHONWARNINGS" not in os.environ

@pytest.mark.parametrize("device", ["cuda"])
def test_fails_once(device):
    assert device == "cpu", "the reason"

def test_is_skipped():
    pytest.skip("no time")
"""
BROKEN = """
import pytest

@pytest.fixture
def falls():
    yield
    raise ValueError("behind")

@pytest.mark.gpu
def test_fails_behind(falls): pass

def test_needs_no_gpu(): raise AssertionError
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with tests of its own, on a machine that has a GPU."""
    (tmp_path / "tests" / "optim").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["gpu"]\n')
    (tmp_path / "tests" / "optim" / "test_cuda.py").write_text(TESTS)
    (tmp_path / "tests" / "optim" / "test_kadam.py").write_text(BROKEN)
    monkeypatch.setattr(correctness, "ROOT", tmp_path)
    monkeypatch.setattr(correctness.devices, "described", lambda name: {"device": "a GPU"})
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    return tmp_path


def told(record):
    names = record.function.values.tolist()
    return {name: tuple(int(record[n].sel(function=name)) for n in correctness.OUTCOMES) for name in names}


@pytest.mark.parametrize("processes", cases((1, 2), quick=(2,)))
def test_the_tests_of_a_device_are_counted_by_function_and_failures_are_named(checkout, processes):
    record = correctness.run(replace(GPU, processes=processes))
    assert record.function.values.tolist() == sorted(record.function.values)
    assert told(record) == {
        "test_cuda::test_passes": (3, 0, 0),
        "test_cuda::test_fails_once": (0, 1, 0),
        "test_cuda::test_is_skipped": (0, 0, 1),
        "test_kadam::test_fails_behind": (0, 1, 0),
    }
    failures = sorted(json.loads(record.attrs["failures"]))
    assert [one.partition(": ")[0] for one in failures] == ["test_cuda::test_fails_once[cuda]", "test_kadam::test_fails_behind"]
    assert "the reason" in failures[0]
    assert "behind" in failures[1]
    assert record.attrs["device"] == "a GPU"
    assert float(record.seconds.min()) >= 0
    assert figures.medians(record)["test_cuda"] == {
        "passed": 3,
        "failed": 1,
        "skipped": 1,
        "seconds": pytest.approx(float(record.seconds[:3].sum())),
    }
    assert [row[:4] for row in figures.file_table(record).rows] == [("test_cuda", "3", "1", "1"), ("test_kadam", "0", "1", "0")]


@exhaustive
def test_what_is_no_result_is_an_error_and_never_a_record_of_nothing(checkout):
    with pytest.raises(ValueError, match=r"pytest ended with status 5 and no results: (.|\n)*deselected"):
        correctness.run(replace(GPU, words="no_such_test"))
    (checkout / "tests" / "optim" / "test_kadam.py").write_text("import no_such_module")
    with pytest.raises(ValueError, match=r"pytest ended with status 2 and no results: (.|\n)*test_kadam"):
        correctness.run(GPU)


def test_without_a_checkout_or_a_gpu_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(correctness, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"tests/optim/test_cuda\.py: no such tests; .*run this in a checkout of it"):
        correctness.run(config.PROFILES["smoke"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch finds no CUDA device here"):
        correctness.run(config.PROFILES["paper"])


@pytest.mark.parametrize(("bad", "message"), [({"files": ()}, "files.*at least one"), ({"device": "tpu"}, "device.*'tpu'")])
def test_a_configuration_that_cannot_be_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        config.Config(**bad)


@pytest.fixture
def record(smoke_records):
    return smoke_records["correctness"]


def test_in_the_interpreter_the_whole_way_is_gone_and_nothing_is_claimed(record):
    assert int(record.passed.sum()) == 2
    assert int(record.failed.sum() + record.skipped.sum()) == 0
    (claim,) = chapters.claims("correctness", record)
    assert (claim.verdict, claim.measured) == (
        "not run at this profile",
        "2 tests passed, 0 failed, 0 were skipped, none of them on a GPU",
    )
    assert "test_cuda       2       0        0" in figures.summary(record)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [({}, "reproduced"), ({"failed": 1}, "partly"), ({"skipped": 1}, "partly"), ({"passed": 49}, "partly")],
)
def test_on_a_gpu_every_test_must_pass_and_there_must_be_many(record, changes, verdict):
    on_gpu = record.assign_attrs(device="NVIDIA H200")
    values = {
        "passed": np.array([50, 50]),
        **{name: np.array([0, value]) for name, value in changes.items() if name != "passed"},
    }
    if "passed" in changes:
        values["passed"] = np.array([50, changes["passed"]])
    (claim,) = chapters.claims("correctness", on_gpu.assign({name: ("function", value) for name, value in values.items()}))
    assert claim.verdict == verdict
    assert len(claim.cases) == 3


def test_the_tests_that_a_profile_names_are_there_and_a_change_of_the_step_makes_another_record():
    assert all(
        (correctness.ROOT / correctness.path_of(name)).is_file() for one in config.PROFILES.values() for name in one.files
    )
    depends = files_of(chapters.find("correctness").module_name("run"))
    assert {PACKAGE / f"{name}.py" for name in ("optim/cuda", "optim/steps", "optim/update", "lab/train/replay")} <= depends
    assert all(importlib.import_module(name) for name in correctness.TESTED)
    assert "correctness" not in chapters.NAMES + chapters.MEASURED  # neither run with all nor shown by a page
    assert claims.TESTS
