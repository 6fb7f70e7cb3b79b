"""All rows of the ledger, in the order of the papers, and the thirteen questions that come first."""

from collections.abc import Sequence

from kadam.chapters.questions import CHECKS, QUESTIONS
from kadam.chapters.statements import PAPER
from kadam.report.ledger import Claim
from kadam.report.rows import Answered

ROWS = {row.id: row for row in (*PAPER, *QUESTIONS, *CHECKS)}

# The thirteen answers that come first, in this order.
FIRST = ("P1", "P2", "P3", "Q3", "P4", "Q4", "Q5", "P6", "P7", "P8", "Q8", "P10", "P15")

STAGES = ("P8", "Q9", "Q8", "Q26", "P9", "Q15", "Q11")  # what a page about using k-Adam says of k

FRONT = ("P1", "Q4", "Q8")  # those of the front page


def answered(ledger: Sequence[Claim]) -> list[Answered]:
    """Every row of which the ledger has all claims, with what they say of it."""
    claims = {claim.id: claim for claim in ledger}
    return [row.answered(claims) for row in ROWS.values() if claims.keys() >= set(row.claims)]
