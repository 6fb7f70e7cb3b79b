"""R_med of three small networks on real data, at the same loss reached: six methods, three sizes of the initial weights.

A tanh perceptron on images (the Hessian's diagonal exact), a character transformer on text and a convolutional network on
images (their larger layers estimated from random signs; at some checkpoints exact as well). Each trains on one fixed batch, so
that the loss is the one whose Hessian is looked at. Every method starts from the same weights and has the learning rate of a
grid that reaches the lowest loss on other seeds. Last, Adam's decays run along the normal curve across the stability region.
"""

import functools
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from kadam.chapters.local_geometry.curvature.config import PAIR, PROFILES, USUAL, Array, Config
from kadam.chapters.local_geometry.descents import Plan, Run
from kadam.chapters.local_geometry.landscapes import EXACT, METHODS, NETWORKS, Landscape, Levels, landscape
from kadam.decay import Decay
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.tasks import Inputs
from kadam.theory import stability
from kadam.theory.geometry import r_med

ESTIMATED = ("language", "images")  # networks whose diagonals are estimated

# The middle of each method's grid of learning rates, from runs on seeds 0 and 1, and the grid in multiples of it.
BASES = {"Adam": 3e-2, "2-Adam": 1e-2, "4-Adam": 1e-2, "RMSprop": 3e-2, "SignGD": 1e-2, "SGD": 0.3}
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
CHECKED = 5  # fresh starts at which the estimate is compared by its number of probes
OF_NETWORK = ["pooled", "step", "reached", "rate"]


@recorded("curvature", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every network, scale and method; see ``UNITS``. Dimensions: layer or network; scale, optimizer, seed, level, point."""
    inputs = Inputs.of(config.sizes)
    runs = [f"run {n} {s} {m}" for n in reversed(NETWORKS) for s in config.scales for m in _methods(s)]
    slow = [f"slow {network} {method}" for network in NETWORKS for method in PAIR]
    pieces = [f"probes {n}" for n in ESTIMATED] + runs + slow + [f"curve {seed}" for seed in _seeds(config)]
    compute = functools.partial(compute_piece, config, inputs)
    steps = 2 * config.steps + len(config.levels)
    results = sweep(pieces, compute, steps=steps, title="curvature", checkpoint=checkpoint, jobs=jobs)
    dataset = _assembled(config, {piece: result.drop_attrs() for piece, result in results.items()})
    dataset.attrs = {"probes": config.probes, "computed_s": computed_s(results), **inputs.described}
    return with_units(dataset, UNITS)


def _methods(scale: float) -> tuple[str, ...]:
    return METHODS if scale == USUAL else PAIR


def _seeds(config: Config) -> list[int]:
    return list(range(config.seed, config.seed + config.seeds))


def _assembled(config: Config, parts: dict[str, xr.Dataset]) -> xr.Dataset:
    """One dataset from the pieces."""
    runs = {network: _by_scale(config, parts, network) for network in NETWORKS}
    layers = xr.concat([run.drop_vars(OF_NETWORK) for run in runs.values()], "layer")
    wholes = [run[OF_NETWORK].drop_dims("layer", errors="ignore") for run in runs.values()]
    whole = xr.concat(wholes, xr.Variable("network", list(NETWORKS)))
    probes = xr.concat([parts[f"probes {network}"] for network in ESTIMATED], "checked")
    slow = [_slow(parts, network) for network in NETWORKS]
    slow_layers = xr.concat([part.r_med.rename("slow_r_med") for part in slow], "layer")
    slow_common = _common(xr.concat([part.reached for part in slow], xr.Variable("network", list(NETWORKS))))
    slower = slow_layers.to_dataset().assign(slow_common=slow_common)
    curve = xr.concat([parts[f"curve {seed}"] for seed in _seeds(config)], xr.Variable("seed", _seeds(config)))
    return xr.merge([layers, whole.assign(common=_common(whole.reached)), slower, probes, curve])


def _by_scale(config: Config, parts: dict[str, xr.Dataset], network: str) -> xr.Dataset:
    """One network's runs by scale and optimizer; NaN where a method was not run."""
    scales = []
    for scale in config.scales:
        methods = _methods(scale)
        runs = [parts[f"run {network} {scale} {method}"] for method in methods]
        scales.append(xr.concat(runs, xr.Variable("optimizer", list(methods))).reindex(optimizer=list(METHODS)))
    return xr.concat(scales, xr.Variable("scale", list(config.scales)))


def _slow(parts: dict[str, xr.Dataset], network: str) -> xr.Dataset:
    runs = [parts[f"slow {network} {method}"].drop_vars("owner") for method in PAIR]
    return xr.concat(runs, xr.Variable("optimizer", list(PAIR))).reindex(optimizer=list(METHODS))


def _common(reached: xr.DataArray) -> xr.DataArray:
    """1 where a level was reached with every seed by all methods that were run (at the scale), else 0."""
    was_run = reached.notnull().any(("seed", "level"))
    everywhere = (reached.notnull().all("seed") | ~was_run).all("optimizer")
    return (everywhere & was_run.any("optimizer")).astype(np.int8)


def compute_piece(config: Config, inputs: Inputs, piece: str, progress: Progress) -> xr.Dataset:
    """Named "run network scale method", "slow network method", "probes network" or "curve seed"."""
    kind, *of = piece.split()
    if kind == "probes":
        return check_probes(config, inputs, of[0], progress)
    if kind == "curve":
        return follow_curve(config, inputs, int(of[0]), progress)
    if kind == "slow":
        return train_piece(config, inputs, of[0], USUAL, of[1], progress, slow=True)
    return train_piece(config, inputs, of[0], float(of[1]), of[2], progress)


def _landscape(config: Config, inputs: Inputs, network: str) -> Landscape:
    count = config.examples[NETWORKS.index(network)]
    return landscape(inputs, network, examples=count, dtype=getattr(torch, config.dtype))


def statistics(layers: list[Array]) -> Array:
    """R_med by layer and last of all layers pooled, (E, layers + 1); NaN for a layer without any curvature."""
    every = [*layers, np.concatenate(layers, axis=1)]
    return np.array([[r_med(x) if x.any() else np.nan for x in layer] for layer in every]).T


def train_piece(
    config: Config, inputs: Inputs, network: str, scale: float, method: str, progress: Progress, *, slow: bool = False
) -> xr.Dataset:
    """All seeds of one method on one network from one scale, at the best rate of its grid, or ``slow``, at the smallest."""
    grid = [BASES[method] * factor for factor in (FACTORS[:1] if slow else FACTORS)]
    steps = config.slow_steps if slow else config.steps
    plan = Plan(grid, steps, config.levels, _seeds(config), config.search_seeds, config.decay)
    problem, probes = _landscape(config, inputs, network), config.probes if network in ESTIMATED else EXACT
    checked = problem.larger_than(probes) if scale == USUAL and method in PAIR and not slow else []
    run = Run(plan, problem, method, scale=scale, probes=probes, checked=checked, statistics=statistics)
    for n in progress.over(plan.length, {"run": run}):
        run.advance(n)
    return run.summary(network)


def check_probes(config: Config, inputs: Inputs, network: str, progress: Progress) -> xr.Dataset:
    """The error of the estimated R_med of every layer at fresh weights, by the number of probes."""
    problem = _landscape(config, inputs, network)
    starts = [problem.start(seed) for seed in _seeds(config)[:CHECKED]]
    weights = {path: torch.stack([start[path] for start in starts]) for path in starts[0]}
    chosen = problem.larger_than(max(config.probe_counts))
    found = [statistics(problem.diagonals(weights, probes=count, only=chosen)) for count in (*config.probe_counts, EXACT)]
    progress.tick()
    errors = np.log(np.array(found[:-1]) / found[-1])[..., :-1]
    names = [f"{network}: {list(problem.weights)[i]}" for i in chosen]
    coords = {"probe_count": list(config.probe_counts), "checked": names}
    return xr.Dataset({"probe_error": (("probe_count", "start", "checked"), errors)}, coords)


def follow_curve(config: Config, inputs: Inputs, seed: int, progress: Progress) -> xr.Dataset:
    """The perceptron under Adam at every point of the normal curve, all from one start."""
    problem = _landscape(config, inputs, NETWORKS[0])
    problem.start(seed)
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
            found[members, n - config.curve_steps] = statistics(problem.diagonals(weights, probes=EXACT))[:, :-1]
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
