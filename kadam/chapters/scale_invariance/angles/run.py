"""How far does a step turn a scale-invariant weight at a realistic learning rate and decay, and when does it obey the law?

Query, key and hidden weights of a transformer with normalised queries and keys, and convolutions before batch normalisation,
train with AdamW (eps = 0) from the usual initial weights on fresh small batches: at three learning rates with decay 0.1, and
with a rate that stands still and then falls in a straight line, under AdamW and under AdamC, whose decay falls with the rate
(of all weights here; the remedy is one for normalised layers). The record keeps root mean squares over windows of the angle
of a step over that at equilibrium, which follows rate and decay, and of the norm and the update.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from kadam.chapters.scale_invariance.angles.config import FALLING, PROFILES, Config
from kadam.decay import Decay
from kadam.lab.data.upload import uploaded
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.arithmetic import NOTHING, Arithmetic, of_ensembles
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.tasks import Inputs, Task
from kadam.theory import invariance as theory
from kadam.theory.arguments import Array

NETWORKS = ("language", "images")
SQUARES = ("turn", "norm", "update")


class Member(NamedTuple):
    """One run: its way, where its learning rate starts, and its momentum decay."""

    way: str
    eta: float
    gamma: float


def members(config: Config) -> list[Member]:
    """Of one seed, ways first."""
    ways = {f"eta = {eta:g}": eta for eta in config.rates} | dict.fromkeys(FALLING, config.rates[-1])
    return [Member(way, eta, gamma) for way, eta in ways.items() for gamma in config.gammas]


@recorded("angles", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Train both networks. Dimensions: weight, seed, way, gamma, window; see ``UNITS``."""
    inputs = Inputs.of(config.sizes)
    compute = functools.partial(train, config, inputs)
    pieces = [(network,) for network in NETWORKS]
    results = sweep(pieces, compute, steps=config.steps, title="angles", checkpoint=checkpoint, jobs=jobs)
    dataset = xr.concat([results[piece].drop_attrs() for piece in pieces], "weight", data_vars="minimal")
    dataset.attrs = {"computed_s": computed_s(results), **inputs.described}
    return with_units(dataset, UNITS)


def plan(config: Config) -> Arithmetic:
    """What a run computes."""
    inputs, runs = Inputs.of_no_numbers(config.sizes), config.seeds * len(members(config))
    each = (inputs.size(network, config.batch) for network in NETWORKS)
    return sum((of_ensembles(of, runs=runs, steps=config.steps, precision="float64") for of in each), NOTHING)


class Paced(Ensemble):
    """The members of every seed, one model a seed, whose learning rates and decays are set before each step."""

    def __init__(self, config: Config, tasks: list[Task]) -> None:
        each = members(config) * len(tasks)
        decays = [(Decay(beta=config.beta, gamma=one.gamma),) for one in each]
        models = [task.model for task in tasks]
        super().__init__(models, tasks[0].loss, decays, lr=0.0, weight_decay=[config.weight_decay] * len(each))
        self.config, self.each = config, each

    def set_rates(self, n: int) -> list[tuple[float, float]]:
        """Every member's rate and decay of step n = 0, 1, ..., which are returned."""
        config, first = self.config, self.config.hold * self.config.steps
        share = 1 - (1 - config.floor) * max(0.0, (n - first) / (config.steps - first))
        found = [_paced(one, config.weight_decay, share) for one in self.each]
        device = next(iter(self.params.values())).device
        self.lr, self._decay = uploaded(np.array(found), device).T
        return found


def _paced(one: Member, decay: float, share: float) -> tuple[float, float]:
    """The rate and the decay of a member when falling ones are at this share of where they start."""
    return one.eta * (share if one.way in FALLING else 1), decay * (share if one.way == FALLING[1] else 1)


def train(config: Config, inputs: Inputs, piece: tuple[str], progress: Progress) -> xr.Dataset:
    """What is seen of the watched weights of a network, every seed; ``piece``: the network."""
    seeds = list(range(config.seed, config.seed + config.seeds))
    tasks = [inputs.language(seed) if piece[0] == "language" else inputs.classification(seed) for seed in seeds]
    batches = [task.batches(np.random.default_rng([seed, 1]), config.batch) for seed, task in zip(seeds, tasks, strict=True)]
    tasks[0].check(tasks[0].draw(np.random.default_rng([seeds[0], 2]), config.batch))
    ensemble, weights = Paced(config, tasks), tasks[0].weights
    sums = np.zeros((len(SQUARES), len(weights), config.windows, len(ensemble.each)))
    per_window = config.steps // config.windows
    for n in progress.over(config.steps, {"ensemble": ensemble, "batches": batches, "sums": sums}):
        rates = ensemble.set_rates(n)
        looked = n % config.every == 0
        before = [ensemble.params[path].flatten(1).clone() for path in weights.values()] if looked else []
        ensemble.step(*map(next, batches))
        if looked:
            law = np.array(
                [
                    theory.rotation_per_step(eta=e, weight_decay=d, gamma=g.gamma)
                    for (e, d), g in zip(rates, ensemble.each, strict=True)
                ]
            )
            for i, (path, old) in enumerate(zip(weights.values(), before, strict=True)):
                sums[:, i, n // per_window] += _squares(old, ensemble.params[path].flatten(1), ensemble.updates[path], law)
    return _summary(config, sums * config.every / per_window, list(weights), seeds)


def _squares(old: Tensor, new: Tensor, update: Tensor, law: Array) -> Array:
    """The squares of the angle over the law's, of the norm and of the update: (3, members)."""
    dot, norm, after, square = (torch.linalg.vecdot(x, y) for x, y in ((old, new), (old, old), (new, new), (update, update)))
    turn = torch.arccos((dot / (norm * after).sqrt()).clamp(max=1.0)).numpy(force=True)
    return np.stack([(turn / law) ** 2, norm.numpy(force=True), square.numpy(force=True)])


def _summary(config: Config, means: Array, weights: list[str], seeds: list[int]) -> xr.Dataset:
    """Roots of mean squares by way and gamma, and the times to equilibrium at constant rates."""
    ways = list(dict.fromkeys(one.way for one in members(config)))
    dims = ("weight", "window", "seed", "way", "gamma")
    shape = (len(weights), config.windows, len(seeds), len(ways), len(config.gammas))
    values = {name: (dims, np.sqrt(mean).reshape(shape)) for name, mean in zip(SQUARES, means, strict=True)}
    steps = (np.arange(config.windows) + 1) * (config.steps // config.windows)
    times = [
        [theory.equilibrium_time(eta=one.eta, weight_decay=config.weight_decay, gamma=one.gamma) for one in members(config)]
    ]
    coords = {"weight": weights, "window": steps, "seed": seeds, "way": ways, "gamma": list(config.gammas)}
    return xr.Dataset(values, coords).assign(time=(("way", "gamma"), np.reshape(times, shape[-2:])))


UNITS = {
    "turn": "angle of a step over that at equilibrium by the law with the cross term, root mean square over a window",
    "norm": "|W|",
    "update": "|u|",
    "time": "steps in which the distance of |W|^2 from equilibrium falls by e, at the rate of the start",
    "window": "steps at its end",
}
