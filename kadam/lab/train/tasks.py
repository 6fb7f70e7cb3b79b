"""What the experiments on scale invariance train: a network, its loss, its scale-invariant weights, and its batches."""

import functools
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kadam.flat import Loss
from kadam.lab.data.images import configured_images, standardised
from kadam.lab.data.sources import Text, configured_text, describe, random_windows, together
from kadam.lab.data.upload import uploaded
from kadam.lab.engine.state import Stateful
from kadam.lab.records.profiles import Sizes
from kadam.lab.train import devices
from kadam.lab.train.arithmetic import Size, size, size_of
from kadam.lab.train.networks import CharTransformer, ConvNet, classification_loss, initialise, next_token_loss

# The scale-invariant weights that are watched: their names in records, and in the network.
LANGUAGE_WEIGHTS = {"query": "blocks.0.query.weight", "key": "blocks.0.key.weight", "hidden": "blocks.0.up.weight"}
IMAGE_WEIGHTS = {"convolution 2": "convolutions.1.weight", "convolution 3": "convolutions.2.weight"}

# Scaling by a power of two changes no digit of a weight, so a scale-invariant loss moves by rounding alone: a few hundred
# operations in float64 on the way to it.
ROUNDING = 1e-12

Draw = Callable[[np.random.Generator, int], Any]  # a random batch of so many examples


class Batches(Stateful, Iterator[Any]):
    """Random batches without end, or with ``fixed`` one random batch again and again. The generator is the whole state."""

    STATE = ("rng",)

    def __init__(self, draw: Draw, rng: np.random.Generator, size: int, *, fixed: bool = False) -> None:
        self.draw, self.rng, self.size = draw, rng, size
        self.one = draw(rng, size) if fixed else None

    def __next__(self) -> Any:
        return self.draw(self.rng, self.size) if self.one is None else self.one


def windows(config: Any, text: Text, rng: np.random.Generator, size: int) -> Tensor:
    """A random batch of text, (size, context + 1), for a configuration's context on its device."""
    drawn = random_windows(text.tokens, batch=size, length=config.context + 1, rng=rng)
    return uploaded(drawn, devices.chosen(config.device))


def text_batches(config: Any, text: Text, seed: int, *, fixed: bool) -> Batches:
    """Batches of windows (batch, context + 1): random ones without end, or with ``fixed`` one again and again."""
    return Batches(functools.partial(windows, config, text), np.random.default_rng([seed, 1]), config.batch, fixed=fixed)


def character_model(
    config: Any, text: Text, seed: int, *, dtype: torch.dtype | None = None, normalised: bool = False
) -> CharTransformer:
    """The transformer of a configuration, over a text's characters, with the weights of a seed, on its device.

    ``dtype``: of the weights, the configuration's unless it is given.
    """
    size = {name: getattr(config, name) for name in ("context", "width", "layers", "heads")}
    model = CharTransformer(vocab=len(text.vocabulary), **size, normalised=normalised)
    model.to(devices.chosen(config.device), dtype or getattr(torch, config.dtype))
    initialise(model, seed)
    return model


def character_size(config: Any, batch: int) -> Size:
    """Of the same over the 65 characters of tiny Shakespeare, on a batch."""
    shape = {name: getattr(config, name) for name in ("context", "width", "layers", "heads")}
    return size(lambda: CharTransformer(vocab=65, **shape), (batch, config.context), dtype=torch.int64)


@torch.no_grad()
def check_scale_invariant(model: nn.Module, loss: Loss, batch: Any, name: str) -> None:
    """``ValueError`` unless halving and doubling this parameter leaves the loss the same to rounding, and setting its entries
    to their absolute values does not: a parameter that the loss does not use is no example of anything."""
    copy = deepcopy(model).double()
    parameters = dict(copy.named_parameters())
    if name not in parameters:
        raise ValueError(f"name must be one of {', '.join(parameters)}; got {name!r}")
    weight, losses = parameters[name].clone(), []
    for changed in (weight, weight / 2, weight * 2, weight.abs()):
        parameters[name].copy_(changed)
        losses.append(float(loss(copy, batch)))
    start, *scaled, without_signs = losses
    change = max(abs(one - start) for one in scaled) / abs(start)
    if not change <= ROUNDING:
        by = f"{change:.1e} of its value, allowed is {ROUNDING:.0e}"
        raise ValueError(f"{name} is not scale invariant: halved or doubled it changes the loss by {by}")
    if without_signs == start:
        raise ValueError(f"{name} is not used by this loss, so that it says nothing of scale")


@dataclass(frozen=True)
class Task:
    """A freshly initialised network in float64, and batches for it. ``weights``: name -> path in the network."""

    model: nn.Module
    loss: Loss
    weights: Mapping[str, str]
    draw: Draw

    def batches(self, rng: np.random.Generator, size: int, *, fixed: bool = False) -> Batches:
        """Random batches without end, or one random batch again and again."""
        return Batches(self.draw, rng, size, fixed=fixed)

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


class LabelledImages(NamedTuple):
    """Images as a network takes them: (n, channels, height, width) in float64, and labels (n,)."""

    images: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Inputs:
    """What networks of some sizes train on, ready for use, and the attributes by which a record names it."""

    sizes: Sizes
    text: Text
    images: LabelledImages
    described: dict[str, str]

    @classmethod
    def of(cls, sizes: Sizes) -> "Inputs":
        text, images = configured_text(sizes), configured_images(sizes)
        pixels = standardised(images.train[: sizes.examples], pixels=sizes.pixels)
        chosen = LabelledImages(pixels, images.train_labels[: sizes.examples])
        return cls(sizes, text, chosen, describe(together(text, images)) | devices.described(sizes.device))

    @classmethod
    def of_no_numbers(cls, sizes: Sizes) -> "Inputs":
        """Of the shapes of tiny Shakespeare, 65 characters, and CIFAR-10, and of no more: by these runs are counted."""
        text = Text("".join(map(chr, range(65))) * sizes.context, "", "", "")
        images = np.broadcast_to(0.0, (sizes.examples, 3, sizes.pixels, sizes.pixels))
        return cls(replace(sizes, device="meta"), text, LabelledImages(images, np.arange(sizes.examples) % 10), {})

    @property
    def device(self) -> torch.device:
        return devices.chosen(self.sizes.device)

    def size(self, network: str, batch: int) -> Size:
        """Of the network of "language" or "images", on a batch."""
        task = self.language(0) if network == "language" else self.classification(0)
        return size_of(task.model, lambda: task.loss(task.model, task.draw(np.random.default_rng(0), batch)))

    def language(self, seed: int) -> Task:
        """The normalised character transformer; an example is a window of ``context`` + 1 characters."""
        model = character_model(self.sizes, self.text, seed, dtype=torch.float64, normalised=True)
        return Task(model, next_token_loss, LANGUAGE_WEIGHTS, self.windows)

    def windows(self, rng: np.random.Generator, size: int) -> Tensor:
        """A random batch of text, (size, context + 1)."""
        return windows(self.sizes, self.text, rng, size)

    def classification(self, seed: int, *, normalised: bool = True) -> Task:
        """A network of three convolutions, with batch normalisation or without; an example is an image with its label."""
        images, labels = self.images.images, self.images.labels
        sizes = {"channels": images.shape[1], "classes": int(labels.max()) + 1, "width": self.sizes.channels}
        model = ConvNet(**sizes, normalised=normalised).to(self.device, torch.float64)
        initialise(model, seed)

        def draw(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
            chosen = rng.choice(len(labels), size, replace=False)
            return uploaded(images[chosen], self.device), uploaded(labels[chosen], self.device)

        return Task(model, classification_loss, IMAGE_WEIGHTS if normalised else {}, draw)
