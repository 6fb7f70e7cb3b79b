"""Batches of text in the middle of which something changes on purpose."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kadam.chapters.scale_invariance.meta.config import CHANGES
from kadam.lab.engine.state import Stateful
from kadam.lab.records.profiles import check_choice
from kadam.lab.train.ensemble import Loss
from kadam.lab.train.tasks import Inputs


class Changing(Stateful, Iterator[tuple[Tensor, Tensor]]):
    """For every step the loss's scale and a batch of text, for :func:`scaled`, with one of ``CHANGES`` at step ``at``.

    Batches hold ``small`` windows or ``large`` ones.
    """

    STATE = ("rng", "n")

    def __init__(self, inputs: Inputs, change: str, seed: int, *, at: int, small: int, large: int) -> None:
        check_choice("change", change, CHANGES)
        self.windows, self.at = inputs.windows, at
        self.rng, self.n = np.random.default_rng([seed, 1]), 0
        first = large if change == "smaller batches" else small
        self.sizes = (first, {"larger batches": large, "smaller batches": small}.get(change, first))
        self.scales = (1.0, {"loss x 10": 10.0, "loss / 10": 0.1}.get(change, 1.0))
        order = np.random.default_rng([seed, 3]).permutation(len(inputs.text.vocabulary))
        self.letters = torch.from_numpy(order).to(inputs.device) if change == "other letters" else None

    def __next__(self) -> tuple[Tensor, Tensor]:
        changed = int(self.n >= self.at)
        self.n += 1
        windows = self.windows(self.rng, self.sizes[changed])
        relabelled = windows if self.letters is None or not changed else self.letters[windows]
        return torch.tensor(self.scales[changed]), relabelled


def scaled(loss: Loss, model: nn.Module, batch: tuple[Tensor, Any]) -> Tensor:
    """The loss on the second part of a batch, times the first."""
    scale, rest = batch
    return scale * loss(model, rest)
