"""The order of the flows: how fast their distance to Adam shrinks as the learning rate is halved again and again.

The same stretch of time eta * steps is covered in more and more steps, by Adam and by three flows: the paper's equation,
the second-order flow and the classical limit. The error of a flow is its largest distance from Adam's path over the steps,
divided by how far Adam went; the median error is taken weight by weight. The order is the slope of the error's logarithm
against that of eta: fitted over all learning rates, and local, between one and the next.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from kadam.chapters.continuous_time import problems
from kadam.decay import Decay
from kadam.flat import FlatLoss
from kadam.lab.data import sources as data
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records import record as records
from kadam.lab.records.profiles import check_choice, check_counts
from kadam.lab.train.probes import distance, median_distance
from kadam.report.ledger import Claim, Finding, Test, judge_all, passes
from kadam.theory.flow import adam, adam_flow
from kadam.theory.neighbours import classical_limit

NOTEBOOK = "03-continuous-time"

Array = NDArray[np.float64]

FLOWS: dict[str, Callable[..., Array]] = {
    "paper": functools.partial(adam_flow, order=1),
    "second": functools.partial(adam_flow, order=2),
    "classical": classical_limit,
}
ALL_FLOWS = tuple(FLOWS)

# The transformer is judged at a beta whose memory 1/(1-beta) is as long as its run; at the default it is ten times longer.
SHORTER_BETA = 0.99

# Where orders are judged; then two cases that show what disturbs them: a long memory, and gradients crowded around zero.
JUDGED = ("quadratic", "perceptron", "transformer")
CASES = (*JUDGED, "transformer, default", "crowd")

# An order is judged over at least so many learning rates.
ENOUGH = 5


@dataclass(frozen=True)
class Config:
    """What this experiment is made of; the defaults are the laptop profile."""

    beta: float = 0.999
    gamma: float = 0.9
    substeps: int = 2  # of the integrator, a step; twice as many where its error is measured
    time: float = 0.2  # eta * steps on the numpy problems
    first_steps: int = 25  # steps at the largest learning rate, then each time twice as many
    rates: int = 6  # learning rates
    seeds: int = 2  # perceptrons and transformers; their errors are averaged geometrically
    small_time: float = 0.005  # the same for the transformer, whose gradients change within a few 1e-3
    small_first_steps: int = 20
    small_factor: float = 2**0.6
    small_rates: int = 5
    crowd: int = 4000  # weights of the crowd
    width: int = 8  # of the transformer, the smoke size of chapter 2
    batch: int = 4  # windows of text: the full batch
    context: int = 16  # characters a window
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self, "substeps", "first_steps", "rates", "seeds", "small_first_steps", "small_rates", "crowd")
        check_counts(self, "width", "batch", "context")
        check_choice("text", self.text, ("real", "embedded"))
        if min(self.rates, self.small_rates) < 2:
            raise ValueError(f"rates and small_rates must be at least 2, got {self.rates} and {self.small_rates}")


PROFILES = {
    "smoke": Config(
        time=0.02,
        rates=3,
        first_steps=5,
        seeds=1,
        small_rates=2,
        small_first_steps=4,
        small_factor=2.0,
        crowd=200,
        text="embedded",
    ),
    "laptop": Config(),
    "paper": Config(rates=9, small_rates=9, width=16, batch=16),
}


load_data = data.configured_text


@records.recorded("orders", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Errors by case, flow and learning rate (NaN where a case has fewer rates), and their orders."""
    text = load_data(config)
    compute = functools.partial(measure, config, text)
    results = sweep(pieces(config), compute, steps=1, title="orders", checkpoint=checkpoint, jobs=jobs)
    cases = [together(config, case, results) for case in CASES]
    dataset = xr.concat(cases, xr.Variable("case", list(CASES)), join="outer")
    dataset = dataset.assign(_orders(dataset))
    dataset.attrs = {
        "computed_s": computed_s(results),
        **data.describe(text),
    }
    return records.with_units(dataset, UNITS)


def pieces(config: Config) -> list[str]:
    """A learning rate of a repetition of a case, named case-repetition-rate; the slow ones, of many small steps, first."""
    named = [(case, i, j) for case in CASES for i in range(_repeated(config, case)) for j in range(len(_steps(config, case)))]
    slow_first = sorted(named, key=lambda piece: ("transformer" in piece[0], piece[2]), reverse=True)
    return [f"{case}-{repetition}-{rate}" for case, repetition, rate in slow_first]


def measure(config: Config, text: data.Text, piece: str, progress: Progress) -> xr.Dataset:
    """The errors of one piece."""
    name, repetition, rate = piece.split("-")
    case = _repetitions(config, text, name)[int(repetition)]
    result = case.errors(int(rate), config.substeps)
    progress.tick()
    return result


def together(config: Config, case: str, results: dict[str, xr.Dataset]) -> xr.Dataset:
    """The errors of one case: geometric means over its repetitions."""
    repetitions = []
    for i in range(_repeated(config, case)):
        rates = [results[f"{case}-{i}-{j}"].drop_attrs() for j in range(len(_steps(config, case)))]
        by_rate = xr.concat([rate.drop_vars("again", errors="ignore") for rate in rates], "rate")
        repetitions.append(by_rate.merge(rates[0].again))
    return xr.concat(repetitions, "repetition").map(lambda errors: np.exp(np.log(errors).mean("repetition")))


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


def _repetitions(config: Config, text: data.Text, name: str) -> list[Case]:
    default, steps = Decay(beta=config.beta, gamma=config.gamma), _steps(config, name)
    seeds = range(config.seed, config.seed + config.seeds)
    losses = (problems.Language(text, config.width, 1, 1, config.batch, config.context, seed).loss() for seed in seeds)
    if name == "transformer":
        shorter = Decay(beta=SHORTER_BETA, gamma=config.gamma)
        return [Case(loss, shorter, ("paper", "second"), config.small_time, steps) for loss in losses]
    if name == "transformer, default":
        return [Case(next(losses), default, ("paper",), config.small_time, steps)]
    if name == "crowd":
        return [Case(problems.crowd(config.crowd)[0], default, ("paper", "second"), config.time, steps)]
    if name == "quadratic":
        return [Case(problems.quadratic(seed=config.seed)[0], default, ALL_FLOWS, config.time, steps)]
    return [Case(problems.perceptron(seed=seed), default, ALL_FLOWS, config.time, steps) for seed in seeds]


def _repeated(config: Config, case: str) -> int:
    """How many repetitions a case has."""
    return config.seeds if case in ("transformer", "perceptron") else 1


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


def _words(orders: xr.DataArray) -> str:
    return ", ".join(f"{case} {float(orders.sel(case=case)):.2f}" for case in orders.case.values)


TOO_FEW: Finding = (f"fewer than {ENOUGH} learning rates at this profile", "not run at this profile")


def _over_enough_rates(judge: Callable[[xr.Dataset], Finding]) -> Callable[[xr.Dataset], Finding]:
    """Judge only records in which every case that is judged has enough learning rates."""

    @functools.wraps(judge)
    def judge_or_abstain(dataset: xr.Dataset) -> Finding:
        return judge(dataset) if int(dataset.eta.sel(case=list(JUDGED)).count("rate").min()) >= ENOUGH else TOO_FEW

    return judge_or_abstain


@_over_enough_rates
def _paper_is_first_order(dataset: xr.Dataset) -> Finding:
    orders = dataset.order.sel(flow="paper", case=list(JUDGED))
    good = int((np.abs(orders - 1) <= 0.15).sum())
    return _words(orders), "partly" if good == len(JUDGED) - 1 else passes(good == len(JUDGED))


@_over_enough_rates
def _flow_is_of_second_order(dataset: xr.Dataset) -> Finding:
    orders = dataset.order.sel(flow="second", case=list(JUDGED))
    clean = abs(float(orders.sel(case="quadratic")) - 2) <= 0.15
    return _words(orders), passes(clean and bool((orders >= 1.4).all()))


@_over_enough_rates
def _flow_is_closer(dataset: xr.Dataset) -> Finding:
    at_smallest = [dataset.sel(case=case).dropna("rate", how="all").isel(rate=-1).error for case in JUDGED]
    ratios = [float(error.sel(flow="paper") / error.sel(flow="second")) for error in at_smallest]
    measured = ", ".join(f"{case} {ratio:,.0f} times" for case, ratio in zip(JUDGED, ratios, strict=True))
    return measured, passes(min(ratios) >= 10)


@_over_enough_rates
def _crowding_costs_half_an_order(dataset: xr.Dataset) -> Finding:
    crowd = dataset.sel(case="crowd", flow="second")
    error, median = float(crowd.order), float(crowd.median_order)
    return f"error {error:.2f}, median weight {median:.2f}", passes(abs(error - 1.5) <= 0.15 and abs(median - 2) <= 0.15)


def _integrator_is_silent(dataset: xr.Dataset) -> Finding:
    change = np.abs(dataset.again / dataset.error.isel(rate=0) - 1).sel(flow=["paper", "second"])
    return f"largest relative change of an error: {float(change.max()):.1e}", passes(float(change.max()) <= 0.02)


ON_THREE = "slope of log error against log eta over all learning rates, on quadratic, perceptron and transformer"

TESTS = [
    Test(
        "D-3e",
        "derived here: Continuous time, order of the paper's equation",
        "The paper's equation follows Adam to first order in the learning rate",
        f"{ON_THREE}: 1 +- 0.15; two of three: partly",
        _paper_is_first_order,
    ),
    Test(
        "D-3f",
        "derived here: Continuous time, order of the half-step flow",
        "The half-step flow follows Adam to second order",
        f"{ON_THREE}: at least 1.4, and 2 +- 0.15 on the quadratic, whose first gradients keep away from zero",
        _flow_is_of_second_order,
    ),
    Test(
        "D-3g",
        "derived here: Continuous time",
        "At the smallest learning rate the half-step flow is at least ten times closer to Adam than the paper's equation",
        "ratio of the errors on quadratic, perceptron and transformer at least 10",
        _flow_is_closer,
    ),
    Test(
        "D-3h",
        "derived here: Continuous time, what limits the order",
        "Where first gradients crowd around zero the order falls to 3/2, and the median weight keeps order 2",
        "on independent weights with first gradients evenly spaced from zero: 1.5 +- 0.15 and 2 +- 0.15",
        _crowding_costs_half_an_order,
    ),
    Test(
        "D-3i",
        "derived here: numerics",
        "The integrator's own error is negligible in these errors",
        "halving its substeps changes no error of the two flows at the largest learning rate by more than 2%",
        _integrator_is_silent,
    ),
]


def claims(dataset: xr.Dataset | None, *, profile: str = "") -> list[Claim]:
    """The verdicts that a record of orders gives."""
    return judge_all(TESTS, dataset, profile=profile, notebook=NOTEBOOK)
