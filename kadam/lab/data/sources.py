"""Where the experiments' data comes from, and proof that it is the right data.

A data set is looked for in these places, in this order:

    folder     $KADAM_DATA, if set: a folder that holds the files under the names below
    pack       what a machine without a network was given (``kadam.lab.records.pack``)
    cache      the cache folder, where an earlier download lies
    download   the canonical source, into the cache, with a progress bar
    embedded   a small stand-in that comes with the installation, and is labelled as one wherever it is used

A data set may lie in any of several files; one that is a lossy copy is taken where no other is on this machine, and says so in
the title and the origin. Files are verified by sha256 wherever they are found; one that differs is
refused, never passed over.
"""

import codecs
import functools
import hashlib
import os
import socket
import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np
from numpy.typing import NDArray

from kadam.lab.records import pack
from kadam.lab.records.cache import cache_folder

# Seconds without an answer after which a download counts as impossible.
DOWNLOAD_TIMEOUT = 10

# Seconds in which a server must accept a connection, looking up its name included; and the environment variable that tells the
# processes which this one starts what servers did not.
CONNECT_S = 5
UNREACHABLE = "KADAM_UNREACHABLE"

ADVICE = "; remove the file, or put the right one there"


class StandInWarning(UserWarning):
    """Stand-in data is being used because the real data could not be had."""


class DataError(ValueError):
    """A data file is not what it should be."""


@dataclass(frozen=True)
class File:
    """A file by its name and checksum, and where it can be had; without ``url`` it cannot be downloaded."""

    name: str
    sha256: str
    url: str | None = None
    lossy: str = ""  # what the title adds where the file is no exact copy


@dataclass(frozen=True)
class Source:
    """A data set: what it is called, and the files each of which holds all of it, the preferred one first."""

    name: str
    title: str  # as figures name it
    files: tuple[File, ...]

    @property
    def download(self) -> File:
        return next(file for file in self.files if file.url is not None)

    def file_at(self, path: Path) -> File:
        """Which of the files lies at ``path``, by its name."""
        return next(file for file in self.files if file.name == path.name)

    def title_at(self, path: Path) -> str:
        """The title as figures name it where the data is of the file at ``path``."""
        lossy = self.file_at(path).lossy
        return f"{self.title} ({lossy})" if lossy else self.title


@dataclass(frozen=True)
class TextSource(Source):
    """A text, in one file of UTF-8."""

    excerpt: File  # the embedded stand-in


class Checksums(NamedTuple):
    """sha256 of uint8 arrays in C order: images (n, height, width, channels) and labels (n,)."""

    train: str
    train_labels: str
    test: str
    test_labels: str


@dataclass(frozen=True)
class ImageSource(Source):
    """Labelled images, with checksums of what the files hold once decoded."""

    classes: tuple[str, ...]
    checksums: Checksums


@dataclass(frozen=True)
class ReviewSource(Source):
    """Reviews, one a line of UTF-8: in a packed file of their own, or among others in the archive of their publication."""

    part: str  # of the archive's reviews: train or valid
    unpacked: str  # sha256 of the packed text, without its foreign lines
    foreign: tuple[int, ...] = ()  # lines of the packed text that are no film reviews, and are left out


# Checksums computed from karpathy/char-rnn's data/tinyshakespeare/input.txt; the excerpt is its first 65,536 characters.
TINY_SHAKESPEARE = TextSource(
    name="tinyshakespeare",
    title="tiny Shakespeare",
    files=(
        File(
            "tinyshakespeare.txt",
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        ),
    ),
    excerpt=File("tinyshakespeare-excerpt.txt", "6ecb14ae69476c437037abfd1a16b348e2ff0dc994c04a08a5f9970a4492034f"),
)

# Krizhevsky's binary version of 2009, with the checksum that public loaders of it state; and a smaller file in which 93
# images are not exact, with the checksums of its data card. Those of the arrays are of the smaller file. The smallest holds
# JPEG copies of all images: its labels are those of the others, its pixels are off by 6 of 255 in the mean.
CIFAR10 = ImageSource(
    name="cifar10",
    title="CIFAR-10",
    files=(
        File(
            "cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        ),
        File("cifar10.npz", "6f69297d6293d733481f68abab1a1f8287693490d91f42e8d603a373f5de0824"),
        File("cifar10_jpeg.npz", "c29d560caef42c656769a097b9ecb05f5f141457b0ed6b20d380cf5228de5992", lossy="a lossy JPEG copy"),
    ),
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    checksums=Checksums(
        train="ff7f60d2696c4304c0d820eb732bc21fbd38c69122372c42aeb4ef8569a4dd60",
        train_labels="2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        test="1249626010949d8f448e0faf792debbc3da0c50ed31bfff3678c99c37fbc7e48",
        test_labels="cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    ),
)

# Maas et al.'s archive of 2011, with the checksum that public loaders of it state; and texts made of it as
# ``kadam.lab.data.reviews`` does, with the checksums of their data card. The repository that the card names as their origin had
# put reviews of apps in place of the positive test reviews 0, 2, 7 and 9, which are also the numbers of their lines.
_FILM_REVIEWS = File(
    "aclImdb_v1.tar.gz",
    "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
)
_PACKED_TRAIN = File("imdb.train.txt.xz", "6f88f12a5effb0c056b70ecb2ace90405e3e21af611eec58ec586bafb2db4279")
_PACKED_VALID = File("imdb.valid.txt.xz", "596d1530e08ece40fdf90a61ee7bd9821853895d9f660e8f389ee664c5024b96")
_TRAIN = "2c058f906063bdc42178fb9556d3ec277991a7731479d30f78f6c5a7de9d17d2"
_VALID = "c0fc4b93aeae2f1dc7dd4d08463b542ff8e23a487e542eac5646338188b97155"
_TITLE = "IMDB film reviews"
REVIEWS = (
    ReviewSource("reviews-train", _TITLE, (_PACKED_TRAIN, _FILM_REVIEWS), "train", _TRAIN),
    ReviewSource("reviews-valid", _TITLE, (_PACKED_VALID, _FILM_REVIEWS), "valid", _VALID, foreign=(0, 2, 7, 9)),
)

SOURCES: dict[str, Source] = {source.name: source for source in (TINY_SHAKESPEARE, *REVIEWS, CIFAR10)}


class Described:
    """Data that a record names; for the dataclasses that hold some."""

    title: str
    origin: str  # folder | pack | cache | download | embedded; several where files differ in it; lossy where the file is
    sha256: str

    @property
    def stand_in(self) -> bool:
        return self.origin == "embedded"

    @property
    def label(self) -> str:
        """What a figure says of its data."""
        return self.substitute() if self.stand_in else self.title

    def substitute(self) -> str:
        """What a figure says of data that is embedded."""
        return self.title


@dataclass(frozen=True)
class Together(Described):
    """Several data sets described as one."""

    title: str
    origin: str
    sha256: str


def together(*sets: Described) -> Together:
    """Several data sets described as one, which is embedded if any of them is."""
    origins = dict.fromkeys(one.origin for one in sets)
    origin = "embedded" if "embedded" in origins else ", ".join(origins)
    sha256 = hashlib.sha256("".join(one.sha256 for one in sets).encode()).hexdigest()
    return Together(" and ".join(one.label for one in sets), origin, sha256)


def describe(data: Described) -> dict[str, str]:
    """The attributes by which a record names its data."""
    return {"data": data.label, "data_sha256": data.sha256, "data_origin": data.origin}


@dataclass(frozen=True)
class Text(Described):
    """A text as characters and as token indices, with its origin."""

    characters: str
    title: str
    origin: str
    sha256: str

    def substitute(self) -> str:
        return f"embedded excerpt of {self.title} ({len(self.characters):,} characters)"

    @cached_property
    def vocabulary(self) -> list[str]:
        return sorted(set(self.characters))

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """Index of each character in ``vocabulary``; shape (len(characters),)."""
        index = {character: i for i, character in enumerate(self.vocabulary)}
        return np.array([index[c] for c in self.characters], dtype=np.int64)


def load_text(source: TextSource = TINY_SHAKESPEARE, *, embedded: bool = False, fetch: bool = True) -> Text:
    """The text of a source; ``embedded``: the excerpt, as the smoke profile wants it; ``fetch``: may download.

    ``StandInWarning`` where the excerpt stands in; ``DataError`` for no folder $KADAM_DATA, or a wrong checksum.
    """
    found = None if embedded else find(source, fetch=fetch, instead="an embedded excerpt")
    if found is None:
        return Text(packaged(source.excerpt).decode(), source.title, "embedded", source.excerpt.sha256)
    origin, path = found
    return Text(utf8(path, verify(source, path)), source.title, origin, source.file_at(path).sha256)


def configured_text(config: Any, *, fetch: bool = True) -> Text:
    """The text that ``config.text`` names, "real" or "embedded"; ``fetch``: may download it."""
    return load_text(embedded=config.text == "embedded", fetch=fetch)


def find(source: Source, *, fetch: bool, instead: str) -> tuple[str, Path] | None:
    """(origin, path) of a file of the source, unverified, downloaded if need be; None, with a warning, where there is none."""
    found = locate(source)
    if found is None and fetch:
        found = _try_download(source)
    if found is None:
        remedy = "for real data: kadam data fetch, then a new process"
        warnings.warn(f"{source.title}: no file, no download; using {instead}; {remedy}", StandInWarning, stacklevel=3)
    return found


def locate(source: Source) -> tuple[str, Path] | None:
    """(origin, path) of a file that is already on this machine, unverified, lossy ones last; None if there is none."""
    folders = {"folder": data_folder(), "pack": pack.part(pack.DATA), "cache": download_folder()}
    places = [(origin, folder / file.name) for origin, folder in folders.items() if folder for file in source.files]
    exact = ((origin, path) for origin, path in places if not source.file_at(path).lossy)
    lossy = ((f"{origin}, lossy", path) for origin, path in places if source.file_at(path).lossy)
    return next(((origin, path) for origin, path in (*exact, *lossy) if path.is_file()), None)


def download(source: Source) -> Path:
    """Fetch a source into the cache over TLS, whole or not at all; ``OSError`` without a network, ``DataError`` if wrong."""
    import pooch  # slow to import, and only needed here

    pooch.get_logger().setLevel("WARNING")  # the bar says what it would
    file = source.download
    over_tls = pooch.HTTPDownloader(progressbar=True, timeout=DOWNLOAD_TIMEOUT, hooks={"response": _refuse_plain_http})
    try:
        path = pooch.retrieve(file.url, f"sha256:{file.sha256}", fname=file.name, path=download_folder(), downloader=over_tls)
    except ValueError as error:
        raise DataError(f"{file.url}: {error}") from None
    return Path(path)


def _refuse_plain_http(response: Any, *_: Any, **__: Any) -> None:
    """``ValueError`` where an answer, or a redirection, did not come over TLS; nothing of it is kept."""
    if not response.url.startswith("https://"):
        raise ValueError(f"{response.url} is not https, so that anybody on the way could have changed it")


def verify(source: Source, path: Path) -> bytes:
    """The content of the source's file at ``path``; ``DataError`` unless its sha256 is right."""
    return checked(str(path), path.read_bytes(), source.file_at(path).sha256, advice=ADVICE)


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
        return ("download", download(source)) if _reachable(str(urlsplit(source.download.url).hostname)) else None
    except OSError:
        return None


def _reachable(host: str) -> bool:
    """Whether a server accepts connections. One that does not costs ``CONNECT_S`` at most, once for a command's processes."""
    known = os.environ.get(UNREACHABLE, "").split()
    if host in known:
        return False
    if getproxies().get("https"):
        return True  # the proxy knows
    answers: list[bool] = []
    thread = Thread(target=lambda: answers.append(_accepts(host)), daemon=True)  # looking up a name has no time limit
    thread.start()
    thread.join(CONNECT_S)
    if not any(answers):
        os.environ[UNREACHABLE] = " ".join((*known, host))
    return any(answers)


def _accepts(host: str) -> bool:
    try:
        socket.create_connection((host, 443), CONNECT_S).close()
        return True
    except OSError:
        return False


def packaged(file: File) -> bytes:
    """The content of a file that comes with the package; ``DataError`` unless its sha256 is right."""
    content = files("kadam.lab.data").joinpath("embedded", file.name).read_bytes()
    return checked(file.name, content, file.sha256, advice=ADVICE)


def checked(name: str, content: bytes, expected: str, *, when: str = "", advice: str = "") -> bytes:
    """The content; ``DataError`` unless its sha256 is as expected."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DataError(f"{name}: sha256 is {found}{when}, expected {expected}{advice}")
    return content


def utf8(path: Path, content: bytes, *, cut: bool = False) -> str:
    """A text; where it was ``cut``, without a character's beginning at its end. ``DataError`` where it is not UTF-8."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(content, not cut)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start:,} of the text: {error.reason}") from None


def random_windows(tokens: NDArray[np.int64], *, batch: int, length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``batch`` windows of ``length`` consecutive tokens, of (n,), at random places, shape (batch, length)."""
    last = len(tokens) - length
    if last < 0:
        raise ValueError(f"length must be at most the text's {len(tokens)} characters, got {length}")
    return tokens[rng.integers(0, last + 1, size=batch)[:, None] + np.arange(length)]
