"""The theory of continuous time and of scale invariance at every kind of argument and of function."""

import math
from fractions import Fraction

import numpy as np
from fuzzing import (
    Refused,
    answer,
    anything,
    as_float,
    everyday_decays,
    everyday_rates,
    fuzz,
    is_count,
    is_finite_number,
    is_rate,
    numbers,
    rates,
    refuses,
)
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from kadam import Decay
from kadam.theory import invariance
from kadam.theory.exponential import phi
from kadam.theory.flow import Diverged, adam, adam_flow, lead, update_bound
from kadam.theory.neighbours import classical_limit, integral_model, paper_flow_in_time
from kadam.theory.reference import kadam_updates

DIVERGES = (ValueError, TypeError, Diverged)  # the message of the last begins with the step
MOMENTUM = Decay(beta=0.99, gamma=0.9)

# Adam and its flows


etas = st.floats(-6, 0).map(lambda e: 10.0**e)
weight_decays = st.just(0.0) | st.floats(0, 0.9)
points = st.lists(st.floats(-10, 10).map(lambda x: round(x, 6)), min_size=1, max_size=3)
flows = st.sampled_from([adam, adam_flow, classical_limit, lambda *a, **k: adam_flow(*a, **k, order=1)])


def quadratic(theta):
    return np.arange(1.0, len(theta) + 1) * theta


@fuzz(theta=points, decay=everyday_decays, eta=etas, weight_decay=weight_decays, steps=st.integers(1, 10))
def test_adam_is_the_references_update_at_its_own_gradients(theta, decay, eta, weight_decay, steps):
    path = adam(quadratic, theta, decay=decay, eta=eta, steps=steps, weight_decay=weight_decay)
    u = kadam_updates([quadratic(x) for x in path[:-1]], [decay])
    moved = path[:-1] * (1 - eta * weight_decay) - eta * u
    assert_allclose(path[1:], moved, rtol=1e-12, atol=1e-12 * (1 + abs(u).max()))


@fuzz(
    flow=flows,
    size=st.floats(-140, 140).map(lambda e: 10.0**e),
    theta=points,
    decay=everyday_decays,
    eta=etas,
    weight_decay=weight_decays,
    steps=st.integers(1, 5),
)
def test_a_constant_gradient_of_any_size_is_followed_at_speed_one(flow, size, theta, decay, eta, weight_decay, steps):
    """Only the flows decay weights between two steps, and only the paper's equation has an inertia."""
    path = flow(lambda x: np.full_like(x, size), theta, decay=decay, eta=eta, steps=steps, weight_decay=weight_decay)
    assert path.shape == (steps + 1, len(theta))
    expected = [np.array(theta)]
    for _ in range(steps):
        expected.append(expected[-1] * (1 - eta * weight_decay) - eta)
    allowed = eta * (2 + 10 * max(map(abs, theta)) * weight_decay) if flow is not adam else 1e-12
    assert_allclose(path, expected, rtol=1e-12, atol=1e-9 + (steps if flow is not adam else 1) * allowed)


@fuzz(theta=points, decay=everyday_decays, eta=etas, weight_decay=weight_decays)
def test_the_second_order_flow_ends_where_adam_does_with_a_constant_gradient(theta, decay, eta, weight_decay):
    problem = {"decay": decay, "eta": eta, "steps": 6, "weight_decay": weight_decay}
    discrete, flow = (f(lambda x: np.ones_like(x), theta, **problem) for f in (adam, adam_flow))
    assert_allclose(flow, discrete, rtol=0, atol=1e-4 * eta * (1 + max(map(abs, theta))))


@fuzz(theta=points, decay=everyday_decays, eta=etas, steps=st.integers(1, 5), size=st.floats(-140, 140).map(lambda e: 10.0**e))
def test_the_integral_model_is_finite_whatever_the_gradient_and_the_decays(theta, decay, eta, steps, size):
    """A constant gradient is followed at about speed one but for a start that beta near 0 makes fast."""
    call = {"decay": decay, "eta": eta, "steps": steps}
    if decay.beta == 0:
        assert refuses(lambda: integral_model(quadratic, theta, **call), "decay must have beta > 0")
        return
    path = integral_model(lambda x: np.full_like(x, size), theta, **call)
    moved = (path[0] - path[-1]) / eta
    fastest = 2 * math.sqrt(steps) + steps / math.sqrt(1 - math.exp(decay.beta - 1))  # of 1 over the root of v's share
    assert (moved >= -1e-9).all()
    assert (moved <= fastest + 1e-6 * max(map(abs, theta)) / eta).all()


@fuzz(s=anything | st.floats(0), beta=anything | rates, gamma=anything | rates)
def test_the_bound_of_the_flow_is_a_number_above_zero_or_an_argument_is_named(s, beta, gamma):
    try:
        bound = answer(lambda: update_bound(s, beta=beta, gamma=gamma), "s must", "beta", "gamma", "broadcast")
    except Refused:
        return
    assert (np.asarray(bound) >= 0).all()
    assert np.shape(bound) == np.broadcast_shapes(np.shape(s), np.shape(beta), np.shape(gamma))


@fuzz(s=st.floats(0, 1e6), beta=everyday_rates, gamma=everyday_rates)
def test_the_bound_of_the_flow_is_at_least_the_speed_of_a_constant_gradient(s, beta, gamma):
    assert update_bound(s, beta=beta, gamma=gamma) >= 1 - 1e-9


returned = st.one_of(
    anything,
    st.lists(st.floats(), min_size=2, max_size=2),
    arrays(np.float64, st.sampled_from([(), (1,), (2,), (2, 1), (3,)]), elements=st.floats()),
    st.sampled_from([np.array(["a", "b"]), np.array([1j, 2j]), np.array([1, 2]), np.array([None, 1.0]), [1, [2]]]),
)


@fuzz(flow=flows, value=returned)
def test_what_a_gradient_returns_is_a_finite_vector_or_refused(flow, value):
    try:
        path = answer(
            lambda: flow(lambda x: value, [1.0, -1.0], decay=MOMENTUM, eta=0.01, steps=3), "grad", "step ", errors=DIVERGES
        )
    except Refused:
        return
    assert np.shape(value) == (2,)
    assert path.shape == (4, 2)
    assert np.isfinite(path).all()


@fuzz(value=returned)
def test_what_a_product_with_the_hessian_returns_is_a_finite_vector_or_refused(value):
    def flow():
        return adam_flow(quadratic, [1.0, -1.0], decay=MOMENTUM, eta=0.01, steps=2, jvp=lambda x, v: value)

    try:
        path = answer(flow, "jvp", "step ", errors=DIVERGES)
    except Refused:
        return
    assert np.shape(value) == (2,)
    assert np.isfinite(path).all()


@fuzz(
    flow=flows,
    name=st.sampled_from(["grad", "theta0", "decay", "eta", "steps", "weight_decay"]),
    value=anything | st.lists(anything, max_size=2),
)
def test_an_argument_of_a_flow_is_answered_or_named(flow, name, value):
    good = {"grad": quadratic, "theta0": [1.0], "decay": MOMENTUM, "eta": 0.01, "steps": 2, "weight_decay": 0.1}
    if name == "steps" and as_float(value) > 1e4:
        return
    try:
        path = answer(lambda: flow(**{**good, name: value}), name, "step ", errors=DIVERGES)
    except Refused as refused:
        beyond = isinstance(refused.__cause__, Diverged) or (name in ("eta", "weight_decay") and as_float(value) >= 10)
        assert beyond or not is_argument(name, value)
        return
    assert is_argument(name, value)
    assert np.isfinite(path).all()


def is_argument(name, value):
    if name == "theta0":
        return isinstance(value, list | np.ndarray) and len(value) > 0 and all(math.isfinite(as_float(x)) for x in value)
    if name == "steps":
        return is_count(value, most=2**53 - 1)
    return name in ("eta", "weight_decay") and is_finite_number(value, above=0.0 if name == "eta" else None)


@fuzz(order=anything, substeps=anything | st.integers(-2, 9))
def test_order_and_substeps_are_answered_or_named(order, substeps):
    if as_float(substeps) > 1e4:
        return
    allowed = is_count(order, most=2) and is_count(substeps, most=2**53 - 1)
    call = {"decay": MOMENTUM, "eta": 0.01, "steps": 1}
    assert refuses(lambda: adam_flow(quadratic, [1.0], **call, order=order, substeps=substeps), "order", "substeps") != allowed
    assert refuses(lambda: classical_limit(quadratic, [1.0], **call, substeps=substeps), "substeps") != is_count(
        substeps, most=2**53 - 1
    )


@fuzz(p=numbers | st.floats(-1, 2) | anything, rtol=st.just(1e-6) | anything, size=st.sampled_from([0.0, 1e-300, 1.0, 1e300]))
def test_the_equation_in_its_own_time_is_the_flow_of_order_one_or_refused(p, rtol, size):
    problem = {"decay": MOMENTUM, "eta": 0.01, "steps": 3}

    def grad(theta):
        return size * theta

    try:
        path = answer(
            lambda: paper_flow_in_time(grad, [1.0], **problem, p=p, rtol=rtol), "p must", "rtol", "step ", errors=DIVERGES
        )
    except Refused:
        usual = 0 <= as_float(p) <= 2 and 1e-13 <= as_float(rtol) < 1
        assert not usual or size in (1e-300, 1e300)
        return
    if as_float(rtol) <= 1e-3 and size != 1e-300:
        assert_allclose(path, adam_flow(grad, [1.0], **problem, order=1), rtol=100 * as_float(rtol) + 1e-6)


@fuzz(x=rates)
def test_the_lead_lies_between_minus_one_half_and_zero(x):
    assert -0.5 <= lead(x) <= 0
    if x > 0.9:
        assert_allclose(lead(x), math.log(x) / 12, rtol=1e-2)


@fuzz(z=st.floats(-1e3, 700) | anything | st.lists(st.floats(-5, 5), max_size=3))
def test_phi_obeys_its_recursion_or_refuses(z):
    """z phi_(k+1) = phi_k - 1/k!, from phi_0 = e^z; next to 0 by the first terms."""
    try:
        one, two, three = answer(lambda: phi(z), "z must")
    except Refused:
        assert not is_finite_number(abs(as_float(z))) or as_float(z) > 700
        return
    x = np.array(z, dtype=float)
    assert one.shape == two.shape == three.shape == x.shape
    for phi_k, before, factorial in ((one, np.exp(x), 1), (two, one, 1), (three, two, 2)):
        assert_allclose(x * phi_k, before - 1 / factorial, rtol=1e-12, atol=1e-14)
    assert_allclose(np.where(abs(x) < 1e-3, three, 1 / 6), 1 / 6, rtol=1e-3)


# Scale invariance


small = st.floats(1e-6, 0.5)
series = st.lists(st.floats(0, 1e3) | st.sampled_from([0.0, 5e-324, 1e100]), max_size=6)


@fuzz(shape=st.tuples(st.integers(0, 4), st.integers(0, 3)), eta=small, weight_decay=weight_decays, data=st.data())
def test_the_terms_of_the_norm_add_up_to_the_next_one(shape, eta, weight_decay, data):
    w, u = (data.draw(arrays(np.float64, shape, elements=st.floats(-1e6, 1e6))) for _ in range(2))
    terms = invariance.norm_terms(w, u, eta=eta, weight_decay=weight_decay)
    E, L = Fraction(eta), Fraction(weight_decay)
    for i, row in enumerate(zip(w, u, strict=True)):
        moved = [(1 - E * L) * Fraction(a) - E * Fraction(b) for a, b in zip(*row, strict=True)]
        size = sum(abs(term[i]) for term in terms)
        assert abs(sum(term[i] for term in terms) - float(sum(x * x for x in moved))) <= 1e-13 * size + 1e-300


@fuzz(start=st.floats(0, 1e6), squares=series, eta=small, gamma=everyday_rates, weight_decay=weight_decays)
def test_the_laws_of_the_norm_are_their_recursions(start, squares, eta, gamma, weight_decay):
    corrected = invariance.corrected_norm(start, squares, eta=eta, gamma=gamma, weight_decay=weight_decay)
    paper = invariance.paper_norm(start, squares, eta=eta, weight_decay=weight_decay)
    cross = invariance.cross_term(squares, eta=eta, gamma=gamma, weight_decay=weight_decay)
    law = invariance.NormLaw(start, eta=eta, gamma=gamma, weight_decay=weight_decay)
    steps = [(law.advance(square), law.cross) for square in squares]
    scale = 1 + start + sum(squares)
    assert corrected.shape == paper.shape == (len(squares) + 1,)
    assert_allclose(corrected[1:], [norm for norm, _ in steps], rtol=1e-9, atol=1e-10 * scale)
    assert_allclose(cross, [c for _, c in steps], rtol=1e-9, atol=1e-10 * scale)
    norm = start
    for n, square in enumerate(squares):
        grown = -math.expm1(-2 * eta * weight_decay) / (2 * weight_decay) if weight_decay > 1e-300 else eta
        norm = math.exp(-2 * eta * weight_decay) * norm + eta * grown * square
        assert_allclose(paper[n + 1], norm, rtol=1e-9, atol=1e-300)


@fuzz(squares=series, eta=small, gamma=everyday_rates, weight_decay=weight_decays, data=st.data())
def test_the_parts_of_the_norm_are_all_of_it(squares, eta, gamma, weight_decay, data):
    of_one_length = st.lists(st.floats(-1e3, 1e3), min_size=len(squares), max_size=len(squares))
    cross, inner = data.draw(of_one_length), data.draw(of_one_length)
    parts = invariance.norm_parts(cross, squares, inner, eta=eta, gamma=gamma, weight_decay=weight_decay)
    norm, q = 0.0, 1 - eta * weight_decay
    for n, (x, square) in enumerate(zip(cross, squares, strict=True)):
        norm = q**2 * norm - 2 * eta * q * x + eta**2 * square
        size = 1 + sum(abs(part[: n + 2]).max() for part in parts)
        assert abs(sum(part[n + 1] for part in parts) - norm) <= 1e-10 * size


@fuzz(square=st.floats(1e-10, 1e10), eta=etas, weight_decay=st.floats(-12, 0).map(lambda e: 0.9 * 10**e), gamma=everyday_rates)
def test_equilibrium_is_the_formula_without_cancellation(square, eta, weight_decay, gamma):
    rates = {"eta": eta, "weight_decay": weight_decay}
    E, G, q = Fraction(eta), Fraction(gamma), 1 - Fraction(eta) * Fraction(weight_decay)
    norm = float(E**2 * Fraction(square) * (1 + G * q) / ((1 - G * q) * (1 - q**2)))
    assert_allclose(invariance.equilibrium_norm(square, **rates, gamma=gamma), norm, rtol=1e-11)
    half_sine_squared = float((1 - G) * (1 - q) / (2 * (1 + G * q)))
    assert_allclose(math.sin(invariance.rotation_per_step(**rates, gamma=gamma) / 2) ** 2, half_sine_squared, rtol=1e-11)
    of_decay, of_momentum = -0.5 / math.log1p(-eta * weight_decay), -1 / math.log(gamma) if gamma else 0.0
    assert_allclose(invariance.equilibrium_time(**rates), of_decay, rtol=1e-13)
    assert_allclose(invariance.equilibrium_time(**rates, gamma=gamma), max(of_decay, of_momentum), rtol=1e-13)
    cosine = invariance.equilibrium_cosine(**rates, gamma=gamma)
    assert -gamma <= cosine <= 0
    assert_allclose(cosine**2, float(G**2 * (1 - q**2) / (1 - G**2 * q**2)), rtol=1e-11)
    ratio = invariance.steady_ratio(square, **rates, gamma=gamma)
    assert_allclose(ratio**2, float((1 - q**2) * (1 - G * q) / ((1 + G * q) * E**2 * Fraction(square))), rtol=1e-11)
    bound = invariance.largest_cross(square, **rates, gamma=gamma)
    assert_allclose(bound, float(E * G * Fraction(square) / (1 - G * q)), rtol=1e-11)
    assert_allclose(invariance.growth_factor(gamma), float((1 + G) / (1 - G)), rtol=1e-11)


@fuzz(gamma=everyday_rates, rho=st.floats(-1, 1))
def test_the_share_of_the_update_is_the_formula_between_its_ends(gamma, rho):
    G, R = Fraction(gamma), Fraction(rho)
    share = invariance.update_share(gamma, rho)
    assert_allclose(share, float((1 - G) * (1 + G * R) / ((1 + G) * (1 - G * R))), rtol=1e-11)
    assert invariance.update_share(gamma, -1) * (1 - 1e-12) <= share <= 1 + 1e-12


@fuzz(
    squares=st.lists(st.floats(0, 1e3), max_size=6), eta=small, gamma=everyday_rates, weight_decay=weight_decays, data=st.data()
)
def test_with_a_changing_second_moment_the_cross_term_is_its_recursion(squares, eta, gamma, weight_decay, data):
    moments = data.draw(st.lists(st.floats(1e-6, 1e6), min_size=len(squares), max_size=len(squares)))
    cross = invariance.cross_term(squares, eta=eta, gamma=gamma, weight_decay=weight_decay, second_moments=moments)
    x = 0.0
    for n in range(1, len(squares)):
        r = gamma * (1 - gamma**n) / (1 - gamma ** (n + 1))
        x = r * math.sqrt(moments[n - 1] / moments[n]) * ((1 - eta * weight_decay) * x - eta * squares[n - 1])
        assert_allclose(cross[n], x, rtol=1e-9)


magnitudes = st.floats(-150, 150).map(lambda e: 10.0**e)


@fuzz(scale=magnitudes, other=magnitudes, n=st.integers(1, 4), data=st.data())
def test_the_effective_update_is_orthogonal_at_every_scale(scale, other, n, data):
    unit = arrays(np.float64, n, elements=st.floats(0.01, 1) | st.floats(-1, -0.01))
    w, u = data.draw(unit), data.draw(unit)
    try:
        moved = answer(lambda: invariance.effective_update(scale * w, other * u), "float64", errors=FloatingPointError)
    except Refused:
        assert other / scale > 1e290 or np.isinf(other / scale)
        return
    expected = invariance.effective_update(w, u) * (other / scale)
    assert_allclose(moved, expected, rtol=1e-9, atol=1e-12 * other / scale)
    assert abs(np.sum(moved * w)) <= 1e-11 * other / scale


CALLS = {
    "eta": [
        lambda x: invariance.norm_terms([[1.0]], [[1.0]], eta=x),
        lambda x: invariance.paper_norm(1.0, [1.0], eta=x),
        lambda x: invariance.corrected_norm(1.0, [1.0], eta=x, gamma=0.5),
        lambda x: invariance.NormLaw(1.0, eta=x, gamma=0.5),
        lambda x: invariance.norm_parts([1.0], [1.0], [1.0], eta=x, gamma=0.5),
        lambda x: invariance.equilibrium_time(eta=x, weight_decay=0.5),
        lambda x: invariance.equilibrium_cosine(eta=x, weight_decay=0.5, gamma=0.5),
        lambda x: invariance.steady_ratio(eta=x, weight_decay=0.5),
        lambda x: invariance.largest_cross(1.0, eta=x, gamma=0.5),
    ],
    "gamma": [
        invariance.growth_factor,
        lambda x: invariance.cross_term([1.0, 2.0], eta=0.1, gamma=x),
        lambda x: invariance.momentum_cross([1.0, 2.0], eta=0.1, gamma=x),
        lambda x: invariance.NormLaw(1.0, eta=0.1, gamma=x),
        lambda x: invariance.norm_parts([1.0], [1.0], [1.0], eta=0.1, gamma=x),
        lambda x: invariance.rotation_per_step(eta=0.1, weight_decay=0.5, gamma=x),
        lambda x: invariance.equilibrium_time(eta=0.1, weight_decay=0.5, gamma=x),
        lambda x: invariance.equilibrium_cosine(eta=0.1, weight_decay=0.5, gamma=x),
        lambda x: invariance.steady_ratio(eta=0.1, weight_decay=0.5, gamma=x),
        lambda x: invariance.largest_cross(1.0, eta=0.1, gamma=x),
        invariance.update_share,
    ],
    "correlation": [lambda x: invariance.update_share(0.5, x)],
    "share": [lambda x: invariance.steady_ratio(x, eta=0.1, weight_decay=0.5)],
    "second_moments": [lambda x: invariance.cross_term([1.0, 2.0], eta=0.1, gamma=0.5, second_moments=x)],
    "start": [
        lambda x: invariance.paper_norm(x, [1.0], eta=0.1),
        lambda x: invariance.corrected_norm(x, [1.0], eta=0.1, gamma=0.5),
        lambda x: invariance.NormLaw(x, eta=0.1, gamma=0.5),
    ],
    "square": [
        lambda x: invariance.NormLaw(1.0, eta=0.1, gamma=0.5).advance(x),
        lambda x: invariance.equilibrium_norm(x, eta=0.1, weight_decay=0.5),
        lambda x: invariance.largest_cross(x, eta=0.1, gamma=0.5),
        lambda x: invariance.paper_norm(1.0, [x], eta=0.1),
        lambda x: invariance.cross_term(x, eta=0.1, gamma=0.5),
    ],
    "weight": [
        lambda x: invariance.norm_terms(x, [[1.0]], eta=0.1),
        lambda x: invariance.effective_update(x, [1.0, 2.0]),
        lambda x: invariance.paper_norm(1.0, [1.0], eta=0.1, weight_decay=x),
        lambda x: invariance.equilibrium_time(eta=0.1, weight_decay=x),
    ],
    "update": [lambda x: invariance.norm_terms([[1.0]], x, eta=0.1), lambda x: invariance.effective_update([1.0, 2.0], x)],
}


@fuzz(name=st.sampled_from(list(CALLS)), which=st.integers(0, 10), value=anything | rates)
def test_an_argument_of_the_laws_is_answered_finitely_or_named(name, which, value):
    call = CALLS[name][which % len(CALLS[name])]
    try:
        result = answer(lambda: call(value), name, "float64", errors=(ValueError, TypeError, FloatingPointError))
    except Refused:
        assert name not in ("gamma", "start") or not is_rate(value)
        return
    if not isinstance(result, invariance.NormLaw):
        assert all(np.isfinite(part).all() for part in (result if isinstance(result, tuple) else [result]))


# What fuzzing found, each as it was found


def test_the_lead_of_a_long_memory_is_no_noise():
    """The two terms of 1 - 1e-15 are 1e15 each."""
    assert_allclose(lead(1 - 1e-15), -1e-15 / 12, rtol=0.2)


def test_equilibria_of_a_tiny_decay_are_there():
    """1 - eta * weight_decay is 1 in float64: two functions divided by zero, and the rotation was 0."""
    tiny = {"eta": 1e-10, "weight_decay": 1e-10}
    assert_allclose(invariance.equilibrium_norm(1.0, **tiny), 0.5, rtol=1e-12)
    assert_allclose(invariance.equilibrium_time(**tiny), 0.5e20, rtol=1e-12)
    assert_allclose(invariance.rotation_per_step(**tiny), math.sqrt(2e-20), rtol=1e-12)


def test_a_weight_whose_square_underflows_has_a_direction():
    assert_allclose(invariance.effective_update([1e-200, 0.0], [0.0, 1e-200]), [0, 1])


def test_results_beyond_float64_are_an_error_and_neither_infinite_nor_nan():
    call = {"eta": 1e5, "weight_decay": 1e5}
    assert refuses(lambda: invariance.paper_norm(1.0, [1e150] * 5, eta=1e50), "", errors=FloatingPointError) is False
    assert refuses(lambda: invariance.corrected_norm(1.0, [1.0] * 50, gamma=0.9, **call), "float64", errors=FloatingPointError)


def test_powers_of_eta_that_leave_float64_are_refused():
    for p in (1e3, -1e3, 1e308):
        problem = {"decay": MOMENTUM, "eta": 0.01, "steps": 2}
        assert refuses(lambda p=p, problem=problem: paper_flow_in_time(quadratic, [1.0], **problem, p=p), "p must")


def test_the_equation_in_its_own_time_says_where_a_gradient_at_the_start_is_none():
    call = {"decay": MOMENTUM, "eta": 0.01, "steps": 2}
    assert refuses(lambda: paper_flow_in_time(lambda x: x * math.nan, [1.0], **call), "step 0", errors=Diverged)


def test_counts_too_large_for_a_float_are_refused_by_name():
    for name in ("steps", "substeps"):
        call = {"decay": MOMENTUM, "eta": 0.01, "steps": 1, name: 10**400}
        assert refuses(lambda call=call: adam_flow(quadratic, [1.0], **call), name)


def test_phi_ends_where_the_exponential_does():
    for z in (800.0, math.inf, math.nan):
        assert refuses(lambda z=z: phi(z), "z must")
