"""The norm of a scale-invariant weight: identities to rounding, the law with and without the cross term, and refusals."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sympy
from scipy.signal import lfilter
from tiers import cases

from kadam.decay import Decay
from kadam.theory import invariance as theory

N = 40


def orthogonal(w, g):
    """The part of g that a scale-invariant loss can have for a gradient at w."""
    return g - np.sum(g * w) / np.sum(w**2) * w


def gradients(correlation, seed=0, size=N):
    """Random vectors, each correlated with the one before it."""
    rng = np.random.default_rng(seed)
    g = rng.standard_normal(size)
    while True:
        yield g
        g = correlation * g + np.sqrt(1 - correlation**2) * rng.standard_normal(size)


def train(*, eta, gamma, weight_decay, steps, correlation=0.0, beta=None, seed=0):
    """AdamW on a scale-invariant weight under random gradients; ``beta=None``: v is the number 1.

    Returns W_0..W_steps, u_n, and the bias-corrected momentum m^_n.
    """
    w = np.random.default_rng([seed, 1]).standard_normal(N)
    m, v, paths = np.zeros(N), np.zeros(N), ([w], [], [])
    for n, raw in zip(range(steps), gradients(correlation, seed), strict=False):
        g = orthogonal(w, raw)
        m = gamma * m + (1 - gamma) * g
        m_hat = m / (1 - gamma ** (n + 1))
        v = 0 if beta is None else beta * v + (1 - beta) * g**2
        u = m_hat if beta is None else m_hat / np.sqrt(v / (1 - beta ** (n + 1)))
        w = (1 - eta * weight_decay) * w - eta * u
        for path, value in zip(paths, (w, u, m_hat), strict=True):
            path.append(value)
    return tuple(np.array(path) for path in paths)


CASES = [(0.0, 0.0, 0.0), (0.9, 0.0, 0.0), (0.9, 0.5, 0.0), (0.9, 0.5, 0.99), (0.5, 0.2, -0.9), (0.99, 1.0, 0.5)]


@pytest.mark.parametrize(("gamma", "weight_decay", "correlation"), CASES)
def test_the_identity_holds_term_by_term(gamma, weight_decay, correlation):
    setting = {"eta": 0.05, "weight_decay": weight_decay}
    w, u, _ = train(**setting, gamma=gamma, steps=60, correlation=correlation, beta=0.9)
    terms = theory.norm_terms(w[:-1], u, **setting)
    np.testing.assert_allclose(sum(terms), np.sum(w[1:] ** 2, 1), rtol=1e-13)


@pytest.mark.parametrize(("gamma", "weight_decay", "correlation"), CASES)
def test_with_one_constant_second_moment_the_corrected_law_is_exact_for_every_correlation(gamma, weight_decay, correlation):
    setting = {"eta": 0.05, "gamma": gamma, "weight_decay": weight_decay}
    w, u, _ = train(**setting, steps=150, correlation=correlation)
    squares = np.sum(u**2, 1)
    np.testing.assert_allclose(theory.corrected_norm(np.sum(w[0] ** 2), squares, **setting), np.sum(w**2, 1), rtol=1e-11)
    cross = np.sum(w[:-1] * u, 1)
    np.testing.assert_allclose(theory.cross_term(squares, **setting), cross, atol=1e-12 * np.abs(cross).max() + 1e-12)


@pytest.mark.parametrize(("gamma", "weight_decay", "correlation"), CASES)
def test_the_product_with_the_momentum_is_exact_for_adam_itself(gamma, weight_decay, correlation):
    setting = {"eta": 0.05, "gamma": gamma, "weight_decay": weight_decay}
    w, u, m_hat = train(**setting, steps=150, correlation=correlation, beta=0.95)
    predicted = theory.momentum_cross(np.sum(u * m_hat, 1), **setting)
    np.testing.assert_allclose(predicted, np.sum(w[:-1] * m_hat, 1), atol=1e-11)


def test_in_adams_own_metric_the_law_needs_no_single_second_moment():
    """v differs between entries by a factor of 10^4 and stays: products are weighted by sqrt(v)."""
    eta, gamma, weight_decay, steps = 0.05, 0.9, 0.3, 150
    rng = np.random.default_rng(5)
    root_v, w, m, path, updates = 10 ** rng.uniform(-2, 2, N), rng.standard_normal(N), np.zeros(N), [], []
    for n, raw in zip(range(steps), gradients(0.7, seed=5), strict=False):
        path.append(w)
        m = gamma * m + (1 - gamma) * orthogonal(w, raw)
        updates.append(m / (1 - gamma ** (n + 1)) / root_v)
        w = (1 - eta * weight_decay) * w - eta * updates[-1]
    squares, norms = (np.sum(root_v * np.array(x) ** 2, 1) for x in (updates, [*path, w]))
    setting = {"eta": eta, "gamma": gamma, "weight_decay": weight_decay}
    np.testing.assert_allclose(theory.corrected_norm(norms[0], squares, **setting), norms, rtol=1e-11)
    plain = theory.corrected_norm(np.sum(path[0] ** 2), np.sum(np.array(updates) ** 2, 1), **setting)
    assert abs(plain[-1] / np.sum(w**2) - 1) > 1e-3  # without the weights the law is only an approximation


def test_the_size_of_the_update_is_that_of_the_normalised_gradient_and_its_correlation():
    gamma = 0.9
    _, u, _ = train(eta=1e-4, gamma=gamma, weight_decay=0.0, steps=20000, correlation=0.5)
    s = (u[1:] - gamma * u[:-1])[500:] / (1 - gamma)  # bias correction has faded
    u = u[500:]
    predicted = (1 - gamma) * np.sum(s**2, 1).mean() + 2 * gamma * np.sum(u[:-1] * s, 1).mean()
    assert (1 + gamma) * np.sum(u[1:] ** 2, 1).mean() == pytest.approx(predicted, rel=0.01)


def test_without_momentum_the_papers_law_is_exact_up_to_the_decay_of_one_step():
    w, u, _ = train(eta=0.05, gamma=0.0, weight_decay=0.0, steps=100)
    squares = np.sum(u**2, 1)
    np.testing.assert_allclose(theory.paper_norm(np.sum(w[0] ** 2), squares, eta=0.05), np.sum(w**2, 1), rtol=1e-12)
    w, u, _ = train(eta=0.01, gamma=0.0, weight_decay=0.5, steps=400)
    law = theory.paper_norm(np.sum(w[0] ** 2), np.sum(u**2, 1), eta=0.01, weight_decay=0.5)
    np.testing.assert_allclose(law, np.sum(w**2, 1), rtol=2 * 0.01 * 0.5)


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("correlation", [0.0, 0.9, 1.0])
def test_growth_is_larger_than_the_papers_by_the_factor_whatever_the_correlation(gamma, correlation):
    """Counted after the momentum has filled; with gradients that stay the same the factor is the same."""
    w, u, _ = train(eta=1e-3, gamma=gamma, weight_decay=0.0, steps=4000, correlation=correlation)
    late = 400
    growth = np.sum(w[-1] ** 2) - np.sum(w[late] ** 2)
    kept = 1e-6 * np.sum(u[late:] ** 2)
    assert growth / kept == pytest.approx(theory.growth_factor(gamma), rel=0.05)


def test_a_small_cosine_is_not_a_small_term():
    setting = {"eta": 0.01, "gamma": 0.9, "weight_decay": 0.1}
    w, u, _ = train(**setting, steps=12000)
    w, u = w[6000:-1], u[6000:]
    cosine = np.sum(w * u, 1) / np.sqrt(np.sum(w**2, 1) * np.sum(u**2, 1))
    expected = -0.9 * np.sqrt(2 * 0.001 / (1 - 0.81))
    assert cosine.mean() == pytest.approx(expected, rel=0.05)
    assert abs(cosine.mean()) < 0.1
    terms = theory.norm_terms(w, u, eta=0.01, weight_decay=0.1)
    assert terms.cross.mean() / terms.step.mean() == pytest.approx(2 * 0.9 / (1 - 0.9), rel=0.05)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_equilibrium_norm_rotation_and_time_are_those_of_a_long_run(gamma, correlation):
    setting = {"eta": 0.01, "gamma": gamma, "weight_decay": 0.2}
    w, u, _ = train(**setting, steps=12000, correlation=correlation)
    late = slice(3000, None)
    square = np.sum(u[late] ** 2, 1).mean()
    norms = np.sum(w[late] ** 2, 1)
    assert norms.mean() == pytest.approx(theory.equilibrium_norm(square, **setting), rel=0.03)
    cosine = np.sum(w[3000:-1] * w[3001:], 1) / np.sqrt(norms[:-1] * norms[1:])
    assert np.arccos(cosine).mean() == pytest.approx(theory.rotation_per_step(**setting), rel=0.03)


def test_equilibrium_is_the_fixed_point_of_the_law_and_is_approached_at_its_time():
    setting = {"eta": 0.05, "gamma": 0.9, "weight_decay": 0.3}
    fixed = theory.equilibrium_norm(7.0, **setting)
    path = theory.corrected_norm(2 * fixed, np.full(4000, 7.0), **setting)
    assert path[-1] == pytest.approx(fixed, rel=1e-10)
    steps = round(theory.equilibrium_time(**setting))
    assert (path[500 + steps] - fixed) / (path[500] - fixed) == pytest.approx(np.exp(-1), rel=0.02)


def distances(gamma, alpha, steps, start=2):
    """|W_n|^2 over its equilibrium, less 1, by the two recursions at |u|^2 = 1 in fractions; eta = 1, lambda = alpha."""
    gamma, q = Fraction(gamma), 1 - Fraction(alpha)
    fixed = (1 + gamma * q) / ((1 - gamma * q) * (1 - q**2))
    norm, cross, last, power, found = start * fixed, Fraction(0), 0, Fraction(1), []
    for _ in range(steps):
        found.append(norm / fixed - 1)
        cross = gamma * (1 - power) / (1 - power * gamma) * (q * cross - last)
        norm, last, power = q**2 * norm - 2 * q * cross + 1, 1, power * gamma
        norm, cross = (Fraction(round(x * 10**120), 10**120) for x in (norm, cross))  # 120 decimals: small numbers
    return found


@pytest.mark.parametrize(
    ("gamma", "alpha", "old", "new"),
    [
        ("0.9", "0.08", 6.00, 9.49),  # momentum is the slower: gamma > q^2
        ("0.99", "0.02", 24.7, 99.5),
        ("0.9", "0.04", 12.2, 12.2),  # decay is
        ("0", "0.08", 6.00, 6.00),
    ],
)
def test_the_slower_of_momentum_and_decay_says_how_fast_equilibrium_is_reached(gamma, alpha, old, new):
    """The time of decay alone, -1/(2 ln q), is wrong where gamma > q^2."""
    rates = {"eta": 1.0, "weight_decay": float(alpha)}
    time = theory.equilibrium_time(**rates, gamma=float(gamma))
    late = round(20 * time)
    before, after = distances(gamma, alpha, late + 2)[-2:]
    assert -1 / np.log(float(after / before)) == pytest.approx(time, rel=2e-3)
    assert theory.equilibrium_time(**rates) == pytest.approx(old, rel=5e-3)
    assert time == pytest.approx(new, rel=5e-3)


def test_the_distance_from_equilibrium_is_made_of_its_modes():
    """In symbols: the cross term before bias correction, the weight of gamma^n, and the recursion's eigenvalues later on."""
    q, g, n = sympy.symbols("q g n", positive=True)
    a, b = -g / (1 - g * q), g / (1 - q)  # x_n (1 - gamma^(n+1)) = a + b gamma^n - (a + b)(gamma q)^n, at eta |u|^2 = 1
    z = a + b * g**n - (a + b) * (g * q) ** n
    assert sympy.simplify(z - (g * q * z.subs(n, n - 1) - g * (1 - g**n))) == 0
    assert sympy.simplify(z.subs(n, 0)) == 0
    of_gamma = g * (1 - g) / ((1 - q) * (1 - g * q))  # weight of gamma^n in x_n; never 0 for 0 < gamma < 1
    assert sympy.simplify(b + a * g - of_gamma) == 0
    matrix = sympy.Matrix([[g * q, 0], [-2 * q * g * q, q**2]])  # of x and |W|^2 once r_n is gamma
    assert set(matrix.eigenvals()) == {q**2, g * q}


def test_the_equilibrium_is_the_fixed_point_in_symbols():
    """Norm, cosine and angle, from the two recursions alone."""
    q, g, cross, norm = sympy.symbols("q g cross norm")  # eta = |u| = 1
    (found,) = sympy.solve([g * (q * cross - 1) - cross, q**2 * norm - 2 * q * cross + 1 - norm], [cross, norm], dict=True)
    assert sympy.simplify(found[norm] - (1 + g * q) / ((1 - g * q) * (1 - q**2))) == 0
    cosine_squared = found[cross] ** 2 / found[norm]
    assert sympy.simplify(cosine_squared - g**2 * (1 - q**2) / (1 - g**2 * q**2)) == 0
    assert sympy.simplify((q * found[norm] - found[cross]) / found[norm] - (q + g) / (1 + g * q)) == 0
    share = (1 - g) / (1 + g)  # of |u|^2 in |s|^2 where gradients are uncorrelated
    ratio = 1 / (found[norm] * share)  # |s|^2/|W|^2, over eta^-2
    alpha = sympy.symbols("alpha", positive=True)
    over_alpha = sympy.cancel(ratio.subs(q, 1 - alpha) / alpha)
    assert sympy.simplify(over_alpha.subs(alpha, 0)) == 2  # no gamma to first order
    assert sympy.simplify(over_alpha.diff(alpha).subs(alpha, 0) - (4 * g / (1 - g**2) - 1)) == 0


@pytest.mark.parametrize(
    ("alpha", "gamma", "given"), [(0.001, 0.9, -0.0919), (0.01, 0.5, -0.0812), (0.001, 0.99, -0.2994), (1.0, 0.7, -0.7)]
)
def test_the_cosine_at_equilibrium(alpha, gamma, given):
    """In simulation: uncorrelated gradients, v constant; at eta lambda = 1 the weight is minus the last update."""
    setting = {"eta": 0.01, "gamma": gamma, "weight_decay": alpha / 0.01}
    assert theory.equilibrium_cosine(**setting) == pytest.approx(given, abs=5e-5)
    w, u, _ = train(**setting, steps=12000)
    w, u = w[6000:-1], u[6000:]
    cosine = np.sum(w * u, 1).mean() / np.sqrt(np.sum(w**2, 1).mean() * np.sum(u**2, 1).mean())
    assert cosine == pytest.approx(given, rel=0.02)


def test_without_momentum_or_decay_the_cosine_vanishes():
    assert theory.equilibrium_cosine(eta=0.1, weight_decay=0.5, gamma=0.0) == 0
    assert theory.equilibrium_cosine(eta=1e-12, weight_decay=1.0, gamma=0.9) == pytest.approx(0, abs=1e-5)
    cosines = [theory.equilibrium_cosine(eta=0.1, weight_decay=rate, gamma=0.9) for rate in np.linspace(0.01, 10, 50)]
    assert np.all(np.diff(cosines) < 0)
    assert cosines[-1] == -0.9


# v^ that is one number and changes: as a moving average, by jumps, and at random.
@pytest.mark.parametrize(
    "setting", [{"eta": 0.05, "gamma": g, "weight_decay": rate} for g in (0.5, 0.9, 0.99) for rate in (0, 1)]
)
@pytest.mark.parametrize("kind", ["average", "jumps", "random"])
def test_with_one_changing_second_moment_the_law_needs_its_factor(kind, setting):
    w, u, v = train_with_one_moment(kind, **setting)
    squares, norms = np.sum(u**2, 1), np.sum(w**2, 1)
    law = theory.corrected_norm(norms[0], squares, **setting, second_moments=v)
    np.testing.assert_allclose(law, norms, rtol=1e-12)
    cross = np.sum(w[:-1] * u, 1)
    np.testing.assert_allclose(theory.cross_term(squares, **setting, second_moments=v), cross, atol=1e-12 * np.abs(cross).max())
    x, eta, gamma, q = 0.0, setting["eta"], setting["gamma"], 1 - setting["eta"] * setting["weight_decay"]
    for n in range(1, len(squares)):  # the recursion as the page prints it
        r = gamma * (1 - gamma**n) / (1 - gamma ** (n + 1))
        x = r * np.sqrt(v[n - 1] / v[n]) * (q * x - eta * squares[n - 1])
        assert x == pytest.approx(cross[n], rel=1e-11, abs=1e-12 * np.abs(cross).max())
    without = theory.cross_term(squares, **setting)
    assert np.abs((without / cross)[20:] - 1).max() > 0.05  # what the law for a constant v makes of it


def train_with_one_moment(kind, *, eta, gamma, weight_decay, steps=150, seed=6):
    """W_0.., u_n and v^_n of a scale-invariant weight whose second moment is one number that changes."""
    rng = np.random.default_rng([seed, 1])
    w, m, v, found = rng.standard_normal(N), np.zeros(N), 0.0, []
    for n, raw in zip(range(steps), gradients(0.5, seed), strict=False):
        g = orthogonal(w, raw * (1.5 + np.sin(n / 5)))
        m, v = gamma * m + (1 - gamma) * g, 0.9 * v + 0.1 * np.mean(g**2)
        v_hat = {"average": v / (1 - 0.9 ** (n + 1)), "jumps": 1.0 + 3 * (n // 20 % 2), "random": rng.uniform(0.5, 2)}[kind]
        u = m / (1 - gamma ** (n + 1)) / np.sqrt(v_hat)
        found.append((w, u, v_hat))
        w = (1 - eta * weight_decay) * w - eta * u
    path, updates, moments = zip(*found, strict=True)
    return np.array([*path, w]), np.array(updates), np.array(moments)


def test_the_factor_is_worth_a_tenth_of_the_norm():
    """The page's words: the largest error of |W|^2 over a run without the factor, for the three kinds of change."""
    setting, off = {"eta": 0.05, "gamma": 0.9, "weight_decay": 0.5}, []
    for kind in ("average", "jumps", "random"):
        w, u, _ = train_with_one_moment(kind, **setting)
        norms = np.sum(w**2, 1)
        off.append(np.abs(theory.corrected_norm(norms[0], np.sum(u**2, 1), **setting) / norms - 1).max())
    words = (Path(__file__).parents[2] / "book" / "invariance.md").read_text()
    assert f"off by {100 * min(off):.0f} to {max(off):.0%} there" in words


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9, 0.99])
def test_the_cross_term_is_bounded_and_its_bound_is_approached(gamma, alpha):
    """Random and greedy sequences of |u|^2, v^ constant or rising; a constant |u|^2 comes to the bound."""
    setting, rng = {"eta": 0.5, "gamma": gamma, "weight_decay": 2 * alpha}, np.random.default_rng(8)
    bound = theory.largest_cross(1.0, **setting)
    assert bound <= 0.5 * gamma / (1 - gamma)
    for squares in [*rng.uniform(0, 1, (20, 300)), *rng.integers(0, 2, (20, 300))]:
        for v in (None, np.cumsum(rng.exponential(size=300)) + 0.1):
            cross = theory.cross_term(squares, **setting, second_moments=v)
            assert np.all(cross <= 0)
            assert np.all(-cross <= bound * (1 + 1e-12))
    constant = theory.cross_term(np.ones(4000), **setting)
    assert -constant[-1] == pytest.approx(bound, rel=1e-12)
    if alpha:
        size = theory.equilibrium_norm(1.0, **setting)
        assert -bound / np.sqrt(size) == pytest.approx(theory.equilibrium_cosine(**setting), rel=1e-12)


def test_a_falling_second_moment_breaks_the_bound():
    """v^ by half a step: the momentum of larger gradients is divided by ever smaller numbers."""
    setting = {"eta": 0.5, "gamma": 0.9, "weight_decay": 0.0}
    cross = theory.cross_term(np.ones(60), **setting, second_moments=0.5 ** np.arange(60))
    assert -cross[-1] > 10 * theory.largest_cross(1.0, **setting)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9, 0.99])
def test_the_size_of_the_update_lies_between_that_of_alternating_and_that_of_constant_gradients(gamma):
    """Of every stationary sequence; alternating gradients are far below the (1 - gamma)/(1 + gamma) of uncorrelated ones."""
    rng, size = np.random.default_rng(9), 40_000

    def share(s):
        u = lfilter([1 - gamma], [1, -gamma], s)
        return np.mean(u[2000:] ** 2) / np.mean(s[2000:] ** 2)

    sign = (-1.0) ** np.arange(size)
    least = ((1 - gamma) / (1 + gamma)) ** 2
    assert share(sign) == pytest.approx(least, rel=1e-9)
    assert share(np.ones(size)) == pytest.approx(1, rel=1e-6)
    for rho in (-0.9, 0.0, 0.9):
        s = lfilter([np.sqrt(1 - rho**2)], [1, -rho], rng.standard_normal(size))
        assert share(s) == pytest.approx(theory.update_share(gamma, rho), rel=0.15)
        assert least * 0.999 <= share(s) <= 1.001
    for _ in range(20):  # any spectrum
        s = np.convolve(rng.standard_normal(size), rng.standard_normal(8), "same") + rng.normal() * sign + rng.normal()
        assert least * 0.999 <= share(s) <= 1.001
    assert [theory.update_share(gamma, rho) for rho in (-1, 0, 1)] == pytest.approx([least, least**0.5, 1], rel=1e-14)


def test_alternating_gradients_are_below_what_uncorrelated_ones_give():
    assert theory.update_share(0.9, -1) == pytest.approx(0.00277, rel=1e-3)
    assert theory.update_share(0.9) == pytest.approx(0.0526, rel=1e-3)


@pytest.mark.parametrize("alpha", cases((1e-3, 0.02), quick=(0.02,)))
@pytest.mark.parametrize("gamma", [0.0, 0.9, 0.99])
@pytest.mark.parametrize("correlation", [-0.8, 0.0, 0.8])
def test_the_steady_ratio_of_gradient_and_weight(gamma, correlation, alpha):
    """By the law |s|/|W| follows from mean |u|^2 over mean |s|^2, whatever the correlation; without momentum from nothing."""
    setting = {"eta": 0.01, "gamma": gamma, "weight_decay": alpha / 0.01}
    w, u, m_hat = train(**setting, steps=11000, correlation=correlation)
    s = (m_hat[1:] - gamma * m_hat[:-1])[4000:] / (1 - gamma)
    sizes = [np.mean(np.sum(x[-len(s) :] ** 2, 1)) for x in (w[:-1], u, s)]
    share = sizes[1] / sizes[2]
    assert np.sqrt(sizes[2] / sizes[0]) == pytest.approx(theory.steady_ratio(share, **setting), rel=0.02)
    assert np.sqrt(sizes[1] / sizes[0]) == pytest.approx(theory.steady_ratio(**setting), rel=0.02)
    if correlation == 0:
        assert share == pytest.approx(theory.update_share(gamma), rel=0.03)
    if gamma == 0:
        assert theory.steady_ratio(**setting) == pytest.approx(np.sqrt(2 * setting["weight_decay"] / 0.01), rel=alpha)


def test_what_moves_at_rest_oscillates_only_beyond_half_a_decay():
    """theta''/2 + theta' + eta lambda theta = 0, in steps: its slow rate is that of the exact decay but for the third order."""
    r, alpha = sympy.symbols("r alpha")
    fast, slow = -1 - sympy.sqrt(1 - 2 * alpha), -1 + sympy.sqrt(1 - 2 * alpha)
    assert sympy.expand((r - fast) * (r - slow) / 2 - (r**2 / 2 + r + alpha)) == 0
    for value, oscillates in ((0.49, False), (0.51, True)):
        found = np.roots([0.5, 1, value])
        assert (np.abs(found.imag).max() > 0) == oscillates
        assert found.real.max() < 0
    assert sympy.series(slow - sympy.log(1 - alpha), alpha, 0, 4).removeO() == -sympy.Rational(1, 6) * alpha**3


def test_the_paper_s_equilibrium_is_the_one_without_momentum():
    square = theory.equilibrium_norm(1.0, eta=1e-3, weight_decay=1.0)
    assert square == pytest.approx(1e-3 / 2, rel=1e-3)
    law = theory.paper_norm(0.0, np.ones(20000), eta=1e-3, weight_decay=1.0)
    assert law[-1] == pytest.approx(square, rel=2e-3)
    ratio = theory.equilibrium_norm(1.0, eta=1e-3, weight_decay=1.0, gamma=0.9) / square
    assert ratio == pytest.approx(theory.growth_factor(0.9), rel=0.02)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9, 0.99])
def test_rotation_in_closed_form_and_for_small_decay(gamma):
    angle = theory.rotation_per_step(eta=0.1, weight_decay=0.5, gamma=gamma)
    q = 1 - 0.05
    assert np.cos(angle) == pytest.approx((q + gamma) / (1 + gamma * q), rel=1e-14)
    small = theory.rotation_per_step(eta=1e-6, weight_decay=1.0, gamma=gamma)
    assert small == pytest.approx(np.sqrt(2e-6 * (1 - gamma) / (1 + gamma)), rel=1e-4)


def test_the_effective_update_moves_the_direction():
    rng = np.random.default_rng(3)
    w, u = rng.standard_normal(N), rng.standard_normal(N)
    eta = 1e-6
    moved = (w - eta * u) / np.linalg.norm(w - eta * u) - w / np.linalg.norm(w)
    np.testing.assert_allclose(-moved / eta, theory.effective_update(w, u), atol=1e-4)
    np.testing.assert_allclose(theory.effective_update(3 * w, u), theory.effective_update(w, u) / 3)
    assert np.sum(theory.effective_update(w, u) * w) == pytest.approx(0, abs=1e-12)


def train_by_parts(second_moment, *, eta, gamma, weight_decay, steps=60, beta=0.9, seed=0):
    """|W_n|^2, <W_n, u_n>, |u_n|^2 and <W_n, g_n/sqrt(v^_n)> of AdamW, eps = 0, on a scale-invariant weight.

    ``second_moment``: "adam", or what it is instead: "one" number that stays, "frozen" but one an entry, or "moving", one
    number at every step.
    """
    rng = np.random.default_rng([seed, 2])
    w, m, v, frozen = rng.standard_normal(N), np.zeros(N), np.zeros(N), 10 ** rng.uniform(-1, 1, N)
    norms, products = [np.sum(w**2)], []
    for n, raw in zip(range(steps), gradients(0.5, seed), strict=False):
        g = orthogonal(w, raw * (1 + np.sin(n / 5) / 2))
        m, v = gamma * m + (1 - gamma) * g, beta * v + (1 - beta) * g**2
        v_hat = v / (1 - beta ** (n + 1))
        root = np.sqrt({"adam": v_hat, "one": 2.0, "frozen": frozen, "moving": v_hat.mean()}[second_moment])
        u = m / (1 - gamma ** (n + 1)) / root
        products.append((np.sum(w * u), np.sum(u**2), np.sum(w * g / root)))
        w = (1 - eta * weight_decay) * w - eta * u
        norms.append(np.sum(w**2))
    return np.array(norms), *np.array(products).T


SETTINGS = [{"eta": 0.05, "gamma": gamma, "weight_decay": rate} for gamma in (0.0, 0.5, 0.9, 0.99) for rate in (0.0, 0.5)]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("second_moment", ["adam", "one", "frozen", "moving"])
def test_the_parts_add_up_to_the_norm_at_every_step(second_moment, setting):
    norms, *products = train_by_parts(second_moment, **setting)
    parts = theory.norm_parts(*products, **setting)
    assert all(part.shape == norms.shape and part[0] == 0 for part in parts)
    start = norms[0] * (1 - setting["eta"] * setting["weight_decay"]) ** (2 * np.arange(len(norms)))
    np.testing.assert_allclose(start + sum(parts), norms, rtol=2e-13)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_first_two_parts_are_the_corrected_law_whatever_the_second_moment(setting):
    norms, cross, squares, inner = train_by_parts("adam", **setting)
    parts = theory.norm_parts(cross, squares, inner, **setting)
    start = norms[0] * (1 - setting["eta"] * setting["weight_decay"]) ** (2 * np.arange(len(norms)))
    law = theory.corrected_norm(norms[0], squares, **setting)
    np.testing.assert_allclose(start + parts.kept + parts.momentum, law, rtol=2e-13)
    kept = theory.corrected_norm(norms[0], squares, **{**setting, "gamma": 0.0})
    np.testing.assert_allclose(start + parts.kept, kept, rtol=2e-13)


# What is left over, as a share of |W|^2: which part has which cause.
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    ("second_moment", "unequal", "changing"),
    [("one", False, False), ("frozen", True, False), ("moving", False, True), ("adam", True, True)],
)
def test_a_part_is_there_exactly_where_its_cause_is(second_moment, unequal, changing, setting):
    norms, *products = train_by_parts(second_moment, **setting)
    parts = theory.norm_parts(*products, **setting)
    changing = changing and setting["gamma"] > 0  # without momentum nothing is carried over
    for part, there in ((parts.unequal, unequal), (parts.changing, changing)):
        largest = np.abs(part / norms).max()
        assert largest > 1e-4 if there else largest < 1e-13


def test_without_momentum_nothing_is_carried_over():
    setting = {"eta": 0.05, "gamma": 0.0, "weight_decay": 0.5}
    _, cross, squares, inner = train_by_parts("adam", **setting)
    parts = theory.norm_parts(cross, squares, inner, **setting)
    np.testing.assert_allclose(cross, inner, atol=1e-13)
    assert np.all(parts.momentum == 0)


@pytest.mark.parametrize("setting", [*SETTINGS, {"eta": 0.1, "gamma": 0.9, "weight_decay": 10.0}])
def test_the_law_step_by_step_is_the_law_at_once(setting):
    squares = np.random.default_rng(4).uniform(0, 50, 200)
    law = theory.NormLaw(3.0, **setting)
    steps = [(law.advance(square), law.norm, law.cross) for square in squares]
    returned, norms, crosses = np.array(steps).T
    np.testing.assert_array_equal(returned, norms)
    np.testing.assert_allclose(norms, theory.corrected_norm(3.0, squares, **setting)[1:], rtol=1e-12)
    np.testing.assert_allclose(crosses, theory.cross_term(squares, **setting), rtol=1e-12)


def test_the_law_without_momentum_and_decay_is_the_papers():
    squares = np.random.default_rng(4).uniform(0, 50, 20)
    law = theory.NormLaw(3.0, eta=0.05, gamma=0.0)
    np.testing.assert_allclose([law.advance(x) for x in squares], theory.paper_norm(3.0, squares, eta=0.05)[1:], rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.NormLaw(-1.0, eta=0.1, gamma=0.5), "start must be a finite number >= 0, got -1.0"),
        (lambda: theory.NormLaw(1.0, eta=0.1, gamma=1.0), r"gamma must lie in \[0, 1\), got 1.0"),
        (lambda: theory.NormLaw(1.0, eta=0.0, gamma=0.5), "eta must be a finite number > 0, got 0.0"),
        (lambda: theory.NormLaw(1.0, eta=0.1, gamma=0.5, weight_decay=-1.0), "weight_decay must be a finite number >= 0"),
        (lambda: theory.norm_parts([0.0], [1.0], [0.0], eta=0.1, gamma=1.0), r"gamma must lie in \[0, 1\), got 1.0"),
        (lambda: theory.norm_parts([0.0], [1.0], [0.0], eta=0.0, gamma=0.5), "eta must be a finite number > 0, got 0.0"),
        (
            lambda: theory.norm_terms(np.ones((3, 2)), np.ones((2, 2)), eta=0.1),
            r"both have shape \(n, N\), got \(3, 2\) and \(2, 2\)",
        ),
        (lambda: theory.corrected_norm(1.0, [1.0], eta=0.1, gamma=1.0), r"gamma must lie in \[0, 1\), got 1.0"),
        (lambda: theory.corrected_norm(-1.0, [1.0], eta=0.1, gamma=0.5), "start must be a finite number >= 0, got -1.0"),
        (
            lambda: theory.corrected_norm(1.0, [[1.0]], eta=0.1, gamma=0.5),
            r"squares and products must have shape \(n,\), one number a step",
        ),
        (lambda: theory.norm_parts([0.0, 0], [1.0], [0.0], eta=0.1, gamma=0.5), "must have one length, got 2, 1 and 1"),
        (lambda: theory.paper_norm(1.0, [1.0], eta=0.0), "eta must be a finite number > 0, got 0.0"),
        (lambda: theory.paper_norm(1.0, [1.0], eta=0.1, weight_decay=-1), "weight_decay must be a finite number >= 0, got -1"),
        (lambda: theory.equilibrium_norm(1.0, eta=0.1, weight_decay=0.0), "weight_decay must be a finite number > 0, got 0.0"),
        (lambda: theory.rotation_per_step(eta=0.1, weight_decay=11.0), "eta . weight_decay must be at most 1, got 0.1 . 11.0"),
        (lambda: theory.largest_cross(1.0, eta=0.1, gamma=0.5, weight_decay=11.0), "eta . weight_decay must be at most 1"),
        (lambda: theory.equilibrium_cosine(eta=0.1, weight_decay=0.0, gamma=0.5), "weight_decay must be a finite number > 0"),
        (lambda: theory.steady_ratio(0.0, eta=0.1, weight_decay=0.1), "share must be a finite number > 0, got 0.0"),
        (lambda: theory.update_share(0.5, 1.5), "correlation must lie between -1 and 1, got 1.5"),
        (
            lambda: theory.cross_term([1.0], eta=0.1, gamma=0.5, second_moments=[0.0]),
            "second_moments must be one number a step, above 0 and at most 1e.150; got 0.0",
        ),
        (
            lambda: theory.corrected_norm(1.0, [1.0], eta=0.1, gamma=0.5, second_moments=[1.0, 2.0]),
            r"second_moments must have the shape of squares, \(1,\), got \(2,\)",
        ),
        (lambda: theory.equilibrium_time(eta=np.nan, weight_decay=1.0), "eta must be a finite number > 0, got nan"),
        (lambda: theory.effective_update(np.zeros(2), np.ones(2)), "weight must not be zero"),
        (lambda: theory.growth_factor(-0.1), r"gamma must lie in \[0, 1\), got -0.1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_decay_rates_are_not_confused():
    """The factor is of gamma, PyTorch's beta1."""
    assert theory.growth_factor(Decay.from_betas((0.9, 0.999)).gamma) == pytest.approx(19)


def test_the_papers_equation_gives_the_equation_of_the_norm():
    """For p = 1, and a weight of two entries that move in any way."""
    t, eta, decay = sympy.symbols("t eta lambda")
    W = sympy.Matrix([sympy.Function("x")(t), sympy.Function("y")(t)])
    u = -(decay * W + W.diff(t) + eta * W.diff(t, 2) / 2)
    squared = W.dot(W)
    left = squared.diff(t) + 2 * decay * squared + eta * squared.diff(t, 2) / 2
    right = eta * W.diff(t).dot(W.diff(t)) - 2 * W.dot(u)
    assert sympy.expand(left - right) == 0
    assert sympy.expand(left - squared.diff(t) - right) != 0


@pytest.mark.parametrize(
    ("square", "eta", "weight_decay"),
    [
        (1.0, 1e-300, 1.0),
        (1e300, 1e-200, 1e50),
        (1e250, 1e25, 1e-26),
        (1e-300, 1e50, 1e-320),
        (1e-300, 1e-10, 1e10),
        (5.0, 1, 1),
    ],
)
@pytest.mark.parametrize("gamma", [0.0, 0.9])
def test_the_equilibrium_is_right_wherever_it_is_a_float(square, eta, weight_decay, gamma):
    gamma, e, wd = Fraction(gamma), Fraction(eta), Fraction(weight_decay)
    q = 1 - e * wd
    exact = e**2 * Fraction(square) * (1 + gamma * q) / ((1 - gamma * q) * (1 - q**2))
    setting = {"eta": eta, "weight_decay": weight_decay, "gamma": float(gamma)}
    assert theory.equilibrium_norm(square, **setting) == pytest.approx(float(exact), rel=1e-12)


def test_an_equilibrium_beyond_float64_is_refused():
    with pytest.raises(FloatingPointError, match="float64"):
        theory.equilibrium_norm(1e300, eta=1.0, weight_decay=1e-50)
    with pytest.raises(ValueError, match=r"eta \* weight_decay must not underflow, got 1e-300 \* 1e-20"):
        theory.equilibrium_norm(1.0, eta=1e-300, weight_decay=1e-20)
    assert theory.equilibrium_norm(0.0, eta=0.1, weight_decay=0.1) == 0


def test_where_decay_takes_the_whole_weight_equilibrium_is_reached_at_once():
    setting = {"eta": 0.5, "gamma": 0.9, "weight_decay": 2.0}
    path = theory.corrected_norm(7.0, np.full(5, 3.0), **setting)
    np.testing.assert_allclose(path[1:], theory.equilibrium_norm(3.0, **setting), rtol=1e-15)
    assert theory.equilibrium_time(**setting) == 0
