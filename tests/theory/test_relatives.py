"""The statements of the page on Adam's relatives, each attacked: by search, by PyTorch's own optimizers, on both sides."""

import math

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy.optimize import minimize, minimize_scalar
from tex import rows

from kadam.decay import Decay
from kadam.theory import relatives
from kadam.theory.reference import kadam_updates
from kadam.theory.relatives import ademamix_weights, amsgrad_bound, nadam_limit, nadam_weights, weighted_bound
from kadam.theory.stability import max_update_bound, worst_case_gradients

seeded = settings(derandomize=True, max_examples=60, deadline=None)
betas, gammas = st.floats(0.05, 0.9999), st.floats(0, 0.9999)
sizes = st.floats(1e-3, 1e3)
gradients = arrays(np.float64, st.integers(1, 25), elements=sizes | sizes.map(lambda x: -x) | st.just(0.0), fill=st.nothing())
PAIRS = [(0.999, 0.9), (0.95, 0.9), (0.9, 0.9), (0.9, 0.95), (0.5, 0.9), (0.999, 0.0)]


def average(signal, decay):
    """Bias-corrected averages of a signal after each of its entries."""
    result = []
    for n in range(len(signal)):
        weights = decay ** np.arange(n, -1, -1.0)
        result.append(weights @ signal[: n + 1] / weights.sum())
    return np.array(result)


def torch_updates(g, make):
    """-d theta / lr of a PyTorch optimizer in float64 without eps."""
    theta = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer, updates = make([theta]), []
    for x in g:
        theta.grad = torch.tensor([x], dtype=torch.float64)
        with torch.no_grad():
            theta.zero_()
        optimizer.step()
        updates.append(-theta.item())
    return np.array(updates)


def D(n, beta, gamma):
    return max_update_bound(n, beta=beta, gamma=gamma)


# Any numerator


def quotient(weights, g, beta):
    return weights[::-1] @ g / math.sqrt(average(np.square(g), beta)[-1])


@seeded
@given(g=gradients, beta=betas, data=st.data())
def no_gradients_exceed_it(g, beta, data):
    weights = data.draw(arrays(np.float64, len(g), elements=st.floats(-5, 5)))
    if np.any(g):
        assert abs(quotient(weights, g, beta)) <= weighted_bound(weights, beta=beta) * (1 + 1e-9) + 1e-300


@seeded
@given(weights=arrays(np.float64, st.integers(1, 25), elements=st.sampled_from([-2.0, 0.0, 0.5, 3.0])), beta=betas)
def its_worst_case_attains_it_and_others_do_not(weights, beta):
    if not weights.any():
        return
    worst, bound = relatives.weighted_worst_case(weights, beta=beta), weighted_bound(weights, beta=beta)
    assert np.abs(worst).max() == 1
    assert quotient(weights, worst, beta) == pytest.approx(bound, rel=1e-9)
    heaviest = np.argmax(np.abs(worst * weights[::-1]))
    for factor in (0.5, -1.0):
        changed = worst * np.where(np.arange(len(worst)) == heaviest, factor, 1)
        assert quotient(weights, changed, beta) < bound or np.count_nonzero(worst) == 1


def adams_weights_give_adams_bound():
    for beta, gamma in PAIRS:
        for n in (0, 1, 7, 3000):
            weights = (1 - gamma) * gamma ** np.arange(n + 1.0) / (1 - gamma ** (n + 1))
            assert weighted_bound(weights, beta=beta) == pytest.approx(D(n, beta, gamma), rel=1e-10)


def it_is_finite_in_the_end_exactly_where_the_series_converges():
    """w_k = beta^(k/2)/(k+1)^s: the series of (k+1)^(-2s) converges for s = 0.6 and diverges for s = 0.5."""
    beta, k = 0.9, np.arange(6_000.0)
    for s, bounded in ((0.6, True), (0.5, False), (0.4, False)):
        squares = [
            (weighted_bound((np.exp(k * np.log(beta) / 2) / (k + 1) ** s)[:n], beta=beta)) ** 2 for n in (500, 2000, 6000)
        ]
        assert (np.diff(squares)[1] < 0.9 * np.diff(squares)[0] * math.log(3) / math.log(4)) == bounded


def a_mixture_is_as_bounded_as_its_slowest_part():
    for slow, bounded in ((0.94, True), (0.96, False)):  # beta = 0.9 = 0.9487^2
        early, late = (weighted_bound(ademamix_weights(n, gamma=0.5, slow=slow, alpha=0.1), beta=0.9) for n in (1000, 2000))
        assert (late < 1.001 * early) == bounded


@pytest.mark.parametrize(
    "claim",
    [
        no_gradients_exceed_it,
        its_worst_case_attains_it_and_others_do_not,
        adams_weights_give_adams_bound,
        it_is_finite_in_the_end_exactly_where_the_series_converges,
        a_mixture_is_as_bounded_as_its_slowest_part,
    ],
)
def test_any_numerator_has_its_bound(claim):
    claim()


# NAdam


@pytest.mark.parametrize(("beta", "gamma"), PAIRS)
@pytest.mark.parametrize(("momentum_decay", "torchs"), [(math.inf, 1e9), (0.004, 0.004)], ids=["constant", "schedule"])
def test_pytorchs_nadam_attains_the_bound_and_random_gradients_do_not(beta, gamma, momentum_decay, torchs):
    def make(parameters):
        return torch.optim.NAdam(parameters, lr=1.0, betas=(gamma, beta), eps=0, momentum_decay=torchs)

    for n in (0, 1, 25):
        weights = nadam_weights(n, gamma=gamma, momentum_decay=momentum_decay)
        bound = weighted_bound(weights, beta=beta)
        worst = relatives.weighted_worst_case(weights, beta=beta)
        assert torch_updates(worst, make)[-1] == pytest.approx(bound, rel=1e-6)  # it keeps the product of mu in float32
        noise = np.random.default_rng(n).standard_normal(n + 1)
        assert abs(torch_updates(noise, make)[-1]) <= bound * (1 + 1e-6)


def test_nadams_limit_is_adams_line():
    gamma = np.array([0.3, 0.9])
    for factor in (1.05, 1.5 if gamma.max() < 0.8 else 1.1):
        beta = factor * gamma**2
        for b, g in zip(beta, gamma, strict=True):
            assert weighted_bound(nadam_weights(2000, gamma=g), beta=b) == pytest.approx(nadam_limit(beta=b, gamma=g), rel=1e-9)
    assert np.isinf(nadam_limit(beta=[0.81, 0.8, 0.0], gamma=0.9)).all()
    assert nadam_limit(beta=0.75, gamma=0) == 2
    assert weighted_bound(nadam_weights(4000, gamma=0.9), beta=0.8) > 1e10


def test_nadams_numbers():
    """The limit is not the supremum where the start is larger, nor under PyTorch's schedule, which is slow to end."""
    first = weighted_bound(nadam_weights(0, gamma=0.9), beta=0.999)
    assert first == pytest.approx((1 + 2 * 0.9) / (1 + 0.9), rel=1e-12) == pytest.approx(1.4737, abs=5e-5)
    assert nadam_limit(beta=0.999, gamma=0.9) == pytest.approx(8.415, abs=5e-4)
    assert nadam_limit(beta=0.9, gamma=0.9) == pytest.approx(math.sqrt(1 + 0.9 - 0.81), rel=1e-12)
    assert nadam_limit(beta=0.9, gamma=0.9) < first
    scheduled = {n: weighted_bound(nadam_weights(n, gamma=0.9, momentum_decay=0.004), beta=0.999) for n in range(1880, 1900)}
    worst = max(scheduled, key=scheduled.get)
    assert worst == 1889
    rough = [weighted_bound(nadam_weights(n, gamma=0.9, momentum_decay=0.004), beta=0.999) for n in range(0, 40_000, 400)]
    assert max(rough) < scheduled[worst]
    assert scheduled[worst] == pytest.approx(14.61, abs=5e-3)
    late = weighted_bound(nadam_weights(200_000, gamma=0.9, momentum_decay=0.004), beta=0.999)
    assert late == pytest.approx(nadam_limit(beta=0.999, gamma=0.9), rel=1e-9)


# AdEMAMix


@seeded
@given(g=gradients)
def ademamix_is_the_weighted_sum(g):
    fast, slow, v = 0.0, 0.0, 0.0
    for n, x in enumerate(g):
        fast, slow, v = 0.9 * fast + 0.1 * x, 0.9999 * slow + 0.0001 * x, 0.999 * v + 0.001 * x**2
        numerator = fast / (1 - 0.9 ** (n + 1)) + 5 * slow
    if v > 0:
        u = numerator / math.sqrt(v / (1 - 0.999 ** len(g)))
        assert quotient(ademamix_weights(len(g) - 1), g, 0.999) == pytest.approx(u, rel=1e-9, abs=1e-9)


def its_slow_average_lies_outside_at_rate_0_0004():
    rate = math.log(0.9999) - math.log(0.999) / 2
    assert rate == pytest.approx(0.0004, abs=1e-6)
    late = [weighted_bound(ademamix_weights(n), beta=0.999) for n in (40_000, 41_000)]
    assert math.log(late[1] / late[0]) / 1000 == pytest.approx(rate, rel=1e-3)


def the_numbers_are_the_pages():
    found = [weighted_bound(ademamix_weights(n), beta=0.999) for n in (1_000, 5_000, 10_000, 20_000)]
    assert_allclose(found, [5.86, 8.38, 31.46, 1674], rtol=1e-3)


@pytest.mark.parametrize(
    "claim", [ademamix_is_the_weighted_sum, its_slow_average_lies_outside_at_rate_0_0004, the_numbers_are_the_pages]
)
def test_ademamix_is_outside(claim):
    claim()


# LaProp


def laprop(g, beta, gamma):
    v_hat = average(np.square(g), beta)
    return average(np.divide(g, np.sqrt(v_hat), out=np.zeros_like(v_hat), where=v_hat > 0), gamma)


@seeded
@given(g=gradients, beta=betas, gamma=gammas)
def no_gradients_reach_laprops_supremum(g, beta, gamma):
    bound = [relatives.laprop_bound(n, beta=beta, gamma=gamma) for n in range(len(g))]
    assert (np.abs(laprop(g, beta, gamma)) <= np.array(bound) * (1 + 1e-9)).all()


def steep_gradients_approach_it():
    for beta, gamma in PAIRS:
        for n in (0, 1, 20):
            bound = relatives.laprop_bound(n, beta=beta, gamma=gamma)
            reached = [laprop(steepness ** np.arange(n + 1.0), beta, gamma)[-1] for steepness in (1e2, 1e4, 1e6)]
            assert (np.diff([*reached, bound]) >= -1e-12).all()
            assert reached[-1] == pytest.approx(bound, rel=1e-9)


def it_grows_to_the_same_limit_for_every_gamma():
    gamma = np.array([0.0, 0.5, 0.9, 0.99, 0.999])
    bounds = np.array([relatives.laprop_bound(n, beta=0.99, gamma=gamma) for n in (0, 1, 10, 100, 1000, 12_000)])
    assert (np.diff(bounds, axis=0) > 0).all()
    assert (bounds < 10 + 1e-12).all()
    assert_allclose(bounds[-1], 10, rtol=1e-4)
    assert_allclose(relatives.laprop_bound(50, beta=0, gamma=gamma), 1)


@pytest.mark.parametrize(
    "claim", [no_gradients_reach_laprops_supremum, steep_gradients_approach_it, it_grows_to_the_same_limit_for_every_gamma]
)
def test_laprop_is_bounded_for_every_pair(claim):
    claim()


# AMSGrad


def amsgrad(g, beta, gamma, corrected):
    m_hat, v_hat = average(np.asarray(g), gamma), average(np.square(g), beta)
    kept = 1 - beta ** np.arange(1.0, len(g) + 1)
    v = np.maximum.accumulate(v_hat) if corrected else np.maximum.accumulate(v_hat * kept) / kept
    return np.divide(m_hat, np.sqrt(v), out=np.zeros_like(v), where=v > 0)


@seeded
@given(g=gradients, beta=betas, gamma=gammas, corrected=st.booleans())
def no_gradients_exceed_amsgrads_bound(g, beta, gamma, corrected):
    bound = [amsgrad_bound(n, beta=beta, gamma=gamma, corrected=corrected) for n in range(len(g))]
    assert (np.abs(amsgrad(g, beta, gamma, corrected)) <= np.array(bound) * (1 + 1e-9)).all()


def its_worst_case_attains_amsgrads_bound():
    for beta, gamma in [*PAIRS, (0.9, 0.99), (0.2, 0.9), (0.3, 0.999)]:
        for corrected in (True, False):
            for n in (0, 1, 5, 60):
                worst = relatives.amsgrad_worst_case(n, beta=beta, gamma=gamma, corrected=corrected)
                bound = amsgrad_bound(n, beta=beta, gamma=gamma, corrected=corrected)
                assert amsgrad(worst, beta, gamma, corrected)[-1] == pytest.approx(bound, rel=1e-9)


def a_search_finds_nothing_larger():
    rng = np.random.default_rng(0)
    for beta, gamma, n in ((0.9, 0.99, 3), (0.5, 0.9, 4), (0.2, 0.9, 2)):
        bound = amsgrad_bound(n, beta=beta, gamma=gamma)

        def loss(logs, beta=beta, gamma=gamma):
            return -amsgrad(np.exp(logs), beta, gamma, False)[-1]

        start = np.log(relatives.amsgrad_worst_case(n, beta=beta, gamma=gamma))
        starts = start + 0.3 * rng.normal(size=(4, n + 1))
        found = [-minimize(loss, x, method="Nelder-Mead", options={"maxiter": 1500}).fun for x in starts]
        assert max(found) <= bound * (1 + 1e-9)
        assert max(found) >= bound * (1 - 1e-3)


def pytorchs_amsgrad_takes_the_largest_v_before_its_correction():
    for beta, gamma in [(0.5, 0.9), (0.9, 0.99), (0.999, 0.9)]:

        def make(parameters, betas=(gamma, beta)):
            return torch.optim.Adam(parameters, lr=1.0, betas=betas, eps=0, amsgrad=True)

        g = np.random.default_rng(1).standard_normal(60)
        assert_allclose(torch_updates(g, make), amsgrad(g, beta, gamma, False), rtol=1e-9)
        worst = relatives.amsgrad_worst_case(5, beta=beta, gamma=gamma)
        assert torch_updates(worst, make)[-1] == pytest.approx(amsgrad_bound(5, beta=beta, gamma=gamma), rel=1e-9)


def inside_it_is_adams_and_outside_it_is_about_one():
    for n in (0, 3, 200):
        assert amsgrad_bound(n, beta=0.999, gamma=0.9) == D(n, 0.999, 0.9)
        assert amsgrad_bound(n, beta=0.9, gamma=0.99, corrected=True) == 1
    for (beta, gamma), largest in {(0.9, 0.95): 1.027, (0.9, 0.99): 1.064, (0.5, 0.9): 1.053}.items():
        bounds = [amsgrad_bound(n, beta=beta, gamma=gamma) for n in range(200)]
        assert max(bounds) == pytest.approx(largest, abs=5e-4)
        assert amsgrad_bound(3000, beta=beta, gamma=gamma) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    "claim",
    [
        no_gradients_exceed_amsgrads_bound,
        its_worst_case_attains_amsgrads_bound,
        a_search_finds_nothing_larger,
        pytorchs_amsgrad_takes_the_largest_v_before_its_correction,
        inside_it_is_adams_and_outside_it_is_about_one,
    ],
)
def test_amsgrad_is_bounded_for_every_pair(claim):
    claim()


# Norms


@pytest.mark.parametrize("p", [1, 1.5, 2, 7, math.inf])
def test_the_norm_of_an_update_has_a_sharp_bound(p):
    n, size, beta, gamma = 20, 6, 0.99, 0.9
    bound = relatives.norm_bound(n, size=size, p=p, beta=beta, gamma=gamma)
    worst = np.outer(worst_case_gradients(n, beta=beta, gamma=gamma), [1, -1, 5, 1e-3, 2, -7])
    assert np.linalg.norm(kadam_updates(worst, [Decay(beta=beta, gamma=gamma)])[-1], p) == pytest.approx(bound, rel=1e-12)
    noise = kadam_updates(np.random.default_rng(0).standard_normal((n + 1, 500, size)), [Decay(beta=beta, gamma=gamma)])[-1]
    assert (np.linalg.norm(noise, p, axis=-1) <= bound).all()


# Slowly changing scale


@seeded
@given(x=arrays(np.float64, st.integers(1, 12), elements=st.floats(-1, 1)), beta=betas, gamma=gammas)
def the_derivative_is_the_difference_of_two_averages(x, beta, gamma):
    h, n = 1e-4, len(x) - 1
    up, down = (math.log(kadam_updates(np.exp(s * h * x), [Decay(beta=beta, gamma=gamma)])[-1]) for s in (1, -1))
    assert (up - down) / (2 * h) == pytest.approx(relatives.scale_response(n, beta=beta, gamma=gamma)[::-1] @ x, abs=1e-5)


def it_vanishes_for_equal_decays_alone():
    for n in (1, 5, 50):
        assert not relatives.scale_response(n, beta=0.9, gamma=0.9).any()
        for beta in (0.0, 0.5, 0.89, 0.91, 0.999):
            assert np.abs(relatives.scale_response(n, beta=beta, gamma=0.9)).max() > 1e-4
    assert relatives.scale_response(0, beta=0.5, gamma=0.9)[0] == 0


def for_equal_decays_the_second_order_is_minus_half_the_variance():
    rng, h = np.random.default_rng(0), 1e-3
    for beta in (0.5, 0.9, 0.99):
        x = rng.standard_normal(30)
        weights = beta ** np.arange(29, -1, -1.0)
        weights /= weights.sum()
        variance = weights @ x**2 - (weights @ x) ** 2
        up, down = (math.log(kadam_updates(np.exp(s * h * x), [Decay(beta=beta, gamma=beta)])[-1]) for s in (1, -1))
        assert (up + down) / h**2 == pytest.approx(-variance, rel=1e-3)


def where_gradients_differ_equal_decays_are_not_invariant():
    """Gradients 2, 1 and a change of the newest one's scale: only a constant gradient is safe."""
    pair, h = [Decay(beta=0.9, gamma=0.9)], 1e-6
    up, down = (kadam_updates([2, math.exp(x)], pair)[-1] for x in (h, -h))
    m, v = (0.9 * 2 + 1) / 1.9, (0.9 * 4 + 1) / 1.9
    assert (math.log(up) - math.log(down)) / (2 * h) == pytest.approx((1 / m - 1 / v) / 1.9, rel=1e-6)
    assert abs(1 / m - 1 / v) / 1.9 > 0.1


@pytest.mark.parametrize(
    "claim",
    [
        the_derivative_is_the_difference_of_two_averages,
        it_vanishes_for_equal_decays_alone,
        for_equal_decays_the_second_order_is_minus_half_the_variance,
        where_gradients_differ_equal_decays_are_not_invariant,
    ],
)
def test_the_response_to_a_change_of_scale(claim):
    claim()


@seeded
@given(slope=st.floats(-0.03, 0.5), beta=st.floats(0.05, 0.9), gamma=st.floats(0, 0.9))
def the_steady_update_is_where_the_algorithm_goes(slope, beta, gamma):
    if slope <= max(math.log(max(gamma, 1e-9)), math.log(beta) / 2) / 2:
        return
    g = np.exp(slope * np.arange(-700.0, 1.0))
    reached = kadam_updates(g, [Decay(beta=beta, gamma=gamma)])[-1]
    assert reached == pytest.approx(relatives.steady_update(slope, beta=beta, gamma=gamma), rel=1e-6)


def its_first_order_and_its_maximum_are_those_of_the_page():
    s, beta, gamma = sp.symbols("s beta gamma", positive=True)
    u = (1 - gamma) / (1 - gamma * sp.exp(-s)) * sp.sqrt((1 - beta * sp.exp(-2 * s)) / (1 - beta))
    slope = sp.diff(sp.log(u), s)
    assert sp.simplify(slope.subs(s, 0) - (1 / (1 - beta) - 1 / (1 - gamma))) == 0
    assert sp.simplify(slope.subs(s, sp.log(beta / gamma))) == 0
    limit = (1 - gamma) ** 2 / ((1 - beta) * (1 - gamma**2 / beta))
    assert sp.simplify((u**2).subs(s, sp.log(beta / gamma)) - limit) == 0


def the_largest_steady_update_is_adams_supremum():
    for beta, gamma in ((0.999, 0.9), (0.95, 0.9), (0.9, 0.93)):
        edge = max(math.log(gamma), math.log(beta) / 2)

        def loss(slope, beta=beta, gamma=gamma):
            return -relatives.steady_update(slope, beta=beta, gamma=gamma)

        best = minimize_scalar(loss, bounds=(edge + 1e-9, 2), method="bounded")
        assert -best.fun == pytest.approx(D(10**7, beta, gamma), rel=1e-8)
        assert best.x == pytest.approx(math.log(beta / gamma), abs=1e-3)


def the_response_is_the_window_of_the_box():
    assert relatives.slope_response(beta=0.999, gamma=0.9) == pytest.approx(990, rel=1e-9)
    h = 1e-7
    for beta, gamma in PAIRS[:4]:
        up, down = (relatives.steady_update(x, beta=beta, gamma=gamma) for x in (h, -h))
        assert (up - down) / (2 * h) == pytest.approx(relatives.slope_response(beta=beta, gamma=gamma), rel=1e-4, abs=1e-5)
    assert relatives.slope_response(beta=0.7, gamma=0.7) == 0


@pytest.mark.parametrize(
    "claim",
    [
        the_steady_update_is_where_the_algorithm_goes,
        its_first_order_and_its_maximum_are_those_of_the_page,
        the_largest_steady_update_is_adams_supremum,
        the_response_is_the_window_of_the_box,
    ],
)
def test_a_gradient_that_grows_steadily(claim):
    claim()


# Batch size

HALF_LIFE = 2**19 * math.log(2) / -math.log(0.95)  # beta = 0.95 at half a million tokens


def test_a_larger_batch_crosses_the_line_and_a_smaller_one_does_not():
    for gamma in (0.5, 0.9, 0.95):
        critical = relatives.critical_batch(HALF_LIFE, gamma=gamma)
        for factor, bounded in ((1e-6, True), (0.99, True), (1.01, False), (3, False)):
            beta = relatives.half_life_decay(factor * critical, half_life=HALF_LIFE)
            assert (D(10**9, beta, gamma) < 1.1 * D(10**8, beta, gamma)) == bounded
    assert relatives.critical_batch(1.0, gamma=0) == math.inf


def test_decays_that_are_scaled_alike_never_cross():
    """The momentum's half-life decides, at every batch: below twice that of v all is bounded."""
    batch = np.logspace(-3, 3, 25)
    beta = relatives.half_life_decay(batch, half_life=1.0)
    for ratio, bounded in ((0.1, True), (1.0, True), (1.99, True), (2.01, False), (5.0, False)):
        gamma = relatives.half_life_decay(batch, half_life=ratio)
        fine = (gamma > 0) & (beta > 1e-200)
        assert ((beta > gamma**2)[fine] == bounded).all()
    q = 3.0
    small = {"beta": relatives.half_life_decay(1e-5, half_life=q), "gamma": relatives.half_life_decay(1e-5, half_life=1.0)}
    assert D(10**8, **small) == pytest.approx(math.sqrt(q**2 / (2 * q - 1)), rel=1e-4)


def test_the_numbers_of_the_section_on_batches():
    assert pytest.approx(7.08e6, rel=1e-3) == HALF_LIFE
    assert relatives.critical_batch(1.0, gamma=0.9) == pytest.approx(0.304, abs=5e-4)
    assert relatives.critical_batch(1.0, gamma=0.95) == pytest.approx(0.148, abs=5e-4)
    assert relatives.critical_batch(HALF_LIFE, gamma=0.9) == pytest.approx(2.15e6, rel=3e-3)
    for batch, beta, fixed, scaled in rows("relatives", "tokens in a batch"):
        tokens = int(batch.replace(",", ""))
        b = relatives.half_life_decay(tokens, half_life=HALF_LIFE)
        g = 0.9 ** (tokens / 2**19)
        assert f"{b:.4f}" == beta
        assert fixed == ("infinite" if b <= 0.81 else f"{D(10**8, b, 0.9):.3f}")
        assert scaled == f"{D(10**8, b, g):.3f}"


def test_the_table_of_relatives():
    table = {row[0]: row[-1] for row in rows("relatives", "optimizer")}
    at = {"beta": 0.999, "gamma": 0.9}
    assert f"{D(10**7, **at):.2f}" in table["Adam"]
    assert f"{max(amsgrad_bound(n, **at) for n in (10, 20_000)):.2f}" in table["AMSGrad"]
    assert f"{1 / math.sqrt(0.001):.2f}" in table["LaProp"]
    assert f"{nadam_limit(**at):.2f}" in table["NAdam, constant momentum"]
    assert "14.61" in table["NAdam, PyTorch's schedule"]
    assert "infinite" in table["AdEMAMix, slow decay 0.9999"]
