"""A race of continuous models of Adam: how close each comes to its path, and for how many gradients.

The same paths, at a small learning rate and at the edge of stability, are followed by every model with more and more
substeps of one integrator. The error is the largest distance of any weight at any step from Adam, in learning rates. The
cost is counted: gradients a step of Adam. How near the edge a path ends is said by the preconditioned sharpness, the largest
eigenvalue of P^(-1/2) H P^(-1/2) with H the Hessian of the loss and P = (1 - gamma^(n+1)) sqrt(v_hat), over that beyond
which a fixed preconditioner lets momentum diverge, 2 (1+gamma) / ((1-gamma) eta).
"""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from kadam.chapters.continuous_time import problems
from kadam.chapters.continuous_time.flows import RACERS
from kadam.chapters.continuous_time.race.config import CASES, EDGE, PROFILES, Config
from kadam.decay import Decay
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.theory.arguments import Array
from kadam.theory.flow import Diverged, adam

REACH = 1e-5  # of the differences of gradients that make the Hessian


class Piece(NamedTuple):
    """A case with the problem of a repetition."""

    case: str
    repetition: int


class Counted:
    """A gradient that counts how often it is asked for."""

    def __init__(self, problem: problems.Smooth) -> None:
        self.problem, self.asked = problem, 0

    def __call__(self, theta: Array) -> Array:
        self.asked += 1
        return self.problem.grad(theta)


@recorded("race", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Errors and costs by case, seed, flow and substeps."""
    pieces = [Piece(case, i) for case in CASES for i in range(config.seeds)]
    compute = functools.partial(measure, config)
    results = sweep(pieces, compute, steps=len(RACERS), title="race", checkpoint=checkpoint, jobs=jobs)
    parts = [[results[Piece(case, i)].drop_attrs() for i in range(config.seeds)] for case in CASES]
    dataset = xr.combine_nested(parts, ["case", "seed"])
    dataset = dataset.assign_coords(case=list(CASES), seed=config.seed + np.arange(config.seeds))
    none = {"data": "none: two problems made up here", "data_sha256": "", "data_origin": "none"}
    dataset.attrs = {"computed_s": computed_s(results)} | none
    return with_units(dataset, UNITS)


def measure(config: Config, piece: Piece, progress: Progress) -> xr.Dataset:
    """Error and cost of every flow with every number of substeps, on one path of Adam."""
    problem, decay, eta, steps = _case(config, piece)
    setting: Any = {"decay": decay, "eta": eta, "steps": steps}
    path = adam(problem.grad, problem.start, **setting)
    errors, costs = (np.empty((len(RACERS), len(config.substeps))) for _ in range(2))
    for i, follow in enumerate(RACERS.values()):
        for j, substeps in enumerate(config.substeps):
            grad = Counted(problem)
            try:
                gap = np.abs(follow(grad, problem.start, **setting, substeps=substeps) - path).max() / eta
            except Diverged:
                gap = np.inf
            errors[i, j], costs[i, j] = gap, round(grad.asked / steps)
        progress.tick()
    values = {
        "error": (("flow", "substeps"), errors),
        "cost": (("flow", "substeps"), costs),
        "went": np.abs(path - path[0]).max() / eta,
        "sharpness": sharpness(problem, path, decay, eta),
        "eta": eta,
    }
    return xr.Dataset(values, {"flow": list(RACERS), "substeps": list(config.substeps)})


def sharpness(problem: problems.Smooth, path: Array, decay: Decay, eta: float) -> float:
    """The preconditioned sharpness at the path's end, over the threshold of momentum with a fixed preconditioner."""
    v = np.zeros_like(path[0])
    for theta in path[:-1]:
        v = decay.beta * v + (1 - decay.beta) * problem.grad(theta) ** 2
    steps, end, units = len(path) - 1, path[-1], REACH * np.eye(path.shape[1])
    hessian = np.stack([problem.grad(end + unit) - problem.grad(end - unit) for unit in units]) / (2 * REACH)
    scale = (v / (1 - decay.beta**steps)) ** -0.25 / np.sqrt(1 - decay.gamma**steps)
    largest = np.linalg.eigvalsh(scale[:, None] * (hessian + hessian.T) / 2 * scale)[-1]
    return float(largest * eta * (1 - decay.gamma) / (2 * (1 + decay.gamma)))


def _case(config: Config, piece: Piece) -> tuple[problems.Smooth, Decay, float, int]:
    """A problem, its pair of decays, the learning rate and the number of steps."""
    seed = config.seed + piece.repetition
    problem = problems.quadratic(seed=seed)[0] if piece.case == "quadratic" else problems.perceptron(seed=seed)
    beta = config.beta if piece.case in ("network", EDGE) else config.default_beta
    at_the_edge = piece.case == EDGE
    eta, steps = (config.edge_eta, config.edge_steps) if at_the_edge else (config.small_eta, config.small_steps)
    return problem, Decay(beta=beta, gamma=config.gamma), eta, steps


UNITS = {
    "error": "largest distance of a weight from Adam over all steps, in learning rates; infinite where a flow diverged",
    "cost": "gradients a step of Adam",
    "went": "largest distance of a weight from its start, in learning rates",
    "sharpness": "preconditioned sharpness at the end over the threshold of momentum",
    "eta": "learning rate",
}
