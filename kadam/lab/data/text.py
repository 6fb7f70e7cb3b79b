"""Texts to learn a language from, tiny Shakespeare by characters and film reviews by bytes, in three parts that share none."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kadam.lab.data.reviews import read_reviews
from kadam.lab.data.sources import REVIEWS, TINY_SHAKESPEARE, Described, Text, find, load_text
from kadam.lab.records.profiles import CORPORA

Tokens = NDArray[np.uint8]

# Percent of a text that lie before the part to validate and before the part to test.
CUTS = (90, 95)


class Parts(NamedTuple):
    """Three parts of a text that share no token, each (n,): learnt from, settings chosen on, results reported on."""

    train: Tokens
    validation: Tokens
    test: Tokens


@dataclass(frozen=True, eq=False)
class Corpus(Described):
    """A text as tokens in ``Parts``; ``ValueError`` for an empty part, or for tokens that are no uint8 below ``vocabulary``."""

    title: str
    unit: str  # what a token is: "character" or "byte"
    vocabulary: int  # number of different tokens
    train: Tokens  # (n,)
    validation: Tokens
    test: Tokens
    origin: str
    sha256: str  # of the text; of the checksums of its texts, one after another, where there are two

    def __post_init__(self) -> None:
        counts = ", ".join(f"{len(tokens):,} {self.unit}s in {name}" for name, tokens in self.parts._asdict().items())
        for name, tokens in self.parts._asdict().items():
            if not len(tokens):
                raise ValueError(f"{self.title}: nothing in {name}; found {counts}")
            if tokens.dtype != np.uint8 or tokens.max() >= self.vocabulary:
                raise ValueError(f"{self.title}: tokens must be uint8 below {self.vocabulary}, got {tokens.dtype} in {name}")

    @property
    def parts(self) -> Parts:
        return Parts(self.train, self.validation, self.test)

    def substitute(self) -> str:
        other = "" if self.title == TINY_SHAKESPEARE.title else f", standing in for {self.title}"
        return f"embedded excerpt of {TINY_SHAKESPEARE.title}{other} ({sum(map(len, self.parts)):,} {self.unit}s)"


def load_corpus(name: str, *, embedded: bool = False, fetch: bool = True, limit: int | None = None) -> Corpus:
    """The corpus "shakespeare" by characters, or "reviews" by bytes; ``limit``: at most so many tokens to learn from.

    ``embedded``: the excerpt of tiny Shakespeare, which also stands in, with a ``StandInWarning``, for data that cannot be had;
    ``fetch``: may download. ``ValueError`` for an unknown name, a limit below 1, or no tokens; ``DataError`` for wrong files.
    """
    if name not in CORPORA:
        raise ValueError(f"a corpus is one of {', '.join(CORPORA)}, got {name!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 token, got {limit}")
    if name == "shakespeare":
        return _by_characters(load_text(embedded=embedded, fetch=fetch), limit)
    return _reviews_stand_in(limit) if embedded else _by_bytes(fetch, limit)


def load_corpora(names: Iterable[str], *, text: str, fetch: bool = True, limit: int | None = None) -> dict[str, Corpus]:
    """The corpora of these names, each once; ``text``: "embedded", or "real"."""
    return {name: load_corpus(name, embedded=text == "embedded", fetch=fetch, limit=limit) for name in dict.fromkeys(names)}


def _by_characters(text: Text, limit: int | None) -> Corpus:
    size = len(text.vocabulary)
    if size > 256:
        raise ValueError(f"{text.title}: a token is one byte, so at most 256 different characters, got {size}")
    return Corpus(text.title, "character", size, *_consecutive(text.tokens.astype(np.uint8), limit), text.origin, text.sha256)


def _consecutive(tokens: Tokens, limit: int | None) -> Parts:
    """A text's first 90%, the next 5% and the last."""
    first, second = (len(tokens) * cut // 100 for cut in CUTS)
    return Parts(tokens[:first][:limit], tokens[first:second], tokens[second:])


def _by_bytes(fetch: bool, limit: int | None) -> Corpus:
    """The reviews of the training file, and those of the other by turns to validate and to test."""
    found = []
    for source in REVIEWS:
        place = find(source, fetch=fetch, instead=f"an embedded excerpt of {TINY_SHAKESPEARE.title}")
        if place is None:
            return _reviews_stand_in(limit)
        found.append((source, *place))
    (train, origin, path), (others, other_origin, other_path) = found
    learnt, held_out = read_reviews(train, path, limit=limit), read_reviews(others, other_path)
    sha256 = hashlib.sha256((learnt.sha256 + held_out.sha256).encode()).hexdigest()
    origins = ", ".join(dict.fromkeys((origin, other_origin)))
    # Every other line, and the others: the file has one kind of review first and then the other kind.
    lines = [line + b"\n" for line in held_out.text.split(b"\n") if line]
    texts = (learnt.text, b"".join(lines[::2]), b"".join(lines[1::2]))
    return Corpus(train.title, "byte", 256, *Parts(*map(_bytes, texts)), origins, sha256)


def _reviews_stand_in(limit: int | None) -> Corpus:
    excerpt = load_text(embedded=True)
    parts = _consecutive(_bytes(excerpt.characters.encode()), limit)
    return Corpus(REVIEWS[0].title, "byte", 256, *parts, excerpt.origin, excerpt.sha256)


def _bytes(content: bytes) -> Tokens:
    return np.frombuffer(content, np.uint8).copy()  # writable, as torch.from_numpy wants it
