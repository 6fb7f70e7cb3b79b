"""The ledger's rows: a statement of a paper, a question, or a check of our own machinery, and the claims that decide it."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kadam.report.ledger import Claim, Verdict, together

Kind = Literal["paper", "question", "check"]
KINDS: tuple[Kind, ...] = ("paper", "question", "check")

SHOWN = 12  # cases that fail, by name

MANY = {"holds": "hold", "fails": "fail"}  # how several checks come out

OPEN = "open: no record decides it at this profile"


@dataclass(frozen=True)
class Row:
    """A row before its records.

    Sentences may quote what a claim measured, ``{GT-1a}``, its cases, ``{GT-1a.held}`` and ``{GT-1a.of}``, and the row's.
    """

    id: str
    kind: Kind
    statement: str  # a question's ends with a question mark
    claims: tuple[str, ...]  # by the ids of the first edition, which lead here
    by: tuple[str, ...] = ()  # those that decide, where not all do
    yes: str = ""  # the sentence where all deciding cases hold
    some: str = ""
    no: str = ""
    asked: str = ""  # as the short answers ask it
    figure: str = ""  # the label of the one that shows it
    theory: str = ""  # where it is derived: a file of the book
    unconfirmed: str = ""  # which definition of the paper's was not at hand, so that the reading is ours
    why: str = ""  # it did not come out in full, as we see it
    unjudged: str = ""  # why nothing decides it yet

    def answered(self, ledger: Mapping[str, Claim]) -> "Answered":
        return Answered(self, tuple(ledger[id] for id in self.claims))


class Quoted:
    """What a claim measured, and how many of its cases hold, for a sentence."""

    def __init__(self, claim: Claim) -> None:
        self.measured, self.held, self.of = claim.measured, claim.held, len(claim.cases)

    def __format__(self, form: str) -> str:
        return self.measured


@dataclass(frozen=True)
class Answered:
    """A row with its claims, judged."""

    row: Row
    claims: tuple[Claim, ...]

    @property
    def deciding(self) -> list[Claim]:
        return [claim for claim in self.claims if claim.id in (self.row.by or self.row.claims)]

    @property
    def verdict(self) -> Verdict:
        return together([claim.verdict for claim in self.deciding])

    @property
    def outcome(self) -> str:
        """In the words of its kind."""
        verdict = self.verdict
        if self.row.kind == "question":
            return self.sentence
        if verdict == "not run at this profile":
            return "not judged" if self.row.unjudged else verdict
        if self.row.kind == "check":
            return "holds" if verdict == "reproduced" else "fails"
        return f"{verdict}; our reading, unconfirmed" if self.row.unconfirmed else verdict

    @property
    def sentence(self) -> str:
        """What came out, with its numbers; what was measured where the row has no sentence of its own."""
        if self.verdict == "not run at this profile":
            return self.row.unjudged or OPEN
        form = {"reproduced": self.row.yes, "partly": self.row.some, "not reproduced": self.row.no}[self.verdict]
        return form.format_map(
            {claim.id: Quoted(claim) for claim in self.claims} | {"held": self.held, "of": self.of}
        ) or "; ".join(claim.measured for claim in self.deciding)

    @property
    def held(self) -> int:
        return sum(claim.held for claim in self.deciding)

    @property
    def of(self) -> int:
        return sum(len(claim.cases) for claim in self.deciding)

    @property
    def margin(self) -> float | None:
        """The smallest of its claims'."""
        return min((claim.margin for claim in self.deciding if claim.margin is not None), default=None)

    @property
    def fragile(self) -> bool:
        """Whether leaving out one seed of one record changes the verdict."""
        for record in unique(claim.record for claim in self.deciding):
            mine = [claim for claim in self.deciding if claim.record == record and claim.left_out]
            others = [claim.verdict for claim in self.deciding if claim not in mine]
            for without in zip(*(claim.left_out for claim in mine), strict=True):
                if together([*others, *without]) != self.verdict:
                    return True
        return False

    def as_dict(self) -> dict[str, Any]:
        """For programs: all that is known of the row."""
        facts = ("id", "kind", "statement", "figure", "theory", "unconfirmed", "why")
        counted = {"outcome": self.outcome, "sentence": self.sentence, "held": self.held, "cases": self.of}
        more = {"margin": self.margin, "fragile": self.fragile, "notebooks": unique(c.notebook for c in self.claims)}
        decided = {claim.id: claim.id in (self.row.by or self.row.claims) for claim in self.claims}
        inside = [{**vars(claim), "decides": decided[claim.id], "fragile": claim.fragile} for claim in self.claims]
        return {**{name: getattr(self.row, name) for name in facts}, **counted, **more, "claims": inside}


def unique(values: Any) -> list[Any]:
    """Each value once, in the order in which they first come."""
    return list(dict.fromkeys(values))


def count(rows: Sequence[Answered], kind: Kind) -> str:
    """How many rows of a kind came out how."""
    mine = [first_word(one) for one in rows if one.row.kind == kind]
    told = ((mine.count(outcome), outcome) for outcome in unique(mine))
    return ", ".join(f"{n} {MANY.get(outcome, outcome) if n > 1 else outcome}" for n, outcome in told)


def first_word(one: Answered) -> str:
    """The outcome for a narrow column: the verdict, and of a question yes, no, it depends or open."""
    if one.row.kind == "question":
        return next(word for word in ("yes", "no", "it depends", "open") if one.outcome.startswith(word))
    return one.outcome.partition(";")[0]


def short(rows: Sequence[Answered], width: int) -> str:
    """The ledger for a terminal: a row a line, or a few, within its width."""
    parts = []
    for kind in KINDS:
        mine = [one for one in rows if one.row.kind == kind]
        lines = [(one.row.id, first_word(one) + "*" * one.fragile, f"{one.held}/{one.of}") for one in mine]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        parts.append(textwrap.fill(f"{kind}: {count(rows, kind)}", width, subsequent_indent="  "))
        for one, cells in zip(mine, lines, strict=True):
            begin = "  ".join(f"{cell:<{size}}" for cell, size in zip(cells, widths, strict=True)) + "  "
            parts.append(textwrap.fill(one.row.statement, width, initial_indent=begin, subsequent_indent=" " * len(begin)))
        parts.append("")
    remark = "*: leaving out one seed changes the outcome. More: kadam claims --long, or --json"
    return "\n".join([*parts, textwrap.fill(remark, width)])


def long(rows: Sequence[Answered], width: int) -> str:
    """The ledger with all that it knows, a paragraph a row and one a claim."""
    return "\n\n".join(textwrap.fill(line, width, subsequent_indent="    ") for one in rows for line in _paragraphs(one))


def _paragraphs(one: Answered) -> list[str]:
    row, fragile = one.row, "; fragile: leaving out one seed changes it" if one.fragile else ""
    words = one.outcome if row.kind == "question" else f"{one.outcome}. {one.sentence}"
    remark = f" Our reading: {row.unconfirmed}." if row.unconfirmed else ""
    head = f"{row.id}  {row.statement} {words}. {one.held} of {one.of} cases{fragile}.{remark}"
    return [head, *(f"  {told(claim)}" for claim in one.claims)]


def told(claim: Claim) -> str:
    """All that is known of a claim, in words."""
    fails = f" Not: {_failing(claim)}." if claim.verdict == "partly" else ""
    margin = "" if claim.margin is None else f" Nearest case {claim.margin:.2g} of the limit away."
    seeds = f" {claim.seeds} seeds." if claim.seeds else ""
    fragile = " Fragile." if claim.fragile else ""
    return (
        f"{claim.id}: {claim.statement}. Criterion, set {claim.when}: {claim.criterion}. Measured: {claim.measured}. "
        f"{claim.held} of {len(claim.cases)} cases.{fails}{margin}{seeds}{fragile} {claim.source}. "
        f"Record {claim.record}, data: {claim.data}."
    )


def missed(claim: Claim) -> str:
    """A claim some of whose cases do not hold, with these."""
    failing = f", not {_failing(claim)}" if claim.verdict == "partly" else ""
    held = f"{claim.held} of {len(claim.cases)} cases hold{failing}"
    return f"{claim.id}, {claim.statement}: {held}. Measured: {claim.measured}."


def _failing(claim: Claim) -> str:
    names = [name for name, held in claim.cases.items() if not held]
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{'; '.join(names[:SHOWN])}{more}"
