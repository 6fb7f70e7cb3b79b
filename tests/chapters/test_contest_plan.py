"""The plan of a contest, and what it costs."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from kadam.chapters.contest import contest
from kadam.chapters.contest.comparisons import MATCHED, TUNED
from kadam.chapters.contest.contest import COMPARISON, SEARCH, Contest, Plan, seconds_a_step

CONFIG = SimpleNamespace(rates=(1e-3, 4e-3), equal_rate=1e-3, tuning_seeds=2, seeds=5, seed=0, steps=100)
TWO = Contest("t", "text", ("a", "b"), ("Adam", "Lion", "2-Adam meta"), 10, ("loss",), None, CONFIG)


def test_the_plan_counts_runs_and_steps_of_both_phases():
    assert TWO.pieces[4] == ("b", "Lion")
    assert TWO.plan == Plan(tuning=6 * 2 * 2, comparing=6 * 3 * 5, steps=24 * 10 + 90 * 100)
    assert (TWO.steps_of(SEARCH), TWO.steps_of(COMPARISON)) == (10, 100)
    assert TWO.plan.sentence(0.065, 2) == (
        "24 runs to find learning rates, then 90 to compare, 9,240 steps in all; 65 ms a step here, about 5 min with 2 at once"
    )


def test_a_contest_may_leave_out_a_comparison():
    fewer = replace(TWO, comparisons=(TUNED, MATCHED))
    assert fewer.plan == Plan(tuning=6 * 2 * 2, comparing=6 * 2 * 5, steps=24 * 10 + 60 * 100)


@pytest.mark.parametrize(("steps", "expected"), [(40, 1 / 20 + 1 / 8), (4, 1 / 4 + 1 / 8)])
def test_a_step_costs_its_share_of_an_evaluation_too(monkeypatch, steps, expected):
    def paired(actions, **how):
        for action in actions.values():
            action()
        return dict.fromkeys(actions, np.array([1.0]))

    monkeypatch.setattr(contest.stopwatch, "paired", paired)
    taken, schedule = [], SimpleNamespace(steps=steps)
    training = SimpleNamespace(step=taken.append, evaluate=lambda data: None, schedule=schedule)
    assert seconds_a_step(training, None, every=8, device="cpu") == pytest.approx(expected)
    assert taken == list(range(min(20, steps)))
