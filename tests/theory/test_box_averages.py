"""The average update: the bound for gamma <= beta, each step of its proof, and what is left above the diagonal."""

from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy.optimize import minimize

from kadam.decay import Decay
from kadam.theory import box
from kadam.theory.reference import kadam_updates
from kadam.theory.stability import max_update_bound, worst_case_gradients

PAIRS = [(0.999, 0.9), (0.95, 0.95), (0.95, 0.9), (0.99, 0.5), (0.9, 0.0), (0.0, 0.0)]


def histories(steps, seed=0):
    """Gradients that stand still, grow, fade, swing and jump, (steps, 5)."""
    rng, n = np.random.default_rng(seed), np.arange(steps)
    scale = np.stack([0 * n, 0.02 * n, -0.02 * n, 5 * np.sin(n / 30), 6.0 * (n % 97 == 0)], axis=1)
    return rng.standard_normal((steps, 5)) * np.exp(scale)


@pytest.mark.parametrize("steps", [1, 2, 30, 600])
@pytest.mark.parametrize(("beta", "gamma"), PAIRS)
def test_the_average_update_obeys_its_bound(beta, gamma, steps):
    for gradients in (histories(steps), np.abs(histories(steps, 1)), np.sign(histories(steps, 2))):
        updates = kadam_updates(gradients, [Decay(beta=beta, gamma=gamma)])
        bound = box.average_bound(gradients, beta=beta, gamma=gamma)
        assert ((updates**2).mean(0) <= bound * (1 + 1e-9)).all()


@pytest.mark.parametrize(("beta", "gamma"), PAIRS)
def test_a_constant_gradient_attains_the_average_bound(beta, gamma):
    assert box.average_bound(np.full(500, -3.0), beta=beta, gamma=gamma) == pytest.approx(1, abs=1e-9)


def weights_by_definition(steps, beta, gamma):
    """a_i = c_i - sum over m > i of c_m p_mi."""
    parts = np.zeros((steps, steps))
    for n in range(steps):
        j = np.arange(n)
        rate = (1 - gamma) * (beta - gamma) / (1 - beta)
        parts[n, j] = rate * gamma ** (n - 1 - j) * (1 - beta ** (j + 1)) / (1 - gamma ** (n + 1))
    return parts.sum(1) - parts.sum(0)


@pytest.mark.parametrize("steps", [5, 50, 1500])
@pytest.mark.parametrize(("beta", "gamma"), [(0.999, 0.9), (0.95, 0.9), (0.99, 0.5), (0.9, 0.0), (0.9, 0.89)])
def test_the_weights_of_the_average_bound(beta, gamma, steps):
    a = weights_by_definition(steps, beta, gamma)
    excess = box.average_excess(beta=beta, gamma=gamma)
    scale = np.abs(a).max()
    assert a.sum() == pytest.approx(0, abs=1e-9 * scale * steps)
    assert np.abs(a).sum() / 2 <= excess * (1 + 1e-9)
    signs_of = np.sign(np.where(np.abs(a) > 1e-9 * scale, a, 0))
    signs_of = signs_of[signs_of != 0]
    assert (np.diff(signs_of) >= 0).all()  # negative, then positive
    if steps * (1 - beta) > 10:
        assert np.abs(a).sum() / 2 == pytest.approx(excess, rel=1e-3)
    gradients = histories(steps)
    v = np.zeros(5)
    logs = np.zeros((steps, 5))
    for n, g in enumerate(gradients):
        v = beta * v + (1 - beta) * g**2
        logs[n] = np.log(v / (1 - beta ** (n + 1)))
    np.testing.assert_allclose(box.average_bound(gradients, beta=beta, gamma=gamma), 1 + a @ logs / steps, rtol=1e-8)


RATIONAL = [("0.999", "0.9"), ("0.95", "0.9499999"), ("0.9999", "0.999"), ("0.5", "0"), ("0.999999", "0"), ("0.01", "0.009")]


def pairs_exactly(steps, beta, gamma):
    """p_mj of the page for j < m < steps, and 0 elsewhere, in the arithmetic of beta and gamma."""
    kappa = (1 - gamma) * (beta - gamma) / (1 - beta)
    own = [kappa * (1 - beta ** (j + 1)) for j in range(steps)]
    powers = [gamma**s if s else 1 for s in range(steps + 1)]
    return [
        [powers[m - 1 - j] * own[j] / (1 - powers[m] * gamma) if j < m else 0 * kappa for j in range(steps)]
        for m in range(steps)
    ]


def weights_exactly(p):
    return [sum(p[i]) - sum(row[i] for row in p) for i in range(len(p))]


@pytest.mark.parametrize(("beta", "gamma"), RATIONAL)
@pytest.mark.parametrize("steps", [1, 2, 14])
def test_the_partial_sums_are_products(beta, gamma, steps):
    """And with them the other statements on the weights, all without rounding."""
    beta, gamma = Fraction(beta), Fraction(gamma)
    a = weights_exactly(pairs_exactly(steps, beta, gamma))
    kappa, K = (1 - gamma) * (beta - gamma) / (1 - beta), (beta - gamma) / ((1 - beta) * (1 - gamma))
    for i in range(steps):
        P = sum((1 - beta ** (m + 1)) * gamma ** (i - m) for m in range(i + 1))
        Q = sum(gamma ** (m - 1 - i) / (1 - gamma ** (m + 1)) for m in range(i + 1, steps))
        assert sum(a[: i + 1]) == -kappa * P * Q
        assert -K <= sum(a[: i + 1]) <= 0
        assert a[i] >= -(beta ** (i + 1))
    assert sum(a) == 0
    assert steps == 1 or (a[0] < 0 < a[-1])
    assert changes(a) == (steps > 1)


def changes(a):
    """How often the sign changes."""
    signs = [x > 0 for x in a if x != 0]
    return sum(one != other for one, other in pairwise(signs))


@pytest.mark.parametrize(
    ("beta", "gamma"), [*RATIONAL, ("0.9999999999", "0.9999"), ("1e-12", "1e-13"), ("0.99", "0.98999999999999")]
)
def test_the_sign_of_the_weights_changes_once_at_the_edges_too(beta, gamma):
    """60 digits: where float64 has none left of the differences."""
    with mpmath.workdps(60):
        beta, gamma = mpmath.mpf(beta), mpmath.mpf(gamma)
        a = weights_exactly(pairs_exactly(90, beta, gamma))
        noise = mpmath.mpf(10) ** -50 * max(map(abs, a))
        assert changes([x if abs(x) > noise else 0 for x in a]) == 1
        assert a[0] < 0 < a[-1]
        assert all(x >= -(beta ** (i + 1)) - noise for i, x in enumerate(a))
        assert sum(map(abs, a)) / 2 <= (beta - gamma) / ((1 - beta) * (1 - gamma)) + noise


def vanishes(expression):
    """Whether it is zero as a rational function of exponentials."""
    return sp.cancel(sp.expand(sp.powsimp(sp.expand(expression.rewrite(sp.exp))))) == 0


def test_sympy_agrees_with_the_average_bound():
    beta, gamma, X, Y = sp.symbols("beta gamma X Y", positive=True)  # X = gamma^n, Y = beta^n
    kappa = (1 - gamma) * (beta - gamma) / (1 - beta)
    summed = kappa * ((1 - X) / (1 - gamma) - beta * (Y - X) / (beta - gamma)) / (1 - gamma * X)  # of p_nj over j < n
    c = (1 - gamma) * (1 - beta * Y) / ((1 - beta) * (1 - gamma * X)) - 1
    assert vanishes(summed - c)
    assert vanishes(kappa / (1 - gamma) - (1 - gamma) / (1 - beta) + 1)
    x, N, E, Z = sp.symbols("x N E Z", positive=True)  # E = e^x, Z = e^(x N / 2)
    half = (Z - 1 / Z) / 2  # sinh(x N / 2)
    assert vanishes((sp.diff(1 / (1 - sp.exp(-x * N)), N)).subs(sp.exp(-x * N), Z**-2) + x / (4 * half**2))
    log_h = sp.log(x) + sp.log(1 - sp.exp(-x)) - 2 * sp.log(sp.sinh(x * N / 2))
    slope = sp.diff(log_h, x).subs({sp.sinh(N * x / 2): half, sp.cosh(N * x / 2): (Z + 1 / Z) / 2, sp.exp(-x): 1 / E})
    assert vanishes(slope - (1 / x + 1 / (E - 1) - N * (Z**2 + 1) / (Z**2 - 1)))
    assert vanishes((1 / x + 1 / (E - 1) - (E + 1) / (E - 1)) - (1 / x - 1 / (1 - 1 / E)))


@pytest.mark.parametrize(("beta", "gamma"), [(0.999, 0.9), (0.95, 0.9), (0.7, 0.1)])
def test_no_search_finds_gradients_beyond_the_average_bound(beta, gamma):
    """Descent on the bound minus the mean square, over the logarithms of the gradients' sizes, from several starts."""

    def room(logs):
        gradients = np.exp(np.clip(logs, -40, 40))
        square = (kadam_updates(gradients, [Decay(beta=beta, gamma=gamma)]) ** 2).mean()
        return box.average_bound(gradients, beta=beta, gamma=gamma) - square

    rng = np.random.default_rng(5)
    found = [minimize(room, rng.normal(0, spread, 6), options={"maxiter": 15}).fun for spread in (0.01, 1, 5)]
    assert min(found) == pytest.approx(0, abs=1e-4)  # it does find those that attain it
    assert min(found) >= -1e-9


@pytest.mark.parametrize(("beta", "gamma", "period"), [(0.9, 0.91, 3000), (0.93, 0.95, 800), (0.9, 0.94, 400), (0.5, 0.7, 300)])
def test_above_beta_the_average_update_can_stay_above_one(beta, gamma, period):
    """The worst gradients again and again: in long periods the mean of u^2 is that of fresh starts, and nears its limit."""
    limit, means = box.radius(beta=beta, gamma=gamma, weight_decay=1.0) ** 2, {}
    for steps in (period // 2, period):
        gradients = np.tile(worst_case_gradients(steps - 1, beta=beta, gamma=gamma), 12_000 // steps)
        squares = kadam_updates(gradients, [Decay(beta=beta, gamma=gamma)]) ** 2
        means[steps] = squares[-steps:].mean()
        assert means[steps] == pytest.approx(squares[-2 * steps : -steps].mean(), rel=1e-6)  # for ever
        sums = np.cumsum((gamma**2 / beta) ** np.arange(steps))
        assert means[steps] == pytest.approx(((1 - gamma) ** 2 / (1 - beta) * sums).mean(), rel=1e-3)
        assert squares.max() <= limit * (1 + 1e-9)
    assert 1 < means[period] < limit
    assert limit - means[period] < 0.55 * (limit - means[period // 2])
    with pytest.raises(ValueError, match=rf"gamma must be at most beta .* got {gamma} > {beta}"):
        box.average_bound(gradients, beta=beta, gamma=gamma)
    below = kadam_updates(gradients, [Decay(beta=gamma, gamma=beta)])
    assert (below[-period:] ** 2).mean() < 1


@pytest.mark.parametrize(("beta", "gamma"), [(0.81, 0.9), (0.95, 0.99)])
def test_above_beta_and_outside_the_average_has_no_limit(beta, gamma):
    means = []
    for period in (100, 400):
        gradients = np.tile(worst_case_gradients(period - 1, beta=beta, gamma=gamma), 3000 // period)
        means.append((kadam_updates(gradients, [Decay(beta=beta, gamma=gamma)])[-period:] ** 2).mean())
    assert means[1] > 3.5 * means[0] > 3.5


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_plain_means_mix_to_the_weighted_mean(power):
    """Weights that are >= 0 and add up to 1; at a constant rate all but the last one are zero."""
    rates, u = (1 + np.arange(200) / 7) ** -power, np.random.default_rng(0).standard_normal(200)
    falls, counts = np.append(-np.diff(rates), rates[-1]), np.arange(1, 201)
    mixing = falls * counts / rates.sum()
    assert (mixing >= 0).all()
    assert mixing.sum() == pytest.approx(1)
    assert mixing @ (np.cumsum(u) / counts) == pytest.approx(np.average(u, weights=rates))
    excess = mixing @ (3.0 / counts)
    assert excess == pytest.approx(3.0 * rates[0] / rates.sum())
    assert (mixing[:-1].sum() == 0) == (power == 0)


@pytest.mark.parametrize("leading", [1, 30, 700])
@pytest.mark.parametrize(("beta", "gamma"), [(0.999, 0.9), (0.95, 0.9), (0.9, 0.0)])
def test_leading_zeros_cost_no_more_than_their_sum(beta, gamma, leading):
    """The bound of the proof for a coordinate whose gradient is zero at first; without E it would be wrong."""
    steps = leading + 120
    p = np.array(pairs_exactly(steps, beta, gamma))
    e = p[:, :leading].sum(1)
    a = (p.sum(1) - p.sum(0) - e)[leading:]
    assert a.sum() == pytest.approx(0, abs=1e-9 * np.abs(a).sum())
    assert (a >= -(beta ** np.arange(leading + 1, steps + 1)) - e[leading:] - 1e-12).all()
    short = []
    for late in histories(120).T:
        gradients = np.append(np.zeros(leading), late)
        squares, sums = kadam_updates(gradients, [Decay(beta=beta, gamma=gamma)]) ** 2, np.zeros(steps)
        for n, g in enumerate(gradients):
            sums[n] = beta * sums[n - 1] * (n > 0) + (1 - beta) * g**2
        logs = np.log(sums[leading:] / (1 - beta ** np.arange(leading + 1, steps + 1)))
        allowed = 120 + a @ logs
        assert squares.sum() <= allowed + e[leading:].sum() + 1e-9
        short.append(squares.sum() - allowed)
    if leading == 700 and beta == 0.999:
        assert max(short) > 0


def test_the_limit_above_the_diagonal_is_that_of_the_largest_update():
    for beta, gamma in [(0.9, 0.91), (0.5, 0.7)]:
        assert box.radius(beta=beta, gamma=gamma, weight_decay=1.0) == pytest.approx(
            max_update_bound(10**6, beta=beta, gamma=gamma)
        )


@pytest.mark.parametrize("gradients", [[0.0, 1.0], [], 1.0, [1.0, np.nan]])
def test_bad_gradients_are_refused_by_the_average_bound(gradients):
    with pytest.raises(ValueError, match="gradients must"):
        box.average_bound(gradients, beta=0.95, gamma=0.9)
