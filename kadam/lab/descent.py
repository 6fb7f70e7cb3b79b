"""k-Adam on convex losses: many members in one program, each with its own learning rates and weight decay."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kadam.decay import Decay
from kadam.lab.convex import Convex
from kadam.lab.ensemble import TINY
from kadam.lab.states import Stateful
from kadam.optim.update import StageAtStep, kadam_update


class Descent(Stateful):
    """E members from zero: theta <- (1 - eta lambda) theta - eta u, with one gradient of the whole loss a step.

    ``rates``: eta of every member at every step, (E, steps). ``weight_decay``: lambda of every member, (E,). ``coupled``: the
    decay is part of the gradient instead, g + lambda theta, as that of an L2-regularised loss is. Attribute ``theta``: (E, d).
    """

    STATE = ("theta", "moments")

    def __init__(
        self,
        convex: Convex,
        stages: Sequence[Decay],
        *,
        rates: NDArray[np.float64],
        weight_decay: NDArray[np.float64],
        coupled: bool = False,
    ) -> None:
        self.convex, self.coupled = convex, coupled
        self.betas = [decay.betas for decay in stages]
        self.rates, self.decay = torch.from_numpy(rates), torch.from_numpy(weight_decay)[:, None]
        self.theta = torch.zeros(len(rates), convex.dimension, dtype=torch.float64)
        self.moments = [(torch.zeros_like(self.theta), torch.zeros_like(self.theta)) for _ in stages]

    def step(self, n: int) -> None:
        """Step number n = 0, 1, ..."""
        rate = self.rates[:, n : n + 1]
        shrink = self.decay * self.theta
        gradients = self.convex.gradients(self.theta)
        if self.coupled:
            gradients = gradients + shrink
        stages = [StageAtStep.at(beta1, beta2, n + 1) for beta1, beta2 in self.betas]
        u = kadam_update(gradients, self.moments, stages, eps=TINY)
        self.theta = self.theta - rate * (u if self.coupled else u + shrink)


def kept_steps(steps: int, kept: int) -> NDArray[np.int64]:
    """At most so many of the steps 0, 1, ..., evenly spaced in logarithm, the first and the last among them."""
    return np.unique(np.round(np.geomspace(1, steps, kept)).astype(np.int64)) - 1
