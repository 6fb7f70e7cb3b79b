"""Where in the stable region training generalises fastest: the paper's Figure 3, at one learning rate and at tuned ones.

A character transformer is trained with 64 pairs (beta, gamma): on the normal curve through Adam's, along which C falls, and on
four level curves, along which C stays. Every pair is tried at every learning rate and seed; all members of a seed start from
the same weights and see the same minibatches. A run that diverges is kept and says when.
"""

import functools
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from kadam.chapters.generalization import validation
from kadam.chapters.generalization.config import ADAM, CHOICES, NORMAL, PROFILES, Config
from kadam.decay import Decay
from kadam.lab.data.sources import Text, configured_text, describe
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import captured, computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import devices, probes
from kadam.lab.train.arithmetic import Arithmetic, of_ensembles
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.networks import next_token_loss
from kadam.lab.train.replay import Replay
from kadam.lab.train.tasks import Batches, character_model, character_size
from kadam.theory import stability
from kadam.theory.arguments import Array

# PyTorch's, as in ordinary training; the theory's setting, eps = 0, is chapter 2's.
EPS = 1e-8


# On a level curve momentum remembers 2 iterations or more, up to 100, or as far as v remembers 1000, which is Adam's.
SHORTEST, LONGEST, LONGEST_SQUARE = 2.0, 100.0, 1000.0

Pairs = tuple[NDArray[np.str_], Array, Array, Array]  # equally long: the curve's name, beta, gamma, C
Piece = tuple[int, int]  # a chunk of the members of a seed: the seed, and the first one's number; they are counted rate by rate


@recorded("generalization", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every pair at every rate and seed. Dimensions: rate, seed, point, evaluation; target; choice."""
    text, pairs = configured_text(config), settings(config)
    parts = held_out(config, text)  # names what does not fit before any process starts
    count = len(config.rates) * pairs.sizes["point"]
    pieces = [(config.seed + i, start) for i in range(config.seeds) for start in range(0, count, config.chunk)]
    compute = functools.partial(train_piece, config, text, pairs)
    results = sweep(pieces, compute, steps=config.steps, title="generalization", checkpoint=checkpoint, jobs=jobs)
    members = xr.concat([of.drop_attrs() for of in results.values()], "member")
    placed = members.set_index(member=["rate", "seed", "point"]).unstack("member").sel(rate=list(config.rates))
    dataset = placed.transpose("rate", "seed", "point", "evaluation").merge(pairs)
    dataset["iterations"] = validation.iterations_to(dataset.loss.astype(float), config.targets)
    tuned = validation.best_elsewhere(dataset.loss.isel(evaluation=-1, drop=True))
    fixed = xr.full_like(tuned, config.rates.index(config.fixed_rate))
    dataset["chosen"] = xr.concat([fixed, tuned], xr.Variable("choice", list(CHOICES)))
    chosen = {"steps": config.steps, "fixed_rate": config.fixed_rate, "train_characters": len(parts.train)}
    dataset.attrs = {"computed_s": computed_s(results)} | chosen | describe(text) | devices.described(config.device)
    dataset.attrs |= captured(of.attrs for of in results.values())
    return with_units(dataset, UNITS)


def plan(config: Config) -> Arithmetic:
    """What a run computes, evaluations left out."""
    runs = config.seeds * len(config.rates) * settings(config).sizes["point"]
    return of_ensembles(character_size(config, config.batch), runs=runs, steps=config.steps, precision=config.dtype)


def settings(config: Config) -> xr.Dataset:
    """The pairs as coordinates: curve, beta, gamma, C, whether exactly stable (beta > gamma^2), whether equal.

    The normal curve's come first, most stable first, then those of each level curve, shortest memory first.
    """
    curves = [normal_pairs(config.normal), *(level_pairs(C, config.level) for C in config.levels)]
    curve, beta, gamma, C = map(np.concatenate, zip(*curves, strict=True))
    columns = {"curve": curve, "beta": beta, "gamma": gamma, "coefficient": C}
    columns |= {"stable": stability.is_stable(beta=beta, gamma=gamma), "equal": beta == gamma}
    return xr.Dataset(coords={"point": np.arange(len(C))} | {name: ("point", of) for name, of in columns.items()})


def normal_pairs(num: int) -> Pairs:
    """On the normal curve through Adam's pair: evenly spaced in gamma, but for one that has exactly equal decays."""
    beta, gamma = stability.normal_curve(**vars(ADAM), num=num - 1) if num > 1 else (np.empty(0),) * 2
    equal = np.cbrt((2 * ADAM.beta**3 + ADAM.gamma**3) / 3)
    beta, gamma = (np.insert(of, np.searchsorted(gamma, equal), equal) for of in (beta, gamma))
    return np.full(num, NORMAL), beta, gamma, stability.coefficient(beta=beta, gamma=gamma)


def level_pairs(C: float, num: int) -> Pairs:
    """On a level curve of C, which is not rounded: momenta whose memories 1/(1-gamma) are evenly spaced in logarithm."""
    steepness = C + 1 / (LONGEST_SQUARE - 1)  # 2 (1-gamma)/gamma where 1/(1-beta) is the longest
    longest = min(LONGEST, 1 + 2 / steepness) if steepness > 0 else LONGEST
    gamma = 1 - 1 / np.geomspace(SHORTEST, longest, num)
    return np.full(num, f"C = {C:.3g}"), stability.level_curve(gamma, C=C), gamma, np.full(num, float(C))


def held_out(config: Config, text: Text) -> validation.HeldOut:
    """The text in its two parts; ``ValueError`` where one is too short."""
    return validation.hold_out(text, held_out=config.held_out, windows=config.windows, context=config.context)


def train_piece(config: Config, text: Text, pairs: xr.Dataset, piece: Piece, progress: Progress) -> xr.Dataset:
    """What is kept of the training of a piece's members."""
    seed, start = piece
    members = np.arange(len(config.rates) * pairs.sizes["point"])[start:][: config.chunk]
    rate, point = np.divmod(members, pairs.sizes["point"])
    model, parts, device = character_model(config, text, seed), held_out(config, text), devices.chosen(config.device)
    decays = [(Decay(beta=float(pairs.beta[i]), gamma=float(pairs.gamma[i])),) for i in point]
    ensemble = Ensemble(model, next_token_loss, decays, lr=[config.rates[i] for i in rate], eps=EPS)
    batches = Batches(functools.partial(parts.draw, device=device), np.random.default_rng([seed, 1]), config.batch)
    windows = torch.from_numpy(parts.windows).to(device)
    evaluated = np.linspace(0, config.steps, config.evaluations + 1).round().astype(np.int64)  # steps done
    seen: dict[str, list[torch.Tensor]] = {"train_loss": [], "max_update": [], "square": [], "loss": []}
    seen["loss"].append(validation.losses(ensemble, model, windows))
    replay = Replay(device)

    def step(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        losses, u = ensemble.step(batch), ensemble.updates.values()
        squares = torch.stack([torch.linalg.vecdot(x, x) for x in u]).sum(0) / sum(x.shape[1] for x in u)
        return losses, probes.max_update(ensemble.updates)[0], squares

    for n in progress.over(config.steps, {"ensemble": ensemble, "batches": batches, "seen": seen}):
        for name, value in zip(("train_loss", "max_update", "square"), replay(step, next(batches)), strict=True):
            seen[name].append(value)
        if n + 1 in evaluated:
            seen["loss"].append(validation.losses(ensemble, model, windows))
    arrays = {name: torch.stack(values).cpu().numpy().astype(np.float64) for name, values in seen.items()}
    place = {"rate": np.array(config.rates)[rate], "seed": np.full(len(members), seed), "point": point}
    kept = validation.summary(arrays, evaluated).assign_coords({name: ("member", of) for name, of in place.items()})
    return kept.assign_attrs(replay.described)


UNITS = validation.UNITS | {
    "iterations": "iterations until the validation loss is at most the target; NaN: never",
    "chosen": "index into rate: the fixed one, or the best in validation for the other seeds",
}
