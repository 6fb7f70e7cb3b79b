"""The order of the flows: how fast their distance to Adam shrinks as the learning rate is halved again and again.

The same stretch of time eta * steps is covered in more and more steps, by Adam and by three flows: the paper's equation,
the second-order flow and the classical limit. The error of a flow is its largest distance from Adam's path over the steps,
divided by how far Adam went; the median error is taken weight by weight. The order is the slope of the error's logarithm
against that of eta: fitted over all learning rates, and local, between one and the next.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from kadam.chapters.continuous_time import problems
from kadam.chapters.continuous_time.flows import COMPARED, FLOWS
from kadam.chapters.continuous_time.orders.config import JUDGED, PROFILES, Config
from kadam.decay import Decay
from kadam.flat import FlatLoss
from kadam.lab.data.sources import Text, configured_text, describe
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train.probes import distance, median_distance
from kadam.theory.flow import adam

Array = NDArray[np.float64]

# The transformer is judged at a beta whose memory 1/(1-beta) is as long as its run; at the default it is ten times longer.
SHORTER_BETA = 0.99
CASES = (*JUDGED, "transformer, default", "crowd")


class Piece(NamedTuple):
    """A learning rate, the largest first, of a repetition of a case."""

    case: str
    repetition: int
    rate: int


@recorded("orders", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Errors by case, flow and learning rate (NaN where a case has fewer rates), and their orders."""
    text = configured_text(config)
    compute = functools.partial(measure, config, text)
    results = sweep(pieces(config), compute, steps=1, title="orders", checkpoint=checkpoint, jobs=jobs)
    dataset = xr.concat([together(case, results) for case in CASES], xr.Variable("case", list(CASES)), join="outer")
    dataset = dataset.assign(_orders(dataset))
    dataset.attrs = {"computed_s": computed_s(results), **describe(text)}
    return with_units(dataset, UNITS)


def pieces(config: Config) -> list[Piece]:
    """Every piece; the slow ones, of many small steps, first."""
    repeated = {"transformer": config.seeds, "perceptron": config.seeds}
    every = [
        Piece(case, repetition, rate)
        for case in CASES
        for repetition in range(repeated.get(case, 1))
        for rate in range(len(_steps(config, case)))
    ]
    return sorted(every, key=lambda piece: ("transformer" in piece.case, piece.rate), reverse=True)


def measure(config: Config, text: Text, piece: Piece, progress: Progress) -> xr.Dataset:
    """The errors of one piece."""
    result = _case(config, text, piece.case, config.seed + piece.repetition).errors(piece.rate, config.substeps)
    progress.tick()
    return result


def together(case: str, results: Mapping[Piece, xr.Dataset]) -> xr.Dataset:
    """The errors of one case: geometric means over its repetitions."""
    own = [
        result.drop_attrs().expand_dims(repetition=[piece.repetition])
        for piece, result in results.items()
        if piece.case == case
    ]
    merged = xr.merge(own, join="outer", compat="no_conflicts")
    return merged.map(lambda errors: np.exp(np.log(errors).mean("repetition")))


@dataclass(frozen=True)
class Case:
    """A problem, a pair of decays, the flows to compare, and one stretch of time to be covered in more and more steps."""

    problem: problems.Smooth | FlatLoss
    decay: Decay
    flows: tuple[str, ...]
    time: float
    steps: list[int]

    def errors(self, rate: int, substeps: int) -> xr.Dataset:
        """Error and median error of every flow at one learning rate; at the first the errors again with twice the substeps."""
        steps = self.steps[rate]
        reference = self._path(adam, steps)
        paths = [self._path(FLOWS[flow], steps, substeps=substeps) for flow in self.flows]
        values = {
            "error": (("flow", "rate"), [[distance(path, reference)] for path in paths]),
            "median": (("flow", "rate"), [[median_distance(path, reference)] for path in paths]),
            "eta": ("rate", [self.time / steps]),
        }
        dataset = xr.Dataset(values, coords={"flow": list(self.flows), "rate": [rate]})
        if rate > 0:
            return dataset
        again = [self._path(FLOWS[flow], steps, substeps=2 * substeps) for flow in self.flows]
        return dataset.assign(again=("flow", [distance(path, reference) for path in again]))

    def _path(self, flow: Callable[..., Array], steps: int, **options: int) -> Array:
        return flow(self.problem.grad, self.problem.start, decay=self.decay, eta=self.time / steps, steps=steps, **options)


def _case(config: Config, text: Text, name: str, seed: int) -> Case:
    default, steps = Decay(beta=config.beta, gamma=config.gamma), _steps(config, name)
    if name.startswith("transformer"):
        loss = problems.Transformer(text, config.width, 1, 1, config.batch, config.context, seed).loss()
        shorter = Decay(beta=SHORTER_BETA, gamma=config.gamma)
        decay, flows = (shorter, COMPARED) if name == "transformer" else (default, ("paper",))
        return Case(loss, decay, flows, config.small_time, steps)
    if name == "crowd":
        return Case(problems.crowd(config.crowd)[0], default, COMPARED, config.time, steps)
    problem = problems.quadratic(seed=seed)[0] if name == "quadratic" else problems.perceptron(seed=seed)
    return Case(problem, default, tuple(FLOWS), config.time, steps)


def _steps(config: Config, case: str) -> list[int]:
    """Steps of Adam over a case's stretch of time, at every learning rate from the largest on."""
    if case == "transformer, default":
        return [config.small_first_steps * 2**i for i in range(config.small_rates)]
    if case == "transformer":
        return [round(config.small_first_steps * config.small_factor**i) for i in range(config.small_rates)]
    return [config.first_steps * 2**i for i in range(config.rates)]


def _orders(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Fitted orders of error and median, and the local order between a learning rate and the one before it."""
    eta = np.log(dataset.eta)
    local = np.log(dataset.error).diff("rate") / eta.diff("rate")
    return {"order": _slope(dataset.error, eta), "median_order": _slope(dataset["median"], eta), "local_order": local}


def _slope(error: xr.DataArray, eta: xr.DataArray) -> xr.DataArray:
    """Least-squares slope of log(error) against log(eta) over the rates that a case has."""
    x = eta - eta.mean("rate")
    return (x * np.log(error)).sum("rate", min_count=2) / (x**2).sum("rate")


UNITS = {
    "error": "largest distance from Adam over the distance that Adam went",
    "median": "the same weight by weight: median of the largest gaps over median of the largest moves",
    "again": "error at the largest learning rate with twice the substeps",
    "eta": "learning rate",
    "order": "slope of log error against log eta",
    "median_order": "slope of log median against log eta",
    "local_order": "the same between a learning rate and the one before it",
}
