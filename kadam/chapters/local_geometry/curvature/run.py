"""R_med of three small networks on real data, at the same loss reached: six methods, three sizes of the initial weights.

A tanh perceptron on images (the Hessian's diagonal exact), a character transformer on text and a convolutional network on
images (their larger layers estimated from random signs; at some checkpoints exact as well). Each trains on one fixed batch, so
that the loss is the one whose Hessian is looked at. Every method starts from the same weights and has the learning rate of a
grid that reaches the lowest loss on other seeds. Last, Adam's decays run along the normal curve across the stability region.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr

from kadam.chapters.local_geometry.curvature.config import PROFILES, USUAL, Config
from kadam.chapters.local_geometry.landscapes import EXACT, Descent, Landscape, configured_landscape
from kadam.chapters.local_geometry.levels import Levels
from kadam.chapters.local_geometry.methods import METHODS, NETWORKS, PAIR, rates
from kadam.decay import Decay
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.state import Stateful
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.arithmetic import NOTHING, Arithmetic
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.tasks import Inputs
from kadam.theory import stability

ESTIMATED = ("language", "images")  # networks whose diagonals are estimated

CHECKED = 5  # fresh starts at which the estimate is compared by its number of probes


class Piece(NamedTuple):
    """A network under one method from one scale, with every seed; what is done with it is its kind.

    "run": at the best rate of the grid; "slow": at the smallest; "curve": one seed, the decays along the normal curve;
    "probes": no method, at fresh weights by the number of probes.
    """

    kind: str
    network: str
    method: str = "none"
    scale: float = USUAL
    seed: int = -1  # all


@recorded("curvature", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every network, scale and method; see ``UNITS``. Dimensions: layer or network; scale, optimizer, seed, level, point."""
    inputs = Inputs.of(config.sizes)
    compute = functools.partial(compute_piece, config, inputs)
    steps = 2 * config.steps + len(config.levels)
    results = sweep(pieces(config), compute, steps=steps, title="curvature", checkpoint=checkpoint, jobs=jobs)
    dataset = _assembled(config, {piece: result.drop_attrs() for piece, result in results.items()})
    dataset.attrs = {"probes": config.probes, "computed_s": computed_s(results), **inputs.described}
    return with_units(dataset, UNITS)


def pieces(config: Config) -> list[Piece]:
    """All of them."""
    found = [Piece("probes", network) for network in ESTIMATED]
    found += [
        Piece("run", n, m, s) for n in reversed(NETWORKS) for s in config.scales for m in (METHODS if s == USUAL else PAIR)
    ]
    found += [Piece("slow", network, method) for network in NETWORKS for method in PAIR]
    return found + [Piece("curve", "perceptron", "Adam", seed=seed) for seed in _seeds(config)]


def plan(config: Config) -> Arithmetic:
    """What a run computes at most: descents end, and looks are fewer, where levels are reached early or not at all."""
    inputs = Inputs.of_no_numbers(config.sizes)
    return sum(
        (_arithmetic(config, configured_landscape(config, inputs, piece.network), piece) for piece in pieces(config)), NOTHING
    )


def _arithmetic(config: Config, problem: Landscape, piece: Piece) -> Arithmetic:
    levels = len(config.levels)
    if piece.kind == "probes":
        chosen, starts = problem.larger_than(max(config.probe_counts)), min(CHECKED, config.seeds)
        return sum((problem.looks(starts, probes=count, only=chosen) for count in (*config.probe_counts, EXACT)), NOTHING)
    if piece.kind == "curve":
        looks = problem.looks(config.points * levels, probes=EXACT)
        return problem.descents(piece.method, config.points, config.curve_steps) + looks
    run = MethodRun(config, problem, piece)
    each = ((len(run.final), run.searched), (config.seeds, run.steps))
    looks = problem.looks(config.seeds * levels, probes=run.probes) + problem.looks(levels, probes=EXACT, only=run.checked)
    return sum((problem.descents(piece.method, *of) for of in each), looks)


def _seeds(config: Config) -> list[int]:
    return list(range(config.seed, config.seed + config.seeds))


def _assembled(config: Config, parts: dict[Piece, xr.Dataset]) -> xr.Dataset:
    """One dataset from the pieces; NaN where a method was not run."""
    runs = _side_by_side(config, parts, "run")
    slow = _side_by_side(config, parts, "slow").sel(scale=USUAL, drop=True).drop_vars("owner")
    slower = xr.Dataset({"slow_r_med": slow.r_med, "slow_common": _common(slow.reached)})
    probes = xr.concat([part for piece, part in parts.items() if piece.kind == "probes"], "checked")
    curve = xr.concat([part for piece, part in parts.items() if piece.kind == "curve"], xr.Variable("seed", _seeds(config)))
    return xr.merge([runs.assign(common=_common(runs.reached)), slower, probes, curve])


def _side_by_side(config: Config, parts: dict[Piece, xr.Dataset], kind: str) -> xr.Dataset:
    """The runs of a kind by scale and optimizer, all networks and layers in their order."""
    found = {
        piece: part.expand_dims(scale=[piece.scale], optimizer=[piece.method])
        for piece, part in parts.items()
        if piece.kind == kind
    }
    layers = [layer for network in NETWORKS for layer in found[Piece(kind, network, "Adam")].layer.values]
    order = {"scale": list(config.scales), "optimizer": list(METHODS), "network": list(NETWORKS), "layer": layers}
    return xr.merge(found.values(), join="outer", compat="no_conflicts").reindex(order).transpose("network", ...)


def _common(reached: xr.DataArray) -> xr.DataArray:
    """1 where a level was reached with every seed by all methods that were run (at the scale), else 0."""
    was_run = reached.notnull().any(("seed", "level"))
    everywhere = (reached.notnull().all("seed") | ~was_run).all("optimizer")
    return (everywhere & was_run.any("optimizer")).astype(np.int8)


def compute_piece(config: Config, inputs: Inputs, piece: Piece, progress: Progress) -> xr.Dataset:
    problem = configured_landscape(config, inputs, piece.network)
    if piece.kind == "probes":
        return check_probes(config, problem, piece, progress)
    if piece.kind == "curve":
        return follow_curve(config, problem, piece, progress)
    run = MethodRun(config, problem, piece)
    for n in progress.over(run.length, {"run": run}):
        run.advance(n)
    return run.summary()


class MethodRun(Stateful):
    """All seeds of one method: the search for its rate, their descents, and R_med where they reach the levels.

    A piece of kind "slow" takes the smallest rate of the grid, without a search.
    """

    STATE = ("search", "runs", "levels", "final", "found", "exact")

    def __init__(self, config: Config, problem: Landscape, piece: Piece) -> None:
        self.config, self.problem, self.piece = config, problem, piece
        slow = piece.kind == "slow"
        self.searched, self.steps = (0, config.slow_steps) if slow else (config.steps, config.steps)
        self.grid = rates(piece.method)[: 1 if slow else None]
        self.probes = config.probes if piece.network in ESTIMATED else EXACT
        watched = piece.scale == USUAL and piece.method in PAIR and not slow
        self.checked = problem.larger_than(self.probes) if watched else []  # layers exact, too, for the first seed
        searched = [problem.start(seed, piece.scale) for seed in range(config.search_seeds) for _ in self.grid]
        starts = [problem.start(seed, piece.scale) for seed in _seeds(config)]
        decay = Decay(beta=config.beta, gamma=config.gamma)
        self.search = Descent(problem, piece.method, searched, decay=decay, lr=self.grid * config.search_seeds)
        self.runs = Descent(problem, piece.method, starts, decay=decay, lr=np.nan)
        self.levels = Levels(config.levels, self.runs.params)
        self.final = np.full(len(searched), np.nan)  # the search's losses
        self.found = np.full((len(starts), len(config.levels), len(problem.weights) + 1), np.nan)
        self.exact = self.found.copy()

    @property
    def length(self) -> int:
        """How often :meth:`advance` is called."""
        return self.searched + self.steps + len(self.config.levels)

    @property
    def rate(self) -> float:
        """The rate whose final loss is lowest in the mean over the search's seeds."""
        losses = self.final.reshape(self.config.search_seeds, -1).mean(0)
        return self.grid[int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))]

    def advance(self, n: int) -> None:
        """Part n = 0, 1, ... of the whole: a step of the search, a step of the runs, or a look at a level."""
        if n < self.searched:
            losses = self.search.step(self.problem.batch)
            if n + 1 == self.searched:  # read once, for which the device is waited for
                self.final = losses.double().numpy(force=True)
        elif n < self.searched + self.steps:
            self.runs.lr = self.rate
            self.levels.follow(self.runs, n - self.searched, self.problem.batch)
        else:
            self.look(n - self.searched - self.steps)

    def look(self, level: int) -> None:
        """R_med of the members that reached the level with this number."""
        members, weights = self.levels.at(level)
        if len(members):
            self.found[members, level] = self.problem.r_med(weights, probes=self.probes)
        if self.checked and len(members) and members[0] == 0:
            first = {path: weight[:1] for path, weight in weights.items()}
            self.exact[0, level, self.checked] = self.problem.r_med(first, probes=EXACT, only=self.checked)[0, :-1]

    def summary(self) -> xr.Dataset:
        """R_med and what belongs to it, with layers named "network: layer"; ``owner``: the network of a layer."""
        network, dims, pooled = self.piece.network, ("seed", "level", "layer"), ("network", "seed", "level")
        values = {
            "r_med": (dims, self.found[..., :-1]),
            "exact": (dims, self.exact[..., :-1]),
            "pooled": (pooled, self.found[None, ..., -1]),
            "step": (pooled, self.levels.step[None]),
            "reached": (pooled, self.levels.reached[None]),
            "rate": ("network", [self.rate]),
        }
        names = [f"{network}: {name}" for name in self.problem.weights]
        coords = {"seed": _seeds(self.config), "level": list(self.config.levels), "layer": names, "network": [network]}
        return xr.Dataset(values, {**coords, "owner": ("layer", [network] * len(names))})


def check_probes(config: Config, problem: Landscape, piece: Piece, progress: Progress) -> xr.Dataset:
    """The error of the estimated R_med of every large layer at fresh weights, by the number of probes."""
    starts = [problem.start(seed) for seed in _seeds(config)[:CHECKED]]
    weights = {path: torch.stack([start[path] for start in starts]) for path in starts[0]}
    chosen = problem.larger_than(max(config.probe_counts))
    *estimated, exact = (problem.r_med(weights, probes=count, only=chosen) for count in (*config.probe_counts, EXACT))
    progress.tick()
    errors = np.log(np.array(estimated) / exact)[..., :-1]
    names = [f"{piece.network}: {list(problem.weights)[i]}" for i in chosen]
    coords = {"probe_count": list(config.probe_counts), "checked": names}
    return xr.Dataset({"probe_error": (("probe_count", "start", "checked"), errors)}, coords)


def follow_curve(config: Config, problem: Landscape, piece: Piece, progress: Progress) -> xr.Dataset:
    """Adam at every point of the normal curve, all from one start."""
    problem.start(piece.seed)
    beta, gamma = stability.normal_curve(num=config.points)
    decays = [(Decay(beta=float(b), gamma=float(g)),) for b, g in zip(beta, gamma, strict=True)]
    ensemble = Ensemble(problem.model, problem.loss, decays, lr=config.curve_rate)
    levels = Levels(config.levels, ensemble.params)
    found = np.full((config.points, len(config.levels), len(problem.weights)), np.nan)
    for n in progress.over(config.curve_steps + len(config.levels), {"ensemble": ensemble, "levels": levels, "found": found}):
        if n < config.curve_steps:
            levels.follow(ensemble, n, problem.batch)
            continue
        members, weights = levels.at(n - config.curve_steps)
        if len(members):
            found[members, n - config.curve_steps] = problem.r_med(weights, probes=EXACT)[:, :-1]
    C = stability.coefficient(beta=beta, gamma=gamma)
    coords = {"level": list(config.levels), "curve_layer": list(problem.weights)}
    points = {"beta": ("point", beta), "gamma": ("point", gamma), "coefficient": ("point", C)}
    curve = {"curve_r_med": (("point", "level", "curve_layer"), found), "curve_step": (("point", "level"), levels.step)}
    return xr.Dataset(curve, {**coords, **points})


UNITS = {
    "r_med": "max over median of |H_ii| in a layer, where a level is first reached; larger layers estimated",
    "exact": "the same from the exact diagonal, for estimated layers at some checkpoints",
    "pooled": "the same over all layers together",
    "step": "steps to the level",
    "reached": "loss there over the initial loss",
    "rate": "learning rate",
    "common": "1 where all methods reached the level with every seed",
    "slow_r_med": "as r_med, at the smallest rate of the grid",
    "slow_common": "1 where both methods reached the level with every seed at that rate",
    "probe_error": "log of estimated over exact R_med at fresh weights",
    "curve_r_med": "max over median of |H_ii| in a layer of the perceptron, along the normal curve",
    "curve_step": "steps to the level along the normal curve",
}
