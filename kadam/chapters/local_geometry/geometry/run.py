"""R_med in two-layer linear networks: Adam, its relatives and gradient descent with momentum, at the same loss reached.

x -> w2 W1 x with d inputs and d hidden rows learns x -> a x for a random a of length 1 on whitened inputs, where loss, gradient
and the Hessian's diagonal have closed forms. Every method starts from the same weights. Where a loss is first at a level or
below, R_med of each layer and of both pooled is kept. Beside it stands what the initial weights alone say.
"""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from kadam.chapters.local_geometry.geometry.config import LAWS, LAYERS, LEVELS, PROFILES, STARTS, Config
from kadam.chapters.local_geometry.levels import Reached
from kadam.chapters.local_geometry.methods import FAMILY, METHODS
from kadam.decay import Decay
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.state import Stateful
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.ensemble import keep_freed_memory
from kadam.optim.update import StageAtStep, kadam_update
from kadam.theory import geometry as theory
from kadam.theory.arguments import Array

EPS = 1e-30  # the theory has none; it turns 0/0 into 0


class Piece(NamedTuple):
    """One method in one dimension from one start, with every seed."""

    method: str
    dimension: int
    start: str


@recorded("geometry", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Train every method in every dimension. Dimensions: dimension, optimizer, start, seed, layer, level."""
    pieces = [Piece(method, d, start) for d in reversed(config.dimensions) for method in METHODS for start in STARTS]
    compute = functools.partial(train_piece, config)
    results = sweep(pieces, compute, steps=config.steps, title="geometry", checkpoint=checkpoint, jobs=jobs)
    coords = {"dimension": list(config.dimensions), "optimizer": list(METHODS), "start": list(STARTS)}
    parts = [[[results[Piece(m, d, s)].drop_attrs() for s in STARTS] for m in METHODS] for d in config.dimensions]
    together = xr.combine_nested(parts, list(coords)).assign_coords(coords).transpose(*coords, ...)
    data = {"data": "none: whitened inputs and a random linear target", "data_sha256": "", "data_origin": "none"}
    return with_units(together.merge(predictions(config)).assign_attrs(**data, computed_s=computed_s(results)), UNITS)


def _seeds(config: Config) -> range:
    return range(config.seed, config.seed + config.seeds)


def drawn(d: int, start: str, seed: int) -> tuple[Array, Array, Array]:
    """W1, w2 and the target; starts of other variances are multiples of each other."""
    rng = np.random.default_rng([seed, d])
    target, scale = rng.standard_normal(d), d ** (-STARTS[start] / 2)
    return scale * rng.standard_normal((d, d)), scale * rng.standard_normal(d), target / np.linalg.norm(target)


def _r_med(diagonals: Iterable[Array]) -> list[float]:
    """R_med of both layers, and of all weights pooled."""
    layers = list(diagonals)
    return [theory.r_med(x) for x in (*layers, np.concatenate([x.ravel() for x in layers]))]


class LinearDescent(Stateful):
    """One method on E linear networks, one a seed. ``layers``: W1 (E, d, d) and w2 (E, d), moved in place; target: (E, d)."""

    STATE = ("layers", "moments", "steps")

    def __init__(self, config: Config, piece: Piece) -> None:
        keep_freed_memory()
        parts = zip(*(drawn(piece.dimension, piece.start, seed) for seed in _seeds(config)), strict=True)
        *self.layers, self.target = (torch.from_numpy(np.stack(part)) for part in parts)
        self.gamma, self.steps = config.gamma, 0
        in_family = piece.method in FAMILY
        self.stages = FAMILY[piece.method](Decay(beta=config.beta, gamma=config.gamma)) if in_family else ()
        pairs = max(len(self.stages), 1)  # gradient descent has one momentum
        self.moments = [[(torch.zeros_like(p), torch.zeros_like(p)) for _ in range(pairs)] for p in self.layers]
        self.rate = piece.dimension**-0.75 / config.resolution if in_family else config.rate

    def losses_and_gradients(self) -> tuple[Tensor, list[Tensor]]:
        """Losses (E,), |w2 W1 - a|^2 / 2, and the gradients of W1 and w2."""
        w1, w2 = self.layers
        error = torch.einsum("ei,eij->ej", w2, w1) - self.target
        return error.square().sum(1) / 2, [w2[:, :, None] * error[:, None], torch.einsum("eij,ej->ei", w1, error)]

    def r_med(self, member: int) -> list[float]:
        return _r_med(theory.two_layer_diagonals(*(layer[member].numpy() for layer in self.layers)))

    def step(self, gradients: list[Tensor]) -> None:
        self.steps += 1
        at = [StageAtStep.at(*stage.betas, self.steps) for stage in self.stages]
        for weight, moments, gradient in zip(self.layers, self.moments, gradients, strict=True):
            if self.stages:
                weight.sub_(kadam_update(gradient, moments, at, eps=EPS), alpha=self.rate)
            else:
                weight.sub_(moments[0][0].mul_(self.gamma).add_(gradient), alpha=self.rate)


def train_piece(config: Config, piece: Piece, progress: Progress) -> xr.Dataset:
    """R_med of a piece where each level is first reached."""
    descent = LinearDescent(config, piece)
    levels = Reached(LEVELS, config.seeds)
    found = np.full((config.seeds, len(LEVELS), len(LAYERS)), np.nan)
    for n in progress.over(config.steps, {"descent": descent, "levels": levels, "found": found}):
        if levels.done:
            continue
        losses, gradients = descent.losses_and_gradients()
        new = levels.see(n, losses.numpy())
        for member in np.flatnonzero(new.any(1)):
            found[member, new[member]] = descent.r_med(int(member))
        descent.step(gradients)
    dims = ("seed", "level", "layer")
    values = {"r_med": (dims, found), "step": (dims[:2], levels.step), "reached": (dims[:2], levels.reached)}
    return xr.Dataset(values, {"seed": list(_seeds(config)), "level": list(LEVELS), "layer": list(LAYERS)})


def predictions(config: Config) -> xr.Dataset:
    """R_med where gradient descent ends, from the initial weights alone, by each law; and the first law's typical value."""
    seeds = list(_seeds(config))
    coords = {"dimension": list(config.dimensions), "start": list(STARTS), "seed": seeds, "layer": list(LAYERS)}
    values = np.array([[[_predicted(d, start, seed) for seed in seeds] for start in STARTS] for d in config.dimensions])
    laws = {f"{law}_predicted": (tuple(coords), values[..., i]) for i, law in enumerate(LAWS)}
    return xr.Dataset({**laws, "typical_predicted": ("dimension", theory.typical_r_med(config.dimensions))}, coords)


def _predicted(d: int, start: str, seed: int) -> list[tuple[float, float]]:
    """By layer, both laws."""
    w1, w2, target = drawn(d, start, seed)
    leading = theory.small_start_r_med(w1, w2, target=target)
    return [(leading, end) for end in _r_med(theory.gradient_descent_end(w1, w2, target=target))]


UNITS = {
    "r_med": "max over median of |H_ii|, where a level is first reached",
    "step": "steps to the level",
    "reached": "loss there over the initial loss",
    "small_start_predicted": "R_med at the end of gradient descent from a vanishing start",
    "from_start_predicted": "the same with the shrinking part and the rest of W1",
    "typical_predicted": "the first, median over random starts",
}
