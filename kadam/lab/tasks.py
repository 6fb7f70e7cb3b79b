"""What the experiments on scale invariance train: a network, its loss, its scale-invariant weights, and its batches."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kadam.lab.data import Text, Together, WithText, configured_text, describe, random_windows, together
from kadam.lab.ensemble import Loss
from kadam.lab.images import WithImages, configured_images, standardised
from kadam.lab.models import CharTransformer, ConvNet, classification_loss, initialise, next_token_loss
from kadam.lab.scale import check_scale_invariant

# The scale-invariant weights that are watched: their names in records, and in the network.
LANGUAGE_WEIGHTS = {"query": "blocks.0.query.weight", "key": "blocks.0.key.weight", "hidden": "blocks.0.up.weight"}
IMAGE_WEIGHTS = {"convolution 2": "convolutions.1.weight", "convolution 3": "convolutions.2.weight"}


@dataclass(frozen=True)
class Task:
    """A freshly initialised network in float64, and batches for it. ``weights``: name -> path in the network."""

    model: nn.Module
    loss: Loss
    weights: Mapping[str, str]
    draw: Callable[[np.random.Generator, int], Any]  # a random batch of so many examples

    def batches(self, rng: np.random.Generator, size: int, *, fixed: bool = False) -> Iterator[Any]:
        """Random batches without end, or one random batch again and again."""
        batch = self.draw(rng, size)
        while True:
            yield batch
            batch = batch if fixed else self.draw(rng, size)

    def check(self, batch: Any) -> None:
        """``ValueError`` unless every watched weight is scale invariant on this batch."""
        for path in self.weights.values():
            check_scale_invariant(self.model, self.loss, batch, path)

    @torch.no_grad()
    def resize(self, mean_square: float) -> None:
        """Give the entries of the watched weights this mean square, which changes nothing that the network computes."""
        for path in self.weights.values():
            weight = self.model.get_parameter(path)
            weight.mul_((mean_square / weight.square().mean()).sqrt())


def language(text: Text, *, context: int, width: int, layers: int, heads: int, seed: int) -> Task:
    """The normalised character transformer; an example is a window of ``context`` + 1 characters."""
    vocab = len(text.vocabulary)
    model = CharTransformer(vocab=vocab, context=context, width=width, layers=layers, heads=heads, normalised=True).double()
    initialise(model, seed)

    def draw(rng: np.random.Generator, size: int) -> Tensor:
        return torch.from_numpy(random_windows(text, batch=size, length=context + 1, rng=rng))

    return Task(model, next_token_loss, LANGUAGE_WEIGHTS, draw)


class WithBoth(WithText, WithImages, Protocol):
    """A configuration that trains on a text, and on so many images averaged down to so many pixels a side."""

    @property
    def examples(self) -> int: ...

    @property
    def pixels(self) -> int: ...


def configured_sets(config: WithBoth, *, fetch: bool = True) -> Together:
    """Text and images of a configuration under one name and hash. Nothing is decoded."""
    return together(configured_text(config, fetch=fetch), configured_images(config, fetch=fetch))


@dataclass(frozen=True)
class LabelledImages:
    """Images as a network takes them: (n, channels, height, width) in float64, and labels (n,)."""

    images: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Inputs:
    """What a configuration trains on, ready for use, and the attributes by which a record names it."""

    text: Text
    images: LabelledImages
    described: dict[str, str]

    @classmethod
    def of(cls, config: WithBoth) -> "Inputs":
        """The first ``examples`` images of the training set stand for all."""
        text, images = configured_text(config), configured_images(config)
        pixels = standardised(images.train[: config.examples], pixels=config.pixels)
        chosen = LabelledImages(pixels, images.train_labels[: config.examples])
        return cls(text, chosen, describe(together(text, images)))


def classification(data: LabelledImages, *, width: int, seed: int, normalised: bool = True) -> Task:
    """A network of three convolutions; an example is an image with its label. ``normalised``: with batch normalisation."""
    classes = int(data.labels.max()) + 1
    model = ConvNet(channels=data.images.shape[1], classes=classes, width=width, normalised=normalised).double()
    initialise(model, seed)

    def draw(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
        chosen = rng.choice(len(data.labels), size, replace=False)
        return torch.from_numpy(data.images[chosen]), torch.from_numpy(data.labels[chosen])

    return Task(model, classification_loss, IMAGE_WEIGHTS if normalised else {}, draw)
