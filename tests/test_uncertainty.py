"""Student's interval of a mean: it covers, and it is scipy's."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from kadam.report.statistics import mean_interval

SAMPLES = np.random.default_rng(0).normal(3.0, 2.0, (2000, 5))


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_it_covers_the_true_mean_as_often_as_it_says(level):
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
