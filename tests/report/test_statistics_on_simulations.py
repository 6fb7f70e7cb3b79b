"""Tests of paired differences, families of tests and seeds left out, on data whose answer is known."""

import itertools
import operator

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from kadam.report.statistics import (
    MOST_PAIRS,
    holm,
    least_p_value,
    mean_interval,
    paired_interval,
    paired_t_test,
    sign_flip_test,
    without_each,
)

NAN, INF = float("nan"), float("inf")
ROWS = 10_000


def draws(*shape):
    return np.random.default_rng(1).normal(size=shape)


def near(share, expected, rows=ROWS):
    """Whether a share of so many independent draws is within four standard deviations of its probability."""
    return abs(share - expected) <= 4 * (expected * (1 - expected) / rows) ** 0.5


# --- paired intervals ------------------------------------------------------------------------------------------------------


def covers(interval, truth):
    return ((interval.low <= truth) & (interval.high >= truth)).mean()


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_a_paired_interval_covers_the_difference_as_often_as_it_says_whatever_the_pairs_share(level):
    shared, noise = 100 * draws(ROWS, 1, 5), draws(ROWS, 2, 5)
    first, second = np.moveaxis(shared + noise + [[2.0], [0.5]], 1, 0)
    interval = paired_interval(first, second, level=level)
    assert near(covers(interval, 1.5), level)
    assert np.median(interval.high - interval.low) < 5  # the second's pairs in another order know little
    shuffled = paired_interval(first, np.roll(second, 1, axis=-1), level=level)
    assert np.median(shuffled.high - shuffled.low) > 50


def test_the_interval_is_too_narrow_where_its_assumptions_fail():
    skewed = np.exp(2 * draws(ROWS, 5))
    assert covers(paired_interval(skewed, np.zeros_like(skewed)), np.exp(2.0)) < 0.8
    dependent = draws(ROWS, 5) + draws(ROWS, 6)[:, -1:]  # the seeds share an error
    assert covers(paired_interval(dependent, np.zeros_like(dependent)), 0) < 0.8


def test_a_paired_interval_is_the_interval_of_the_differences_along_an_axis():
    first, second = draws(2, 5, 3)
    expected = mean_interval((first - second).T, level=0.9)
    assert_array_equal(paired_interval(first, second, axis=0, level=0.9), expected)
    assert paired_interval([3, 5], [1, 1]).mean == 3
    assert np.isnan(paired_interval([3.0], [1.0]).low)


@pytest.mark.parametrize("shapes", [((5,), (3, 5)), ((5,), (1,)), ((5,), ()), ((3, 5), (5, 3))])
def test_pairs_are_not_made_by_broadcasting(shapes):
    with pytest.raises(ValueError, match=r"first and second must have the same shape, got \("):
        paired_interval(*map(np.ones, shapes))


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_run_that_diverged_has_no_difference(bad):
    with pytest.raises(ValueError, match=f"first must be finite numbers; got {bad}"):
        paired_interval([1.0, bad], [1.0, 2.0])
    with pytest.raises(ValueError, match=f"second must be finite numbers; got {bad}"):
        paired_interval([1.0, 2.0], [1.0, bad])
    with pytest.raises(ValueError, match=f"differences must be finite numbers; got {bad}"):
        sign_flip_test([1.0, bad])


# --- the sign-flip test ----------------------------------------------------------------------------------------------------


# Heights of 15 crossed less self-fertilized plants of maize in eighths of an inch, from Darwin's experiment; of the 2^15 ways
# to choose signs, 1726 make a sum at least as large in size: Fisher, The Design of Experiments, 1935, sections 17 and 21.
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_the_sign_flip_test_has_the_p_value_that_fisher_counted():
    assert sign_flip_test(DARWIN) == 1726 / 2**15


def enumerated(differences):
    """The p-value of whole numbers, one choice of signs after the other."""
    signs = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(sum(map(operator.mul, one, differences))) for one in signs]
    return sum(one >= sums[0] for one in sums) / len(sums)


WHOLE = st.lists(st.integers(-9, 9), min_size=1, max_size=7)


@given(WHOLE, st.sampled_from([1.0, 0.1, -1 / 3, 1e-300, 1e300, 5e-324]))
def test_it_counts_the_signs_with_ties_at_any_scale_and_in_any_order(differences, scale):
    expected = enumerated(differences)
    scaled = scale * np.array(differences, dtype=float)
    assert sign_flip_test(scaled) == sign_flip_test(scaled[::-1]) == expected


@pytest.mark.parametrize("n", [2, 5, 8])
def test_it_agrees_with_scipy(n):
    for row in draws(5, n) + 0.5:
        options = {"permutation_type": "samples", "n_resamples": np.inf, "vectorized": True}
        expected = stats.permutation_test((row,), lambda x, axis: x.mean(axis), **options)
        assert sign_flip_test(row) == pytest.approx(expected.pvalue, abs=1e-12)


def test_of_ranks_it_is_wilcoxons_test():
    for signs in draws(20, 9) > -0.5:
        ranks = np.arange(1, 10) * np.where(signs, 1, -1)
        assert sign_flip_test(ranks) == pytest.approx(stats.wilcoxon(ranks, method="exact").pvalue, abs=1e-12)


def test_rows_of_pairs_lie_along_any_axis():
    rows = draws(4, 3, 6) + 1
    expected = [[sign_flip_test(row) for row in block] for block in rows]
    assert_array_equal(sign_flip_test(rows), expected)
    assert_array_equal(sign_flip_test(np.moveaxis(rows, -1, 0), axis=0), expected)


@pytest.mark.parametrize("n", [5, 8])
def test_without_a_difference_its_p_values_are_uniform_on_their_lattice(n):
    heavy = np.random.default_rng(2).standard_t(1, (ROWS, n)) * np.arange(1, n + 1)  # symmetric; no moments, scales unlike
    p, lattice = sign_flip_test(heavy), np.arange(1, 2 ** (n - 1) + 1) * least_p_value(n)
    assert set(p) == set(lattice)
    assert all(near((p <= level).mean(), level) for level in lattice)
    assert near(
        (p <= 0.05).mean(), np.floor(0.05 / lattice[0]) * lattice[0]
    )  # at most the level, between points of the lattice


def test_with_equal_sizes_its_level_is_below_what_is_asked():
    p = sign_flip_test(np.random.default_rng(3).integers(-2, 3, (ROWS, 8)))
    for level in (0.01, 0.05, 0.25, 0.5):
        assert (p <= level).mean() <= level + 3 * (level / ROWS) ** 0.5
    assert (p <= 0.05).mean() < 0.045


def test_its_power_grows_with_the_difference_and_the_pairs_and_six_are_needed_for_any():
    noise = draws(2000, 10)
    power = {
        (n, shift): (sign_flip_test(noise[:, :n] + shift) <= 0.05).mean() for n in (5, 6, 8, 10) for shift in (0, 0.5, 1, 2)
    }
    assert all(power[5, shift] == 0 for shift in (0, 0.5, 1, 2))
    assert all(np.all(np.diff([power[n, shift] for shift in (0, 0.5, 1, 2)]) > 0.02) for n in (6, 8, 10))
    assert all(power[6, shift] < power[8, shift] < power[10, shift] for shift in (0.5, 1, 2))
    assert power[10, 2] > 0.99


@pytest.mark.parametrize(("pairs", "expected"), [(1, 1.0), (2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_few_pairs_cannot_have_a_small_p_value(pairs, expected):
    assert least_p_value(pairs) == expected


@pytest.mark.parametrize("n", range(1, MOST_PAIRS + 1))
def test_the_least_p_value_is_reached_and_the_largest_is_one(n):
    same = np.arange(1, n + 1) / 7
    assert sign_flip_test(same) == sign_flip_test(-same) == least_p_value(n)
    assert sign_flip_test(np.zeros(n)) == 1


def test_pairs_are_at_least_one_and_few_enough_to_count():
    for shape in [(0,), (3, 0), (MOST_PAIRS + 1,), ()]:
        with pytest.raises(ValueError, match=r"differences must hold 1 to 16 pairs along axis -1, got shape \("):
            sign_flip_test(np.ones(shape))
    for pairs in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match=f"pairs must be a whole number >= 1, got {pairs}"):
            least_p_value(pairs)


# --- Holm's correction -----------------------------------------------------------------------------------------------------


# Of 15 comparisons in a trial of thrombolysis, of which Bonferroni's method rejects three at 5%. Source: Benjamini and
# Hochberg, Journal of the Royal Statistical Society B 57, 1995, pages 289-300. The adjusted ones are computed by hand: the
# first to the sixth times 15 to 10; 0.0298 x 9 and 0.0344 x 8 are below 0.278; 0.0459 x 7; then 1.
TRIAL = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
ADJUSTED = [0.0015, 0.0056, 0.0247, 0.114, 0.2211, 0.278, 0.278, 0.278, 0.3213, 1, 1, 1, 1, 1, 1]


def test_holm_on_a_published_trial_and_on_four_tests():
    assert_allclose(holm(TRIAL), ADJUSTED, rtol=1e-12)
    assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-12)


def rejected(p, level):
    """Step by step: the smallest against level/m, the next against level/(m - 1), until one is larger."""
    found = np.zeros(len(p), dtype=bool)
    for left, i in zip(range(len(p), 0, -1), np.argsort(p), strict=True):
        if p[i] * left > level:
            break
        found[i] = True
    return found


FAMILY = arrays(
    np.float64, st.integers(1, 12), elements=st.one_of(st.floats(0, 1), st.sampled_from([0, 0.0125, 0.025, 0.05, 1]))
)


@given(FAMILY, st.sampled_from([0.01, 0.05, 0.2, 0.999]))
def test_holm_rejects_step_by_step_and_what_bonferroni_rejects(p, level):
    adjusted = holm(p)
    assert_array_equal(adjusted <= level, rejected(p, level))
    assert (adjusted <= np.minimum(1, len(p) * p)).all()
    assert ((adjusted >= p) & (adjusted <= 1)).all()
    assert_array_equal(holm(p[::-1]), adjusted[::-1])
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def test_a_family_may_have_any_shape_and_one_test_stays_as_it_is():
    p = np.reshape(TRIAL, (3, 5))
    assert_array_equal(holm(p), np.reshape(holm(TRIAL), (3, 5)))
    assert holm(0.03) == 0.03
    assert holm([]).shape == (0,)


@pytest.mark.parametrize("bad", [NAN, -1e-9, 1 + 1e-9, INF])
def test_a_p_value_is_a_probability(bad):
    assert_array_equal(holm([0.0, 1.0]), [0, 1])
    with pytest.raises(ValueError, match=rf"p_values must lie in \[0, 1\]; got {bad}"):
        holm([0.5, bad])


def family_error(families):
    """The share of families, all of whose hypotheses hold, in which one is rejected at 5%."""
    return np.mean([holm(family).min() <= 0.05 for family in families])


def test_holm_keeps_the_error_of_a_family_whatever_the_tests_share():
    rows, noise = 4000, draws(4000, 11)
    assert near(family_error(stats.norm.sf(noise[:, 1:])), 1 - 0.995**10, rows)
    together = stats.norm.sf(0.9**0.5 * noise[:, :1] + 0.1**0.5 * noise[:, 1:])
    assert 0 < family_error(together) < 0.04
    assert near(family_error(np.repeat(stats.norm.sf(noise[:, :1]), 10, axis=1)), 0.005, rows)


def test_holm_spends_on_what_is_left_what_clear_differences_do_not_need():
    rows = 4000
    p = np.concatenate([np.full((rows, 5), 1e-9), stats.norm.sf(draws(rows, 5))], axis=1)
    errors = [(holm(family)[5:] <= 0.05).any() for family in p]
    assert near(np.mean(errors), 1 - 0.99**5, rows)  # Bonferroni's method would have 2.5%


def test_three_seeds_reject_nothing_in_any_family_and_eight_in_one_of_six():
    clear = draws(6, 8) * 0.1 + 1
    assert holm(sign_flip_test(clear[:, :3])).min() == 1
    assert_allclose(holm(sign_flip_test(clear)), 6 * least_p_value(8))
    assert (holm(sign_flip_test(np.tile(clear, (2, 1)))) > 0.05).all()


# --- the paired t-test -----------------------------------------------------------------------------------------------------


@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(2, 9)), elements=st.integers(-9, 9).map(float)))
def test_the_paired_t_test_is_scipys_and_rejects_where_the_interval_leaves_zero_out(rows):
    assume((np.ptp(rows, axis=1) > 0).all())
    p, of = paired_t_test(rows), mean_interval(rows)
    assert_allclose(p, stats.ttest_1samp(rows, 0, axis=1).pvalue, rtol=1e-9)
    away = (of.low > 1e-9) | (of.high < -1e-9)
    assert_array_equal(p[away] < 0.05, np.ones(away.sum()))
    assert (p[(of.low < -1e-9) & (of.high > 1e-9)] > 0.05).all()
    assert_array_equal(paired_t_test(rows.T, axis=0), p)


def test_differences_without_spread_are_certain_and_none_or_one_say_nothing():
    assert_array_equal(paired_t_test([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), [1, 0])
    assert_array_equal(paired_t_test([[0.0], [3.0]]), [1, 1])
    with pytest.raises(ValueError, match="differences"):
        paired_t_test([1.0, NAN])


def test_three_pairs_can_reject_by_the_t_test_alone():
    assert paired_t_test([1.0, 1.1, 0.9]) < 0.01 < least_p_value(3) == sign_flip_test([1.0, 1.1, 0.9])


# --- verdicts that rest on one seed ----------------------------------------------------------------------------------------


def errors_of(*values):
    return xr.Dataset({"error": ("seed", list(values)), "other": ("size", [1, 2])}, attrs={"profile": "cpu"})


def mean_within(dataset):
    return "yes" if dataset.error.mean() <= 10 else "no"


def test_each_entry_is_left_out_once_and_nothing_else():
    whole = errors_of(1.0, 2.0, 4.0).assign_coords(seed=[7, 7, 9])  # labels may repeat
    parts = without_each(lambda part: part, whole)
    assert [part.error.values.tolist() for part in parts] == [[2, 4], [1, 4], [1, 2]]
    assert [part.seed.values.tolist() for part in parts] == [[7, 9], [7, 9], [7, 7]]
    assert all(part.attrs == whole.attrs and part.other.equals(whole.other) for part in parts)
    assert without_each(lambda part: part.other.item(), whole, "size") == [2, 1]


def test_what_cannot_be_left_out_is_refused():
    for dim, whole in [("seed", errors_of(1.0)), ("seed", errors_of()), ("network", errors_of(1.0, 2.0))]:
        with pytest.raises(ValueError, match=f"dim must be a dimension with two entries or more, got '{dim}' of {{'seed': "):
            without_each(mean_within, whole, dim)
