"""Where does AdamW's weight decay lead? On convex losses, to the minimum within a box; the solver beside it knows no Adam.

Full-batch descent on random quadratics and on logistic regression (real images of cats and dogs), from zero, with decoupled
weight decay lambda and learning rates that fall like 1/n or 1/sqrt(n), whose sums diverge, or so fast that their sum is finite:
the control, which cannot get there. Settings: SignGD, AdamW with gamma below, at and above beta, 2-Adam with its stages in both
orders, and Adam with L2 regularisation in the loss. Lengths are in units of the box's radius 1/lambda, and so are rates.

Kept at steps evenly spaced in logarithm: the Frank-Wolfe gap, the largest weight, the distance from scipy's bounded minimum and
from the minimum of the L2-regularised loss, and how far the weights still went in the last half of the run.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from kadam.chapters.box.box.config import PROFILES, Config
from kadam.chapters.box.convex import Convex, ConvexDescent, Quadratics, Regularised, random_quadratic, two_classes
from kadam.decay import Decay, stages
from kadam.lab.data.images import Images, configured_images
from kadam.lab.data.sources import describe
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, one_thread, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.schedule import falling, kept_steps
from kadam.theory import box as theory

Array = NDArray[np.float64]

CATS_AND_DOGS = (3, 5)  # in CIFAR-10; the digits that stand in for it have a 3 and a 5 as well

EQUAL, ADAM = Decay(beta=0.95, gamma=0.95), Decay(beta=0.999, gamma=0.9)
ABOVE, UNSTABLE = Decay(beta=0.93, gamma=0.95), Decay(beta=0.95, gamma=0.99)  # gamma > beta, and gamma^2 > beta

SETTINGS: dict[str, tuple[Decay, ...]] = {
    "SignGD": (Decay(beta=0.0, gamma=0.0),),
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
PROBLEMS = ("quadratic", "logistic")

UNBOUNDED = 1e6  # a box that holds every weight of a regularised minimum


@dataclass(frozen=True)
class Problem:
    """E convex losses with a weight decay each, and for each the two points between which the question lies."""

    convex: Convex
    names: list[str]
    decays: Array  # (E,)
    bounded: Array  # the minimum within the box, (E, d)
    ridge: Array  # of the loss with weight_decay/2 |theta|^2 added, (E, d)


@recorded("box", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every setting on every problem with every schedule. Dimensions: problem, setting, schedule, kept."""
    data = configured_images(config)
    pieces = [f"{kind}-{setting}" for kind in PROBLEMS for setting in SETTINGS]
    compute = functools.partial(descend, config, problems(config, data))
    results = sweep(pieces, compute, steps=config.steps, title="box", checkpoint=checkpoint, jobs=jobs)
    parts = [xr.concat([results[f"{kind}-{s}"].drop_attrs() for kind in PROBLEMS], "problem") for s in SETTINGS]
    dataset = xr.concat(parts, xr.Variable("setting", list(SETTINGS)), data_vars="all")
    of_problems = dataset[["active", "solver_gap", "apart"]].isel(setting=0, drop=True)
    relative = np.abs(dataset.gap) / dataset.gap.isel(kept=0)
    dataset = dataset.assign(of_problems).assign(relative_gap=relative)
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
    with one_thread():
        return {kind: _problem(config, data, kind) for kind in PROBLEMS}


def _problem(config: Config, data: Images, kind: str) -> Problem:
    if kind == "quadratic":
        parts = [random_quadratic(config.dimension, config.spread, config.seed + i) for i in range(config.quadratics)]
        matrices, centres = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
        single = [Quadratics(matrices[i : i + 1], centres[i : i + 1]) for i in range(config.quadratics)]
        names = [f"quadratic {config.seed + i}" for i in range(config.quadratics)]
        decays = np.ones(config.quadratics)
        return Problem(Quadratics(matrices, centres), names, decays, *_minima(single, decays))
    logistic = two_classes(data, classes=CATS_AND_DOGS, examples=config.examples, pixels=config.pixels)
    names = [f"logistic {decay:g}" for decay in config.decays]
    decays = np.array(config.decays)
    return Problem(logistic, names, decays, *_minima([logistic] * len(decays), decays))


def _minima(losses: Sequence[Convex], decays: Array) -> tuple[Array, Array]:
    """For every loss its minimum within the box, and that of the loss with L2 regularisation, each (E, d)."""
    pairs = list(zip(losses, decays, strict=True))
    bounded = [_minimum(loss, decay) for loss, decay in pairs]
    ridge = [_minimum(Regularised(loss, torch.full((1, 1), decay)), 1 / UNBOUNDED) for loss, decay in pairs]
    return np.stack(bounded), np.stack(ridge)


def _minimum(convex: Convex, decay: float) -> Array:
    def row(theta: Array) -> Tensor:
        return torch.from_numpy(theta)[None]

    return theory.constrained_minimum(
        lambda theta: float(convex.losses(row(theta))),
        lambda theta: np.asarray(convex.gradients(row(theta))[0]),
        np.zeros(convex.dimension),
        weight_decay=decay,
    )


def descend(config: Config, posed_by_kind: dict[str, Problem], piece: str, progress: Progress) -> xr.Dataset:
    """One setting on the losses of one kind, with all schedules side by side: named kind-setting."""
    kind, _, setting = piece.partition("-")
    posed = posed_by_kind[kind]
    size, schedules = len(posed.names), len(SCHEDULES)
    decays = np.tile(posed.decays, schedules)
    convex = _repeated(posed.convex, schedules)
    speeds = np.stack([rates(config, name) for name in SCHEDULES]).repeat(size, axis=0) / decays[:, None]
    regularised = Regularised(convex, torch.from_numpy(decays)[:, None])
    learnt, decoupled = (regularised, 0 * decays) if setting == "L2" else (convex, decays)
    descent = ConvexDescent(learnt, SETTINGS[setting], rates=speeds, weight_decay=decoupled)
    watch = Watch(config, posed, convex, descent)
    for n in progress.over(config.steps, {"descent": descent, "kept": watch.kept}):
        descent.step(n)
        watch.look(n)
    return watch.summary()


def _repeated(convex: Convex, times: int) -> Convex:
    if isinstance(convex, Quadratics):
        return Quadratics(convex.matrices.repeat(times, 1, 1), convex.centres.repeat(times, 1))
    return convex


class Watch:
    """What is kept of a descent; values of shape (members, kept), members schedule by schedule."""

    NAMES = ("gap", "size", "distance", "ridge_distance")

    def __init__(self, config: Config, posed: Problem, convex: Convex, descent: ConvexDescent) -> None:
        self.posed, self.convex, self.descent = posed, convex, descent
        self.steps = kept_steps(config.steps, config.kept)
        self.half = config.steps // 2
        self.decays = np.tile(posed.decays, len(SCHEDULES))[:, None]
        self.bounded, self.ridge = (np.tile(x, (len(SCHEDULES), 1)) for x in (posed.bounded, posed.ridge))
        shape = (len(self.decays), len(self.steps))
        self.kept = {name: np.zeros(shape) for name in self.NAMES} | {
            "largest": np.zeros(shape[0]),
            "settled": np.zeros(shape[0]),
            "midway": np.zeros((shape[0], self.bounded.shape[1])),
        }

    def look(self, n: int) -> None:
        theta = self.descent.theta.numpy()
        np.maximum(self.kept["largest"], self._size(theta), out=self.kept["largest"])
        if n == self.half:
            self.kept["midway"][:] = theta
        if n > self.half:
            np.maximum(self.kept["settled"], self._size(theta - self.kept["midway"]), out=self.kept["settled"])
        for i in np.flatnonzero(self.steps == n):
            for name, value in self._values(theta).items():
                self.kept[name][:, i] = value

    def _size(self, points: Array) -> Array:
        """The largest entry, in units of the box's radius."""
        return np.asarray((np.abs(points) * self.decays).max(1))

    def _values(self, theta: Array) -> dict[str, Array]:
        gradients = self.convex.gradients(self.descent.theta).numpy()
        return {
            "gap": theory.frank_wolfe_gap(theta, gradients, weight_decay=self.decays[:, 0]),
            "size": self._size(theta),
            "distance": self._size(theta - self.bounded),
            "ridge_distance": self._size(theta - self.ridge),
        }

    def summary(self) -> xr.Dataset:
        names, count = self.posed.names, len(SCHEDULES)

        def split(values: Array) -> Array:
            return values.reshape(count, len(names), *values.shape[1:])

        values = {name: (("schedule", "problem", "kept"), split(self.kept[name])) for name in self.NAMES}
        active = np.abs(self.posed.bounded) * self.posed.decays[:, None] > 1 - 1e-9
        gradients = self.convex.gradients(torch.from_numpy(self.bounded)).numpy()
        gap = theory.frank_wolfe_gap(self.bounded, gradients, weight_decay=self.decays[:, 0])
        extra = {
            "settled": (("schedule", "problem"), split(self.kept["settled"])),
            "largest": (("schedule", "problem"), split(self.kept["largest"])),
            "active_gap": (("schedule", "problem"), split(self._active_gap(active))),
            "active": ("problem", active.mean(1)),
            "solver_gap": ("problem", gap[: len(names)]),
            "apart": ("problem", self._size(self.bounded - self.ridge)[: len(names)]),
        }
        coordinates = {"schedule": list(SCHEDULES), "problem": names, "step": ("kept", self.steps + 1)}
        return xr.Dataset(values | extra, coords=coordinates)

    def _active_gap(self, active: NDArray[np.bool_]) -> Array:
        """How far the weights that belong on the boundary are from it at the end, the largest of them."""
        shortfall = np.abs(np.sign(self.bounded) - self.descent.theta.numpy() * self.decays)
        return np.asarray(np.where(np.tile(active, (len(SCHEDULES), 1)), shortfall, 0).max(1))


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
