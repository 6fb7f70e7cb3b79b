"""Predictions of a GPU stand beside what records of profile paper measured, and say what has none."""

import re

import numpy as np
import pytest
import xarray as xr

from kadam import book, chapters, gpu
from kadam.chapters.speed import predicted
from kadam.chapters.speed.speed.config import CEILING, REPLAYED
from kadam.lab.records import committed

KS = (1, 2, 4, 8)


def speed():
    """Three rounds of which the middle one is told: 10 k ms a step at 1B weights, k ms on ResNet-18, half of it replayed."""
    coords = {"case": ["1B", "ResNet-18"], "way": ["fused", REPLAYED, CEILING], "k": list(KS), "round": range(3)}
    seconds = xr.DataArray(np.full([*map(len, coords.values())], np.nan), coords)
    for k in KS:
        for place, ms in ((("1B", "fused"), 10 * k), (("1B", CEILING), 8 * k), (("ResNet-18", "fused"), k)):
            seconds.loc[(*place, k)] = np.array([1, 1, 5]) * ms / 1e3
        seconds.loc["ResNet-18", REPLAYED, k] = np.array([0.1, 1, 1]) * k / 2e3
    return xr.Dataset({"seconds": seconds})


def training():
    step = xr.DataArray([[1.0, 1.5, 9.0], [5.0, 5.0, 5.0]], {"optimizer": ["Adam", "2-Adam meta"]}, ("optimizer", "round"))
    return xr.Dataset({"step_s": step / 1e3})


def optimum():
    """12 runs of 100 steps to search, 6 of 50 to compare, in 3 seconds: 2 ms a step."""
    values = {
        "search_loss": (("optimizer", "rate"), np.zeros((3, 4))),
        "diverged_at": (("optimizer", "seed"), np.zeros((3, 2))),
    }
    return xr.Dataset(values, attrs={"computed_s": 3.0, "tuning_steps": 100, "steps": 50})


def growth():
    """128 members and a gap take 10 steps in 0.1 seconds: 5 ms for 64 of them."""
    slope = np.where(np.arange(129) < 128, 0.0, np.nan)
    return xr.Dataset({"slope": ("point", slope), "x": ("iteration", np.zeros(10))}, attrs={"computed_s": 0.1})


RECORDS = {"speed": speed, "training": training, "optimum": optimum, "growth": growth}
EXPECTED = ["0.8, 0.8, 0.8, 0.8", "10, 20, 40, 80", "0.5, 1, 2, 4", "1, 2, 4, 8", "2", "1.5", "5"]


def test_what_was_measured_stands_beside_its_prediction():
    rows = predicted.beside({name: make() for name, make in RECORDS.items()}).rows
    assert [measured for *_, measured in rows] == EXPECTED
    assert [measured for *_, measured in predicted.beside({}).rows] == ["-"] * len(EXPECTED)
    assert {name for *_, name, _ in predicted.ROWS} == set(RECORDS) <= {one.name for one in gpu.SLICES}


@pytest.mark.parametrize("there", [(), ("growth",), tuple(one.name for one in gpu.SLICES)])
def test_the_page_names_the_records_there_are_and_what_was_rehearsed_alone(there, tmp_path, monkeypatch):
    made = {name: RECORDS.get(name, growth)().assign_attrs(device="an H200", date="today") for name in there}
    monkeypatch.setattr(committed, "committed", lambda folder, name, profile: made.get(name) if profile == "paper" else None)
    shown = []
    monkeypatch.setattr(chapters, "verdicts", lambda *records: shown.extend(records) or predicted.beside({}))
    page = book.on_gpu(tmp_path)
    assert set(re.findall(r"`(\w+)`, an H200, today", page)) == set(there)
    rehearsed = page.partition(book.REHEARSED)[2]
    assert set(re.findall(r"`(\w+)`", rehearsed)) == {one.name for one in gpu.SLICES} - set(there)
    assert len(shown) == sum(name not in chapters.NAMES for name in there)
