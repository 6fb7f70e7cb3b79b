"""Does R_med of a place predict how fast training goes on from there? Six methods at five learning rates, on three networks.

Networks, batches and methods are those of curvature. Every method runs at every rate of its grid from the same weights. Where a
run first reaches a loss, R_med of its place is measured; then the run goes on, and its steps to the next loss are counted. From
the same place, with moments that start afresh, gradient descent and Adam go on as well, each at every rate of its grid: how far
the loss falls in so many steps at the best of them says how fast the place is, whoever came there.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from torch import Tensor

from kadam.chapters.local_geometry.landscapes import Descent, Landscape, configured_landscape
from kadam.chapters.local_geometry.levels import Levels
from kadam.chapters.local_geometry.methods import FACTORS, METHODS, NETWORKS, rates
from kadam.chapters.local_geometry.predicts.config import BY, PROFILES, Config
from kadam.decay import Decay
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.state import Stateful
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.arithmetic import NOTHING, Arithmetic
from kadam.lab.train.tasks import Inputs


class Piece(NamedTuple):
    """One method on one network, at every rate with every seed."""

    network: str
    method: str


@recorded("predicts", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every network and method; see ``UNITS``. Dimensions: network, optimizer, factor, seed; place or level, by."""
    inputs = Inputs.of(config.sizes)
    pieces = [Piece(network, method) for network in reversed(NETWORKS) for method in METHODS]
    compute = functools.partial(compute_piece, config, inputs)
    steps = config.steps + len(config.levels) - 1
    results = sweep(pieces, compute, steps=steps, title="predicts", checkpoint=checkpoint, jobs=jobs)
    parts = [[results[Piece(network, method)].drop_attrs() for method in METHODS] for network in NETWORKS]
    dataset = xr.combine_nested(parts, ["network", "optimizer"])
    dataset = dataset.assign_coords(network=list(NETWORKS), optimizer=list(METHODS))
    dataset.attrs = {"computed_s": computed_s(results), **inputs.described}
    return with_units(dataset, UNITS)


def plan(config: Config) -> Arithmetic:
    """What a run computes at most: descents end, and places are fewer, where levels are reached early or not at all."""
    inputs, runs, total = Inputs.of_no_numbers(config.sizes), len(FACTORS) * config.seeds, NOTHING
    places = runs * (len(config.levels) - 1)
    for network in NETWORKS:
        problem = configured_landscape(config, inputs, network)
        for method in METHODS:
            total += problem.descents(method, runs, config.steps) + problem.looks(places, probes=config.probes)
            total += sum((problem.descents(by, places * len(rates(by)), config.ahead) for by in BY), NOTHING)
    return total


def compute_piece(config: Config, inputs: Inputs, piece: Piece, progress: Progress) -> xr.Dataset:
    places = Places(config, configured_landscape(config, inputs, piece.network), piece.method)
    for n in progress.over(config.steps + len(config.levels) - 1, {"places": places}):
        places.advance(n)
    return places.summary()


class Places(Stateful):
    """All runs of one method: where they reach the losses, R_med there, and how far others get from there."""

    STATE = ("runs", "levels", "found", "gone")

    def __init__(self, config: Config, problem: Landscape, method: str) -> None:
        self.config, self.problem = config, problem
        self.decay, self.seeds = Decay(beta=config.beta, gamma=config.gamma), range(config.seed, config.seed + config.seeds)
        starts = [problem.start(seed) for _ in FACTORS for seed in self.seeds]
        grid = [rate for rate in rates(method) for _ in self.seeds]
        self.runs = Descent(problem, method, starts, decay=self.decay, lr=grid)
        self.levels = Levels(config.levels, self.runs.params)
        self.found = np.full((len(starts), len(config.levels) - 1), np.nan)
        self.gone = np.full((*self.found.shape, len(BY)), np.nan)

    def advance(self, n: int) -> None:
        """Part n = 0, 1, ...: a step of the runs, or a look at the places of a level."""
        if n < self.config.steps:
            self.levels.follow(self.runs, n, self.problem.batch)
            return
        level = n - self.config.steps
        members, weights = self.levels.at(level)
        if len(members):
            each = np.log(self.problem.r_med(weights, probes=self.config.probes)[:, :-1])
            self.found[members, level] = each.mean(1)
            self.gone[members, level] = np.transpose([self.go_on(weights, by) for by in BY])

    def go_on(self, weights: dict[str, Tensor], by: str) -> list[float]:
        """By how much a method lowers the logarithm of the loss of each place, at the best rate of its grid."""
        places, grid = len(next(iter(weights.values()))), rates(by)
        starts = [{path: weight[i] for path, weight in weights.items()} for i in range(places) for _ in grid]
        descent = Descent(self.problem, by, starts, decay=self.decay, lr=grid * places)
        first = descent.step(self.problem.batch).double()
        for _ in range(self.config.ahead - 1):
            descent.step(self.problem.batch)
        last = self.problem.losses(descent.params).detach().double().nan_to_num(np.inf)
        gone: list[float] = (first / last).log().view(places, -1).amax(1).tolist()
        return gone

    def summary(self) -> xr.Dataset:
        """What the record keeps: by rate and seed."""
        config, shape = self.config, (len(FACTORS), len(self.seeds))
        values = {
            "r_med": (("place",), self.found),
            "step": (("level",), self.levels.step),
            "gone": (("place", "by"), self.gone),
        }
        coords = {"factor": list(FACTORS), "seed": list(self.seeds), "place": list(config.levels[:-1])}
        return xr.Dataset(
            {k: (("factor", "seed", *dims), x.reshape(*shape, *x.shape[1:])) for k, (dims, x) in values.items()},
            {**coords, "level": list(config.levels), "by": list(BY)},
        )


UNITS = {
    "r_med": "mean over layers of the logarithm of max over median of |H_ii|, where a loss is first reached",
    "step": "steps to the loss",
    "gone": "by how much the logarithm of the loss falls from there, best of five rates",
}
