"""How large are gradient and update of a scale-invariant weight beside it, once growth and decay balance?

One weight under three methods, five momentum decays and gradients of four kinds, in float64. The methods differ in the second
moment: the number 1, which makes Adam gradient descent with momentum; one number a step for the weight; or one an entry.
Gradients are random and correlated in time, or those of a neuron with a normalised weight, W/|W|, that learns a noisy target.
All are orthogonal to the weight. The record keeps averages over the late part of a run, s = g/sqrt(v^), and both predictions.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from kadam.chapters.scale_invariance.steady.config import GRADIENTS, PROFILES, Config
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.theory import invariance as theory
from kadam.theory.arguments import Array

METHODS = ("SGD", "one v", "AdamW")
GAMMAS = (0.0, 0.5, 0.9, 0.95, 0.99)
DIMS = ("descent", "gamma", "gradients")
AVERAGES = ("norm", "cross", "square", "gradient", "turn")  # of |W|^2, <W, u>, |u|^2, |s|^2 and the cosine of W_n, W_{n+1}


@recorded("steady", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Train every weight with every seed. Dimensions: seed, descent, gamma, gradients."""
    seeds = range(config.seed, config.seed + config.seeds)
    compute = functools.partial(train, config)
    results = sweep([(seed,) for seed in seeds], compute, steps=config.steps, title="steady", checkpoint=checkpoint, jobs=jobs)
    averages = xr.concat([results[(seed,)].drop_attrs() for seed in seeds], xr.Variable("seed", list(seeds)))
    dataset = _measured(averages).assign(_predictions(config, averages))
    data = {"data": "none: random gradients and a neuron's", "data_origin": "none", "data_sha256": ""}
    dataset.attrs = {"eta": config.eta, "weight_decay": config.weight_decay, "computed_s": computed_s(results), **data}
    return with_units(dataset, UNITS)


def train(config: Config, piece: tuple[int], progress: Progress) -> xr.Dataset:
    """Averages over the late part, each (methods, gammas, gradients); ``piece``: the seed."""
    rng, size = np.random.default_rng(piece[0]), config.entries
    shape = (len(METHODS), len(GAMMAS), len(GRADIENTS), size)
    start = rng.standard_normal(size) * np.sqrt(config.eta / (2 * config.weight_decay))  # where |s|^2 = 1 an entry balances
    target = rng.standard_normal(size) / np.sqrt(size)
    w, m, v = np.broadcast_to(start, shape).copy(), np.zeros(shape), np.zeros(shape)
    raw, sums, gamma = rng.standard_normal((3, size)), np.zeros((len(AVERAGES), *shape[:-1])), np.reshape(GAMMAS, (-1, 1, 1))
    for n in progress.over(config.steps, {"rng": rng, "w": w, "m": m, "v": v, "raw": raw, "sums": sums}):
        g = gradients(config, rng, raw, w, target)
        m[...] = gamma * m + (1 - gamma) * g
        v[...] = config.beta * v + (1 - config.beta) * g**2
        root = np.sqrt(_second_moments(v / (1 - config.beta ** (n + 1))))
        u, before = m / (1 - gamma ** (n + 1)) / root, w.copy()
        w[...] = (1 - config.eta * config.weight_decay) * w - config.eta * u
        if n >= config.steps - config.late:
            sums += _products(before, u, g / root, w)
    means = sums / config.late
    coords = dict(zip(DIMS, (list(METHODS), list(GAMMAS), list(GRADIENTS)), strict=True))
    return xr.Dataset({name: (DIMS, mean) for name, mean in zip(AVERAGES, means, strict=True)}, coords)


def gradients(config: Config, rng: np.random.Generator, raw: Array, w: Array, target: Array) -> Array:
    """The next gradient of every weight, orthogonal to it; ``raw``, the random ones before that, goes on in place."""
    rho = np.array([rho for rho in GRADIENTS.values() if rho is not None])[:, None]
    raw[...] = rho * raw + np.sqrt(1 - rho**2) * rng.standard_normal(raw.shape)
    x = rng.standard_normal((config.examples, config.entries))
    y = x @ target + config.noise * rng.standard_normal(config.examples)
    norm = np.linalg.norm(w, axis=-1, keepdims=True)
    direction = w / norm
    neuron = direction[:, :, -1]
    learned = (neuron @ x.T - y) @ x / config.examples / norm[:, :, -1]
    g = np.concatenate([np.broadcast_to(raw, (*w.shape[:2], *raw.shape)), learned[:, :, None]], axis=2)
    return np.asarray(g - np.sum(g * direction, -1, keepdims=True) * direction)


def _second_moments(v: Array) -> Array:
    """What each method divides by the root of, from the bias-corrected second moments."""
    found = np.ones_like(v)
    found[1], found[2] = v[1].mean(-1, keepdims=True), v[2]
    return found


def _products(w: Array, u: Array, s: Array, after: Array) -> Array:
    """What AVERAGES names, (averages, methods, gammas, gradients)."""
    pairs: list[Any] = [(w, w), (w, u), (u, u), (s, s), (w, after)]
    norm, cross, square, gradient, inner = (np.sum(a * b, -1) for a, b in pairs)
    return np.stack([norm, cross, square, gradient, inner / np.sqrt(norm * np.sum(after * after, -1))])


def _measured(averages: xr.Dataset) -> xr.Dataset:
    """Ratios of root mean squares."""
    norm, square = averages.norm, averages.square
    return xr.Dataset(
        {
            "gradient_ratio": np.sqrt(averages.gradient / norm),
            "update_ratio": np.sqrt(square / norm),
            "share": square / averages.gradient,
            "cosine": averages.cross / np.sqrt(norm * square),
            "rotation": np.arccos(averages.turn),
        }
    )


def _predictions(config: Config, averages: xr.Dataset) -> dict[str, xr.DataArray]:
    """By the law with the cross term from the share of |u|^2 in |s|^2, and by algebra without momentum."""
    rates = {"eta": config.eta, "weight_decay": config.weight_decay}
    update = xr.DataArray([theory.steady_ratio(gamma=gamma, **rates) for gamma in GAMMAS], dims="gamma")
    each = [[theory.update_share(g, rho) if rho is not None else np.nan for rho in GRADIENTS.values()] for g in GAMMAS]
    cosines, turns = (
        xr.DataArray([of(gamma=gamma, **rates) for gamma in GAMMAS], dims="gamma")
        for of in (theory.equilibrium_cosine, theory.rotation_per_step)
    )
    return {
        "gradient_law": update / np.sqrt(averages.square / averages.gradient),
        "gradient_nominal": update / np.sqrt(xr.DataArray(each, dims=("gamma", "gradients"))),
        "update_law": update,
        "without_momentum": xr.DataArray(np.sqrt(2 * config.weight_decay / config.eta)),
        "cosine_law": cosines,
        "rotation_law": turns,
    }


UNITS = {
    "gradient_ratio": "|s|/|W|, root mean squares, s = g/sqrt(v^)",
    "update_ratio": "|u|/|W|",
    "share": "|u|^2 over |s|^2",
    "cosine": "of W and u",
    "rotation": "radians a step",
    "gradient_law": "|s|/|W| by the law with the cross term, from the measured share",
    "gradient_nominal": "the same from the correlation that random gradients are drawn with; NaN for the neuron",
    "update_law": "|u|/|W| by the law",
    "without_momentum": "sqrt(2 lambda/eta)",
    "cosine_law": "at equilibrium",
    "rotation_law": "radians a step at equilibrium",
}
