"""Convex losses of many members at once with gradients written out, and descents on them.

Quadratics, logistic regression on images, and either with L2 regularisation; k-Adam, and steepest descent in l_2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kadam.decay import Decay
from kadam.lab.data.images import Images, standardised
from kadam.lab.engine.state import Stateful
from kadam.lab.train.ensemble import TINY
from kadam.optim.update import StageAtStep, kadam_update
from kadam.theory.arguments import Array


@dataclass(frozen=True)
class Quadratics:
    """E losses L_e = (theta - c_e)' A_e (theta - c_e) / 2: ``matrices`` (..., E, d, d), ``centres`` (..., E, d)."""

    matrices: Tensor
    centres: Tensor

    @classmethod
    def of(cls, parts: Sequence[tuple[Array, Array]]) -> "Quadratics":
        """From a matrix and a centre each."""
        return cls(*(torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True)))

    @property
    def dimension(self) -> int:
        return self.centres.shape[-1]

    def losses(self, theta: Tensor) -> Tensor:
        return (self.gradients(theta) * (theta - self.centres)).sum(-1) / 2

    def gradients(self, theta: Tensor) -> Tensor:
        return (self.matrices @ (theta - self.centres)[..., None])[..., 0]


def random_quadratic(dimension: int, spread: float, seed: int) -> tuple[Array, Array]:
    """A matrix with eigenvalues from ``1/spread`` to 1, even in logarithm, in a random basis, and a centre from N(0, 4)."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((dimension, dimension)))
    return basis @ np.diag(np.geomspace(1 / spread, 1, dimension)) @ basis.T, 2 * rng.standard_normal(dimension)


@dataclass(frozen=True)
class Logistic:
    """Mean of log(1 + exp(-y x'theta)) over examples, the same for every member; ``rows``: y x, (examples, d)."""

    rows: Tensor

    @property
    def dimension(self) -> int:
        return self.rows.shape[1]

    def losses(self, theta: Tensor) -> Tensor:
        return torch.nn.functional.softplus(-(theta @ self.rows.T)).mean(-1)

    def gradients(self, theta: Tensor) -> Tensor:
        return -torch.sigmoid(-(theta @ self.rows.T)) @ self.rows / len(self.rows)


@dataclass(frozen=True)
class Regularised:
    """A convex loss with decay/2 |theta|^2 added; ``decays``: one a member, (E, 1)."""

    convex: "Convex"
    decays: Tensor

    @property
    def dimension(self) -> int:
        return self.convex.dimension

    def losses(self, theta: Tensor) -> Tensor:
        return self.convex.losses(theta) + (self.decays * theta**2).sum(-1) / 2

    def gradients(self, theta: Tensor) -> Tensor:
        return self.convex.gradients(theta) + self.decays * theta


Convex = Quadratics | Logistic | Regularised  # losses (..., E, d) -> (..., E), gradients (..., E, d) -> (..., E, d)


def two_classes(images: Images, *, classes: tuple[int, int], examples: int, pixels: int) -> Logistic:
    """Logistic regression that tells two classes of images apart by their pixels, averaged down to so many a side."""
    labels = images.train_labels
    chosen = np.flatnonzero(np.isin(labels, classes))[:examples]
    features = standardised(images.train[chosen], pixels=pixels).reshape(len(chosen), -1)
    return Logistic(torch.from_numpy(features * np.where(labels[chosen] == classes[0], -1.0, 1.0)[:, None]))


class ConvexDescent(Stateful):
    """k-Adam on convex losses from zero: theta <- (1 - eta lambda) theta - eta u, with one gradient of the whole loss a step.

    ``rates``: eta of every member at every step, (..., E, steps). ``weight_decay``: lambda, decoupled, (..., E).
    Attribute ``theta``: (..., E, d).
    """

    STATE = ("theta", "moments")

    def __init__(self, convex: Convex, stages: Sequence[Decay], *, rates: Array, weight_decay: Array) -> None:
        self.convex = convex
        self.betas = [decay.betas for decay in stages]
        self.rates, self.decay = torch.from_numpy(rates), torch.from_numpy(weight_decay)[..., None]
        self.theta = torch.zeros(*rates.shape[:-1], convex.dimension, dtype=torch.float64)
        self.moments = [(torch.zeros_like(self.theta), torch.zeros_like(self.theta)) for _ in stages]

    def step(self, n: int) -> None:
        """Step number n = 0, 1, ..."""
        u = self.update(n, self.convex.gradients(self.theta))
        self.theta = self.theta - self.rates[..., n, None] * (u + self.decay * self.theta)

    def update(self, n: int, gradients: Tensor) -> Tensor:
        """u of step n; advances the moments."""
        stages = [StageAtStep.at(beta1, beta2, n + 1) for beta1, beta2 in self.betas]
        return kadam_update(gradients, self.moments, stages, eps=TINY)


class EuclideanDescent(ConvexDescent):
    """Normalised steepest descent in l_2: u = g/|g|. In l_inf it is SignGD, which is k-Adam without memory."""

    def update(self, n: int, gradients: Tensor) -> Tensor:
        return torch.nn.functional.normalize(gradients, dim=-1, eps=TINY)
