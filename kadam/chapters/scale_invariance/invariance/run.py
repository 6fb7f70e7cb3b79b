"""The norm of scale-invariant weights in two networks: the paper's law, the law with the cross term, and the rotation.

Query, key and hidden weights of a transformer and convolutions before batch normalisation are scale invariant; that is
measured before the run. Members with five momentum decays and three weight decays train side by side with AdamW (eps = 0), on
small and larger fresh batches and on one fixed batch. The record keeps what the norm laws are made of.

The growth ratio is the growth of |W|^2 after a burn-in, divided by eta^2 times the sum of |u|^2, what the paper's law
predicts without decay; the rotation is the mean angle between W_n and W_{n+1} over the last part of a run with decay.
"""

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from kadam.chapters.scale_invariance.invariance.config import LAGS, PROFILES, WINDOWS, Config
from kadam.chapters.scale_invariance.watch import Lookback, Trace, Watch
from kadam.decay import Decay
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.state import Stateful
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.tasks import Inputs
from kadam.theory import invariance as theory

Array = NDArray[np.float64]

NETWORKS = ("language", "images")
SETTINGS = ("small batches", "larger batches", "one fixed batch")

GAMMAS = (0.0, 0.5, 0.9, 0.95, 0.99)
PHASES = ("early", "late")  # before and after the burn-in
PARTS = ("start", *theory.NormParts._fields)  # of |W|^2 at the end

# The dimension of a variable besides those by which all are ordered, and its values.
DIMS = {"norm": "step", "norm_paper": "step", "norm_corrected": "step", "departure": "phase", "parts": "part"}
DIMS |= {"past_cosine": "lag", "moved": "window", "moved_largest": "window"}
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
    dataset.attrs = {
        "every": config.every,  # steps between two kept norms
        "computed_s": computed_s(results),
        **inputs.described,
    }
    return with_units(dataset, UNITS)


def train_piece(config: Config, inputs: Inputs, piece: Piece, progress: Progress) -> xr.Dataset:
    """What is seen of the watched weights of all members of a piece."""
    network, setting, seed = piece
    task = inputs.language(seed) if network == "language" else inputs.classification(seed)
    size = dict(zip(SETTINGS, (config.small, config.large, config.fixed), strict=True))[setting]
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
        members = len(_members(config))
        self.config = config
        self.watch = Watch(ensemble, path, steps=config.steps, members=members, memory=max(LAGS + WINDOWS))
        self.past = Lookback(self.watch, lr=config.eta, lags=LAGS, windows=WINDOWS)

    def after(self, n: int) -> None:
        self.watch.after(n)
        if n >= self.config.steps - self.config.late and n % self.config.every == 0:
            self.past.look(n)

    def summary(self) -> xr.Dataset:
        """What the record keeps, by weight decay and gamma; members lie in the order of :func:`_members`."""
        config, size = self.config, self.watch.weights[-1].shape[1]
        runs = [Run(config, *pair, self.watch.trace.of(i)).summary(size) for i, pair in enumerate(_members(config))]
        by_member = {name: np.stack([np.asarray(run[name]) for run in runs], axis=-1) for name in runs[0]}
        cosines, moved, largest = self.past.means
        by_member |= {"past_cosine": cosines, "moved": moved, "moved_largest": largest, "spread": self.watch.spread()}
        coords = {"weight_decay": list(config.weight_decays), "gamma": list(GAMMAS), **COORDS}
        return xr.Dataset({name: self._by_setting(name, values) for name, values in by_member.items()}, coords)

    def _by_setting(self, name: str, values: Array) -> tuple[tuple[str, ...], Array]:
        """Values of shape (..., members) by weight decay and gamma."""
        first = (DIMS[name],) if name in DIMS else ()
        return (*first, "weight_decay", "gamma"), values.reshape(*values.shape[:-1], -1, len(GAMMAS))


@dataclass(frozen=True)
class Run:
    """One member: its setting, and a trace whose arrays have shape (steps,)."""

    config: Config
    weight_decay: float
    gamma: float
    trace: Trace

    def summary(self, size: int) -> dict[str, Array | float]:
        return {**self.norms(), **self.growth(), **self.turning(), **self.assumptions(size), "parts": self.parts()}

    @property
    def setting(self) -> dict[str, float]:
        return {"eta": self.config.eta, "weight_decay": self.weight_decay}

    @property
    def all_norms(self) -> Array:
        """|W|^2 before every step and after the last, (steps + 1,)."""
        eta, q = self.config.eta, 1 - self.config.eta * self.weight_decay
        end = q**2 * self.trace.norm[-1] - 2 * eta * q * self.trace.cross[-1] + eta**2 * self.trace.square[-1]
        return np.append(self.trace.norm, end)

    @property
    def law(self) -> Array:
        """The same by the law with the cross term."""
        return theory.corrected_norm(self.trace.norm[0], self.trace.square, **self.setting, gamma=self.gamma)

    def norms(self) -> dict[str, Array]:
        """|W|^2 and what both laws say of it, every so many steps."""
        paper = theory.paper_norm(self.trace.norm[0], self.trace.square, **self.setting)
        paths = {"norm": self.all_norms, "norm_paper": paper, "norm_corrected": self.law}
        return {name: path[:: self.config.every] for name, path in paths.items()}

    def parts(self) -> Array:
        """|W|^2 at the end by cause, as shares of it, (parts,)."""
        trace = self.trace
        added = theory.norm_parts(trace.cross, trace.square, trace.inner, **self.setting, gamma=self.gamma)
        start = (1 - self.config.eta * self.weight_decay) ** (2 * len(trace.norm)) * trace.norm[0]
        return np.array([start, *(part[-1] for part in added)]) / self.all_norms[-1]

    def growth(self) -> dict[str, Array | float]:
        """Growth over what |u|^2 alone would give, after the burn-in; and over the law's, before and after it."""
        begin, last = self.config.burn_in, self.config.steps
        measured, law = (np.diff(path[[0, begin, last]]) for path in (self.all_norms, self.law))
        alone = self.config.eta**2 * self.trace.square[begin:].sum()
        return {"growth_ratio": measured[1] / alone, "departure": measured / law}

    def turning(self) -> dict[str, float]:
        """Mean angle of a step, and mean cosine of weight and update, over the last part."""
        late, eta = slice(-self.config.late, None), self.config.eta
        norms = self.all_norms
        inner = (1 - eta * self.weight_decay) * self.trace.norm - eta * self.trace.cross  # <W_n, W_{n+1}>
        cosine = inner / np.sqrt(norms[:-1] * norms[1:])
        return {
            "rotation": float(np.arccos(np.minimum(cosine, 1.0))[late].mean()),
            "cosine": float((self.trace.cross / np.sqrt(self.trace.norm * self.trace.square))[late].mean()),
        }

    def assumptions(self, size: int) -> dict[str, float]:
        """The dropped term over the kept one, what one second moment an entry adds, correlation and sizes."""
        late, eta = slice(-self.config.late, None), self.config.eta
        predicted = theory.momentum_cross(self.trace.product, **self.setting, gamma=self.gamma)
        square, normalised = float(self.trace.square[late].mean()), float(self.trace.normalised[late].mean())
        scale = float(np.sqrt(self.trace.norm * self.trace.momentum_square).max())
        return {
            "momentum_gap": float(np.abs(predicted - self.trace.momentum).max()) / scale,
            "dropped": float(-2 * self.trace.cross[late].mean() / (eta * square)),
            "correlation": float(self.trace.carried[late].mean() / np.sqrt(square * normalised)),
            "update_size": square / size,
            "gradient_size": normalised / size,
        }


def _predictions(config: Config) -> dict[str, xr.DataArray]:
    """The factor between the laws, and the rotation a step at equilibrium of the law and of the paper's."""
    decaying = [rate for rate in config.weight_decays if rate > 0]
    law = [[theory.rotation_per_step(eta=config.eta, weight_decay=rate, gamma=gamma) for gamma in GAMMAS] for rate in decaying]
    paper = [theory.rotation_per_step(eta=config.eta, weight_decay=rate) for rate in decaying]
    rates = {"weight_decay": decaying}
    return {
        "factor": xr.DataArray([theory.growth_factor(gamma) for gamma in GAMMAS], dims="gamma"),
        "rotation_law": xr.DataArray(law, dims=("weight_decay", "gamma"), coords=rates),
        "rotation_paper": xr.DataArray(paper, dims="weight_decay", coords=rates),
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
