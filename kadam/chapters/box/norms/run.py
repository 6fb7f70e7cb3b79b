"""Which geometry does Adam belong to? SignGD with decay is Frank-Wolfe on a box; beside it, its twin on a Euclidean ball.

First the identity, on a random quadratic. Then a loss that is much smoother in l_inf than in l_2, measured by what counts for
Frank & Wolfe: smoothness times the squared radius of a ball that holds the minimum. L = sum_i (theta_i - c_i)^2 / (2 i^2), with
c_i between -1 and 1, has in l_inf a smoothness of sum_i 1/i^2 < 1.65 and a box of radius 1; in l_2 a smoothness of 1 and a ball
of radius sqrt(d/3). Normalised steepest descent with decay runs in both norms with the rates of Frank & Wolfe's theorem, and
AdamW beside them. The control is the same loss in a random basis: the advantage of l_inf should go.
"""

import functools
import itertools
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from kadam.chapters.box.convex import ConvexDescent, EuclideanDescent, Quadratics, random_quadratic
from kadam.chapters.box.norms.config import BASES, PROFILES, Config
from kadam.chapters.box.pairs import ADAM, EQUAL, SIGNS
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, one_thread, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.schedule import falling, kept_steps
from kadam.optim import KAdam
from kadam.theory import box as theory
from kadam.theory.arguments import Array

Piece = tuple[int, str]  # the dimension and the method; in both bases and with all seeds

METHODS = {"l_inf": SIGNS, "l_2": SIGNS, "AdamW, equal": EQUAL, "AdamW, default": ADAM}  # steepest descent has no memory


@recorded("norms", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method in every dimension. Dimensions: descent, dimension, basis, seed, kept; and the identity along kept."""
    pieces = list(itertools.product(reversed(config.dimensions), METHODS))
    compute = functools.partial(descend, config)
    results = sweep(pieces, compute, steps=config.steps, title="norms", checkpoint=checkpoint, jobs=jobs)
    parts = [[results[d, method].drop_attrs() for d in config.dimensions] for method in METHODS]
    dataset = xr.combine_nested(parts, ["descent", "dimension"]).transpose("descent", "dimension", ...)
    dataset = dataset.assign_coords(descent=list(METHODS), dimension=list(config.dimensions))
    with one_thread():
        identity = _identity(config)
    dataset = dataset.merge(identity).assign_coords(step=("kept", kept_steps(config.steps, config.kept) + 1))
    data = {"data": "none: quadratics from seeded generators", "data_origin": "none", "data_sha256": ""}
    dataset.attrs = {"computed_s": computed_s(results), "level": config.level, **data}
    return with_units(dataset, UNITS)


def losses(config: Config, dimension: int) -> Quadratics:
    """The loss along the axes and in a random basis, with every seed: (bases, seeds)."""
    rngs = [np.random.default_rng([config.seed + i, dimension]) for i in range(config.seeds)]
    curvature = np.diag(np.arange(1, dimension + 1) ** -2.0)
    centres = np.stack([rng.uniform(-1, 1, dimension) for rng in rngs])
    bases = np.stack([np.linalg.qr(rng.standard_normal((dimension, dimension)))[0] for rng in rngs])
    turned = bases @ curvature @ bases.transpose(0, 2, 1)
    matrices = np.stack([np.broadcast_to(curvature, turned.shape), turned])
    both = np.stack([centres, np.einsum("eij,ej->ei", bases, centres)])
    return Quadratics(torch.from_numpy(matrices), torch.from_numpy(both))


def geometry(quadratics: Quadratics, method: str) -> tuple[Array, Array]:
    """In the method's norm the radius of the smallest ball that holds the minimum, and the smoothness, (bases, seeds).

    Smoothness is the largest x'Ax over the unit ball: exact in l_2, in l_inf its bound sum |A_ij|.
    """
    centres, matrices = quadratics.centres.numpy(), quadratics.matrices.numpy()
    if method == "l_2":
        return np.linalg.norm(centres, 2, axis=-1), np.linalg.norm(matrices, 2, axis=(-2, -1))
    return np.abs(centres).max(-1), np.abs(matrices).sum((-2, -1))


def _rates(config: Config) -> Array:
    """Of Frank & Wolfe's theorem: 2/(n + 2), as shares of the way, (steps,)."""
    return falling(1.0, steps=config.steps, bend=2.0, power=1.0)


def descend(config: Config, piece: Piece, progress: Progress) -> xr.Dataset:
    """A piece: the loss at every step, (steps, bases, seeds), and what it says."""
    dimension, method = piece
    quadratics = losses(config, dimension)
    size, smoothness = geometry(quadratics, method)
    kind = EuclideanDescent if method == "l_2" else ConvexDescent
    descent = kind(quadratics, (METHODS[method],), rates=size[..., None] * _rates(config), weight_decay=1 / size)
    path = np.zeros((config.steps, *size.shape))
    for n in progress.over(config.steps, {"descent": descent, "path": path}):
        descent.step(n)
        path[n] = quadratics.losses(descent.theta).numpy()
    return _summary(config, path, quadratics, smoothness * (2 * size) ** 2)


def _summary(config: Config, path: Array, quadratics: Quadratics, constant: Array) -> xr.Dataset:
    first = quadratics.losses(torch.zeros_like(quadratics.centres)).numpy()
    steps, each, kept = kept_steps(config.steps, config.kept), ("basis", "seed"), ("basis", "seed", "kept")
    reached = path <= config.level * first
    bound = 2 * constant / (np.arange(config.steps) + 3)[:, None, None]
    values = {
        "loss": (kept, np.moveaxis(path[steps] / first, 0, -1)),
        "bound": (kept, np.moveaxis(bound[steps] / first, 0, -1)),
        "over_bound": (each, (path / bound).max(0)),
        "reached": (each, np.where(reached.any(0), reached.argmax(0) + 1.0, np.nan)),
        "constant": (each, constant),
    }
    return xr.Dataset(values, coords={"basis": list(BASES), "seed": config.seed + np.arange(config.seeds)})


def _identity(config: Config) -> xr.Dataset:
    """The optimizer with betas (0, 0) beside Frank & Wolfe's steps on a quadratic: how far apart they ever are."""
    dimension = config.dimensions[0]
    matrix, centre = random_quadratic(dimension, config.spread, config.seed)
    theta, weights = np.zeros(dimension), torch.nn.Parameter(torch.zeros(dimension, dtype=torch.float64))
    signed = KAdam([weights], lr=1.0, betas=(0.0, 0.0), eps=0.0, weight_decay=1.0, k=1)
    apart, gaps = np.zeros(config.steps), np.zeros((config.steps, 2))
    for n, rate in enumerate(_rates(config)):
        theta = theory.frank_wolfe_step(theta, matrix @ (theta - centre), step=rate, weight_decay=1.0)
        signed.param_groups[0]["lr"] = float(rate)
        weights.grad = torch.from_numpy(matrix @ (weights.detach().numpy() - centre))
        signed.step()
        points = np.stack([weights.detach().numpy(), theta])
        apart[n] = np.abs(points[0] - points[1]).max()
        gaps[n] = theory.frank_wolfe_gap(points, (points - centre) @ matrix, weight_decay=1.0)
    kept = kept_steps(config.steps, config.kept)
    values = {"difference": ("kept", np.maximum.accumulate(apart)[kept]), "gap": (("kept", "path"), gaps[kept])}
    return xr.Dataset(values, coords={"path": ["optimizer", "Frank-Wolfe"]})


UNITS = {
    "loss": "over the loss at zero",
    "bound": "Frank & Wolfe's theorem: 2 H (2R)^2 / (n + 2), over the loss at zero",
    "over_bound": "loss over that bound, the largest over all steps",
    "reached": "first step at which the loss is at most the level; NaN: never",
    "constant": "smoothness times squared diameter in the method's norm",
    "difference": "largest distance of the optimizer from Frank & Wolfe's steps so far, over the box's radius",
    "gap": "Frank-Wolfe gap",
}
