"""How closely differential equations follow Adam's path: the paper's Figure 1, and what its reviewers asked for besides.

Adam's path is compared with the paper's equation and with the second-order flow of :mod:`kadam.theory.flow`. On a small
transformer with real text and one full batch: 16 random weights, then all of them, at several learning rates, over a longer
time, and with minibatches. On a perceptron: over a grid of (beta, gamma), and with several exponents p of the paper's time.

The error of a path is its largest distance from Adam's over the steps, divided by how far Adam went from its start.
"""

import functools
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
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
from kadam.lab.train.probes import distance
from kadam.report.ledger import Claim, Finding, Test, below, judge_all, passes
from kadam.theory.flow import Diverged, Gradient, adam, adam_flow
from kadam.theory.neighbours import paper_flow_in_time

NOTEBOOK = "03-continuous-time"

Array = NDArray[np.float64]

FLOWS: dict[str, Callable[..., Array]] = {
    "paper": functools.partial(adam_flow, order=1),
    "second": functools.partial(adam_flow, order=2),
}

# The loss along the longer path is recorded at about so many steps.
LOSSES = 50


@dataclass(frozen=True)
class Config:
    """What this experiment is made of; the defaults are the laptop profile. A learning rate is a time over its steps."""

    beta: float = 0.999
    gamma: float = 0.9
    substeps: int = 2  # of the integrator, a step; twice as many on the map
    width: int = 16  # of the transformer
    layers: int = 1
    heads: int = 2
    batch: int = 8  # windows of text: the full batch
    context: int = 16  # characters a window
    weights: int = 16  # randomly chosen ones, as in [G&T, Fig. 1]
    path_time: float = 0.05
    path_steps: tuple[int, ...] = (25, 50, 100, 200)
    shown_steps: int = 50  # of the 16 weights' path
    long_time: float = 0.125
    long_steps: int = 125
    noise_time: float = 0.02
    noise_steps: tuple[int, ...] = (20, 40)
    map_betas: tuple[float, ...] = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
    map_gammas: tuple[float, ...] = (0.0, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99)
    map_time: float = 0.16
    map_steps: int = 80
    exponents: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)  # p
    p_time: float = 0.2
    p_steps: int = 100
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self, "substeps", "width", "layers", "heads", "batch", "context", "weights")
        check_counts(self, "shown_steps", "long_steps", "map_steps", "p_steps")
        check_choice("text", self.text, ("real", "embedded"))
        if self.substeps % 2:
            raise ValueError(f"substeps must be even, for minibatches change between two of them; got {self.substeps}")
        if self.shown_steps not in self.path_steps:
            raise ValueError(f"shown_steps must be one of path_steps {self.path_steps}, got {self.shown_steps}")

    @property
    def decay(self) -> Decay:
        return Decay(beta=self.beta, gamma=self.gamma)


PROFILES = {
    "smoke": Config(
        width=8,
        heads=1,
        batch=2,
        context=8,
        path_time=0.004,
        path_steps=(8, 16),
        shown_steps=16,
        long_time=0.01,
        long_steps=10,
        noise_time=0.002,
        noise_steps=(4, 8),
        map_betas=(0.5, 0.95, 0.999),
        map_gammas=(0.0, 0.9, 0.99),
        map_time=0.04,
        map_steps=10,
        exponents=(0.0, 2.0),
        p_time=0.02,
        p_steps=10,
        text="embedded",
    ),
    "laptop": Config(),
    "paper": Config(width=64, layers=4, heads=4, batch=32, context=64, long_time=2.0, long_steps=2000),
}


load_data = data.configured_text


@records.recorded("trajectories", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every comparison of the chapter in one Dataset; its variables say their dimensions and units."""
    text = load_data(config)
    pieces = [
        f"long-{config.long_steps}",  # the slow ones first
        *(f"path-{steps}" for steps in sorted(config.path_steps, reverse=True)),
        *(f"noise-{steps}" for steps in sorted(config.noise_steps, reverse=True)),
        *(f"map-{beta}" for beta in config.map_betas),
        "exponents-all",
    ]
    compute = functools.partial(compute_piece, config, text)
    results = sweep(pieces, compute, steps=1, title="trajectories", checkpoint=checkpoint, jobs=jobs)
    dataset = xr.merge([result.drop_attrs() for result in results.values()], join="outer", compat="no_conflicts")
    shown = results[f"path-{config.shown_steps}"].attrs
    dataset.attrs = {
        "computed_s": computed_s(results),
        **{name: shown[name] for name in ("d", "cost_paper", "cost_second")},
        "shown_eta": config.path_time / config.shown_steps,
        **data.describe(text),
    }
    return records.with_units(dataset, UNITS)


def compute_piece(config: Config, text: data.Text, piece: str, progress: Progress) -> xr.Dataset:
    """One unit of work, named kind-which."""
    kind, _, which = piece.partition("-")
    result = KINDS[kind](config, text, which)
    progress.tick()
    return result


def _language(config: Config, text: data.Text) -> problems.Language:
    return problems.Language(text, config.width, config.layers, config.heads, config.batch, config.context, config.seed)


@dataclass(frozen=True)
class Compared:
    """Adam's path and those of the flows, each of shape (steps + 1, d), and the seconds that each took."""

    adam: Array
    flows: dict[str, Array]
    seconds: dict[str, float]

    @classmethod
    def along(
        cls, grad: Gradient | Sequence[Gradient], start: Array, decay: Decay, span: float, steps: int, substeps: int
    ) -> "Compared":
        methods: dict[str, Callable[..., Array]] = {"adam": adam}
        methods |= {name: functools.partial(flow, substeps=substeps) for name, flow in FLOWS.items()}
        paths, seconds = {}, {}
        for name, follow in methods.items():
            begin = time.perf_counter()
            paths[name] = follow(grad, start, decay=decay, eta=span / steps, steps=steps)
            seconds[name] = time.perf_counter() - begin
        return cls(paths.pop("adam"), paths, seconds)

    def errors(self) -> list[float]:
        return [distance(path, self.adam) for path in self.flows.values()]

    def squares(self, prefix: str) -> xr.Dataset:
        """Means over all weights, step by step: of the squared distance to Adam, and of Adam's to its start."""
        distances = np.stack([np.square(path - self.adam).mean(1) for path in self.flows.values()])
        moved = np.square(self.adam - self.adam[0]).mean(1)
        step = f"{prefix}_step"
        return xr.Dataset(
            {f"{prefix}_mse": (("flow", step), distances), f"{prefix}_moved": ((step,), moved)},
            coords={"flow": list(self.flows), step: np.arange(len(moved))},
        )


def _path(config: Config, text: data.Text, which: str) -> xr.Dataset:
    steps, problem = int(which), _language(config, text).loss()
    compared = Compared.along(problem.grad, problem.start, config.decay, config.path_time, steps, config.substeps)
    result = compared.squares("path").expand_dims(path_eta=[config.path_time / steps])
    if steps == config.shown_steps:
        result = result.merge(_shown(config, problem, compared))
    costs = {f"cost_{flow}": round(compared.seconds[flow] / compared.seconds["adam"], 2) for flow in FLOWS}
    return result.assign_attrs(d=len(problem.start), **costs)


def _shown(config: Config, problem: FlatLoss, compared: Compared) -> xr.Dataset:
    """The paths of the randomly chosen weights."""
    rng = np.random.default_rng([config.seed, 2])
    chosen = np.sort(rng.choice(len(problem.start), config.weights, replace=False))
    curves = {"adam": compared.adam, **compared.flows}
    return xr.Dataset(
        {
            "shown": (("curve", "shown_step", "weight"), np.stack([path[:, chosen] for path in curves.values()])),
            "name": ("weight", [problem.where(int(i)) for i in chosen]),
            "evaluations": ("curve", _evaluations(config, problem)),
        },
        coords={"curve": list(curves)},
    )


def _evaluations(config: Config, problem: FlatLoss) -> list[float]:
    """Gradients a step that Adam and each flow ask for: counted over five steps and over ten, to leave the start out."""
    calls: list[Array] = []

    def counted(theta: Array) -> Array:
        calls.append(theta)
        return problem.grad(theta)

    def count(follow: Callable[..., Array], steps: int) -> int:
        calls.clear()
        options = {} if follow is adam else {"substeps": config.substeps}
        follow(counted, problem.start, decay=config.decay, eta=1e-5, steps=steps, **options)
        return len(calls)

    return [(count(follow, 10) - count(follow, 5)) / 5 for follow in (adam, *FLOWS.values())]


def _long(config: Config, text: data.Text, which: str) -> xr.Dataset:
    steps, problem = int(which), _language(config, text).loss()
    compared = Compared.along(problem.grad, problem.start, config.decay, config.long_time, steps, config.substeps)
    at = np.arange(0, steps + 1, max(1, steps // LOSSES))
    losses = [problem.value(theta) for theta in compared.adam[at]]
    return compared.squares("long").assign(long_loss=("loss_step", losses)).assign_coords(loss_step=at)


def _noise(config: Config, text: data.Text, which: str) -> xr.Dataset:
    """Errors with one batch for all steps, and with a fresh one for every step, the same ones for Adam and the flows."""
    steps, language = int(which), _language(config, text)
    problem = language.loss()
    fresh = [problem.on(language.windows(n)).grad for n in range(steps + 1)]
    errors = [
        Compared.along(grad, problem.start, config.decay, config.noise_time, steps, config.substeps).errors()
        for grad in (problem.grad, fresh)
    ]
    coords = {"setting": ["full batch", "minibatches"], "flow": list(FLOWS)}
    dataset = xr.Dataset({"noise_error": (("setting", "flow"), errors)}, coords=coords)
    return dataset.expand_dims(noise_eta=[config.noise_time / steps])


def _map(config: Config, text: data.Text, which: str) -> xr.Dataset:
    """The errors at one beta and every gamma; infinite where a path leaves the finite numbers."""
    problem = problems.perceptron(seed=config.seed)
    errors = np.full((len(config.map_gammas), len(FLOWS)), np.inf)
    for i, gamma in enumerate(config.map_gammas):
        decay = Decay(beta=float(which), gamma=gamma)
        with suppress(Diverged):
            errors[i] = Compared.along(
                problem.grad, problem.start, decay, config.map_time, config.map_steps, 2 * config.substeps
            ).errors()
    coords = {"gamma": list(config.map_gammas), "flow": list(FLOWS)}
    return xr.Dataset({"map_error": (("gamma", "flow"), errors)}, coords=coords).expand_dims(beta=[float(which)])


def _exponents(config: Config, text: data.Text, which: str) -> xr.Dataset:
    """The paper's equation in its own time for every p: how far from Adam, and from the equation that has no p."""
    problem = problems.perceptron(seed=config.seed)
    setting = {"decay": config.decay, "eta": config.p_time / config.p_steps, "steps": config.p_steps}
    without = adam_flow(problem.grad, problem.start, **setting, order=1, substeps=32)  # type: ignore[arg-type]
    discrete = adam(problem.grad, problem.start, **setting)  # type: ignore[arg-type]
    paths = [paper_flow_in_time(problem.grad, problem.start, **setting, p=p) for p in config.exponents]  # type: ignore[arg-type]
    return xr.Dataset(
        {
            "p_mse": (("p", "p_step"), np.stack([np.square(path - discrete).mean(1) for path in paths])),
            "p_gap": ("p", [distance(path, without) for path in paths]),
        },
        coords={"p": list(config.exponents), "p_step": np.arange(config.p_steps + 1)},
    )


KINDS: dict[str, Callable[[Config, data.Text, str], xr.Dataset]] = {
    "path": _path,
    "long": _long,
    "noise": _noise,
    "map": _map,
    "exponents": _exponents,
}


UNITS = {
    "shown": "weight",
    "evaluations": "gradients a step",
    "path_mse": "mean over all weights of the squared distance to Adam",
    "path_moved": "mean over all weights of the squared distance of Adam from its start",
    "long_mse": "mean over all weights of the squared distance to Adam",
    "long_moved": "mean over all weights of the squared distance of Adam from its start",
    "long_loss": "nats per character",
    "noise_error": "largest distance from Adam over the distance that Adam went",
    "map_error": "largest distance from Adam over the distance that Adam went",
    "p_mse": "mean over all weights of the squared distance to Adam",
    "p_gap": "largest distance from the equation without p over the distance that it went",
}


def path_errors(dataset: xr.Dataset) -> xr.DataArray:
    """The error of each flow at each learning rate of the transformer's path, over all weights."""
    return np.sqrt(dataset.path_mse.max("path_step") / dataset.path_moved.max("path_step"))


def weight_errors(dataset: xr.Dataset) -> xr.DataArray:
    """For each shown weight and flow: its largest distance from Adam over the range of Adam's path."""
    discrete, flows = dataset.shown.sel(curve="adam"), dataset.shown.sel(curve=list(FLOWS)).rename(curve="flow")
    span = discrete.max("shown_step") - discrete.min("shown_step")
    return np.abs(flows - discrete).max("shown_step") / span.where(span > 0)


def _paper_follows(dataset: xr.Dataset) -> Finding:
    errors = weight_errors(dataset).sel(flow="paper")
    median = float(errors.median())
    measured = f"median {median:.1%} of the weight's range, worst {float(errors.max()):.0%}"
    return measured, "reproduced" if median <= 0.1 else "partly" if median <= 0.25 else "not reproduced"


def _p_drops_out(dataset: xr.Dataset) -> Finding:
    gap = float(dataset.p_gap.max())
    return f"largest gap between p = {', '.join(f'{p:g}' for p in dataset.p.values)}: {below(gap)}", passes(gap <= 1e-5)


def _flow_is_closer(dataset: xr.Dataset) -> Finding:
    errors = path_errors(dataset)
    ratios = (errors.sel(flow="paper") / errors.sel(flow="second")).sortby("path_eta", ascending=False)
    measured = ", ".join(f"{float(ratio):.1f} times at {float(ratio.path_eta):.2g}" for ratio in ratios)
    return measured, passes(bool((ratios > 1).all()))


def _closer_with_noise(dataset: xr.Dataset) -> Finding:
    noisy = dataset.noise_error.sel(setting="minibatches")
    ratios = (noisy.sel(flow="paper") / noisy.sel(flow="second")).sortby("noise_eta", ascending=False)
    measured = ", ".join(f"{float(ratio):.1f} times at {float(ratio.noise_eta):.2g}" for ratio in ratios)
    return measured, passes(bool((ratios > 1).all()))


TESTS = [
    Test(
        "GT-3a",
        "[G&T] Fig. 1, as its abstract and public reviews state it",
        "The second-order differential equation follows Adam's discrete path closely on a transformer",
        "of the 16 weights shown, the median of (largest gap / range of Adam's path) at most 10%; at most 25%: partly",
        _paper_follows,
    ),
    Test(
        "GT-3b",
        "[G&T] Section 2 with t_n = n eta^p; asked for in the public reviews: several p",
        "The exponent p of the paper's time does not matter",
        "solutions in the paper's own time for every p agree at t_n with the equation without p to 1e-5 of the way",
        _p_drops_out,
    ),
    Test(
        "D-3c",
        "derived here: Continuous time; asked for in the public reviews: all parameters, several learning rates",
        "Over all weights of the transformer the half-step flow is closer to Adam than the paper's equation",
        "ratio of the errors above 1 at every learning rate",
        _flow_is_closer,
    ),
    Test(
        "D-3d",
        "asked in the paper's public reviews: gradient noise",
        "With minibatches, the same ones for Adam and the flows, the half-step flow stays the closer one",
        "ratio of the errors above 1 at every learning rate",
        _closer_with_noise,
    ),
]


def claims(dataset: xr.Dataset | None, *, profile: str = "") -> list[Claim]:
    """The verdicts that a record of trajectories gives."""
    return judge_all(TESTS, dataset, profile=profile, notebook=NOTEBOOK)
