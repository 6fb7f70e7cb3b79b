"""The algebra of the page "Continuous time", done again by a computer algebra system."""

from itertools import pairwise

import sympy as sp

D, s, tau, eta, lam, g0, g1 = sp.symbols("D s tau eta lambda g0 g1", real=True)
a, b = sp.symbols("a b", positive=True)


def lead(rate):
    """k_x with x = e^-rate."""
    decay = sp.exp(-rate)
    return 1 / rate - (1 + decay) / (2 * (1 - decay))


def _terms(expression, degree):
    """Of an entire function of D, the terms up to that degree."""
    return sum(sp.diff(expression, D, i).subs(D, 0) * D**i / sp.factorial(i) for i in range(degree + 1))


def vanishes(expression):
    return sp.simplify(expression.rewrite(sp.exp)) == 0


def test_a_step_is_the_force_half_a_step_earlier_up_to_a_24th():
    assert _terms((sp.exp(D) - 1) * (1 - D / 2 + D**2 / 12), 3) == D
    assert _terms(2 * sp.sinh(D / 2) * (1 - D**2 / 24), 4) == D


def test_the_papers_left_side_is_a_step_up_to_third_order_and_its_rate_that_of_the_new_value():
    assert _terms(sp.exp(D) - 1 - D - D**2 / 2, 3) == D**3 / 6
    old, new, g, gamma = sp.symbols("old new g gamma")
    (solved,) = sp.solve(sp.Eq(new - old, (1 - gamma) / gamma * (g - new)), new)
    assert sp.simplify(solved - (gamma * old + (1 - gamma) * g)) == 0


def test_the_half_step_moments_answer_a_slope_as_adams_do():
    """What M averages is g + k g' + ...; k is the lead, and near decay 1 it is -a/12."""
    response = sp.exp(-D / 2) * (1 - sp.exp(-a)) / (1 - sp.exp(-a - D))
    target = response * (a + D) / a
    assert vanishes(target.subs(D, 0) - 1)
    assert vanishes(sp.diff(target, D).subs(D, 0) - lead(a))
    assert vanishes(sp.coth(a / 2) / 2 - (1 / a - lead(a)))
    tanh = a / 2 - a**3 / 24  # of a/2, up to a^5
    assert sp.series(1 / a - 1 / (2 * tanh), a, 0, 3).removeO() == -a / 12


def test_of_a_straight_gradient_flow_and_adam_differ_by_a_term_that_fades_with_the_decay():
    """M(n + 1/2) - m_n has no part in g itself, and its part in the slope is a constant times gamma^n."""
    root = sp.symbols("root", positive=True)  # of gamma
    gamma = root**2
    settled = -(1 + gamma) / (2 * (1 - gamma))  # k - 1/a: M of a straight gradient is g(s) + (k - 1/a) g' once it has settled
    start = (1 - root) * (g0 - g1 / 4)
    value, differences = sp.Integer(0), []
    for step in range(6):
        value = gamma * value + (1 - gamma) * (g0 + g1 * step)
        M = g0 + g1 * (step + sp.Rational(1, 2) + settled) + root ** (2 * step + 1) * (start - g0 - settled * g1)
        differences.append(sp.expand(M - value))
    assert all(sp.simplify(one.coeff(g0)) == 0 for one in differences)
    parts = [sp.simplify(one.coeff(g1)) for one in differences]
    assert parts[0] != 0
    assert all(sp.simplify(later - gamma * one) == 0 for one, later in pairwise(parts))


def test_m_of_a_straight_gradient_settles_where_the_page_says():
    M = g0 + g1 * (s + lead(a) - 1 / a)
    assert vanishes(sp.diff(M, s) - a * (g0 + g1 * s + lead(a) * g1 - M))
    assert vanishes(lead(a) - 1 / a + (1 + sp.exp(-a)) / (2 * (1 - sp.exp(-a))))


def test_with_a_constant_gradient_the_moments_fill_as_the_bias_correction_says():
    filled = sp.exp(-a * s) * (1 - sp.exp(-a / 2)) + a * sp.integrate(sp.exp(-a * (s - tau)), (tau, 0, s))
    assert vanishes(filled - (1 - sp.exp(-a * (s + sp.Rational(1, 2)))))


def test_the_bound_of_the_flow_is_the_cauchy_schwarz_factor_of_its_kernels():
    z, w = sp.symbols("z w", real=True)
    assert sp.expand(z**2 + w**2 - ((z + w) ** 2 / 2 + (z - w) ** 2 / 2)) == 0
    C = 2 * a - b
    kernels = a**2 * sp.exp(-2 * a * (s - tau)) / (b / 2 * sp.exp(-b * (s - tau)))
    age, rate = sp.symbols("age rate", positive=True)
    assert sp.simplify(kernels.subs(tau, s - age) - 2 * a**2 / b * sp.exp(-C * age)) == 0
    integral = sp.integrate(sp.exp(-rate * age), (age, 0, s))
    assert vanishes(integral - (1 - sp.exp(-rate * s)) / rate)
    assert sp.limit(integral, rate, 0) == s
    start = (sp.exp(-a * s) * (1 - sp.exp(-a / 2))) ** 2 / (sp.exp(-b * s) * (1 - sp.exp(-b / 2)))
    assert vanishes(start - sp.exp(-C * s) * (1 - sp.exp(-a / 2)) ** 2 / (1 - sp.exp(-b / 2)))


def test_with_decay_a_steps_weights_sum_to_eta_and_their_centre_is_near_the_middle():
    rate, lam = sp.symbols("rate lambda", positive=True)  # e^-rate = 1 - eta lambda; a step from s = 0 to 1
    weight = rate / lam * sp.exp(-rate * (1 - s))
    total = sp.integrate(weight, (s, 0, 1))
    assert vanishes(total - (1 - sp.exp(-rate)) / lam)
    centre = sp.simplify(sp.integrate(s * weight, (s, 0, 1)) / total)
    assert sp.limit(centre, rate, 0) == sp.Rational(1, 2)
    assert sp.limit((centre - sp.Rational(1, 2)) / rate, rate, 0) == sp.Rational(1, 12)  # within eta lambda/12 of the middle


def test_at_u_zero_the_papers_equation_has_the_rates_that_the_page_names():
    rate = sp.symbols("rate")
    roots = sp.solve(rate**2 / 2 - rate + eta * lam, rate)  # theta = e^(-rate s)
    assert {sp.simplify(root - 1) ** 2 for root in roots} == {1 - 2 * eta * lam}
