"""Does a network feel AdamW's box? A small transformer on text, several weight decays, and a falling learning rate.

Full batch (the same windows of text at every step, what the theory speaks of) and fresh batches. Members that differ in weight
decay and in decay rates train side by side from the same weights. Of some weights every gradient and update is kept, so that
the mean square of their updates can be held against the theory's bound, which over long times is near 1.
"""

import functools
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from kadam.chapters.box.pairs import NETWORK
from kadam.chapters.box.radius.config import PROFILES, Config
from kadam.lab.data.sources import Text, configured_text, describe
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.state import Stateful
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import devices
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.networks import CharTransformer, initialise, next_token_loss
from kadam.lab.train.schedule import falling, kept_steps
from kadam.lab.train.tasks import text_batches
from kadam.theory import box as theory
from kadam.theory.arguments import Array

Piece = tuple[str, int, int]  # the kind of batches, the number of stages, the repetition; all their settings and weight decays

BATCHES = ("full batch", "fresh batches")

STILL = 0.01  # a weight that ends no further from where it was in the middle, over the box's radius, has settled
ON_BOUNDARY = 0.99  # of the box's radius: from there on a weight counts as on the boundary


@recorded("radius", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every setting with every weight decay. Dimensions: batches, setting, weight_decay, seed, kept, followed."""
    text = configured_text(config)
    pieces = [(batches, k, i) for k in (1, 2) for batches in BATCHES for i in range(config.seeds)]
    compute = functools.partial(train_piece, config, text)
    results = sweep(pieces, compute, steps=config.steps, title="radius", checkpoint=checkpoint, jobs=jobs)
    parts = [[[results[b, k, i].drop_attrs() for i in range(config.seeds)] for k in (1, 2)] for b in BATCHES]
    dataset = xr.combine_nested(parts, ["batches", "setting", "seed"]).transpose("batches", "seed", "setting", ...)
    dataset = dataset.assign_coords(batches=list(BATCHES), seed=config.seed + np.arange(config.seeds))
    dataset["radius"] = "setting", [float(theory.radius(**vars(s[-1]), weight_decay=1.0)) for s in NETWORK.values()]
    dataset["start"] = dataset["size"].isel(kept=0)
    parameters = sum(p.numel() for p in model(config, text, config.seed).parameters())
    found = {"computed_s": computed_s(results), "parameters": parameters}
    dataset.attrs = found | describe(text) | devices.described(config.device)
    return with_units(dataset, UNITS)


def _paces(config: Config) -> Array:
    """The learning rates over the first."""
    return falling(1.0, steps=config.steps, bend=config.bend, power=config.power)


def model(config: Config, text: Text, seed: int) -> CharTransformer:
    """The network in float64 with the weights of a seed."""
    vocab, context = len(text.vocabulary), config.context
    network = CharTransformer(vocab=vocab, context=context, width=config.width, layers=config.layers, heads=config.heads)
    initialise(network, seed)
    return network.to(devices.chosen(config.device), torch.float64)


def train_piece(config: Config, text: Text, piece: Piece, progress: Progress) -> xr.Dataset:
    """A piece, its members side by side: setting by setting, each with every weight decay."""
    kind, k, repetition = piece
    seed, settings = config.seed + repetition, [name for name, chosen in NETWORK.items() if len(chosen) == k]
    members = [NETWORK[name] for name in settings for _ in config.decays]
    decays = list(config.decays) * len(settings)
    ensemble = Ensemble(model(config, text, seed), next_token_loss, members, lr=config.eta, weight_decay=decays)
    batches = text_batches(config, text, seed, fixed=kind == "full batch")
    watch, paces = Watch(config, ensemble, np.array(decays), seed), _paces(config)
    for n in progress.over(config.steps, {"ensemble": ensemble, "batches": batches, "watch": watch}):
        ensemble.pace = float(paces[n])
        theta = _flat(ensemble.params)
        watch.look(n, theta, ensemble.step(next(batches)).numpy(force=True))
    return watch.summary(settings)


def _flat(parts: dict[str, torch.Tensor]) -> Array:
    """All weights of each member, (E, d)."""
    return torch.cat([part.flatten(1) for part in parts.values()], dim=1).numpy(force=True)


class Watch(Stateful):
    """What is kept of an ensemble of E members."""

    STATE = ("loss", "gap", "size", "share", "largest", "midway", "gradients", "updates")

    def __init__(self, config: Config, ensemble: Ensemble, decays: Array, seed: int) -> None:
        self.config, self.ensemble, self.decays = config, ensemble, decays
        self.steps = kept_steps(config.steps, config.kept)
        members, weights = len(decays), sum(p[0].numel() for p in ensemble.params.values())
        self.followed = np.sort(np.random.default_rng([seed, 2]).choice(weights, min(config.followed, weights), replace=False))
        self.gap = np.zeros((config.steps, members))
        self.loss, self.size, self.share = (np.zeros((len(self.steps), members)) for _ in range(3))
        self.largest, self.midway = np.zeros(members), np.zeros((members, weights))
        self.gradients, self.updates = (np.zeros((config.steps, members, len(self.followed))) for _ in range(2))

    def look(self, n: int, theta: Array, losses: Array) -> None:
        """Step n is taken from these weights, (E, d), where the losses were these."""
        gradients = _flat(self.ensemble.gradients)
        self.gradients[n] = gradients[:, self.followed]
        self.updates[n] = _flat(self.ensemble.updates)[:, self.followed]
        sizes = np.abs(theta) * self.decays[:, None]
        np.maximum(self.largest, sizes.max(1), out=self.largest)
        self.gap[n] = theory.frank_wolfe_gap(theta, gradients, weight_decay=self.decays)
        if n == self.config.steps // 2:
            self.midway[:] = theta
        kept = self.steps == n
        self.loss[kept], self.size[kept], self.share[kept] = losses, sizes.max(1), (sizes > ON_BOUNDARY).mean(1)

    def summary(self, settings: list[str]) -> xr.Dataset:
        def split(values: Array, *dims: str) -> tuple[tuple[str, ...], Array]:
            """(E, ...) -> (settings, decays, ...), with the names of the dimensions."""
            return ("setting", "weight_decay", *dims), values.reshape(len(settings), -1, *values.shape[1:])

        moved = np.abs(_flat(self.ensemble.params) - self.midway) * self.decays[:, None]
        values = {
            "loss": split(self.loss.T, "kept"),
            "size": split(self.size.T, "kept"),
            "share": split(self.share.T, "kept"),
            "gap": split(self.gap[self.steps].T, "kept"),
            "least_gap": split(np.minimum.accumulate(np.abs(self.gap))[self.steps].T, "kept"),
            "largest": split(self.largest),
            "still": split((moved <= STILL).mean(1)),
            "update_square": split((self.updates**2).mean(0), "followed"),
            "update_bound": split(self._bounds(settings), "followed"),
        }
        coordinates = {"setting": settings, "weight_decay": list(self.config.decays), "step": ("kept", self.steps + 1)}
        return xr.Dataset(values, coords=coordinates)

    def _bounds(self, settings: list[str]) -> Array:
        """The theory's bound on the mean square of every followed weight, (E, followed); NaN where there is none."""
        bounds = np.full(self.gradients.shape[1:], np.nan)
        for member in range(len(bounds)):
            chosen = NETWORK[settings[member // len(self.config.decays)]]
            reached = self.gradients[0, member] != 0  # the others, such as embeddings of letters to come, begin later
            if len(chosen) == 1 and chosen[0].gamma <= chosen[0].beta and reached.any():
                bounds[member, reached] = theory.average_bound(self.gradients[:, member, reached], **vars(chosen[0]))
        return bounds


UNITS = {
    "loss": "nats a character, on the batch at hand",
    "gap": "Frank-Wolfe gap of that loss",
    "least_gap": "its smallest size so far",
    "still": f"share of weights that end within {STILL} of the box's radius of where they were in the middle",
    "size": "largest weight over the box's radius",
    "start": "the same of the first weights",
    "largest": "the same, the largest over all steps",
    "share": f"share of weights above {ON_BOUNDARY} of the box's radius",
    "radius": "largest update of the last stage: the radius that decay enforces, over the box's",
    "update_square": "mean of u^2 over all steps",
    "update_bound": "the theory's bound on it",
}
