"""Sentences: how cases are counted and ranges written, and what a page, a terminal and a screen reader are given."""

import numpy as np
import pytest

from kadam.report.sentences import listed, of_all, plain, said, side, span, written


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ([True] * 7, "all 7 layers"),
        ([True, False], "1 of 2 layers"),
        ([[False], [False]], "none of 2 layers"),
        ([], "none of 0 layers"),
    ],
)
def test_cases_are_counted(held, words):
    assert of_all(held, "layers") == words


@pytest.mark.parametrize(
    ("values", "words"),
    [([2, 0.25], "0.25 to 2"), ([1.001, 1.002], "1"), ([np.nan, np.inf, 3], "3"), ([np.nan], "not measured")],
)
def test_a_span_is_that_of_finite_values_and_one_number_where_both_ends_read_the_same(values, words):
    assert span(values) == words


@pytest.mark.parametrize(
    ("value", "form", "words"),
    [
        (3183.4, ".2g", "3,200"),
        (4.4e20, ".2g", "4.4e+20"),
        (-0.0001, ".2f", "0.00"),
        (-0.0001, "+.2f", "+0.00"),
        (-0.25, ".2f", "-0.25"),
        (0.25, "", "0.25"),
    ],
)
def test_a_number_is_written_as_people_write_it(value, form, words):
    assert written(value, form) == words


def test_a_side_is_at_within_a_share_of_the_other_value():
    assert [side(value, 2.0, within=0.1) for value in (1.7, 1.9, 2.1, 2.3)] == ["below", "at", "at", "above"]
    assert side(-3, -2, below="slower", above="faster") == "slower"


def test_names_are_listed():
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["none", "a", "a and b", "a, b and c"]


def test_sentences_are_text_on_a_page_and_in_a_terminal():
    @said
    def tell(n):
        return f"*{n}* is $x$"

    assert tell.says
    assert (tell(2)._repr_markdown_(), repr(tell(2)), plain(tell(2))) == ("*2* is $x$", "*2* is $x$", "2 is x")
