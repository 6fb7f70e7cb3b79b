"""The theorems of the book's page on typical updates: random signs, independent gradients, silence, eps; then edges and errors.

A theorem with several statements is one test whose parameters are its claims, the functions just above it.
Pairs are (beta, gamma), as in the paper. What a theorem says of all signs is tested by enumeration of all signs, what it says
of means by enumeration of all gradients, and what it says of all sizes by an adversary.
"""

import itertools
import math

import mpmath
import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose, assert_array_equal

from kadam.decay import Decay
from kadam.theory import stability
from kadam.theory.reference import kadam_updates
from kadam.theory.stability import (
    capped_peak,
    critical_silence,
    growth_rate,
    independent_bound,
    is_stable,
    max_update_bound,
    required_silence,
    rms_bound,
    silence_tail,
    silent_update,
    white_update,
)

INSIDE = ((0.999, 0.9), (0.95, 0.9), (0.5, 0.1), (0.1, 0.3), (0.5, 0.5), (0.9, 0.0))
OUTSIDE = ((0.9, 0.99), (0.9, 0.95), (0.5, 0.9), (0.3, 0.8))
ON_BOUNDARY = ((0.25, 0.5), (0.81, 0.9))
PAIRS = INSIDE + OUTSIDE + ON_BOUNDARY
FOREVER = 10**6


def update(g, beta, gamma, eps=0.0):
    """Adam's updates u_0..u_n by the reference."""
    return kadam_updates(g, [Decay(beta=beta, gamma=gamma)], eps=eps)


def correction(n, beta, gamma):
    return np.sqrt(1 - beta ** (n + 1.0)) / (1 - gamma ** (n + 1.0))


def every(values, n):
    """Every sequence of n + 1 of these values, one a column."""
    return np.asarray(values)[np.indices((len(values),) * (n + 1), np.int8).reshape(n + 1, -1)]


def climb(score, start, rng, tries=400):
    """An adversary: the best of many small and large changes of a sequence, kept where they raise the score."""
    best, reached = start, score(start)
    for _ in range(tries):
        changed = best * np.where(rng.random(len(best)) < 0.3, 10 ** rng.normal(0, rng.choice([0.1, 1]), len(best)), 1.0)
        if (new := score(changed)) > reached:
            best, reached = changed, new
    return reached


# Random signs


def rms_over_signs(sizes, beta, gamma):
    """The root mean square of the last update over all signs of these sizes."""
    g = every([1.0, -1.0], len(sizes) - 1) * np.reshape(sizes, (-1, 1))
    return math.sqrt(np.mean(update(g, beta, gamma)[-1] ** 2))


def the_mean_square_is_the_weighted_mean():
    rng = np.random.default_rng(0)
    for (beta, gamma), n in itertools.product(PAIRS, (0, 1, 4, 9)):
        sizes = 10 ** rng.uniform(-2, 2, n + 1)
        k = np.arange(n, -1.0, -1)
        quotient = np.sum(gamma ** (2 * k) * sizes**2) / np.sum(beta**k * sizes**2)
        exact = correction(n, beta, gamma) ** 2 * (1 - gamma) ** 2 / (1 - beta) * quotient
        assert_allclose(rms_over_signs(sizes, beta, gamma) ** 2, exact, rtol=1e-12)


def a_single_gradient_attains_the_bound_and_no_adversary_exceeds_it():
    rng = np.random.default_rng(1)
    for (beta, gamma), n in itertools.product(PAIRS, (1, 6)):
        bound = rms_bound(n, beta=beta, gamma=gamma)
        spike = np.eye(n + 1)[0 if beta < gamma**2 else n]
        assert_allclose(rms_over_signs(spike, beta, gamma), bound, rtol=1e-12)
        reached = climb(lambda x, b=beta, g=gamma: rms_over_signs(x, b, g), np.ones(n + 1), rng, tries=150)
        assert 0.8 * bound < reached <= bound * (1 + 1e-12)


def the_last_and_the_first_gradient_are_the_two_cases():
    n = np.arange(200)
    for beta, gamma in INSIDE + ON_BOUNDARY:
        assert_allclose(
            rms_bound(n, beta=beta, gamma=gamma), correction(n, beta, gamma) / correction(0, beta, gamma), rtol=1e-12
        )
    for beta, gamma in OUTSIDE + ON_BOUNDARY:
        assert_allclose(rms_bound(n, beta=beta, gamma=gamma), silent_update(n, beta=beta, gamma=gamma), rtol=1e-9)


def it_is_below_the_worst_case_and_equal_without_momentum():
    n = np.arange(500)
    for beta, gamma in PAIRS:
        assert (rms_bound(n, beta=beta, gamma=gamma) <= max_update_bound(n, beta=beta, gamma=gamma) * (1 + 1e-12)).all()
    assert_allclose(rms_bound(n, beta=0.9, gamma=0), max_update_bound(n, beta=0.9, gamma=0), rtol=1e-12)


def its_supremum_is_kingma_and_bas_bound_up_to_the_boundary():
    rng = np.random.default_rng(2)
    gamma = np.concatenate([rng.random(1000), 1 - 10 ** -rng.uniform(0, 4, 1000)])
    n = np.unique(np.geomspace(1, 10**6, 150).astype(int))[:, None] - 1
    for beta in (gamma**2 + rng.random(2000) * (1 - gamma**2), gamma**2, 1 - (1 - gamma**2) * 10 ** -rng.uniform(0, 4, 2000)):
        supremum = np.maximum(1, (1 - gamma) / np.sqrt(1 - beta))
        reached = np.vstack([rms_bound(n, beta=beta, gamma=gamma), rms_bound(10**12, beta=beta, gamma=gamma)])
        assert (reached <= supremum * (1 + 1e-7)).all()
        assert_allclose(reached.max(axis=0), supremum, rtol=1e-6)


def the_bias_correction_is_largest_at_an_end():
    """Outside of the region, too."""
    rng = np.random.default_rng(3)
    beta, gamma = 1 - 10 ** -rng.uniform(0, 3, (2, 3000))
    for n in np.unique(np.geomspace(1, 10**5, 60).astype(int)):
        assert (correction(n, beta, gamma) <= np.maximum(correction(0, beta, gamma), 1) * (1 + 1e-9)).all()


def outside_it_grows_at_the_rate_of_the_worst_case():
    for beta, gamma in OUTSIDE:
        rate = growth_rate(beta=beta, gamma=gamma)
        n = int(300 / rate)
        assert_allclose(np.diff(np.log(rms_bound([n, n + 1], beta=beta, gamma=gamma))), rate, rtol=1e-6)


def at_the_default_betas_it_falls_first():
    assert_allclose(rms_bound([0, 1, FOREVER], beta=0.999, gamma=0.9), [1, 0.7441, 3.162], rtol=2e-4)
    assert_allclose(max_update_bound(FOREVER, beta=0.999, gamma=0.9), 7.270, rtol=1e-4)


@pytest.mark.parametrize(
    "claim",
    [
        the_mean_square_is_the_weighted_mean,
        a_single_gradient_attains_the_bound_and_no_adversary_exceeds_it,
        the_last_and_the_first_gradient_are_the_two_cases,
        it_is_below_the_worst_case_and_equal_without_momentum,
        its_supremum_is_kingma_and_bas_bound_up_to_the_boundary,
        the_bias_correction_is_largest_at_an_end,
        outside_it_grows_at_the_rate_of_the_worst_case,
        at_the_default_betas_it_falls_first,
    ],
)
def test_random_signs_obey_their_bound(claim):
    claim()


def equal_sizes_give_it_at_every_iteration_whatever_beta():
    for (beta, gamma), n in itertools.product((*PAIRS, (0.0, 0.0), (0.0, 0.5)), (0, 1, 9)):
        exact = (1 - gamma) * (1 + gamma ** (n + 1)) / ((1 + gamma) * (1 - gamma ** (n + 1)))
        assert_allclose(rms_over_signs(np.full(n + 1, 7.0), beta, gamma) ** 2, exact, rtol=1e-12)
        assert white_update(gamma=gamma) <= math.sqrt(exact) * (1 + 1e-15)
    assert white_update(gamma=0.9) == pytest.approx(0.2294, abs=5e-5)


def older_gradients_have_the_larger_share():
    """The a_k of the proof, by enumeration of two sizes: none smaller than the one before, their weighted mean 1."""
    n, beta = 9, 0.8
    squares = every([0.1, 1.0], n)[::-1] ** 2
    weights = beta ** np.arange(n + 1.0)
    a = weights.sum() * np.mean(squares / (weights @ squares), axis=1)
    assert (np.diff(a) > 0).all()
    assert_allclose(weights @ a, weights.sum(), rtol=1e-12)
    assert (a <= weights.sum() / weights[::-1].cumsum()[::-1]).all()


def the_limit_is_that_of_any_symmetric_distribution():
    """Normal gradients, half of them silent: 6,000 chains, so the error is 1.8%, and 4 of these are allowed."""
    rng, gamma = np.random.default_rng(4), 0.9
    m, v = np.zeros((2, 6000))
    for _ in range(4000):
        g = rng.standard_normal(6000) * (rng.random(6000) < 0.5)
        m, v = gamma * m + (1 - gamma) * g, 0.999 * v + (1 - 0.999) * g**2
    square = np.mean(m**2 / v) * (1 - 0.999**4000)
    assert square == pytest.approx(white_update(gamma=gamma) ** 2, rel=0.073)


@pytest.mark.parametrize(
    "claim",
    [
        equal_sizes_give_it_at_every_iteration_whatever_beta,
        older_gradients_have_the_larger_share,
        the_limit_is_that_of_any_symmetric_distribution,
    ],
)
def test_white_gradients_make_the_white_update(claim):
    claim()


# Independent gradients, their means by enumeration of all sequences

BETA, GAMMA = 0.3, 0.8
R = GAMMA**2 / BETA


def moments(law, n, beta=BETA, gamma=GAMMA):
    """E w_j^2 for j = 0..n, and E(w_j^2 given g_j != 0), where ``law`` is {value: probability}."""
    g, chance = every(list(law), n), np.prod(every(list(law.values()), n), axis=0)
    squares = (update(g, beta, gamma) / correction(np.arange(n + 1.0), beta, gamma)[:, None]) ** 2
    active = np.where(g != 0, chance, 0.0)
    return (squares * chance).sum(axis=1), (squares * active).sum(axis=1) / active.sum(axis=1)


def silent_with(p, *others):
    return {0.0: p} | {x: (1 - p) / len(others) for x in others}


LAWS = [silent_with(p, *others) for p in (0.2, 1 / R, 0.7, 0.9) for others in ((1.0,), (1.0, -1.0), (0.1, 1.0))]


def mean_of(function, law):
    return sum(p * function(x) for x, p in law.items())


def the_mean_square_is_a_sum_over_the_last_gradient():
    for law in LAWS:
        n, p = 8, law[0.0]
        mean, active = moments(law, n)
        for i in range(n + 1):
            assert_allclose(mean[i], (1 - p) * np.sum((p * R) ** np.arange(i, -1.0, -1) * active[: i + 1]), rtol=1e-12)


def a_gradient_that_is_not_zero_leaves_a_trace():
    for law in LAWS:
        p, values = law[0.0], [x for x in law if x]
        spread = np.mean(np.abs(np.array(values) - np.median(values)))
        trace = (1 - GAMMA) * (spread if len(values) > 1 else abs(values[0]))
        _, active = moments(law, 8)
        assert (active >= trace**2 * (1 - p) / mean_of(np.square, law)).all()
        assert_allclose(active[0], (1 - GAMMA) ** 2 / (1 - BETA), rtol=1e-12)


def no_distribution_exceeds_the_bound():
    """At every level that splits its sizes, and a little above and below."""
    n = 8
    for law, level in itertools.product([*LAWS, {0.01: 0.7, 1.0: 0.3}, {-3.0: 0.5, 1.0: 0.5}], (0.009, 0.011, 0.5, 1.5, 5.0)):
        rms = math.sqrt(mean_of(np.square, law))
        quiet = mean_of(lambda x, level=level: abs(x) < level, law)
        bound = independent_bound(np.arange(n + 1), level / rms, min(quiet, 1.0), beta=BETA, gamma=GAMMA)
        mean, _ = moments(law, n)
        assert (np.sqrt(mean) * correction(np.arange(n + 1.0), BETA, GAMMA) <= bound).all()


def the_growth_per_step_is_the_share_times_the_ratio():
    for p, grown in ((0.7, 1.493), (0.9, 1.920)):
        mean, _ = moments(silent_with(p, 1.0), 15)
        assert round(p * R, 3) == grown
        assert p * R < mean[-1] / mean[-2] < p * R * 1.003
        assert p > critical_silence(beta=BETA, gamma=GAMMA)


def at_the_boundary_it_grows_by_the_same_amount_every_step():
    mean, active = moments(silent_with(critical_silence(beta=BETA, gamma=GAMMA), 1.0), 15)
    steps = np.diff(mean)
    assert_allclose(steps, (1 - 1 / R) * active[1:], rtol=1e-11)
    assert (np.diff(active) > 0).all()
    assert_allclose(steps[-1], steps[-2], rtol=0.02)


def below_the_boundary_it_converges():
    mean, active = moments(silent_with(0.5 / R, 1.0), 15)
    assert (mean <= (1 - 0.5 / R) / (1 - 0.5) * active.max() * (1 + 1e-12)).all()
    assert mean[-1] - mean[-2] < 0.02 * mean[-1]


def the_bound_stays_finite_exactly_below_the_critical_share():
    for beta, gamma in OUTSIDE:
        critical = critical_silence(beta=beta, gamma=gamma)
        assert_allclose(critical * gamma**2, beta, rtol=1e-14)
        for factor, finite in ((0.999, True), (1.001, False)):
            early, late = independent_bound([10**5, 2 * 10**5], 0.1, min(factor * critical, 1), beta=beta, gamma=gamma)
            assert (late < 1.1 * early) == finite == (silence_tail(min(factor * critical, 1), beta=beta, gamma=gamma) > 2)
    assert_array_equal(critical_silence(beta=[0.999, 0.25, 0.3, 0.0, 0.0], gamma=[0.9, 0.5, 0.0, 0.5, 0.0]), [1, 1, 1, 0, 1])


@pytest.mark.parametrize(
    "claim",
    [
        the_mean_square_is_a_sum_over_the_last_gradient,
        a_gradient_that_is_not_zero_leaves_a_trace,
        no_distribution_exceeds_the_bound,
        the_growth_per_step_is_the_share_times_the_ratio,
        at_the_boundary_it_grows_by_the_same_amount_every_step,
        below_the_boundary_it_converges,
        the_bound_stays_finite_exactly_below_the_critical_share,
    ],
)
def test_independent_gradients_are_bounded_exactly_below_the_critical_silence(claim):
    claim()


def tails(law, n, levels):
    """P(|w_j| > x) for j = 0..n, one column a level x."""
    g, chance = every(list(law), n), np.prod(every(list(law.values()), n), axis=0)
    sizes = np.abs(update(g, BETA, GAMMA)) / correction(np.arange(n + 1.0), BETA, GAMMA)[:, None]
    return np.array([(np.where(sizes > x, chance, 0.0)).sum(axis=1) for x in levels]).T


def one_more_silent_step_makes_it_a_root_of_r_larger():
    for p, values in ((0.5, (1.0,)), (0.7, (0.5, 1.0)), (0.3, (1.0, -1.0))):
        limit = max(values) / min(map(abs, values)) / math.sqrt(1 - BETA)
        levels = limit * np.geomspace(1 / math.sqrt(R), 5, 23)
        law = silent_with(p, *values)
        above, below = tails(law, 9, levels * math.sqrt(R) * (1 + 1e-12)), tails(law, 9, levels)
        assert_allclose(above[1:], p * below[:-1], rtol=1e-9, atol=1e-15)
        assert (above[1:] > 0).any()


def the_tail_is_at_most_the_power():
    for p, values in ((0.5, (1.0,)), (0.7, (0.5, 1.0)), (0.9, (1.0, -1.0))):
        limit = max(values) / min(map(abs, values)) / math.sqrt(1 - BETA)
        levels = limit * np.geomspace(1, 30, 50)
        bound = (limit / levels) ** silence_tail(p, beta=BETA, gamma=GAMMA)
        assert (tails(silent_with(p, *values), 9, levels) <= bound).all()


def simulated(p, draw, beta=BETA, gamma=GAMMA, chains=2000, steps=1000):
    """|w| in the steady state, the largest first."""
    rng = np.random.default_rng(5)
    m, v = np.zeros((2, chains))
    sizes = []
    for n in range(steps + 60):
        g = np.where(rng.random(chains) < p, 0.0, draw(rng, chains))
        m, v = gamma * m + (1 - gamma) * g, beta * v + (1 - beta) * g**2
        if n >= 60:
            sizes.append(np.abs(m) / np.sqrt(v))
    return np.sort(np.concatenate(sizes))[::-1]


def hill(sizes, k):
    """Hill's estimate of the exponent from the k largest; its error is of the order of 1/sqrt(k)."""
    return 1 / np.mean(np.log(sizes[:k] / sizes[k]))


def simulated_exponents_are_the_formula():
    """Hill's estimate from 20,000 values, which are correlated: an error of 2%, and 3 of these are allowed."""
    draws = (lambda rng, d: rng.uniform(0.5, 1, d) * rng.choice([-1, 1], d), np.random.Generator.standard_normal)
    for (p, exponent), draw in itertools.product(((0.5, 1.830), (0.7, 0.9415)), draws):
        assert silence_tail(p, beta=BETA, gamma=GAMMA) == pytest.approx(exponent, abs=5e-4)
        assert hill(simulated(p, draw), 20_000) == pytest.approx(exponent, rel=0.06)


def gradients_with_a_heavy_tail_bring_their_own():
    """Sizes with the exponent 2.2 at (0.6, 0.95), one in ten silent: silence alone gives 11.3, the page's remark 2.75."""
    beta, gamma = 0.6, 0.95
    own = 2.2 / (1 - 2 * math.log(gamma) / math.log(beta))
    assert own == pytest.approx(2.75, abs=5e-3)
    assert silence_tail(0.1, beta=beta, gamma=gamma) > 11
    sizes = simulated(0.1, lambda rng, d: rng.choice([-1, 1], d) * (1 + rng.pareto(2.2, d)), beta, gamma)
    assert hill(sizes, 1000) == pytest.approx(own, rel=0.25)


@pytest.mark.parametrize(
    "claim",
    [
        one_more_silent_step_makes_it_a_root_of_r_larger,
        the_tail_is_at_most_the_power,
        simulated_exponents_are_the_formula,
        gradients_with_a_heavy_tail_bring_their_own,
    ],
)
def test_the_tail_of_independent_gradients_is_the_formula(claim):
    claim()


def tiny_lower_bound(n, s, quiet, loud):
    tall = loud * quiet**n * ((1 - GAMMA) * GAMMA**n - s) ** 2 / ((1 - BETA) * BETA**n + s**2)
    return np.where((1 - GAMMA) * GAMMA**n >= s, tall, 0.0)


def test_tiny_gradients_act_as_silence_for_a_while():
    n, p = np.arange(15.0), 0.7
    grown = {}
    for s in (0.0, 1e-4, 1e-2, 0.1):
        grown[s], _ = moments({s: p, 1.0: 1 - p}, 14)
        bound = independent_bound(n, 0.5 / math.sqrt((1 - p) + p * s**2), p, beta=BETA, gamma=GAMMA)
        assert (grown[s] * correction(n, BETA, GAMMA) ** 2 <= bound**2).all()
        assert (grown[s] >= tiny_lower_bound(n, s, p, 1 - p) * (1 - 1e-12)).all()
    hidden = slice(6, 12)  # before, a first gradient that is tiny counts; the page: 2 ln(1/s)/ln(1/beta) = 15 steps
    assert_allclose(grown[1e-4][hidden], grown[0.0][hidden], rtol=0.07)
    assert grown[0.1][-1] < 0.3 * grown[0.0][-1]


# eps


def the_supremum_is_the_bound_without_eps():
    for beta, gamma in PAIRS:
        worst = stability.worst_case_gradients(20, beta=beta, gamma=gamma)
        bound = max_update_bound(20, beta=beta, gamma=gamma)
        reached = [update(scale * worst, beta, gamma, eps=1e-3)[-1] for scale in (1e-3, 1.0, 1e3, 1e9)]
        assert (np.diff(reached) > 0).all()
        assert bound * (1 - 1e-6) < reached[-1] <= bound


def gradients_of_a_size_have_updates_of_a_size():
    """One adversary a pair, at one large gradient and at sizes far below it."""
    rng = np.random.default_rng(6)
    for beta, gamma in OUTSIDE:
        t, top = 2 * math.log(gamma) / math.log(beta), math.sqrt(1 - beta) * 1e8
        limit = (1 / math.sqrt(gamma**2 / beta - 1) + 1 / (gamma * math.sqrt(1 - beta))) * top ** (1 - t)
        n = int(2 * math.log(top) / -math.log(beta)) + 20
        silence = np.where(np.arange(n) < 3, 1.0, 1e-30)

        def largest(g, beta=beta, gamma=gamma):
            return np.abs(update(g / g.max(), beta, gamma, eps=1e-8)).max()

        reached = climb(largest, silence, rng, tries=60)
        assert capped_peak(1, 1e-8, beta=beta, gamma=gamma) * 0.999 < reached <= min(limit, 1e8)


@pytest.mark.parametrize("claim", [the_supremum_is_the_bound_without_eps, gradients_of_a_size_have_updates_of_a_size])
def test_eps_caps_growth_and_moves_no_boundary(claim):
    claim()


def after(k, G, eps, beta, gamma, n0=math.inf):
    """The update k iterations after one gradient G at iteration n0, in 60 digits."""
    with mpmath.workdps(60):
        beta, gamma, G, eps = map(mpmath.mpf, (beta, gamma, G, eps))
        m, v = (1 - gamma) * gamma**k * G, (1 - beta) * beta**k * G**2
        if n0 < math.inf:
            m, v = m / (1 - gamma ** (n0 + k + 1)), v / (1 - beta ** (n0 + k + 1))
        return m / (mpmath.sqrt(v) + eps)


CAPPED = [(G, eps, *pair) for G in (1, 1e-5, 30) for eps in (1e-8, 1e-3, 1) for pair in OUTSIDE]


def outside_it_is_the_peak_between_the_steps():
    for G, eps, beta, gamma in CAPPED:
        peak = capped_peak(G, eps, beta=beta, gamma=gamma)
        steps = max(after(k, G, eps, beta, gamma) for k in range(int(2 * math.log(1e12) / -math.log(beta))))
        assert steps <= peak * (1 + 1e-12)
        assert steps >= peak * math.exp(-(math.log(beta) ** 2) / 128) * (1 - 1e-12)


def between_the_steps_it_is_attained():
    for G, eps, beta, gamma in CAPPED:
        t = 2 * math.log(gamma) / math.log(beta)
        k = max(0.0, 2 * math.log(eps * t / (1 - t) / (math.sqrt(1 - beta) * G)) / math.log(beta))
        assert_allclose(float(after(k, G, eps, beta, gamma)), capped_peak(G, eps, beta=beta, gamma=gamma), rtol=1e-11)


def inside_it_is_the_update_at_once():
    for beta, gamma in INSIDE + ON_BOUNDARY:
        for G, eps in ((1, 1e-8), (-2, 1), (1e-9, 1e-3), (3, 0)):
            at_once = (1 - gamma) * abs(G) / (math.sqrt(1 - beta) * abs(G) + eps)
            assert_allclose(capped_peak(G, eps, beta=beta, gamma=gamma), at_once, rtol=1e-14)
            assert max(after(k, abs(G), eps, beta, gamma) for k in range(50)) <= at_once * (1 + 1e-12)


def below_eps_it_is_the_update_at_once_outside_too():
    """Y = t/(1-t) divides: at a millionth above it the peak is no longer at once."""
    for beta, gamma in OUTSIDE:
        t = 2 * math.log(gamma) / math.log(beta)
        edge = t / (1 - t) / math.sqrt(1 - beta)
        for G in (0.3 * edge, edge * (1 - 1e-6), edge * (1 + 1e-6), 3 * edge):
            at_once = (1 - gamma) * G / (math.sqrt(1 - beta) * G + 1)
            peak = capped_peak(G, 1, beta=beta, gamma=gamma)
            assert peak == pytest.approx(at_once, rel=1e-11) if 2 * edge > G else peak > at_once * 1.01 or t > 0.9


def the_reference_makes_the_numbers_of_the_page():
    for n0, beta, gamma, largest in ((3000, 0.9, 0.99, 22776.70), (0, 0.9, 0.999, 202748), (20_000, 0.9, 0.999, 65569)):
        g = np.zeros(n0 + 600)
        g[n0] = 1.0
        assert np.abs(update(g, beta, gamma, eps=1e-8)).max() == pytest.approx(largest, rel=1e-5)
    assert capped_peak(1, 1e-8, beta=0.9, gamma=0.99) == pytest.approx(22776.99, abs=5e-3)
    steps = [after(k, 1, 1e-8, 0.9, 0.99) for k in range(500)]
    assert float(max(steps)) == pytest.approx(22776.70, abs=5e-3)


def at_the_edges_it_is_the_limit():
    without = capped_peak(1, 0, beta=[0.9, 0.81, 0.999, 0.0], gamma=[0.99, 0.9, 0.9, 0.5])
    assert_array_equal(np.isinf(without), [True, False, False, True])
    assert capped_peak(0, 0, beta=0.9, gamma=0.99) == capped_peak(0, 1, beta=0.5, gamma=0.5) == 0
    assert capped_peak(2, 0.5, beta=0, gamma=0) == 0.8
    assert capped_peak(1, 1e-8, beta=0, gamma=0.5) == pytest.approx(0.5e8, rel=1e-12)
    for gap in (1e-3, 1e-6, 1e-9):
        near = capped_peak(1, 1e-8, beta=0.81 * (1 - gap), gamma=0.9)
        assert near == pytest.approx(capped_peak(1, 1e-8, beta=0.81, gamma=0.9), rel=100 * gap)


@pytest.mark.parametrize(
    "claim",
    [
        outside_it_is_the_peak_between_the_steps,
        between_the_steps_it_is_attained,
        inside_it_is_the_update_at_once,
        below_eps_it_is_the_update_at_once_outside_too,
        the_reference_makes_the_numbers_of_the_page,
        at_the_edges_it_is_the_limit,
    ],
)
def test_the_capped_peak_is_that_of_one_gradient_and_silence(claim):
    claim()


# What a large update requires


def no_adversary_has_a_large_update_after_a_large_gradient():
    """The product of both sides, at most 1: reached at iteration 0, and nearly so where the momentum is long and v short."""
    rng = np.random.default_rng(7)
    close = 0.0
    for (beta, gamma), n in itertools.product(PAIRS, (0, 3, 12)):
        weights = np.sqrt((1 - beta) / (1 - beta ** (n + 1)) * beta ** np.arange(n, -1.0, -1))

        def product(g, beta=beta, gamma=gamma, weights=weights):
            return np.abs(update(g, beta, gamma)[-1]) * np.max(weights * g) / g.max()

        reached = climb(product, np.ones(n + 1), rng)
        assert reached <= 1 + 1e-12
        assert n > 0 or reached == pytest.approx(1, rel=1e-12)
        close = max(close, reached if n else 0)
    assert close > 0.9


def the_count_is_the_number_of_iterations_that_the_inequality_forces():
    for beta, large, fraction in itertools.product((0.0, 0.3, 0.9, 0.999), (0.5, 2, 30, 1e3), (0.0, 0.01, 0.5, 1)):
        k = np.arange(20_000.0)
        with np.errstate(over="ignore"):
            rise = np.power(beta, -k / 2) if beta else np.where(k == 0, 1, np.inf)
        forced = rise < fraction * large * math.sqrt(1 - beta)
        assert required_silence(large, fraction, beta=beta) == forced.sum() == np.argmin(forced)


def it_is_kept_by_a_spike_after_silence():
    beta, gamma = 0.9, 0.99
    g = np.concatenate([np.ones(300), np.zeros(80), [0.003]])
    u = np.abs(update(g, beta, gamma))
    for fraction in (0.01, 0.1, 0.5, 1.0):
        needed = int(required_silence(u[-1], fraction, beta=beta))
        assert (g[len(g) - needed :] < fraction).all()
    assert required_silence(u[-1], 0.5, beta=beta) > 10
    assert required_silence(100, 0.5, beta=0.9) == 53


@pytest.mark.parametrize(
    "claim",
    [
        no_adversary_has_a_large_update_after_a_large_gradient,
        the_count_is_the_number_of_iterations_that_the_inequality_forces,
        it_is_kept_by_a_spike_after_silence,
    ],
)
def test_a_large_update_requires_silence(claim):
    claim()


# The algebra, by computer algebra


def test_the_algebra_of_the_proofs():
    b, c, x, y, s, t, G, eps = sympy.symbols("beta gamma x y s t G epsilon", positive=True)
    k, j = sympy.symbols("k l", positive=True)
    first, second = b**k * x + b**j * y + s, b**k * y + b**j * x + s
    assert sympy.expand(second - first - (b**k - b**j) * (y - x)) == 0
    h = x / (sympy.exp(x) - 1)
    assert sympy.simplify(x * sympy.diff(h, x) / h - (1 - x / (1 - sympy.exp(-x)))) == 0
    slope = sympy.diff(t * sympy.log(y) - sympy.log(1 + y), y)
    assert sympy.solve(slope, y) == [-t / (t - 1)]
    peak = (y**t / (1 + y)).subs(y, t / (1 - t))
    assert sympy.simplify(sympy.powsimp(peak / (t**t * (1 - t) ** (1 - t)), force=True).subs(t, sympy.Rational(1, 3))) == 1
    curved = sympy.diff(t * s - sympy.log(1 + sympy.exp(s)), s, 2)
    assert sympy.simplify(curved + sympy.exp(s) / (1 + sympy.exp(s)) ** 2) == 0
    f = (1 - c) * c**k * G / (sympy.sqrt(1 - b) * b ** (k / 2) * G + eps)
    Y, power = sympy.sqrt(1 - b) * G / eps, 2 * sympy.log(c) / sympy.log(b)
    other = (1 - c) / sympy.sqrt(1 - b) * Y ** (1 - power) * (Y * b ** (k / 2)) ** power / (1 + Y * b ** (k / 2))
    at = {b: sympy.Rational(9, 10), c: sympy.Rational(99, 100), k: 7, G: 3, eps: sympy.Rational(1, 7)}
    assert abs(sympy.N((f / other).subs(at), 60) - 1) < 1e-50
    assert sympy.factor(2 * c - c**2 - (1 - (1 - c) ** 2)) == 0


# Edges, shapes, errors

OF_PAIRS = {
    "rms_bound": lambda **at: rms_bound(7, **at),
    "critical_silence": critical_silence,
    "independent_bound": lambda **at: independent_bound(7, 0.1, 0.5, **at),
    "silence_tail": lambda **at: silence_tail(0.5, **at),
    "capped_peak": lambda **at: capped_peak(2.0, 1e-8, **at),
}
SQUARE = np.array([0.0, 0.25, 0.5, 0.9, 0.999])


@pytest.mark.parametrize("function", OF_PAIRS.values(), ids=OF_PAIRS)
def test_arrays_broadcast_and_numbers_give_numbers(function):
    table = function(beta=SQUARE[:, None], gamma=SQUARE)
    assert_allclose(table, [[function(beta=b, gamma=g) for g in SQUARE] for b in SQUARE], rtol=1e-14)
    assert isinstance(function(beta=0.9, gamma=0.5), float)


def test_the_other_arguments_broadcast_too():
    column = np.array([[0.1], [1.0]])
    assert white_update(gamma=SQUARE).shape == (5,)
    assert required_silence(10 * column, [0.5, 1, 2], beta=0.5).shape == (2, 3)
    assert capped_peak(column, [1e-8, 1e-3, 0.0], beta=0.9, gamma=0.99).shape == (2, 3)
    assert silence_tail(column, beta=SQUARE, gamma=0.9).shape == (2, 5)
    assert independent_bound(np.arange(5), column, 0.5, beta=SQUARE, gamma=0.9).shape == (2, 5)


def test_edges_of_the_square_and_of_the_shares():
    assert_array_equal(rms_bound(np.arange(4), beta=0, gamma=0), 1)
    assert_array_equal(rms_bound(np.arange(3), beta=0, gamma=0.5), [1, np.inf, np.inf])
    assert_array_equal(silence_tail([0, 0.5, 1], beta=0.9, gamma=0.99)[[0, 2]], [np.inf, 0])
    assert_array_equal(silence_tail([0, 0.5, 1], beta=0, gamma=0.5), [np.inf, 0, 0])
    assert_array_equal(silence_tail([0, 0.5, 1], beta=0.81, gamma=0.9), np.inf)
    assert np.isfinite(independent_bound(10**9, 0.1, 0, beta=0.5, gamma=0.99))
    assert independent_bound(10**9, 0.1, 1, beta=0.5, gamma=0.99) == np.inf
    assert_array_equal(is_stable(beta=SQUARE, gamma=0.9), (critical_silence(beta=SQUARE, gamma=0.9) == 1) & (SQUARE != 0.81))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rms_bound(-1, beta=0.9, gamma=0.5), "n must be a whole number >= 0, got -1.0"),
        (lambda: white_update(gamma=1), r"gamma must lie in \[0, 1\), got 1.0"),
        (lambda: silence_tail(1.5, beta=0.9, gamma=0.5), r"silence must lie in \[0, 1\], got 1.5"),
        (lambda: independent_bound(1, 0, 0.5, beta=0.9, gamma=0.5), "floor must be a finite number > 0, got 0.0"),
        (lambda: independent_bound(1, 1, -1, beta=0.9, gamma=0.5), r"quiet must lie in \[0, 1\], got -1.0"),
        (lambda: capped_peak(math.inf, 1, beta=0.9, gamma=0.5), "gradient must be finite numbers; got inf"),
        (lambda: capped_peak(1, -1, beta=0.9, gamma=0.5), "eps must be a finite number >= 0, got -1.0"),
        (lambda: required_silence(-1, 1, beta=0.9), "update must be a finite number >= 0, got -1.0"),
        (lambda: required_silence(1, math.nan, beta=0.9), "fraction must be a finite number >= 0, got nan"),
        (lambda: critical_silence(beta=1, gamma=0.5), r"beta must lie in \[0, 1\), got 1.0"),
        (lambda: capped_peak([1, 2], [1, 2, 3], beta=0.9, gamma=0.5), "gradient and eps and beta and gamma must broadcast"),
    ],
)
def test_what_is_not_allowed_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_small_and_large_sizes_do_not_leave_float64_before_the_result_does():
    close = 1 - 2**-50  # 1 - gamma is 2^-50
    inside, outside = {"beta": 0.5, "gamma": 0.5}, {"beta": 0.5, "gamma": close}
    assert capped_peak(1e-310, 1.0, **inside) == pytest.approx(0.5e-310, rel=1e-9)
    assert capped_peak(1e300, 1e-300, **inside) == pytest.approx(0.5 / 0.5**0.5, rel=1e-12)
    t = math.log(close) / math.log(0.5) * 2
    exponent = (1 - t) * (math.log(1e300) - math.log(1e-12) + math.log(0.5) / 2) + t * math.log(t) + (1 - t) * math.log1p(-t)
    assert exponent > 709  # alone it overflows
    reached = math.exp(exponent - 50 * math.log(2) - math.log(0.5) / 2)
    assert capped_peak(1e300, 1e-12, **outside) == pytest.approx(reached, rel=1e-10)
    assert capped_peak(1e300, 1e-300, **outside) == math.inf


def test_the_bound_of_independent_gradients_is_infinite_only_where_it_is():
    assert independent_bound(2**60, 1e-300, 0.0, beta=0.5, gamma=1 - 2**-50) == pytest.approx(2e300, rel=1e-9)
    n, quiet, beta, gamma = 80, 1e-200, 1e-210, 0.5  # the root of the sum alone would overflow
    ratio = quiet * gamma**2 / beta
    size = math.sqrt(2) * math.hypot(math.sqrt(quiet) * (1 - gamma), 1e-300)
    exact = math.log(size) + ((n + 1) * math.log(ratio) - math.log(ratio - 1)) / 2
    assert math.log(independent_bound(n, 1e300, quiet, beta=beta, gamma=gamma)) == pytest.approx(exact, rel=1e-12)
    assert independent_bound(10**9, 1.0, 1.0, beta=0.5, gamma=0.9) == math.inf
