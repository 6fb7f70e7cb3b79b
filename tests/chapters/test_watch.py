"""What is kept of a run is what numpy makes of the whole path: products, cosines, displacements and their means."""

from dataclasses import fields

import numpy as np
import pytest

from kadam.chapters.scale_invariance.watch import Trace, Watch
from kadam.decay import Decay
from kadam.lab.records.profiles import SMOKE
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.tasks import LANGUAGE_WEIGHTS, Inputs

STEPS, MEMORY = 14, 5
LAGS, WINDOWS = (0, 2, 5), (1, 3, 5)
LR, BETA = 0.01, 0.9
GAMMAS, WEIGHT_DECAYS = [0.0, 0.9, 0.9], [0.0, 0.0, 2.0]


@pytest.fixture(scope="module")
def inputs():
    return Inputs.of(SMOKE)


class Kept:
    """One weight that is watched and also kept whole: ``w``, ``u``, ``g`` of shape (steps, members, size)."""

    def __init__(self, ensemble, path):
        self.ensemble, self.path = ensemble, path
        self.watch, self.first = (Watch(ensemble, path, steps=STEPS, members=members, memory=MEMORY) for members in (3, 2))
        self.w, self.u, self.g, self.full, self.seen, self.past = [], [], [], [], [], []

    def before(self):
        self.w.append(self.ensemble.params[self.path].flatten(1).numpy().copy())
        self.watch.before()
        self.first.before()

    def after(self, n):
        self.watch.after(n)
        self.first.after(n)
        self.u.append(self.ensemble.updates[self.path].numpy().copy())
        self.g.append(self.ensemble.gradients[self.path].numpy().copy())
        self.full.append(self.watch.full)
        if self.watch.full:
            self.past.append(self.watch.look_back(n, lr=LR, lags=LAGS, windows=WINDOWS))
            self.seen.append((self.watch.cosines(LAGS), *self.watch.displacements(WINDOWS), self.watch.spread()))


@pytest.fixture(scope="module")
def kept():
    """Three members trained on a task, by weight."""
    task = Inputs.of(SMOKE).language(1)
    decays = [(Decay(beta=BETA, gamma=gamma),) for gamma in GAMMAS]
    ensemble = Ensemble(task.model, task.loss, decays, lr=LR, weight_decay=WEIGHT_DECAYS)
    kept = {name: Kept(ensemble, path) for name, path in task.weights.items()}
    for n, batch in zip(range(STEPS), task.batches(np.random.default_rng(0), 4), strict=False):
        for one in kept.values():
            one.before()
        ensemble.step(batch)
        for one in kept.values():
            one.after(n)
    for one in kept.values():
        one.w, one.u, one.g = (np.array(values) for values in (one.w, one.u, one.g))
    return kept


@pytest.fixture(params=sorted(LANGUAGE_WEIGHTS))
def run(request, kept):
    return kept[request.param]


def averages(values, decays):
    """Bias-corrected moving averages with one decay a member."""
    decays, average, result = np.array(decays)[:, None], np.zeros(values.shape[1:]), []
    for n, value in enumerate(values):
        average = decays * average + (1 - decays) * value
        result.append(average / (1 - decays ** (n + 1)))
    return np.array(result)


def cosine(x, y):
    return np.sum(x * y, -1) / np.sqrt(np.sum(x**2, -1) * np.sum(y**2, -1))


def test_every_product_is_that_of_the_path(run):
    w, u, g = run.w, run.u, run.g
    m, v = averages(g, GAMMAS), averages(g**2, [BETA] * 3)
    s, before = g / np.sqrt(v), np.concatenate([np.zeros_like(u[:1]), u[:-1]])
    pairs = {"norm": (w, w), "cross": (w, u), "square": (u, u), "momentum": (w, m), "momentum_square": (m, m)}
    pairs |= {"product": (u, m), "normalised": (s, s), "inner": (w, s), "carried": (before, s)}
    assert {*pairs, "largest"} == {field.name for field in fields(Trace)}
    for name, (x, y) in pairs.items():
        scale = np.sqrt(np.sum(x**2, -1) * np.sum(y**2, -1)).max()
        np.testing.assert_allclose(getattr(run.watch.trace, name), np.sum(x * y, -1), rtol=0, atol=1e-11 * scale, err_msg=name)
    np.testing.assert_array_equal(run.watch.trace.largest, np.abs(u).max(-1))


def test_only_the_first_members_are_recorded(run):
    for field in fields(Trace):
        ours, all_members = (getattr(watch.trace, field.name) for watch in (run.first, run.watch))
        assert ours.shape == (STEPS, 2)
        np.testing.assert_array_equal(ours, all_members[:, :2])


@pytest.mark.parametrize("member", range(3))
def test_a_members_trace_is_its_column(run, member):
    one = run.watch.trace.of(member)
    for field in fields(Trace):
        values = getattr(one, field.name)
        assert values.shape == (STEPS,)
        np.testing.assert_array_equal(values, getattr(run.watch.trace, field.name)[:, member])
    assert not np.allclose(one.square, run.watch.trace.of(member - 1).square)


def test_an_empty_trace_is_all_zero():
    trace = Trace.empty(3, 2)
    assert all(np.array_equal(getattr(trace, field.name), np.zeros((3, 2))) for field in fields(Trace))
    trace.norm[0] = 1
    assert not trace.cross.any()


def test_the_memory_holds_the_last_steps_with_the_newest_last(run):
    assert run.full == [n >= MEMORY for n in range(STEPS)]
    for kept, path in ((run.watch.weights, run.w), (run.watch.updates, run.u), (run.watch.gradients, run.g)):
        np.testing.assert_array_equal(np.array([x.numpy() for x in kept]), path[-MEMORY - 1 :])


def test_cosines_are_with_the_gradients_of_so_many_steps_before(run):
    for n, (cosines, *_) in enumerate(run.seen, start=MEMORY):
        expected = np.stack([cosine(run.w[n], run.g[n - lag]) for lag in LAGS])
        np.testing.assert_allclose(cosines, expected, rtol=0, atol=1e-12)
        assert np.abs(cosines[0]).max() < 1e-12  # the weight is scale invariant
        assert np.abs(cosines[1:]).max() > 1e-4


def test_displacements_are_from_so_many_steps_before(run):
    for n, (_, moved, largest, _) in enumerate(run.seen, start=MEMORY):
        moves = np.stack([run.w[n] - run.w[n - window] for window in WINDOWS])
        np.testing.assert_allclose(moved, np.sqrt(np.sum(moves**2, -1)), rtol=1e-12)
        np.testing.assert_allclose(largest, np.abs(moves).max(-1), rtol=1e-12)


def test_without_decay_one_step_goes_exactly_as_far_as_the_update(run):
    free = [i for i, rate in enumerate(WEIGHT_DECAYS) if rate == 0]
    for n, (_, moved, largest, _) in enumerate(run.seen, start=MEMORY):
        way = LR * np.linalg.norm(run.u[n - 1], axis=1)
        np.testing.assert_allclose(moved[0, free], way[free], rtol=1e-11)
        np.testing.assert_allclose(largest[0, free], LR * np.abs(run.u[n - 1]).max(1)[free], rtol=1e-11)
        assert abs(moved[0, 2] / way[2] - 1) > 1e-4
    for _, moved, largest in run.past:
        np.testing.assert_allclose([moved[0, free], largest[0, free]], 1, rtol=1e-11)
        assert moved[1:, free].max() <= 1


def test_the_spread_is_of_the_learning_rates_of_the_entries(run):
    roots = np.sqrt(averages(run.g**2, [BETA] * 3))
    for n, (*_, spread) in enumerate(run.seen, start=MEMORY):
        low, high = np.quantile(roots[n], [0.1, 0.9], axis=1)
        np.testing.assert_allclose(spread, high / low, rtol=1e-10)
    assert spread.min() > 1


def test_a_look_back_is_at_cosines_and_at_shares_of_the_way(run):
    w, u, g, times = run.w, run.u, run.g, range(MEMORY, STEPS)
    cosines = [[cosine(w[n], g[n - lag]) for lag in LAGS] for n in times]
    shares = {"norm": lambda x: np.linalg.norm(x, axis=-1), "largest": lambda x: np.abs(x).max(-1)}
    moved, largest = (
        [[size(w[n] - w[n - window]) / (LR * size(u[n - window : n]).sum(0)) for window in WINDOWS] for n in times]
        for size in shares.values()
    )
    for ours, expected in zip(zip(*run.past, strict=True), (cosines, moved, largest), strict=True):
        assert ours[0].shape == (3, 3)
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("setting", [{"memory": 0, "members": 1}, {"memory": 1, "members": 0}, {"memory": 1, "members": 4}])
def test_a_watch_that_could_not_look_is_refused(inputs, setting):
    task = inputs.language(1)
    ensemble = Ensemble(task.model, task.loss, [(Decay(),)] * 3, lr=LR)
    with pytest.raises(ValueError, match="memory must be >= 1 and members between 1 and the ensemble's"):
        Watch(ensemble, LANGUAGE_WEIGHTS["query"], steps=2, **setting)


def test_a_watch_of_the_first_members_looks_at_these_alone(kept):
    one = kept["query"]
    assert one.first.cosines(LAGS).shape == (len(LAGS), 2)
    np.testing.assert_array_equal(one.first.cosines(LAGS), one.watch.cosines(LAGS)[:, :2])
    for few, all_of_them in zip(one.first.displacements(WINDOWS), one.watch.displacements(WINDOWS), strict=True):
        np.testing.assert_array_equal(few, all_of_them[:, :2])
    np.testing.assert_array_equal(one.first.spread(), one.watch.spread()[:2])
