"""Which weights grow outside of the region? Rows of a character transformer, by the share of steps in which they are silent.

A character's row of the embedding gets a gradient only in steps whose windows hold the character, and windows are drawn anew
for every step: so a row is silent in a share of the steps that the character's frequency decides. Its row of the output head
gets a gradient in every step, if a small one. Each pair of decay rates trains a network of its own (eps = 0) on the same
batches. The record holds for every row its share of silent steps, and in how many steps its update exceeded each of many sizes.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from kadam.chapters.growth.silence.config import PROFILES, Config
from kadam.decay import Decay
from kadam.lab.data.sources import Text, configured_text, describe
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import captured, computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import devices
from kadam.lab.train.arithmetic import Arithmetic, of_ensembles
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.networks import next_token_loss
from kadam.lab.train.replay import Replay
from kadam.lab.train.tasks import character_model, character_size, text_batches

LAYERS = {"embedding": "tokens.weight", "head": "head.weight"}

# Sizes of an update that are counted, in learning rates.
LEVELS = np.logspace(-2, 10, 145)

# A row whose gradient is smaller than this share of its own root mean square is as good as silent.
FAINT = 0.01


class Piece(NamedTuple):
    """All pairs on the batches of one seed."""

    seed: int


@recorded("silence", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Train every pair with every seed. Dimensions: seed, pair, layer, character, level."""
    text, seeds = configured_text(config), range(config.seed, config.seed + config.seeds)
    pieces, compute = list(map(Piece, seeds)), functools.partial(train_piece, config, text)
    results = sweep(pieces, compute, steps=config.steps, title="silence", checkpoint=checkpoint, jobs=jobs)
    dataset = xr.concat([results[piece].drop_attrs() for piece in pieces], "seed").assign_coords(
        seed=list(seeds),
        layer=list(LAYERS),
        character=[repr(c) for c in text.vocabulary],
        level=LEVELS,
        beta=("pair", [beta2 for _, beta2 in config.betas]),
        gamma=("pair", [beta1 for beta1, _ in config.betas]),
    )
    dataset.attrs = {"counted": config.steps - config.skip, "faint": FAINT, "computed_s": computed_s(results)}
    dataset.attrs |= describe(text) | devices.described(config.device) | captured(of.attrs for of in results.values())
    return with_units(dataset, UNITS)


def plan(config: Config) -> Arithmetic:
    """What a run computes."""
    runs = config.seeds * len(config.betas)
    return of_ensembles(character_size(config, config.batch), runs=runs, steps=config.steps, precision=config.dtype)


def train_piece(config: Config, text: Text, piece: Piece, progress: Progress) -> xr.Dataset:
    """All pairs on the batches of one seed: shares of silent and faint steps, and how often each level was exceeded."""
    decays = [(Decay.from_betas(betas),) for betas in config.betas]
    ensemble = Ensemble(character_model(config, text, piece.seed), next_token_loss, decays, lr=config.eta)
    batches = text_batches(config, text, piece.seed, fixed=False)
    levels = torch.from_numpy(LEVELS).to(devices.chosen(config.device))
    exceeded = torch.zeros(len(decays), len(LAYERS), len(text.vocabulary), len(LEVELS), dtype=torch.int32, device=levels.device)
    counts: dict[str, Tensor] = {"exceeded": exceeded}
    seen: dict[str, list[Tensor]] = {"gradient": [], "loss": []}
    replay = Replay(levels.device)

    def step(batch: Tensor) -> tuple[Tensor, ...]:
        loss = ensemble.step(batch)
        return rows(ensemble.updates, config.width)[..., None] > levels, rows(ensemble.gradients, config.width), loss

    for n in progress.over(config.steps, {"ensemble": ensemble, "batches": batches, "counts": counts, "seen": seen}):
        above, gradient, loss = replay(step, next(batches))
        if n >= config.skip:
            counts["exceeded"] = counts["exceeded"] + above
            seen["gradient"].append(gradient)
            seen["loss"].append(loss)
    gradient, dims = torch.stack(seen["gradient"]), ("pair", "layer", "character")
    own = gradient.square().mean(0).sqrt()  # every row's, over the steps
    shares = {"silent": (gradient == 0).double().mean(0), "faint": (gradient <= FAINT * own).double().mean(0)}
    return xr.Dataset(
        {
            "exceeded": ((*dims, "level"), counts["exceeded"].cpu().numpy()),
            **{name: (dims, share.cpu().numpy()) for name, share in shares.items()},
            "loss": ("pair", torch.stack(seen["loss"]).mean(0).cpu().numpy()),
        },
        attrs=replay.described,
    )


def rows(of: dict[str, Tensor], width: int) -> Tensor:
    """Root mean squares over the entries of every row of the watched layers, (pair, layer, character)."""
    return torch.stack([of[name].unflatten(1, (-1, width)).square().mean(2).sqrt() for name in LAYERS.values()], 1)


UNITS = {
    "exceeded": "steps in which the row's update, root mean square over its entries, was above the level",
    "level": "learning rates",
    "silent": "share of steps in which the row's gradient is exactly zero",
    "faint": "share of steps in which it is at most attribute faint times its own root mean square over the steps",
    "loss": "nats per character, mean over the counted steps",
}
