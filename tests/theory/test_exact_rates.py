"""The continuous model at the exact rates: it bounds the algorithm, by one factor at all iterations, with its boundary."""

import math

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad

from kadam.theory.exact_rates import bound_at_exact_rates, excess
from kadam.theory.stability import max_update_bound

PAIRS = [(0.999, 0.9), (0.95, 0.9), (0.9, 0.95), (0.5, 0.9), (0.95, 0.95), (0.25, 0.5), (0.01, 0.3), (0.3, 0.01)]
inside = st.floats(1e-3, 0.9999)


def phi(N, a, b, sinh):
    return sinh(N * b / 2) * sinh(N * (a - b / 2)) / sinh(N * a / 2) ** 2


@pytest.mark.parametrize(("beta", "gamma"), PAIRS)
@pytest.mark.parametrize("n", [0, 1, 10, 300])
def test_the_discrete_bound_is_a_quotient_of_hyperbolic_sines(beta, gamma, n):
    """60 digits, against the sums themselves; a nudge of the last digits stands in for the limit on the boundary."""
    with mpmath.workdps(60):
        b, g = mpmath.mpf(beta) + mpmath.mpf(10) ** -40, mpmath.mpf(gamma)
        sums = [mpmath.fsum(x**j for j in range(n + 1)) for x in (b, g**2 / b, g)]
        quotient = phi(n + 1, -mpmath.log(g), -mpmath.log(b), mpmath.sinh) / phi(1, -mpmath.log(g), -mpmath.log(b), mpmath.sinh)
        assert abs(quotient / (sums[0] * sums[1] / sums[2] ** 2) - 1) < 1e-15
    assert max_update_bound(n, beta=beta, gamma=gamma) ** 2 == pytest.approx(float(quotient), rel=1e-10)


def test_the_identity_holds_for_symbols():
    a, b = sp.symbols("a b", positive=True)
    for N in (2, 3):
        beta, gamma = sp.exp(-b), sp.exp(-a)
        sums = [sum(x**j for j in range(N)) for x in (beta, gamma**2 / beta, gamma)]
        difference = phi(N, a, b, sp.sinh) / phi(1, a, b, sp.sinh) - sums[0] * sums[1] / sums[2] ** 2
        x, y = sp.symbols("x y", positive=True)  # x = e^(a/2), y = e^(b/2)
        assert sp.simplify(difference.rewrite(sp.exp).subs({a: 2 * sp.log(x), b: 2 * sp.log(y)})) == 0


@pytest.mark.parametrize(("beta", "gamma"), PAIRS)
@pytest.mark.parametrize("n", [0, 1, 10, 60])
def test_it_is_the_models_bound_and_the_model_attains_it(beta, gamma, n):
    """Cauchy-Schwarz's integral by quadrature, and the model's own update for g(s) = e^((a-b)s) over the time n+1."""
    a, b, N = -math.log(gamma), -math.log(beta), n + 1
    correction = math.sqrt(1 - beta**N) / (1 - gamma**N)
    kernel = quad(lambda age: math.exp(-(2 * a - b) * age), 0, N, epsrel=1e-12)[0]
    bound = bound_at_exact_rates(n, beta=beta, gamma=gamma)
    assert bound == pytest.approx(correction * a / math.sqrt(b) * math.sqrt(kernel), rel=1e-8)
    m = quad(lambda age: a * math.exp(-a * age) * math.exp(-(a - b) * age), 0, N, epsrel=1e-12)[0]
    v = quad(lambda age: b * math.exp(-b * age) * math.exp(-2 * (a - b) * age), 0, N, epsrel=1e-12)[0]
    assert correction * m / math.sqrt(v) == pytest.approx(bound, rel=1e-8)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(beta=inside, gamma=inside)
def test_it_bounds_the_algorithm_at_every_iteration_by_one_factor(beta, gamma):
    a, b, N = -math.log(gamma), -math.log(beta), np.arange(1.0, 30.0)
    C = 2 * a - b
    kernel = -np.expm1(-N * C) / C if C else N
    model = np.sqrt(1 - beta**N) / (1 - gamma**N) * a / math.sqrt(b) * np.sqrt(kernel)
    ratio = model / max_update_bound(N - 1, beta=beta, gamma=gamma)
    assert_allclose(ratio, excess(beta=beta, gamma=gamma), rtol=1e-8)
    assert (ratio >= 1 - 1e-9).all()


def test_the_factor_is_one_for_equal_decays_alone():
    x = np.linspace(0.05, 0.95, 19)
    factor = excess(beta=x[:, None], gamma=x)
    assert_allclose(np.diag(factor), 1, rtol=1e-15)
    assert (factor[~np.eye(19, dtype=bool)] > 1 + 1e-7).all()
    beta, gamma = x[9:], x[9]
    assert_allclose(excess(beta=gamma**2 / beta, gamma=gamma), excess(beta=beta, gamma=gamma), rtol=1e-13)


def test_its_boundary_is_the_algorithms_and_the_papers_comes_from_the_papers_rates():
    gamma = np.array([0.3, 0.5, 0.9])
    for factor, bounded in ((1.01, True), (1.0, False), (0.99, False)):
        early, late = (bound_at_exact_rates(n, beta=factor * gamma**2, gamma=gamma) for n in (10**4, 4 * 10**4))
        assert ((late / early < 1.9) == bounded).all()
    between = {"beta": 0.815, "gamma": 0.9}  # gamma^2 = 0.81, gamma/(2-gamma) = 0.8182
    assert bound_at_exact_rates(10**6, **between) < 7
    assert max_update_bound(10**6, **between, time="continuous") > 1e100


def test_the_factors_of_the_page():
    assert excess(beta=0.999, gamma=0.9) == pytest.approx(1.00045, abs=5e-6)
    assert excess(beta=0.5, gamma=0.9) == pytest.approx(1.0144, abs=5e-5)


@pytest.mark.parametrize(
    ("beta", "gamma"), [(5e-324, 0.5), (0.5, 5e-324), (1 - 2**-53, 0.5), (0.5, 1 - 2**-53), (1e-300, 1e-300)]
)
def test_the_corners_are_finite_or_infinite_without_warnings(beta, gamma):
    assert excess(beta=beta, gamma=gamma) >= 1 - 1e-9


@pytest.mark.parametrize("function", [excess, lambda **at: bound_at_exact_rates(3, **at)])
@pytest.mark.parametrize("name", ["beta", "gamma"])
def test_a_decay_of_zero_has_no_rate(function, name):
    with pytest.raises(ValueError, match=rf"^{name} must lie in \(0, 1\), got 0\.0"):
        function(**{"beta": 0.5, "gamma": 0.5, name: 0.0})
