"""Text kept from training, and what a loss on it says: when it reached a target, where it jumped, which rate was best."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from kadam.lab.data.sources import Text, random_windows
from kadam.lab.data.upload import uploaded
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.probes import spikes

UNITS = {
    "loss": "nats a character of text kept from training; NaN: diverged",
    "train_loss": "nats a character, mean from the evaluation before to this one",
    "max_update": "learning rates, largest |u| from the evaluation before to this one",
    "update_rms": "root mean square of u over all weights, from the evaluation before to this one",
    "peak_update": "learning rates, largest |u| of the run, while finite",
    "spikes": "times that the training loss jumped 5 deviations above the mean of the 20 steps before",
    "diverged_at": "step whose training loss was not finite; NaN: did not diverge",
}


@dataclass(frozen=True)
class HeldOut:
    """A text in two parts: its beginning to train on, and windows of its end to judge by."""

    train: NDArray[np.int64]  # tokens
    windows: NDArray[np.int64]  # (windows, length)

    def draw(self, rng: np.random.Generator, batch: int, *, device: torch.device | str = "cpu") -> Tensor:
        """Random windows of the training part, (batch, length)."""
        return uploaded(random_windows(self.train, batch=batch, length=self.windows.shape[1], rng=rng), torch.device(device))


def hold_out(text: Text, *, held_out: float, windows: int, context: int) -> HeldOut:
    """The last ``held_out``, a share, of a text kept for validation: ``windows`` windows of ``context`` + 1, evenly spaced.

    ``ValueError`` that names the argument where a part would be empty, or shorter than a window.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must be a share in (0, 1), so that both parts hold text, got {held_out!r}")
    cut = round(len(text.tokens) * (1 - held_out))
    train, rest = text.tokens[:cut], text.tokens[cut:]
    shorter = min(len(train), len(rest))
    if context >= shorter:
        raise ValueError(f"context must be below {shorter}, the characters of the shorter part of the text, got {context}")
    places = len(rest) - context
    if not 1 <= windows <= places:
        raise ValueError(f"windows must be from 1 to {places}, the places for one in the part held out, got {windows}")
    starts = np.linspace(0, places - 1, windows).round().astype(np.int64)
    return HeldOut(train, rest[starts[:, None] + np.arange(context + 1)])


@torch.no_grad()
def losses(ensemble: Ensemble, model: nn.Module, windows: Tensor) -> Tensor:
    """Every member's cross-entropy (nats a character) on windows (n, context + 1), without a step; shape (E,)."""

    def one(params: dict[str, Tensor]) -> Tensor:
        logits = functional_call(model, params, (windows[:, :-1],))
        return F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())

    return vmap(one)(ensemble.params)


def summary(seen: dict[str, NDArray[np.float64]], marks: NDArray[np.int64]) -> xr.Dataset:
    """What is kept of some members' training: values at evaluations, or over the steps since the one before (NaN at the first).

    ``seen``: ``loss`` at ``marks``, which counts steps done, and ``train_loss``, ``max_update`` and ``square`` (the mean square
    of u) of every step; each (times, members).
    """

    def since(name: str, how: Any) -> tuple[tuple[str, str], NDArray[np.float64]]:
        blocks = [how(seen[name][a:b], axis=0) for a, b in pairwise(marks)]
        return dims, np.stack([np.full_like(blocks[0], np.nan), *blocks])

    bad, dims = ~np.isfinite(seen["train_loss"]), ("evaluation", "member")
    variables = {
        "loss": (dims, seen["loss"]),
        "train_loss": since("train_loss", np.mean),
        "max_update": since("max_update", np.max),
        "update_rms": since("square", lambda squares, axis: np.sqrt(squares.mean(axis))),
        "peak_update": ("member", np.fmax.reduce(seen["max_update"])),
        "spikes": ("member", spikes(seen["train_loss"]).sum(0)),
        "diverged_at": ("member", np.where(bad.any(0), bad.argmax(0), np.nan)),
    }
    return xr.Dataset(variables, coords={"evaluation": marks}).astype(np.float32)


def iterations_to(loss: xr.DataArray, targets: Sequence[float]) -> xr.DataArray:
    """Iterations at which a loss first is at most a target, linear between evaluations; NaN where it never is.

    ``loss`` has the dimension ``evaluation``, whose coordinate is the iteration; the result has ``target`` instead.
    """
    target = xr.DataArray(list(targets), dims="target", coords={"target": list(targets)})
    reached = loss <= target
    now = reached.argmax("evaluation")
    before = (now - 1).clip(0)
    over, under = (loss.isel(evaluation=i, drop=True) for i in (before, now))
    start, end = (loss.evaluation.isel(evaluation=i, drop=True) for i in (before, now))
    share = ((over - target) / (over - under)).where((now > 0) & np.isfinite(over), 1.0)
    return (start + share * (end - start)).where(reached.any("evaluation")).drop_vars("evaluation", errors="ignore")


def best_elsewhere(score: xr.DataArray) -> xr.DataArray:
    """Index of the rate with the lowest mean score over the *other* seeds; (rate, seed, ...) -> (seed, ...).

    NaN (diverged) counts as infinitely bad. One seed alone is its own judge.
    """
    seeds, filled = np.arange(score.sizes["seed"]), score.fillna(np.inf)
    others = [seeds[seeds != i] if len(seeds) > 1 else seeds for i in seeds]
    return xr.concat([filled.isel(seed=of).mean("seed").argmin("rate") for of in others], score.seed)
