"""A sweep gives the same bits wherever its pieces are computed, keeps what is finished, and goes on from there."""

import os
import sys
import threading
import time

import cloudpickle
import numpy as np
import pytest
import torch
import xarray as xr
from threadpoolctl import threadpool_info, threadpool_limits
from tiers import cases, exhaustive

from kadam.lab.engine.cluster import ClusterError
from kadam.lab.engine.sweep import Work, end_with, one_thread, sweep
from kadam.lab.records.closure import package_hash
from kadam.lab.records.files import RecordError

PIECES = ["a", "b", "c", "d"]


def work(piece, progress):
    x = torch.zeros(300, 300, dtype=torch.float64)
    rng = np.random.default_rng(ord(piece))
    for _ in progress.over(3, {"rng": rng}):
        x = x @ torch.from_numpy(rng.standard_normal(x.shape)) + 1
    return xr.Dataset({"x": (("n", "m"), x.numpy())})


class Failing:
    """Work that counts its calls and stops at one piece, as a killed process would."""

    def __init__(self, at=None):
        self.at, self.done = at, []

    def __call__(self, piece, progress):
        if piece == self.at:
            raise KeyboardInterrupt
        self.done.append(piece)
        return work(piece, progress)


def threads(piece, progress):
    """The most threads that torch or any library of linear algebra may use here."""
    counts = [pool["num_threads"] for pool in threadpool_info()]
    return xr.Dataset({"threads": max(torch.get_num_threads(), *counts)})


def run(compute=work, **options):
    return sweep(PIECES, compute, steps=3, title="test", **options)


def assert_equal(ours, theirs):
    assert list(ours) == list(theirs) == PIECES
    for piece in PIECES:
        xr.testing.assert_equal(ours[piece], theirs[piece])


def test_results_come_in_order_with_their_seconds():
    results = run()
    assert list(results) == PIECES
    assert all(result.attrs["computed_s"] > 0 for result in results.values())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("jobs", cases((2, 3, 8), quick=(2,)))
def test_the_number_of_processes_changes_no_bit(jobs, tmp_path):
    assert_equal(run(jobs=jobs, checkpoint=tmp_path), run())


HOARD = []


def hoarding(piece, progress):
    HOARD.append(np.ones(50_000_000))
    time.sleep(0.6)
    return work(piece, progress)


@pytest.mark.filterwarnings("error", "ignore::ResourceWarning")
@exhaustive
def test_a_process_that_hoards_memory_is_replaced_and_nobody_waits_for_it(tmp_path):
    """Where the pool's remark on this is an error, as in these tests, its own thread would end, and the sweep never."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    pieces = list("abcdefgh")
    results = sweep(pieces, hoarding, steps=3, title="test", jobs=2)
    assert list(results) == pieces


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path):
    first = Failing(at="c")
    with pytest.raises(KeyboardInterrupt):
        run(first, checkpoint=tmp_path)
    second = Failing()
    resumed = run(second, checkpoint=tmp_path)
    assert (first.done, second.done) == (["a", "b"], ["c", "d"])
    assert_equal(resumed, run())


def test_a_finished_sweep_computes_nothing_and_leaves_only_results(tmp_path):
    run(checkpoint=tmp_path, keep_every_s=0)
    again = Failing()
    run(again, checkpoint=tmp_path)
    assert again.done == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{piece}.nc" for piece in PIECES]


def test_a_damaged_piece_is_refused_with_the_command_that_mends_it(tmp_path):
    run(checkpoint=tmp_path)
    path = tmp_path / "b.nc"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RecordError, match=rf"{path}: .*rm '{path}', then the same command again"):
        run(checkpoint=tmp_path)
    path.unlink()
    assert_equal(run(checkpoint=tmp_path), run())


def test_a_piece_under_anothers_name_is_refused(tmp_path):
    run(checkpoint=tmp_path)
    (tmp_path / "b.nc").write_bytes((tmp_path / "c.nc").read_bytes())
    with pytest.raises(RecordError, match=r"b\.nc: piece is c, expected b"):
        run(checkpoint=tmp_path)


def test_an_error_of_a_piece_is_the_sweeps(tmp_path):
    with pytest.raises(ValueError, match="piece d"):
        run(refuse, jobs=2, checkpoint=tmp_path)


def refuse(piece, progress):
    if piece == "d":
        raise ValueError(f"piece {piece}")
    return work(piece, progress)


def test_the_bar_counts_every_step_once(monkeypatch):
    updates = []
    monkeypatch.setattr("kadam.lab.engine.sweep.Bar.at", lambda self, piece, steps: updates.append((piece, steps)))
    run()
    assert updates == [(piece, steps) for piece in PIECES for steps in (1, 2, 3, 3)]


def test_a_process_with_other_code_is_refused(monkeypatch):
    foreign = Work(work, None, 1.0, "another")
    with pytest.raises(ClusterError, match="a: the process that was to compute it runs another version of kadam"):
        foreign.elsewhere("a")
    assert Work(work, None, 1.0, package_hash()).elsewhere("a")[0] == "a"


def test_a_process_ends_with_its_parent(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda status: ended.set())
    end_with.__wrapped__(os.getppid() + 1)
    assert ended.wait(5)
    ended.clear()
    end_with.__wrapped__(os.getppid())
    time.sleep(0.05)
    assert not ended.is_set()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_piece_computes_in_one_thread_in_torch_and_in_numpy(jobs):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with threadpool_limits(2):
            results = sweep(["a", "b"], threads, steps=1, title="test", jobs=jobs)
            assert [int(result.threads) for result in results.values()] == [1, 1]
            with one_thread():
                assert int(threads("a", None).threads) == 1
            assert torch.get_num_threads() == 2  # as it was
    finally:
        torch.set_num_threads(before)
