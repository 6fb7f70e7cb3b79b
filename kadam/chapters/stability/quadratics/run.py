"""A million runs on quadratics: what moves the boundary of bounded updates, and what only hides it?

A reviewer asked for a map over pairs of decay rates, learning rates and numbers of steps, in which a pair is stable if the
loss ends below a threshold. Here the same runs are also asked the theory's question. Each is Adam on L = theta^2/2, with noise
on the gradient that all runs share, decoupled weight decay and eps. After the last step the gradient falls silent, as that of a
dead unit or a rare token does, and we watch whether the update grows. With eps = 0 Adam does not feel a curvature, and it
treats every coordinate alone, so L stands for every diagonal quadratic.
"""

import functools
import itertools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from kadam.chapters.stability.quadratics.config import BASE, CASES, FACTOR, POWERS, PROFILES, SETTING, VIEWS, Config
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.state import Stateful
from kadam.lab.engine.sweep import computed_s, one_thread, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.theory import stability
from kadam.theory.arguments import Array

Piece = tuple[float, int]  # eps and a band of values of beta; with all gamma and all other settings

IN_BAND = 256  # pairs, about: with all settings of a piece they stay in the cache
TAIL, TAIL_SHARE = 50, 0.1  # values of theta that are kept of the last tenth of a run
ARRIVED = 1e-100  # below it a run that eps draws to zero is at zero: its denormal numbers would only cost time
BLOCK = 64  # steps between two looks at the size of numbers
PAIR = ("beta", "gamma")


class Runs(Stateful):
    """Adam from one start for several settings (rows) and pairs (columns); moments over their weights 1 - gamma and 1 - beta.

    ``eta``, ``start``, ``noise``, ``weight_decay``: one number a row; ``eps``: the same, or one number. ``largest``: |u| so
    far; ``over``: the largest |u_n|/D_n of a pair in any row, n >= 1.
    """

    STATE: ClassVar = ("theta", "m", "v", "powers", "series", "largest", "over")

    def __init__(self, beta: Array, gamma: Array, *, eta: Any, start: Any, noise: Any, weight_decay: Any, eps: Any) -> None:
        columns = (np.reshape(np.asarray(x, dtype=np.float64), (-1, 1)) for x in (eta, noise, eps))
        self.decays = np.stack([beta, gamma])
        self.eta, self.noise, self.eps = columns
        self.keep = 1 - self.eta * np.reshape(weight_decay, (-1, 1))
        self.theta = np.reshape(start, (-1, 1)) * np.ones((self.eta.size, beta.size))
        self.m, self.v, self.largest = np.zeros((3, *self.theta.shape))
        self.powers, self.series, self.over = np.ones_like(self.decays), np.zeros(beta.size), np.zeros(beta.size)
        self._u, self._space = np.empty((2, *self.theta.shape))

    def step(self, n: int, noise: float) -> None:
        """Iteration n = 0, 1, ..., with this realisation of the noise."""
        self._forget()
        gradient = np.add(self.theta, self.noise * noise, out=self._space)
        self.m += gradient
        self.v += np.square(gradient, out=gradient)
        u, lead = self.update(), self._lead()
        self.theta *= self.keep
        self.theta -= np.multiply(self.eta, u, out=self._space)
        np.maximum(self.largest, np.abs(u, out=u), out=self.largest)
        if n:  # at n = 0 both are 1
            np.maximum(self.over, u.max(0) / (lead * np.sqrt(self.series)), out=self.over)
        if n % BLOCK == 0 and self.eps.any():
            at_zero = (np.abs(self.theta) < ARRIVED) & (np.abs(self.m) < ARRIVED)
            for part in (self.theta, self.m, self.v):
                part[at_zero] = 0.0

    def _forget(self) -> None:
        """A step without a gradient; a gradient and its square are still to be added to the moments."""
        beta, gamma = self.decays
        self.m *= gamma
        self.v *= beta
        self.powers *= self.decays
        with np.errstate(over="ignore"):  # outside of the region the bound grows for ever
            self.series *= gamma**2 / beta
        self.series += 1

    def update(self) -> Array:
        """u_n of the moments as they are, in a space that the next call uses again."""
        root = np.sqrt(self.v, out=self._u)
        if self.eps.any():
            root += self.eps * np.sqrt((1 - self.powers[0]) / (1 - self.decays[0]))
        u: Array = np.divide(self.m, root, out=root)
        u *= self._lead()
        return u

    def _lead(self) -> Array:
        """c_n (1 - gamma)/sqrt(1 - beta)."""
        (beta, gamma), (beta_n, gamma_n) = self.decays, self.powers
        return np.sqrt((1 - beta_n) / (1 - beta)) * (1 - gamma) / (1 - gamma_n)

    def grown(self, silences: tuple[int, ...], factor: float) -> Array:
        """Whether |u| has reached ``factor`` times its present size after so many steps of silence, (silences, rows, pairs)."""
        first, found = np.abs(self.update()), []
        peak = first.copy()
        with np.errstate(over="ignore", invalid="ignore"):  # updates that grow for ever; eps that outweighs everything
            for k in range(1, silences[-1] + 1):
                self._forget()
                u = self.update()
                np.fmax(peak, np.abs(u, out=u), out=peak)
                if k in silences:
                    found.append((first > 0) & (peak >= factor * first))
                if k % BLOCK == 0:
                    self._rescale()
        return np.stack(found)

    def _rescale(self) -> None:
        """Multiply the moments of each run, and its eps, by the power of two that brings v near 1: no update changes."""
        half = np.frexp(self.v)[1] // 2
        self.m, self.v, self.eps = np.ldexp(self.m, -half), np.ldexp(self.v, -2 * half), np.ldexp(self.eps, -half)
        self.m[np.abs(self.m) < ARRIVED] = 0.0


@recorded("quadratics", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """All settings, and the theorem on scale. Dimensions: noise, weight_decay, eps, eta; horizon, threshold, silence; side."""
    bands = range(len(_bands(config)))
    compute = functools.partial(train, config)
    pieces = list(itertools.product(config.epsilons, bands))
    results = sweep(pieces, compute, steps=config.horizons[-1], title="quadratics", checkpoint=checkpoint, jobs=jobs)
    nested = [[results[eps, band].drop_attrs() for band in bands] for eps in config.epsilons]
    all_runs = xr.combine_nested(nested, ["eps", "beta"]).assign_coords(eps=list(config.epsilons))
    with one_thread():
        dataset = _summary(config, all_runs).merge(scaled(config))
    count = config.grid**2 * len(config.epsilons) * len(_settings(config))
    data = {"data": "none: quadratics with seeded noise", "data_origin": "none", "data_sha256": ""}
    dataset.attrs = {"computed_s": computed_s(results), "runs": count, **data}
    return with_units(dataset, UNITS)


def pairs(config: Config, betas: Array | None = None) -> tuple[Array, Array]:
    """Every pair with these values of beta, or with all: beta and gamma as two flat arrays."""
    beta, gamma = np.meshgrid(_side(config) if betas is None else betas, _side(config), indexing="ij")
    return beta.ravel(), gamma.ravel()


def _side(config: Config) -> Array:
    return (np.arange(config.grid) + 0.5) / config.grid


def _bands(config: Config) -> list[Array]:
    return np.array_split(_side(config), max(1, config.grid**2 // IN_BAND))


def _settings(config: Config) -> Array:
    """Noise, weight decay and learning rate of each row, (rows, 3)."""
    return np.array(list(itertools.product(config.noises, config.weight_decays, config.rates)))


def _noise(config: Config) -> Array:
    return np.random.default_rng(config.seed).standard_normal(config.horizons[-1])


def train(config: Config, piece: Piece, progress: Progress) -> xr.Dataset:
    """A piece: a band of pairs in all settings, what their losses say on the way, and whether they grow in silence."""
    (eps, band), (noises, decays, rates), last = piece, _settings(config).T, config.horizons[-1]
    betas, noise = _bands(config)[band], _noise(config)
    runs = Runs(*pairs(config, betas), eta=rates, start=config.start, noise=noises, weight_decay=decays, eps=eps)
    kept = np.unique(np.linspace((1 - TAIL_SHARE) * last, last - 1, TAIL).astype(int)).tolist()
    looks = np.zeros((len(config.horizons), len(config.thresholds), *runs.theta.shape), dtype=np.int8)
    tail = np.zeros((len(kept), *runs.theta.shape), dtype=np.float32)
    for n in progress.over(last, {"runs": runs, "looks": looks, "tail": tail}):
        runs.step(n, noise[n])
        if n + 1 in config.horizons:
            looks[config.horizons.index(n + 1)] = runs.theta**2 / 2 <= np.reshape(config.thresholds, (-1, 1, 1))
        if n in kept:
            tail[kept.index(n)] = np.abs(runs.theta) / runs.eta
    grown = runs.grown(config.silences, FACTOR).astype(np.int8)
    return _piece(config, betas, looks=looks, grown=grown, middle=np.median(tail, 0), largest=runs.largest, over=runs.over)


def _piece(config: Config, betas: Array, *, over: Array, **of_runs: Any) -> xr.Dataset:
    """Maps of the pairs of a band, by setting."""
    of = {
        "noise": config.noises,
        "weight_decay": config.weight_decays,
        "eta": config.rates,
        "beta": betas,
        "gamma": _side(config),
    }
    steps = {"horizon": config.horizons, "threshold": config.thresholds, "silence": config.silences}
    leading = {"looks": ("horizon", "threshold"), "grown": ("silence",), "middle": (), "largest": ()}
    sizes = [len(values) for values in of.values()]
    values: dict[str, Any] = {
        name: ((*leading[name], *of), values.reshape(*values.shape[:-2], *sizes)) for name, values in of_runs.items()
    }
    values["over_bound"] = PAIR, over.reshape(sizes[-2:])
    return xr.Dataset(values, coords={name: list(known) for name, known in (of | steps).items()})


def _summary(config: Config, all_runs: xr.Dataset) -> xr.Dataset:
    """What the runs say on each side of the boundary, how the grown pairs differ from the predicted, and some maps."""
    inside, predicted = _inside(config), _predicted(config)
    sides = xr.concat([inside, ~inside], xr.DataArray(["inside", "outside"], dims="side", name="side"))
    views = [all_runs[["looks", "grown"]].sel(BASE | change).drop_vars(SETTING) for change in VIEWS.values()]
    maps = xr.concat(views, xr.DataArray(list(VIEWS), dims="view", name="view"))
    grown = all_runs.grown.astype(bool)
    values = {
        "looks_share": all_runs.looks.where(sides).mean(PAIR).astype(np.float32),
        "distance": all_runs.middle.where(sides).median(PAIR),
        "largest": all_runs.largest.where(sides).max(PAIR),
        "over_bound": all_runs.over_bound.max(PAIR),
        "grown_inside": (grown & inside).sum(PAIR),
        "added": (grown & ~predicted).sum(PAIR),
        "missing": (predicted & ~grown).sum(PAIR),
        "inside": inside.astype(np.int8),
        "predicted": predicted.astype(np.int8),
    }
    return xr.Dataset(values).merge(maps)


def _inside(config: Config) -> xr.DataArray:
    beta, gamma = pairs(config)
    return _map(config, stability.is_stable(beta=beta, gamma=gamma))


def _map(config: Config, of_pairs: Array) -> xr.DataArray:
    side = _side(config)
    return xr.DataArray(of_pairs.reshape(config.grid, config.grid), [("beta", side), ("gamma", side)])


def _predicted(config: Config) -> xr.DataArray:
    """Whether |u| grows by ``FACTOR`` within each silence if eps = 0: whether (c_(n+k)/c_n) (gamma/sqrt(beta))^k does."""
    (beta, gamma), last = pairs(config), config.horizons[-1]
    slope, peak, found = np.log(gamma) - np.log(beta) / 2, np.zeros(beta.size), []
    for k in range(1, config.silences[-1] + 1):
        np.maximum(peak, k * slope + _log_correction(last + k, beta, gamma) - _log_correction(last, beta, gamma), out=peak)
        if k in config.silences:
            found.append(_map(config, peak >= np.log(FACTOR)))
    return xr.concat(found, xr.DataArray(list(config.silences), dims="silence", name="silence"))


def _log_correction(steps: int, beta: Array, gamma: Array) -> Array:
    """log c_n after so many steps, n + 1."""
    return np.log1p(-(beta**steps)) / 2 - np.log1p(-(gamma**steps))


def scaled(config: Config) -> xr.Dataset:
    """Pairs whose run differs in any bit from that at the first learning rate, if all that is measured in it is scaled with it.

    The learning rates are powers of two, so that scaling rounds nothing. Compared are |theta|/eta at each horizon and max |u|.
    """
    differs = np.zeros((len(CASES), len(POWERS)), dtype=np.int64)
    eta, noise, last = 2.0 ** np.array(POWERS), _noise(config), config.horizons[1]
    for case, on in enumerate((0.0, 1.0)):
        scale = {"start": 200 * eta, "noise": 10 * on * eta, "weight_decay": 0.01 * on / eta, "eps": 0.1 * on * eta}
        runs, seen = Runs(*pairs(config), eta=eta, **scale), []
        for n in range(last):
            runs.step(n, noise[n])
            if n + 1 in config.horizons:
                seen.append(runs.theta / runs.eta)
        seen.append(runs.largest)
        differs[case] = np.any([one != one[:1] for one in seen], axis=0).sum(-1)
    return xr.Dataset({"scaled_differs": (("case", "power"), differs)}, coords={"case": list(CASES), "power": list(POWERS)})


UNITS = {
    "looks_share": "share of the pairs on this side of beta = gamma^2 whose loss is at most the threshold",
    "distance": "learning rates: median over pairs of the median of |theta| over the last tenth of the steps",
    "largest": "learning rates: the largest |u| of any pair on this side at any step",
    "over_bound": "the largest |u_n| / D_n of any pair, n >= 1, in any setting with this eps",
    "grown_inside": "pairs inside whose |u| grew by the factor in silence",
    "added": "pairs that grew in silence where the exact rate says they do not",
    "missing": "pairs that did not grow in silence where the exact rate, with eps = 0, says they do",
    "scaled_differs": "pairs whose run differs in any bit from that at the first learning rate",
    "looks": "1 where the loss is at most the threshold",
    "grown": "1 where |u| grew by the factor in silence",
}
