"""Weights under a constant rate: the sharp window from both sides, and the radius that is sharp at every rate."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
import sympy as sp
from scipy.optimize import linprog

from kadam.decay import Decay
from kadam.theory import box
from kadam.theory.reference import kadam_updates
from kadam.theory.stability import max_update_bound

SETTINGS = [(0.999, 0.9, 0.05), (0.999, 0.9, 0.01), (0.99, 0.9, 0.0999), (0.99, 0.9, 0.1), (0.99, 0.9, 0.3), (0.99, 0.9, 1.0)]
SETTINGS += [(0.95, 0.5, 0.5), (0.9, 0.89, 0.02), (0.9, 0.0, 0.3), (0.9, 0.0, 1.0)]


@pytest.mark.parametrize(("beta", "gamma"), [(0.999, 0.9), (0.99, 0.9), (0.99, 0.5), (0.95, 0.95)])
@pytest.mark.parametrize("step", [0.002, 0.01, 0.04])
def test_at_a_constant_rate_weights_are_outside_by_no_more_than_the_window_allows(beta, gamma, step):
    """Gradients that swing by a factor of 20, in waves, steps and saws of several periods."""
    n = np.arange(6000)[:, None]
    phase = n % np.array([60, 300, 1500]) / np.array([60, 300, 1500])
    gradients = 20 ** np.concatenate([np.sin(2 * np.pi * phase) / 2, phase < 0.5, phase, -phase], axis=1)
    theta = v = np.zeros(12)
    outside, sizes = np.zeros(12), []
    for i, (u, g) in enumerate(zip(kadam_updates(gradients, [Decay(beta=beta, gamma=gamma)]), gradients, strict=True)):
        theta, v = (1 - step) * theta - step * u, beta * v + (1 - beta) * g**2
        sizes.append(v / (1 - beta ** (i + 1)))
        outside = np.maximum(outside, theta**2 - 1) if i > 3000 else outside
    swing = np.log(np.max(sizes, axis=0) / np.min(sizes, axis=0))
    allowed = box.window_excess(beta=beta, gamma=gamma, step=step) * swing
    assert (outside <= allowed + 1e-9).all()
    if step == 0.04 and beta > gamma:
        assert outside.max() > 1  # and far outside some are


def window_weights(beta, gamma, step, steps=4000):
    """The a_i of the page, from their definition, without bias corrections and over a long past; the latest last."""
    rate, alpha = (1 - gamma) * (beta - gamma) / (1 - beta), step
    w = alpha * (1 - alpha) ** np.arange(steps - 1.0, -1, -1)
    taken = np.zeros(steps)
    for i in range(steps - 2, -1, -1):
        taken[i] = w[i + 1] + gamma * taken[i + 1]
    return rate * (w / (1 - gamma) - taken)


@pytest.mark.parametrize(("beta", "gamma", "step"), SETTINGS)
def test_the_window_is_half_the_sum_of_its_weights(beta, gamma, step):
    """And the most that any v^ within a factor e can make of them; the maximum lies at the length that is told."""
    a = window_weights(beta, gamma, step)
    window, length = box.window_excess(beta=beta, gamma=gamma, step=step), int(box.window_steps(gamma=gamma, step=step))
    assert a.sum() == pytest.approx(0, abs=1e-9 * np.abs(a).sum())
    assert np.abs(a).sum() / 2 == pytest.approx(window, rel=1e-9)
    assert -linprog(-a[-300:], bounds=(0, 1)).fun == pytest.approx(window, rel=1e-9)
    assert a[-length:].sum() == pytest.approx(window, rel=1e-9)
    sizes = [sum((1 - step) ** (n - 1 - s) * gamma**s for s in range(n)) for n in range(1, 200)]
    assert step * (beta - gamma) / (1 - beta) * max(sizes) == pytest.approx(window, rel=1e-12)
    assert sizes[length - 1] == pytest.approx(max(sizes), rel=1e-14)
    assert window <= min(step * box.average_excess(beta=beta, gamma=gamma), (beta - gamma) / (1 - beta)) * (1 + 1e-12)


def test_not_only_the_last_weight_is_positive():
    """An earlier proof said so."""
    a = window_weights(0.999, 0.9, 0.01)
    assert (a > 0).sum() == 25 == box.window_steps(gamma=0.9, step=0.01)
    assert (np.diff(np.sign(a[a != 0])) >= 0).all()  # negative, then positive


@pytest.mark.parametrize(("beta", "gamma", "step"), SETTINGS)
def test_gradients_reach_the_window(beta, gamma, step):
    """AdamW itself, in 60 digits: v^ rises once by a factor 1 + 1e-20, and (lambda theta)^2 - 1 is W ln S to nine digits."""
    length, window = int(box.window_steps(gamma=gamma, step=step)), box.window_excess(beta=beta, gamma=gamma, step=step)
    with localcontext(prec=60):
        swing = 1 + Decimal("1e-20")
        before = int(24 / (1 - max(beta, 1 - step)))
        beta, gamma, alpha = (Decimal(x) for x in (beta, gamma, step))
        m = v = theta = Decimal(0)
        kept_m = kept_v = Decimal(1)
        for n in range(before + length):
            kept_m, kept_v = kept_m * gamma, kept_v * beta
            square = ((1 - kept_v) * (swing if n >= before else 1) - beta * v) / (1 - beta)
            m, v = gamma * m + (1 - gamma) * square.sqrt(), beta * v + (1 - beta) * square
            u = m / (1 - kept_m) / (v / (1 - kept_v)).sqrt()
            theta = (1 - alpha) * theta - alpha * u
        theta -= (1 - alpha) ** (before + length)  # as if it had started where it stays under a constant gradient: at -1
        assert float((theta**2 - 1) / swing.ln()) == pytest.approx(float(window), rel=1e-9)


@pytest.mark.parametrize(("beta", "gamma", "step"), [(0.99, 0.9, 0.05), (0.99, 0.9, 0.3), (0.9, 0.0, 0.5)])
@pytest.mark.parametrize("swing", [1.02, 3.0, 100.0])
def test_no_search_goes_beyond_the_window(beta, gamma, step, swing):
    """Random ascent on (lambda theta)^2 after a long calm, over the last 16 sizes of v^, within what g^2 >= 0 allows."""
    rng, length = np.random.default_rng(1), int(box.window_steps(gamma=gamma, step=step))

    def outside(shares):
        m = v = np.ones(len(shares))
        theta = -m
        for share in shares.T:
            least = np.maximum(1.0, beta * v)
            new = least + share * (swing - least)
            m = gamma * m + (1 - gamma) * np.sqrt(np.maximum(new - beta * v, 0) / (1 - beta))
            v, theta = new, (1 - step) * theta - step * m / np.sqrt(new)
        return theta**2 - 1

    best = (np.arange(16) >= 16 - length).astype(float)
    for round_of in range(60):
        tried = best + rng.normal(0, 0.5 ** (round_of / 6), (200, 16)) * (rng.random((200, 16)) < 0.3)
        tried = np.clip(np.vstack([best, tried]), 0, 1)
        best = tried[np.argmax(outside(tried))]
    share = outside(best[None])[0] / (box.window_excess(beta=beta, gamma=gamma, step=step) * np.log(swing))
    assert share <= 1 + 1e-12
    if swing == 1.02:
        assert share > 0.5


def test_the_window_at_its_edges():
    """Small steps are the average's; at equal decays there is none; across alpha + gamma = 1 and near it nothing jumps."""
    average = box.average_excess(beta=0.999, gamma=0.9)
    assert box.window_excess(beta=0.999, gamma=0.9, step=1e-7) == pytest.approx(1e-7 * average, rel=1e-4)
    assert (box.window_excess(beta=0.95, gamma=0.95, step=[1e-300, 0.01, 0.05, 1]) == 0).all()
    assert box.window_excess(beta=0.999, gamma=0.9, step=1) == pytest.approx(99)
    np.testing.assert_allclose(box.window_excess(beta=0.9, gamma=0.0, step=[0.1, 1]), [0.9, 9])
    at = box.window_excess(beta=0.99, gamma=0.9, step=0.1)
    assert at == pytest.approx(0.9 * 10 * 0.9**9)  # L gamma^(L-1) with L = 9 or 10
    for nudge in (1e-4, 1e-8, 1e-13, 1e-16):
        both = box.window_excess(beta=0.99, gamma=0.9, step=[0.1 - nudge, 0.1 + nudge])
        np.testing.assert_allclose(both, at, rtol=20 * nudge + 1e-13)
    for step in (0.0, -0.1, 1.5, np.nan):
        with pytest.raises(ValueError, match=r"step must lie in \(0, 1\], got"):
            box.window_excess(beta=0.999, gamma=0.9, step=step)
    with pytest.raises(ValueError, match=r"gamma must be at most beta .* got 0.95 > 0.9"):
        box.window_excess(beta=[0.99, 0.9], gamma=0.95, step=0.1)
    with pytest.raises(ValueError, match=r"beta, gamma and step must broadcast, got shapes \(2,\) and \(\) and \(3,\)"):
        box.window_excess(beta=[0.99, 0.98], gamma=0.95, step=[0.1] * 3)


def test_sympy_agrees_with_the_window():
    x, gamma, X, G = sp.symbols("x gamma X G", positive=True)  # x = 1 - alpha, X = x^L, G = gamma^L

    def F(power, other):
        return (power - other) / (x - gamma)

    for length in range(1, 7):
        direct = sum(x ** (length - 1 - s) * gamma**s for s in range(length))
        assert sp.cancel(F(x**length, gamma**length) - direct) == 0
        assert sp.limit(F(x**length, gamma**length), x, gamma) == length * gamma ** (length - 1)
    step = F(x * X, gamma * G) - F(X, G)
    assert sp.cancel(step - ((1 - gamma) * G - (1 - x) * X) / (x - gamma)) == 0
    crossing = sp.log((1 - gamma) / (1 - x)) / sp.log(x / gamma)
    assert sp.limit(crossing.subs(gamma, sp.Rational(9, 10)), x, sp.Rational(9, 10)) == 9  # gamma/(1 - gamma)


RATES = {"constant": lambda n: 0.05 + 0 * n, "whole": lambda n: 1.0 + 0 * n, "falling": lambda n: 1 / (1 + n) ** 0.5}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("start", [0.0, 40.0])
@pytest.mark.parametrize(("beta", "gamma"), [(0.99, 0.9), (0.95, 0.95), (0.93, 0.95), (0.9, 0.0), (0.0, 0.0)])
def test_the_worst_gradients_carry_a_weight_to_the_radius_at_every_rate(beta, gamma, rate, start):
    """And to no other place: the learning rate and the decay, here 5, have no part in it."""
    steps, decay = 3000, 5.0
    ratio = beta / gamma if gamma > 0 else 10.0
    many = min(steps, int(300 / abs(np.log(ratio)))) if ratio != 1 else steps
    gradients = ratio ** (np.arange(many) - many * (ratio > 1))
    updates = kadam_updates(gradients, [Decay(beta=beta, gamma=gamma)])
    largest = max_update_bound(np.arange(many), beta=beta, gamma=gamma)
    if gamma > 0:
        np.testing.assert_allclose(updates, largest, rtol=1e-9)
    updates = np.append(updates, np.full(steps - many, updates[-1]))  # they have settled where floats end
    theta = start / decay
    for alpha, u in zip(RATES[rate](np.arange(steps)), updates, strict=True):
        theta = (1 - alpha) * theta - alpha * u / decay
    radius = box.radius(beta=beta, gamma=gamma, weight_decay=decay) * (np.sqrt(1 - beta / ratio**2) if gamma == 0 else 1)
    assert theta == pytest.approx(-radius, rel=1e-6 if rate != "falling" else 1e-3)


@pytest.mark.parametrize(("beta", "gamma"), [(0.81, 0.9), (0.7, 0.9), (0.0, 0.9)])
@pytest.mark.parametrize("alpha", [0.01, 0.3, 1.0])
def test_below_the_boundary_no_rate_and_no_decay_keeps_a_weight(beta, gamma, alpha):
    gradients = (beta / gamma if beta > 0 else 0.5) ** np.arange(300.0)
    sizes, theta = [], 0.0
    for u in kadam_updates(gradients, [Decay(beta=beta, gamma=gamma)]):
        theta = (1 - alpha) * theta - alpha * u
        sizes.append(-theta)
    assert sizes[299] > 1.35 * sizes[149] > 1.35
