"""The functions on typical updates at every kind of argument: the right answer in exact arithmetic, or a named refusal."""

import math

import mpmath
import numpy as np
from fuzzing import anything, as_float, fuzz, is_rate, rates, refuses
from hypothesis import strategies as st

from kadam.theory.stability import (
    capped_peak,
    critical_silence,
    independent_bound,
    max_update_bound,
    required_silence,
    rms_bound,
    silence_tail,
    white_update,
)

everyday = st.floats(0.01, 0.9999)
amounts = st.floats(0, 1e300) | st.sampled_from([0.0, 5e-324, 1e-310, 1e-8, 1.0])
positive = st.floats(1e-100, 1e100)
shares = st.floats(0, 1) | st.sampled_from([0.0, 5e-324, 0.5, 1.0])
OF_PAIRS = [
    lambda **at: rms_bound(7, **at),
    critical_silence,
    lambda **at: silence_tail(0.5, **at),
    lambda **at: capped_peak(1, 1e-8, **at),
    lambda **at: independent_bound(7, 0.1, 0.5, **at),
]


def are_rates(x):
    return all(map(is_rate, np.ravel(np.array(x, dtype=object)))) if isinstance(x, list | tuple | np.ndarray) else is_rate(x)


@fuzz(beta=rates, gamma=rates, n=st.integers(0, 10**6), share=shares, size=amounts, eps=amounts, floor=st.floats(1e-300, 1e300))
def test_every_value_is_a_number_in_its_range(beta, gamma, n, share, size, eps, floor):
    """Nowhere a warning, and nowhere NaN."""
    pair = {"beta": beta, "gamma": gamma}
    assert 0 <= critical_silence(**pair) <= 1
    assert 0 < white_update(gamma=gamma) <= 1
    assert rms_bound(n, **pair) <= max_update_bound(n, **pair) * (1 + 1e-9)
    assert silence_tail(share, **pair) >= 0
    assert capped_peak(size, eps, **pair) >= 0
    assert required_silence(size, share, beta=beta) >= 0
    assert independent_bound(n, floor, share, **pair) >= 0


@fuzz(
    beta=everyday, gamma=everyday, share=st.floats(1e-6, 0.999999), size=st.floats(1e-100, 1e100), eps=st.floats(1e-100, 1e100)
)
def test_the_closed_forms_agree_with_sixty_digits(beta, gamma, share, size, eps):
    with mpmath.workdps(60):
        b, c, p, G, e = map(mpmath.mpf, (beta, gamma, share, size, eps))
        r, t, Y = c**2 / b, 2 * mpmath.log(c) / mpmath.log(b), mpmath.sqrt(1 - b) * G / e
        if abs(r - 1) < 1e-6:
            return
        peak = (1 - c) * G / (mpmath.sqrt(1 - b) * G + e)
        if t < 1 and t / (1 - t) < Y:
            peak = (1 - c) / mpmath.sqrt(1 - b) * t**t * (1 - t) ** (1 - t) * Y ** (1 - t)
        tail = 2 * mpmath.log(1 / p) / mpmath.log(r) if r > 1 else mpmath.inf
        digits = 1e-15 * (1 + abs(1 / float(mpmath.log(r)))) * 100
        assert abs(capped_peak(size, eps, beta=beta, gamma=gamma) / peak - 1) < 1e-9
        assert math.isinf(tail) or abs(silence_tail(share, beta=beta, gamma=gamma) / tail - 1) < digits
        assert abs(critical_silence(beta=beta, gamma=gamma) - min(1, 1 / r)) < 1e-14


@fuzz(function=st.sampled_from(OF_PAIRS), which=st.sampled_from(["beta", "gamma"]), value=anything)
def test_rates_of_usual_updates_are_answered_or_named(function, which, value):
    arguments = {"beta": 0.9, "gamma": 0.5, which: value}
    assert refuses(lambda: function(**arguments), which) != are_rates(value)


def numbers_that(allowed):
    def judge(x):
        if isinstance(x, list | tuple | np.ndarray):
            return all(allowed(as_float(one)) for one in np.ravel(np.array(x, dtype=object)))
        return allowed(as_float(x))

    return judge


ARGUMENTS = {
    "silence": (lambda x: silence_tail(x, beta=0.9, gamma=0.99), lambda x: 0 <= x <= 1),
    "floor": (lambda x: independent_bound(7, x, 0.5, beta=0.9, gamma=0.99), lambda x: 0 < x < math.inf),
    "quiet": (lambda x: independent_bound(7, 0.1, x, beta=0.9, gamma=0.99), lambda x: 0 <= x <= 1),
    "gradient": (lambda x: capped_peak(x, 1e-8, beta=0.9, gamma=0.99), math.isfinite),
    "eps": (lambda x: capped_peak(1, x, beta=0.9, gamma=0.99), lambda x: 0 <= x < math.inf),
    "update": (lambda x: required_silence(x, 0.5, beta=0.9), lambda x: 0 <= x < math.inf),
    "fraction": (lambda x: required_silence(9, x, beta=0.9), lambda x: 0 <= x < math.inf),
}


@fuzz(name=st.sampled_from(list(ARGUMENTS)), value=anything)
def test_the_other_arguments_are_answered_or_named(name, value):
    call, allowed = ARGUMENTS[name]
    assert refuses(lambda: call(value), f"{name} must") != numbers_that(allowed)(value)
