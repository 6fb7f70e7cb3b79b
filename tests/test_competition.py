"""The plan of a contest, and what it costs."""

from types import SimpleNamespace

import numpy as np
import pytest

from kadam.chapters.contest import competition
from kadam.chapters.contest.competition import CONTEST, SEARCH, Competition, Plan, seconds_a_step

TWO = Competition("t", ("a", "b"), ("Adam", "Lion", "2-Adam meta"), (1e-3, 4e-3), 1e-3, 2, 5, 0, 10, 100, ("loss",))


def test_the_plan_counts_runs_and_steps_of_both_phases():
    assert list(TWO.pieces.items())[4] == ("b, Lion", ("b", "Lion"))
    assert TWO.plan == Plan(tuning=6 * 2 * 2, comparing=6 * 3 * 5, steps=24 * 10 + 90 * 100)
    assert (TWO.steps_of(SEARCH), TWO.steps_of(CONTEST)) == (10, 100)
    assert TWO.plan.sentence(0.065, 2) == (
        "24 runs to find learning rates, then 90 to compare, 9,240 steps in all; 65 ms a step here, about 5 min with 2 at once"
    )


@pytest.mark.parametrize(("steps", "expected"), [(40, 1 / 20 + 1 / 8), (4, 1 / 4 + 1 / 8)])
def test_a_step_costs_its_share_of_an_evaluation_too(monkeypatch, steps, expected):
    monkeypatch.setattr(competition.stopwatch, "paired", lambda actions, **how: dict.fromkeys(actions, np.array([1.0])))
    taken, schedule = [], SimpleNamespace(steps=steps)
    training = SimpleNamespace(step=taken.append, evaluate=lambda data: None, schedule=schedule)
    assert seconds_a_step(training, None, every=8, device="cpu") == pytest.approx(expected)
    assert taken == list(range(min(20, steps)))
