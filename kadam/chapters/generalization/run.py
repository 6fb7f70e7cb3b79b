"""Where in the stable region training generalises fastest: the paper's Figure 3, at one learning rate and at tuned ones.

A character transformer is trained with 64 pairs (beta, gamma): on the normal curve through Adam's, along which C falls, and on
four level curves, along which C stays. Every pair is tried at every learning rate and seed; all members of a seed start from
the same weights and see the same minibatches. The loss on text kept from training says how fast a pair generalises: at which
iteration it first reaches a target. A run that diverges is kept and says when.
"""

import functools
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from kadam.chapters.generalization import curves
from kadam.chapters.generalization import held_out as validation
from kadam.chapters.generalization.config import CHOICES, PROFILES, Config, held_out
from kadam.decay import Decay
from kadam.lab.data.sources import Text, configured_text, describe
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import devices, probes
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.networks import CharTransformer, initialise, next_token_loss
from kadam.lab.train.tasks import Batches
from kadam.theory import stability

# PyTorch's, as in ordinary training; the theory's setting, eps = 0, is chapter 2's.
EPS = 1e-8


@recorded("generalization", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every pair at every rate and seed. Dimensions: rate, seed, point, evaluation; target; choice."""
    text, pairs = configured_text(config), settings(config)
    held_out(config, text)  # names what does not fit before any process starts
    members = len(config.rates) * pairs.sizes["point"]
    pieces = [f"{seed}-{start}" for seed in range(config.seeds) for start in range(0, members, config.chunk)]
    compute = functools.partial(train_piece, config, text, pairs)
    results = sweep(pieces, compute, steps=config.steps, title="generalization", checkpoint=checkpoint, jobs=jobs)
    dataset = _by_seed(config, results).merge(pairs)
    dataset["iterations"] = validation.iterations_to(dataset.loss.astype(float), config.targets)
    tuned = validation.best_elsewhere(dataset.loss.isel(evaluation=-1, drop=True))
    fixed = xr.full_like(tuned, config.rates.index(config.fixed_rate))
    dataset["chosen"] = xr.concat([fixed, tuned], xr.Variable("choice", list(CHOICES)))
    dataset.attrs = {
        "computed_s": computed_s(results),
        "steps": config.steps,
        "fixed_rate": config.fixed_rate,
        "train_characters": len(held_out(config, text).train),
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


def train_piece(config: Config, text: Text, pairs: xr.Dataset, piece: str, progress: Progress) -> xr.Dataset:
    """One chunk of the members of a seed, named seed-start; members are numbered rate by rate."""
    repetition, start = map(int, piece.split("-"))
    members = np.arange(len(config.rates) * pairs.sizes["point"])[start:][: config.chunk]
    rate, point = np.divmod(members, pairs.sizes["point"])
    model, parts = _model(config, text, config.seed + repetition), held_out(config, text)
    decays = [(Decay(beta=float(pairs.beta[i]), gamma=float(pairs.gamma[i])),) for i in point]
    ensemble = Ensemble(model, next_token_loss, decays, lr=[config.rates[i] for i in rate], eps=EPS)
    batches = _batches(config, parts, config.seed + repetition)
    windows, marks = torch.from_numpy(parts.windows).to(devices.chosen(config.device)), set(config.marks.tolist())
    seen: dict[str, list[torch.Tensor]] = {"train_loss": [], "max_update": [], "square": [], "loss": []}
    seen["loss"].append(validation.losses(ensemble, model, windows))
    for n in progress.over(config.steps, {"ensemble": ensemble, "batches": batches, "seen": seen}):
        seen["train_loss"].append(ensemble.step(next(batches)))
        seen["max_update"].append(probes.max_update(ensemble.updates)[0])
        seen["square"].append(_mean_square(ensemble))
        if n + 1 in marks:
            seen["loss"].append(validation.losses(ensemble, model, windows))
    arrays = {name: torch.stack(values).cpu().numpy().astype(np.float64) for name, values in seen.items()}
    place = {"rate": ("member", np.array(config.rates)[rate]), "point": ("member", point)}
    return validation.summary(arrays, config.marks).assign_coords(place)


def _model(config: Config, text: Text, seed: int) -> CharTransformer:
    model = CharTransformer(
        vocab=len(text.vocabulary), context=config.context, width=config.width, layers=config.layers, heads=config.heads
    )
    model.to(devices.chosen(config.device), getattr(torch, config.dtype))
    initialise(model, seed)
    return model


def _batches(config: Config, parts: validation.HeldOut, seed: int) -> Batches:
    def draw(rng: np.random.Generator, size: int) -> torch.Tensor:
        return parts.draw(rng, size).to(devices.chosen(config.device))

    return Batches(draw, np.random.default_rng([seed, 1]), config.batch)


def _mean_square(ensemble: Ensemble) -> torch.Tensor:
    """Of u over all weights, shape (members,)."""
    squares = [torch.linalg.vecdot(u, u) for u in ensemble.updates.values()]
    return torch.stack(squares).sum(0) / sum(u.shape[1] for u in ensemble.updates.values())


def _by_seed(config: Config, results: dict[str, xr.Dataset]) -> xr.Dataset:
    """All chunks with their rates and seeds side by side."""
    seeds = []
    for repetition in range(config.seeds):
        parts = [of.drop_attrs() for piece, of in results.items() if piece.split("-")[0] == str(repetition)]
        seeds.append(xr.concat(parts, "member").set_index(member=["rate", "point"]).unstack("member"))
    numbers = xr.Variable("seed", [config.seed + repetition for repetition in range(config.seeds)])
    return xr.concat(seeds, numbers).sel(rate=list(config.rates)).transpose("rate", "seed", "point", "evaluation")


UNITS = validation.UNITS | {
    "iterations": "iterations until the validation loss is at most the target; NaN: never",
    "chosen": "index into rate: the fixed one, or the best in validation for the other seeds",
}
