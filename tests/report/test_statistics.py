"""Statistics of a few repetitions: intervals of a mean, ranks, and what these say of two sequences."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from kadam.report.statistics import (
    earlier,
    equal_groups,
    mean_interval,
    rank_agreement,
    rank_correlation,
    ranks_last,
    share_between,
)

NAN = float("nan")
SAMPLES = np.random.default_rng(0).normal(3.0, 2.0, (2000, 5))


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_an_interval_covers_the_true_mean_as_often_as_it_says(level):
    _, low, high = mean_interval(SAMPLES, level=level)
    deviation = (level * (1 - level) / len(SAMPLES)) ** 0.5
    assert abs(((low <= 3) & (high >= 3)).mean() - level) < 3 * deviation


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_it_is_the_interval_of_the_t_test(level):
    expected = stats.ttest_1samp(SAMPLES, 0.0, axis=1).confidence_interval(level)
    mean, low, high = mean_interval(SAMPLES, level=level)
    assert_allclose(mean, SAMPLES.mean(1))
    assert_allclose([low, high], [expected.low, expected.high], rtol=1e-10)


def test_repetitions_lie_along_any_axis():
    for ours, transposed in zip(mean_interval(SAMPLES), mean_interval(SAMPLES.T, axis=0), strict=True):
        assert ours.shape == (2000,)
        assert_allclose(ours, transposed, rtol=1e-12)


def test_a_list_of_numbers_has_one_interval():
    mean, low, high = mean_interval([1, 2, 3])
    assert (mean, mean - low) == (2, pytest.approx(high - mean))
    assert_allclose(high, 2 + 4.302652729911275 / 3**0.5)  # the table's t for two degrees of freedom


def test_one_repetition_says_nothing_of_its_error():
    mean, low, high = mean_interval([[3.0], [4.0]])
    assert mean.tolist() == [3, 4]
    assert np.isnan([low, high]).all()
    assert low.shape == high.shape == (2,)


def test_a_missing_repetition_is_not_passed_over():
    assert np.isnan(mean_interval([1.0, np.nan, 3.0])).all()


@pytest.mark.parametrize(("values", "axis"), [(1.0, -1), ([], -1), (np.ones((3, 0)), 1), (np.ones((0, 3)), 0)])
def test_no_repetition_is_refused(values, axis):
    shape = re.escape(str(np.shape(values)))
    with pytest.raises(ValueError, match=f"one repetition or more along axis {axis}, got shape {shape}"):
        mean_interval(values, axis=axis)


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.5, 95, float("nan")])
def test_a_level_is_a_share(level):
    with pytest.raises(ValueError, match=rf"level must lie in \(0, 1\), got {level}"):
        mean_interval([1, 2], level=level)


def test_what_never_comes_ranks_last_and_equals_share_a_rank():
    assert_array_equal(ranks_last([3.0, NAN, 1.0, NAN, 1.0]), [3, 4.5, 1.5, 4.5, 1.5])
    assert_array_equal(ranks_last([np.inf, NAN, -np.inf]), [2.5, 2.5, 1])


def test_what_differs_by_rounding_alone_is_equal():
    assert_array_equal(ranks_last([0.3, 0.1 + 0.2, 2.0, 0.3 * (1 + 1e-7)]), [1.5, 1.5, 4, 3])
    assert_array_equal(ranks_last([]), [])
    assert rank_agreement([0.3, 0.1 + 0.2, 2.0], [1, 2, 3]) == rank_agreement([0.3, 0.3, 2.0], [1, 2, 3])


SMALL = arrays(np.float64, (2, 12), elements=st.integers(-3, 3).map(float))  # with many equal values


@given(SMALL)
def test_the_correlation_is_that_of_the_ranks(values):
    found = rank_correlation(*values)
    if np.ptp(values, axis=1).min() == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(np.corrcoef([stats.rankdata(x) for x in values])[0, 1], abs=1e-12)


def test_the_correlation_counts_never_as_the_largest():
    assert rank_correlation([1, 2, 3], [0.5, 7.0, NAN]) == 1
    assert rank_correlation([1, 2, 3], [NAN, 7.0, 0.5]) == -1
    assert np.isnan(rank_correlation([1, 2, 3], [NAN, NAN, NAN]))


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2, 3]), ([1], [1]), (1.0, 1.0), ([[1, 2]], [[1, 2]])])
def test_a_correlation_wants_two_equally_long_sequences(x, y):
    with pytest.raises(ValueError, match="x and y must be one-dimensional, equally long, two or more, got shapes"):
        rank_correlation(x, y)
    with pytest.raises(ValueError, match="y must be a real number or an array of real numbers"):
        rank_correlation([1, 2], ["a", "b"])


def test_the_agreement_of_ranks_is_kendalls_tau_and_equals_count_for_nothing():
    rng = np.random.default_rng(0)
    for _ in range(5):
        x, y = rng.standard_normal((2, 7))
        assert rank_agreement(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
    assert rank_agreement([1, 2, 3], [1, 1, NAN]) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="equally long"):
        rank_agreement([1, 2], [1, 2, 3])


def test_groups_in_order_of_a_value_are_equally_large_and_ties_stay_together():
    assert equal_groups([5.0, 1.0, np.inf, 2.0, 4.0, 3.0], 3).tolist() == [2, 0, 2, 0, 1, 1]
    assert equal_groups([0.9, 0.9, 0.5, 0.5, 0.7, 0.7], 3).tolist() == [2, 2, 0, 0, 1, 1]
    assert set(equal_groups([1.0] * 6, 3)) == {1}


def test_the_share_between_groups_is_one_without_spread_inside_them_and_small_with_nothing_but():
    groups = ["a", "a", "b", "b"]
    assert share_between([1, 1, 2, 2], groups) == 1
    assert share_between([1, 2, 1, 2], groups) == 0
    assert share_between([1, 2, 3, 4], groups) == pytest.approx(0.8)  # of squares 2 * 2 * 1 of 5
    assert np.isnan(share_between([1, 1, 1, 1], groups))
    with pytest.raises(ValueError, match=r"values and groups must be one-dimensional and equally long, got \(4,\) and \(1,\)"):
        share_between([1, 2, 3, 4], ["a"])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2], [3, 4], 1.0),
        ([3, 4], [1, 2], 0.0),
        ([1, 3], [2, 4], 0.75),
        ([1], [1], 0.5),
        ([1, NAN], [NAN, NAN], 0.75),
        ([NAN], [NAN], NAN),
        ([], [1.0], NAN),
    ],
)
def test_who_is_earlier(first, second, expected):
    assert_array_equal(earlier(first, second), expected)


@given(SMALL)
def test_earlier_is_the_share_of_pairs_in_which_the_first_is_smaller(values):
    difference = np.subtract.outer(*values)
    assert earlier(*values) == pytest.approx(((difference < 0) + (difference == 0) / 2).mean(), abs=1e-12)
