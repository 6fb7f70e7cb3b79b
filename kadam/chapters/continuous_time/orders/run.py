"""The order of the flows: how fast their distance to Adam shrinks as the learning rate is halved again and again.

The same stretch of time eta * steps is covered in more and more steps, by Adam and by three flows: the paper's equation,
the second-order flow and the classical limit. The error of a flow is its largest distance from Adam's path over the steps,
divided by how far Adam went; the median error is taken weight by weight. The order is the slope of the error's logarithm
against that of eta: fitted over all learning rates, and local, between one and the next.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from kadam.chapters.continuous_time import problems
from kadam.chapters.continuous_time.flows import BOTH, FLOWS, compare, median_distance
from kadam.chapters.continuous_time.orders.config import JUDGED, PROFILES, Config
from kadam.decay import Decay
from kadam.flat import FlatLoss
from kadam.lab.data.sources import Text, configured_text, describe
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records.record import recorded, with_units

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
    every = [
        Piece(case, repetition, rate)
        for case in CASES
        for repetition in range(config.seeds if case in ("transformer", "perceptron") else 1)
        for rate in range(len(_steps(config, case)))
    ]
    return sorted(every, key=lambda piece: ("transformer" in piece.case, piece.rate), reverse=True)


def measure(config: Config, text: Text, piece: Piece, progress: Progress) -> xr.Dataset:
    """Error and median error of every flow at one learning rate; at the largest the errors again with twice the substeps."""
    problem, decay, flows = _case(config, text, piece.case, config.seed + piece.repetition)
    span = config.small_time if "transformer" in piece.case else config.time
    steps = _steps(config, piece.case)[piece.rate]
    along = functools.partial(compare, problem.grad, problem.start, decay, span=span, steps=steps, flows=flows)
    compared = along(substeps=config.substeps)
    values = {"error": ("flow", compared.errors()), "median": ("flow", compared.errors(median_distance)), "eta": span / steps}
    dataset = xr.Dataset(values, {"flow": list(flows)}).expand_dims(rate=[piece.rate], axis=-1)
    if piece.rate == 0:
        dataset["again"] = ("flow", along(substeps=2 * config.substeps).errors())
    progress.tick()
    return dataset


def together(case: str, results: Mapping[Piece, xr.Dataset]) -> xr.Dataset:
    """The errors of one case: geometric means over its repetitions."""
    own = [one.drop_attrs().expand_dims(repetition=[piece.repetition]) for piece, one in results.items() if piece.case == case]
    return xr.merge(own, join="outer", compat="no_conflicts").map(np.log).mean("repetition").map(np.exp)


def _case(config: Config, text: Text, name: str, seed: int) -> tuple[problems.Smooth | FlatLoss, Decay, tuple[str, ...]]:
    """A problem, a pair of decays, and the flows to compare."""
    default, shorter = (Decay(beta=beta, gamma=config.gamma) for beta in (config.beta, SHORTER_BETA))
    if "transformer" in name:
        loss = problems.transformer(config, text, seed)
        return (loss, shorter, BOTH) if name == "transformer" else (loss, default, ("paper",))
    if name == "crowd":
        return problems.crowd(config.crowd)[0], default, BOTH
    problem = problems.quadratic(seed=seed)[0] if name == "quadratic" else problems.perceptron(seed=seed)
    return problem, default, tuple(FLOWS)


def _steps(config: Config, case: str) -> list[int]:
    """Steps of Adam over a case's stretch of time, at every learning rate from the largest on."""
    if "transformer" not in case:
        return [config.first_steps * 2**i for i in range(config.rates)]
    factor = config.small_factor if case == "transformer" else 2
    return [round(config.small_first_steps * factor**i) for i in range(config.small_rates)]


def _orders(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Fitted orders of error and median, and the local order between a learning rate and the one before it."""
    log = dataset[["error", "median", "eta"]].map(np.log)
    x = log.eta - log.eta.mean("rate")
    slope = (x * log[["error", "median"]]).sum("rate", min_count=2) / (x**2).sum("rate")  # least squares
    local = log.error.diff("rate") / log.eta.diff("rate")
    return {"order": slope.error, "median_order": slope["median"], "local_order": local}


UNITS = {
    "error": "largest distance from Adam over the distance that Adam went",
    "median": "the same weight by weight: median of the largest gaps over median of the largest moves",
    "again": "error at the largest learning rate with twice the substeps",
    "eta": "learning rate",
    "order": "slope of log error against log eta",
    "median_order": "slope of log median against log eta",
    "local_order": "the same between a learning rate and the one before it",
}
