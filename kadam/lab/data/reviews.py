"""Film reviews, one a line: from the packed files of their own, or from the archive that they were published in."""

import hashlib
import lzma
import re
import tarfile
import zlib
from collections.abc import Container, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from kadam.lab.data.sources import DataError, ReviewSource, Source, checked, utf8, verify

# A review's file in the archive: its folder, its number among those of the folder, and its rating.
MEMBER = re.compile(r"aclImdb/(train/unsup|test/pos|test/neg)/(\d+)_\d+\.txt")

# So many of each folder are taken, the first by number.
TAKEN = {"train/unsup": 40_000, "test/pos": 1_250, "test/neg": 1_250}

BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)


class Reading(NamedTuple):
    """Reviews, each ended by a line feed, in UTF-8; and the sha256 of all of the text, however much of it was read."""

    text: bytes
    sha256: str


def read_reviews(source: ReviewSource, path: Path, *, limit: int | None = None) -> Reading:
    """The source's reviews from its file at ``path``; ``DataError`` for a file that is not what it should be.

    ``limit``: at most so many bytes, the first, cut where a character ends; of a packed file no more is unpacked. The sha256 of
    the file is checked always, that of a packed text where all of it is read.
    """
    content, packed = BytesIO(verify(source, path)), path.suffix == ".xz"
    try:
        if packed:
            with lzma.open(content) as file:
                text = file.read(-1 if limit is None else limit + 1)
        else:
            text = getattr(archived_reviews(content, source.foreign), source.part)
    except BROKEN as error:
        raise DataError(f"{path}: cannot be unpacked: {error}") from None
    sha256 = source.unpacked if packed else hashlib.sha256(text).hexdigest()
    whole = limit is None or len(text) <= limit
    text = utf8(path, text[:limit], cut=not whole).encode()
    if packed and source.foreign:
        text = b"\n".join(line for i, line in enumerate(text.split(b"\n")) if i not in source.foreign)
    if packed and whole:
        checked(str(path), text, sha256, when=" after unpacking")
    return Reading(text, sha256)


def foreign_count(source: Source, path: Path) -> int:
    """How many lines of the source's file at ``path`` are left out, since they are no film reviews."""
    return len(source.foreign) if isinstance(source, ReviewSource) and path.suffix == ".xz" else 0


class Reviews(NamedTuple):
    """The two texts that are made of the archive."""

    train: bytes
    valid: bytes


def archived_reviews(content: BytesIO, foreign: Container[int] = ()) -> Reviews:
    """The archive's reviews to learn from, and others but the positive ones numbered ``foreign``; by number, no repeats."""
    found: dict[str, dict[int, bytes]] = {folder: {} for folder in TAKEN}
    with tarfile.open(fileobj=content, mode="r|gz") as archive:
        for folder, number, review in _members(archive):
            found[folder][number] = review
    found["test/pos"] = {number: review for number, review in found["test/pos"].items() if number not in foreign}
    unlabelled, positive, negative = (
        [reviews[number] for number in sorted(reviews) if number < TAKEN[folder]] for folder, reviews in found.items()
    )
    train = dict.fromkeys(unlabelled)
    return Reviews(_lines(train), _lines(dict.fromkeys(review for review in positive + negative if review not in train)))


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, int, bytes]]:
    """Folder, number and content of the reviews of an archive."""
    for member in archive:
        name = MEMBER.fullmatch(member.name)
        file = archive.extractfile(member) if name else None
        if name and file:
            yield name[1], int(name[2]), b" ".join(file.read().strip().split(b"\n"))


def _lines(reviews: Iterable[bytes]) -> bytes:
    return b"".join(review + b"\n" for review in reviews)
