"""The optimum between the learning rates tried."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from kadam.chapters.contest.parabola import interpolated_optimum

NAN, INF = float("nan"), float("inf")
LOGS = arrays(np.float64, st.integers(3, 9), elements=st.floats(0.1, 3)).map(lambda steps: np.cumsum(steps) - 8)
CURVES = st.tuples(st.floats(0.01, 0.99), st.floats(0.1, 10), st.floats(-5, 5))


@given(LOGS, CURVES)
def test_the_optimum_of_a_parabola_in_log_rate_is_exact_at_any_spacing(x, curve):
    place, curvature, lowest = curve
    truth = x[0] + place * (x[-1] - x[0])
    values = lowest + curvature * (x - truth) ** 2
    assume((values == values.min()).sum() == 1)  # which of two equals is the best is told by hand below
    found, best = interpolated_optimum(np.exp(x), values), int(np.argmin(values))
    assert found.inside == (0 < best < len(x) - 1)
    if found.inside:
        assert_allclose([np.log(found.rate), found.value], [truth, lowest], rtol=0, atol=1e-9)
    else:
        assert_allclose(found[:2], [np.exp(x[best]), values[best]], rtol=1e-15)


@given(LOGS, st.data())
def test_it_is_near_the_best_rate_in_any_unit_of_rate_and_from_either_side(x, data):
    values = data.draw(arrays(np.float64, len(x), elements=st.integers(-9, 9).map(float)))
    assume(np.ptp(np.flatnonzero(values == values.min())) <= 1)  # one best, or two beside each other
    found = interpolated_optimum(np.exp(x), values)
    scaled, mirrored = interpolated_optimum(1e-3 * np.exp(x), values), interpolated_optimum(np.exp(-x[::-1]), values[::-1])
    assert_allclose([scaled.rate * 1e3, 1 / mirrored.rate], found.rate, rtol=1e-9)
    assert_allclose(scaled.value, found.value, atol=1e-9)
    if (values == values.min()).sum() == 1:  # of two in the middle the smaller rate has its neighbours, so the value may differ
        assert_allclose(mirrored.value, found.value, atol=1e-9)
    assert scaled.inside == mirrored.inside == found.inside
    assert found.value <= values.min()
    middles = np.concatenate([x[:1], (x[1:] + x[:-1]) / 2, x[-1:]])  # the vertex lies between the middles around the best
    near_best = [low - 1e-9 <= np.log(found.rate) <= high + 1e-9 for low, high in itertools.pairwise(middles)]
    assert (np.array(near_best) & (values == values.min())).any()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5, 2, 1, 2, 5], (1, 1, True)),
        ([9, 2, 1, 4, 9], (10**-0.25, 0.875, True)),  # steps of 1 and 3 beside the best: -1/4, and 1/8 below
        ([1, 2, 3, 4, 5], (0.01, 1, False)),
        ([5, 4, 3, 2, 1], (100, 1, False)),
        ([9, 1, 1, 9, 9], (10**-0.5, 0, True)),  # between two equals
        ([9, 9, 9, 1, 1], (10**1.5, 0, True)),
        ([1, 1, 1, 1, 1], (1, 1, True)),
        ([9, 2, 1, NAN, NAN], (1, 1, True)),  # beside a run that diverged
        ([9, INF, 1, 4, 9], (1, 1, True)),
        ([NAN, 2, 1, 4, NAN], (10**-0.25, 0.875, True)),
        ([-INF, 2, 1, 4, -INF], (10**-0.25, 0.875, True)),
        ([1, NAN, 2, 3, 4], (0.01, 1, False)),
        ([NAN, NAN, NAN, NAN, 7], (100, 7, False)),
        ([NAN, NAN, NAN, 7, NAN], (10, 7, True)),
    ],
)
def test_the_optimum_by_hand(values, expected):
    assert_allclose(interpolated_optimum([0.01, 0.1, 1, 10, 100], values), expected, rtol=1e-12, atol=1e-12)


def test_it_finds_a_shift_that_a_grid_of_factors_of_three_cannot_show():
    grid = 3.0 ** np.arange(-3, 4)
    rng, off = np.random.default_rng(4), {"grid": [], "parabola": []}
    for _ in range(200):
        truth = rng.uniform(-1.5, 1.5)
        losses = np.cosh(np.log(grid) - truth) + rng.normal(0, 0.02, len(grid))  # no parabola, and noise
        off["grid"].append(np.log(grid[losses.argmin()]) - truth)
        off["parabola"].append(np.log(interpolated_optimum(grid, losses).rate) - truth)
    assert np.abs(off["parabola"]).mean() < 0.25 * np.abs(off["grid"]).mean()


@pytest.mark.parametrize("rates", [[1, 2], [[1, 2, 3]], 1.0, [1, 1, 2], [1, 3, 2], [3, 2, 1]])
def test_rates_are_three_or_more_and_increase(rates):
    with pytest.raises(ValueError, match="rates must be one-dimensional, three or more, and increasing, got"):
        interpolated_optimum(rates, np.ones(np.shape(rates)))


@pytest.mark.parametrize("bad", [0, -1.0, NAN, INF])
def test_rates_are_positive(bad):
    with pytest.raises(ValueError, match=f"rates must be positive and finite; got {bad}"):
        interpolated_optimum([bad, 1, 2], [1, 2, 3])


@pytest.mark.parametrize("values", [[1, 2], [[1, 2, 3]], 1.0, [NAN, NAN, INF]])
def test_values_are_as_many_and_one_is_finite(values):
    with pytest.raises(ValueError, match="values must be as many as rates, 3, one of them finite, got"):
        interpolated_optimum([1, 2, 3], values)
