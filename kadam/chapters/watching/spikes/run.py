"""What makes the loss jump: updates that grow in silence, or bursts? Excesses undone at every step, and cut from training.

A character transformer learns from so few windows a step that rows of rare characters are silent in most steps. The excess of
an update by *silence* is how far it lies beyond its size at the last step whose gradient was not faint; that by a *burst*, how
far it lies beyond 1 at a step whose gradient is not faint. Three runs see the same batches: one as Adam makes it, and one from
whose updates each of the excesses is cut. Along the first, the loss of every batch is also computed at the weights without the
excesses of the latest steps, and as a control with these at random signs.

Beside it stands a constructed run whose loss jumps by silence for certain: a weight that has one gradient and then none.
"""

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from kadam.chapters.watching.series import FINENESS, coded
from kadam.chapters.watching.spikes.config import CONTROL, EXCESSES, PROFILES, SITUATIONS, UNCUT, Config
from kadam.decay import Decay
from kadam.lab.data.sources import Text, configured_text, describe
from kadam.lab.data.upload import uploaded
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.state import Stateful
from kadam.lab.engine.sweep import captured, computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import devices
from kadam.lab.train.arithmetic import Arithmetic, of_ensembles
from kadam.lab.train.ensemble import Ensemble, member_losses
from kadam.lab.train.networks import next_token_loss
from kadam.lab.train.replay import Replay
from kadam.lab.train.tasks import character_model, character_size, text_batches
from kadam.theory import stability

# A gradient below this share of the root of its second moment is faint: of the update it makes no more than that share.
FAINT = 0.1

EPS = 1e-8
CUTS = (UNCUT, *EXCESSES)
UNDONE = (*EXCESSES, CONTROL)


@recorded("spikes", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Train every situation with every seed. Dimensions: situation, cut or undone, seed, step; silence."""
    text = configured_text(config)
    seeds, compute = range(config.seed, config.seed + config.seeds), functools.partial(train, config, text)
    results = sweep([(seed,) for seed in seeds], compute, steps=config.steps, title="spikes", checkpoint=checkpoint, jobs=jobs)
    dataset = xr.concat([results[(seed,)].drop_attrs() for seed in seeds], xr.Variable("seed", list(seeds)))
    dataset = dataset.merge(constructed(config))
    dataset.attrs = {"settle": config.settle, "fineness": FINENESS, "computed_s": computed_s(results)}
    dataset.attrs |= describe(text) | devices.described(config.device) | captured(of.attrs for of in results.values())
    return with_units(dataset, UNITS)


def plan(config: Config) -> Arithmetic:
    """What a run computes: training, and with every step losses at the weights without excesses."""
    situations, of = config.seeds * len(SITUATIONS), character_size(config, config.batch)
    trained = of_ensembles(of, runs=situations * len(CUTS), steps=config.steps, precision=config.dtype)
    undone = float(situations * len(UNDONE) * config.steps * of.operations)
    return replace(trained, operations=(trained.operations or 0.0) + undone)


def train(config: Config, text: Text, piece: tuple[int], progress: Progress) -> xr.Dataset:
    """Losses of all runs of a seed, and of those without a cut at the weights without excesses; ``piece``: the seed."""
    runs, rng = Runs(config, text, piece[0]), np.random.default_rng([piece[0], 3])
    batches, replay = text_batches(config, text, piece[0], fixed=False), Replay(devices.chosen(config.device))
    seen: dict[str, list[Tensor]] = {"undone": [], "loss": []}
    state = {"runs": runs, "batches": batches, "seen": seen, "rng": rng}
    for _ in progress.over(config.steps, state):
        for values, value in zip(seen.values(), replay(runs.advance, next(batches), runs.signs(rng)), strict=True):
            values.append(value)
    kept = {name: coded(torch.stack(values).double().cpu().numpy()) for name, values in seen.items()}
    found = {"loss": (("step", "situation", "cut"), kept["loss"]), "undone": (("step", "situation", "undoing"), kept["undone"])}
    coords = {"situation": list(SITUATIONS), "cut": list(CUTS), "undoing": list(UNDONE)}
    return xr.Dataset(found, coords, replay.described).transpose(..., "step")


class Runs(Stateful):
    """The runs of a seed: situations, and in each the cuts.

    Of every weight ``last`` is the size of the update at its last step with a gradient that was not faint, and ``excesses`` the
    way that each excess led in the latest steps, (excesses, E, size).
    """

    STATE = ("ensemble", "last", "excesses")

    def __init__(self, config: Config, text: Text, seed: int) -> None:
        model = character_model(config, text, seed)
        each = [pair for pair in SITUATIONS.values() for _ in CUTS]
        decays = [(Decay.from_betas(betas),) for betas, _ in each]
        self.ensemble = Ensemble(model, next_token_loss, decays, lr=[rate for _, rate in each], eps=EPS)
        sizes = {name: param.flatten(1) for name, param in self.ensemble.params.items()}
        self.last = {name: torch.zeros_like(x) for name, x in sizes.items()}
        self.excesses = {name: torch.zeros_like(x).repeat(len(EXCESSES), 1, 1) for name, x in sizes.items()}
        self.kept, self.rates = 1 - 1 / config.memory, torch.as_tensor(self.ensemble.lr)[:, None]
        self.losses = member_losses(model, next_token_loss)

    def advance(self, batch: Tensor, signs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """What :meth:`undone` and then :meth:`step` find; the host reads nothing, so that a GPU may replay it."""
        return self.undone(batch, signs), self.step(batch)

    def step(self, batch: Tensor) -> Tensor:
        """One step of all; the losses before it, (situations, cuts)."""
        losses = self.ensemble.step(batch)
        for name, param in self.ensemble.params.items():
            ways = self.rates * self._excess(name)
            self.excesses[name].mul_(self.kept).add_(ways)
            for i, way in enumerate(ways, start=1):
                param[i :: len(CUTS)] += way[i :: len(CUTS)].view_as(param[i :: len(CUTS)])
        return losses.view(-1, len(CUTS))

    def _excess(self, name: str) -> Tensor:
        """Of the last update of a parameter, (excesses, E, size)."""
        update, (_, v) = self.ensemble.updates[name], self.ensemble.corrected_moments(name)
        faint = self.ensemble.gradients[name].abs() <= FAINT * v.sqrt()
        last = self.last[name].copy_(torch.where(faint, self.last[name], update.abs()))
        silence = torch.where(faint, update - update.clamp(-last, last), 0.0)
        return torch.stack([silence, torch.where(faint, 0.0, update - update.clamp(-1, 1))])

    def signs(self, rng: np.random.Generator) -> list[Tensor]:
        """Random ones for the control: of every parameter, (situations, size)."""
        each = (last[:: len(CUTS)] for last in self.last.values())
        return [uploaded(rng.choice([-1.0, 1.0], x.shape), x.device) for x in each]

    def undone(self, batch: Tensor, signs: list[Tensor]) -> Tensor:
        """The losses of the runs without a cut at the weights without each excess, (situations, excesses and control)."""
        changed: dict[str, Tensor] = {}
        for (name, param), drawn in zip(self.ensemble.params.items(), signs, strict=True):
            ways = self.excesses[name][:, :: len(CUTS)]
            moved = param[:: len(CUTS)].flatten(1) + torch.cat([ways, (drawn.to(ways) * ways.sum(0))[None]])
            changed[name] = moved.view(-1, *param.shape[1:])
        return self.losses(changed, batch).detach().view(len(UNDONE), -1).T


def constructed(config: Config) -> xr.Dataset:
    """The loss w^2/2 where the gradient of one weight comes back after silences, under Adam, and by theory; start 1."""
    values = [[_returned(betas, rate, n) for n in config.silences] for betas, rate in SITUATIONS.values()]
    dims, found = ("situation", "silence"), {"returned": values, "returned_predicted": _predicted(config)}
    return xr.Dataset({name: (dims, of) for name, of in found.items()}, {"silence": list(config.silences)})


def _returned(betas: tuple[float, float], rate: float, silence: int) -> float:
    w = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=rate, betas=betas, eps=0.0)
    for n in range(silence + 1):
        w.grad = w.detach().clone() if n == 0 else torch.zeros_like(w)
        optimizer.step()
    return float(w.detach() ** 2 / 2)


def _predicted(config: Config) -> list[list[float]]:
    """By the updates of a silent weight."""
    found = []
    for betas, rate in SITUATIONS.values():
        decay = Decay.from_betas(betas)
        ways = [stability.silent_update(np.arange(n + 1), beta=decay.beta, gamma=decay.gamma).sum() for n in config.silences]
        found.append([float((1 - rate * way) ** 2 / 2) for way in ways])
    return found


UNITS = {
    "loss": "attribute fineness times ln(nats); cut: what is taken from every update",
    "undone": "the same on the same batch for the run without a cut, at its weights without an excess of the latest steps",
    "returned": "loss of the constructed run where its gradient comes back, start 1/2",
    "returned_predicted": "the same by theory",
}
