"""Methods compared fairly: the learning rates of the three comparisons, and the runs that find them."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

from kadam.chapters.contest.comparisons import COMPARISONS, overall
from kadam.chapters.contest.trials import Piece, Runs, Trial, crossed, log_interpolation, peak_rates, side_by_side, unfolded
from kadam.lab.engine import state as states

NAN = float("nan")
X, Y = np.array([1e-3, 4e-3, 1.6e-2]), np.array([2.0, 5.0, 3.0])


@pytest.mark.parametrize(("x", "y"), list(zip(X, Y, strict=True)))
def test_interpolation_is_exact_at_what_is_known(x, y):
    assert log_interpolation(X, Y, x) == pytest.approx(y, rel=1e-12)


def test_interpolation_is_linear_between_logarithms():
    assert log_interpolation(X, Y, 2e-3) == pytest.approx(10**0.5, rel=1e-12)
    assert log_interpolation(X, 7 * X**1.5, 9e-3) == pytest.approx(7 * 9e-3**1.5, rel=1e-12)


@pytest.mark.parametrize(("at", "expected"), [(1e-4, 0.2), (0.16, 30.0)])
def test_outside_of_what_is_known_it_is_proportional(at, expected):
    assert log_interpolation(X, Y, at) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("missing", [NAN, np.inf])
@pytest.mark.parametrize("where", ["x", "y"])
def test_interpolation_passes_over_what_is_not_finite(missing, where):
    x, y = np.insert(X, 1, missing if where == "x" else 2e-3), np.insert(Y, 1, missing if where == "y" else 100)
    assert log_interpolation(x, y, 3e-3) == log_interpolation(X, Y, 3e-3)
    assert log_interpolation(np.append(X, np.nan), np.append(Y, 1.0), 0.16) == log_interpolation(X, Y, 0.16)


def test_one_known_point_gives_a_proportion_and_none_gives_nothing():
    assert log_interpolation(np.array([NAN, 2.0]), np.array([1.0, 3.0]), 8.0) == pytest.approx(12)
    assert np.isnan(log_interpolation(X, np.full(3, NAN), 2e-3))


def test_where_sizes_do_not_ascend_the_largest_so_far_counts():
    x, y = np.array([1.0, 4.0, 2.0, 16.0]), np.array([1.0, 2.0, 3.0, 4.0])
    assert log_interpolation(x, y, 2.0) == pytest.approx(2**0.5)
    assert log_interpolation(x, y, 8.0) == pytest.approx(12**0.5)
    assert log_interpolation(x[:3], y[:3], 8.0) == pytest.approx(6.0)


NETWORKS, METHODS, RATES, SEEDS = ["a", "b"], ["Adam", "Lion", "2-Adam meta"], [1e-3, 4e-3, 1.6e-2], [5, 6]
DIMS = ("network", "optimizer", "rate", "tuning_seed")
TRIED = np.array([[1.0], [0.2], [1.0]]) * RATES
EQUAL = 2e-3
LEVEL, POWER = np.array([[1.0, 1.3, 0.4], [0.8, 0.9, 0.3]]), np.array([0.0, 0.1, -0.2])


def searched(accuracy=None):
    # The root mean square of u is LEVEL * rate**POWER in the mean of the seeds.
    rms = LEVEL[:, :, None] * TRIED ** POWER[:, None]
    accuracy = np.random.default_rng(0).random((2, 3, 3, 2)) if accuracy is None else accuracy
    return xr.Dataset(
        {
            "accuracy": (DIMS, accuracy),
            "update_rms": (DIMS, np.stack([0.9 * rms, 1.1 * rms], -1)),
            "tried": (("optimizer", "rate"), TRIED),
        },
        coords={"network": NETWORKS, "optimizer": METHODS, "rate": RATES, "tuning_seed": SEEDS},
    )


def chosen(comparison, **kwargs):
    found = (
        peak_rates(found := searched(**kwargs), found.accuracy.fillna(0), EQUAL)
        .sel(comparison=comparison)
        .transpose("network", "optimizer")
    )
    assert found.optimizer.values.tolist() == METHODS
    return found


def test_the_equal_rate_is_the_same_for_all():
    assert_array_equal(chosen("equal rate"), np.full((2, 3), EQUAL))


def test_the_tuned_rate_is_the_one_that_is_best_in_the_mean():
    accuracy = np.random.default_rng(18).random((2, 3, 3, 2))
    best = accuracy.mean(-1).argmax(-1)
    assert len(np.unique(best)) == 3
    assert_array_equal(chosen("tuned", accuracy=accuracy), np.take_along_axis(TRIED[None], best[..., None], -1)[..., 0])


def test_a_run_that_diverged_counts_as_no_right_answer():
    accuracy = np.broadcast_to(np.array([[0.3, 0.3], [0.9, NAN], [0.5, 0.5]]), (2, 3, 3, 2))
    assert_allclose(chosen("tuned", accuracy=accuracy), np.stack([TRIED[:, 2]] * 2))
    accuracy = np.broadcast_to(np.array([[0.3, 0.3], [0.9, 0.8], [NAN, NAN]]), (2, 3, 3, 2))
    assert_allclose(chosen("tuned", accuracy=accuracy), np.stack([TRIED[:, 1]] * 2))


def test_at_the_matched_rate_updates_are_as_large_as_adams_at_the_equal_rate():
    matched = chosen("matched size")
    sizes = matched.values * LEVEL * matched.values**POWER
    target = EQUAL * LEVEL[:, :1] * EQUAL ** POWER[0]
    assert_allclose(sizes, np.broadcast_to(target, (2, 3)), rtol=1e-9)
    assert_allclose(matched.sel(optimizer="Adam"), EQUAL)


def test_the_size_is_that_of_the_runs_that_did_not_diverge():
    found = searched()
    found.update_rms[0, 2, 2] = NAN
    found.update_rms[0, 2, 1, 0] = NAN  # the mean is then that of the other seed, 1.1 times larger
    matched = peak_rates(found, found.accuracy, EQUAL).sel(comparison="matched size", network="a", optimizer="2-Adam meta")
    sizes = 0.4 * TRIED[2, :2] ** 0.8 * [1.0, 1.1]
    assert_allclose(matched, np.exp(np.interp(np.log(EQUAL), np.log(sizes), np.log(TRIED[2, :2]))), rtol=1e-9)


def test_every_rate_is_tried_with_every_seed_and_rates_come_in_the_order_of_the_comparisons():
    assert crossed([0.2, 0.4], [5, 6]) == [Trial(0.2, 5), Trial(0.2, 6), Trial(0.4, 5), Trial(0.4, 6)]
    rates = peak_rates(searched(), searched().accuracy, EQUAL)
    assert rates.comparison.values.tolist() == list(COMPARISONS)


def test_pieces_lie_side_by_side_and_trials_in_the_right_cells():
    places = [(n, m) for n in NETWORKS for m in METHODS]
    numbers = np.arange(6 * 6 * 2, dtype=float).reshape(6, 6, 2)
    pieces = {
        Piece(*place): xr.Dataset({"loss": (("trial", "evaluation"), x)}) for place, x in zip(places, numbers, strict=True)
    }
    outer, inner = xr.Variable("comparison", list(COMPARISONS)), xr.Variable("seed", [7, 8])
    loss = unfolded(side_by_side(pieces, NETWORKS, METHODS), outer, inner).loss
    loss = loss.transpose("network", "optimizer", "comparison", "seed", "evaluation")
    assert_array_equal(loss, numbers.reshape(2, 3, 3, 2, 2))
    assert_array_equal(loss.sel(network="b", optimizer="Lion", comparison="tuned", seed=8), numbers[4, 3])


def test_the_overall_size_is_that_over_the_whole_of_training():
    parts = xr.DataArray([[3.0, 4.0], [1.0, NAN]], dims=("trial", "evaluation"))
    assert_allclose(overall(parts), [12.5**0.5, NAN])


STEPS = 7
TRIALS = [Trial(1.0, 0), Trial(2.0, 1), Trial(3.0, 2)]


def pretended(trial, log, diverges=None):
    # A run whose loss at step n is rate * n and whose squares are (rate * n)**2; log holds every step that is taken.
    run = SimpleNamespace(losses=torch.full((STEPS,), NAN), squares=torch.full((STEPS,), NAN))
    run.replay = SimpleNamespace(described={"captured": "yes"})

    def step(n):
        log.append((trial.seed, n))
        run.losses[n] = NAN if trial.seed == diverges and n >= 3 else trial.rate * n
        run.squares[n] = (trial.rate * n) ** 2

    def load_state_dict(state):
        run.losses, run.squares = state["losses"], state["squares"]

    run.step, run.load_state_dict = step, load_state_dict
    run.evaluate = lambda data: {"loss": data * trial.rate + run.losses.isfinite().sum().item(), "accuracy": trial.rate / 10}
    run.diverged_at = lambda n: next((i for i in range(n) if not run.losses[i].isfinite()), None)
    run.watched = lambda begin, end: {
        "train_loss": run.losses[begin:end].mean().item(),
        "update_rms": run.squares[begin:end].mean().sqrt().item(),
    }
    run.state_dict = lambda: {"losses": run.losses, "squares": run.squares}
    return run


def runs(log, diverges=None, trials=TRIALS):
    measures = ("loss", "accuracy", "train_loss", "update_rms")
    return Runs(trials, lambda t: pretended(t, log, diverges), 100, measures=measures, steps=STEPS, evaluations=3)


def went(some, start=0, end=3 * STEPS):
    for n in range(start, end):
        some.step(n)
    return some


def test_every_trial_leaves_a_row():
    some, rate = went(runs(log := [])), np.array([[1.0], [2.0], [3.0]])
    assert some.marks == [0, 2, 4, 7]
    assert log == [(seed, n) for seed in range(3) for n in range(STEPS)]
    found = some.dataset()
    assert found.loss.dims == ("trial", "evaluation")
    assert_allclose(found.loss, 100 * rate + [2, 4, 7])
    assert_allclose(found.accuracy, np.repeat(rate / 10, 3, 1))
    assert_allclose(found.train_loss, rate * [0.5, 2.5, 5])
    assert_allclose(found.update_rms, rate * np.sqrt([1 / 2, 13 / 2, 77 / 3]), rtol=1e-6)
    assert found.diverged_at.isnull().all()


def test_a_run_that_diverges_stops_at_the_next_evaluation_and_leaves_the_others_alone():
    found, healthy = went(runs(log := [], diverges=1)).dataset(), went(runs([])).dataset()
    assert_array_equal(found.diverged_at, [NAN, 3, NAN])
    assert log == [(0, n) for n in range(STEPS)] + [(1, n) for n in range(4)] + [(2, n) for n in range(STEPS)]
    for name in ("loss", "accuracy", "train_loss", "update_rms"):
        assert np.isfinite(found[name][1, 0])
        assert found[name][1, 1:].isnull().all()
        xr.testing.assert_identical(found[name].isel(trial=[0, 2]), healthy[name].isel(trial=[0, 2]))


@pytest.mark.parametrize("stop", [0, 5, STEPS, STEPS + 3, STEPS + 6, 3 * STEPS])
@pytest.mark.parametrize("diverges", [None, 1])
def test_runs_go_on_from_their_state(stop, diverges, tmp_path):
    whole, log = went(runs([], diverges)), []
    states.save(went(runs(log, diverges), end=stop), tmp_path / "state")
    again = went(states.load_into(runs(log, diverges), tmp_path / "state"), start=stop)
    xr.testing.assert_identical(again.dataset(), whole.dataset())
    assert whole.dataset().attrs == {"captured": "yes"}
    assert len(log) == len(set(log)) == (3 * STEPS if diverges is None else 3 * STEPS - 3)


@pytest.mark.parametrize("stop", [0, STEPS + 2, 2 * STEPS + 2])
def test_a_run_without_a_learning_rate_counts_as_diverged_and_is_never_begun(stop, tmp_path):
    begin = functools.partial(runs, trials=[*TRIALS[:2], Trial(NAN, 2)])
    states.save(went(begin(log := []), end=stop), tmp_path / "state")
    found = went(states.load_into(begin(log), tmp_path / "state"), start=stop).dataset()
    assert_array_equal(found.diverged_at, [NAN, NAN, 0])
    assert found.loss[2].isnull().all()
    assert_array_equal(found.loss[:2], went(runs([])).dataset().loss[:2])
    assert log == [(seed, n) for seed in range(2) for n in range(STEPS)]
