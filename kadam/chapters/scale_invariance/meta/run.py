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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from kadam.chapters.scale_invariance.meta.config import CHANGES, NETWORKS, PROFILES, Config
from kadam.chapters.scale_invariance.rules import Constant, Normed, OneSecondMoment, Rule, SecondAdam, obey
from kadam.chapters.scale_invariance.watch import Trace, Watch
from kadam.decay import Decay, stages
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.state import Stateful
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.profiles import check_choice
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.arithmetic import NOTHING, Arithmetic, of_ensembles
from kadam.lab.train.ensemble import Ensemble, Loss
from kadam.lab.train.tasks import Inputs
from kadam.theory import invariance as theory
from kadam.theory.arguments import Array

HISTORIES = ("|u|^2", "|g/sqrt(v)|^2", "constant")
RULES = ("AdamW", "1% larger", "law's norm", "paper's norm", "constant norm", "2-Adam", "2-Adam, paper's rate", "one v")
MOMENTS = {"one an entry": "AdamW", "one a weight": "one v"}


class Piece(NamedTuple):
    """One of ``CHANGES``, or one of ``NETWORKS``, with one seed."""

    kind: str
    seed: int


@recorded("meta", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every change and every network with every seed. Dimensions: change, seed, weight, history, rule, step; network, rate."""
    inputs, seeds = Inputs.of(config.sizes), range(config.seed, config.seed + config.seeds)
    pieces = [Piece(kind, seed) for kind in (*CHANGES, *NETWORKS) for seed in seeds]
    compute = functools.partial(compute_piece, config, inputs)
    results = sweep(pieces, compute, steps=config.steps, title="meta", checkpoint=checkpoint, jobs=jobs)

    def over(name: str, kinds: Iterable[str]) -> xr.Dataset:
        parts = [[results[Piece(kind, seed)].drop_attrs() for kind in kinds] for seed in seeds]
        return xr.combine_nested(parts, ["seed", name]).assign_coords({name: list(kinds), "seed": seeds})

    dataset = xr.merge([over("change", CHANGES), over("network", NETWORKS)])
    in_steps = {name: getattr(config, name) for name in ("every", "change", "horizon")}
    dataset.attrs = {**in_steps, "computed_s": computed_s(results), **inputs.described}
    return with_units(dataset, UNITS)


def plan(config: Config) -> Arithmetic:
    """What a run computes; what goes on from a change on under a rule is a run of its own."""
    inputs = Inputs.of_no_numbers(config.sizes)
    phases = (config.seeds, config.change), (config.seeds * len(RULES), config.steps - config.change)
    parts = [
        of_ensembles(inputs.size("language", batch), runs=runs, steps=steps, precision="float64")
        for change in CHANGES
        for batch, (runs, steps) in zip(_batches(change, config.small, config.large), phases, strict=True)
    ]
    of, how = inputs.size("images", config.batch), {"runs": config.seeds * len(config.rates), "steps": config.steps}
    return sum(parts + [of_ensembles(of, **how, precision="float64", k=k) for k in NETWORKS.values()], NOTHING)


def compute_piece(config: Config, inputs: Inputs, piece: Piece, progress: Progress) -> xr.Dataset:
    """What a record holds of one piece."""
    train = train_network if piece.kind in NETWORKS else train_changed
    return train(config, inputs, *piece, progress)


def train_changed(config: Config, inputs: Inputs, change: str, seed: int, progress: Progress) -> xr.Dataset:
    """AdamW and the other rules side by side, through one change."""
    task = inputs.language(seed)
    task.check(task.draw(np.random.default_rng([seed, 2]), config.large))
    task.resize(config.start)
    decays, loss = [(Decay(beta=config.beta, gamma=config.gamma),)], functools.partial(scaled, task.loss)
    ensemble = Ensemble(task.model, loss, decays, lr=config.eta, weight_decay=[config.weight_decay])
    companies = [Company(config, Watch(ensemble, path, steps=config.steps, members=1)) for path in task.weights.values()]
    losses = np.zeros(len(RULES))
    batches = Changing(inputs, change, seed, at=config.change, small=config.small, large=config.large)
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


def _batches(change: str, small: int, large: int) -> tuple[int, int]:
    """Windows in a batch before the change, and from then on."""
    first = large if change == "smaller batches" else small
    return first, {"larger batches": large, "smaller batches": small}.get(change, first)


class Changing(Stateful, Iterator[tuple[Tensor, Tensor]]):
    """For every step the loss's scale and a batch of ``small`` or ``large`` windows, with one of ``CHANGES`` at step ``at``."""

    STATE = ("rng", "n")

    def __init__(self, inputs: Inputs, change: str, seed: int, *, at: int, small: int, large: int) -> None:
        check_choice("change", change, CHANGES)
        self.windows, self.at = inputs.windows, at
        self.rng, self.n = np.random.default_rng([seed, 1]), 0
        self.sizes = _batches(change, small, large)
        self.scales = (1.0, {"loss x 10": 10.0, "loss / 10": 0.1}.get(change, 1.0))
        order = np.random.default_rng([seed, 3]).permutation(len(inputs.text.vocabulary))
        self.letters = torch.from_numpy(order).to(inputs.device) if change == "other letters" else None

    def __next__(self) -> tuple[Tensor, Tensor]:
        changed = int(self.n >= self.at)
        self.n += 1
        windows = self.windows(self.rng, self.sizes[changed])
        relabelled = windows if self.letters is None or not changed else self.letters[windows]
        return torch.tensor(self.scales[changed]), relabelled


def scaled(loss: Loss, model: nn.Module, batch: tuple[Tensor, Any]) -> Tensor:
    """The loss on what :class:`Changing` draws."""
    scale, rest = batch
    return scale * loss(model, rest)


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
            rows = self.watch.ensemble.params[self.watch.path].flatten(1)
            self.start = rows[0].clone()
            _, v = self.watch.ensemble.corrected_moments(self.watch.path)
            self.rules = self._rules(self._law(float(self.start @ self.start)), float(v[0].mean()))
            rows[RULES.index("1% larger")] *= 1.01
        self.watch.before()

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
        predicted, size = _predicted(config, trace), self.watch.weights[-1].shape[1]
        values = {
            "norm": ("step", trace.norm[kept]),
            "update_size": ("step", trace.square[kept] / size),
            "norm_predicted": (("history", "step"), predicted[:, kept]),
            "history_error": ("history", [_root_mean_square(np.log(path[after] / trace.norm[after])) for path in predicted]),
            "norm_change": _change(config, trace.norm),
            "size_change": _change(config, trace.square),
            "angle": (("rule", "since"), np.stack(self.angles)[kept].T),
            "angle_at_horizon": ("rule", self.angles[config.horizon - 1]),
            "law_error": ("moments", [self.law_error(rule) for rule in MOMENTS.values()]),
        }
        return xr.Dataset(values, coords={"history": list(HISTORIES), "moments": list(MOMENTS)})


def _predicted(config: Config, trace: Trace) -> Array:
    """|W|^2 before every step by each of ``HISTORIES``: of |u|^2, of |g/sqrt(v)|^2, and |u|^2 constant since the change."""
    constant = trace.square.copy()
    constant[config.change :] = constant[config.change - config.around : config.change].mean()
    law = functools.partial(theory.corrected_norm, trace.norm[0], eta=config.eta, weight_decay=config.weight_decay)
    histories = (trace.square, config.gamma), (trace.normalised, 0.0), (constant, config.gamma)
    return np.stack([law(squares, gamma=gamma)[:-1] for squares, gamma in histories])


def _change(config: Config, values: Array) -> float:
    """The logarithm of the mean at the end over the mean before the change."""
    return float(np.log(values[-config.around :].mean() / values[config.change - config.around : config.change].mean()))


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def train_network(config: Config, inputs: Inputs, network: str, seed: int, progress: Progress) -> xr.Dataset:
    """A convolutional network at every learning rate; the loss is the mean over the last quarter, NaN if it diverged."""
    task = inputs.classification(seed, normalised=network.startswith("normalised"))
    members, decays = len(config.rates), stages(Decay(beta=config.beta, gamma=config.gamma), NETWORKS[network], "meta")
    ensemble = Ensemble(task.model, task.loss, [decays] * members, lr=config.rates, weight_decay=[config.image_decay] * members)
    batches = task.batches(np.random.default_rng([seed, 1]), config.batch)
    losses: list[Tensor] = []  # on the device, which no step waits for
    for _ in progress.over(config.steps, {"ensemble": ensemble, "batches": batches, "losses": losses}):
        losses.append(ensemble.step(next(batches)))
    sizes = torch.stack([u.square().mean(1) for u in ensemble.updates.values()]).mean(0).sqrt()
    late = torch.stack(losses[-(config.steps // 4) :]).numpy(force=True).mean(0)
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
    "law_error": "root mean square of log(law/measured) of |W|^2 from the change on",
    "loss": "nats a character, late in training, unscaled",
    "network_loss": "nats an image, mean over the last quarter of training",
    "network_update": "root mean square of the last update",
}
