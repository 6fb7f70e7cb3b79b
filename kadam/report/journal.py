"""What a journal of reproductions asks for, in sentences that are computed from the ledger and its records."""

import json
from collections.abc import Iterable, Sequence

from kadam.report.ledger import BEFORE
from kadam.report.ledger_page import Makings
from kadam.report.rows import Answered, count, first_word, unique


def parts(rows: Sequence[Answered], makings: Makings) -> dict[str, str]:
    """By name, the computed sentences of the page *Report*."""
    return {"scope": scope(rows), "methods": methods(rows, makings), "easy": easy(rows), "hard": hard(rows)}


def scope(rows: Sequence[Answered]) -> str:
    """How many statements, and how they came out."""
    stated = [one for one in rows if one.row.kind == "paper"]
    cases = sum(one.of for one in stated)
    return f"{len(stated)} statements of three papers in {cases} cases: {count(rows, 'paper')}."


def methods(rows: Sequence[Answered], makings: Makings) -> str:
    """How much was computed, where, and of which data, and how many criteria were set before that."""
    attributes = [made.attributes for made in makings.values()]
    seconds = sum(float(of["wall_time_s"]) for of in attributes)
    profiles = [of["profile"] for of in attributes]
    by_profile = ", ".join(f"{profiles.count(one)} at profile {one}" for one in unique(profiles))
    runs = f"The verdicts rest on {len(attributes)} records ({by_profile})"
    where = _and(unique(of["device"] for of in attributes))
    torch = _and(unique(json.loads(of["versions"]).get("torch", "no torch") for of in attributes))
    named = [str(of.get("data", "none")) for of in attributes]
    data = _and(sorted({part for one in named if not one.startswith(("none", "-")) for part in one.split(" and ")}))
    when = {claim.id: claim.when for one in rows for claim in one.claims}
    before = f"{list(when.values()).count(BEFORE)} of {len(when)} criteria were set {BEFORE}."
    return f"{runs}, computed in {_duration(seconds)} on {where} with torch {torch}; data: {data or 'none'}. {before}"


def easy(rows: Sequence[Answered]) -> str:
    """Which statements hold without a reservation."""
    stated = [one for one in rows if one.row.kind == "paper"]
    plain = [one for one in stated if one.outcome == "reproduced" and not one.fragile]
    return f"{len(plain)} of {len(stated)} statements hold in every case, whichever seed is left out: {_links(plain)}."


def hard(rows: Sequence[Answered]) -> str:
    """What stands in the way of a verdict, or makes it less certain."""
    stated = [one for one in rows if one.row.kind == "paper"]
    undecided = ("not judged", "not run at this profile")
    found = {
        "rest on our reading of a definition": [one for one in stated if one.row.unconfirmed],
        "change with one seed": [one for one in stated if one.fragile],
        "are decided by nothing here yet": [one for one in stated if first_word(one) in undecided],
    }
    told = (f"{len(those)} {what} ({_links(those)})" if those else f"none {what}" for what, those in found.items())
    return f"Of the {len(stated)} statements {'; '.join(told)}."


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.2g} hours" if seconds >= 3600 else f"{seconds / 60:.2g} minutes"


def _links(rows: Iterable[Answered]) -> str:
    return ", ".join(f'<a href="claims.html#{one.row.id}">{one.row.id}</a>' for one in rows) or "none"


def _and(words: Iterable[str]) -> str:
    *others, last = list(words) or [""]
    return f"{', '.join(others)} and {last}" if others else last
