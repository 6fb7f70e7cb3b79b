"""Images to classify: CIFAR-10 from any of its files, or scikit-learn's digits in its place. Nothing is unpickled."""

import functools
import itertools
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kadam.lab.data.sources import CIFAR10, DataError, Described, File, ImageSource, checked, find, packaged, verify

Pixels = NDArray[np.uint8]
Indices = NDArray[np.int64]

# CIFAR-10's images are SIDE pixels high and wide, with three colours.
SIDE = 32

# Members of the binary version's archive.
TRAIN_MEMBERS = tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6))
TEST_MEMBERS = ("cifar-10-batches-bin/test_batch.bin",)

# scikit-learn's digits: their file, (training, test) images, and the sha256 of the four arrays' bytes, one after another.
DIGITS = File("digits.npz", "1e34d1b46093521c2f3416c55efd44108c93d71289c8ddad184911965bf9f4b7")
DIGITS_SPLIT = (1500, 297)
DIGITS_SHA256 = "ee9c3d4a0b70c8eea0d6df59494c03776008444f01c603039ee3692ee39d99e9"


class Arrays(NamedTuple):
    """What a file holds: images (n, height, width, channels), their labels (n,), indices of images that are not exact."""

    train: Pixels
    train_labels: Indices
    test: Pixels
    test_labels: Indices
    lossy_train: Indices = np.empty(0, np.int64)
    lossy_test: Indices = np.empty(0, np.int64)


@dataclass(frozen=True)
class Images(Described):
    """Labelled images, decoded when first asked for, in read-only arrays, each of which goes by its name in ``Arrays``."""

    title: str
    classes: tuple[str, ...]
    origin: str
    sha256: str  # of the file; of the arrays where embedded
    decode: Callable[[], Arrays] = field(repr=False, compare=False)

    train = property(lambda self: self._arrays.train)
    train_labels = property(lambda self: self._arrays.train_labels)
    test = property(lambda self: self._arrays.test)
    test_labels = property(lambda self: self._arrays.test_labels)
    lossy_train = property(lambda self: self._arrays.lossy_train)
    lossy_test = property(lambda self: self._arrays.lossy_test)

    def substitute(self) -> str:
        return f"scikit-learn's digits, standing in for {self.title} ({sum(DIGITS_SPLIT):,} images)"

    @functools.cached_property
    def _arrays(self) -> Arrays:
        arrays = self.decode()
        for array in arrays:
            array.flags.writeable = False
        return arrays


def load_images(source: ImageSource = CIFAR10, *, embedded: bool = False, fetch: bool = True) -> Images:
    """The images of a source; ``embedded``: the digits, as the smoke profile wants them; ``fetch``: may download.

    ``StandInWarning`` where the digits stand in; ``DataError`` for no folder $KADAM_DATA, or a wrong checksum.
    """
    found = None if embedded else find(source, fetch=fetch, instead="scikit-learn's digits")
    if found is None:
        return Images(source.title, tuple("0123456789"), "embedded", DIGITS_SHA256, _digits)
    origin, path = found
    verify(source, path)
    decode = functools.partial(_decoded, source, path)
    return Images(source.title_at(path), source.classes, origin, source.file_at(path).sha256, decode)


def configured_images(config: Any, *, fetch: bool = True) -> Images:
    """The images that ``config.images`` names, "real" or "embedded"; ``fetch``: may download them."""
    return load_images(embedded=config.images == "embedded", fetch=fetch)


def lossy_count(source: ImageSource, path: Path) -> int:
    """How many images of the source's file at ``path`` are not exact, found without decoding it."""
    if path.suffix != ".npz":
        return 0
    names = [f"{part}_labels" if source.file_at(path).lossy else f"lossy_{part}" for part in ("train", "test")]
    with np.load(BytesIO(verify(source, path)), allow_pickle=False) as file:
        return sum(len(file[name]) for name in names)


def _digits() -> Arrays:
    """scikit-learn's digits, 8x8 grey, their 17 levels spread over 0..255; the last of them are the test set."""
    with np.load(BytesIO(packaged(DIGITS)), allow_pickle=False) as file:
        levels, labels = file["levels"], file["labels"].astype(np.int64)
    images = np.rint(levels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    first = DIGITS_SPLIT[0]
    arrays = Arrays(images[:first], labels[:first], images[first:], labels[first:])
    checked("scikit-learn's digits", b"".join(array.tobytes() for array in arrays), DIGITS_SHA256, when=" after decoding")
    return arrays


@functools.lru_cache(1)  # seconds each, and several experiments of one process ask for the same
def _decoded(source: ImageSource, path: Path) -> Arrays:
    """The arrays of a source's file, equal to the source's checksums; the file's own covers pixels that are not packed."""
    content = BytesIO(verify(source, path))
    lossy, packed = source.file_at(path).lossy, path.suffix == ".npz"
    decoder = _jpeg_arrays if lossy else _packed_arrays if packed else _archived_arrays
    try:
        arrays = decoder(content)
    except (KeyError, OSError, ValueError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be decoded: {error}") from error
    for name, expected in source.checksums._asdict().items():
        if (packed and not lossy) or name.endswith("labels"):
            found = getattr(arrays, name).astype(np.uint8, copy=False).data
            checked(f"{path}: {name}", found, expected, when=" after decoding")
    return arrays


def _archived_arrays(content: BytesIO) -> Arrays:
    with tarfile.open(fileobj=content, mode="r:gz") as archive:
        return Arrays(*_records(archive, TRAIN_MEMBERS), *_records(archive, TEST_MEMBERS))


def _records(archive: tarfile.TarFile, members: Sequence[str]) -> tuple[Pixels, Indices]:
    """Images and labels of an archive's members: records of a label and the planes R, G, B."""
    files = [archive.extractfile(member) for member in members]
    records = np.frombuffer(b"".join(file.read() for file in files if file), np.uint8).reshape(-1, 1 + 3 * SIDE * SIDE)
    planes = records[:, 1:].reshape(-1, 3, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0].astype(np.int64)


def _jpeg_arrays(content: BytesIO) -> Arrays:
    """JPEG files without their common header, one after another: none of the images is exact."""
    with np.load(content, allow_pickle=False) as file:
        train, test = (_jpegs(file["header"], file[f"{part}_scan"], file[f"{part}_offsets"]) for part in ("train", "test"))
        train_labels, test_labels = (file[f"{part}_labels"].astype(np.int64) for part in ("train", "test"))
    return Arrays(train, train_labels, test, test_labels, np.arange(len(train)), np.arange(len(test)))


def _jpegs(header: Pixels, scans: Pixels, offsets: NDArray[np.uint32]) -> Pixels:
    """The images whose scans lie between successive offsets, (n, height, width, channels)."""
    from PIL import Image  # which matplotlib needs too; slow to import, and only needed here

    begin, whole, end = header.tobytes(), scans.tobytes(), b"\xff\xd9"
    files = (begin + whole[first:last] + end for first, last in itertools.pairwise(offsets))
    return np.stack([np.asarray(Image.open(BytesIO(file))) for file in files])


def _packed_arrays(content: BytesIO) -> Arrays:
    """Green is stored as it is, red and blue by their differences from green."""
    with np.load(content, allow_pickle=False) as file:
        residuals = _residuals(file, "g")
        green = _plane(residuals, np.zeros_like(residuals))
        red, blue = (_plane(_residuals(file, name), green) for name in "rb")
        train, test, *lossy = (file[name].astype(np.int64) for name in ("y_train", "y_test", "lossy_train", "lossy_test"))
    images = np.ascontiguousarray(np.stack((red, green, blue), axis=-1).transpose(2, 0, 1, 3))  # image first, colour last
    return Arrays(images[: len(train)], train, images[len(train) :], test, *lossy)


def _residuals(file: Mapping[str, Pixels], plane: str) -> Pixels:
    """What prediction leaves of a plane, shape (SIDE, SIDE, n); stored image by image in the order of ``perm``."""
    stored = np.frombuffer(zlib.decompress(file[f"z_{plane}"].data), np.uint8).reshape(-1, SIDE * SIDE)
    return np.ascontiguousarray(stored[np.argsort(file[f"perm_{plane}"])].T).reshape(SIDE, SIDE, -1)


def _plane(residuals: Pixels, base: Pixels) -> Pixels:
    """A colour of all images from the residuals of its difference to ``base``; all three have shape (height, width, n).

    Difference = prediction + residual, from left to right and from top to bottom, where the colour, difference + base, lies in
    0..255. The prediction comes from the differences before it, which are 0 outside the image.
    """
    height, width, n = residuals.shape
    colours = np.empty_like(residuals)
    above = np.zeros((width + 1, n), np.int16)  # a row of differences, with the one outside the image first
    for i in range(height):
        row = np.zeros_like(above)
        for j in range(width):
            prediction = _median_prediction(west=row[j], north=above[j + 1], northwest=above[j])
            colours[i, j] = (prediction + residuals[i, j] + base[i, j]).astype(np.uint8)  # modulo 256
            np.subtract(colours[i, j], base[i, j], out=row[j + 1], dtype=np.int16)
        above = row
    return colours


def _median_prediction(*, west: NDArray[np.int16], north: NDArray[np.int16], northwest: NDArray[np.int16]) -> NDArray[np.int16]:
    """The median of west, north and west + north - northwest, which continues a linear slope."""
    low, high = np.minimum(west, north), np.maximum(west, north)
    return np.maximum(low, np.minimum(high, west + north - northwest))


class Statistics(NamedTuple):
    """Mean and standard deviation of each channel, shape (channels,), of images with values in [0, 1]."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def channel_statistics(images: Pixels, *, pixels: int | None = None) -> Statistics:
    """The statistics of images (n, height, width, channels), averaged down to ``pixels`` first."""
    return _statistics(_averaged(images, pixels))


def standardised(images: Pixels, *, pixels: int | None = None, statistics: Statistics | None = None) -> NDArray[np.float64]:
    """Square images (n, height, height, channels) as float64 (n, channels, pixels, pixels), for a network.

    Blocks are averaged down to ``pixels`` (none: as they are), and each channel gets mean 0 and standard deviation 1, or
    is shifted and scaled by the ``statistics`` of other images: those of the training set for test images.
    """
    values = _averaged(images, pixels)
    mean, deviation = _statistics(values) if statistics is None else statistics
    values -= mean[:, None, None]
    values /= deviation[:, None, None]
    return values


def _averaged(images: Pixels, pixels: int | None) -> NDArray[np.float64]:
    """Means of square blocks, in [0, 1], shape (n, channels, pixels, pixels)."""
    n, height, width, channels = images.shape
    allowed = [size for size in range(1, height + 1) if height % size == 0]
    pixels = height if pixels is None else pixels
    if pixels not in allowed:
        raise ValueError(f"pixels must divide the images' height {height}, one of {allowed}, got {pixels}")
    blocks = images.transpose(0, 3, 1, 2).reshape(n, channels, pixels, height // pixels, pixels, width // pixels)
    return np.ascontiguousarray(blocks.mean(axis=(3, 5))) / 255


def _statistics(values: NDArray[np.float64]) -> Statistics:
    return Statistics(values.mean(axis=(0, 2, 3)), values.std(axis=(0, 2, 3)))
