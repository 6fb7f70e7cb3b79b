"""The ledger: verdicts come from records by fixed criteria, and tables survive what the text contains."""

import functools
import re
from dataclasses import asdict

import pytest
import xarray as xr

from kadam.report.ledger import (
    Claim,
    Criterion,
    below,
    judge_all,
    passes,
    passes_each,
    passes_for,
    plain_table,
    record_name,
    short_table,
    with_range,
)

ABOVE = {("X-1", "here"): ("x is |large|", "x above 3", lambda d: (f"x = {float(d.x):g}", passes(float(d.x) > 3)))}
COLUMNS = ["id", "source", "statement", "measured", "criterion", "verdict", "profile", "record", "notebook"]


def record(x):
    return xr.Dataset({"x": x}).assign_attrs(experiment="counting", profile="smoke", config_hash="0123abcd")


def decided(tests, x):
    (claim,) = judge_all(tests, record(x), profile="", notebook="n")
    return claim.measured, claim.verdict


@pytest.mark.parametrize(("x", "verdict"), [(3.5, "reproduced"), (2.5, "not reproduced")])
def test_the_record_decides(x, verdict):
    (claim,) = judge_all(ABOVE, record(x), profile="", notebook="01-n")
    assert claim == Claim(
        "X-1", "here", "x is |large|", f"x = {x:g}", "x above 3", verdict, "smoke", "counting/smoke-0123abcd", "01-n"
    )


def test_without_a_record_nothing_is_claimed():
    (claim,) = judge_all(ABOVE, None, profile="paper", notebook="01-n")
    assert (claim.verdict, claim.profile, claim.record) == ("not run at this profile", "paper", "-")


def test_a_claim_as_data_has_the_columns_of_the_ledger():
    (claim,) = judge_all(ABOVE, None, profile="paper", notebook="01-n")
    assert list(asdict(claim)) == COLUMNS


def at_most(dataset, *, most, times=1):
    return f"x = {float(dataset.x):g}", passes(times * float(dataset.x) <= most)


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


def test_bars_in_the_text_do_not_break_the_table():
    table = short_table(judge_all(ABOVE, record(4.0), profile="", notebook="n")).markdown()
    head, rule, row = table.splitlines()
    assert head.count("|") == rule.count("|") == row.replace(r"\|", "").count("|") == 6
    assert r"x is \|large\|" in row


def test_the_plain_table_says_everything():
    text = plain_table(judge_all(ABOVE, record(4.0), profile="", notebook="01-n"))
    assert all(part in text for part in ("X-1", "REPRODUCED", "x is |large|", "x above 3", "x = 4", "01-n"))


def test_a_record_is_named_by_experiment_profile_and_hash():
    assert record_name(record(1.0)) == "counting/smoke-0123abcd"


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(1.0, "reproduced"), (0.99, "partly"), (0.75, "partly"), (0.74, "not reproduced"), (0.0, "not reproduced")],
)
def test_a_criterion_met_in_part_of_the_cases_is_graded(share, verdict):
    assert passes_for(share) == verdict


def test_values_are_written_as_mean_and_range():
    assert with_range(xr.DataArray([1.0, 2.0, 4.5]), ".1f") == "2.5 (1.0 to 4.5)"


@pytest.mark.parametrize(
    ("held", "verdict"),
    [
        ([], "not run at this profile"),
        ([True, True], "reproduced"),
        ([True, False, False], "partly"),
        ([False], "not reproduced"),
    ],
)
def test_several_cases_pass_together_partly_or_not(held, verdict):
    assert passes_each(held) == verdict


@pytest.mark.parametrize(
    ("value", "words"), [(2.2e-16, "below 1e-15"), (1.1e-16, "below 1e-15"), (1e-3, "below 1e-02"), (0.0, "0")]
)
def test_a_number_of_the_size_of_rounding_is_written_as_a_power_of_ten_above_it(value, words):
    assert below(value) == words
