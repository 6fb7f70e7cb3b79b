"""Training that goes wrong in several ways, under watch: does the monitor's alarm come before the loss is up?

A character transformer and a small convolutional network are trained with Adam in every situation, each with several seeds.
Networks of one kind step together: each has its own weights, batches, betas and learning rate, and all are parameters of one
optimizer, on which two monitors look, one after every step and one at the default interval. The record holds for every step
the loss, the norm of the gradient, and the monitors' alarms with their causes.
"""

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from kadam.chapters.watching.config import NETWORKS, PROFILES, SITUATIONS, Config, Situation
from kadam.chapters.watching.series import FINENESS, coded
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.ensemble import member_losses
from kadam.lab.train.networks import next_token_loss
from kadam.lab.train.tasks import Inputs, Task, character_model
from kadam.monitor import StabilityMonitor, StabilityWarning

EVERY = (1, 10)  # steps between measurements of the monitors
CAUSES = ("momentum", "second moment")
SERIES = ("loss", "gradient")

BRIGHT = 10.0  # times its pixels is a bad batch of images


@recorded("watching", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Train every network in every situation. Dimensions: network, situation, seed, step, every; healthy_seed."""
    inputs = Inputs.of(config.sizes)
    compute = functools.partial(watch, config, inputs)
    results = sweep(list(NETWORKS), compute, steps=config.steps, title="watching", checkpoint=checkpoint, jobs=jobs)
    dataset = xr.concat([results[name].drop_attrs() for name in NETWORKS], xr.Variable("network", list(NETWORKS)))
    dataset = dataset.assign_coords(every=list(EVERY), bad_step=bad_steps(config))
    dataset.attrs = {name: getattr(config, name) for name in ("settle", "memory")} | {"fineness": FINENESS}
    dataset.attrs |= {"computed_s": computed_s(results)} | inputs.described
    return with_units(dataset, UNITS)


class Member(NamedTuple):
    """One network of those that step together."""

    situation: Situation
    seed: int


def members(config: Config) -> list[Member]:
    """Those of the healthy situation that set thresholds, then all situations with all seeds."""
    first, seeds = next(iter(SITUATIONS.values())), range(config.seed, config.seed + config.seeds)
    calibrating = [Member(first, seed) for seed in range(config.seed - config.healthy_seeds, config.seed)]
    return calibrating + [Member(situation, seed) for situation in SITUATIONS.values() for seed in seeds]


def bad_steps(config: Config) -> list[int]:
    """The steps whose batches are bad."""
    begins = range(config.settle + config.bad_every // 2, config.steps - config.bad, config.bad_every)
    return [begin + i for begin in begins for i in range(config.bad)]


def task(inputs: Inputs, network: str, seed: int) -> Task:
    """The network with the weights of a seed, its loss and its batches; without normalisation, which hides a bad batch."""
    if network == "images":
        made = inputs.classification(seed, normalised=False)
        with torch.no_grad():
            for weight in made.model.convolutions.parameters():  # type: ignore[union-attr]
                weight.mul_(2**0.5)  # for the ReLU behind it
        return made
    model = character_model(inputs.sizes, inputs.text, seed, dtype=torch.float64)
    return Task(model, next_token_loss, {}, inputs.windows)


def watch(config: Config, inputs: Inputs, network: str, progress: Progress) -> xr.Dataset:
    """All networks of one kind, side by side."""
    group = members(config)
    tasks = [task(inputs, network, member.seed) for member in group]
    rngs = {member.seed: np.random.default_rng([member.seed, 1]) for member in group}
    size = config.image_batch if network == "images" else config.text_batch
    fleet = Fleet(config, network, tasks, group)
    series = np.full((len(SERIES), len(group), config.steps), np.nan)
    alarms = np.zeros((len(EVERY), len(CAUSES), len(group), config.steps), np.int8)
    bad = set(bad_steps(config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StabilityWarning)
        for n in progress.over(config.steps, {"fleet": fleet, "rngs": rngs, "series": series, "alarms": alarms}):
            drawn = {seed: tasks[0].draw(rng, size) for seed, rng in rngs.items()}
            batches = [_batch(network, drawn[m.seed], bad=m.situation.bad and n in bad) for m in group]
            series[:, :, n], alarms[..., n] = fleet.step(batches)
    return arranged(config, series, alarms)


def _batch(network: str, batch: Any, *, bad: bool) -> tuple[Tensor, ...]:
    batch = spoilt(network, batch) if bad else batch
    return batch if isinstance(batch, tuple) else (batch,)


def spoilt(network: str, batch: Any) -> Any:
    """A bad batch in the place of a good one: images far too bright, or windows that repeat their first character."""
    if network == "images":
        return batch[0] * BRIGHT, batch[1]
    return batch[:, :1].expand_as(batch)


class Fleet:
    """Networks of one kind, all parameters of one Adam: their weights are views of stacks, so that one pass serves all."""

    def __init__(self, config: Config, network: str, tasks: Sequence[Task], group: Sequence[Member]) -> None:
        model, which = tasks[0].model, NETWORKS.index(network)
        self.stacks = {
            name: torch.stack([t.model.get_parameter(name).detach() for t in tasks]) for name, _ in model.named_parameters()
        }
        self.views = nn.ParameterList(nn.Parameter(x) for stack in self.stacks.values() for x in stack)
        self.count = len(group)
        named = [(f"{i % self.count} {list(self.stacks)[i // self.count]}", view) for i, view in enumerate(self.views)]
        self.optimizer = torch.optim.Adam(self._groups(group, which))
        rule: dict[str, Any] = {"named_parameters": named, "memory": config.memory, "settle": config.settle}
        self.monitors = [StabilityMonitor(self.optimizer, every=every, **rule) for every in EVERY]
        self.losses = member_losses(model, tasks[0].loss, own_batches=True)

    def _groups(self, group: Sequence[Member], which: int) -> list[dict[str, Any]]:
        """Of each situation the weights of all its networks."""
        return [
            {
                "params": [view for i, view in enumerate(self.views) if group[i % self.count].situation == situation],
                "lr": situation.rates[which],
                "betas": situation.betas,
            }
            for situation in dict.fromkeys(member.situation for member in group)
        ]

    def step(self, batches: Sequence[tuple[Tensor, ...]]) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """One step of all: loss and norm of the gradient, (2, members), and alarms, (2, 2, members)."""
        leaves = {name: stack.detach().requires_grad_() for name, stack in self.stacks.items()}
        batch = tuple(torch.stack(parts) for parts in zip(*batches, strict=True))
        losses = self.losses(leaves, batch if len(batch) > 1 else batch[0])
        gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
        for view, gradient in zip(self.views, (g for stack in gradients for g in stack), strict=True):
            view.grad = gradient
        told = [len(m.events) for m in self.monitors]
        self.optimizer.step()
        norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
        seen = torch.stack([losses.detach(), norm]).numpy()
        return seen, np.stack([self._alarms(m, since) for m, since in zip(self.monitors, told, strict=True)])

    def _alarms(self, monitor: StabilityMonitor, since: int) -> NDArray[np.int8]:
        """(causes, members)"""
        found = np.zeros((len(CAUSES), self.count), np.int8)
        for event in monitor.events[since:]:
            found[CAUSES.index(event.kind), int(event.name.split()[0])] = 1
        return found

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        watching = {f"every {monitor.every}": monitor for monitor in self.monitors}
        return {"weights": self.views, "optimizer": self.optimizer, **watching}


def arranged(config: Config, series: NDArray[np.float64], alarms: NDArray[np.int8]) -> xr.Dataset:
    """Series and alarms, (..., members, steps), by situation and seed, and those of the healthy networks before."""
    named = dict(zip(SERIES, coded(series), strict=True)) | {"alarm": alarms}
    found, first, shape = {}, config.healthy_seeds, (len(SITUATIONS), config.seeds)
    for name, values in named.items():
        extra = ("every", "cause") if name == "alarm" else ()
        found[f"healthy_{name}"] = ((*extra, "healthy_seed", "step"), values[..., :first, :])
        of_all = values[..., first:, :].reshape(*values.shape[:-2], *shape, -1)
        found[name] = ((*extra, "situation", "seed", "step"), of_all)
    seeds = list(range(config.seed - first, config.seed + config.seeds))
    coords = {"situation": list(SITUATIONS), "seed": seeds[first:], "healthy_seed": seeds[:first], "cause": list(CAUSES)}
    return xr.Dataset(found, coords)


UNITS = {
    "loss": "attribute fineness times ln(nats)",
    "gradient": "attribute fineness times ln(norm of all weights' gradient)",
    "alarm": "1 after the steps in which the monitor found an event of this cause",
}
