"""A sweep gives the same bits however many processes share it, keeps what is finished, and goes on from there."""

import numpy as np
import pytest
import xarray as xr

from kadam.lab.sweep import sweep

PIECES = ["a", "b", "c", "d"]


def work(piece, tick):
    for _ in range(3):
        tick()
    rng = np.random.default_rng(ord(piece))
    return xr.Dataset({"x": ("n", rng.standard_normal(1000))})


class Failing:
    """Work that counts its calls and stops at one piece, as a killed process would."""

    def __init__(self, at=None):
        self.at, self.done = at, []

    def __call__(self, piece, tick):
        if piece == self.at:
            raise KeyboardInterrupt
        self.done.append(piece)
        return work(piece, tick)


def run(compute=work, **options):
    return sweep(PIECES, compute, steps=3, title="test", **options)


def test_results_come_in_order_with_their_seconds():
    results = run()
    assert list(results) == PIECES
    assert all(result.attrs["computed_s"] >= 0 for result in results.values())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_number_of_processes_changes_no_bit():
    one, two = run(jobs=1), run(jobs=2)
    assert list(two) == PIECES
    for piece in PIECES:
        xr.testing.assert_equal(one[piece], two[piece])


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path):
    first = Failing(at="c")
    with pytest.raises(KeyboardInterrupt):
        run(first, checkpoint=tmp_path)
    second = Failing()
    resumed = run(second, checkpoint=tmp_path)
    assert (first.done, second.done) == (["a", "b"], ["c", "d"])
    for piece, undisturbed in run().items():
        xr.testing.assert_equal(resumed[piece], undisturbed)


def test_a_finished_sweep_computes_nothing(tmp_path):
    run(checkpoint=tmp_path)
    again = Failing()
    run(again, checkpoint=tmp_path)
    assert again.done == []


def test_the_bar_counts_every_step_once(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    seen = []

    def count(piece, tick):
        def counting():
            seen.append(piece)
            tick()

        return work(piece, counting)

    run(count)
    assert len(seen) == 3 * len(PIECES)
