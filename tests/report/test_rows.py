"""Rows of the ledger: one outcome of many claims, in the words of their kind, with the numbers that decide it."""

import re
from dataclasses import replace

import pytest

from kadam.report.ledger import Claim
from kadam.report.ledger_page import Made, answer, fragment, readings, shortfalls
from kadam.report.rows import Row, count, first_word, long, short

HELD = {"reproduced": {"a": True}, "partly": {"a": True, "b": False}, "not reproduced": {"a": False}}
NOT_RUN = "not run at this profile"


def claim(id, verdict, *, left_out=(), record="growth/cpu-1", margin=None):
    cases = HELD.get(verdict, {})
    facts = {"source": "here", "statement": f"what {id} says", "measured": f"{id} is 3 <b>", "criterion": "at most 4"}
    where = {"data": "a text", "profile": "cpu", "record": record, "notebook": "02-growth", "judge": "kadam.judge"}
    judged = {"when": "before any run", "verdict": verdict, "cases": cases, "margin": margin, "seeds": len(left_out)}
    return Claim(id=id, **facts, **judged, left_out=tuple(left_out), **where)


def row(*verdicts, kind="paper", by=(), **facts):
    """A row of claims A, B, ... with these verdicts, or claims."""
    claims = [v if isinstance(v, Claim) else claim(chr(65 + i), v) for i, v in enumerate(verdicts)]
    one = Row("P9", kind, "it is so", tuple(c.id for c in claims), by=by, **facts)
    return one.answered({c.id: c for c in claims})


@pytest.mark.parametrize(
    ("verdicts", "outcome", "held", "of"),
    [
        (["reproduced", "reproduced"], "reproduced", 2, 2),
        (["reproduced", "not reproduced"], "partly", 1, 2),
        (["partly"], "partly", 1, 2),
        (["not reproduced", NOT_RUN], "not reproduced", 0, 1),
        ([NOT_RUN], NOT_RUN, 0, 0),
    ],
)
def test_a_papers_statement_comes_out_as_its_cases_do(verdicts, outcome, held, of):
    one = row(*verdicts)
    assert (one.outcome, one.held, one.of) == (outcome, held, of)
    reading = row(*verdicts, unconfirmed="a definition")
    assert reading.outcome == (outcome if outcome == NOT_RUN else f"{outcome}; our reading, unconfirmed")


def test_only_the_claims_that_decide_count():
    one = row("reproduced", "not reproduced", by=("A",))
    assert (one.outcome, one.held, one.of) == ("reproduced", 1, 1)


def test_a_statement_that_nothing_decides_says_why():
    one = row(unjudged="nobody ran it")
    assert (one.outcome, one.sentence) == ("not judged", "nobody ran it")


@pytest.mark.parametrize(
    ("verdict", "words", "word"),
    [
        ("reproduced", "yes: A is 3 <b>, in 1 of 1", "yes"),
        ("partly", "it depends: 1 of 2", "it depends"),
        ("not reproduced", "no advantage: A.held 0", "no"),
        (NOT_RUN, "open: no record decides it at this profile", "open"),
    ],
)
def test_a_question_is_answered_by_the_sentence_of_its_verdict_with_its_numbers(verdict, words, word):
    forms = {
        "yes": "yes: {A}, in {A.held} of {A.of}",
        "some": "it depends: {held} of {of}",
        "no": "no advantage: A.held {A.held}",
    }
    one = row(verdict, kind="question", **forms)
    assert (one.outcome, first_word(one)) == (words, word)


@pytest.mark.parametrize(("verdict", "outcome"), [("reproduced", "holds"), ("partly", "fails"), ("not reproduced", "fails")])
def test_a_check_holds_or_fails(verdict, outcome):
    assert row(verdict, kind="check").outcome == outcome


@pytest.mark.parametrize(
    ("first", "second", "fragile"),
    [
        (claim("A", "reproduced", left_out=["reproduced", "not reproduced"]), claim("B", "reproduced"), True),
        (claim("A", "reproduced", left_out=["reproduced"] * 2), claim("B", "reproduced"), False),
        (claim("A", "partly", left_out=["reproduced", "partly"]), claim("B", "partly", record="meta/cpu-2"), False),
        (claim("A", "reproduced", left_out=["partly"]), claim("B", "partly", record="meta/cpu-2"), False),
        # the same seed of one record changes both
        (
            claim("A", "partly", left_out=["reproduced", "not reproduced"]),
            claim("B", "partly", left_out=["reproduced", "partly"]),
            True,
        ),
    ],
)
def test_a_row_is_fragile_where_one_seed_of_one_record_less_changes_its_outcome(first, second, fragile):
    assert row(first, second).fragile == fragile


def test_the_margin_of_a_row_is_its_smallest():
    assert row(claim("A", "reproduced", margin=0.3), claim("B", "reproduced", margin=0.1)).margin == 0.1
    assert row("reproduced").margin is None


ROWS = [
    row("partly", why="a reason", unconfirmed="a definition"),
    row("reproduced", kind="question", yes="yes: {A}", asked="Is |it| so?"),
    row("partly", kind="check"),
    row(unjudged="nobody ran it"),
]


def test_rows_are_counted_by_kind():
    assert [count(ROWS, kind) for kind in ("paper", "question", "check")] == ["1 partly, 1 not judged", "1 yes", "1 fails"]
    assert count([ROWS[2], ROWS[2], row("reproduced", kind="check")], "check") == "2 fail, 1 holds"


@pytest.mark.parametrize("width", [50, 80, 200])
def test_the_short_ledger_fits_a_terminal_and_the_long_one_says_everything(width):
    assert max(map(len, short(ROWS, width).splitlines())) <= width
    told = " ".join(long(ROWS, width).split())
    assert all(
        part in told for part in ("A: what A says", "set before any run: at most 4", "Not: b.", "growth/cpu-1", "a text")
    )


def test_a_page_of_the_ledger_has_an_anchor_a_row_and_a_claim_and_escapes_what_was_measured():
    html = fragment(ROWS[:1], {"growth/cpu-1": Made("kadam run growth", {"seeds": "<8>"})}, {"A": ["tests/test_a.py"]})
    assert all(part in html for part in ('<tr id="P9"', '<p id="A">', "kadam run growth", "tests/test_a.py", "kadam.judge"))
    assert 'href="#configuration-growth-cpu-1"' in html
    assert '<details id="configuration-growth-cpu-1">' in html
    assert "<td>seeds</td><td>&lt;8&gt;</td>" in html
    assert "3 &lt;b&gt;" in html
    assert "3 <b>" not in html
    assert "@" not in html


@pytest.mark.parametrize(
    ("verdict", "kind", "colour"),
    [
        ("reproduced", "paper", "reproduced"),
        ("partly", "paper", "partly"),
        ("not reproduced", "paper", "not"),
        (NOT_RUN, "paper", "notrun"),
        ("reproduced", "check", "reproduced"),
        ("partly", "check", "not"),
        ("reproduced", "question", "reproduced"),
        ("partly", "question", "partly"),
        ("not reproduced", "question", "not"),
    ],
)
def test_an_outcome_has_the_colour_of_what_it_says(verdict, kind, colour):
    one = row(verdict, kind=kind, yes="yes", some="it depends", no="no")
    assert f'<span class="verdict-{colour}">{first_word(one)}</span>' in fragment([one], {}, {})


@pytest.mark.parametrize(
    ("left_out", "other", "remark"),
    [
        (["partly"], "reproduced", "<small>fragile</small>"),
        (["partly"], "partly", "<small>fragile inside</small>"),
        (["reproduced"], "partly", ""),
    ],
)
def test_a_row_says_where_the_outcome_of_one_of_its_claims_is_fragile(left_out, other, remark):
    html = fragment([row(claim("A", "reproduced", left_out=left_out), claim("B", other, record="meta/cpu-2"))], {}, {})
    assert "".join(re.findall("<small>.*?</small>", html)) == remark


def test_an_answer_has_its_outcome_first():
    assert answer(ROWS[1]) == r"**Is \|it\| so?** Yes: A is 3 <b>."


def test_what_did_not_come_out_is_told_with_why_and_the_cases_that_fail():
    told = shortfalls([*ROWS, row("reproduced")])
    assert all(part in told for part in ("P9, partly", "as we see it: a reason", "a definition", "not b", "Nobody ran it"))
    assert "P9, reproduced" not in told
    assert readings(ROWS) == "- P9: a definition.\n"


def test_the_sentence_turns_with_the_verdict():
    one = claim("A", "reproduced")
    turned = replace(one, verdict="not reproduced", cases={"a": False})
    forms = {"kind": "question", "yes": "yes", "some": "it depends", "no": "no"}
    assert (row(one, **forms).outcome, row(turned, **forms).outcome) == ("yes", "no")
