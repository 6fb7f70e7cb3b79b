"""How fast images train here: our loop beside a plain one, where a step's time goes, what larger k costs, time to an accuracy.

It measures a machine, so it runs only when asked (``kadam bench training``). Times are compared within paired rounds.
"""

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch.nn import functional as F

from kadam.chapters.speed import loops
from kadam.chapters.speed.loops import LOOPS, STRATEGY
from kadam.chapters.speed.training.config import PRECISIONS, PROFILES, RACERS, Config
from kadam.decay import Decay
from kadam.lab.data.images import configured_images
from kadam.lab.data.labelled import Augmentation, Batches, Counts, Seeds, Splits, split
from kadam.lab.records.profiles import BASELINES
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import optimizers as baselines
from kadam.lab.train import stopwatch
from kadam.lab.train.classification import Classification, ImageNetwork
from kadam.lab.train.schedule import Schedule
from kadam.lab.train.training import Forward


@recorded("training", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Seconds by loop, precision and round; by part; by optimizer; and of the races."""
    return with_units(Bench(config).measured((_loops, _parts, _costs, _races), "batch", "target", "limit", "pixels"), UNITS)


def pilot(config: Config) -> float:
    """The seconds of a run of fewest steps, in which all is compiled that a whole one needs."""
    return stopwatch.seconds(lambda: run(replace(config, rounds=1, repeats=1, limit=2, every=1, seeds=1)))


class Bench(loops.Bench):
    """Images on the device, and what trains on them."""

    def __init__(self, config: Config) -> None:
        images = configured_images(config)
        super().__init__(config, images)
        counts = Counts(config.train, config.validation, config.test)
        self.splits: Splits = split(images, counts, pixels=config.pixels, device=self.device, dtype=torch.float32)

    def network(self, precision: str) -> ImageNetwork:
        config, train = self.config, self.splits.train
        shape = (train.images.shape[-1], train.classes, config.width, config.depth)
        return ImageNetwork(*shape, True, precision=precision, compiler=config.compiler, device=config.device)

    def training(self, method: str, precision: str, *, lr: float = 1e-3, seed: int = 0) -> Classification:
        make = functools.partial(baselines.optimizer, method, lr=lr, decay=Decay(), weight_decay=0.0)
        batches = Batches(self.splits.train, Augmentation(), self.config.batch, Seeds(seed, seed + 1, seed + 2))
        schedule, smoothing = Schedule(self.config.limit), self.config.smoothing
        return Classification(self.network(precision), make, batches, schedule, smoothing=smoothing)


def plain_loop(splits: Splits, model: torch.nn.Module, forward: Forward, *, batch: int, precision: str) -> stopwatch.Step:
    """A training step as one writes it by hand for images on the device: nothing here is ours but the network.

    The flip is drawn for each image; shift and cutout, for the sake of speed, once for the batch.
    """
    data, labels = splits.train.images.permute(0, 3, 1, 2).contiguous(), splits.train.labels
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    side, change = data.shape[-1], Augmentation()

    def step() -> None:
        chosen = torch.randint(len(data), (batch,), device=data.device)
        x = data[chosen]
        x = torch.where(torch.rand(batch, 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)
        down, right = torch.randint(2 * change.shift + 1, (2,)).tolist()
        x = F.pad(x, (change.shift,) * 4, mode="reflect")[:, :, down : down + side, right : right + side]
        x = x.contiguous(memory_format=torch.channels_last)
        row, column = torch.randint(side, (2,)).tolist()
        x[:, :, row : row + change.cutout, column : column + change.cutout] = 0
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            loss = F.cross_entropy(forward(x), labels[chosen])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def hand_made(bench: Bench, precision: str) -> tuple[torch.nn.Module, stopwatch.Step]:
    """A network of the same kind as ours, and the plain loop on it."""
    network = bench.network(precision)
    model, forward = network.build.__wrapped__(network)
    model.reset(0)
    return model, plain_loop(bench.splits, model, forward, batch=bench.config.batch, precision=precision)


def _loops(bench: Bench) -> xr.Dataset:
    steps = {p: {"ours": bench.step(bench.training("Adam", p).step), "plain": hand_made(bench, p)[1]} for p in PRECISIONS}
    rate = bench.config.batch / bench.seconds(steps)
    coords = {"precision": list(PRECISIONS), "loop": list(LOOPS)}
    return xr.Dataset({"rate": ((*coords, "round"), rate)}, coords)


def _parts(bench: Bench) -> xr.Dataset:
    return bench.parts("precision", {precision: bench.training("Adam", precision) for precision in PRECISIONS})


def _costs(bench: Bench) -> xr.Dataset:
    names = [*BASELINES, *(baselines.kadam_name(k, STRATEGY) for k in bench.config.ks if k > 1)]
    found = bench.costs({name: bench.training(name, bench.config.precision) for name in names})
    return found.assign_coords(k=("optimizer", [baselines.stages_of(name)[0] for name in names]))


def _races(bench: Bench) -> xr.Dataset:
    seeds = range(bench.config.seed, bench.config.seed + bench.config.seeds)
    rates = zip(RACERS, bench.config.rates, strict=True)
    races = np.array([[race(bench, name, lr, seed) for seed in seeds] for name, lr in rates])
    names = ("race_steps", "race_s", "race_looking_s", "race_accuracy")
    values = {name: (("racer", "race"), races[..., i]) for i, name in enumerate(names)}
    found = xr.Dataset(values, coords={"racer": list(RACERS), "race": list(seeds)})
    return found.assign(reached_s=found.race_s.where(found.race_steps.notnull()))


def race(bench: Bench, method: str, lr: float, seed: int) -> tuple[float, float, float, float]:
    """Steps, seconds of training and of evaluation up to the target, and the accuracy then; NaN steps if not reached."""
    config = bench.config
    training = bench.training(method, config.precision, lr=lr, seed=seed)
    training_s = looking_s = accuracy = 0.0
    for n in range(0, config.limit, config.every):
        last = min(n + config.every, config.limit)
        training_s += stopwatch.seconds(functools.partial(list, map(training.step, range(n, last))), device=config.device)
        found, took = stopwatch.timed(lambda: training.evaluate(bench.splits.test), device=config.device)
        accuracy, looking_s = found["accuracy"], looking_s + took
        if accuracy >= config.target:
            return last, training_s, looking_s, accuracy
    return np.nan, training_s, looking_s, accuracy


UNITS = loops.UNITS | {
    "rate": "images a second",
    "race_steps": "steps to the target; NaN: not reached",
    "race_s": "s of training to the target or the limit",
    "reached_s": "s of training to the target; NaN: not reached",
    "race_looking_s": "s of evaluation meanwhile",
    "race_accuracy": "share of test images, at the end",
}
