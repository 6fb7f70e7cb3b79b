"""What is left of the meta-adaptive effect: does the norm follow the updates' history, and is it a second Adam?

A transformer's scale-invariant weights train with AdamW (eps = 0) at the norm where growth and decay balance. In the middle of
the run gradients change on purpose: the loss is scaled, batches become larger or smaller, or the letters are relabelled. The
norm is compared with what the history of |u|^2, the history of |g/sqrt(v)|^2, or a constant makes of it. From the change on
copies go on beside AdamW whose scale-invariant weights follow another rule on the same batches: the norm dictated, the
direction moved by an explicit second normalisation, one second moment a weight. The angle to AdamW's direction is kept.

Last, a convolutional network without normalisation under 2-Adam with the strategy ``meta`` beside the same network with batch
normalisation under AdamW, at several learning rates.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from kadam.chapters.scale_invariance.products import Trace, Watch
from kadam.chapters.scale_invariance.rules import Constant, Normed, OneSecondMoment, Rule, SecondAdam, obey
from kadam.decay import Decay, stages
from kadam.lab.data.configured import configured_sets
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.state import Stateful
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records import record as records
from kadam.lab.records.profiles import LAPTOP, PAPER, SMOKE, Sizes, check_counts
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.tasks import CHANGES, Inputs, scaled
from kadam.report.ledger import Claim, Finding, Test, judge_all, passes, passes_for, with_range
from kadam.theory import invariance as theory

NOTEBOOK = "05-scale-invariance"

Array = NDArray[np.float64]

HISTORIES = ("|u|^2", "|g/sqrt(v)|^2", "constant")
RULES = ("AdamW", "1% larger", "law's norm", "paper's norm", "constant norm", "2-Adam", "2-Adam, paper's rate", "one v")
MOMENTS = {"one an entry": "AdamW", "one a weight": "one v"}
NETWORKS = ("normalised, Adam", "plain, Adam", "plain, 2-Adam")


@dataclass(frozen=True)
class Config:
    """What this experiment is made of; the defaults are the laptop profile."""

    beta: float = 0.999
    gamma: float = 0.9
    eta: float = 2e-3
    weight_decay: float = 4.0  # 1/(2 eta lambda) = 62 steps: the norm's memory
    steps: int = 400
    change: int = 200  # the step before which gradients change
    around: int = 50  # steps before the change, and at the end, over which sizes are averaged
    horizon: int = 30  # steps after the change at which directions are compared: half a memory of the norm
    every: int = 10  # steps between two kept values
    seeds: int = 3
    small: int = 4  # windows of text in a small batch
    large: int = 12  # in a larger one
    rates: tuple[float, ...] = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)  # learning rates of the convolutional networks
    image_decay: float = 0.5  # their weight decay
    batch: int = 16  # images
    sizes: Sizes = LAPTOP
    seed: int = 10  # the criteria below were chosen on seeds 0 to 2

    def __post_init__(self) -> None:
        check_counts(self, "steps", "change", "around", "horizon", "every", "seeds", "small", "large", "batch")
        if not self.around < self.change < self.steps - self.around:
            raise ValueError(
                f"change must lie between around and steps - around, got {self.change}, {self.around}, {self.steps}"
            )
        if self.horizon > self.steps - self.change:
            raise ValueError(f"horizon must be at most steps - change = {self.steps - self.change}, got {self.horizon}")

    @property
    def start(self) -> float:
        """Mean square of the entries at the start: there growth and decay balance if |g/sqrt(v)|^2 is 1 an entry."""
        return self.eta / (2 * self.weight_decay)


PROFILES = {
    "smoke": Config(
        steps=40,
        change=20,
        around=5,
        horizon=15,
        every=5,
        sizes=SMOKE,
        seeds=1,
        small=2,
        large=4,
        rates=(1e-3, 4e-3),
        batch=8,
    ),
    "laptop": Config(),
    "paper": Config(
        sizes=PAPER,
        steps=10000,
        change=5000,
        around=500,
        horizon=250,
        every=100,
        weight_decay=0.5,
        small=16,
        large=64,
        batch=64,
    ),
}


load_data = configured_sets


@records.recorded("meta", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every change and every network with every seed. Dimensions: change, seed, weight, history, rule, step; network, rate."""
    inputs = Inputs.of(config.sizes)
    pieces = [f"{kind}-{seed}" for kind in (*CHANGES, *NETWORKS) for seed in range(config.seeds)]
    compute = functools.partial(compute_piece, config, inputs)
    results = sweep(pieces, compute, steps=config.steps, title="meta", checkpoint=checkpoint, jobs=jobs)
    dataset = xr.merge([_over(results, config, "change", CHANGES), _over(results, config, "network", NETWORKS)])
    dataset.attrs = {
        **{name: getattr(config, name) for name in ("every", "change", "horizon")},  # in steps
        "computed_s": computed_s(results),
        **inputs.described,
    }
    return records.with_units(dataset, UNITS)


def _over(results: dict[str, xr.Dataset], config: Config, name: str, kinds: tuple[str, ...]) -> xr.Dataset:
    seeds = xr.Variable("seed", config.seed + np.arange(config.seeds))
    parts = [xr.concat([results[f"{kind}-{i}"].drop_attrs() for i in range(config.seeds)], seeds) for kind in kinds]
    return xr.concat(parts, xr.Variable(name, list(kinds)))


def compute_piece(config: Config, inputs: Inputs, piece: str, progress: Progress) -> xr.Dataset:
    """One change, or one convolutional network, with one seed: named kind-seed."""
    kind, _, repetition = piece.rpartition("-")
    seed = config.seed + int(repetition)
    if kind in NETWORKS:
        return train_network(config, inputs, kind, seed, progress)
    return train_changed(config, inputs, kind, seed, progress)


def train_changed(config: Config, inputs: Inputs, change: str, seed: int, progress: Progress) -> xr.Dataset:
    """AdamW and the other rules side by side, through one change."""
    task = inputs.language(seed)
    task.check(task.draw(np.random.default_rng([seed, 2]), config.large))
    task.resize(config.start)
    decays, loss = [(Decay(beta=config.beta, gamma=config.gamma),)], functools.partial(scaled, task.loss)
    ensemble = Ensemble(task.model, loss, decays, lr=config.eta, weight_decay=[config.weight_decay])
    companies = [Company(config, Watch(ensemble, path, steps=config.steps, members=1)) for path in task.weights.values()]
    losses = np.zeros(len(RULES))
    batches = inputs.changing(change, seed, at=config.change, small=config.small, large=config.large)
    state = {"ensemble": ensemble, "batches": batches, "companies": companies, "losses": losses}
    for n in progress.over(config.steps, state):
        if n == config.change:
            ensemble.spread(len(RULES))
        for company in companies:
            company.before(n)
        scale, batch = next(batches)
        losses += ensemble.step((scale, batch)).numpy(force=True) / float(scale) * (n >= config.steps - config.around)
        for company in companies:
            company.after(n)
    weights = xr.concat([company.summary() for company in companies], xr.Variable("weight", list(task.weights)))
    return weights.assign(loss=("rule", losses / config.around)).assign_coords(rule=list(RULES))


class Company(Stateful):
    """One weight: AdamW's until the change, from there on under every rule side by side."""

    STATE = ("watch", "squares", "start", "sizes", "angles", "rules")

    def __init__(self, config: Config, watch: Watch) -> None:
        self.config, self.watch = config, watch
        self.memory = (1 - config.eta * config.weight_decay) ** 2  # of the norm, a step
        # the moving average of u^2 with this memory, (size,)
        self.squares = torch.zeros((), device=watch.ensemble.params[watch.path].device)
        self.start = self.squares  # the weight at the change, (size,)
        self.sizes: list[Array] = []  # since the change: |W|^2 after the step and |u|^2, each of (rules,); (2, rules)
        self.rules: dict[int, Rule] = {}
        self.angles: list[Array] = []  # each (rules,); the first is AdamW's angle to where it was at the change

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["start"].dim():  # the change has come: the rules are there, and are told below how far they are
            self.rules = self._rules(self._law(1.0), 1.0)
        super().load_state_dict(state)

    def before(self, n: int) -> None:
        if n == self.config.change:
            self._start()
        self.watch.before()

    def _start(self) -> None:
        rows = self.watch.ensemble.params[self.watch.path].flatten(1)
        self.start = rows[0].clone()
        _, v = self.watch.ensemble.corrected_moments(self.watch.path)
        self.rules = self._rules(self._law(float(self.start @ self.start)), float(v[0].mean()))
        rows[RULES.index("1% larger")] *= 1.01

    def _law(self, square: float) -> theory.NormLaw:
        """The law with the cross term from here: |W|^2 as it is, <W, u> as the updates so far have made it."""
        config, trace = self.config, self.watch.trace
        law = theory.NormLaw(square, eta=config.eta, gamma=config.gamma, weight_decay=config.weight_decay)
        for past in trace.square[: config.change, 0]:
            law.advance(past)
        law.norm = square
        return law

    def _rules(self, law: theory.NormLaw, v: float) -> dict[int, Rule]:
        """The rule of every member that has one; ``law``: at |W|^2 as it is now, ``v``: the mean of v^ over the weight."""
        config, square = self.config, law.norm
        setting = {"eta": config.eta, "weight_decay": config.weight_decay}
        rules: dict[str, Rule] = {
            "law's norm": Normed(law),
            "paper's norm": Normed(theory.NormLaw(square, **setting, gamma=0.0)),
            "constant norm": Normed(Constant(square)),
            "one v": OneSecondMoment(v=v, beta=config.beta, **setting),
        }
        history = self.squares / (1 - self.memory**config.change)
        for name, gamma in {"2-Adam": config.gamma, "2-Adam, paper's rate": 0.0}.items():
            rate = config.eta / theory.equilibrium_norm(1.0, **setting, gamma=gamma) ** 0.5  # eta |u| / |W| at equilibrium
            rules[name] = SecondAdam(beta=self.memory, rate=rate, v=history)
        return {RULES.index(name): rule for name, rule in rules.items()}

    def after(self, n: int) -> None:
        if n < self.config.change:
            new = self.watch.ensemble.updates[self.watch.path][0].square()
            self.squares = self.memory * self.squares + (1 - self.memory) * new
        else:
            obey(self.watch.ensemble, self.watch.path, self.watch.weights[-1], self.rules)
            rows, updates = self.watch.ensemble.params[self.watch.path].flatten(1), self.watch.ensemble.updates[self.watch.path]
            self.sizes.append(torch.stack([rows.square().sum(1), updates.square().sum(1)]).numpy(force=True))
            others = torch.cat([self.start[None], rows[1:]])
            self.angles.append(torch.arccos(torch.cosine_similarity(rows[:1], others, dim=1).clamp(max=1)).numpy(force=True))
        self.watch.after(n)

    def law_error(self, rule: str) -> float:
        """Root mean square of log(law/measured) of |W|^2 since the change, by the law from the member's own |u|^2."""
        member = np.stack(self.sizes)[:, :, RULES.index(rule)]
        law = self._law(float(self.start @ self.start))
        return _root_mean_square(np.log([law.advance(square) / norm for norm, square in member]))

    def summary(self) -> xr.Dataset:
        config, trace = self.config, self.watch.trace.of(0)
        kept, after = slice(0, None, config.every), slice(config.change, None)
        predicted = _predicted(config, trace)
        apart = {name: np.log(path[after] / trace.norm[after]) for name, path in predicted.items()}
        size = self.watch.weights[-1].shape[1]
        values = {
            "norm": ("step", trace.norm[kept]),
            "update_size": ("step", trace.square[kept] / size),
            "norm_predicted": (("history", "step"), np.stack([path[kept] for path in predicted.values()])),
            "history_error": ("history", [_root_mean_square(gap) for gap in apart.values()]),
            "norm_change": _change(config, trace.norm),
            "size_change": _change(config, trace.square),
            "angle": (("rule", "since"), np.stack(self.angles)[kept].T),
            "angle_at_horizon": ("rule", self.angles[config.horizon - 1]),
            "law_error": ("moments", [self.law_error(rule) for rule in MOMENTS.values()]),
        }
        return xr.Dataset(values, coords={"history": list(HISTORIES), "moments": list(MOMENTS)})


def _predicted(config: Config, trace: Trace) -> dict[str, Array]:
    """|W|^2 before every step by the history of |u|^2, by that of |g/sqrt(v)|^2, and with |u|^2 constant after the change."""
    setting, start = {"eta": config.eta, "weight_decay": config.weight_decay}, trace.norm[0]
    constant = trace.square.copy()
    constant[config.change :] = constant[config.change - config.around : config.change].mean()
    paths = [
        theory.corrected_norm(start, trace.square, **setting, gamma=config.gamma),
        theory.corrected_norm(start, trace.normalised, **setting, gamma=0.0),
        theory.corrected_norm(start, constant, **setting, gamma=config.gamma),
    ]
    return {name: path[:-1] for name, path in zip(HISTORIES, paths, strict=True)}


def _change(config: Config, values: Array) -> float:
    """The logarithm of the mean at the end over the mean before the change."""
    before = values[config.change - config.around : config.change].mean()
    return float(np.log(values[-config.around :].mean() / before))


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def train_network(config: Config, inputs: Inputs, network: str, seed: int, progress: Progress) -> xr.Dataset:
    """A convolutional network at every learning rate; the loss is the mean over the last quarter, NaN if it diverged."""
    task = inputs.classification(seed, normalised=network.startswith("normalised"))
    k = 2 if network.endswith("2-Adam") else 1
    decays = [stages(Decay(beta=config.beta, gamma=config.gamma), k, "meta")] * len(config.rates)
    decay = [config.image_decay] * len(config.rates)
    ensemble = Ensemble(task.model, task.loss, decays, lr=config.rates, weight_decay=decay)
    batches = task.batches(np.random.default_rng([seed, 1]), config.batch)
    losses = np.zeros((config.steps, len(config.rates)))
    for n in progress.over(config.steps, {"ensemble": ensemble, "batches": batches, "losses": losses}):
        losses[n] = ensemble.step(next(batches)).numpy(force=True)
    sizes = torch.stack([u.square().mean(1) for u in ensemble.updates.values()]).mean(0).sqrt()
    late = losses[-(config.steps // 4) :].mean(0)
    values = {"network_loss": ("rate", late), "network_update": ("rate", sizes.numpy(force=True))}
    return xr.Dataset(values, coords={"rate": list(config.rates)})


UNITS = {
    "norm": "|W|^2 before every so many steps, AdamW",
    "norm_predicted": "the same from a history",
    "update_size": "|u|^2 an entry",
    "history_error": "root mean square of log(predicted/measured) of |W|^2 after the change",
    "norm_change": "log of late |W|^2 over that before the change",
    "size_change": "log of late |u|^2 over that before the change",
    "angle": "radians to AdamW's direction; of AdamW itself to where it was at the change",
    "angle_at_horizon": "the same so many steps after the change",
    "law_error": "root mean square of log(law/measured) of |W|^2 since the change",
    "loss": "nats a character, late in training, unscaled",
    "network_loss": "nats an image, mean over the last quarter of training",
    "network_update": "root mean square of the last update",
}


FOLLOWS = 0.25  # of the constant's error: a history predicts the norm
STILL = 0.1  # of log |W|^2: the norm is that of a constant |u|^2
CLOSE = 0.25  # of the angle that AdamW turned since the change: a rule moves the direction as AdamW does
CALM = 0.125  # the same for a weight made 1% larger: beyond, training is chaotic, and directions cannot be compared
PREFIX = "derived here: Scale invariance, "


def _history(dataset: xr.Dataset, name: str) -> Finding:
    error = dataset.history_error.mean("seed")
    one, constant = (error.sel(history=history) for history in (name, "constant"))
    good = float((one <= FOLLOWS * constant).mean())
    measured = (
        f"error {with_range(one)}, the constant's {with_range(constant)}; {good:.0%} of the cases at most {FOLLOWS} of it"
    )
    return measured, passes_for(good)


def _constant(dataset: xr.Dataset) -> Finding:
    error = dataset.history_error.sel(history="constant", change="none").mean("seed")
    return f"error {with_range(error)}", passes(float(error.max()) <= STILL)


def angles(dataset: xr.Dataset) -> xr.DataArray:
    """The angle of every rule to AdamW's direction at the horizon over the angle that AdamW turned, mean over seeds."""
    final = dataset.angle_at_horizon
    return (final / final.sel(rule="AdamW")).drop_sel(rule="AdamW").mean("seed")


def _close(dataset: xr.Dataset, rule: str) -> Finding:
    ratio = angles(dataset)
    calm = ratio.sel(rule="1% larger") <= CALM
    if not calm.any():
        return "training is too chaotic to compare directions", "not run at this profile"
    judged = ratio.sel(rule=rule).where(calm)
    good = float((judged <= CLOSE).sum() / calm.sum())
    measured = f"angle over AdamW's own turn {with_range(judged)}; {good:.0%} of {int(calm.sum())} calm cases at most {CLOSE}"
    return measured, passes_for(good)


def best_losses(dataset: xr.Dataset) -> xr.DataArray:
    """By network and seed: the loss at the learning rate where the mean over seeds is lowest."""
    best = dataset.network_loss.mean("seed", skipna=False).fillna(np.inf).argmin("rate")
    return dataset.network_loss.isel(rate=best)


def _without_normalisation(dataset: xr.Dataset) -> Finding:
    best = best_losses(dataset)
    normalised, plain, second = (best.sel(network=name) for name in NETWORKS)
    closed = (plain - second) / (plain - normalised)
    losses = ", ".join(f"{float(loss.mean()):.3f}" for loss in (normalised, plain, second))
    measured = f"best loss {losses} (normalised, plain, plain with 2-Adam); share of the gap closed {with_range(closed)}"
    gap = float(plain.mean() - normalised.mean())
    return measured, passes(abs(float(second.mean() - normalised.mean())) <= gap / 2)


FOUR_TWO = "[G&T] Section 4.2 as we read it"

EVERYWHERE = "mean over seeds, every change and weight; three quarters: partly"
ANGLE = (
    f"angle between both, half a memory of the norm after the change, at most {CLOSE} of what AdamW turned, {EVERYWHERE}; "
    f"judged where a weight 1% larger stays within {CALM}"
)
HISTORY = f"root mean square error of log |W|^2 after the change at most {FOLLOWS} of a constant |u|^2's, {EVERYWHERE}"

TESTS = [
    Test(
        "GT-5i",
        FOUR_TWO,
        "|W|^2 follows the history of |u|^2 (by the law with the cross term), also when gradients change on purpose",
        HISTORY,
        functools.partial(_history, name="|u|^2"),
    ),
    Test(
        "D-5j",
        PREFIX + "what of the second normalisation",
        "|W|^2 follows the history of |g/sqrt(v)|^2 as well",
        HISTORY,
        functools.partial(_history, name="|g/sqrt(v)|^2"),
    ),
    Test(
        "D-5k",
        PREFIX + "what of the second normalisation",
        "Where nothing changes on purpose, |u|^2 is constant enough to predict |W|^2",
        f"root mean square error of log |W|^2 with a constant |u|^2 at most {STILL} without a change, every weight",
        _constant,
    ),
    Test(
        "GT-5l",
        FOUR_TWO,
        "A scale-invariant weight's direction moves as under 2-Adam with gamma_2 = 0, at the rate of the paper's law",
        ANGLE,
        functools.partial(_close, rule="2-Adam, paper's rate"),
    ),
    Test(
        "D-5m",
        PREFIX + "what of the second normalisation",
        "The direction moves as under 2-Adam with gamma_2 = 0, at the rate of the law with the cross term",
        ANGLE,
        functools.partial(_close, rule="2-Adam"),
    ),
    Test(
        "D-5n",
        PREFIX + "norm law",
        "The direction moves as with the norm that the law with the cross term makes of |u|^2",
        ANGLE,
        functools.partial(_close, rule="law's norm"),
    ),
    Test(
        "GT-5o",
        "[G&T] Section 4.2, assumption A2",
        "The direction moves as under Adam with one second moment for the whole weight",
        ANGLE,
        functools.partial(_close, rule="one v"),
    ),
    Test(
        "GT-5p",
        FOUR_TWO + ", what would follow",
        "A second Adam (strategy meta) gives a network without normalisation what normalisation gives",
        "at tuned learning rates, 2-Adam closes at least half of the gap between plain and normalised, mean over seeds",
        _without_normalisation,
    ),
]


def claims(dataset: xr.Dataset | None, *, profile: str = "") -> list[Claim]:
    """The verdicts that a record of meta gives."""
    return judge_all(TESTS, dataset, profile=profile, notebook=NOTEBOOK)
