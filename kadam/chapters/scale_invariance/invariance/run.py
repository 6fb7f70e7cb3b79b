"""The norm of scale-invariant weights in two networks: the paper's law, the law with the cross term, and the rotation.

Query, key and hidden weights of a transformer and convolutions before batch normalisation are scale invariant; that is
measured before the run. Members with five momentum decays and three weight decays train side by side with AdamW (eps = 0), on
small and larger fresh batches and on one fixed batch. The record keeps what the norm laws are made of.

The growth ratio is the growth of |W|^2 after a burn-in, divided by eta^2 times the sum of |u|^2, what the paper's law
predicts without decay; the rotation is the mean angle between W_n and W_{n+1} over the last part of a run with decay.
"""

import functools
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from kadam.chapters.scale_invariance.invariance.config import LAGS, PROFILES, WINDOWS, Config
from kadam.chapters.scale_invariance.watch import Trace, Watch
from kadam.decay import Decay
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.state import Stateful
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.arithmetic import NOTHING, Arithmetic, of_ensembles
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.tasks import Inputs
from kadam.theory import invariance as theory
from kadam.theory.arguments import Array

NETWORKS = ("language", "images")
SETTINGS = ("small batches", "larger batches", "one fixed batch")

GAMMAS = (0.0, 0.5, 0.9, 0.95, 0.99)
PHASES = ("early", "late")  # before and after the burn-in
PARTS = ("start", *theory.NormParts._fields)  # of |W|^2 at the end

# The dimension of a variable besides those by which all are ordered, and its values.
DIMS = dict.fromkeys(("norm", "norm_paper", "norm_corrected"), ("step",))
DIMS |= dict.fromkeys(("moved", "moved_largest"), ("window",))
DIMS |= {"departure": ("phase",), "parts": ("part",), "past_cosine": ("lag",)}
COORDS = {"phase": list(PHASES), "part": list(PARTS), "lag": list(LAGS), "window": list(WINDOWS)}


class Piece(NamedTuple):
    """All members of one network in one setting with one seed."""

    network: str
    setting: str
    seed: int


@recorded("invariance", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Train every member in every setting. Dimensions: setting, seed, weight, weight_decay, gamma; step, lag, window."""
    inputs, seeds = Inputs.of(config.sizes), range(config.seed, config.seed + config.seeds)
    pieces = [Piece(*piece) for piece in itertools.product(NETWORKS, reversed(SETTINGS), seeds)]
    compute = functools.partial(train_piece, config, inputs)
    results = sweep(pieces, compute, steps=config.steps, title="invariance", checkpoint=checkpoint, jobs=jobs)
    parts = [[[results[Piece(n, s, seed)].drop_attrs() for s in SETTINGS] for n in NETWORKS] for seed in seeds]
    dataset = xr.combine_nested(parts, ["seed", "weight", "setting"]).assign_coords(setting=list(SETTINGS), seed=seeds)
    dataset = dataset.assign(_predictions(config))
    dataset.attrs = {"every": config.every, "computed_s": computed_s(results), **inputs.described}
    return with_units(dataset, UNITS)


def plan(config: Config) -> Arithmetic:
    """What a run computes, looks back left out."""
    runs, sizes = config.seeds * len(_members(config)), itertools.product(NETWORKS, _batches(config).values())
    each = itertools.starmap(Inputs.of_no_numbers(config.sizes).size, sizes)
    return sum((of_ensembles(of, runs=runs, steps=config.steps, precision="float64") for of in each), NOTHING)


def _batches(config: Config) -> dict[str, int]:
    """Examples in a batch, by setting."""
    return dict(zip(SETTINGS, (config.small, config.large, config.fixed), strict=True))


def train_piece(config: Config, inputs: Inputs, piece: Piece, progress: Progress) -> xr.Dataset:
    """What is seen of the watched weights of all members of a piece."""
    network, setting, seed = piece
    task = inputs.language(seed) if network == "language" else inputs.classification(seed)
    size = _batches(config)[setting]
    batches = task.batches(np.random.default_rng([seed, 1]), size, fixed=setting == "one fixed batch")
    task.check(task.draw(np.random.default_rng([seed, 2]), size))
    task.resize(config.start)
    members = _members(config)
    decays = [(Decay(beta=config.beta, gamma=gamma),) for _, gamma in members]
    ensemble = Ensemble(task.model, task.loss, decays, lr=config.eta, weight_decay=[rate for rate, _ in members])
    seen = [Seen(config, ensemble, path) for path in task.weights.values()]
    for n in progress.over(config.steps, {"ensemble": ensemble, "batches": batches, "seen": seen}):
        for one in seen:
            one.watch.before()
        ensemble.step(next(batches))
        for one in seen:
            one.after(n)
    return xr.concat([one.summary() for one in seen], xr.Variable("weight", list(task.weights)))


def _members(config: Config) -> list[tuple[float, float]]:
    """(weight decay, gamma) of every member."""
    return list(itertools.product(config.weight_decays, GAMMAS))


class Seen(Stateful):
    """One weight over a run: its products at every step, and from time to time, late in the run, a look back."""

    STATE = ("watch", "past")

    def __init__(self, config: Config, ensemble: Ensemble, path: str) -> None:
        memory, members = max(LAGS + WINDOWS), len(_members(config))
        self.config = config
        self.watch = Watch(ensemble, path, steps=config.steps, members=members, memory=memory)
        self.past: list[tuple[Array, Array, Array]] = []

    def after(self, n: int) -> None:
        self.watch.after(n)
        if self.watch.full and n >= self.config.steps - self.config.late and n % self.config.every == 0:
            self.past.append(self.watch.look_back(n, lr=self.config.eta, lags=LAGS, windows=WINDOWS))

    def summary(self) -> xr.Dataset:
        """What the record keeps, by weight decay and gamma; members lie in the order of :func:`_members`."""
        config, size = self.config, self.watch.weights[-1].shape[1]
        runs = [summarised(config, *pair, self.watch.trace.of(i), size) for i, pair in enumerate(_members(config))]
        by_member = {name: np.stack([np.asarray(run[name]) for run in runs], axis=-1) for name in runs[0]}
        means = (np.mean(looks, axis=0) for looks in zip(*self.past, strict=True))
        by_member |= zip(("past_cosine", "moved", "moved_largest"), means, strict=True)
        by_member["spread"] = self.watch.spread()
        values = {
            name: ((*DIMS.get(name, ()), "weight_decay", "gamma"), x.reshape(*x.shape[:-1], -1, len(GAMMAS)))
            for name, x in by_member.items()
        }
        return xr.Dataset(values, {"weight_decay": list(config.weight_decays), "gamma": list(GAMMAS), **COORDS})


def summarised(config: Config, weight_decay: float, gamma: float, trace: Trace, size: int) -> dict[str, Any]:
    """What the record keeps of one member, from a trace whose arrays have shape (steps,)."""
    eta, q, begin, every = config.eta, 1 - config.eta * weight_decay, config.burn_in, config.every
    setting: Any = {"eta": eta, "weight_decay": weight_decay}
    end = q**2 * trace.norm[-1] - 2 * eta * q * trace.cross[-1] + eta**2 * trace.square[-1]
    norm = np.append(trace.norm, end)  # |W|^2 before every step and after the last, (steps + 1,)
    law = theory.corrected_norm(norm[0], trace.square, **setting, gamma=gamma)
    added = theory.norm_parts(trace.cross, trace.square, trace.inner, **setting, gamma=gamma)
    parts = [q ** (2 * config.steps) * norm[0], *(part[-1] for part in added)]
    grown, grown_by_law = (np.diff(path[[0, begin, config.steps]]) for path in (norm, law))  # before and after the burn-in
    momentum_gap = np.abs(theory.momentum_cross(trace.product, **setting, gamma=gamma) - trace.momentum).max()
    return {
        "norm": norm[::every],
        "norm_paper": theory.paper_norm(norm[0], trace.square, **setting)[::every],
        "norm_corrected": law[::every],
        "parts": np.array(parts) / end,
        "growth_ratio": grown[1] / (eta**2 * trace.square[begin:].sum()),
        "departure": grown / grown_by_law,
        "momentum_gap": momentum_gap / np.sqrt(trace.norm * trace.momentum_square).max(),
        **_late(config, q, norm, trace, size),
    }


def _late(config: Config, q: float, norm: Array, trace: Trace, size: int) -> dict[str, float]:
    """Means over the last part: angles and cosines, the dropped term over the kept one, correlation and sizes."""
    late, eta = slice(-config.late, None), config.eta
    turn = (q * trace.norm - eta * trace.cross) / np.sqrt(norm[:-1] * norm[1:])  # cosine of W_n and W_{n+1}
    square, normalised = trace.square[late].mean(), trace.normalised[late].mean()
    return {
        "rotation": np.arccos(np.minimum(turn, 1.0))[late].mean(),
        "cosine": (trace.cross / np.sqrt(trace.norm * trace.square))[late].mean(),
        "dropped": -2 * trace.cross[late].mean() / (eta * square),
        "correlation": trace.carried[late].mean() / np.sqrt(square * normalised),
        "update_size": square / size,
        "gradient_size": normalised / size,
    }


def _predictions(config: Config) -> dict[str, xr.DataArray]:
    """The factor between the laws, and the rotation a step at equilibrium of the law and of the paper's."""
    rates = {"weight_decay": [rate for rate in config.weight_decays if rate > 0]}
    turns = [functools.partial(theory.rotation_per_step, eta=config.eta, weight_decay=rate) for rate in rates["weight_decay"]]
    law = [[turn(gamma=gamma) for gamma in GAMMAS] for turn in turns]
    return {
        "factor": xr.DataArray([theory.growth_factor(gamma) for gamma in GAMMAS], dims="gamma"),
        "rotation_law": xr.DataArray(law, dims=("weight_decay", "gamma"), coords=rates),
        "rotation_paper": xr.DataArray([turn() for turn in turns], dims="weight_decay", coords=rates),
    }


UNITS = {
    "norm": "|W|^2 every so many steps",
    "norm_paper": "the same by the paper's law from |u|^2",
    "norm_corrected": "the same by the law with the cross term",
    "growth_ratio": "growth of |W|^2 over eta^2 sum |u|^2, after the burn-in",
    "factor": "(1 + gamma)/(1 - gamma)",
    **dict.fromkeys(("rotation", "rotation_law", "rotation_paper"), "radians a step"),
    "cosine": "of W and u",
    "past_cosine": "of W and the gradient of so many steps before",
    "momentum_gap": "largest distance of <W, m^> from its recursion over the largest |W| |m^|",
    "dropped": "the term that A1 drops over the one it keeps",
    "correlation": "of a normalised gradient with the update before it",
    "update_size": "|u|^2 an entry",
    "gradient_size": "|g/sqrt(v)|^2 an entry",
    "departure": "growth of |W|^2 over that of the law with the cross term",
    "parts": "share of |W|^2 at the end",
    "spread": "90th over 10th percentile of sqrt(v^) in the weight",
    "moved": "Euclidean displacement over a window, over the sum of eta |u|",
    "moved_largest": "the same with the largest entry as norm",
}
