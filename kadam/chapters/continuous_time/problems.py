"""Full-batch problems in float64 for the theory's equations: three small ones in numpy, and a transformer on text."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from kadam.flat import FlatLoss
from kadam.lab.data.sources import Text, random_windows
from kadam.lab.train.networks import CharTransformer, initialise, next_token_loss

Vector = NDArray[np.float64]


class Smooth(NamedTuple):
    """A loss by its gradient, ``grad(theta)``, and where training starts, shape (d,)."""

    grad: Callable[[Vector], Vector]
    start: Vector


def quadratic(dimension: int = 10, seed: int = 0) -> tuple[Smooth, Vector]:
    """L = (theta - c)' A (theta - c) / 2 from theta = 0, and its minimum c.

    The eigenvalues of A run from 1/2 to 2. No entry of the first gradient, -A c, is near zero: each is 1 to 3 in size.
    """
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((dimension, dimension)))
    matrix = basis @ np.diag(np.geomspace(0.5, 2, dimension)) @ basis.T
    first = rng.uniform(1, 3, dimension) * rng.choice([-1, 1], dimension)
    minimum = np.linalg.solve(matrix, -first)
    return Smooth(lambda theta: matrix @ (theta - minimum), np.zeros(dimension)), minimum


def crowd(dimension: int = 4000) -> tuple[Smooth, Vector]:
    """L = |theta - c|^2 / 2 from theta = 0 with c_i evenly spaced between 0 and 0.4, and its minimum c.

    The weights do not touch each other, and their first gradients -c_i crowd at zero, as those of a network do.
    """
    minimum = 0.4 * (np.arange(dimension) + 0.5) / dimension
    return Smooth(lambda theta: theta - minimum, np.zeros(dimension)), minimum


def perceptron(inputs: int = 8, width: int = 24, examples: int = 48, seed: int = 0) -> Smooth:
    """Mean squared error of a two-layer tanh network that learns y = sin(sum(x)/2) from standard normal x, in one batch.

    The weights in order: hidden (width, inputs), its bias (width,), output (width,). The gradient is written out by hand,
    five times as fast as torch's at this size.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((examples, inputs))
    y = np.sin(x.sum(1) / 2)
    parts = [rng.standard_normal((width, inputs)) * inputs**-0.5, 0.1 * rng.standard_normal(width)]
    start = np.concatenate([part.ravel() for part in (*parts, rng.standard_normal(width) * width**-0.5)])

    def grad(theta: Vector) -> Vector:
        weight, bias, output = np.split(theta, [width * inputs, width * (inputs + 1)])
        hidden = np.tanh(x @ weight.reshape(width, inputs).T + bias)
        error = 2 / examples * (hidden @ output - y)
        back = error[:, None] * output * (1 - hidden**2)
        return np.concatenate([(back.T @ x).ravel(), back.sum(0), hidden.T @ error])

    return Smooth(grad, start)


def windows(config: Any, text: Text, seed: int, number: int = 0) -> torch.Tensor:
    """Batch number 0, 1, ... of a text: tokens of shape (batch, context + 1), both of the configuration."""
    rng = np.random.default_rng([seed, 1, number])
    return torch.from_numpy(random_windows(text.tokens, batch=config.batch, length=config.context + 1, rng=rng))


def transformer(config: Any, text: Text, seed: int, *, layers: int = 1, heads: int = 1) -> FlatLoss:
    """A freshly initialised character transformer of the configuration's width on batch number 0, the full batch."""
    model = CharTransformer(vocab=len(text.vocabulary), context=config.context, width=config.width, layers=layers, heads=heads)
    initialise(model, seed)
    return FlatLoss(model, next_token_loss, windows(config, text, seed))
