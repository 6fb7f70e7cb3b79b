"""What a record says, in sentences that are computed from it: true of the picture above them, whatever the data."""

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import ArrayLike

from kadam.report.ledger import span as span
from kadam.report.ledger import written as written
from kadam.report.once import judging

P = ParamSpec("P")


class Sentences(str):
    """Words that a page shows as text, with mathematics and links in Markdown, and a terminal as they are."""

    def _repr_markdown_(self) -> str:
        return str(self)

    __repr__ = str.__str__


def said(tell: Callable[P, str]) -> Callable[P, Sentences]:
    """Decorate a function of a record that returns sentences; paragraphs are set apart by empty lines."""

    @functools.wraps(tell)
    def tell_as_text(*args: P.args, **kwargs: P.kwargs) -> Sentences:
        with judging():
            return Sentences(tell(*args, **kwargs))

    tell_as_text.says = True  # type: ignore[attr-defined]  # by this it is known
    return tell_as_text


def of_all(held: ArrayLike, what: str) -> str:
    """In how many of some cases something holds: "all 7 layers", "both layers", "5 of 7 layers", "none of 7 layers"."""
    cases = np.asarray(held, dtype=bool).ravel()
    n, of = int(cases.sum()), cases.size
    if n == of and of in (1, 2):
        return f"the one {what.removesuffix('s')}" if of == 1 else f"both {what}"
    return f"all {of} {what}" if n == of > 0 else f"{n or 'none'} of {of} {what}"


def side(value: float, of: float, *, below: str = "below", at: str = "at", above: str = "above", within: float = 0.0) -> str:
    """The word for where a value lies beside another; ``at`` where they differ by at most the share ``within`` of it."""
    if abs(value - of) <= within * abs(of):
        return at
    return above if value > of else below


def listed(names: Iterable[Any], none: str = "none") -> str:
    """Names as a list in a sentence."""
    *words, last = map(str, list(names) or [none])
    return f"{', '.join(words)} and {last}" if words else last


def plain(markdown: str) -> str:
    """Sentences for a screen reader: without the marks of Markdown and TeX."""
    words = re.sub(r"\\(\w+)", r"\1", re.sub(r"[*`$]", "", markdown))
    return " ".join(words.split())
