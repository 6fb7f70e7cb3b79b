"""Networks on one fixed batch, how uneven the Hessian's diagonal is in their layers, and descents by a named method."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kadam.chapters.local_geometry.hessian import Weights, estimated_diagonal, exact_diagonal
from kadam.chapters.local_geometry.methods import FAMILY, METHODS, NETWORKS
from kadam.decay import Decay
from kadam.lab.records.profiles import check_choice
from kadam.lab.train.arithmetic import NOTHING, Arithmetic, Size, of_ensembles, size_of
from kadam.lab.train.ensemble import Ensemble, Loss, member_losses
from kadam.lab.train.networks import CharTransformer, ConvNet, Perceptron, classification_loss, initialise, next_token_loss
from kadam.lab.train.tasks import Inputs
from kadam.theory import geometry as theory
from kadam.theory.arguments import Array

EXACT = 10**12  # probes: no layer has more weights
MEMBERS = 5  # whose Hessians are computed together


@dataclass(frozen=True)
class Landscape:
    """A network, its loss on one fixed batch, and the weights whose curvature is looked at: name in records -> path."""

    model: nn.Module
    loss: Loss
    batch: Any
    weights: Mapping[str, str]

    @torch.no_grad()
    def start(self, seed: int, scale: float = 1.0) -> dict[str, Tensor]:
        """Fresh weights by path, times ``scale``."""
        initialise(self.model, seed)
        return {name: scale * p.detach() for name, p in self.model.named_parameters()}

    def losses(self, weights: dict[str, Tensor]) -> Tensor:
        """The losses of members, (E,), from their weights: path -> (E, ...)."""
        return member_losses(self.model, self.loss)(weights, self.batch)

    def diagonals(self, weights: Weights, *, probes: int, only: Sequence[int] | None = None) -> list[Array]:
        """The Hessian's diagonal of every member by watched layer, or of ``only`` some by their place, each (E, size).

        Estimated from so many random signs, always the same, in a layer of more weights than that; exact in the others, where
        it costs no more.
        """
        paths = list(self.weights.values())
        chosen = paths if only is None else [paths[i] for i in only]
        parts = []
        for some in zip(*(weight.split(MEMBERS) for weight in weights.values()), strict=True):
            members, rng = dict(zip(weights, some, strict=True)), np.random.default_rng(probes)
            parts.append([self._diagonal(members, path, probes, rng) for path in chosen])
        return [torch.cat(of_layer).double().numpy(force=True) for of_layer in zip(*parts, strict=True)]

    def _diagonal(self, weights: Weights, path: str, probes: int, rng: np.random.Generator) -> Tensor:
        if weights[path][0].numel() > probes:
            return estimated_diagonal(self.losses, weights, path, probes=probes, rng=rng)
        return exact_diagonal(self.losses, weights, path)

    def r_med(self, weights: Weights, *, probes: int, only: Sequence[int] | None = None) -> Array:
        """R_med of the same by layer, and last of all these layers pooled: (E, layers + 1)."""
        return r_med(self.diagonals(weights, probes=probes, only=only))

    @functools.cached_property
    def size(self) -> Size:
        return size_of(self.model, lambda: self.loss(self.model, self.batch))

    def descents(self, method: str, members: int, steps: int) -> Arithmetic:
        """What so many members of one of ``METHODS`` compute in so many steps each."""
        k, precision = len(FAMILY.get(method, FAMILY["Adam"])(Decay())), str(next(self.model.parameters()).dtype)
        return of_ensembles(self.size, runs=members, steps=steps, precision=precision.removeprefix("torch."), k=k)

    def looks(self, places: int, *, probes: int, only: Sequence[int] | None = None) -> Arithmetic:
        """What :meth:`r_med` of so many members computes.

        A layer's gradient counts as two passes forward, and as many a product of its Hessian with a direction: there and back
        through all that lies behind the layer, which is less than the network for all but the first one.
        """
        sizes = [self.model.get_parameter(path).numel() for path in self.weights.values()]
        chosen = sizes if only is None else [sizes[i] for i in only]
        passes = 2 * sum(1 + min(probes, weights) for weights in chosen)
        return replace(NOTHING, weights=self.size.weights, operations=float(places * passes * self.size.operations))

    def larger_than(self, count: int) -> list[int]:
        """Which of ``weights`` have more entries than that, by their place."""
        return [i for i, path in enumerate(self.weights.values()) if self.model.get_parameter(path).numel() > count]


def r_med(layers: Sequence[Array]) -> Array:
    """R_med of diagonals (E, size) by layer and last of all layers pooled; NaN for a layer without any curvature."""
    every = [*layers, np.concatenate(layers, axis=1)]
    return np.array([[theory.r_med(x) if x.any() else np.nan for x in layer] for layer in every]).T


def landscape(inputs: Inputs, network: str, *, examples: int, dtype: torch.dtype) -> Landscape:
    """One of ``NETWORKS`` on ``examples`` random examples, the same for every seed.

    "perceptron": two hidden tanh layers of the sizes' width, on images averaged down to half; "language": the character
    transformer on windows of text; "images": the network of convolutions with batch normalisation.
    """
    check_choice("network", network, NETWORKS)
    sizes, rng = inputs.sizes, np.random.default_rng([0, 1])
    if network == "language":
        model: nn.Module = CharTransformer(
            vocab=len(inputs.text.vocabulary), context=sizes.context, width=sizes.width, layers=sizes.layers, heads=sizes.heads
        )
        return _placed(inputs, model, next_token_loss, inputs.windows(rng, examples), dtype)
    images, labels = inputs.classification(0).draw(rng, examples)
    images, classes = images.to(dtype), int(inputs.images.labels.max()) + 1
    if network == "perceptron":
        images = F.avg_pool2d(images, 2)
        model = Perceptron([images[0].numel(), sizes.width, sizes.width, classes])
    else:
        model = ConvNet(channels=images.shape[1], classes=classes, width=sizes.channels)
    return _placed(inputs, model, classification_loss, (images, labels), dtype)


def configured_landscape(config: Any, inputs: Inputs, network: str) -> Landscape:
    """That of a configuration with ``examples`` by network, and a dtype."""
    examples = config.examples[NETWORKS.index(network)]
    return landscape(inputs, network, examples=examples, dtype=getattr(torch, config.dtype))


def _placed(inputs: Inputs, model: nn.Module, loss: Loss, batch: Any, dtype: torch.dtype) -> Landscape:
    layers = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return Landscape(model.to(inputs.device, dtype), loss, batch, {_short(name): f"{name}.weight" for name in layers})


def _short(path: str) -> str:
    """A layer's name for people: "query 1" for blocks.0.query, "layer 2" for layers.1, "head" for head."""
    parts = path.split(".")
    number = next((int(part) + 1 for part in parts if part.isdigit()), None)
    word = next(part for part in reversed(parts) if not part.isdigit())
    return word if number is None else f"{word.removesuffix('s')} {number}"


class Descent(Ensemble):
    """Members under one of ``METHODS``, each from its own start, all on the same batches.

    ``starts``: weights by path, one a member. ``decay``: Adam's pair, whose gamma is gradient descent's momentum too:
    m <- gamma m + g, theta <- theta - lr m. ``lr``: for all or one a member.
    """

    def __init__(
        self, problem: Landscape, method: str, starts: Sequence[Weights], *, decay: Decay, lr: float | Sequence[float]
    ) -> None:
        check_choice("method", method, METHODS)
        self.momentum = None if method in FAMILY else decay.gamma
        super().__init__(problem.model, problem.loss, [FAMILY.get(method, FAMILY["Adam"])(decay)] * len(starts), lr=lr)
        self.params = {name: torch.stack([start[name] for start in starts]) for name in self.params}

    def step(self, batch: Any) -> Tensor:
        if self.momentum is None:
            return super().step(batch)
        self.steps += 1
        gradients, losses = self._gradients(batch)
        for name, param in self.params.items():
            m = self._moments[name][0][0].mul_(self.momentum).add_(gradients[name].flatten(1))
            self._move_(param.view(len(param), -1), m)
        return losses
