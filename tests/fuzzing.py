"""What the fuzz tests share: a register of properties, awkward values, and a judge of calls that may refuse."""

import os
from decimal import Context, Decimal
from fractions import Fraction
from numbers import Integral, Real

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kadam import Decay
from kadam.decay import STRATEGIES

# Cases a property; with 52 properties about 1,000 and 20,000. `make test` takes the first and `make fuzz` the second.
QUICK, NIGHTLY = 20, 400
AT_LEAST = {"quick": 500, "nightly": 10_000}

PROPERTIES = []


def register_profiles():
    """quick: the same cases every time; nightly: new ones every time, and how to repeat a failure is printed."""
    common = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("quick", max_examples=QUICK, derandomize=True, **common)
    settings.register_profile("nightly", max_examples=NIGHTLY, derandomize=False, print_blob=True, **common)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def fuzz(**strategies):
    """``hypothesis.given``, and the property is counted."""

    def register(test):
        PROPERTIES.append(test.__name__)
        return given(**strategies)(test)

    return register


class Refused(Exception):
    """A call that refused its arguments with a message that names one of them."""


def answer(call, *names, errors=(ValueError, TypeError)):
    """What the call returns. ``Refused`` where it raised one of ``errors`` and the message holds one of the names."""
    try:
        return call()
    except errors as error:
        if not any(name in str(error) for name in names):
            raise AssertionError(f"{type(error).__name__}: {str(error)!r} names none of {names}") from error
        raise Refused from error


def refuses(call, *names, errors=(ValueError, TypeError)):
    """Whether the call refused its arguments; anything but a named refusal or an answer is passed on."""
    try:
        answer(call, *names, errors=errors)
    except Refused:
        return True
    return False


# Numbers, and what is none

TINY, SMALL, BELOW_ONE = 5e-324, 1e-310, 1 - 2**-53
LARGEST = float(np.finfo(np.float64).max)

no_numbers = st.sampled_from(
    [None, "", "0.5", "nan", 1j, 0.5 + 0j, Decimal("0.5"), [0.5], (), {}, {"a": 0.5}, object(), b"1", np.array([0.5, 0.7])]
)
numbers = st.one_of(
    st.floats(),
    st.floats(-2, 2),
    st.sampled_from([0.0, -0.0, TINY, -TINY, SMALL, 1e-16, BELOW_ONE, 1.0, LARGEST, float("inf"), float("nan")]),
    st.sampled_from([True, False, 0, 1, -1, 2**53, 10**400, -(10**400), Fraction(1, 3), Fraction(10**400, 3)]),
    st.sampled_from([np.float16(0.9), np.float32(0.9), np.float64(0.9), np.float32("nan"), np.int64(0), np.uint8(1)]),
)
anything = numbers | no_numbers


def as_float(x):
    """The number as a float; NaN where it is none or too large."""
    if not isinstance(x, Real):
        return float("nan")
    try:
        return float(x)
    except OverflowError:
        return float("nan")


def is_rate(x):
    return 0 <= as_float(x) < 1


def is_count(x, most=None):
    return isinstance(x, Integral) and not isinstance(x, bool) and x >= 1 and (most is None or x <= most)


def is_finite_number(x, *, above=None):
    number = as_float(x)
    return bool(np.isfinite(number)) and (number >= 0 if above is None else number > above)


# Decay rates

rates = st.one_of(
    st.floats(0, 1, exclude_max=True),
    st.floats(0.5, 0.9999),
    st.sampled_from([0.0, -0.0, TINY, SMALL, 1e-200, 1e-16, 0.25, 0.5, 0.9, 0.999, 1 - 1e-9, BELOW_ONE]),
)
everyday_rates = st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999]) | st.floats(0.0, 0.9999)
decays = st.builds(Decay, beta=rates, gamma=rates)
everyday_decays = st.builds(Decay, beta=everyday_rates, gamma=everyday_rates)
strategies = st.sampled_from(STRATEGIES)

# Arithmetic with 800 digits: every float64 is exact in it, and 1 - x keeps 400 digits of the smallest x.
EXACT = Context(prec=800, Emin=-(10**9), Emax=10**9)


def exact(x):
    return Decimal(float(x))
