"""Growth of the max-update outside the stability region: the paper's Figure 2, and what noise and eps do to it.

Points along the normal curve of (beta, gamma) train side by side, each with its own pair. The record holds the largest |u| at
every iteration, which parameter it is in, the loss, and the fitted slope of the logarithm, beside three predictions of it:
the paper's rate |C|/2, the exact discrete rate, and that with the bias correction of a run of finite length.
"""

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from kadam.chapters.growth.config import LEAST, PROFILES, Config, fit_window
from kadam.decay import Decay
from kadam.lab.data.sources import Text, configured_text, describe
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import captured, computed_s, one_thread, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import devices, probes, stopwatch
from kadam.lab.train.arithmetic import Arithmetic, of_ensembles
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.networks import next_token_loss
from kadam.lab.train.replay import Replay
from kadam.lab.train.tasks import character_model, character_size, text_batches
from kadam.theory import stability
from kadam.theory.arguments import Array

Piece = tuple[str, int, int]  # a chunk of the points: their setting, the first one's seed and place

# One fixed batch with eps = 0, the theory's setting; fresh minibatches with eps = 0; the fixed batch with PyTorch's eps.
SETTINGS = ("fixed", "fresh", "eps")

PYTORCH_EPS = 1e-8

# A step that moves some weight by more than this may feed back into the gradients: initial weights are 0.02 to 0.2.
FEEDBACK_MOVE = 0.1

# The loss is recorded at every so many iterations.
LOSS_EVERY = 10


@recorded("growth", PROFILES, LEAST)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Train every point in every setting. Dimensions: setting, seed, point, iteration; NaN where not run."""
    text = configured_text(config)
    beta, gamma = stability.normal_curve(num=config.points)
    compute = functools.partial(train_piece, config, text, beta, gamma)
    results = sweep(pieces(config), compute, steps=config.steps, title="growth", checkpoint=checkpoint, jobs=jobs)
    members = xr.concat([of.drop_attrs() for of in results.values()], "member")
    placed = members.set_index(member=["setting", "seed", "point"]).unstack("member").sel(setting=list(SETTINGS))
    measured = placed.transpose("setting", "seed", "iteration", "loss_iteration", "point")
    dataset = measured.assign(_predictions(beta, gamma, config.steps)).assign(_slopes(measured.max_update, config))
    dataset["parameter"] = [name for name, _ in character_model(config, text, config.seed).named_parameters()]
    window = fit_window(config.steps)
    fitted = {"computed_s": computed_s(results), "fit_start": window.start, "one_e_fold": 1 / len(window)}
    dataset.attrs = fitted | describe(text) | devices.described(config.device) | captured(of.attrs for of in results.values())
    return with_units(dataset, UNITS)


def plan(config: Config) -> Arithmetic:
    """What a run computes."""
    runs = sum(_seeds(config, setting) * len(_points(config, setting)) for setting in SETTINGS)
    return of_ensembles(character_size(config, config.batch), runs=runs, steps=config.steps, precision=config.dtype)


def pilot(config: Config, few: int = 10) -> float:
    """The seconds that all pieces take here, one after another, if each is as long as the first one, from a few steps of it."""
    text, (beta, gamma) = configured_text(config), stability.normal_curve(num=config.points)

    def seconds(steps: int) -> float:
        train = functools.partial(train_piece, replace(config, steps=steps), text, beta, gamma, pieces(config)[0])
        return stopwatch.seconds(lambda: train(Progress(lambda done: None)), device=config.device)

    with one_thread():
        seconds(few)  # not counted: whatever happens only once
        begun, gone_on = seconds(few), seconds(3 * few)
    a_step = max(0.0, gone_on - begun) / (2 * few)
    return len(pieces(config)) * (max(0.0, begun - few * a_step) + config.steps * a_step)


def pieces(config: Config) -> list[Piece]:
    """All of them."""
    return [
        (setting, config.seed + i, start)
        for setting in SETTINGS
        for i in range(0, _seeds(config, setting), seeds_together(config))
        for start in range(0, len(_points(config, setting)), config.chunk)
    ]


def _seeds(config: Config, setting: str) -> int:
    return 1 if setting == "eps" else config.seeds


def seeds_together(config: Config) -> int:
    """How many seeds train in one ensemble."""
    return config.chunk // config.points if config.chunk % config.points == 0 else 1


def train_piece(config: Config, text: Text, beta: Array, gamma: Array, piece: Piece, progress: Progress) -> xr.Dataset:
    """The updates of a piece at every iteration, and its losses."""
    setting, first, start = piece
    points = _points(config, setting)[start:][: config.chunk]
    seeds = range(first, min(first + seeds_together(config), config.seed + _seeds(config, setting)))
    models, decays = [character_model(config, text, seed) for seed in seeds], _decays(beta[points], gamma[points]) * len(seeds)
    ensemble = Ensemble(models, next_token_loss, decays, lr=config.eta, eps=PYTORCH_EPS if setting == "eps" else 0.0)
    head = list(ensemble.params).index("head.weight")
    batches = [text_batches(config, text, seed, fixed=setting != "fresh") for seed in seeds]
    replay = Replay(devices.chosen(config.device))

    def step(batch: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        loss = ensemble.step(*batch)
        size, place = probes.max_update(ensemble.updates)
        character = ensemble.updates["head.weight"].abs().argmax(1) // config.width
        next_ones = torch.stack(batch)[:, :, 1:].flatten(1).repeat_interleave(len(points), 0)
        asked = (character[:, None] == next_ones).any(1)  # compared, since torch.isin waits for the device
        return size, place, (place == head) & ~asked, loss

    seen: dict[str, list[torch.Tensor]] = {"max_update": [], "max_parameter": [], "max_absent": [], "loss": []}
    for _ in progress.over(config.steps, {"ensemble": ensemble, "batches": batches, "seen": seen}):
        for values, value in zip(seen.values(), replay(step, [next(one) for one in batches]), strict=True):
            values.append(value)
    arrays = {name: torch.stack(values).cpu().numpy().astype(np.float32) for name, values in seen.items()}
    variables = {name: (("iteration", "member"), of) for name, of in arrays.items()}
    iterations = np.arange(config.steps)
    coords = {"iteration": iterations, "loss_iteration": iterations[::LOSS_EVERY]}
    member = {
        "setting": np.full(len(decays), setting),
        "seed": np.repeat(seeds, len(points)),
        "point": np.tile(points, len(seeds)),
    }
    variables["loss"] = ("loss_iteration", "member"), arrays["loss"][::LOSS_EVERY]
    return xr.Dataset(variables, coords | {name: ("member", of) for name, of in member.items()}, replay.described)


def _decays(beta: Array, gamma: Array) -> list[tuple[Decay]]:
    return [(Decay(beta=float(b), gamma=float(g)),) for b, g in zip(beta, gamma, strict=True)]


def _points(config: Config, setting: str) -> NDArray[np.int64]:
    return np.arange(0, config.points, config.eps_every if setting == "eps" else 1)


def _predictions(beta: Array, gamma: Array, steps: int) -> dict[str, tuple[str, Array]]:
    silent = stability.silent_update(np.array(fit_window(steps))[:, None], beta=beta, gamma=gamma)
    return {
        "beta": ("point", beta),
        "gamma": ("point", gamma),
        "coefficient": ("point", stability.coefficient(beta=beta, gamma=gamma)),
        "rate_discrete": ("point", stability.growth_rate(beta=beta, gamma=gamma)),
        "rate_continuous": ("point", stability.growth_rate(beta=beta, gamma=gamma, time="continuous")),
        "rate_corrected": ("point", np.maximum(slope(np.log(silent)), 0.0)),
    }


def slope(y: Array) -> Array:
    """Least-squares slope of y against 0, 1, 2, ... along the first axis; NaN where any value is."""
    time = np.arange(len(y)) - (len(y) - 1) / 2
    return np.tensordot(time, y, axes=1) / np.sum(time**2)


def _slopes(max_update: xr.DataArray, config: Config) -> dict[str, xr.DataArray]:
    """The fitted slope of log max|u|, and whether steps had by then grown large enough to feed back."""
    window = fit_window(config.steps)
    ordered = max_update.transpose("iteration", ...).isel(iteration=slice(window.stop))
    values = ordered.values[window.start :].astype(np.float64)
    fitted = ordered.isel(iteration=0, drop=True).copy(data=slope(np.log(values)))
    return {"slope": fitted, "feedback": (config.eta * ordered.max("iteration") > FEEDBACK_MOVE).where(fitted.notnull())}


UNITS = {
    "max_update": "learning rates",
    "max_parameter": "index into parameter",
    "max_absent": "1 where the maximum is in the head's row of a character that the batch never asks for",
    "loss": "nats per character",
    **dict.fromkeys(("slope", "rate_discrete", "rate_continuous", "rate_corrected"), "1/iteration"),
    "feedback": "1 where some step up to the fitted ones moved a weight by more than 0.1",
}
