"""The theory's public functions at every kind of argument: the right answer, or an error that names the argument."""

import json
import math
from decimal import MAX_EMAX, Context, Decimal
from fractions import Fraction

import numpy as np
from fuzzing import (
    BELOW_ONE,
    EXACT,
    SMALL,
    TINY,
    Refused,
    answer,
    anything,
    as_float,
    decays,
    exact,
    fuzz,
    is_count,
    is_rate,
    rates,
    refuses,
    strategies,
)
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, mutually_broadcastable_shapes
from numpy.testing import assert_allclose

from kadam import Decay, stages
from kadam.advice import advise
from kadam.decay import STRATEGIES
from kadam.theory import box, stability
from kadam.theory.reference import kadam_moments, kadam_updates
from kadam.theory.stability import max_update_bound, silent_update, worst_case_gradients

LOG = Context(prec=60, Emin=-MAX_EMAX, Emax=MAX_EMAX)
EPS = 2**-52
TINIEST = 1e-323
times = st.sampled_from(["discrete", "continuous"])
iterations = st.integers(0, 40) | st.sampled_from([10**3, 10**6])


def log(x):
    """ln of an exact number of any size; -inf at 0."""
    return float(LOG.ln(x)) if x else -math.inf


def assert_same_log(actual, expected, tolerance):
    """``actual``, a float64 >= 0, is the exact number to a relative tolerance, as far as float64 reaches."""
    ours = math.log(actual) if actual > 0 else -math.inf
    lowest, highest = math.log(2.3e-308), math.log(1.7e308)
    clipped = [min(max(x, lowest), highest) for x in (ours, log(expected))]
    assert abs(clipped[0] - clipped[1]) <= tolerance, (actual, expected)


def sizes_of_logs(*rates):
    return sum(abs(math.log(x)) for x in rates if x > 0)


# Decay rates and stages


@fuzz(beta=anything, gamma=anything)
def test_a_decay_is_a_pair_of_floats_in_the_unit_square_or_refused(beta, gamma):
    try:
        decay = answer(lambda: Decay(beta=beta, gamma=gamma), "gamma" if is_rate(beta) else "beta")
    except Refused:
        assert not (is_rate(beta) and is_rate(gamma))
        return
    assert (type(decay.beta), type(decay.gamma)) == (float, float)
    assert (decay.beta, decay.gamma) == (as_float(beta), as_float(gamma))
    assert is_rate(decay.beta)
    assert is_rate(decay.gamma)


@fuzz(pair=st.tuples(anything, anything) | st.lists(rates, max_size=3) | anything)
def test_pytorchs_pair_is_swapped_or_refused(pair):
    try:
        decay = answer(lambda: Decay.from_betas(pair), "beta1", "beta2", "betas")
    except Refused:
        assert not (isinstance(pair, list | tuple | np.ndarray) and len(pair) == 2 and all(map(is_rate, pair)))
        return
    assert decay.betas == (decay.gamma, decay.beta) == tuple(map(as_float, pair))


def exact_stage(x, k, strategy):
    """x_i of the table of :func:`kadam.stages`, i > 1 where the stages differ."""
    X = exact(x)
    if strategy == "scaled":
        return EXACT.divide(X, EXACT.add(X, EXACT.multiply(k, EXACT.subtract(1, X))))
    root = EXACT.divide(Decimal(1), Decimal(k))
    if strategy == "root":
        return EXACT.power(X, root) if X else X
    return EXACT.subtract(1, EXACT.power(EXACT.subtract(1, X), root)) if strategy == "inverse_exp" else X


@fuzz(decay=decays, k=st.integers(2, 12) | st.integers(2, 10**6), strategy=strategies)
def test_a_stage_is_the_tables_to_the_last_digits_or_is_refused_where_it_rounds_to_one(decay, k, strategy):
    expected = {name: float(exact_stage(getattr(decay, name), k, strategy)) for name in ("beta", "gamma")}
    if strategy == "meta":
        expected["gamma"] = 0.0
    try:
        last = answer(lambda: stages(decay, k, strategy)[-1], "beta", "gamma")
    except Refused:
        assert max(expected.values()) >= 1 - 2 * EPS
        return
    for name, x in expected.items():
        rounding = 4 * EPS * (1 + sizes_of_logs(getattr(decay, name)))
        assert_allclose(getattr(last, name), x, rtol=rounding, atol=TINIEST)


@fuzz(decay=decays | anything, k=anything | st.integers(), strategy=strategies | st.text() | anything)
def test_stages_are_k_pairs_or_refused(decay, k, strategy):
    known = isinstance(strategy, str) and strategy in STRATEGIES
    allowed = isinstance(decay, Decay) and is_count(k, most=10**6) and known
    try:
        result = answer(lambda: stages(decay, k, strategy), "decay", "k must", "strategy", "beta", "gamma")
    except Refused:
        rounded = allowed and max(decay.beta, decay.gamma) > 1 - 1e-9
        assert not allowed or rounded or strategy == "root"
        return
    assert allowed
    assert [type(pair) for pair in result] == [Decay] * k


# Regions and rates


def exact_boundary(gamma, time):
    return Fraction(gamma) ** 2 if time == "discrete" else Fraction(gamma) / (2 - Fraction(gamma))


@fuzz(beta=rates, gamma=rates)
def test_the_coefficient_is_the_papers_formula(beta, gamma):
    C = stability.coefficient(beta=beta, gamma=gamma)
    if beta == 0 or gamma == 0:
        assert math.isinf(C)
        assert (C > 0) == (gamma == 0)
        return
    forth, back = 2 * (1 - Fraction(gamma)) / Fraction(gamma), (1 - Fraction(beta)) / Fraction(beta)
    if abs(forth - back) > Fraction(1.7e308):
        assert abs(C) > 1.7e308
        assert (C > 0) == (forth > back)
    else:
        assert abs(Fraction(C) - (forth - back)) <= 4 * Fraction(EPS) * (forth + back)


@fuzz(gamma=rates, time=times)
def test_the_boundary_is_the_formula(gamma, time):
    assert_allclose(stability.boundary(gamma, time=time), float(exact_boundary(gamma, time)), rtol=4 * EPS, atol=TINIEST)


@fuzz(beta=rates, gamma=rates, time=times, nudge=st.none() | st.integers(-3, 3))
def test_a_pair_is_stable_exactly_above_the_boundary(beta, gamma, time, nudge):
    """Also for a beta that is a few floats away from it, or on it to rounding, where either answer will do."""
    edge = exact_boundary(gamma, time)
    if nudge is not None:
        beta = min(max(float(edge) + nudge * float(np.spacing(float(edge))), 0.0), 1 - EPS)
    distance = Fraction(beta) - edge
    if gamma > 0 and abs(distance) <= 2 * Fraction(float(np.spacing(float(edge)))):
        return
    assert stability.is_stable(beta=beta, gamma=gamma, time=time) == (gamma == 0 or distance > 0)


@fuzz(beta=rates, gamma=rates)
def test_growth_is_the_exact_rate_below_the_boundary_and_zero_above(beta, gamma):
    rate = stability.growth_rate(beta=beta, gamma=gamma)
    if beta == 0 or gamma == 0:
        assert rate == (math.inf if beta == 0 < gamma else 0.0)
        return
    expected = LOG.subtract(LOG.ln(exact(gamma)), LOG.divide(LOG.ln(exact(beta)), 2))
    assert rate >= 0
    assert_allclose(rate, max(float(expected), 0.0), rtol=0, atol=4 * EPS * sizes_of_logs(beta, gamma))


@fuzz(beta=rates, gamma=rates)
def test_the_papers_growth_is_half_of_the_coefficient(beta, gamma):
    rate, C = stability.growth_rate(beta=beta, gamma=gamma, time="continuous"), stability.coefficient(beta=beta, gamma=gamma)
    assert rate == max(-C / 2, 0) or 0 <= rate <= EPS


# Bounds


def exact_bias_correction(n, beta, gamma):
    one_minus = [EXACT.subtract(1, EXACT.power(exact(x), n + 1)) for x in (beta, gamma)]
    return EXACT.divide(EXACT.sqrt(one_minus[0]), one_minus[1])


def exact_first_update(n, beta, gamma):
    """What a gradient of n steps ago is worth, but for (gamma / sqrt(beta))^n."""
    weight = EXACT.divide(EXACT.subtract(1, exact(gamma)), EXACT.sqrt(EXACT.subtract(1, exact(beta))))
    return EXACT.multiply(exact_bias_correction(n, beta, gamma), weight)


def exact_geometric_sum(r, n):
    if r == 1:
        return Decimal(n + 1)
    return EXACT.divide(EXACT.subtract(1, EXACT.power(r, n + 1)), EXACT.subtract(1, r)) if r else Decimal(1)


@fuzz(n=iterations, beta=rates, gamma=rates)
def test_the_discrete_bound_is_the_formula(n, beta, gamma):
    bound = max_update_bound(n, beta=beta, gamma=gamma)
    if beta == 0 < gamma and n > 0:
        assert bound == math.inf
        return
    r = EXACT.divide(EXACT.power(exact(gamma), 2), exact(beta)) if beta > 0 else Decimal(0)
    expected = EXACT.multiply(exact_first_update(n, beta, gamma), EXACT.sqrt(exact_geometric_sum(r, n)))
    assert_same_log(bound, expected, 16 * EPS * (1 + n * sizes_of_logs(beta, gamma)))


@fuzz(n=iterations, beta=rates, gamma=rates)
def test_the_update_of_a_silent_coordinate_is_the_formula(n, beta, gamma):
    u = silent_update(n, beta=beta, gamma=gamma)
    if n > 0 and (beta == 0 or gamma == 0):
        assert u == (math.inf if gamma > 0 else 0)
        return
    power = EXACT.divide(EXACT.power(exact(gamma), n), EXACT.sqrt(EXACT.power(exact(beta), n))) if n > 0 else Decimal(1)
    expected = EXACT.multiply(exact_first_update(n, beta, gamma), power)
    assert_same_log(u, expected, 16 * EPS * (1 + n * sizes_of_logs(beta, gamma)))


@fuzz(n=iterations, beta=rates, gamma=rates)
def test_the_continuous_expression_is_the_formula(n, beta, gamma):
    bound = max_update_bound(n, beta=beta, gamma=gamma, time="continuous")
    if math.isinf(stability.coefficient(beta=beta, gamma=gamma)) or n == 0:
        assert bound == (math.inf if n > 0 else 0)
        return
    B, G = exact(beta), exact(gamma)
    forth, back = EXACT.divide(EXACT.multiply(2, EXACT.subtract(1, G)), G), EXACT.divide(EXACT.subtract(1, B), B)
    C = EXACT.subtract(forth, back)
    if n * C < -(10**9):
        assert bound == math.inf
        return
    if n * C < -(10**9):
        assert bound == math.inf
        return
    integral = LOG.divide(LOG.subtract(1, LOG.exp(LOG.multiply(-n, C))), C) if C else Decimal(n)
    squared = LOG.multiply(LOG.divide(B, LOG.subtract(1, B)), integral)
    prefactor = LOG.multiply(exact_bias_correction(n, beta, gamma), LOG.divide(EXACT.subtract(1, G), G))
    rounding = 16 * EPS * (1 + n * float(min(forth + back, Decimal(10**30))))
    assert_same_log(bound, LOG.multiply(prefactor, LOG.sqrt(squared)), rounding)


@fuzz(n=st.integers(0, 300), beta=rates, gamma=rates)
def test_the_worst_case_is_the_geometric_sequence(n, beta, gamma):
    g = worst_case_gradients(n, beta=beta, gamma=gamma)
    assert g.shape == (n + 1,)
    if beta == 0 or gamma == 0:
        one = 0 if beta == 0 < gamma else n
        assert list(g) == [float(j == one) for j in range(n + 1)]
        return
    slope = LOG.subtract(LOG.ln(exact(gamma)), LOG.ln(exact(beta)))
    shift = n * slope if n * slope > 300 else 0
    for j in range(n + 1):
        assert_same_log(g[j], LOG.exp((n - j) * slope - shift), 8 * EPS * (1 + n * sizes_of_logs(beta, gamma)))


# Shapes

functions_of_arrays = st.sampled_from(
    [
        lambda n, **at: stability.coefficient(**at),
        lambda n, **at: stability.growth_rate(**at),
        lambda n, **at: stability.growth_rate(**at, time="continuous"),
        lambda n, **at: stability.is_stable(**at),
        lambda n, **at: max_update_bound(n, **at),
        lambda n, **at: max_update_bound(n, **at, time="continuous"),
        silent_update,
    ]
)


@fuzz(function=functions_of_arrays, shapes=mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_dims=3), data=st.data())
def test_arrays_broadcast_as_numbers_one_by_one(function, shapes, data):
    beta, gamma = (data.draw(arrays(np.float64, shape, elements=rates)) for shape in shapes.input_shapes)
    table = function(7, beta=beta, gamma=gamma)
    assert np.shape(table) == shapes.result_shape
    for at in np.ndindex(shapes.result_shape):
        b, g = (np.broadcast_to(x, shapes.result_shape)[at] for x in (beta, gamma))
        assert_allclose(table[at], function(7, beta=b, gamma=g), rtol=1e-11)


odd_shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@fuzz(function=functions_of_arrays, shapes=st.tuples(odd_shapes, odd_shapes))
def test_shapes_that_do_not_broadcast_are_refused(function, shapes):
    try:
        np.broadcast_shapes(*shapes)
        fits = True
    except ValueError:
        fits = False
    assert refuses(lambda: function(7, beta=np.full(shapes[0], 0.9), gamma=np.full(shapes[1], 0.5)), "beta and gamma") != fits


# Arguments


def are_rates(x):
    """Whether x is one rate or an array of rates."""
    if isinstance(x, list | tuple | np.ndarray):
        return all(map(is_rate, np.ravel(np.array(x, dtype=object))))
    return is_rate(x)


def is_iteration(x):
    number = as_float(x)
    return number >= 0 and math.isfinite(number) and number == math.floor(number)


def are_iterations(x):
    if isinstance(x, list | tuple | np.ndarray):
        return all(map(is_iteration, np.ravel(np.array(x, dtype=object))))
    return is_iteration(x)


@fuzz(function=functions_of_arrays, which=st.sampled_from(["beta", "gamma"]), value=anything)
def test_rates_are_answered_or_named(function, which, value):
    arguments = {"beta": 0.9, "gamma": 0.5, which: value}
    assert refuses(lambda: function(7, **arguments), which) != are_rates(value)


@fuzz(function=st.sampled_from([max_update_bound, silent_update]), beta=rates, gamma=rates, n=anything | st.floats(0))
def test_iterations_are_answered_or_named(function, beta, gamma, n):
    try:
        bound = answer(lambda: function(n, beta=beta, gamma=gamma), "n must")
    except Refused:
        assert not are_iterations(n)
        return
    assert are_iterations(n)
    assert np.all(np.asarray(bound) >= 0)


def fits_memory(n):
    return not 10**5 < as_float(n) < 2**53


@fuzz(n=anything.filter(fits_memory), num=anything.filter(fits_memory))
def test_lengths_are_answered_or_named(n, num):
    assert refuses(lambda: worst_case_gradients(n, beta=0.9, gamma=0.5), "n must") != (is_iteration(n) and as_float(n) < 2**53)
    assert refuses(lambda: stability.normal_curve(num=num), "num must") != is_count(num, most=2**53 - 1)


@fuzz(time=anything | st.text() | times)
def test_times_are_answered_or_named(time):
    known = isinstance(time, str) and time in ("discrete", "continuous")
    for call in (
        lambda: stability.growth_rate(beta=0.9, gamma=0.5, time=time),
        lambda: stability.is_stable(beta=0.9, gamma=0.5, time=time),
        lambda: stability.boundary(0.5, time=time),
        lambda: max_update_bound(7, beta=0.9, gamma=0.5, time=time),
    ):
        assert refuses(call, "time must") != known


@fuzz(beta=rates | anything, gamma=rates | anything, num=st.integers(1, 100))
def test_the_normal_curve_stays_inside_and_keeps_its_constant_or_is_refused(beta, gamma, num):
    try:
        b, g = answer(lambda: stability.normal_curve(beta=beta, gamma=gamma, num=num), "beta", "gamma")
    except Refused:
        assert not is_rate(beta) or not is_rate(gamma) or max(beta, gamma) < 1e-100
        return
    assert b.shape == g.shape == (num,)
    assert ((b > 0) & (b < 1) & (g > 0) & (g < 1)).all()
    assert_allclose(2 * b**3 + g**3, 2 * float(beta) ** 3 + float(gamma) ** 3, rtol=1e-12)


@fuzz(gamma=rates | anything, C=anything | st.floats(-3, 3))
def test_a_level_curve_lies_inside_and_has_its_level_or_is_refused(gamma, C):
    try:
        beta = answer(lambda: stability.level_curve(gamma, C=C), "gamma must", "C must", "gamma and C")
    except Refused:
        return
    b, g = np.broadcast_arrays(beta, np.asarray(gamma, dtype=float))
    assert ((b > 0) & (b < 1)).all()
    rounding = 1e-14 * (1 / b + 2 / g + np.abs(np.asarray(C, dtype=float)))
    assert (np.abs(stability.coefficient(beta=b, gamma=g) - np.asarray(C, dtype=float)) <= rounding).all()


# The reference


signed = st.sampled_from([1.0, -1.0])
scales = st.floats(-150, 150).map(lambda e: 10.0**e)
signals = st.lists(st.builds(lambda s, x: s * x, signed, scales) | st.just(0.0), min_size=1, max_size=8)
remembering = st.builds(Decay, beta=st.floats(0.5, 0.9999), gamma=st.floats(0, 0.9999) | st.just(0.0))
chains = st.lists(remembering, min_size=1, max_size=3)


def exact_updates(gradients, chain, eps):
    """Every stage as the weighted sums over all of its inputs."""
    inputs = [Decimal(g) for g in gradients]
    for decay in chain:
        inputs = [exact_update(inputs[: n + 1], decay, Decimal(eps)) for n in range(len(inputs))]
    return np.array([float(u) for u in inputs])


def exact_update(inputs, decay, eps):
    """m_hat / (sqrt(v_hat) + eps) after the last of the inputs, with 0/0 = 0."""
    m = exact_average(inputs, exact(decay.gamma))
    v = exact_average([EXACT.multiply(x, x) for x in inputs], exact(decay.beta))
    return EXACT.divide(m, EXACT.add(EXACT.sqrt(v), eps)) if m else m


def exact_average(inputs, decay):
    weights = [EXACT.power(decay, n) if n else Decimal(1) for n in range(len(inputs))][::-1]
    total = Decimal(0)
    for w, x in zip(weights, inputs, strict=True):
        total = EXACT.add(total, EXACT.multiply(w, x))
    return EXACT.divide(total, sum(weights))


@fuzz(g=signals, chain=chains, eps=st.just(0.0) | st.floats(1e-20, 1e3))
def test_the_references_updates_are_quotients_of_weighted_sums(g, chain, eps):
    expected = exact_updates(g, chain, eps)
    updates = kadam_updates(g, chain, eps=eps)
    assert_allclose(updates, expected, rtol=0, atol=1e-9 * max(abs(expected).max(), TINIEST))


@fuzz(g=st.lists(st.sampled_from([0.0, TINIEST, -1e-310, 1e-200, 1.0, -1e3, 1e150]), min_size=1, max_size=6), chain=chains)
def test_the_reference_stays_finite_with_an_eps_however_small_gradients_are(g, chain):
    assert np.isfinite(kadam_updates(g, chain, eps=1e-8)).all()
    assert np.isfinite(kadam_moments(g, chain, eps=1e-8)).all()


@fuzz(
    g=st.lists(st.floats(), max_size=4) | st.lists(anything, max_size=2) | anything,
    chain=chains | st.lists(anything, max_size=2) | anything,
    eps=anything,
)
def test_the_references_arguments_are_answered_or_named(g, chain, eps):
    """Gradients are finite and have finite squares."""
    for function in (kadam_updates, kadam_moments):
        known = isinstance(chain, list) and bool(chain) and all(isinstance(d, Decay) for d in chain)
        good = isinstance(g, list | tuple | np.ndarray) and all(abs(as_float(x)) <= 1e150 for x in g)
        allowed = good and known and math.isfinite(as_float(eps)) and as_float(eps) >= 0
        assert refuses(lambda f=function: f(g, chain, eps=eps), "gradients", "stages", "eps") != allowed


# The box

window_lengths = st.integers(1, 60)
steps = st.floats(0, 1, exclude_min=True) | st.sampled_from([1.0, 0.5, 1e-3, 1e-16, SMALL, TINY, BELOW_ONE])


def exact_window(length, step, gamma):
    """((1-alpha)^L - gamma^L)/(1-alpha-gamma), or L gamma^(L-1)."""
    x, g = EXACT.subtract(1, exact(step)), exact(gamma)
    powers = [EXACT.power(y, length) if y else Decimal(0) for y in (x, g)]
    if x == g:
        return EXACT.multiply(length, EXACT.power(g, length - 1)) if length > 1 else Decimal(1)
    return EXACT.divide(EXACT.subtract(*powers), EXACT.subtract(x, g))


@fuzz(beta=rates, gamma=rates, step=steps, length=window_lengths, close_by=st.none() | st.floats(-1e-12, 1e-12))
def test_the_window_is_the_largest_of_all_lengths(beta, gamma, step, length, close_by):
    """It is that of the length that is told, and no other length has a larger one; also where alpha + gamma is nearly 1."""
    beta, gamma = max(beta, gamma), min(beta, gamma)
    if close_by is not None:
        step = min(max(1 - gamma + close_by, TINY), 1.0)
    excess, told = box.window_excess(beta=beta, gamma=gamma, step=step), box.window_steps(gamma=gamma, step=step)
    scale = EXACT.divide(EXACT.subtract(exact(beta), exact(gamma)), EXACT.subtract(1, exact(beta)))
    scale = EXACT.multiply(exact(step), scale)
    assert told >= 1
    assert told == math.floor(told)
    least = EXACT.multiply(scale, exact_window(length, step, gamma))
    assert exact(excess) >= EXACT.subtract(EXACT.multiply(least, exact(1 - 1e-11)), Decimal("1e-322"))
    if told <= 10**4:
        assert_allclose(
            excess, float(EXACT.multiply(scale, exact_window(int(told), step, gamma))), rtol=1e-11, atol=4 * TINIEST
        )
    assert excess <= step * box.average_excess(beta=beta, gamma=gamma) * (1 + 1e-11) + 4 * TINIEST
    assert excess <= (beta - gamma) / (1 - beta) * (1 + 1e-11)


@fuzz(which=st.sampled_from(["beta", "gamma", "step"]), value=anything)
def test_the_windows_arguments_are_answered_or_named(which, value):
    arguments = {"beta": 0.9, "gamma": 0.5, "step": 0.1, which: value}
    if which == "step":
        fine = are_steps(value)
    else:
        fine = are_rates(value) and bool(np.all(np.asarray(arguments["gamma"], float) <= np.asarray(arguments["beta"], float)))
    assert refuses(lambda: box.window_excess(**arguments), which) != fine
    if which != "beta":
        alone = are_steps(value) if which == "step" else are_rates(value)
        assert refuses(lambda: box.window_steps(gamma=arguments["gamma"], step=arguments["step"]), which) != alone
    if which != "step":
        assert refuses(lambda: box.average_excess(beta=arguments["beta"], gamma=arguments["gamma"]), which) != fine


def are_steps(x):
    many = np.ravel(np.array(x, dtype=object)) if isinstance(x, list | tuple | np.ndarray) else [x]
    return all(0 < as_float(y) <= 1 for y in many)


@fuzz(shapes=mutually_broadcastable_shapes(num_shapes=3, min_side=0, max_dims=3), data=st.data())
def test_windows_broadcast_as_numbers_one_by_one(shapes, data):
    drawn = [
        data.draw(arrays(np.float64, shape, elements=of))
        for shape, of in zip(shapes.input_shapes, (rates, rates, steps), strict=True)
    ]
    beta, gamma, step = drawn[0], drawn[1] * (np.min(drawn[0]) if drawn[0].size else 0.0), drawn[2]
    table = box.window_excess(beta=beta, gamma=gamma, step=step)
    assert np.shape(table) == shapes.result_shape
    for at in np.ndindex(shapes.result_shape):
        b, g, s = (np.broadcast_to(x, shapes.result_shape)[at] for x in (beta, gamma, step))
        assert_allclose(table[at], box.window_excess(beta=b, gamma=g, step=s), rtol=1e-11)


# Advice


@fuzz(given=decays | anything)
def test_advice_is_the_theorys_and_can_be_said(given):
    try:
        advice = answer(lambda: advise(given), "betas", "beta1", "beta2")
    except Refused:
        assert not isinstance(given, Decay)
        return
    decay = given if isinstance(given, Decay) else Decay.from_betas(given)
    assert f"({decay.beta!r}, {decay.gamma!r})" in advice.sentence()
    assert advice.stable_discrete == bool(stability.is_stable(beta=decay.beta, gamma=decay.gamma))
    assert json.loads(json.dumps(advice.as_dict(), allow_nan=False))["stable_discrete"] == advice.stable_discrete
    if advice.stable_discrete and decay.gamma > 0 and decay.beta - decay.gamma**2 > 1e-6 * decay.beta:
        B, G = Fraction(decay.beta), Fraction(decay.gamma)
        square = (1 - G) ** 2 * B / ((1 - B) * (B - G**2))
        assert_allclose(advice.largest_update, math.sqrt(square), rtol=1e-9)


# What fuzzing found, each as it was found


def test_rates_of_any_kind_become_floats():
    """A float16 rate would have rounded every stage derived from it, and a fraction cannot multiply a tensor."""
    (first, *_) = stages(Decay(beta=np.float16(0.999), gamma=Fraction(1, 2)), 3, "root")
    assert (type(first.beta), type(first.gamma)) == (float, float)
    assert first.beta == float(np.float16(0.999)) ** (1 / 3)


def test_integers_too_large_for_a_float_are_refused_by_name():
    for call in (lambda: Decay(beta=10**400), lambda: stability.boundary(10**400), lambda: advise(Decay(gamma=10**400))):
        assert refuses(call, "beta", "gamma")
    assert refuses(lambda: stages(Decay(), 10**400), "k must be at most 1,000,000")


def test_a_pair_that_is_no_decay_does_not_pass_through_one_stage():
    assert refuses(lambda: stages((0.9, 0.999), 1), "decay must be a kadam.Decay")


def test_the_coefficient_is_a_number_where_both_of_its_terms_overflow():
    assert stability.coefficient(beta=1e-310, gamma=1e-310) == math.inf
    assert stability.coefficient(beta=1e-310, gamma=1e-309) == -math.inf


def test_nothing_remembered_grows_without_limit_also_where_the_boundary_rounds_to_zero():
    assert stability.growth_rate(beta=0, gamma=1e-170) == math.inf


def test_growth_is_never_negative_one_float_below_the_boundary():
    gamma = np.linspace(0.01, 0.99, 500)
    for time in ("discrete", "continuous"):
        beta = np.nextafter(stability.boundary(gamma, time=time), 0)
        assert (stability.growth_rate(beta=beta, gamma=gamma, time=time) >= 0).all()


def test_the_continuous_expression_is_no_nan_at_the_smallest_rates():
    assert max_update_bound(0, beta=0.5, gamma=5e-324, time="continuous") == 0
    assert max_update_bound(1, beta=5e-324, gamma=0.5, time="continuous") == math.inf


def test_an_iteration_times_a_logarithm_may_overflow():
    assert_allclose(max_update_bound(1.2e305, beta=0.5, gamma=5e-324), math.sqrt(2), rtol=1e-15)


def test_the_normal_curve_does_not_round_onto_the_edge_nor_vanish_in_the_corner():
    b, g = stability.normal_curve(beta=1 - 2**-53, gamma=1 - 2**-53)
    assert (b < 1).all()
    assert (g < 1).all()
    assert refuses(lambda: stability.normal_curve(beta=1e-110, gamma=1e-110), "beta and gamma must not both be 0")


def test_the_reference_refuses_what_has_no_square_in_float64():
    """It answered 0 to 1e200, and NaN to infinity."""
    for g in (1e200, math.inf, math.nan):
        assert refuses(lambda g=g: kadam_updates([1.0, g], [Decay()]), "gradients must be finite")


def test_the_largest_update_of_a_pair_with_a_long_memory_is_its_limit():
    """It was the bound at iteration 10^9, long before this second moment has filled."""
    assert_allclose(advise(Decay(beta=1 - 1e-12, gamma=0.5)).largest_update, 0.5 / math.sqrt(0.75e-12), rtol=1e-4)


def test_a_pair_one_rounding_above_the_boundary_has_a_largest_update():
    """Python's gamma**2 is the next float above numpy's, and was beta itself: a division by zero."""
    beta, gamma = 2.3582008303651064e-232, 1.5356434580869044e-116
    assert stability.is_stable(beta=beta, gamma=gamma)
    assert math.isfinite(advise(Decay(beta=beta, gamma=gamma)).largest_update)
