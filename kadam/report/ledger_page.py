"""The ledger and the short answers as a page of the book: a table that sorts and filters without a network, an anchor a row."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple

from kadam.report.ledger import Claim
from kadam.report.rows import KINDS, Answered, first_word, missed, told, unique

# The colour of an outcome, by its name in the style sheet.
COLOURS = {
    **dict.fromkeys(("reproduced", "yes", "holds"), "reproduced"),
    **dict.fromkeys(("partly", "it depends"), "partly"),
    **dict.fromkeys(("not reproduced", "no", "fails"), "not"),
}
Checks = Mapping[str, Sequence[str]]  # the test files that name a claim, by its id


class Made(NamedTuple):
    """How a record was made: the command that makes it anew, its configuration by name, and the record's own attributes."""

    command: str
    configuration: Mapping[str, object]
    attributes: Mapping[str, Any] = MappingProxyType({})


Makings = Mapping[str, Made]  # by the record's name


def answers(rows: Sequence[Answered], first: Sequence[str]) -> str:
    """The questions that come first with their answers, as a numbered list in Markdown."""
    asked = sorted((one for one in rows if one.row.id in first), key=lambda one: first.index(one.row.id))
    return "\n".join(f"{n}. {answer(one)}" for n, one in enumerate(asked, start=1))


def answer(one: Answered) -> str:
    """A question in bold, and the answer: the outcome first."""
    alone = one.row.kind == "question" or one.verdict == "not run at this profile"
    words = one.sentence if alone else f"{one.outcome}: {one.sentence}"
    return f"**{one.row.asked or one.row.statement}** {words[:1].upper()}{words[1:]}.".replace("|", "\\|")


def shortfalls(rows: Sequence[Answered]) -> str:
    """The papers' statements that did not come out in full, each with what was seen, why as we see it, and the cases."""
    parts = []
    short = [one for one in rows if one.row.kind == "paper" and first_word(one) != "reproduced"]
    for one in sorted(short, key=lambda one: not one.of):  # what nothing has decided comes last
        why = f" Why, as we see it: {one.row.why}." if one.row.why and one.of else ""
        cases = f" {one.held} of {one.of} cases hold." if one.of else ""
        reading = f" Our reading, unconfirmed: {one.row.unconfirmed}." if one.row.unconfirmed else ""
        lines = [f"- {missed(claim)}" for claim in one.deciding if not all(claim.cases.values())]
        head = f"**{one.row.id}, {first_word(one)}: {one.row.statement}.** {one.sentence[:1].upper()}{one.sentence[1:]}."
        parts.append("\n".join([f"{head}{cases}{why}{reading}", "", *lines]))
    return "\n\n".join(parts).replace("|", "\\|") + "\n"


def readings(rows: Sequence[Answered]) -> str:
    """What rests on our reading, row by row."""
    return "\n".join(f"- {one.row.id}: {one.row.unconfirmed}." for one in rows if one.row.unconfirmed) + "\n"


def fragment(rows: Sequence[Answered], makings: Makings, checks: Checks) -> str:
    """The table and the configurations of the records behind it, as one piece of HTML."""
    body = "\n".join(_row(one, makings, checks) for one in rows)
    html = files("kadam.report").joinpath("ledger.html").read_text(encoding="utf-8")
    kinds = "".join(f'<option value="{kind}">{kind}</option>' for kind in KINDS)
    outcomes = "".join(f'<option value="{word}">{word}</option>' for word in unique(map(first_word, rows)))
    configurations = "\n".join(
        f'<details id="{_anchor(name)}">{_configuration(name, of)}</details>' for name, of in makings.items()
    )
    filled = html.replace("@KINDS@", kinds).replace("@OUTCOMES@", outcomes).replace("@ROWS@", body)
    return filled.replace("@CONFIGURATIONS@", configurations)


def _anchor(record: str) -> str:
    return f"configuration-{record.replace('/', '-')}"


def _configuration(record: str, made: Made) -> str:
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>" for name, value in made.configuration.items()
    )
    return f"<summary>{escape(record)}: <code>{escape(made.command)}</code></summary><table>{lines}</table>"


def _row(one: Answered, makings: Makings, checks: Checks) -> str:
    row, word = one.row, first_word(one)
    inside = f"<details><summary>{escape(one.sentence)}</summary>{_more(one, makings, checks)}</details>"
    cells = [
        ("row", f'<a href="#{row.id}">{row.id}</a>', ""),
        ("what", escape(row.statement) + inside, ""),
        ("outcome", f'<span class="verdict-{COLOURS.get(word, "notrun")}">{word}</span>{_remarks(one)}', ""),
        ("cases", f"{one.held} of {one.of}", f"{one.held / one.of:.4f}" if one.of else ""),
        ("margin", *("" if one.margin is None else format(one.margin, form) for form in (".2g", ".4g"))),
    ]
    columns = "".join(f'<td class="kadam-{name}" data-value="{value}">{cell}</td>' for name, cell, value in cells)
    known = f'data-kind="{row.kind}" data-outcome="{word}" data-fragile="{str(one.fragile).lower()}"'
    return f'<tr id="{row.id}" {known}>{columns}</tr>'


def _remarks(one: Answered) -> str:
    inside = any(claim.fragile for claim in one.claims)
    remarks = ["fragile"] * one.fragile + ["fragile inside"] * (inside and not one.fragile)
    remarks += ["our reading, unconfirmed"] * bool(one.row.unconfirmed)
    return "".join(f"<br><small>{remark}</small>" for remark in remarks)


def _more(one: Answered, makings: Makings, checks: Checks) -> str:
    row, notebooks = one.row, unique(claim.notebook for claim in one.claims)
    links = [f'<a href="notebooks/{name}.html">chapter {name.partition("-")[0].lstrip("0")}</a>' for name in notebooks]
    if row.figure and notebooks:
        links.insert(0, f'<a href="notebooks/{notebooks[0]}.html#{row.figure}">the figure</a>')
    if row.theory:
        links.append(f'<a href="{row.theory.removesuffix(".md")}.html">the theory</a>')
    reading = f"<p>Our reading: {escape(row.unconfirmed)}.</p>" if row.unconfirmed else ""
    paragraphs = "".join(_claim(claim, makings, checks.get(claim.id, ())) for claim in one.claims)
    return f"{reading}<p>{' · '.join(links)}</p>{paragraphs}"


def _claim(claim: Claim, makings: Makings, checks: Sequence[str]) -> str:
    rerun = ""
    if claim.record in makings:
        link = f'<a href="#{_anchor(claim.record)}">configuration</a>'
        rerun = f" Again: <code>{escape(makings[claim.record].command)}</code> ({link})."
    judge = f" Judged by <code>{escape(claim.judge)}</code>, tested in {', '.join(f'<code>{name}</code>' for name in checks)}."
    return f'<p id="{claim.id.replace(" ", "-")}">{escape(told(claim))}{rerun}{judge}</p>'
