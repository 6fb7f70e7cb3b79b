"""Descent on convex losses: many members in one program, each with its own learning rates and weight decay."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kadam.decay import Decay
from kadam.lab.convex import Convex
from kadam.lab.ensemble import TINY
from kadam.lab.states import Stateful
from kadam.optim.update import StageAtStep, kadam_update


class Descent(Stateful):
    """k-Adam of E members from zero: theta <- (1 - eta lambda) theta - eta u, with one gradient of the whole loss a step.

    ``rates``: eta of every member at every step, (E, steps). ``weight_decay``: lambda of every member, (E,), decoupled.
    Attribute ``theta``: (E, d).
    """

    STATE = ("theta", "moments")

    def __init__(
        self,
        convex: Convex,
        stages: Sequence[Decay],
        *,
        rates: NDArray[np.float64],
        weight_decay: NDArray[np.float64],
    ) -> None:
        self.convex = convex
        self.betas = [decay.betas for decay in stages]
        self.rates, self.decay = torch.from_numpy(rates), torch.from_numpy(weight_decay)[:, None]
        self.theta = torch.zeros(len(rates), convex.dimension, dtype=torch.float64)
        self.moments = [(torch.zeros_like(self.theta), torch.zeros_like(self.theta)) for _ in stages]

    def step(self, n: int) -> None:
        """Step number n = 0, 1, ..."""
        u = self.update(n, self.convex.gradients(self.theta))
        self.theta = self.theta - self.rates[:, n : n + 1] * (u + self.decay * self.theta)

    def update(self, n: int, gradients: Tensor) -> Tensor:
        """u of step n, (E, d); advances the moments."""
        stages = [StageAtStep.at(beta1, beta2, n + 1) for beta1, beta2 in self.betas]
        return kadam_update(gradients, self.moments, stages, eps=TINY)


class EuclideanDescent(Descent):
    """Normalised steepest descent in l_2: u = g/|g|. In l_inf it is SignGD, which is k-Adam without memory."""

    def update(self, n: int, gradients: Tensor) -> Tensor:
        return torch.nn.functional.normalize(gradients, dim=1, eps=TINY)


def falling(rate: float, *, steps: int, bend: float, power: float) -> NDArray[np.float64]:
    """Learning rates rate/(1 + n/bend)^power, shape (steps,); their sum diverges for powers of at most 1."""
    return np.asarray(rate / (1 + np.arange(steps) / bend) ** power)


def kept_steps(steps: int, kept: int) -> NDArray[np.int64]:
    """At most so many of the steps 0, 1, ..., evenly spaced in logarithm, the first and the last among them."""
    return np.unique(np.round(np.geomspace(1, steps, kept)).astype(np.int64)) - 1
