"""The ledger: verdicts come from records by fixed criteria, and tables survive what the text contains."""

import functools
import re

import numpy as np
import pytest
import xarray as xr

from kadam.report.ledger import (
    BEFORE,
    LOOK,
    Claim,
    Criterion,
    below,
    closed,
    judge_all,
    judged,
    limited,
    on_enough_seeds,
    record_name,
    together,
    with_range,
)

ABOVE = {("X-1", "here"): ("x is |large|", "x above 3", lambda d: (f"x = {float(d.x):g}", judged(float(d.x) > 3)))}


def record(x):
    return xr.Dataset({"x": x}).assign_attrs(experiment="counting", profile="smoke", config_hash="0123abcd")


def decided(tests, x):
    (claim,) = judge_all(tests, record(x), profile="", notebook="n")
    return claim.measured, claim.verdict


@pytest.mark.parametrize(("x", "verdict", "held"), [(3.5, "reproduced", True), (2.5, "not reproduced", False)])
def test_the_record_decides(x, verdict, held):
    (claim,) = judge_all(ABOVE, record(x).assign_attrs(data="a text"), profile="", notebook="01-n")
    assert claim == Claim(
        id="X-1",
        source="here",
        statement="x is |large|",
        measured=f"x = {x:g}",
        criterion="x above 3",
        when=BEFORE,
        verdict=verdict,
        cases={"all": held},
        margin=None,
        seeds=0,
        left_out=(),
        data="a text",
        profile="smoke",
        record="counting/smoke-0123abcd",
        notebook="01-n",
        judge=f"{__name__}.<lambda>",
    )


def test_without_a_record_nothing_is_claimed():
    (claim,) = judge_all(ABOVE, None, profile="paper", notebook="01-n")
    assert (claim.verdict, claim.cases, claim.profile, claim.record) == ("not run at this profile", {}, "paper", "-")


def test_a_criterion_says_when_it_was_set():
    assert (Criterion("x above 3").when, Criterion("x above {least}", when=LOOK, least=3).when) == (BEFORE, LOOK)


def by_seed(*values):
    return xr.Dataset({"x": ("seed", list(values))}).assign_attrs(
        experiment="counting", profile="smoke", config_hash="0123abcd"
    )


def mean_above(dataset, *, least):
    return f"mean {float(dataset.x.mean()):g}", limited(float(dataset.x.mean()), least=least)


@pytest.mark.parametrize(
    ("values", "left_out", "fragile"),
    [
        ((3.0, 3.0, 9.0), ("reproduced", "reproduced", "not reproduced"), True),
        ((5.0, 5.0, 9.0), ("reproduced",) * 3, False),
        ((3.0, 3.0, 3.0), ("not reproduced",) * 3, False),
        ((5.0,), (), False),
    ],
)
def test_a_claim_is_fragile_where_one_seed_less_changes_it(values, left_out, fragile):
    tests = {("X-4", "here"): ("x is large", Criterion("mean at least {least}", least=4), mean_above)}
    (claim,) = judge_all(tests, by_seed(*values), profile="", notebook="n")
    assert (claim.seeds, claim.left_out, claim.fragile) == (len(values), left_out, fragile)


def test_a_seed_that_is_left_out_on_purpose_still_counts_for_there_being_enough():
    tests = {("X-5", "here"): ("x is large", Criterion("mean at least {least}", least=4), on_enough_seeds(mean_above))}
    for seeds, left_out in ((2, ()), (3, ("reproduced",) * 3)):
        (claim,) = judge_all(tests, by_seed(*[5.0] * seeds), profile="", notebook="n")
        assert claim.left_out == left_out
        assert (claim.verdict == "reproduced") == (seeds == 3)


def at_most(dataset, *, most, times=1):
    return f"x = {float(dataset.x):g}", judged(times * float(dataset.x) <= most)


@pytest.mark.parametrize(
    ("most", "words", "verdict"), [(0.1, "at most 10%", "not reproduced"), (0.25, "at most 25%", "reproduced")]
)
def test_one_number_is_printed_and_decides(most, words, verdict):
    tests = {("X-2", "here"): ("x is small", Criterion("at most {most:.0%}", most=most), at_most)}
    (claim,) = judge_all(tests, record(0.2), profile="", notebook="n")
    assert (claim.criterion, claim.verdict) == (words, verdict)


def test_a_criterion_may_carry_several_numbers_and_what_is_bound_to_the_judge_is_none_of_them():
    criterion = Criterion("between {least} and {most:g}, from {least} on", least=1, most=2.0)
    assert str(criterion) == "between 1 and 2, from 1 on"
    doubled = {("X-3", "here"): ("x is small", Criterion("at most {most}", most=3), functools.partial(at_most, times=2))}
    assert decided(doubled, 1.5) == ("x = 1.5", "reproduced")
    assert decided(doubled, 1.6) == ("x = 1.6", "not reproduced")


@pytest.mark.parametrize(
    ("words", "limits"),
    [
        ("at most {most}", {}),
        ("at most a tenth", {"most": 0.1}),
        ("at most {most}", {"least": 0.1}),
        ("{least} to {most}", {"most": 0.1}),
        ("at most {}", {"most": 0.1}),
        ("at most {0}", {}),
        ("at most {{most}}", {"most": 0.1}),
    ],
)
def test_words_and_numbers_of_a_criterion_must_name_each_other(words, limits):
    with pytest.raises(
        ValueError, match=re.escape(f"words must name the limits {sorted(limits)}, each and no other; got {words!r}")
    ):
        Criterion(words, **limits)


def test_words_alone_are_a_criterion_without_numbers():
    assert (str(Criterion("x above 3")), Criterion("x above 3").limits) == ("x above 3", {})
    (claim,) = judge_all(ABOVE, record(4.0), profile="", notebook="n")
    assert (claim.criterion, claim.measured, claim.verdict) == ("x above 3", "x = 4", "reproduced")


def test_a_record_is_named_by_experiment_profile_and_hash():
    assert record_name(record(1.0)) == "counting/smoke-0123abcd"


def test_values_are_written_as_mean_and_range():
    assert with_range(xr.DataArray([1.0, 2.0, 4.5]), ".1f") == "2.5 (1.0 to 4.5)"


@pytest.mark.parametrize(
    ("held", "verdict"),
    [
        ([], "not run at this profile"),
        ([True, True], "reproduced"),
        ([True] * 99 + [False], "partly"),
        ([True, False, False], "partly"),
        ([False], "not reproduced"),
    ],
)
def test_partly_means_some_but_not_all(held, verdict):
    assert judged(held).verdict == verdict


def test_what_was_not_run_does_not_count_unless_nothing_was():
    assert together(["reproduced", "not run at this profile"]) == "reproduced"
    assert together(["not run at this profile"] * 2) == together([]) == "not run at this profile"
    assert together(["reproduced", "partly"]) == together(["reproduced", "not reproduced"]) == "partly"


GRID = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], {"network": ["deep", "flat"], "weight_decay": [0.0, 0.1]})


def test_cases_are_named_by_where_they_lie():
    held = limited(GRID, most=2.5).held
    assert held == {
        "deep, weight decay 0": True,
        "deep, weight decay 0.1": True,
        "flat, weight decay 0": False,
        "flat, weight decay 0.1": False,
    }
    assert judged([True, False], names=["fixed", "tuned"]).held == {"fixed": True, "tuned": False}
    assert judged([True, False]).held == {"case 1": True, "case 2": False}
    assert judged(True).held == {"all": True}


def test_cases_are_counted_where_they_are_to_be_judged():
    assert limited(GRID, most=2.5, where=GRID.network == "flat").held == {
        "flat, weight decay 0": False,
        "flat, weight decay 0.1": False,
    }


@pytest.mark.parametrize(
    ("limits", "margin", "verdict"),
    [
        ({"most": 2.5}, 0.2, "partly"),
        ({"most": 4.0}, 0.0, "reproduced"),
        ({"least": 0.5}, 1.0, "reproduced"),
        ({"least": 0.0}, None, "reproduced"),  # no share of a limit that is zero
        ({"least": 0.0, "of": 4.0}, 0.25, "reproduced"),
        ({"least": 0.0, "of": np.array([[1.0, 20.0], [30.0, 40.0]])}, 0.1, "reproduced"),
        ({"least": 5.0}, 0.2, "not reproduced"),
        ({"least": 2.0, "most": 5.0}, 0.0, "partly"),
        ({"least": 1.0}, 0.0, "reproduced"),
        ({"above": 1.0}, 0.0, "partly"),
    ],
)
def test_the_margin_is_how_near_the_nearest_case_comes_to_its_limit(limits, margin, verdict):
    of = limited(GRID, **limits)
    assert of.verdict == verdict
    assert of.margin == (margin if margin is None else pytest.approx(margin))


def test_what_is_no_number_does_not_hold_and_has_no_margin():
    of = limited(xr.DataArray([1.0, np.nan], {"seed": [0, 1]}), most=2)
    assert (of.held, of.margin) == ({"seed 0": True, "seed 1": False}, 0.5)
    assert limited(np.nan, most=2).margin is None


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [([0.6, 0.62, 0.61], "reproduced"), ([0.4, 0.42, 0.41], "not reproduced"), ([0.1, 1.5, 0.1], "not reproduced")],
)
def test_a_gap_is_closed_by_the_means_of_paired_runs_and_their_interval(gain, verdict):
    words, of = closed(xr.DataArray(gain, dims="seed"), xr.DataArray([1.0, 1.01, 0.99], dims="seed"), least=0.5)
    assert words == f"share of the gap closed {np.mean(gain):.2f}"
    assert of.verdict == verdict


def test_where_there_is_no_gap_nothing_is_closed():
    words, of = closed(xr.DataArray([1.0, 1.0], dims="seed"), xr.DataArray([0.1, -0.2], dims="seed"), least=0.5)
    assert (words, of.verdict) == ("no gap to close", "not run at this profile")


@pytest.mark.parametrize(
    ("value", "words"), [(2.2e-16, "below 1e-15"), (1.1e-16, "below 1e-15"), (1e-3, "below 1e-02"), (0.0, "0")]
)
def test_a_number_of_the_size_of_rounding_is_written_as_a_power_of_ten_above_it(value, words):
    assert below(value) == words
