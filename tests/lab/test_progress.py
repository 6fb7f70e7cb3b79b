"""A piece's steps are counted once wherever it is computed, and its loop goes on from the state that was kept."""

import io
import sys
import time

import numpy as np
import pytest
import torch
from tqdm import tqdm

from kadam.lab.engine.progress import Bar, Note, Progress, drawn


def walk(progress, steps, *, stop=None):
    """A random walk whose position and generator are its state; stopped before a step, as a kill would."""
    rng, path = np.random.default_rng(0), np.zeros(steps)
    for n in progress.over(steps, {"rng": rng, "path": path}):
        if n == stop:
            raise KeyboardInterrupt
        path[n] = (path[n - 1] if n else 0.0) + rng.standard_normal()
    return path


def nowhere(steps):
    pass


@pytest.mark.parametrize("stop", range(7))
def test_a_stopped_loop_goes_on_to_the_bit(tmp_path, monkeypatch, stop):
    monkeypatch.setattr("kadam.lab.engine.progress.KEEPING_SHARE", float("inf"))
    path, told = tmp_path / "x.state", []
    with pytest.raises(KeyboardInterrupt):
        walk(Progress(nowhere, path, keep_every_s=0), 7, stop=stop)
    resumed = walk(Progress(told.append, path, keep_every_s=0), 7)
    np.testing.assert_array_equal(resumed, walk(Progress(nowhere), 7))
    assert told == list(range(stop or 1, 8))  # a loop that was stopped before its first step kept no state


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("cost", "kept"), [(0, [3, 6, 9]), (0.4, [3, 6, 9]), (1.0, [3, 8])])
def test_a_state_is_kept_every_so_many_seconds_and_costs_a_twentieth_at_most(tmp_path, monkeypatch, clock, cost, kept):
    saved = []

    def save(state, path):
        saved.append(state["steps"])
        clock[0] += cost

    monkeypatch.setattr("kadam.lab.engine.progress.save", save)
    for _ in Progress(nowhere, tmp_path / "x", keep_every_s=10).over(10, {}):
        clock[0] += 4
    assert saved == kept


def test_seconds_of_the_interrupted_run_count(tmp_path, clock):
    for expected in (5.0, 10.0):
        progress = Progress(nowhere, tmp_path / "x.state", keep_every_s=0)
        for _ in progress.over(progress.steps + 5 if expected == 5.0 else 10, {}):
            clock[0] += 1
        assert progress.seconds == expected


def test_a_state_that_cannot_be_set_in_place_is_refused():
    for state in ({"n": 5}, {"n": (1, 2)}, {"list": [], "n": torch.zeros(3)}):
        with pytest.raises(TypeError, match="state must hold what can be set in place; n is "):
            next(Progress(nowhere).over(3, state))


def shown(total):
    return tqdm(total=total, disable=False, file=io.StringIO())


def test_a_bar_counts_every_step_of_every_piece_once():
    with shown(20) as inner:
        bar = Bar(inner)
        for piece, steps in (("a", 3), ("b", 2), ("a", 10), ("b", 2), ("b", 10)):
            bar.at(piece, steps)
        assert inner.n == 20


def test_without_a_terminal_a_sweep_tells_a_line_a_minute_with_the_minutes_left(clock, capsys):
    with drawn("growth", total=4000, done=1000) as lines:
        bar = Bar(lines)
        for steps in range(0, 3000, 10):
            clock[0] += 1
            bar.at("a", steps)
    assert capsys.readouterr().err.splitlines() == [
        "growth: 1,590 of 4,000 steps, 4 min left",
        "growth: 2,190 of 4,000 steps, 3 min left",
        "growth: 2,790 of 4,000 steps, 2 min left",
        "growth: 3,390 of 4,000 steps, 1 min left",
        "growth: 3,990 of 4,000 steps, less than a minute left",
    ]


def test_what_takes_less_than_a_minute_or_gets_nowhere_tells_nothing(clock, capsys):
    for minutes, steps in ((0.9, 10), (5, 0)):
        with drawn("short", total=10, done=0) as lines:
            clock[0] += 60 * minutes
            lines.update(steps)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_a_bar_is_drawn(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := io.StringIO())
    terminal.isatty = lambda: True
    with drawn("growth", total=40, done=30) as bar:
        bar.update(10)
    assert "growth: 100%" in terminal.getvalue()


def test_a_bar_believes_notes_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr("kadam.lab.engine.progress.TELL_EVERY_S", 0.01)
    notes = {piece: tmp_path / f"{piece}.steps" for piece in "abc"}
    with shown(30) as inner:
        bar = Bar(inner)
        with bar.following(notes):
            Note(notes["a"])(4)
            notes["b"].write_text("")  # as it is for a moment while it is written
            deadline = time.monotonic() + 5
            while inner.n < 4 and time.monotonic() < deadline:
                time.sleep(0.01)
        assert inner.n == 4
        bar.at("a", 10)
        assert inner.n == 10


def test_a_note_is_written_at_most_every_second(tmp_path):
    note = Note(tmp_path / "folder" / "x.steps")
    for steps in range(1, 100):
        note(steps)
    assert note.path.read_text() == "1"
