"""Where the experiments' data comes from, and proof that it is the right data.

A data set is looked for in four places, in this order:

    folder     $KADAM_DATA, if set: a folder that holds the files under the names below
    cache      the cache folder, where an earlier download lies
    download   the canonical source, into the cache, with a progress bar
    embedded   a small excerpt that ships with the package: a stand-in, and labelled as one wherever it is used

Files are verified by sha256 wherever they are found; one that differs is refused, never passed over.
"""

import functools
import hashlib
import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kadam.lab.cache import cache_folder

# Seconds without an answer after which a download counts as impossible.
DOWNLOAD_TIMEOUT = 10


class StandInWarning(UserWarning):
    """Stand-in data is being used because the real data could not be had."""


class DataError(ValueError):
    """A data file is not what it should be."""


@dataclass(frozen=True)
class Source:
    """A data set: what it is called, the file it lies in, and where it can be had."""

    name: str
    title: str  # as figures name it
    file: str
    sha256: str
    url: str
    excerpt: str  # the embedded stand-in
    excerpt_sha256: str


# Checksums computed from karpathy/char-rnn's data/tinyshakespeare/input.txt; the excerpt is its first 65,536 characters.
TINY_SHAKESPEARE = Source(
    name="tinyshakespeare",
    title="tiny Shakespeare",
    file="tinyshakespeare.txt",
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    excerpt="tinyshakespeare-excerpt.txt",
    excerpt_sha256="6ecb14ae69476c437037abfd1a16b348e2ff0dc994c04a08a5f9970a4492034f",
)

SOURCES = {source.name: source for source in (TINY_SHAKESPEARE,)}


@dataclass(frozen=True)
class Text:
    """A text as characters and as token indices, with its origin."""

    characters: str
    title: str
    origin: str  # folder | cache | download | embedded
    sha256: str

    @property
    def stand_in(self) -> bool:
        return self.origin == "embedded"

    @property
    def label(self) -> str:
        """What a figure says of its data."""
        return f"embedded excerpt of {self.title} ({len(self.characters):,} characters)" if self.stand_in else self.title

    @cached_property
    def vocabulary(self) -> list[str]:
        return sorted(set(self.characters))

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """Index of each character in ``vocabulary``; shape (len(characters),)."""
        index = {character: i for i, character in enumerate(self.vocabulary)}
        return np.array([index[c] for c in self.characters], dtype=np.int64)


def load_text(source: Source = TINY_SHAKESPEARE, *, embedded: bool = False, fetch: bool = True) -> Text:
    """The text of a source; with ``embedded`` the excerpt, as the smoke profile wants it; ``fetch``: may download.

    Warns with ``StandInWarning`` where the excerpt stands in for data that could not be had. Raises ``DataError``
    for a missing $KADAM_DATA folder or a file with a wrong checksum.
    """
    if embedded:
        return _excerpt(source)
    found = locate(source)
    if found is None and fetch:
        found = _try_download(source)
    if found is None:
        warnings.warn(f"{source.title}: no file, no download; using an embedded excerpt", StandInWarning, stacklevel=2)
        return _excerpt(source)
    origin, path = found
    return Text(_verified(path, source.sha256).decode("utf-8"), source.title, origin, source.sha256)


class WithText(Protocol):
    """A configuration that says which text it trains on: "real", or "embedded" for the excerpt."""

    @property
    def text(self) -> str: ...


def configured_text(config: WithText, *, fetch: bool = True) -> Text:
    """The text that a configuration trains on; ``fetch``: may download it. Experiments on text name it ``load_text``."""
    return load_text(embedded=config.text == "embedded", fetch=fetch)


def locate(source: Source) -> tuple[str, Path] | None:
    """(origin, path) of a file that is already on this machine, unverified; None if there is none."""
    for origin, folder in (("folder", data_folder()), ("cache", download_folder())):
        if folder is not None and (folder / source.file).is_file():
            return origin, folder / source.file
    return None


def download(source: Source) -> Path:
    """Fetch a source into the cache, with a progress bar; raises ``OSError`` without a network.

    The file appears under its name only when it is complete and its checksum right (``DataError`` otherwise).
    """
    import pooch  # slow to import, and only needed here

    progress = pooch.HTTPDownloader(progressbar=True, timeout=DOWNLOAD_TIMEOUT)
    try:
        path = pooch.retrieve(
            source.url, f"sha256:{source.sha256}", fname=source.file, path=download_folder(), downloader=progress
        )
    except ValueError as error:
        raise DataError(f"{source.url}: {error}") from None
    return Path(path)


def verify(source: Source, path: Path) -> None:
    """``DataError`` unless the file's sha256 is the source's."""
    _verified(path, source.sha256)


def data_folder() -> Path | None:
    """$KADAM_DATA, if set; ``DataError`` if it names no folder."""
    value = os.environ.get("KADAM_DATA")
    if not value:
        return None
    if not Path(value).is_dir():
        raise DataError(f"KADAM_DATA must name a folder, got {value!r}; unset it to download or to use embedded data")
    return Path(value)


def download_folder() -> Path:
    return cache_folder() / "data"


@functools.cache  # a network that is not there is asked once
def _try_download(source: Source) -> tuple[str, Path] | None:
    try:
        return "download", download(source)
    except OSError:
        return None


def _excerpt(source: Source) -> Text:
    content = files("kadam.lab").joinpath("embedded", source.excerpt).read_bytes()
    _check_sha256(source.excerpt, content, source.excerpt_sha256)
    return Text(content.decode("utf-8"), source.title, "embedded", source.excerpt_sha256)


def _verified(path: Path, sha256: str) -> bytes:
    content = path.read_bytes()
    _check_sha256(str(path), content, sha256)
    return content


def _check_sha256(name: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DataError(f"{name}: sha256 is {found}, expected {expected}; remove the file, or put the right one there")


def random_windows(text: Text, *, batch: int, length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``batch`` windows of ``length`` consecutive tokens at random places, shape (batch, length)."""
    last = len(text.tokens) - length
    if last < 0:
        raise ValueError(f"length must be at most the text's {len(text.tokens)} characters, got {length}")
    starts = rng.integers(0, last + 1, size=batch)
    return text.tokens[starts[:, None] + np.arange(length)]


def describe(text: Text) -> dict[str, str]:
    """The attributes by which a record names its data."""
    return {"data": text.label, "data_sha256": text.sha256, "data_origin": text.origin}
