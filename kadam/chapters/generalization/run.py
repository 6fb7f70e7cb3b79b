"""Where in the stable region training generalises fastest: the paper's Figure 3, at one learning rate and at tuned ones.

A character transformer is trained with 64 pairs (beta, gamma): on the normal curve through Adam's, along which C falls, and on
four level curves, along which C stays. Every pair is tried at every learning rate and seed; all members of a seed start from
the same weights and see the same minibatches. The loss on text kept from training says how fast a pair generalises: at which
iteration it first reaches a target. A run that diverges is kept and says when.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from kadam.chapters.generalization import curves, validation
from kadam.chapters.generalization.config import CHOICES, PROFILES, Config
from kadam.decay import Decay
from kadam.lab.data.sources import Text, configured_text, describe
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import devices, probes
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.networks import next_token_loss
from kadam.lab.train.tasks import Batches, character_model
from kadam.theory import stability

# PyTorch's, as in ordinary training; the theory's setting, eps = 0, is chapter 2's.
EPS = 1e-8


class Piece(NamedTuple):
    """A chunk of the members of one seed, from the ``start``-th on; members are numbered rate by rate."""

    seed: int
    start: int


@recorded("generalization", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every pair at every rate and seed. Dimensions: rate, seed, point, evaluation; target; choice."""
    text, pairs = configured_text(config), settings(config)
    parts = held_out(config, text)  # names what does not fit before any process starts
    members = len(config.rates) * pairs.sizes["point"]
    pieces = [Piece(config.seed + i, start) for i in range(config.seeds) for start in range(0, members, config.chunk)]
    compute = functools.partial(train_piece, config, text, pairs)
    results = sweep(pieces, compute, steps=config.steps, title="generalization", checkpoint=checkpoint, jobs=jobs)
    dataset = _side_by_side(config, results).merge(pairs)
    dataset["iterations"] = validation.iterations_to(dataset.loss.astype(float), config.targets)
    tuned = validation.best_elsewhere(dataset.loss.isel(evaluation=-1, drop=True))
    fixed = xr.full_like(tuned, config.rates.index(config.fixed_rate))
    dataset["chosen"] = xr.concat([fixed, tuned], xr.Variable("choice", list(CHOICES)))
    dataset.attrs = {
        "computed_s": computed_s(results),
        "steps": config.steps,
        "fixed_rate": config.fixed_rate,
        "train_characters": len(parts.train),
        **describe(text),
        **devices.described(config.device),
    }
    return with_units(dataset, UNITS)


def settings(config: Config) -> xr.Dataset:
    """The pairs as coordinates: curve, beta, gamma, C, whether exactly stable (beta > gamma^2), whether equal."""
    pairs = curves.pairs(config.normal, config.level, config.levels)
    stable = stability.is_stable(beta=pairs.beta, gamma=pairs.gamma)
    columns = pairs._asdict() | {"stable": stable, "equal": pairs.beta == pairs.gamma}
    return xr.Dataset(coords={"point": np.arange(len(stable))} | {name: ("point", of) for name, of in columns.items()})


def held_out(config: Config, text: Text) -> validation.HeldOut:
    """The text in its two parts; ``ValueError`` where one is too short."""
    return validation.hold_out(text, held_out=config.held_out, windows=config.windows, context=config.context)


def marks(config: Config) -> NDArray[np.int64]:
    """How many steps are done at each evaluation."""
    return np.linspace(0, config.steps, config.evaluations + 1).round().astype(np.int64)


def train_piece(config: Config, text: Text, pairs: xr.Dataset, piece: Piece, progress: Progress) -> xr.Dataset:
    """What is kept of the training of a piece's members."""
    members = np.arange(len(config.rates) * pairs.sizes["point"])[piece.start :][: config.chunk]
    rate, point = np.divmod(members, pairs.sizes["point"])
    model, parts, device = character_model(config, text, piece.seed), held_out(config, text), devices.chosen(config.device)
    decays = [(Decay(beta=float(pairs.beta[i]), gamma=float(pairs.gamma[i])),) for i in point]
    ensemble = Ensemble(model, next_token_loss, decays, lr=[config.rates[i] for i in rate], eps=EPS)
    draw = functools.partial(parts.draw, device=device)
    batches = Batches(draw, np.random.default_rng([piece.seed, 1]), config.batch)
    windows, evaluated = torch.from_numpy(parts.windows).to(device), marks(config)
    seen: dict[str, list[torch.Tensor]] = {"train_loss": [], "max_update": [], "square": [], "loss": []}
    seen["loss"].append(validation.losses(ensemble, model, windows))
    for n in progress.over(config.steps, {"ensemble": ensemble, "batches": batches, "seen": seen}):
        seen["train_loss"].append(ensemble.step(next(batches)))
        seen["max_update"].append(probes.max_update(ensemble.updates)[0])
        seen["square"].append(_mean_square(ensemble))
        if n + 1 in evaluated:
            seen["loss"].append(validation.losses(ensemble, model, windows))
    arrays = {name: torch.stack(values).cpu().numpy().astype(np.float64) for name, values in seen.items()}
    place = {"rate": np.array(config.rates)[rate], "seed": np.full(len(members), piece.seed), "point": point}
    return validation.summary(arrays, evaluated).assign_coords({name: ("member", of) for name, of in place.items()})


def _mean_square(ensemble: Ensemble) -> torch.Tensor:
    """Of u over all weights, shape (members,)."""
    squares = [torch.linalg.vecdot(u, u) for u in ensemble.updates.values()]
    return torch.stack(squares).sum(0) / sum(u.shape[1] for u in ensemble.updates.values())


def _side_by_side(config: Config, results: dict[Piece, xr.Dataset]) -> xr.Dataset:
    """All pieces, with the members' rates, seeds and points as dimensions."""
    members = xr.concat([of.drop_attrs() for of in results.values()], "member")
    placed = members.set_index(member=["rate", "seed", "point"]).unstack("member")
    return placed.sel(rate=list(config.rates)).transpose("rate", "seed", "point", "evaluation")


UNITS = validation.UNITS | {
    "iterations": "iterations until the validation loss is at most the target; NaN: never",
    "chosen": "index into rate: the fixed one, or the best in validation for the other seeds",
}
