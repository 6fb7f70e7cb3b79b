"""Every piece that trains goes on from the state it kept, and ends with the bits of an undisturbed one."""

import sys

import numpy as np
import pytest
import xarray as xr

from kadam import chapters
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import one_thread, sweep

PICKED = 3  # pieces of every sweep, evenly spaced
STATEFUL = ("NAdam", "LaProp", "Lion", "3-Adam meta")  # methods of a contest that keep what Adam does not

# Pieces of these follow a differential equation: they keep no state on the way, and begin again.
WITHOUT_STATE = ("trajectories", "orders")
RESUMED = [name for name in chapters.NAMES if name not in (*WITHOUT_STATE, "stability")]


class Killed(BaseException):
    """What stops a piece here."""


class KilledAt(Progress):
    """Keeps its state once, and is killed a step later."""

    def __init__(self, stop, path):
        super().__init__(self.hear, path)
        self.stop = stop

    def hear(self, steps):
        self._next = 0 if steps == self.stop - 1 else float("inf")
        if steps == self.stop:
            raise Killed


@pytest.fixture
def sweeps(monkeypatch):
    """Runs an experiment at the smoke profile; its sweeps: the function of a piece, steps by piece, results."""

    def watched(name):
        found = []

        def watching(pieces, compute, **options):
            taken = {}

            def counted(piece, progress):
                result = compute(piece, progress)
                taken[piece] = progress.steps
                return result

            results = sweep(pieces, counted, **options)
            found.append((compute, taken, results))
            return results

        run = chapters.find(name).part("run").run
        for module in [module for key, module in sys.modules.items() if key.startswith("kadam.chapters.")]:
            if getattr(module, "sweep", None) is sweep:
                monkeypatch.setattr(module, "sweep", watching)
        run(chapters.request(name, "smoke").config)
        return found

    return watched


def picked(steps):
    """Of the pieces that loop: evenly spaced ones, the first of every kind, and every kind of state in one network."""
    pieces = [piece for piece, taken in steps.items() if taken > 1]
    kinds = {piece[0]: piece for piece in reversed(pieces)}
    states = {getattr(piece, "method", None): piece for piece in pieces}
    spaced = [pieces[i] for i in np.linspace(0, len(pieces) - 1, PICKED).round().astype(int)]
    return list(dict.fromkeys([*spaced, *kinds.values(), *(states[name] for name in STATEFUL if name in states)]))


@one_thread()
@pytest.mark.parametrize("name", RESUMED)
def test_a_piece_that_is_stopped_goes_on_to_the_bit(name, sweeps, tmp_path):
    found = sweeps(name)
    assert found
    for number, (compute, steps, results) in enumerate(found):
        for place, piece in enumerate(picked(steps)):
            path, kept = tmp_path / f"{number}-{place}.state", 0
            for part in (0.1, 0.6, 1.0):  # each goes on from the state before
                stop = max(round(part * steps[piece]), kept + 2)
                with pytest.raises(Killed):
                    compute(piece, KilledAt(stop, path))
                kept = stop - 1
                if kept + 2 > steps[piece]:
                    break
            told = []
            resumed = compute(piece, Progress(told.append, path))
            assert told[0] == kept, piece
            xr.testing.assert_identical(resumed, results[piece].drop_attrs(deep=False).assign_attrs(resumed.attrs))
