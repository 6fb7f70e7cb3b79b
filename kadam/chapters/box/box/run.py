"""Where does AdamW's weight decay lead? On convex losses, to the minimum within a box; the solver beside it knows no Adam.

Full-batch descent on random quadratics and on logistic regression (real images of cats and dogs), from zero, with decoupled
weight decay lambda and learning rates that fall like 1/n or 1/sqrt(n), whose sums diverge, or so fast that their sum is finite:
the control, which cannot get there. Lengths are in units of the box's radius 1/lambda, and so are rates.
"""

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from kadam.chapters.box.box.config import PROFILES, Config
from kadam.chapters.box.convex import Convex, ConvexDescent, Quadratics, Regularised, random_quadratic, two_classes
from kadam.chapters.box.pairs import ABOVE, ADAM, EQUAL, SIGNS, UNSTABLE
from kadam.decay import Decay, stages
from kadam.lab.data.images import Images, configured_images
from kadam.lab.data.sources import describe
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, one_thread, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.schedule import falling, kept_steps
from kadam.theory import box as theory
from kadam.theory.arguments import Array

Piece = tuple[str, str]  # the kind of losses, and the setting; with all schedules

CATS_AND_DOGS = (3, 5)  # in CIFAR-10; the digits that stand in for it have a 3 and a 5 as well

SETTINGS: dict[str, tuple[Decay, ...]] = {
    "SignGD": (SIGNS,),
    "equal": (EQUAL,),
    "Adam": (ADAM,),
    "above": (ABOVE,),
    "unstable": (UNSTABLE,),
    "2-Adam inverse_exp": stages(ADAM, 2, "inverse_exp"),
    "2-Adam meta": stages(ADAM, 2, "meta"),
    "unstable, then equal": (UNSTABLE, EQUAL),
    "equal, then unstable": (EQUAL, UNSTABLE),
    "L2": (EQUAL,),
}

SCHEDULES = {"1/n": 1.0, "1/sqrt(n)": 0.5, "summable": 2.0}  # with the power of n by which they fall
KINDS = ("quadratic", "logistic")

UNBOUNDED = 1e6  # a box that holds every weight of a regularised minimum


@dataclass(frozen=True)
class Problem:
    """E convex losses with a weight decay each, and for each the two points between which the question lies."""

    convex: Convex
    names: list[str]
    decays: Array  # (E,)
    bounded: Array  # the minimum within the box, (E, d)
    ridge: Array  # of the loss with weight_decay/2 |theta|^2 added, (E, d)

    def size(self, points: Array) -> Array:
        """The largest entry of every point, in units of the box's radius, (..., E, d) -> (..., E)."""
        return np.asarray((np.abs(points) * self.decays[:, None]).max(-1))

    def gap(self, points: Array) -> Array:
        """The Frank-Wolfe gap at every point, (..., E, d) -> (..., E)."""
        gradients = self.convex.gradients(torch.from_numpy(points)).numpy()
        return np.asarray(theory.frank_wolfe_gap(points, gradients, weight_decay=self.decays))


@recorded("box", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every setting on every problem with every schedule. Dimensions: problem, setting, schedule, kept."""
    data = configured_images(config)
    pieces = list(itertools.product(KINDS, SETTINGS))
    compute = functools.partial(descend, config, problems(config, data))
    results = sweep(pieces, compute, steps=config.steps, title="box", checkpoint=checkpoint, jobs=jobs)
    parts = [[results[kind, setting].drop_attrs() for kind in KINDS] for setting in SETTINGS]
    dataset = xr.combine_nested(parts, ["setting", "problem"], data_vars="all").assign_coords(setting=list(SETTINGS))
    of_problems = dataset[["active", "solver_gap", "apart"]].isel(setting=0, drop=True)
    dataset = dataset.assign(of_problems).assign(relative_gap=np.abs(dataset.gap) / dataset.gap.isel(kept=0))
    dataset["radius"] = "setting", [float(theory.radius(**vars(s[-1]), weight_decay=1.0)) for s in SETTINGS.values()]
    # How far summable rates can carry a weight from zero: a mean of its updates with weights that add up to this share.
    dataset["reach"] = (1 - np.prod(1 - rates(config, "summable"))) * dataset.radius
    dataset.attrs = {"computed_s": computed_s(results), **describe(data)}
    return with_units(dataset, UNITS)


def rates(config: Config, schedule: str) -> Array:
    """The learning rate of every step, in units of the box's radius, shape (steps,)."""
    bend = config.short_bend if schedule == "summable" else config.bend
    return falling(config.rate, steps=config.steps, bend=bend, power=SCHEDULES[schedule])


def problems(config: Config, data: Images) -> dict[str, Problem]:
    """Both kinds of losses with their minima, computed in one thread: the solver's last digits depend on that."""
    seeds = range(config.seed, config.seed + config.quadratics)
    with one_thread():
        parts = {f"quadratic {seed}": random_quadratic(config.dimension, config.spread, seed) for seed in seeds}
        quadratics = {name: (Quadratics.of([part]), 1.0) for name, part in parts.items()}
        logistic = two_classes(data, classes=CATS_AND_DOGS, examples=config.examples, pixels=config.pixels)
        return {
            "quadratic": _problem(Quadratics.of(list(parts.values())), quadratics),
            "logistic": _problem(logistic, {f"logistic {decay:g}": (logistic, decay) for decay in config.decays}),
        }


def _problem(convex: Convex, single: Mapping[str, tuple[Convex, float]]) -> Problem:
    """Of all losses at once, and of each with its weight decay."""
    bounded = [_minimum(loss, decay) for loss, decay in single.values()]
    ridge = [_minimum(Regularised(loss, torch.full((1, 1), decay)), 1 / UNBOUNDED) for loss, decay in single.values()]
    decays = np.array([decay for _, decay in single.values()])
    return Problem(convex, list(single), decays, np.stack(bounded), np.stack(ridge))


def _minimum(convex: Convex, decay: float) -> Array:
    def loss(theta: Array) -> float:
        return float(convex.losses(torch.from_numpy(theta)[None]))

    def gradient(theta: Array) -> Array:
        return np.asarray(convex.gradients(torch.from_numpy(theta)[None])[0])

    return theory.constrained_minimum(loss, gradient, np.zeros(convex.dimension), weight_decay=decay)


def descend(config: Config, posed: dict[str, Problem], piece: Piece, progress: Progress) -> xr.Dataset:
    """A piece: S schedules on E losses side by side, theta is (S, E, d)."""
    kind, setting = piece
    problem, convex, decays = posed[kind], posed[kind].convex, posed[kind].decays
    eta = np.stack([rates(config, name) for name in SCHEDULES])[:, None] / decays[:, None]
    if setting == "L2":
        convex, decays = Regularised(convex, torch.from_numpy(decays)[:, None]), 0 * decays
    descent = ConvexDescent(convex, SETTINGS[setting], rates=eta, weight_decay=decays)
    steps, half, shape = kept_steps(config.steps, config.kept), config.steps // 2, descent.theta.shape
    points, midway, largest, settled = (np.zeros(s) for s in ((len(steps), *shape), shape, shape[:2], shape[:2]))
    state = {"descent": descent, "points": points, "midway": midway, "largest": largest, "settled": settled}
    for n in progress.over(config.steps, state):
        descent.step(n)
        theta = descent.theta.numpy()
        points[steps == n] = theta
        np.maximum(largest, problem.size(theta), out=largest)
        if n == half:
            midway[:] = theta
        if n > half:
            np.maximum(settled, problem.size(theta - midway), out=settled)
    return _summary(problem, points, largest, settled).assign_coords(step=("kept", steps + 1))


def _summary(problem: Problem, points: Array, largest: Array, settled: Array) -> xr.Dataset:
    """From the points at the kept steps, (kept, S, E, d), and what was followed at all steps, (S, E)."""
    bounded, each, kept = problem.bounded, ("schedule", "problem"), ("kept", "schedule", "problem")
    at_corner = np.abs(bounded) * problem.decays[:, None] > 1 - 1e-9
    shortfall = np.abs(np.sign(bounded) - points[-1] * problem.decays[:, None])
    values = {
        "gap": (kept, np.stack([problem.gap(point) for point in points])),
        "size": (kept, problem.size(points)),
        "distance": (kept, problem.size(points - bounded)),
        "ridge_distance": (kept, problem.size(points - problem.ridge)),
        "settled": (each, settled),
        "largest": (each, largest),
        "active_gap": (each, np.where(at_corner, shortfall, 0).max(-1)),
        "active": ("problem", at_corner.mean(-1)),
        "solver_gap": ("problem", problem.gap(np.broadcast_to(bounded, points.shape[1:]).copy())[0]),
        "apart": ("problem", problem.size(bounded - problem.ridge)),
    }
    return xr.Dataset(values, coords={"schedule": list(SCHEDULES), "problem": problem.names}).transpose(*each, ...)


UNITS = {
    "gap": "Frank-Wolfe gap: the loss's units",
    "relative_gap": "its size over the first",
    "size": "largest weight over the box's radius",
    "largest": "the same, the largest over all steps",
    "distance": "largest distance of a weight from the bounded minimum, over the box's radius",
    "ridge_distance": "the same from the minimum of the L2-regularised loss",
    "settled": "largest distance of a weight, at any step of the last half, from where that began, over the box's radius",
    "active_gap": "largest distance from the boundary of a weight that belongs there, over the box's radius",
    "active": "share of weights that belong on the boundary",
    "solver_gap": "Frank-Wolfe gap of the solver's minimum",
    "apart": "distance of the two minima, over the box's radius",
    "reach": "how far the summable rates can carry a weight from zero, over the box's radius",
    "radius": "largest update of the last stage: the radius that decay enforces, over the box's",
}
