"""Chapter 6: a lead found after the fact, on fresh seeds, and both sides of what is claimed there."""

import numpy as np
import pytest
import xarray as xr
from judging import Judged

from kadam.chapters.contest.cifar import config as cifar
from kadam.chapters.contest.confirm import config, figures, run
from kadam.chapters.contest.contest import LATER_SEEDS

YES, PARTLY, NO, NOT_RUN = "reproduced", "partly", "not reproduced", "not run at this profile"
NAMED = "4-Adam meta"


@pytest.fixture
def record(smoke_records):
    return smoke_records["confirm"]


def repeated(record, seeds, **points):
    """The record with so many seeds, in which methods are above the others' 50% by these points, for each network."""
    found = record.isel(seed=[0] * seeds).assign_coords(seed=np.arange(seeds)).copy(deep=True)
    noise = xr.DataArray(np.linspace(-0.1, 0.1, seeds), dims="seed")
    accuracy = xr.zeros_like(found.accuracy) + 50.0
    for method, gain in points.items():
        more = (xr.DataArray(gain, dims="network") + noise) * (found.optimizer == method)
        accuracy = (accuracy + more).transpose(*accuracy.dims)
    return found.assign(accuracy=accuracy / 100)


def test_the_network_and_the_images_are_those_of_the_contest_and_the_seeds_are_not():
    one, other = config.PROFILES["cpu"], cifar.PROFILES["cpu"]
    for name in ("networks", "train", "validation", "test", "pixels", "width", "steps", "batch", "beta", "gamma", "warmup"):
        assert getattr(one, name) == getattr(other, name)
    used = [{*range(of.seed, of.seed + LATER_SEEDS + of.seeds)} for of in (one, other)]
    assert not used[0] & used[1]
    assert run.contest(one).methods == ("Adam", "NAdam", "Adam, beta1 = 0.5", "Adam, beta1 = 0.7", NAMED)


@pytest.mark.parametrize(
    ("seeds", "points", "expected"),
    [
        (9, {NAMED: [1, 1]}, (YES, YES)),
        (8, {NAMED: [1, 0]}, (PARTLY, PARTLY)),
        (9, {NAMED: [1, 1], "NAdam": [2, 2]}, (YES, PARTLY)),
        (9, {NAMED: [-1, 0.01]}, (NO, NO)),
        (7, {NAMED: [1, 1]}, (YES, NOT_RUN)),
        (6, {NAMED: [1, 1]}, (NOT_RUN, NOT_RUN)),
    ],
)
def test_the_criteria_are_applied_on_both_sides(record, seeds, points, expected):
    found = Judged("confirm", repeated(record, seeds, **points))
    assert (found["D-6v"].verdict, found["D-6w"].verdict) == expected


def test_the_optima_of_accuracies_are_their_largest_and_drawn_as_accuracies(record):
    searched = xr.zeros_like(record.search_accuracy) + xr.DataArray([0.3, 0.5, 0.4], dims="rate")
    found = record.assign(search_accuracy=searched.transpose(*record.search_accuracy.dims))
    assert Judged("confirm", found)["D-6x"].verdict == YES
    for line in figures.optima(found).axes[0].lines:
        y = np.asarray(line.get_ydata(), dtype=float)
        assert ((y > 29) & (y < 52)).all()
        assert line.get_marker() != "*" or y > 50
    assert "in both networks" in figures.optima_said(repeated(record, 9, **{NAMED: [1, 1]}))
