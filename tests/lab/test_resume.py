"""A second run gives the bits of the first, and every piece that trains goes on from the state it kept to the same bits."""

import functools
import sys

import numpy as np
import pytest
import xarray as xr
from tiers import cases

from kadam import chapters
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import one_thread, sweep
from kadam.lab.records import record as records

PICKED = 3  # pieces of every sweep, evenly spaced
STATEFUL = ("NAdam", "LaProp", "Lion", "3-Adam meta")  # methods of a contest that keep what Adam does not

# Pieces of these follow a differential equation: they keep no state on the way, and begin again.
WITHOUT_STATE = ("trajectories", "orders", "race")

# Of every kind of loop one: an ensemble, a network beside its probes, a contest, a differential equation, convex losses.
QUICK = ("spikes", "meta", "optimum", "orders", "box")


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
    """What the sweeps of this test do, each as it ends: the function of a piece, steps by piece, results."""
    found = []

    def watching(pieces, compute, **options):
        results = sweep(pieces, functools.partial(counted, compute), **options)
        found.append((compute, {piece: result.attrs.pop("steps") for piece, result in results.items()}, results))
        return results

    for name in chapters.NAMES:
        chapters.find(name).part("run")
    for module in [module for key, module in sys.modules.items() if key.startswith("kadam.chapters.")]:
        if getattr(module, "sweep", None) is sweep:
            monkeypatch.setattr(module, "sweep", watching)
    return found


def counted(compute, piece, progress):
    """The result of a piece, with its number of steps."""
    return compute(piece, progress).assign_attrs(steps=progress.steps)


def picked(steps):
    """Of the pieces that loop: evenly spaced ones, the first of every kind, and every kind of state in one network."""
    pieces = [piece for piece, taken in steps.items() if taken > 1]
    kinds = {piece[0]: piece for piece in reversed(pieces)}
    states = {getattr(piece, "method", None): piece for piece in pieces}
    spaced = [pieces[i] for i in np.linspace(0, len(pieces) - 1, PICKED).round().astype(int)]
    return list(dict.fromkeys([*spaced, *kinds.values(), *(states[name] for name in STATEFUL if name in states)]))


@one_thread()
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", cases(chapters.NAMES, quick=QUICK))
def test_a_second_run_in_two_processes_gives_the_bits_of_the_kept_one_and_so_do_stopped_pieces(
    name, smoke_records, sweeps, tmp_path
):
    again = chapters.find(name).part("run").run(chapters.request(name, "smoke").config, jobs=2, checkpoint=tmp_path / "pieces")
    records.save(again, tmp_path / "again.nc")
    again, kept = records.read(tmp_path / "again.nc", command="x"), smoke_records[name]
    assert again.attrs["sha256"] == kept.attrs["sha256"]
    xr.testing.assert_identical(again.drop_attrs(deep=False), kept.drop_attrs(deep=False))
    assert bool(sweeps) == (name != "stability")
    if name not in WITHOUT_STATE:
        for number, (compute, steps, results) in enumerate(sweeps):
            for place, piece in enumerate(picked(steps)):
                resumed = stopped_and_resumed(compute, piece, steps[piece], tmp_path / f"{number}-{place}.state")
                xr.testing.assert_identical(resumed, results[piece].drop_attrs(deep=False).assign_attrs(resumed.attrs))


def stopped_and_resumed(compute, piece, steps, path):
    """The result of a piece that is stopped three times, where it has as many steps, and goes on from the state before."""
    kept = 0
    for part in (0.1, 0.6, 1.0):
        stop = max(round(part * steps), kept + 2)
        with pytest.raises(Killed):
            compute(piece, KilledAt(stop, path))
        kept = stop - 1
        if kept + 2 > steps:
            break
    told = []
    resumed = compute(piece, Progress(told.append, path))
    assert told[0] == kept, piece
    return resumed
