"""How closely differential equations follow Adam's path: the paper's Figure 1, and what its reviewers asked for besides.

Adam's path is compared with the paper's equation and with the second-order flow of :mod:`kadam.theory.flow`. On a small
transformer with real text and one full batch: 16 random weights, then all of them, at several learning rates, over a longer
time, and with minibatches. On a perceptron: over a grid of (beta, gamma), and with several exponents p of the paper's time.
"""

import functools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from kadam.chapters.continuous_time import problems
from kadam.chapters.continuous_time.flows import BOTH, FLOWS, Compared, compare, distance
from kadam.chapters.continuous_time.trajectories.config import PROFILES, Config
from kadam.decay import Decay
from kadam.flat import FlatLoss
from kadam.lab.data.sources import Text, configured_text, describe
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.theory.arguments import Array
from kadam.theory.flow import Diverged, adam, adam_flow
from kadam.theory.neighbours import paper_flow_in_time

# The loss along the longer path is recorded at about so many steps.
LOSSES = 50


class Piece(NamedTuple):
    """One of ``KINDS``, at so many steps or, on the map, at one beta."""

    kind: str
    at: float


@recorded("trajectories", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every comparison of the chapter in one Dataset; its variables say their dimensions and units."""
    text = configured_text(config)
    pieces = [
        Piece("long", config.long_steps),  # the slow ones first
        *(Piece("path", steps) for steps in sorted(config.path_steps, reverse=True)),
        *(Piece("noise", steps) for steps in sorted(config.noise_steps, reverse=True)),
        *(Piece("map", beta) for beta in config.map_betas),
        Piece("exponents", config.p_steps),
    ]
    compute = functools.partial(compute_piece, config, text)
    results = sweep(pieces, compute, steps=1, title="trajectories", checkpoint=checkpoint, jobs=jobs)
    dataset = xr.merge([result.drop_attrs() for result in results.values()], join="outer", compat="no_conflicts")
    shown = results[Piece("path", config.shown_steps)].attrs
    costs = {name: shown[name] for name in ("d", "cost_paper", "cost_second")}
    shown_eta = config.path_time / config.shown_steps
    dataset.attrs = {"computed_s": computed_s(results), **costs, "shown_eta": shown_eta, **describe(text)}
    return with_units(dataset, UNITS)


def compute_piece(config: Config, text: Text, piece: Piece, progress: Progress) -> xr.Dataset:
    """One unit of work."""
    result = KINDS[piece.kind](config, text, piece.at)
    progress.tick()
    return result


def _transformer(config: Config, text: Text) -> FlatLoss:
    return problems.transformer(config, text, config.seed, layers=config.layers, heads=config.heads)


def _compared(config: Config, problem: FlatLoss, *, span: float, steps: int, grad: Any = None) -> Compared:
    return compare(grad or problem.grad, problem.start, config.decay, span=span, steps=steps, substeps=config.substeps)


def _squares(compared: Compared, prefix: str) -> xr.Dataset:
    """Means over all weights, step by step: of the squared distance to Adam, and of Adam's to its start."""
    path, step = compared.adam, f"{prefix}_step"
    distances = np.stack([np.square(flow - path).mean(1) for flow in compared.flows.values()])
    values = {f"{prefix}_mse": (("flow", step), distances), f"{prefix}_moved": (step, np.square(path - path[0]).mean(1))}
    return xr.Dataset(values, coords={"flow": list(compared.flows), step: np.arange(len(path))})


def _path(config: Config, text: Text, steps: int) -> xr.Dataset:
    problem = _transformer(config, text)
    compared = _compared(config, problem, span=config.path_time, steps=steps)
    result = _squares(compared, "path").expand_dims(path_eta=[config.path_time / steps])
    if steps == config.shown_steps:
        result = result.merge(_shown(config, problem, compared))
    costs = {f"cost_{flow}": round(compared.seconds[flow] / compared.seconds["adam"], 2) for flow in BOTH}
    return result.assign_attrs(d=len(problem.start), **costs)


def _shown(config: Config, problem: FlatLoss, compared: Compared) -> xr.Dataset:
    """The paths of the randomly chosen weights."""
    chosen = np.sort(np.random.default_rng([config.seed, 2]).choice(len(problem.start), config.weights, replace=False))
    curves = {"adam": compared.adam, **compared.flows}
    values = {
        "shown": (("curve", "shown_step", "weight"), np.stack([path[:, chosen] for path in curves.values()])),
        "name": ("weight", [problem.where(int(i)) for i in chosen]),
        "evaluations": ("curve", _evaluations(config, problem)),
    }
    return xr.Dataset(values, coords={"curve": list(curves)})


def _evaluations(config: Config, problem: FlatLoss) -> list[float]:
    """Gradients a step that Adam and each flow ask for: counted over five steps and over ten, to leave the start out."""
    calls: list[Array] = []

    def counted(theta: Array) -> Array:
        calls.append(theta)
        return problem.grad(theta)

    def count(follow: Callable[..., Array], steps: int) -> int:
        calls.clear()
        follow(counted, problem.start, decay=config.decay, eta=1e-5, steps=steps)
        return len(calls)

    methods: list[Any] = [adam, *(functools.partial(FLOWS[flow], substeps=config.substeps) for flow in BOTH)]
    return [(count(follow, 10) - count(follow, 5)) / 5 for follow in methods]


def _long(config: Config, text: Text, steps: int) -> xr.Dataset:
    problem = _transformer(config, text)
    compared = _compared(config, problem, span=config.long_time, steps=steps)
    at = np.arange(0, steps + 1, max(1, steps // LOSSES))
    losses = [problem.value(theta) for theta in compared.adam[at]]
    return _squares(compared, "long").assign(long_loss=("loss_step", losses)).assign_coords(loss_step=at)


def _noise(config: Config, text: Text, steps: int) -> xr.Dataset:
    """Errors with one batch for all steps, and with a fresh one for every step, the same ones for Adam and the flows."""
    problem = _transformer(config, text)
    fresh = [problem.on(problems.windows(config, text, config.seed, n)).grad for n in range(steps + 1)]
    grads = {"full batch": problem.grad, "minibatches": fresh}
    along = functools.partial(_compared, config, problem, span=config.noise_time, steps=steps)
    errors = [along(grad=grad).errors() for grad in grads.values()]
    dataset = xr.Dataset({"noise_error": (("setting", "flow"), errors)}, {"setting": list(grads), "flow": list(BOTH)})
    return dataset.expand_dims(noise_eta=[config.noise_time / steps])


def _map(config: Config, text: Text, beta: float) -> xr.Dataset:
    """The errors at one beta and every gamma; infinite where a path leaves the finite numbers."""
    problem = problems.perceptron(seed=config.seed)
    errors = np.full((len(config.map_gammas), len(BOTH)), np.inf)
    along = functools.partial(compare, *problem, span=config.map_time, steps=config.map_steps, substeps=2 * config.substeps)
    for i, gamma in enumerate(config.map_gammas):
        with suppress(Diverged):
            errors[i] = along(decay=Decay(beta=beta, gamma=gamma)).errors()
    dataset = xr.Dataset({"map_error": (("gamma", "flow"), errors)}, {"gamma": list(config.map_gammas), "flow": list(BOTH)})
    return dataset.expand_dims(beta=[beta])


def _exponents(config: Config, text: Text, steps: int) -> xr.Dataset:
    """The paper's equation in its own time for every p: how far from Adam, and from the equation that has no p."""
    problem = problems.perceptron(seed=config.seed)
    setting: Any = {"decay": config.decay, "eta": config.p_time / steps, "steps": steps}
    without = adam_flow(problem.grad, problem.start, **setting, order=1, substeps=32)
    discrete = adam(problem.grad, problem.start, **setting)
    paths = [paper_flow_in_time(problem.grad, problem.start, **setting, p=p) for p in config.exponents]
    squares = np.stack([np.square(path - discrete).mean(1) for path in paths])
    values = {"p_mse": (("p", "p_step"), squares), "p_gap": ("p", [distance(path, without) for path in paths])}
    return xr.Dataset(values, coords={"p": list(config.exponents), "p_step": np.arange(steps + 1)})


KINDS: dict[str, Any] = {"path": _path, "long": _long, "noise": _noise, "map": _map, "exponents": _exponents}

TO_ADAM = "mean over all weights of the squared distance to Adam"
OF_ADAM = "mean over all weights of the squared distance of Adam from its start"
OVER_WAY = "largest distance from Adam over the distance that Adam went"

UNITS = {
    "shown": "weight",
    "evaluations": "gradients a step",
    "long_loss": "nats per character",
    **dict.fromkeys(("path_mse", "long_mse", "p_mse"), TO_ADAM),
    **dict.fromkeys(("path_moved", "long_moved"), OF_ADAM),
    **dict.fromkeys(("noise_error", "map_error"), OVER_WAY),
    "p_gap": "largest distance from the equation without p over the distance that it went",
}
