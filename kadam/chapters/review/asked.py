"""What a question of the reviews is, and how the ledger and the theory answer it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kadam.report.ledger import Claim, together
from kadam.report.rows import OPEN, Answered, Quoted, first_word, unique
from kadam.theory import invariance, stability

WORDS = ("yes", "it depends", "no", "open")  # with which an answer begins
OPPOSITE = {"yes": "no", "no": "yes"}
WORD_OF = dict(zip(("reproduced", "partly", "not reproduced", "not run at this profile"), WORDS, strict=True))

QUOTE = re.compile(r"(?<!\^)\{[^{}]+\}(?!`)")  # neither a role of MyST nor an exponent of TeX
LONG = 10**6  # iterations after which a bound inside of the region is at its limit


@dataclass(frozen=True)
class Asked:
    """A question in our words.

    Answers, limits and evidence may quote what a claim measured, ``{D-1g}``, how many of its cases hold, ``{D-1g.held}`` and
    ``{D-1g.of}``, the same of a row, and the numbers of :func:`theory_numbers`.
    """

    points: tuple[str, ...]  # who asked: the review, and its point by number, with a letter of ours where one asks more
    question: str
    answer: str  # what follows the first word; true whatever the word is
    evidence: str  # theorems and figures as MyST roles, pages as links; the rows that decide are added
    limits: str
    by: tuple[str, ...] = ()  # the row of the ledger that decides, or claims that do together
    against: bool = False  # where it is asked the other way round than the row
    word: str = ""  # where theory or the book itself decides


class Ledger(NamedTuple):
    """Rows and claims by their ids."""

    rows: Mapping[str, Answered]
    claims: Mapping[str, Claim]


def ledger_of(rows: Iterable[Answered]) -> Ledger:
    by_id = {one.row.id: one for one in rows}
    return Ledger(by_id, {claim.id: claim for one in by_id.values() for claim in one.claims})


def word(asked: Asked, ledger: Ledger) -> str:
    """Yes, no, it depends or open: as the ledger has it, where it decides."""
    found = asked.word or _decided(asked.by, ledger)
    return OPPOSITE.get(found, found) if asked.against else found


def _decided(by: Sequence[str], ledger: Ledger) -> str:
    if by[0] in ledger.rows:
        (row,) = (ledger.rows[id] for id in by)
        return first_word(row) if row.row.kind == "question" else WORD_OF[row.verdict]
    return WORD_OF[together([ledger.claims[id].verdict for id in by])]


def deciding(asked: Asked, ledger: Ledger) -> list[str]:
    """The rows of the ledger that decide, or whose claims do."""
    holders = {id: row for row, one in ledger.rows.items() for id in one.row.claims}
    return unique(id if id in ledger.rows else holders[id] for id in asked.by)


def told(text: str, ledger: Ledger) -> str:
    """A text with what it quotes; ``KeyError`` for what neither the ledger nor the theory has."""
    rows = {id: _QuotedRow(one) for id, one in ledger.rows.items()}
    known = {**rows, **{id: Quoted(claim) for id, claim in ledger.claims.items()}, **theory_numbers()}
    return QUOTE.sub(lambda found: found[0].format_map(known), text)


class _QuotedRow:
    def __init__(self, one: Answered) -> None:
        self.held, self.of = one.held, one.of


def theory_numbers() -> dict[str, Any]:
    """What closed forms say at the pairs that the answers name."""
    return {
        "rmsprop bound": f"{stability.max_update_bound(LONG, beta=0.999, gamma=0.0):.1f}",
        "sign bound": f"{stability.max_update_bound(LONG, beta=0.0, gamma=0.0):g}",
        "white": f"{stability.white_update(gamma=0.9):.2f}",
        "dropped": f"{invariance.growth_factor(0.9) - 1:.0f}",
        "activity": f"{1 - stability.critical_silence(beta=0.9, gamma=0.99):.1%}",
    }


def sentence(asked: Asked, ledger: Ledger) -> str:
    """The answer in one sentence that begins with its word."""
    begin = word(asked, ledger)
    if begin == "open" and not asked.word:
        return f"{OPEN}."
    return f"{begin}: {told(asked.answer, ledger)}."


def asked_in(asked: Asked) -> str:
    """Who asked, in words: "review 3, points 4 and 12"."""
    by_review: dict[str, list[str]] = {}
    for point in asked.points:
        review, _, rest = point.partition(".")
        by_review.setdefault(review, []).extend(re.findall(r"^\d+", rest))
    each = []
    for review, numbers in by_review.items():
        numbers = unique(numbers)
        points = f", point{'s' * (len(numbers) > 1)} {' and '.join(numbers)}" if numbers else ""
        each.append(f"review {review}{points}")
    return "; ".join(each)
