"""Texts to learn a language from, as tokens in three parts, and batches of windows of them.

tiny Shakespeare by characters, and the larger film reviews by bytes. Where the files come from is the matter of
``kadam.lab.data``; what the files of the reviews hold that of ``kadam.lab.reviews``.
"""

import hashlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kadam.lab.data import REVIEWS, TINY_SHAKESPEARE, StandInWarning, Text, find, load_text
from kadam.lab.reviews import read_reviews

Tokens = NDArray[np.uint8]

NAMES = ("shakespeare", "reviews")

# Percent of a text that lie before the part to validate and before the part to test.
CUTS = (90, 95)

# So many batches' places are drawn at once.
BLOCK = 1024


class Parts(NamedTuple):
    """Three parts of a text that share no token, each (n,): learnt from, settings chosen on, results reported on."""

    train: Tokens
    validation: Tokens
    test: Tokens


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as tokens in three parts that share none: learnt from, rates chosen on, reported on.

    ``ValueError`` for an empty part, or for tokens that are no uint8 below ``vocabulary``.
    """

    title: str
    unit: str  # what a token is: "character" or "byte"
    vocabulary: int  # number of different tokens
    train: Tokens  # (n,)
    validation: Tokens
    test: Tokens
    origin: str  # folder | cache | download | embedded; two of them where the parts' files differ in it
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

    @property
    def stand_in(self) -> bool:
        return self.origin == "embedded"

    @property
    def label(self) -> str:
        """What a figure says of its data."""
        if not self.stand_in:
            return self.title
        other = "" if self.title == TINY_SHAKESPEARE.title else f", standing in for {self.title}"
        return f"embedded excerpt of {TINY_SHAKESPEARE.title}{other} ({sum(map(len, self.parts)):,} {self.unit}s)"


def load_corpus(name: str, *, embedded: bool = False, fetch: bool = True, limit: int | None = None) -> Corpus:
    """The corpus "shakespeare" by characters, or "reviews" by bytes; ``fetch``: may download.

    ``limit``: at most so many tokens to learn from, the first. With ``embedded``, the excerpt of tiny Shakespeare; it also
    stands in for data that cannot be had, with a ``StandInWarning``. Raises ``ValueError`` for an unknown name, a limit
    below 1, or a part without tokens; ``DataError`` for files that are not what they should be.
    """
    if name not in NAMES:
        raise ValueError(f"a corpus is one of {', '.join(NAMES)}, got {name!r}")
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
    parts = _consecutive(text.tokens.astype(np.uint8), limit)
    return Corpus(text.title, "character", size, *parts, text.origin, text.sha256)


def _consecutive(tokens: Tokens, limit: int | None) -> Parts:
    """A text's first 90%, the next 5% and the last."""
    first, second = (len(tokens) * cut // 100 for cut in CUTS)
    return Parts(tokens[:first][:limit], tokens[first:second], tokens[second:])


def _by_bytes(fetch: bool, limit: int | None) -> Corpus:
    """The reviews of the training file, and those of the other by turns to validate and to test."""
    found = []
    for source in REVIEWS:
        place = find(source, fetch=fetch)
        if place is None:
            excerpt = f"an embedded excerpt of {TINY_SHAKESPEARE.title}"
            warnings.warn(f"{source.title}: no file, no download; using {excerpt}", StandInWarning, stacklevel=3)
            return _reviews_stand_in(limit)
        found.append((source, *place))
    (train, origin, path), (others, other_origin, other_path) = found
    learnt, held_out = read_reviews(train, path, limit=limit), read_reviews(others, other_path)
    sha256 = hashlib.sha256((learnt.sha256 + held_out.sha256).encode()).hexdigest()
    origins = ", ".join(dict.fromkeys((origin, other_origin)))
    return Corpus(train.title, "byte", 256, _bytes(learnt.text), *_by_turns(held_out.text), origins, sha256)


def _reviews_stand_in(limit: int | None) -> Corpus:
    excerpt = load_text(embedded=True)
    parts = _consecutive(_bytes(excerpt.characters.encode()), limit)
    return Corpus(REVIEWS[0].title, "byte", 256, *parts, excerpt.origin, excerpt.sha256)


def _by_turns(content: bytes) -> tuple[Tokens, Tokens]:
    """Every other line, and the others: the file has one kind of review first and then the other kind."""
    lines = [line + b"\n" for line in content.split(b"\n") if line]
    even, odd = (_bytes(b"".join(lines[first::2])) for first in (0, 1))
    return even, odd


def _bytes(content: bytes) -> Tokens:
    return np.frombuffer(content, np.uint8).copy()  # writable, as torch.from_numpy wants it


class Windows:
    """Batch n of windows at random places, (batch, context + 1) int64: a function of n and of the seed, so without state.

    The text stays on its device as bytes, and a batch is one selection of rows from there; the host draws the places of many
    batches at once and never waits. ``ValueError`` for a context that the text is too short for.
    """

    def __init__(self, tokens: Tensor, *, batch: int, context: int, seed: int) -> None:
        _check_context(len(tokens), context)
        if batch < 1:
            raise ValueError(f"batch must be at least 1 window, got {batch}")
        self.batch, self.context, self.seed = batch, context, seed
        self.windows = tokens.unfold(0, context + 1, 1)  # all of them, (n - context, context + 1), in the memory of the tokens
        self._block, self._starts = -1, torch.empty(0)

    def __getitem__(self, n: int) -> Tensor:
        """Batch n, (batch, context + 1)."""
        block, place = divmod(n, BLOCK)
        if block != self._block:
            self._block, self._starts = block, self._draw(block)
        return self.windows.index_select(0, self._starts[place]).long()

    def _draw(self, block: int) -> Tensor:
        """Where the windows of a block begin, (BLOCK, batch)."""
        rng = np.random.default_rng([self.seed, block])
        starts = torch.from_numpy(rng.integers(0, len(self.windows), (BLOCK, self.batch)))
        if self.windows.is_cuda:
            starts = starts.pin_memory()
        return starts.to(self.windows.device, non_blocking=True)


def spaced_windows(tokens: Tensor, *, count: int, context: int) -> Tensor:
    """``count`` windows, or as many as fit, evenly spaced and without overlap, (count, context + 1) int64.

    ``ValueError`` where not one fits.
    """
    _check_context(len(tokens), context)
    if count < 1:
        raise ValueError(f"count must be at least 1 window, got {count}")
    count = min(count, len(tokens) // (context + 1))
    places = torch.arange(count, device=tokens.device) * len(tokens) // count
    return tokens.unfold(0, context + 1, 1).index_select(0, places).long()


def _check_context(length: int, context: int) -> None:
    if context < 1:
        raise ValueError(f"context must be at least 1 token, got {context}")
    if context + 1 > length:
        raise ValueError(f"context must be shorter than the text of {length:,} tokens, got {context:,}")


@dataclass(frozen=True, eq=False)
class Learnable:
    """A text on a device: tokens to learn from, (n,) uint8, and windows to evaluate on, (windows, context + 1) int64."""

    vocabulary: int
    train: Tensor
    validation: Tensor
    test: Tensor


def learnable(corpus: Corpus, *, windows: int, context: int, device: torch.device) -> Learnable:
    """The text ready for training; ``windows``: at most so many each to validate and to test."""
    train, validation, test = (torch.from_numpy(part).to(device) for part in corpus.parts)
    spaced = (spaced_windows(part, count=windows, context=context) for part in (validation, test))
    return Learnable(corpus.vocabulary, train, *spaced)
