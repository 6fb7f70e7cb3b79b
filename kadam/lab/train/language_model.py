"""Networks that learn to predict the next token of a text."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kadam.lab.records.profiles import Shape
from kadam.lab.train.gpt import Gpt
from kadam.lab.train.probes import spikes
from kadam.lab.train.training import Network, Training

# Tokens that are evaluated at once.
EVALUATED = 16384


@dataclass(frozen=True)
class TextNetwork(Network):
    """A transformer and how it computes."""

    vocabulary: int
    context: int
    shape: Shape
    normalised: bool

    def make(self) -> Gpt:
        return Gpt(vocabulary=self.vocabulary, context=self.context, normalised=self.normalised, **vars(self.shape))


class LanguageModelling(Training):
    """A network that learns to predict the next token. ``largest``: of every step, the largest |u| of all weights, (steps,)."""

    SEEN = (*Training.SEEN, "largest")
    STATE = (*Training.STATE, "largest")
    largest: Tensor

    def loss(self, batch: Tensor) -> Tensor:
        """Mean cross-entropy (nats a token) of predicting batch[:, 1:] from batch[:, :-1]; (batch, context + 1)."""
        with self.network.computing():
            logits = self.forward(batch[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1).to(self.network.dtype), batch[:, 1:].flatten())

    @torch.inference_mode()
    def evaluate(self, data: Tensor) -> dict[str, float]:
        """Mean cross-entropy (nats a token) on windows of text, (windows, context + 1)."""
        parts = data.split(max(1, EVALUATED // (data.shape[1] - 1)))
        total = torch.stack([len(part) * self.loss(part).double() for part in parts]).sum()
        return {"loss": float(total) / len(data)}

    def watch(self, rate: Any) -> tuple[Tensor, ...]:
        norms, largest = moved(self.before, self.params)
        return self.mean_square(norms, rate), largest / rate

    def watched(self, begin: int, end: int) -> dict[str, Any]:
        """The largest update and the number of spikes in the training loss besides."""
        spiked = spikes(self.losses[:end].cpu().double().numpy())
        more = {"max_update": float(self.largest[begin:end].max()), "spikes": int(spiked[begin:].sum())}
        return super().watched(begin, end) | more


def in_lists(tensor: Tensor) -> bool:
    """Whether a move of such tensors is measured in lists of them."""
    return tensor.is_cuda


def moved(before: list[Tensor], after: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The norm of every tensor's move, and the largest move of all weights; the moves are left in ``before``.

    A processor goes tensor by tensor, each still in the cache, a GPU through all of them in a few launches.
    """
    if in_lists(before[0]):
        torch._foreach_sub_(before, after)
        return list(torch._foreach_norm(before)), torch.stack(torch._foreach_norm(before, math.inf)).max()
    norms, ends = list[Tensor](), list[Tensor]()
    for x, p in zip(before, after, strict=True):
        norms.append(torch.linalg.vector_norm(x.sub_(p)))
        ends += torch.aminmax(x)
    return norms, torch.stack(ends).abs().max()
