"""What watching costs: the share of the time from a record, its verdict at both sides of the limits, the table and sentence."""

import numpy as np
import pytest
import xarray as xr

from kadam.chapters.speed.looking import claims, config, figures
from kadam.chapters.speed.looking.run import run


def record(look):
    """Steps of one second in every round, and measurements of ``look``."""
    settings = config.PROFILES["laptop"].settings
    seconds = np.ones((len(settings), 2, 3)) * np.array([1.0, look])[:, None]
    coords = {"setting": [s.name for s in settings], "part": ["step", "look"]}
    numbers = {name: ("setting", [1] * len(settings)) for name in ("weights", "tokens")}
    every = ("setting", [s.every for s in settings])
    return xr.Dataset({"seconds": (("setting", "part", "round"), seconds), **numbers, "every": every}, coords)


@pytest.mark.parametrize(
    ("look", "held"), [(0.049, [True] * 5), (0.051, [False, False, True, False, True]), (0.21, [False] * 5)]
)
def test_the_share_is_of_all_steps_up_to_the_next_measurement(look, held):
    (_, criterion, judge), *none = claims.TESTS.values()
    assert none == []
    words, outcome = judge(record(look))
    assert list(outcome.values() if hasattr(outcome, "values") else outcome.held.values()) == held
    assert "limit 2%" in words
    assert "5%" in str(criterion)
    assert f"{look / 10:.1%}" in figures.cost_said(record(look)).__str__()


def test_a_run_times_steps_and_measurements():
    found = run(config.PROFILES["smoke"])
    assert (found.seconds > 0).all()
    assert dict(found.sizes) == {"setting": 1, "part": 2, "round": 2}
    assert float(found.weights[0]) > 0
    assert "tiny" in str(figures.cost(found))
