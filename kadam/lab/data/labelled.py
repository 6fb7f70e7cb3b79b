"""Labelled images on a device, split into training, validation and test; random batches of them, changed at random."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kadam.lab.data.images import Images, channel_statistics, standardised
from kadam.lab.data.upload import uploaded


class Seeds(NamedTuple):
    """What a training run draws, each from its own seed: weights, the order of examples, their changes."""

    initialisation: int
    order: int
    augmentation: int


@dataclass(frozen=True)
class Labelled:
    """Images (n, height, width, channels), floating point, and labels (n,), whole numbers below ``classes``.

    ``ValueError`` for other shapes, no images at all, values that are not finite, or labels out of range.
    """

    images: Tensor
    labels: Tensor
    classes: int

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        kind, labels_kind = (f"{x.dtype} of shape {tuple(x.shape)}" for x in (images, labels))
        if images.dim() != 4 or not len(images) or not images.is_floating_point():
            raise ValueError(f"images must be floats (n, height, width, channels), n >= 1, got {kind}")
        if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
            raise ValueError(f"labels must be int64, one an image, ({len(images)},), got {labels_kind}")
        if not torch.isfinite(images).all():
            raise ValueError("images must be finite, got NaN or infinite pixels")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= self.classes:
            raise ValueError(f"labels must lie in 0..{self.classes - 1}, got {low} to {high}")

    def __len__(self) -> int:
        return len(self.images)


class Splits(NamedTuple):
    """Three sets of images that share none: settings are chosen on the second, results reported on the third."""

    train: Labelled
    validation: Labelled
    test: Labelled


class Counts(NamedTuple):
    """So many images a split."""

    train: int
    validation: int
    test: int


def split(images: Images, wanted: Counts, *, pixels: int, device: torch.device, dtype: torch.dtype) -> Splits:
    """The first training images, the last training images (to validate) and the first test images, on the device.

    Averaged down to ``pixels`` a side and standardised as the training images are. A stand-in gives what it has; ``ValueError``
    where other images are too few.
    """
    have, most = len(images.train_labels), len(images.test_labels)
    validation = min(wanted.validation, have // 5) if images.stand_in else wanted.validation
    left = have - validation
    counts = Counts(min(wanted.train, left), validation, min(wanted.test, most)) if images.stand_in else wanted
    if not (1 <= counts.train <= left and validation >= 1 and 1 <= counts.test <= most):
        raise ValueError(f"{images.title} has {left} training images beside those to validate, {most} to test: {counts}")
    pixels = min(pixels, images.train.shape[1])
    statistics = channel_statistics(images.train[: counts.train], pixels=pixels)

    def labelled(part: str, chosen: slice) -> Labelled:
        pictures, labels = getattr(images, part)[chosen], getattr(images, f"{part}_labels")[chosen]
        values = standardised(pictures, pixels=pixels, statistics=statistics).transpose(0, 2, 3, 1)
        on_device = torch.from_numpy(np.ascontiguousarray(values)).to(device, dtype)
        return Labelled(on_device, torch.tensor(labels, device=device), len(images.classes))

    train, held_out = labelled("train", slice(counts.train)), labelled("train", slice(-validation, None))
    return Splits(train, held_out, labelled("test", slice(counts.test)))


@dataclass(frozen=True)
class Augmentation:
    """How training images change at random, every time they are seen; sizes in pixels."""

    flip: bool = True  # mirrored with probability one half
    shift: int = 2  # moved by up to so much in each direction; what comes in is the image's mirror image
    cutout: int = 4  # a square of this side, its centre anywhere in the image, becomes the mean colour


class Batches:
    """Batch n of training images and labels, in channels-last memory: a function of n and of the seeds, so without state.

    Every epoch has its own order; what does not fill a batch is left out. Images stay on the device; the host draws an epoch's
    random numbers at once and never waits. ``ValueError`` for a batch larger than the data.
    """

    def __init__(self, data: Labelled, augmentation: Augmentation, size: int, seeds: Seeds) -> None:
        if not 1 <= size <= len(data):
            raise ValueError(f"batch must be from 1 to the number of training images, {len(data)}, got {size}")
        self.augmentation, self.size, self.seeds = augmentation, size, seeds
        self.labels, self.height, self.width = data.labels, *data.images.shape[1:3]
        margins = padded(data.images, augmentation.shift)
        self._rows, self._row = margins.shape[1:3]
        # One pixel a line, after a line of zeros, which is what is cut out: a quarter of the time of an index for each axis.
        self.pixels = F.pad(margins.flatten(0, 2), (0, 0, 1, 0))
        self.per_epoch = len(data) // size
        self._drawn, self._epoch = -1, list[Tensor]()

    def __getitem__(self, n: int) -> tuple[Tensor, Tensor]:
        """Batch n: images (batch, channels, height, width) and labels (batch,)."""
        if n // self.per_epoch != self._drawn:
            self._drawn, self._epoch = n // self.per_epoch, self._draw(n // self.per_epoch)
        place = n % self.per_epoch * self.size
        order, rows, columns, holes = (part[place : place + self.size] for part in self._epoch)
        first = (order[:, None] * self._rows + rows) * self._row + 1
        lines = first[:, :, None] + columns[:, None, :]
        if self.augmentation.cutout:
            lines = lines.masked_fill_(self._hole(holes), 0)
        return self.pixels.index_select(0, lines.flatten()).view(*lines.shape, -1).permute(0, 3, 1, 2), self.labels[order]

    def _draw(self, epoch: int) -> list[Tensor]:
        """Whose turn it is, (n,), which row and column each pixel comes from, (n, side), upper left corners to cut, (n, 2)."""
        n, change = len(self.labels), self.augmentation
        order = np.random.default_rng([self.seeds.order, epoch]).permutation(n)
        rng = np.random.default_rng([self.seeds.augmentation, epoch])
        shifts = rng.integers(0, 2 * change.shift + 1, (n, 2))
        flips = rng.integers(0, 2, n) * change.flip
        centres = rng.integers(0, (self.height, self.width), (n, 2))
        rows, columns = (np.arange(side) + shifts[:, i, None] for i, side in enumerate((self.height, self.width)))
        columns = np.where(flips[:, None] == 1, columns[:, ::-1], columns)
        drawn = (order, rows, columns, centres - change.cutout // 2)
        return [uploaded(part, self.labels.device) for part in drawn]

    def _hole(self, corners: Tensor) -> Tensor:
        """Which pixels are cut out, (batch, height, width)."""
        rows, columns = (
            ((at := torch.arange(side, device=corners.device)) >= corner) & (at < corner + self.augmentation.cutout)
            for side, corner in ((self.height, corners[:, :1]), (self.width, corners[:, 1:]))
        )
        return rows[:, :, None] & columns[:, None, :]


def padded(images: Tensor, margin: int) -> Tensor:
    """Images (n, height, width, channels) with so many pixels of their mirror image around them."""
    side = min(images.shape[1:3])
    if not 0 <= margin < side:
        raise ValueError(f"shift must be from 0 to {side - 1}, below the images' side, got {margin}")
    return F.pad(images.permute(0, 3, 1, 2), (margin,) * 4, mode="reflect").permute(0, 2, 3, 1).contiguous()
