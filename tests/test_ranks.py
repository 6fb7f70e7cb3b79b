"""Ranks, and what they say of two sequences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from kadam.report.statistics import earlier, rank_correlation, ranks_last, share_between

NAN = float("nan")


def test_what_never_comes_ranks_last_and_equals_share_a_rank():
    np.testing.assert_array_equal(ranks_last([3.0, NAN, 1.0, NAN, 1.0]), [3, 4.5, 1.5, 4.5, 1.5])
    np.testing.assert_array_equal(ranks_last([np.inf, NAN, -np.inf]), [2.5, 2.5, 1])


@given(arrays(np.float64, (2, 12), elements=st.integers(-3, 3).map(float)))
def test_the_correlation_is_scipys(values):
    found = rank_correlation(*values)
    if np.ptp(values, axis=1).min() == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(*values).statistic, abs=1e-12)


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
    np.testing.assert_array_equal(earlier(first, second), expected)
