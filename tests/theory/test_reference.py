"""The slow, exact k-Adam against hand computations and against the properties that define it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from kadam.decay import STRATEGIES, Decay, stages
from kadam.theory.reference import kadam_moments, kadam_updates

seeded = settings(derandomize=True, max_examples=60, deadline=None)

decays = st.builds(Decay, beta=st.floats(1e-3, 0.9999), gamma=st.floats(0.0, 0.9999))
several = st.lists(decays, min_size=1, max_size=4)
numbers = st.floats(1e-3, 1e3) | st.floats(-1e3, -1e-3)
gradients = arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=numbers, fill=st.nothing())
ADAM = Decay(beta=0.999, gamma=0.9)
SIMPLE = Decay(beta=0.75, gamma=0.5)


def draw(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def average(signal, decay):
    """(1-decay) sum_j decay^(n-j) signal_j at the last n, as a sum."""
    steps_left = np.arange(len(signal))[::-1]
    return (1 - decay) * np.tensordot(decay**steps_left, signal, axes=1)


def test_one_stage_is_adam_by_hand():
    """Moments of (1, 0, 3) with beta = 3/4, gamma = 1/2: m = 1/2, 1/4, 13/8 and v = 1/4, 3/16, 153/64."""
    by_hand = [1, (1 / 3) / math.sqrt(3 / 7), (13 / 7) / math.sqrt(153 / 37)]
    assert_allclose(kadam_updates([1, 0, 3], [SIMPLE]), by_hand, rtol=1e-15)


def test_eps_is_added_outside_the_root():
    by_hand = [1 / 1.5, (1 / 3) / (math.sqrt(3 / 7) + 0.5), (13 / 7) / (math.sqrt(153 / 37) + 0.5)]
    assert_allclose(kadam_updates([1, 0, 3], [SIMPLE], eps=0.5), by_hand, rtol=1e-15)


def test_two_stages_by_hand():
    """Stage 1 turns (1, 0) into (1, q); stage 2 has beta = 1/2, gamma = 0, so it returns q over the root of a mean."""
    q = (1 / 3) / math.sqrt(3 / 7)
    updates = kadam_updates([1, 0], [SIMPLE, Decay(beta=0.5, gamma=0)])
    assert_allclose(updates, [1, q / math.sqrt((1 + 2 * q**2) / 3)], rtol=1e-15)


@seeded
@given(g=gradients, decay=decays)
def test_one_stage_is_the_quotient_of_two_sums(g, decay):
    beta, gamma, n = decay.beta, decay.gamma, len(g)
    correction = math.sqrt(1 - beta**n) / (1 - gamma**n)
    expected = correction * average(g, gamma) / np.sqrt(average(g**2, beta))
    assert_allclose(kadam_updates(g, [decay])[-1], expected, rtol=1e-9, atol=1e-9)


@seeded
@given(g=gradients, first=several, then=several)
def test_stages_compose(g, first, then):
    assert_array_equal(kadam_updates(g, first + then), kadam_updates(kadam_updates(g, first), then))


def test_the_order_of_the_stages_matters():
    g = draw(20)
    assert np.abs(kadam_updates(g, [ADAM, SIMPLE]) - kadam_updates(g, [SIMPLE, ADAM])).max() > 0.1


@seeded
@given(g=gradients, pairs=several)
def test_moments_are_the_sums_over_each_stages_input(g, pairs):
    m, v = kadam_moments(g, pairs)
    for i, pair in enumerate(pairs):
        received = kadam_updates(g, pairs[:i]) if i else g
        assert_allclose(m[i], average(received, pair.gamma), rtol=1e-9, atol=1e-9 * np.abs(received).max())
        assert_allclose(v[i], average(received**2, pair.beta), rtol=1e-9)


def test_moments_see_eps_from_the_second_stage_on():
    m, v = kadam_moments([2.0], [SIMPLE, SIMPLE], eps=1.0)
    assert_allclose(m, [1.0, 0.5 * 2 / 3], rtol=1e-15)
    assert_allclose(v, [1.0, 0.25 * (2 / 3) ** 2], rtol=1e-15)


@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 2, 3), (1,), (0,), (0, 2)])
@pytest.mark.parametrize("k", [1, 3])
def test_updates_have_the_shape_of_the_gradients_and_moments_one_row_a_stage(shape, k):
    pairs = stages(ADAM, k)
    updates = kadam_updates(draw(*shape), pairs)
    assert updates.shape == shape
    for moment in kadam_moments(draw(*shape), pairs):
        assert moment.shape == (k, *shape[1:])


def test_moments_before_the_first_gradient_are_zero():
    m, v = kadam_moments(np.empty((0, 2)), stages(ADAM, 3))
    assert not m.any()
    assert not v.any()


def test_coordinates_do_not_see_each_other():
    g, pairs = draw(12, 2, 3), stages(ADAM, 3)
    together = kadam_updates(g, pairs)
    for i, j in np.ndindex(2, 3):
        assert_array_equal(together[:, i, j], kadam_updates(g[:, i, j], pairs))


@seeded
@given(g=gradients, pairs=several, exponent=st.integers(-60, 60))
def test_update_does_not_feel_the_scale_without_eps(g, pairs, exponent):
    """A power of two scales without rounding, so the updates are equal to the last bit."""
    assert_array_equal(kadam_updates(2.0**exponent * g, pairs), kadam_updates(g, pairs))


@seeded
@given(g=gradients, pairs=several)
def test_update_is_odd_in_the_gradients(g, pairs):
    assert_array_equal(kadam_updates(-g, pairs), -kadam_updates(g, pairs))


def test_eps_makes_the_scale_felt():
    small, large = (np.abs(kadam_updates(scale * draw(8), [ADAM], eps=1e-3)) for scale in (1e-3, 1e3))
    assert (small < 0.9 * large).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("k", range(1, 11))
def test_first_step_is_the_sign_for_every_k(strategy, k):
    g = np.array([[1e-9, -1.0, 0.0, 3.7, -1e9]])
    assert_allclose(kadam_updates(g, stages(ADAM, k, strategy)), np.sign(g), rtol=1e-12)


@seeded
@given(g=numbers, pairs=several, n=st.integers(1, 30))
def test_constant_gradient_gives_its_sign_at_every_step(g, pairs, n):
    assert_allclose(kadam_updates(np.full(n, g), pairs), np.sign(g), rtol=1e-9)


@pytest.mark.parametrize("eps", [0.0, 1e-8])
@pytest.mark.parametrize("k", [1, 3])
def test_zero_gradients_give_zero_updates(eps, k):
    assert_array_equal(kadam_updates(np.zeros((4, 2)), stages(ADAM, k), eps=eps), np.zeros((4, 2)))


def test_nothing_happens_before_the_first_nonzero_gradient():
    updates = kadam_updates([0.0, 0.0, -2.0], stages(ADAM, 2))
    assert_array_equal(updates[:2], [0, 0])
    assert updates[2] < 0


def test_update_is_infinite_where_only_the_second_moment_has_vanished():
    assert_array_equal(kadam_updates([1.0, 0.0, -1.0], [Decay(beta=0, gamma=0.5)])[:2], [1, np.inf])


def test_the_callers_gradients_are_left_alone():
    g = draw(6, 2)
    kadam_updates(g, stages(ADAM, 2))
    kadam_moments(g, stages(ADAM, 2))
    assert_array_equal(g, draw(6, 2))


def test_integers_and_float32_are_computed_in_float64():
    for g in ([1, 0, 3], np.array([1, 0, 3], dtype=np.float32)):
        updates = kadam_updates(g, [ADAM])
        assert updates.dtype == np.float64
        assert_array_equal(updates, kadam_updates([1.0, 0.0, 3.0], [ADAM]))


@pytest.mark.parametrize("function", [kadam_updates, kadam_moments])
def test_errors_name_the_argument(function):
    with pytest.raises(ValueError, match=r"^gradients must have shape \(n, \.\.\.\).*got a single number$"):
        function(1.0, [ADAM])
    with pytest.raises(ValueError, match=r"^stages must hold at least one Decay, got none$"):
        function([1.0], [])


@pytest.mark.parametrize("function", [kadam_updates, kadam_moments])
@pytest.mark.parametrize("eps", [-1e-8, math.nan])
def test_eps_must_not_be_negative(function, eps):
    with pytest.raises(ValueError, match=rf"^eps must be >= 0, got {eps}$"):
        function([1.0], [ADAM], eps=eps)
