"""The questions from review: every point once, every link leads somewhere, and every answer turns with the ledger."""

import ast
import dataclasses
import re
from pathlib import Path

import jupytext
import pytest
from recorded import ledger
from test_notebooks import MEASURED, free

from kadam.chapters.review import figures
from kadam.chapters.review.asked import OPPOSITE, WORD_OF, WORDS, ledger_of, sentence, theory_numbers, told, word
from kadam.chapters.review.figures import GROUPS, NUMBERS, QUESTIONS
from kadam.report.ledger import together
from kadam.report.rows import OPEN, first_word

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text() for path in (ROOT / "book").glob("*.md")}
NOTEBOOKS = {path.stem: path.read_text() for path in (ROOT / "notebooks").glob("*.md")}
NUMBERED = {"3": 19, "4": 4}  # the reviews whose points have numbers, and how many
LETTERED = {"1": "abcdefghij", "2": "abcd"}  # those whose points we count ourselves
MOST_WORDS = 60  # in an answer before its numbers are filled in

BY_LEDGER = [asked for asked in QUESTIONS if asked.by]
BY_ITSELF = [asked for asked in QUESTIONS if not asked.by]


@pytest.fixture(scope="module")
def rows():
    return ledger()


def number(asked):
    return str(NUMBERS[asked.question])


def texts(asked):
    return {name: getattr(asked, name) for name in ("question", "answer", "limits", "evidence")}


def changed(rows, change):
    """The ledger with every claim as ``change`` makes it."""
    return [dataclasses.replace(one, claims=tuple(map(change, one.claims))) for one in rows]


def judged(claim, verdict):
    held = {"reproduced": [True, True], "partly": [True, False], "not reproduced": [False, False]}.get(verdict, [])
    cases = {str(i): one for i, one in enumerate(held)}
    return dataclasses.replace(claim, verdict=verdict, cases=cases, measured=f"<{claim.id}>")


def test_every_point_of_the_reviews_stands_under_one_question_and_no_question_lacks_one():
    points = [point for asked in QUESTIONS for point in asked.points]
    assert sorted(points) == sorted(set(points))
    assert all(asked.points for asked in QUESTIONS)
    for review, count in NUMBERED.items():
        found = [re.fullmatch(r"\d\.(\d+)([a-z]?)", point) for point in points if point[0] == review]
        parts = {n: "".join(sorted(one[2] for one in found if int(one[1]) == n)) for n in range(1, count + 1)}
        assert sorted(parts) == sorted({int(one[1]) for one in found})
        assert all(letters == "abcdefgh"[: len(letters)] for letters in parts.values())  # a first part has a second
        assert "a" not in parts.values()
    for review, letters in LETTERED.items():
        assert sorted(point for point in points if point[0] == review) == [f"{review}.{letter}" for letter in letters]
    assert {point[0] for point in points} == set(NUMBERED) | set(LETTERED)


def test_the_page_says_how_many_numbered_points_there_are():
    assert "the third review has nineteen, the fourth four, and the first two have none" in NOTEBOOKS["10-review"]
    assert list(NUMBERED.values()) == [19, 4]


def test_questions_differ_and_each_has_either_a_row_or_a_word():
    assert len(NUMBERS) == len(QUESTIONS)
    assert all(bool(asked.by) != bool(asked.word) for asked in QUESTIONS)
    assert all(asked.by for asked in QUESTIONS if asked.against)
    assert {asked.word for asked in BY_ITSELF} <= set(WORDS)
    assert len(BY_LEDGER) > len(QUESTIONS) / 2


ROLE = re.compile(r"\{([a-z:]+)\}`([^`]*)`")
LINK = re.compile(r"\[[^\]]+\]\(([^)]+)\)")


def exists(role, target):
    of_pages = "\n".join(PAGES.values())
    if role == "numref":
        return any(f"name: {target}\n" in text for text in NOTEBOOKS.values())
    if role == "ref":
        return f"({re.search('<(.*)>', target)[1]})=" in of_pages
    if role == "cite:t":
        return f"{{{target}," in (ROOT / "book" / "references.bib").read_text()
    return role in ("prf:ref", "eq") and f":label: {target}\n" in of_pages


@pytest.mark.parametrize("asked", QUESTIONS, ids=number)
def test_every_theorem_figure_page_row_and_work_that_is_named_exists(asked, rows):
    known = ledger_of(rows)
    for text in texts(asked).values():
        assert [(role, target) for role, target in ROLE.findall(text) if not exists(role, target)] == []
        assert [target for target in LINK.findall(text) if Path(target).stem not in PAGES or target[:3] != "../"] == []
        named = [found[0] for found in figures.NAMED.findall(re.sub(r"\{[^}]*\}", "", text))]
        assert [id for id in named if id not in known.rows and id not in known.claims] == []
    assert ROLE.search(asked.evidence) or LINK.search(asked.evidence)


def test_a_wrong_link_would_be_found():
    assert not exists("prf:ref", "thm-tigth")
    assert not exists("numref", "fig-bound")
    assert not exists("cite:t", "malladi2022")
    assert not exists("doc", "theory")


@pytest.mark.parametrize("asked", QUESTIONS, ids=number)
def test_an_answer_is_one_sentence_and_so_are_its_limits(asked, rows):
    for text in (asked.answer, asked.limits):
        assert not re.search(r"[.!?]( |$)", text)
        assert len(text.split()) <= MOST_WORDS
    assert re.fullmatch(r"[A-Z].*\?", asked.question)
    assert sentence(asked, ledger_of(rows)).startswith(tuple(f"{one}: " for one in WORDS))


@pytest.mark.parametrize("asked", QUESTIONS, ids=number)
def test_no_measured_number_is_typed(asked):
    for text in texts(asked).values():
        assert MEASURED.findall(free(text)) == []


@pytest.mark.parametrize("asked", QUESTIONS, ids=number)
def test_what_is_quoted_is_filled_in(asked, rows):
    known = ledger_of(rows)
    for text in (asked.answer, asked.limits):
        whole = told(text, known)
        assert ROLE.findall(whole) == ROLE.findall(text)
        assert not re.search(r"(?<!\^)\{[^}]*\}(?!`)", whole)


def test_what_nothing_has_cannot_be_quoted(rows):
    for wrong in ("{D-99}", "{Q8.helt}", "{rms}"):
        with pytest.raises((KeyError, AttributeError)):
            told(wrong, ledger_of(rows))


@pytest.mark.parametrize("asked", BY_LEDGER, ids=number)
def test_an_answer_agrees_with_the_row_or_the_claims_it_cites(asked, rows):
    known = ledger_of(rows)
    if asked.by[0] in known.rows:
        one = known.rows[asked.by[0]]
        expected = first_word(one) if one.row.kind == "question" else WORD_OF[one.verdict]
        assert one.sentence.startswith(expected) or one.row.kind == "paper"
    else:
        expected = WORD_OF[together([known.claims[id].verdict for id in asked.by])]
    assert word(asked, known) == (OPPOSITE.get(expected, expected) if asked.against else expected)


@pytest.mark.parametrize("asked", BY_LEDGER, ids=number)
def test_an_answer_turns_with_the_ledger(asked, rows):
    told_by = {v: ledger_of(changed(rows, lambda claim, v=v: judged(claim, v))) for v in ("reproduced", "not reproduced")}
    begins = [word(asked, known) for known in told_by.values()]
    assert begins == (["no", "yes"] if asked.against else ["yes", "no"])
    assert len({sentence(asked, known).partition(":")[0] for known in told_by.values()}) == 2


@pytest.mark.parametrize("asked", BY_LEDGER, ids=number)
def test_every_answer_by_the_ledger_has_a_number_of_it(asked, rows):
    quoted = re.findall(r"\{([A-Z][^{}]*)\}(?!`)", asked.answer)
    assert quoted
    other = ledger_of(changed(rows, lambda claim: judged(claim, "partly")))
    for quote in quoted:
        id, _, part = quote.rpartition(".") if quote.endswith((".held", ".of")) else (quote, "", "")
        expected = f"<{id}>" if not part else None
        assert expected is None or expected in sentence(asked, other)
    assert sentence(asked, other) != sentence(asked, ledger_of(rows))


def test_what_no_record_decides_is_open(rows):
    known = ledger_of(changed(rows, lambda claim: judged(claim, "not run at this profile")))
    assert {sentence(asked, known) for asked in BY_LEDGER} == {f"{OPEN}."}
    assert all(sentence(asked, known).startswith(asked.word) for asked in BY_ITSELF)
    assert figures.answer(changed(rows, lambda claim: judged(claim, "not run at this profile"))).count("*open*") == 1


def test_the_summary_counts_every_answer(rows):
    words = [word(asked, ledger_of(rows)) for asked in QUESTIONS]
    counts = {name: int(n) for n, name in re.findall(r"(\d+) \*([\w ]+)\*", figures.answer(rows))}
    assert counts == {one: words.count(one) for one in WORDS}
    assert sum(counts.values()) == len(QUESTIONS)


def test_the_figure_has_every_question_once(rows):
    figure = figures.answers(rows)
    assert sorted(int(text.get_text()) for text in figure.axes[0].texts) == list(range(1, len(QUESTIONS) + 1))


def test_the_sentence_beside_the_figure_counts_fragile_rows(rows):
    for left_out, count in {("not reproduced",): len(BY_LEDGER), ("reproduced",): 0}.items():
        found = changed(rows, lambda claim, by=left_out: dataclasses.replace(judged(claim, "reproduced"), left_out=by))
        assert f" {count} rest on a row that is fragile" in figures.answers_said(found)


def test_the_page_has_every_group_once_and_in_order():
    cells = [cell.source for cell in jupytext.reads(NOTEBOOKS["10-review"], fmt="md:myst").cells if cell.cell_type == "code"]
    calls = [node for cell in cells for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Call)]
    asked = [ast.literal_eval(call.args[1]) for call in calls if ast.unparse(call.func) == "figures.group"]
    assert asked == list(GROUPS)


def test_a_group_shows_its_questions_with_answer_limits_and_evidence(rows):
    for name, questions in GROUPS.items():
        shown = str(figures.group(rows, name))
        for asked in questions:
            assert asked.question in shown
            assert asked.evidence.partition(",")[0] in shown
        assert shown.count("\n: **") == len(questions) == shown.count("*Limits:*") == shown.count("*See*")
    with pytest.raises(ValueError, match=r"group must be one of Bound and region, .*; got 'Noises'"):
        figures.group(rows, "Noises")


def test_the_table_has_every_row_that_decides(rows):
    known = ledger_of(rows)
    shown = {line[0]: line[2].split(", ") for line in figures.row_table(rows).rows}
    decided = sorted({int(n) for numbers in shown.values() for n in numbers})
    assert decided == sorted(NUMBERS[asked.question] for asked in BY_LEDGER)
    assert set(shown) <= set(known.rows)


def test_closed_forms_give_the_numbers_that_are_quoted():
    numbers = theory_numbers()
    assert float(numbers["rmsprop bound"]) == pytest.approx(1 / (1 - 0.999) ** 0.5, rel=1e-2)
    assert float(numbers["white"]) == pytest.approx((0.1 / 1.9) ** 0.5, abs=5e-3)
    assert float(numbers["dropped"]) == pytest.approx(2 * 0.9 / 0.1)
    assert numbers["activity"] == f"{1 - 0.9 / 0.99**2:.1%}"
    assert float(numbers["sign bound"]) == 1
