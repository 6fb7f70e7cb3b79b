"""Batches of windows of a text on its device: random ones to learn from, evenly spaced ones to evaluate on."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kadam.lab.data.text import Corpus
from kadam.lab.data.upload import uploaded

# So many batches' places are drawn at once.
BLOCK = 1024


class Windows:
    """Batch n of windows at random places, (batch, context + 1) int64: a function of n and of the seed, so without state.

    The text stays on its device as bytes; the host draws many batches' places at once and never waits.
    """

    def __init__(self, tokens: Tensor, *, batch: int, context: int, seed: int) -> None:
        _check_context(len(tokens), context)
        if batch < 1:
            raise ValueError(f"batch must be at least 1 window, got {batch}")
        self.batch, self.context, self.seed = batch, context, seed
        self.windows = tokens.unfold(0, context + 1, 1)  # all of them, (n - context, context + 1), in the memory of the tokens
        self._block, self._starts = -1, torch.empty(0)

    def __getitem__(self, n: int) -> Tensor:
        """Batch n, (batch, context + 1)."""
        block, place = divmod(n, BLOCK)
        if block != self._block:
            self._block, self._starts = block, self._draw(block)
        return self.windows.index_select(0, self._starts[place]).long()

    def _places(self, block: int) -> NDArray[np.int64]:
        """Where the windows of a block begin, (BLOCK, batch)."""
        rng = np.random.default_rng([self.seed, block])
        return rng.integers(0, len(self.windows), (BLOCK, self.batch))

    def _draw(self, block: int) -> Tensor:
        """The same on the device."""
        return uploaded(self._places(block), self.windows.device)


class Unrepeated(Windows):
    """The same for so many ``steps``, of windows side by side in random order: no token is predicted twice."""

    def __init__(self, tokens: Tensor, *, steps: int, **how: int) -> None:
        super().__init__(tokens, **how)
        there, wanted = (len(tokens) - 1) // self.context, steps * self.batch
        if wanted > there:
            raise ValueError(f"text must have {wanted:,} windows side by side for {steps:,} steps, it has {there:,}")
        self.order = np.random.default_rng(self.seed).permutation(there)[:wanted].reshape(steps, self.batch) * self.context

    def _places(self, block: int) -> NDArray[np.int64]:
        return self.order[block * BLOCK :][:BLOCK]


def spaced_windows(tokens: Tensor, *, count: int, context: int) -> Tensor:
    """``count`` windows, or as many as fit, at least one, evenly spaced and without overlap, (count, context + 1) int64."""
    _check_context(len(tokens), context)
    if count < 1:
        raise ValueError(f"count must be at least 1 window, got {count}")
    count = min(count, len(tokens) // (context + 1))
    places = torch.arange(count, device=tokens.device) * len(tokens) // count
    return tokens.unfold(0, context + 1, 1).index_select(0, places).long()


def _check_context(length: int, context: int) -> None:
    if context < 1:
        raise ValueError(f"context must be at least 1 token, got {context}")
    if context + 1 > length:
        raise ValueError(f"context must be shorter than the text of {length:,} tokens, got {context:,}")


@dataclass(frozen=True, eq=False)
class Learnable:
    """A text on a device: tokens to learn from, (n,) uint8, and windows to evaluate on, (windows, context + 1) int64."""

    vocabulary: int
    train: Tensor
    validation: Tensor
    test: Tensor


def learnable(corpus: Corpus, *, windows: int, context: int, device: torch.device) -> Learnable:
    """The text ready for training; ``windows``: at most so many each to validate and to test."""
    train, validation, test = (torch.from_numpy(part).to(device) for part in corpus.parts)
    spaced = (spaced_windows(part, count=windows, context=context) for part in (validation, test))
    return Learnable(corpus.vocabulary, train, *spaced)
