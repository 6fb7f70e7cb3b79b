"""The norm of scale-invariant weights in a transformer: the paper's law, the law with the cross term, and the rotation.

Query, key and hidden weights before a normalisation are scale invariant; that is measured before the run. Members with
five momentum decays, without and with weight decay, train side by side with AdamW (eps = 0), on small and larger fresh
batches and on one fixed batch. At every step the record keeps what the norm laws are made of.

The growth ratio is the growth of |W|^2 after a burn-in, divided by eta^2 times the sum of |u|^2, what the paper's law
predicts without decay; the rotation is the mean angle between W_n and W_{n+1} over the last part of a run with decay.
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from kadam.decay import Decay
from kadam.lab import data, records
from kadam.lab.ensemble import Ensemble
from kadam.lab.models import CharTransformer, initialise, next_token_loss
from kadam.lab.profiles import check_choice, check_counts
from kadam.lab.scale import check_scale_invariant
from kadam.lab.sweep import Tick, computed_s, sweep
from kadam.report.claims import Claim, Finding, Test, judge_all, passes, passes_for, with_range
from kadam.theory import invariance as theory

NOTEBOOK = "05-scale-invariance"

Array = NDArray[np.float64]

WEIGHTS = {"query": "blocks.0.query.weight", "key": "blocks.0.key.weight", "hidden": "blocks.0.up.weight"}
SETTINGS = ("small batches", "larger batches", "one fixed batch")

GAMMAS = (0.0, 0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Config:
    """What this experiment is made of; the defaults are the laptop profile."""

    beta: float = 0.999
    eta: float = 2e-3
    weight_decay: float = 2.0  # of the members that have one: 1/(2 eta lambda) = 125 steps to equilibrium
    start: float = 1e-3  # mean square of the entries at the start: scale-invariant weights may start at any size
    steps: int = 600
    burn_in: int = 200  # steps before growth counts; the momentum of gamma = 0.99 fills in 100
    late: int = 200  # steps at the end over which angles and cosines are averaged
    every: int = 10  # steps between two kept norms
    seeds: int = 3
    small: int = 4  # windows of text in a small batch
    large: int = 16  # in a larger one
    fixed: int = 32  # in the one fixed batch
    context: int = 16
    width: int = 16
    layers: int = 1
    heads: int = 2
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self, "steps", "burn_in", "late", "every", "seeds", "small", "large", "fixed")
        check_counts(self, "context", "width", "layers", "heads")
        check_choice("text", self.text, ("real", "embedded"))
        if max(self.burn_in, self.late) >= self.steps:
            raise ValueError(f"burn_in and late must be below steps = {self.steps}, got {self.burn_in} and {self.late}")


PROFILES = {
    "smoke": Config(
        steps=60,
        burn_in=20,
        late=20,
        seeds=1,
        small=2,
        large=4,
        fixed=4,
        context=8,
        width=8,
        text="embedded",
    ),
    "laptop": Config(),
    "paper": Config(
        steps=10000, burn_in=1000, late=5000, every=200, large=64, fixed=256, context=64, width=128, layers=4, heads=4
    ),
}


load_text = data.configured_text


@records.recorded("invariance", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Train every member in every setting. Dimensions: setting, seed, weight, weight_decay, gamma, and step where kept."""
    text = load_text(config)
    pieces = [f"{setting}-{seed}" for setting in reversed(SETTINGS) for seed in range(config.seeds)]
    compute = functools.partial(train_piece, config, text)
    results = sweep(pieces, compute, steps=config.steps, title="invariance", checkpoint=checkpoint, jobs=jobs)
    by_setting = [
        xr.concat(
            [results[f"{setting}-{seed}"].drop_attrs() for seed in range(config.seeds)],
            xr.Variable("seed", config.seed + np.arange(config.seeds)),
        )
        for setting in SETTINGS
    ]
    dataset = xr.concat(by_setting, xr.Variable("setting", list(SETTINGS))).assign(_predictions(config))
    dataset.attrs = {
        "every": config.every,  # steps between two kept norms
        "computed_s": computed_s(results),
        **data.describe(text),
    }
    return records.with_units(dataset, UNITS)


def train_piece(config: Config, text: data.Text, piece: str, tick: Tick) -> xr.Dataset:
    """All members in one setting with one seed, named setting-seed."""
    setting, repetition = piece.split("-")
    seed = config.seed + int(repetition)
    model = _model(config, text, seed)
    batches = _batches(config, text, seed, setting)
    for name in WEIGHTS.values():
        check_scale_invariant(model, next_token_loss, next(batches), name)
    members = _members(config)
    decays = [(Decay(beta=config.beta, gamma=gamma),) for _, gamma in members]
    _resize(model, config.start)
    ensemble = Ensemble(model, next_token_loss, decays, lr=config.eta, weight_decay=[rate for rate, _ in members])
    traces = {name: Trace.empty(config.steps, len(members)) for name in WEIGHTS}
    for n in range(config.steps):
        before = {path: (ensemble.params[path].flatten(1).clone(), ensemble.updates.get(path)) for path in WEIGHTS.values()}
        ensemble.step(next(batches))
        for name, path in WEIGHTS.items():
            traces[name].record(n, *before[path], ensemble, path)
        tick()
    sizes = [ensemble.updates[path].shape[1] for path in WEIGHTS.values()]
    parts = [trace.summary(config, size) for trace, size in zip(traces.values(), sizes, strict=True)]
    return xr.concat(parts, xr.Variable("weight", list(WEIGHTS)))


@torch.no_grad()
def _resize(model: CharTransformer, mean_square: float) -> None:
    """Give the observed weights this mean square, which changes nothing that the network computes."""
    for name in WEIGHTS.values():
        weight = model.get_parameter(name)
        weight.mul_((mean_square / weight.square().mean()).sqrt())


def _decays(config: Config) -> list[float]:
    return [0.0, config.weight_decay]


def _members(config: Config) -> list[tuple[float, float]]:
    """(weight decay, gamma) of every member."""
    return list(itertools.product(_decays(config), GAMMAS))


def _model(config: Config, text: data.Text, seed: int) -> CharTransformer:
    model = CharTransformer(
        vocab=len(text.vocabulary),
        context=config.context,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        normalised=True,
    ).double()
    initialise(model, seed)
    return model


def _batches(config: Config, text: data.Text, seed: int, setting: str) -> Iterator[torch.Tensor]:
    rng = np.random.default_rng([seed, 1])
    size = dict(zip(SETTINGS, (config.small, config.large, config.fixed), strict=True))[setting]

    def draw() -> torch.Tensor:
        return torch.from_numpy(data.random_windows(text, batch=size, length=config.context + 1, rng=rng))

    batch = draw()
    while True:
        yield batch
        batch = batch if setting == "one fixed batch" else draw()


@dataclass(frozen=True)
class Trace:
    """Products at every step for every member, each of shape (steps, members), in float64."""

    norm: Array  # |W|^2 before the step
    cross: Array  # <W, u>
    square: Array  # |u|^2
    momentum: Array  # <W, m^>
    momentum_square: Array  # |m^|^2
    product: Array  # <u, m^>
    normalised: Array  # |s|^2 with s = g / sqrt(v^)
    carried: Array  # <u, s> with the u of the step before

    @classmethod
    def empty(cls, steps: int, members: int) -> "Trace":
        return cls(*(np.zeros((steps, members)) for _ in fields(cls)))

    def record(self, n: int, w: torch.Tensor, last_u: torch.Tensor | None, ensemble: Ensemble, path: str) -> None:
        """``w``: the weight before the step, ``last_u``: the update of the step before; both (members, size)."""
        u, g = ensemble.updates[path], ensemble.gradients[path]
        m_hat, v_hat = ensemble.corrected_moments(path)
        s = g / v_hat.sqrt()
        before = torch.zeros_like(u) if last_u is None else last_u
        pairs = [(w, w), (w, u), (u, u), (w, m_hat), (m_hat, m_hat), (u, m_hat), (s, s), (before, s)]
        columns = (getattr(self, field.name) for field in fields(self))
        for column, (x, y) in zip(columns, pairs, strict=True):
            column[n] = (x * y).sum(1).numpy()

    def summary(self, config: Config, size: int) -> xr.Dataset:
        """What the record keeps, by weight decay and gamma; members lie in the order of :func:`_members`."""
        runs = [self._run(config, member, size) for member in range(self.norm.shape[1])]
        by_decay = [xr.concat(runs[i : i + len(GAMMAS)], "gamma") for i in range(0, len(runs), len(GAMMAS))]
        return xr.concat(by_decay, "weight_decay").assign_coords(weight_decay=_decays(config), gamma=list(GAMMAS))

    def _run(self, config: Config, member: int, size: int) -> xr.Dataset:
        weight_decay, gamma = _members(config)[member]
        alone = Trace(*(getattr(self, field.name)[:, member] for field in fields(self)))
        return Run(config, weight_decay, gamma, alone).summary(size)


@dataclass(frozen=True)
class Run:
    """One member: its setting, and a trace whose arrays have shape (steps,)."""

    config: Config
    weight_decay: float
    gamma: float
    trace: Trace

    def summary(self, size: int) -> xr.Dataset:
        return xr.Dataset({**self.norms(), **self.growth(), **self.turning(), **self.assumptions(size)})

    @property
    def all_norms(self) -> Array:
        """|W|^2 before every step and after the last, (steps + 1,)."""
        eta, q = self.config.eta, 1 - self.config.eta * self.weight_decay
        end = q**2 * self.trace.norm[-1] - 2 * eta * q * self.trace.cross[-1] + eta**2 * self.trace.square[-1]
        return np.append(self.trace.norm, end)

    def norms(self) -> dict[str, tuple[str, Array]]:
        """|W|^2 and what both laws say of it, every so many steps."""
        setting = {"eta": self.config.eta, "weight_decay": self.weight_decay}
        kept = slice(0, None, self.config.every)
        return {
            "norm": ("step", self.all_norms[kept]),
            "norm_paper": ("step", theory.paper_norm(self.trace.norm[0], self.trace.square, **setting)[kept]),
            "norm_corrected": (
                "step",
                theory.corrected_norm(self.trace.norm[0], self.trace.square, **setting, gamma=self.gamma)[kept],
            ),
        }

    def growth(self) -> dict[str, float]:
        """Growth after the burn-in over what |u|^2 alone would give."""
        late = slice(self.config.burn_in, None)
        grown = self.all_norms[-1] - self.trace.norm[self.config.burn_in]
        return {"growth_ratio": grown / (self.config.eta**2 * self.trace.square[late].sum())}

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
        setting = {"eta": eta, "gamma": self.gamma, "weight_decay": self.weight_decay}
        predicted = theory.momentum_cross(self.trace.product, **setting)
        square, normalised = float(self.trace.square[late].mean()), float(self.trace.normalised[late].mean())
        scale = float(np.sqrt(self.trace.norm * self.trace.momentum_square).max())
        return {
            "momentum_gap": float(np.abs(predicted - self.trace.momentum).max()) / scale,
            "dropped": float(-2 * self.trace.cross[late].mean() / (eta * square)),
            "correlation": float(self.trace.carried[late].mean() / np.sqrt(square * normalised)),
            "update_size": square / size,
            "gradient_size": normalised / size,
        }


def _predictions(config: Config) -> dict[str, tuple[str, list[float]]]:
    """By gamma: the factor between the laws, and the rotation a step at equilibrium of the law and of the paper's."""
    setting = {"eta": config.eta, "weight_decay": config.weight_decay}
    return {
        "factor": ("gamma", [theory.growth_factor(gamma) for gamma in GAMMAS]),
        "rotation_law": ("gamma", [theory.rotation_per_step(**setting, gamma=gamma) for gamma in GAMMAS]),
        "rotation_paper": ("gamma", [theory.rotation_per_step(**setting)] * len(GAMMAS)),
    }


UNITS = {
    "norm": "|W|^2 every so many steps",
    "norm_paper": "the same by the paper's law from |u|^2",
    "norm_corrected": "the same by the law with the cross term",
    "growth_ratio": "growth of |W|^2 over eta^2 sum |u|^2, after the burn-in",
    "factor": "(1 + gamma)/(1 - gamma)",
    "rotation": "radians a step",
    "rotation_law": "radians a step",
    "rotation_paper": "radians a step",
    "cosine": "of W and u",
    "momentum_gap": "largest distance of <W, m^> from its recursion over the largest |W| |m^|",
    "dropped": "the term that A1 drops over the one it keeps",
    "correlation": "of a normalised gradient with the update before it",
    "update_size": "|u|^2 an entry",
    "gradient_size": "|g/sqrt(v)|^2 an entry",
}


USUAL = 0.9  # the gamma at which the paper's claims are judged
PREFIX = "derived here: Scale invariance, "


def _usual(variable: xr.DataArray) -> xr.DataArray:
    """At gamma = 0.9 without decay."""
    return variable.sel(gamma=USUAL, weight_decay=0.0)


def _apart(ratio: xr.DataArray) -> xr.DataArray:
    """|ratio - 1|, mean over seeds."""
    return abs(ratio - 1).mean("seed")


def _paper_growth(dataset: xr.Dataset) -> Finding:
    ratio = _usual(dataset.growth_ratio)
    return f"measured over predicted growth: {with_range(ratio, '.1f')}", passes(bool((np.abs(ratio - 1) <= 0.1).all()))


def _nearly_orthogonal(dataset: xr.Dataset) -> Finding:
    cosine = abs(_usual(dataset.cosine))
    return f"|cosine| {with_range(cosine, '.3f')}", passes(float(cosine.max()) <= 0.15)


def _factor(dataset: xr.Dataset) -> Finding:
    ratio = (dataset.growth_ratio.sel(weight_decay=0.0) / dataset.factor).mean("seed")
    good = float((np.abs(ratio - 1) <= 0.15).mean())
    measured = f"measured over corrected growth: {with_range(ratio)}; {good:.0%} of the cases within 15%"
    return measured, passes_for(good)


def _norms(dataset: xr.Dataset) -> Finding:
    ends = dataset.isel(step=-1)
    corrected, paper = (_apart(ends[name] / ends.norm) for name in ("norm_corrected", "norm_paper"))
    good = float((corrected <= 0.1).mean())
    measured = f"error of |W|^2 at the end: {with_range(corrected)}, the paper's {with_range(paper)}; {good:.0%} within 10%"
    return measured, passes_for(good)


def _rotation(dataset: xr.Dataset) -> Finding:
    ratio = (dataset.rotation.isel(weight_decay=-1) / dataset.rotation_law).mean("seed")
    good = float((np.abs(ratio - 1) <= 0.1).mean())
    measured = f"measured over predicted angle: {with_range(ratio)}; {good:.0%} of the cases within 10%"
    return measured, passes_for(good)


def _momentum(dataset: xr.Dataset) -> Finding:
    gap = float(dataset.momentum_gap.max())
    return f"largest gap {'below 1e-9' if gap < 1e-9 else format(gap, '.0e')}", passes(gap < 1e-9)


TESTS = [
    Test(
        "GT-5a",
        "[G&T] Section 4.2, Eqs. 10-11 as we read them",
        "Without decay |W|^2 of a scale-invariant weight grows by eta^2 |u|^2 a step",
        "growth after the burn-in over eta^2 sum |u|^2 within 10% of 1 at gamma = 0.9, every weight, batch and seed",
        _paper_growth,
    ),
    Test(
        "GT-5b",
        "[G&T] Section 4.2, assumption A1",
        "W and u are nearly orthogonal",
        "mean |cosine| at most 0.15 at gamma = 0.9 without decay, every weight, batch and seed",
        _nearly_orthogonal,
    ),
    Test(
        "D-5c",
        PREFIX + "the factor",
        "It grows (1+gamma)/(1-gamma) times faster than that",
        "measured growth over this within 15%, mean over seeds, for every gamma, weight and batch; three quarters: partly",
        _factor,
    ),
    Test(
        "D-5d",
        PREFIX + "norm law",
        "The law with the cross term predicts |W|^2 at the end of a run from |u|^2",
        "within 10%, mean over seeds, for every gamma, weight decay, weight and batch; three quarters: partly",
        _norms,
    ),
    Test(
        "D-5e",
        PREFIX + "equilibrium",
        "With decay a step turns the weight by arccos((q+gamma)/(1+gamma q))",
        "late mean angle within 10%, mean over seeds, for every gamma, weight and batch; three quarters: partly",
        _rotation,
    ),
    Test(
        "D-5f",
        PREFIX + "exact for Adam itself",
        "<W, m^> follows its recursion exactly",
        "largest gap along every run below 1e-9 of the largest |W| |m^|",
        _momentum,
    ),
]


def claims(dataset: xr.Dataset | None, *, profile: str = "") -> list[Claim]:
    """The verdicts that a record of invariance gives."""
    return judge_all(TESTS, dataset, profile=profile, notebook=NOTEBOOK)
