"""The theorems of the book's page on typical updates: random signs, independent gradients, silence, eps.

Pairs are (beta, gamma), as in the paper. What a theorem says of all signs is tested by enumeration of all signs, what it says
of all sizes by an adversary, and what it says of averages by simulation with the error of the simulation stated.
"""

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kadam.decay import Decay
from kadam.theory import stability
from kadam.theory.reference import kadam_updates
from kadam.theory.stability import capped_peak, critical_silence, max_update_bound, rms_bound, silence_tail

INSIDE = ((0.999, 0.9), (0.95, 0.9), (0.5, 0.1), (0.1, 0.3), (0.5, 0.5), (0.9, 0.0))
OUTSIDE = ((0.9, 0.99), (0.9, 0.95), (0.5, 0.9), (0.3, 0.8))
ON_BOUNDARY = ((0.25, 0.5), (0.81, 0.9))
PAIRS = INSIDE + OUTSIDE + ON_BOUNDARY


def update(g, beta, gamma, eps=0.0):
    """Adam's updates u_0..u_n by the reference."""
    return kadam_updates(g, [Decay(beta=beta, gamma=gamma)], eps=eps)


def all_signs(n):
    """Every pattern of n + 1 signs, one a column."""
    return np.array(list(itertools.product([1.0, -1.0], repeat=n + 1))).T


def rms_over_signs(sizes, beta, gamma):
    """The root mean square of the last update over all signs."""
    signs = all_signs(len(sizes) - 1)
    return math.sqrt(np.mean(update(signs * np.reshape(sizes, (-1, 1)), beta, gamma)[-1] ** 2))


# Random signs


def test_a_spike_attains_the_bound_on_random_signs_and_other_sizes_stay_below():
    rng = np.random.default_rng(0)
    for (beta, gamma), n in itertools.product(PAIRS, (0, 1, 4, 9)):
        bound = rms_bound(n, beta=beta, gamma=gamma)
        spike = np.eye(n + 1)[0 if beta < gamma**2 else n]
        assert_allclose(rms_over_signs(spike, beta, gamma), bound, rtol=1e-12)
        for sizes in 10 ** rng.uniform(-2, 2, (20, n + 1)):
            assert rms_over_signs(sizes, beta, gamma) <= bound * (1 + 1e-12)
        assert bound <= max_update_bound(n, beta=beta, gamma=gamma) * (1 + 1e-12)


# Silence


def test_the_critical_silence_is_beta_over_gamma_squared_and_at_most_one():
    assert critical_silence(beta=0.9, gamma=0.99) == pytest.approx(1 - 0.0817, abs=1e-4)
    assert_array_equal(critical_silence(beta=[0.999, 0.25, 0.3, 0.0], gamma=[0.9, 0.5, 0.0, 0.5]), [1, 1, 1, 0])
    assert_allclose(critical_silence(beta=0.3, gamma=0.8), 0.3 / 0.64, rtol=1e-15)


def test_the_tail_has_no_second_moment_exactly_from_the_critical_silence_on():
    for beta, gamma in OUTSIDE:
        critical = critical_silence(beta=beta, gamma=gamma)
        assert_allclose(silence_tail(critical, beta=beta, gamma=gamma), 2, rtol=1e-12)
        assert (
            silence_tail(critical * 1.001, beta=beta, gamma=gamma) < 2 < silence_tail(critical / 1.001, beta=beta, gamma=gamma)
        )


# eps


def test_the_capped_peak_is_that_of_a_long_silence():
    for beta, gamma, shown in ((0.9, 0.99, 22776.99), (0.9, 0.999, 65569)):
        peak = capped_peak(1, 1e-8, beta=beta, gamma=gamma)
        k = np.arange(10**4)
        steps = (1 - gamma) * gamma**k / (math.sqrt(1 - beta) * beta ** (k / 2) + 1e-8)
        assert peak == pytest.approx(shown, rel=2e-6)
        assert math.exp(-(math.log(beta) ** 2) / 128) * peak <= steps.max() <= peak


def test_without_silence_white_gradients_give_the_white_update():
    n = 9
    for beta, gamma in PAIRS:
        exact = (1 - gamma) * (1 + gamma ** (n + 1)) / ((1 + gamma) * (1 - gamma ** (n + 1)))
        assert_allclose(rms_over_signs(np.full(n + 1, 7.0), beta, gamma) ** 2, exact, rtol=1e-12)
        assert stability.white_update(gamma=gamma) <= math.sqrt(exact)


def test_what_a_large_update_requires():
    assert_array_equal(stability.required_silence([0, 1, 5, 100], 0.5, beta=0.9), [0, 0, 0, 53])
    assert stability.required_silence(2, 1, beta=0) == 1
