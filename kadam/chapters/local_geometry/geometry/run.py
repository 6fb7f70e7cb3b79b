"""R_med in two-layer linear networks: Adam, its relatives and gradient descent with momentum, at the same loss reached.

x -> w2 W1 x with d inputs and d hidden rows learns x -> a x for a random a of length 1 on whitened inputs, where loss, gradient
and the Hessian's diagonal have closed forms (no samples are drawn). Every method starts from the same weights, of variance
d^-3, d^-2 or d^-1, in every dimension and with every seed. Where a loss is first at a level or below, R_med of each layer and
of both pooled is kept. Beside it stands what the initial weights alone say of gradient descent.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from kadam.chapters.local_geometry.geometry.config import PROFILES, Config
from kadam.chapters.local_geometry.landscapes import FAMILY, METHODS, Reached
from kadam.decay import Decay
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.state import Stateful
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.ensemble import keep_freed_memory
from kadam.optim.update import StageAtStep, kadam_update
from kadam.theory import geometry as theory

Array = NDArray[np.float64]

STARTS = {"d^-3": 3, "d^-2": 2, "1/d": 1}  # variance of the initial weights: minus the exponent
LAYERS = ("layer 1", "layer 2", "pooled")
LEVELS = (0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)  # of the initial loss

EPS = 1e-30  # the theory has none; it turns 0/0 into 0


@recorded("geometry", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Train every method in every dimension. Dimensions: dimension, optimizer, start, seed, layer, level."""
    pieces = [_piece(m, d, s) for d in reversed(config.dimensions) for m in METHODS for s in STARTS]
    compute = functools.partial(train_piece, config)
    results = sweep(pieces, compute, steps=config.steps, title="geometry", checkpoint=checkpoint, jobs=jobs)
    dataset = _assembled(config, results).merge(predictions(config))
    dataset.attrs = {
        "data": "none: whitened inputs and a random linear target",
        "data_sha256": "",
        "data_origin": "none",
        "computed_s": computed_s(results),
    }
    return with_units(dataset, UNITS)


def _piece(method: str, d: int, start: str) -> str:
    return f"{method} {d} {STARTS[start]}"


def _assembled(config: Config, results: dict[str, xr.Dataset]) -> xr.Dataset:
    """One dataset from the pieces, by dimension, optimizer and start."""

    def by_start(method: str, d: int) -> xr.Dataset:
        parts = [results[_piece(method, d, start)].drop_attrs() for start in STARTS]
        return xr.concat(parts, xr.Variable("start", list(STARTS)))

    def by_optimizer(d: int) -> xr.Dataset:
        return xr.concat([by_start(method, d) for method in METHODS], xr.Variable("optimizer", list(METHODS)))

    by_dimension = [by_optimizer(d) for d in config.dimensions]
    return xr.concat(by_dimension, xr.Variable("dimension", list(config.dimensions)))


@dataclass(frozen=True)
class Members:
    """E networks of one dimension side by side, one a seed: W1 (E, d, d), w2 (E, d), target (E, d)."""

    w1: Tensor
    w2: Tensor
    target: Tensor

    @classmethod
    def of(cls, config: Config, d: int, exponent: int) -> "Members":
        drawn = [_drawn(d, exponent, seed) for seed in _seeds(config)]
        w1, w2, target = (torch.from_numpy(np.stack(parts)) for parts in zip(*drawn, strict=True))
        return cls(w1, w2, target)

    def losses_and_gradients(self) -> tuple[Tensor, list[Tensor]]:
        """Losses (E,), |w2 W1 - a|^2 / 2, and the gradients of W1 and w2."""
        error = torch.einsum("ei,eij->ej", self.w2, self.w1) - self.target
        gradients = [self.w2[:, :, None] * error[:, None], torch.einsum("eij,ej->ei", self.w1, error)]
        return error.square().sum(1) / 2, gradients

    def r_med(self, member: int) -> list[float]:
        """Of both layers, and of all weights pooled."""
        return _by_layer(theory.two_layer_diagonals(self.w1[member].numpy(), self.w2[member].numpy()))


def _by_layer(diagonals: theory.Diagonals) -> list[float]:
    """R_med of both layers, and of all weights pooled."""
    return [theory.r_med(x) for x in (*diagonals, np.concatenate([x.ravel() for x in diagonals]))]


def _seeds(config: Config) -> range:
    return range(config.seed, config.seed + config.seeds)


def _drawn(d: int, exponent: int, seed: int) -> tuple[Array, Array, Array]:
    """W1, w2 and the target; starts of other variances are multiples of each other."""
    rng = np.random.default_rng([seed, d])
    target, scale = rng.standard_normal(d), d ** (-exponent / 2)
    return scale * rng.standard_normal((d, d)), scale * rng.standard_normal(d), target / np.linalg.norm(target)


class Descent(Stateful):
    """One method on W1 and w2 of all members, which move in place."""

    STATE = ("members", "moments", "steps")

    def __init__(self, config: Config, method: str, weights: Members) -> None:
        keep_freed_memory()
        self.config, self.weights, self.members, self.steps = config, weights, [weights.w1, weights.w2], 0
        decay = Decay(beta=config.beta, gamma=config.gamma)
        self.stages = FAMILY[method](decay) if method in FAMILY else ()
        pairs = max(len(self.stages), 1)  # gradient descent has one momentum
        self.moments = [[(torch.zeros_like(p), torch.zeros_like(p)) for _ in range(pairs)] for p in self.members]
        self.rate = weights.w2.shape[1] ** -0.75 / config.resolution if self.stages else config.rate

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        w1, w2 = self.members
        self.weights = Members(w1, w2, self.weights.target)

    def step(self, gradients: list[Tensor]) -> None:
        self.steps += 1
        at = [StageAtStep.at(*stage.betas, self.steps) for stage in self.stages]
        for weight, moments, gradient in zip(self.members, self.moments, gradients, strict=True):
            if self.stages:
                weight.sub_(kadam_update(gradient, moments, at, eps=EPS), alpha=self.rate)
            else:
                momentum = moments[0][0].mul_(self.config.gamma).add_(gradient)
                weight.sub_(momentum, alpha=self.rate)


def train_piece(config: Config, piece: str, progress: Progress) -> xr.Dataset:
    """One method in one dimension from one start with every seed, named "method dimension exponent"."""
    method, d, exponent = piece.split()
    descent = Descent(config, method, Members.of(config, int(d), int(exponent)))
    levels = Reached(LEVELS, config.seeds)
    found = np.full((config.seeds, len(LEVELS), len(LAYERS)), np.nan)
    for n in progress.over(config.steps, {"descent": descent, "levels": levels, "found": found}):
        if levels.done:
            continue
        losses, gradients = descent.weights.losses_and_gradients()
        new = levels.see(n, losses.numpy())
        for member in np.flatnonzero(new.any(1)):
            found[member, new[member]] = descent.weights.r_med(int(member))
        descent.step(gradients)
    dims = ("seed", "level", "layer")
    values = {"r_med": (dims, found), "step": (dims[:2], levels.step), "reached": (dims[:2], levels.reached)}
    return xr.Dataset(values, {"seed": list(_seeds(config)), "level": list(LEVELS), "layer": list(LAYERS)})


def predictions(config: Config) -> xr.Dataset:
    """R_med where gradient descent ends, from the initial weights alone: to leading order, and with shrinking part and rest."""
    names = ("small_start", "from_start")
    parts = [[[_predicted(d, e, seed) for seed in _seeds(config)] for e in STARTS.values()] for d in config.dimensions]
    dims = ("dimension", "start", "seed", "layer", "law")
    coords = {"dimension": list(config.dimensions), "start": list(STARTS), "seed": list(_seeds(config))}
    found = xr.DataArray(np.array(parts), dims=dims, coords={**coords, "layer": list(LAYERS)})
    laws = {f"{name}_predicted": found.isel(law=i) for i, name in enumerate(names)}
    typical = xr.DataArray(theory.typical_r_med(config.dimensions), dims="dimension", coords={"dimension": coords["dimension"]})
    return xr.Dataset({**laws, "typical_predicted": typical})


def _predicted(d: int, exponent: int, seed: int) -> list[list[float]]:
    w1, w2, target = _drawn(d, exponent, seed)
    leading = theory.small_start_r_med(w1, w2, target=target)
    return [[leading, end] for end in _by_layer(theory.gradient_descent_end(w1, w2, target=target))]


UNITS = {
    "r_med": "max over median of |H_ii|, where a level is first reached",
    "step": "steps to the level",
    "reached": "loss there over the initial loss",
    "small_start_predicted": "R_med at the end of gradient descent from a vanishing start",
    "from_start_predicted": "the same with the shrinking part and the rest of W1",
    "typical_predicted": "the first, median over random starts",
}
