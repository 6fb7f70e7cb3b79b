"""The theorems of the book's theory page, each tested by the test that the page names; then edges, shapes, errors.

A theorem with several statements is one test whose parameters are its claims, the functions just above it.
Pairs are (beta, gamma), as in the paper.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.polynomial import Chebyshev
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import fixed_quad
from scipy.optimize import minimize_scalar

from kadam.decay import STRATEGIES, Decay, stages
from kadam.theory import stability
from kadam.theory.reference import kadam_updates
from kadam.theory.stability import coefficient, growth_rate, max_update_bound, silent_update, worst_case_gradients

seeded = settings(derandomize=True, max_examples=60, deadline=None)

rates = st.floats(1e-3, 0.9999)
sizes = st.floats(1e-6, 1e6)
gradients = arrays(np.float64, st.integers(1, 30), elements=sizes | sizes.map(lambda x: -x) | st.just(0.0), fill=st.nothing())

TIMES = ("discrete", "continuous")
STABLE = ((0.999, 0.9), (0.98, 0.9), (0.95, 0.9), (0.5, 0.1), (0.1, 0.3))
UNSTABLE = ((0.95, 0.99), (0.9, 0.99), (0.9, 0.95), (0.5, 0.9))
ON_BOUNDARY = ((0.25, 0.5), (0.81, 0.9))
EQUAL = ((0.95, 0.95), (0.5, 0.5))
WITH_MOMENTUM = STABLE + UNSTABLE + ON_BOUNDARY + EQUAL
PAIRS = (*WITH_MOMENTUM, (0.999, 0.0), (0.5, 0.0))
FOREVER = 10**6


def D(n, beta, gamma):
    """The discrete bound."""
    return max_update_bound(n, beta=beta, gamma=gamma)


def K(n, beta, gamma):
    """The continuous expression."""
    return max_update_bound(n, beta=beta, gamma=gamma, time="continuous")


def update(g, beta, gamma):
    """Adam's updates u_0..u_n by the reference."""
    return kadam_updates(g, [Decay(beta=beta, gamma=gamma)])


def worst_update(n, beta, gamma):
    """What the reference makes of the worst case."""
    return update(worst_case_gradients(n, beta=beta, gamma=gamma), beta, gamma)[-1]


def correction(n, beta, gamma):
    return np.sqrt(1 - beta ** (n + 1)) / (1 - gamma ** (n + 1))


def silence(n, g0=1.0):
    """One gradient, then n zeros."""
    return np.concatenate([[g0], np.zeros(n)])


# The discrete bound


@seeded
@given(g=gradients, beta=rates, gamma=rates | st.just(0.0))
def no_sequence_exceeds_the_bound(g, beta, gamma):
    assert (np.abs(update(g, beta, gamma)) <= D(np.arange(len(g)), beta, gamma) * (1 + 1e-9)).all()


@seeded
@given(n=st.integers(0, 200), beta=st.floats(0.1, 0.9999), gamma=rates)
def the_bound_is_the_symmetric_form(n, beta, gamma):
    """D_n^2 = A_n(beta) A_n(gamma^2/beta) / A_n(gamma)^2 with A_n(x) = 1 + x + ... + x^n, summed term by term."""
    a, b, c = (np.sum(x ** np.arange(n + 1.0)) for x in (beta, gamma**2 / beta, gamma))
    assert_allclose(D(n, beta, gamma), math.sqrt(a * b) / c, rtol=1e-9)


def signsgd_moves_by_one():
    assert_array_equal(D(np.arange(50), 0, 0), 1)
    assert_array_equal(update([3, -2, 0, 1e-9], 0, 0), [1, -1, 0, 1])


def without_second_moment_the_bound_is_one_and_then_infinite():
    assert_array_equal(D(np.arange(4), 0, 0.5), [1, np.inf, np.inf, np.inf])
    assert update([1, 1e-12], 0, 0.5)[1] > 1e11


def eps_only_makes_updates_smaller():
    g = np.random.default_rng(0).standard_normal((40, 20))
    exact, damped = (np.abs(kadam_updates(g, [Decay()], eps=eps)) for eps in (0, 0.1))
    assert (damped < exact).all()


@pytest.mark.parametrize(
    "claim",
    [
        no_sequence_exceeds_the_bound,
        the_bound_is_the_symmetric_form,
        signsgd_moves_by_one,
        without_second_moment_the_bound_is_one_and_then_infinite,
        eps_only_makes_updates_smaller,
    ],
)
def test_discrete_bound_holds_for_every_sequence(claim):
    claim()


def the_sequence_attains_the_bound():
    for beta, gamma in PAIRS:
        for n in (0, 1, 10, 50, 200):
            assert_allclose(worst_update(n, beta, gamma), D(n, beta, gamma), rtol=1e-12)


def the_sequence_is_the_formula():
    for beta, gamma in PAIRS:
        g = worst_case_gradients(7, beta=beta, gamma=gamma)
        assert_allclose(g, (gamma / beta) ** np.arange(7.0, -1, -1), rtol=1e-13)


def every_other_sequence_stays_below():
    """Each column changes one gradient of the worst case by a factor."""
    for beta, gamma in WITH_MOMENTUM:
        worst, bound = worst_case_gradients(4, beta=beta, gamma=gamma), D(4, beta, gamma)
        assert_allclose(update(-3 * worst, beta, gamma)[-1], -bound, rtol=1e-12)
        for factor in (0.5, 1.5, 0.0, -1.0):
            changed = np.where(np.eye(5) == 1, factor, 1.0) * worst[:, None]
            assert (np.abs(update(changed, beta, gamma)[-1]) < bound * (1 - 1e-9)).all()


def one_sequence_is_worst_at_every_iteration():
    n = np.arange(200)
    for beta, gamma in WITH_MOMENTUM:
        assert_allclose(update((beta / gamma) ** n, beta, gamma), D(n, beta, gamma), rtol=1e-11)


def a_step_is_at_most_the_learning_rate_exactly_for_equal_decays():
    x = np.linspace(0, 0.999, 25)
    beta, gamma = np.meshgrid(x, x)
    unequal = beta != gamma
    assert_allclose(D(np.arange(300)[:, None], x, x), 1, rtol=1e-12)
    assert_allclose(D(0, beta, gamma), 1, rtol=1e-12)
    assert (D(1, beta[unequal], gamma[unequal]) > 1 + 1e-9).all()


@pytest.mark.parametrize(
    "claim",
    [
        the_sequence_attains_the_bound,
        the_sequence_is_the_formula,
        every_other_sequence_stays_below,
        one_sequence_is_worst_at_every_iteration,
        a_step_is_at_most_the_learning_rate_exactly_for_equal_decays,
    ],
)
def test_worst_case_attains_the_bound(claim):
    claim()


# The boundary


@seeded
@given(beta=rates | st.just(0.0), gamma=rates | st.just(0.0))
def the_bound_never_decreases(beta, gamma):
    bound = D(np.arange(300), beta, gamma)
    assert (bound[1:] >= bound[:-1] * (1 - 1e-10)).all()


def the_bound_strictly_increases_for_unequal_decays():
    for beta, gamma in STABLE[:3] + UNSTABLE + ON_BOUNDARY:
        assert (np.diff(D(np.arange(60), beta, gamma)) > 0).all()


def the_supremum_is_finite_exactly_inside():
    gamma = np.linspace(0.01, 0.99, 50)
    assert_allclose(stability.boundary(gamma), gamma**2)
    for factor, inside in ((1.001, True), (1, False), (0.999, False)):
        beta = factor * gamma**2
        assert_array_equal(stability.is_stable(beta=beta, gamma=gamma), inside)
        early, late = D(FOREVER, beta, gamma), D(2 * FOREVER, beta, gamma)
        assert_array_equal((late < 1.1 * early) & np.isfinite(late), inside)


def the_limit_inside_is_the_formula():
    beta, gamma = np.transpose((*STABLE, *EQUAL, (0.999, 0)))
    limit = (1 - gamma) / np.sqrt((1 - beta) * (1 - gamma**2 / beta))
    assert_allclose(D(FOREVER, beta, gamma), limit, rtol=1e-12)


def the_limits_are_those_of_the_table():
    beta, gamma = np.transpose([(0.999, 0.9), (0.98, 0.9), (0.95, 0.9), (0.95, 0.95), (0.999, 0), (0.9, 0.95)])
    assert_allclose(D(FOREVER, beta, gamma), [7.270, 1.698, 1.165, 1, 31.62, np.inf], rtol=3e-4)


def the_default_bound_passes_kingma_and_bas_at_iteration_209():
    assert np.argmax(D(np.arange(400), 0.999, 0.9) > (1 - 0.9) / math.sqrt(1 - 0.999)) == 209


def the_bound_grows_like_a_square_root_on_the_boundary():
    gamma = np.array([0.25, 0.5, 0.75, 0.9, 0.99])
    assert_allclose(D(FOREVER, gamma**2, gamma) / math.sqrt(FOREVER), np.sqrt((1 - gamma) / (1 + gamma)), rtol=1e-5)


def the_bound_grows_exponentially_outside():
    for beta, gamma in UNSTABLE:
        rate = math.log(gamma) - math.log(beta) / 2
        n = int(600 / rate)
        assert_allclose(growth_rate(beta=beta, gamma=gamma), rate, rtol=1e-12)
        assert_allclose(np.diff(np.log(D([n, n + 1], beta, gamma))), rate, rtol=1e-6)


def the_rates_are_those_of_the_table():
    beta, gamma = np.transpose(UNSTABLE)
    discrete, continuous = (growth_rate(beta=beta, gamma=gamma, time=time) for time in TIMES)
    assert_allclose(discrete, [0.01560, 0.04263, 0.001387, 0.2412], rtol=4e-4)
    assert_allclose(continuous, [0.01621, 0.04545, 0.002924, 0.3889], rtol=4e-4)


@seeded
@given(g=gradients.filter(np.any), steps=st.integers(0, 100), beta=st.floats(0.05, 0.9999), gamma=st.floats(0.05, 0.9999))
def silence_multiplies_the_update_by_gamma_over_sqrt_beta(g, steps, beta, gamma):
    n0, n = len(g) - 1, len(g) - 1 + steps
    u = update(np.concatenate([g, np.zeros(steps)]), beta, gamma)
    factor = correction(n, beta, gamma) / correction(n0, beta, gamma) * (gamma / math.sqrt(beta)) ** steps
    assert_allclose(u[n], factor * u[n0], rtol=1e-9)


def silent_update_is_one_gradient_and_silence():
    n = np.arange(200)
    for beta, gamma in PAIRS:
        exact = silent_update(n, beta=beta, gamma=gamma)
        formula = correction(n, beta, gamma) / correction(0, beta, gamma) * (gamma / math.sqrt(beta)) ** n
        assert_allclose(exact, np.abs(update(silence(199, g0=-2.0), beta, gamma)), rtol=1e-10)
        assert_allclose(exact, formula, rtol=1e-10)


def silence_tells_the_two_sides_apart():
    """Two hundredths inside and outside, simulated."""
    for gamma in (0.5, 0.8, 0.9, 0.95):
        for shift in (0.02, -0.02):
            beta = stability.boundary(gamma) + shift
            u = update(silence(300), beta, gamma)
            assert (u[-1] < u[-100]) == stability.is_stable(beta=beta, gamma=gamma) == (shift > 0)
            assert_allclose(np.log(u[-1] / u[-2]), math.log(gamma) - math.log(beta) / 2, rtol=1e-4)


def the_continuous_rate_is_never_the_smaller_one():
    beta, gamma = np.meshgrid(np.linspace(0.002, 0.998, 250), np.linspace(0.002, 0.998, 250))
    discrete, continuous = (growth_rate(beta=beta, gamma=gamma, time=time) for time in TIMES)
    outside = beta < gamma**2
    assert (continuous >= discrete).all()
    assert (continuous - discrete >= (1 / gamma - 1) ** 2 / 2 * (1 - 1e-9))[outside].all()
    assert_array_equal(discrete > 0, outside)
    assert_array_equal(continuous > 0, beta < gamma / (2 - gamma))


@pytest.mark.parametrize(
    "claim",
    [
        the_bound_never_decreases,
        the_bound_strictly_increases_for_unequal_decays,
        the_supremum_is_finite_exactly_inside,
        the_limit_inside_is_the_formula,
        the_limits_are_those_of_the_table,
        the_default_bound_passes_kingma_and_bas_at_iteration_209,
        the_bound_grows_like_a_square_root_on_the_boundary,
        the_bound_grows_exponentially_outside,
        the_rates_are_those_of_the_table,
        silence_multiplies_the_update_by_gamma_over_sqrt_beta,
        silent_update_is_one_gradient_and_silence,
        silence_tells_the_two_sides_apart,
        the_continuous_rate_is_never_the_smaller_one,
    ],
)
def test_boundary_separates_bounded_from_growing(claim):
    claim()


def test_swapping_the_pair_crosses_the_boundary():
    adam, swapped = Decay.from_betas((0.9, 0.999)), Decay.from_betas((0.999, 0.9))
    for time in TIMES:
        assert stability.is_stable(beta=adam.beta, gamma=adam.gamma, time=time)
        assert not stability.is_stable(beta=swapped.beta, gamma=swapped.gamma, time=time)


# The continuous model

MODELS = [(n, *pair) for pair in (*STABLE[:4], *UNSTABLE, (0.5, 2 / 3), (1 / 9, 0.2)) for n in (1, 5, 20)]


def model_update(g, n, beta, gamma):
    """The model's u(n): its two integrals by quadrature, for a signal g(s) on [0, n]."""
    a, b = (1 - gamma) / gamma, (1 - beta) / beta
    m, _ = fixed_quad(lambda s: a * np.exp(-a * (n - s)) * g(s), 0, n, n=100)
    v, _ = fixed_quad(lambda s: b * np.exp(-b * (n - s)) * g(s) ** 2, 0, n, n=100)
    return correction(n, beta, gamma) * m / math.sqrt(v)


def worst_signal(n, beta, gamma):
    """e^((a-b)s), scaled to 1 at s = n."""
    exponent = (1 - gamma) / gamma - (1 - beta) / beta
    return lambda s: np.exp(exponent * (s - n))


def the_exponential_signal_attains_the_bound():
    for model in MODELS:
        assert_allclose(model_update(worst_signal(*model), *model), K(*model), rtol=1e-9)


def no_other_signal_exceeds_it():
    """Random polynomials, alone and as a disturbance of the worst signal."""
    rng = np.random.default_rng(0)
    for model in MODELS:
        for coefficients in rng.standard_normal((20, 6)):
            wave, worst = Chebyshev(coefficients, domain=[0, model[0]]), worst_signal(*model)
            assert abs(model_update(wave, *model)) < K(*model)
            assert abs(model_update(lambda s, w=worst, p=wave: w(s) * (1 + 0.1 * p(s)), *model)) < K(*model)


def it_stays_finite_exactly_where_C_is_positive():
    gamma = np.linspace(0.01, 0.99, 50)
    edge = stability.boundary(gamma, time="continuous")
    assert_allclose(edge, gamma / (2 - gamma))
    for factor, inside in ((1.001, True), (0.999, False)):
        beta = factor * edge
        C = coefficient(beta=beta, gamma=gamma)
        assert_allclose(C, (2 * beta * (1 - gamma) - gamma * (1 - beta)) / (beta * gamma), rtol=1e-9)
        assert_array_equal(C > 0, inside)
        assert_array_equal(stability.is_stable(beta=beta, gamma=gamma, time="continuous"), inside)
        assert_array_equal(np.isfinite(K(10**8, beta, gamma)), inside)


def it_grows_at_half_of_C():
    for beta, gamma in UNSTABLE:
        rate = -coefficient(beta=beta, gamma=gamma) / 2
        n = int(600 / rate)
        assert growth_rate(beta=beta, gamma=gamma, time="continuous") == rate > 0
        assert_allclose(np.diff(np.log(K([n, n + 1], beta, gamma))), rate, rtol=1e-6)


def it_is_a_square_root_where_C_is_zero():
    beta, gamma = 1 / 9, 0.2
    assert coefficient(beta=beta, gamma=gamma) == growth_rate(beta=beta, gamma=gamma, time="continuous") == 0
    assert_allclose(K(FOREVER, beta, gamma), 4 / math.sqrt(8) * math.sqrt(FOREVER), rtol=1e-12)


@pytest.mark.parametrize(
    "claim",
    [
        the_exponential_signal_attains_the_bound,
        no_other_signal_exceeds_it,
        it_stays_finite_exactly_where_C_is_positive,
        it_grows_at_half_of_C,
        it_is_a_square_root_where_C_is_zero,
    ],
)
def test_continuous_bound_holds_for_the_continuous_model(claim):
    claim()


def the_algorithm_passes_it_at_iteration_ten():
    assert round(worst_update(10, 0.9, 0.95), 5) == 1.01445
    assert round(K(10, 0.9, 0.95), 5) == 0.97340


def it_is_zero_where_the_first_update_is_one():
    for beta, gamma in PAIRS:
        assert K(0, beta, gamma) == 0
        assert_allclose(update([-0.3], beta, gamma), -1)


def it_fails_exactly_up_to_the_iteration_in_the_table():
    n = np.arange(10**5 + 1)
    table = {(0.999, 0.9): 5, (0.95, 0.9): 8, (0.9, 0.95): 25, (0.95, 0.99): 63, (0.99, 0.99): 198}
    for pair, last in table.items():
        assert_array_equal(np.flatnonzero(K(n, *pair) < D(n, *pair) * (1 - 1e-12)), np.arange(last + 1))
    beta, gamma = np.transpose(list(table))
    assert_allclose(K(1, beta, gamma), [0.7827, 0.7634, 0.7069, 0.6965, 0.7107], atol=6e-5)
    assert_allclose(D(1, beta, gamma), [1.0014, 1.0004, 1.0004, 1.0002, 1], atol=6e-5)


def in_the_limit_it_is_the_larger_one_unless_the_decays_are_equal():
    for beta, gamma in STABLE[:4] + EQUAL:
        C, limit = coefficient(beta=beta, gamma=gamma), K(FOREVER, beta, gamma)
        assert_allclose(limit, (1 - gamma) / gamma * math.sqrt(beta / (1 - beta) / C), rtol=1e-12)
        assert (limit > D(FOREVER, beta, gamma) * (1 + 1e-6)) == (beta != gamma)
        assert limit >= D(FOREVER, beta, gamma) * (1 - 1e-12)


@pytest.mark.parametrize(
    "claim",
    [
        the_algorithm_passes_it_at_iteration_ten,
        it_is_zero_where_the_first_update_is_one,
        it_fails_exactly_up_to_the_iteration_in_the_table,
        in_the_limit_it_is_the_larger_one_unless_the_decays_are_equal,
    ],
)
def test_continuous_expression_is_not_a_bound(claim):
    claim()


# Two boundaries


def gap(gamma):
    return stability.boundary(gamma, time="continuous") - stability.boundary(gamma)


def test_continuous_region_is_the_smaller_one():
    beta, gamma = np.meshgrid(np.linspace(0, 0.999, 200), np.linspace(0, 0.999, 200))
    discrete, continuous = (stability.is_stable(beta=beta, gamma=gamma, time=time) for time in TIMES)
    assert (discrete | ~continuous).all()
    assert (discrete & ~continuous).any()


def test_papers_boundary_is_where_momentum_begins_to_raise_the_worst_case():
    """Random pairs with equality and a hundredth of the way on both sides; n up to 10^5, and 60 iterations of every kind."""
    rng = np.random.default_rng(0)
    gamma = np.concatenate([rng.random(500), 1 - 10 ** -rng.uniform(0, 3, 500)])
    n = np.unique(np.geomspace(1, 10**5, 60).astype(int))[:, None] - 1
    edge = stability.boundary(gamma, time="continuous")
    for share in (0.0, 0.01, 0.5):
        beta = edge + share * (1 - edge)
        assert (D(n, beta, gamma) <= D(n, beta, 0) * (1 + 1e-9)).all()
        below = 0.99 * edge - share * edge
        assert (D(FOREVER * 10, below, gamma) > 1 / np.sqrt(1 - below)).all()


def test_gap_between_the_boundaries_is_largest_at_the_golden_ratio():
    largest = minimize_scalar(lambda gamma: -gap(gamma), bounds=(0, 0.999), options={"xatol": 1e-9})
    assert largest.x == pytest.approx((3 - math.sqrt(5)) / 2, abs=1e-6)
    assert -largest.fun == pytest.approx(((1 + math.sqrt(5)) / 2) ** -5, rel=1e-12)


def test_gap_between_the_boundaries_closes_at_both_ends():
    gamma = np.linspace(0, 0.999, 100)
    assert_allclose(gap(gamma), gamma * (1 - gamma) ** 2 / (2 - gamma), atol=1e-15)
    assert_allclose(gap(np.array([0, 0.9, 0.95, 0.99, 0.999])), [0, 0.0082, 0.0023, 0.0001, 1e-6], atol=5e-5)


def test_default_rates_are_those_of_the_page():
    assert -coefficient(beta=0.999, gamma=0.9) / 2 == pytest.approx(-0.1106, abs=5e-5)
    assert np.diff(np.log(silent_update([6000, 6001], beta=0.999, gamma=0.9))) == pytest.approx(-0.1049, abs=5e-5)


# k-Adam

pairs = st.builds(Decay, beta=st.floats(0.05, 0.9999), gamma=st.floats(0, 0.9999))


@seeded
@given(g=gradients, earlier=st.lists(pairs, max_size=3), last=pairs)
def no_input_exceeds_the_last_stages_bound(g, earlier, last):
    bound = D(np.arange(len(g)), last.beta, last.gamma)
    assert (np.abs(kadam_updates(g, [*earlier, last])) <= bound * (1 + 1e-9)).all()


def only_an_unstable_last_stage_is_dangerous():
    stable, unstable = Decay(beta=0.999, gamma=0.9), Decay(beta=0.9, gamma=0.99)
    for first, last, largest, bound in ((stable, unstable, 614.8, 643.3), (unstable, stable, 2.793, 3.103)):
        assert_allclose(np.abs(kadam_updates(silence(200), [first, last])).max(), largest, rtol=2e-4)
        assert_allclose(D(200, last.beta, last.gamma), bound, rtol=2e-4)


def the_strategies_allow_what_the_table_says():
    last = [stages(Decay(), 2, strategy)[-1] for strategy in STRATEGIES]
    assert_allclose([D(FOREVER, d.beta, d.gamma) for d in last], [7.270, 2.473, 7.089, 7.273, 31.62], rtol=2e-4)


@pytest.mark.parametrize(
    "claim",
    [
        no_input_exceeds_the_last_stages_bound,
        only_an_unstable_last_stage_is_dangerous,
        the_strategies_allow_what_the_table_says,
    ],
)
def test_last_stage_bounds_the_update(claim):
    claim()


# The normal curve

STARTS = ((0.999, 0.9), (0.8, 0.8), (0.9, 0.2), (0.3, 0.99))


def level_set_direction(beta, gamma, h=1e-6):
    """Unit tangent of C = constant, by central differences of C."""
    by_beta = coefficient(beta=beta + h, gamma=gamma) - coefficient(beta=beta - h, gamma=gamma)
    by_gamma = coefficient(beta=beta, gamma=gamma + h) - coefficient(beta=beta, gamma=gamma - h)
    return np.array([-by_gamma, by_beta]) / np.hypot(by_beta, by_gamma)


def its_chords_meet_the_level_sets_at_right_angles():
    for beta, gamma in STARTS:
        curve = np.array(stability.normal_curve(beta=beta, gamma=gamma, num=2000))
        chord, middle = np.diff(curve), (curve[:, 1:] + curve[:, :-1]) / 2
        cosine = (level_set_direction(*middle) * chord).sum(axis=0) / np.hypot(*chord)
        assert_allclose(cosine, 0, atol=1e-5)


def the_invariant_is_constant_on_it():
    for beta, gamma in STARTS:
        b, g = stability.normal_curve(beta=beta, gamma=gamma)
        assert_allclose(2 * b**3 + g**3, 2 * beta**3 + gamma**3, rtol=1e-14)


def its_points_lie_strictly_inside_even_and_ordered_from_the_most_stable():
    for (beta, gamma), num in zip((*STARTS, (0, 0.5), (0.5, 0)), (1, 2, 64, 1000, 5, 5), strict=True):
        b, g = stability.normal_curve(beta=beta, gamma=gamma, num=num)
        assert b.shape == g.shape == (num,)
        assert ((b > 0) & (b < 1) & (g > 0) & (g < 1)).all()
        assert_allclose(np.diff(g, n=2), 0, atol=1e-12)
        assert (np.diff(coefficient(beta=b, gamma=g)) < 0).all()


def it_passes_the_points_of_the_table():
    b, g = stability.normal_curve(num=10**5)
    points = np.array([b, g, coefficient(beta=b, gamma=g)])
    assert_allclose(2 * b**3 + g**3, 2.723005998, rtol=1e-12)
    assert_allclose(points[:, 0], [1, 0.8975, 0.2283], atol=6e-5)
    assert_allclose(points[:, -1], [0.9515, 1, -0.0509], atol=6e-5)
    for time, expected in (("continuous", [0.96192, 0.98059, 0]), ("discrete", [0.96184, 0.98074, -0.00039])):
        crossing = np.argmin(np.abs(b - stability.boundary(g, time=time)))
        assert_allclose(points[:, crossing], expected, atol=1e-5)


def none_of_its_default_points_lies_between_the_boundaries():
    b, g = stability.normal_curve()
    discrete, continuous = (stability.is_stable(beta=b, gamma=g, time=time) for time in TIMES)
    assert_array_equal(discrete, continuous)
    assert len(b) == 64
    assert 0 < discrete.sum() < 64


@pytest.mark.parametrize(
    "claim",
    [
        its_chords_meet_the_level_sets_at_right_angles,
        the_invariant_is_constant_on_it,
        its_points_lie_strictly_inside_even_and_ordered_from_the_most_stable,
        it_passes_the_points_of_the_table,
        none_of_its_default_points_lies_between_the_boundaries,
    ],
)
def test_normal_curve_is_orthogonal_to_level_sets(claim):
    claim()


@pytest.mark.parametrize("C", [-0.5, -0.03, 0.0, 0.05, 0.2212])
def test_level_curves_have_their_coefficient(C):
    gamma = np.linspace(0.01, 0.89, 200)
    beta = stability.level_curve(gamma, C=C)
    assert ((beta > 0) & (beta < 1)).all()
    assert_allclose(coefficient(beta=beta, gamma=gamma), C, atol=1e-12)


def test_level_curves_contain_adams_pair_and_the_papers_boundary():
    assert stability.level_curve(0.9, C=coefficient(beta=0.999, gamma=0.9)) == pytest.approx(0.999, rel=1e-14)
    gamma = np.linspace(0.01, 0.99, 50)
    assert_allclose(stability.level_curve(gamma, C=0), stability.boundary(gamma, time="continuous"), rtol=1e-14)
    assert stability.level_curve([0.5, 0.6], C=[[0.1], [0.2], [0.3]]).shape == (3, 2)


@pytest.mark.parametrize(
    ("gamma", "C", "message"),
    [
        (0.9, 0.3, r"C must be below 2 \(1-gamma\)/gamma = 0.222222 at gamma = 0.9, got 0.3"),
        ([0.5, 0.8], 0.5, r"C must be below 2 \(1-gamma\)/gamma = 0.5 at gamma = 0.8, got 0.5"),
        ([0.5, 0.6], [0.1, 0.2, 0.3], r"gamma and C must broadcast, got shapes \(2,\) and \(3,\)"),
        (0.5, math.inf, "C must be finite numbers; got inf"),
        (0.5, "x", "C must be a real number or an array of real numbers, got 'x'"),
        (0.0, 0.1, "gamma must be above 0, and above 1e-307, where C is finite"),
        (1.0, 0.1, r"gamma must lie in \[0, 1\), got 1.0"),
    ],
)
def test_a_level_that_no_pair_has_is_named(gamma, C, message):
    with pytest.raises(ValueError, match=message):
        stability.level_curve(gamma, C=C)


# Edges of the square; the configuration turns every warning into an error


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.999])
def test_without_momentum_everything_is_stable(beta):
    assert coefficient(beta=beta, gamma=0) == np.inf
    for time in TIMES:
        assert stability.is_stable(beta=beta, gamma=0, time=time)
        assert growth_rate(beta=beta, gamma=0, time=time) == 0


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.999])
def test_bounds_without_momentum(beta):
    n = np.arange(50)
    assert_allclose(D(n, beta, 0), np.sqrt((1 - beta ** (n + 1)) / (1 - beta)), rtol=1e-13)
    assert_array_equal(K([0, 1, 2, 50], beta, 0), [0, np.inf, np.inf, np.inf])
    assert_array_equal(silent_update(np.arange(4), beta=beta, gamma=0), [1, 0, 0, 0])
    assert_array_equal(worst_case_gradients(3, beta=beta, gamma=0), [0, 0, 0, 1])


@pytest.mark.parametrize("gamma", [1e-3, 0.5, 0.999])
def test_momentum_without_second_moment_is_unstable(gamma):
    assert coefficient(beta=0, gamma=gamma) == -np.inf
    for time in TIMES:
        assert not stability.is_stable(beta=0, gamma=gamma, time=time)
        assert growth_rate(beta=0, gamma=gamma, time=time) == np.inf


@pytest.mark.parametrize("gamma", [1e-3, 0.5, 0.999])
def test_bounds_without_second_moment(gamma):
    assert_array_equal(K([0, 1, 2, 50], 0, gamma), [0, np.inf, np.inf, np.inf])
    assert_array_equal(D([1, 2, 50], 0, gamma), np.inf)
    assert_array_equal(silent_update([1, 2, 50], beta=0, gamma=gamma), np.inf)
    assert_array_equal(worst_case_gradients(3, beta=0, gamma=gamma), [1, 0, 0, 0])
    assert_array_equal(worst_case_gradients(0, beta=0, gamma=gamma), [1])


@pytest.mark.parametrize("time", TIMES)
def test_on_the_boundary_nothing_is_stable_and_nothing_grows_exponentially(time):
    gamma = np.linspace(0.1, 0.99, 20)
    at = {"beta": stability.boundary(gamma, time=time), "gamma": gamma, "time": time}
    assert not stability.is_stable(**at).any()
    assert_array_equal(growth_rate(**at), 0)
    assert_allclose(max_update_bound(4 * FOREVER, **at) / max_update_bound(FOREVER, **at), 2, rtol=1e-4)


@pytest.mark.parametrize("n", [10**9, 1e300])
def test_many_iterations_reach_the_limits_without_warnings(n):
    assert_allclose(D(n, 0.999, 0.9), D(FOREVER, 0.999, 0.9), rtol=1e-12)
    assert D(n, 0.9, 0.99) == K(n, 0.9, 0.99) == silent_update(n, beta=0.9, gamma=0.99) == np.inf
    assert silent_update(n, beta=0.999, gamma=0.9) == 0


def test_worst_case_is_rescaled_before_its_squares_overflow():
    g = worst_case_gradients(500, beta=0.1, gamma=0.9)
    assert g.max() == g[0] == 1
    assert_allclose(g[1:101] / g[:100], 0.1 / 0.9, rtol=1e-12)
    for n in (130, 140, 200):
        assert_allclose(worst_update(n, 0.1, 0.9), D(n, 0.1, 0.9), rtol=1e-11)


@pytest.mark.parametrize(("n", "beta", "gamma"), [(130, 0.1, 0.9), (5000, 0.999, 0.9)])
def test_worst_case_ends_in_one_where_nothing_overflows(n, beta, gamma):
    assert worst_case_gradients(n, beta=beta, gamma=gamma)[-1] == 1


# Shapes

FUNCTIONS = [
    coefficient,
    *[pytest.param(lambda t=t, **at: growth_rate(**at, time=t), id=f"growth_rate-{t}") for t in TIMES],
    *[pytest.param(lambda t=t, **at: stability.is_stable(**at, time=t), id=f"is_stable-{t}") for t in TIMES],
    *[pytest.param(lambda t=t, **at: max_update_bound(7, **at, time=t), id=f"max_update_bound-{t}") for t in TIMES],
    pytest.param(lambda **at: silent_update(7, **at), id="silent_update"),
]
SQUARE = np.array([0.0, 0.25, 0.5, 0.9, 0.999])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_numbers_give_a_number(function):
    assert isinstance(function(beta=0.9, gamma=0.5), float | np.bool_)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_arrays_broadcast_and_agree_with_numbers(function):
    table = function(beta=SQUARE[:, None], gamma=SQUARE)
    assert_allclose(table, [[function(beta=b, gamma=g) for g in SQUARE] for b in SQUARE], rtol=1e-14)
    assert_array_equal(table, function(beta=SQUARE[:, None].tolist(), gamma=SQUARE.tolist()))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_map_of_a_thousand_squared_has_its_shape(function):
    x = np.linspace(0, 0.9999, 1000)
    assert function(beta=x[:, None], gamma=x).shape == (1000, 1000)


@pytest.mark.parametrize("time", TIMES)
def test_boundary_of_a_number_is_a_number_and_of_an_array_an_array(time):
    assert isinstance(stability.boundary(0.5, time=time), float)
    assert stability.boundary(SQUARE[:, None], time=time).shape == (5, 1)


@pytest.mark.parametrize("function", [max_update_bound, silent_update])
def test_iterations_broadcast_with_the_decays(function):
    table = function(np.arange(3)[:, None, None], beta=SQUARE[:, None], gamma=SQUARE)
    assert table.shape == (3, 5, 5)
    for n in range(3):
        assert_array_equal(table[n], function(n, beta=SQUARE[:, None], gamma=SQUARE))


@pytest.mark.parametrize("n", [0, 3, 500])
def test_worst_case_puts_iterations_first(n):
    g = worst_case_gradients(n, beta=SQUARE[:, None], gamma=SQUARE[:4])
    assert g.shape == (n + 1, 5, 4)
    for i, j in np.ndindex(5, 4):
        assert_array_equal(g[:, i, j], worst_case_gradients(n, beta=SQUARE[i], gamma=SQUARE[j]))


# Errors


@pytest.mark.parametrize("value", [1.0, 1.5, -0.1, math.nan])
@pytest.mark.parametrize("name", ["beta", "gamma"])
@pytest.mark.parametrize(
    "function",
    [*FUNCTIONS, pytest.param(lambda **at: worst_case_gradients(7, **at), id="worst_case_gradients"), stability.normal_curve],
)
def test_decay_outside_the_unit_interval_is_named(function, name, value):
    for given_as in (value, [0.5, value, 0.2]):
        with pytest.raises(ValueError, match=rf"^{name} must lie in \[0, 1\), got .*{value}\b"):
            function(**{"beta": 0.5, "gamma": 0.5, name: given_as})


@pytest.mark.parametrize("value", [1.0, -0.1, math.nan])
def test_boundary_checks_gamma(value):
    with pytest.raises(ValueError, match=r"^gamma must lie in \[0, 1\), got ") as error:
        stability.boundary(value)
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("n", [-1, 0.5, math.nan, math.inf])
@pytest.mark.parametrize("function", [max_update_bound, silent_update, worst_case_gradients])
def test_iteration_must_be_a_whole_number(function, n):
    with pytest.raises(ValueError, match=r"^n must be a whole number >= 0, got ") as error:
        function(n, beta=0.9, gamma=0.5)
    assert repr(n) in str(error.value)


def test_bad_iteration_inside_an_array_is_named():
    with pytest.raises(ValueError, match=r"^n must be a whole number >= 0, got .*2\.5"):
        max_update_bound([0, 1, 2.5], beta=0.9, gamma=0.5)


@pytest.mark.parametrize("time", ["Discrete", None])
def test_unknown_time_is_answered_with_the_two_there_are(time):
    for function in (growth_rate, stability.is_stable, lambda **at: max_update_bound(7, **at)):
        with pytest.raises(ValueError, match=rf"^time must be one of discrete, continuous; got {time!r}$"):
            function(beta=0.9, gamma=0.5, time=time)
    with pytest.raises(ValueError, match=rf"^time must be one of discrete, continuous; got {time!r}$"):
        stability.boundary(0.5, time=time)


@pytest.mark.parametrize("num", [0, -3, 1.5, math.nan, True, "64"])
def test_normal_curve_wants_at_least_one_point(num):
    with pytest.raises(ValueError, match=r"^num must be a whole number >= 1, got ") as error:
        stability.normal_curve(num=num)
    assert repr(num) in str(error.value)


def test_normal_curve_starts_from_one_pair():
    with pytest.raises(ValueError, match=r"^beta and gamma must be single numbers, got shapes \(2,\) and \(\)$"):
        stability.normal_curve(beta=[0.5, 0.9], gamma=0.5)
