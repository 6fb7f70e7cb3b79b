"""R_med of three small networks on real data, at the same loss reached: six methods, three sizes of the initial weights.

A tanh perceptron on images (the Hessian's diagonal exact), a character transformer on text and a convolutional network on
images (their larger layers estimated from random signs; at some checkpoints exact as well). Each trains on one fixed batch, so
that the loss is the one whose Hessian is looked at. Every method starts from the same weights and has the learning rate of a
grid that reaches the lowest loss on other seeds. Last, Adam's decays run along the normal curve across the stability region.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from kadam.chapters.local_geometry.descents import Plan, Run
from kadam.chapters.local_geometry.landscapes import EXACT, METHODS, NETWORKS, Landscape, Levels, landscape
from kadam.decay import Decay
from kadam.lab.data.configured import configured_sets
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import computed_s, sweep
from kadam.lab.records import record as records
from kadam.lab.records.profiles import Sizes, check_choice, check_counts
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.tasks import Inputs
from kadam.report.ledger import Claim, Finding, Test, judge_all, on_enough_seeds, passes, passes_each, passes_for
from kadam.report.statistics import mean_interval, rank_correlation
from kadam.theory import stability
from kadam.theory.geometry import r_med

NOTEBOOK = "09-local-geometry"
Array = NDArray[np.float64]

RELATIVES = ("2-Adam", "4-Adam", "RMSprop", "SignGD")  # where do they lie, with Adam or with SGD?
PAIR = ("Adam", "SGD")  # the methods that are run at every scale
ESTIMATED = ("language", "images")  # networks whose diagonals are estimated

# The middle of each method's grid of learning rates, from runs on seeds 0 and 1, and the grid in multiples of it.
BASES = {"Adam": 3e-2, "2-Adam": 1e-2, "4-Adam": 1e-2, "RMSprop": 3e-2, "SignGD": 1e-2, "SGD": 0.3}
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)

USUAL = 1.0  # the scale at which all methods are run
CHECKED = 5  # fresh starts at which the estimate is compared by its number of probes
OF_NETWORK = ["pooled", "step", "reached", "rate"]


LAPTOP = Sizes(examples=512)
SMALL = Sizes(width=4, channels=2, examples=64, text="embedded", images="embedded")
LARGE = Sizes(context=64, width=64, layers=2, heads=4, channels=16, pixels=16, examples=16384, device="cuda")


@dataclass(frozen=True)
class Config:
    """What this experiment is made of; the defaults are the laptop profile."""

    beta: float = 0.999
    gamma: float = 0.9
    scales: tuple[float, ...] = (0.3, 1.0, 3.0)  # of all initial weights; 1: variance 1/fan-in, embeddings 0.02^2
    levels: tuple[float, ...] = (0.6, 0.3, 0.1)  # of the initial loss
    steps: int = 150
    examples: tuple[int, ...] = (64, 8, 16)  # in the fixed batch, by network
    probes: int = 256  # random sign vectors an estimate
    probe_counts: tuple[int, ...] = (16, 32, 64, 128, 256, 512)  # for which its error is shown
    points: int = 16  # along the normal curve
    curve_rate: float = 1e-2
    curve_steps: int = 150
    slow_steps: int = 500  # at the smallest rate of the grid
    search_seeds: int = 2  # 0 and 1: for the learning rates
    seeds: int = 5
    seed: int = 10
    sizes: Sizes = LAPTOP
    dtype: str = "float32"

    def __post_init__(self) -> None:
        check_counts(self, "steps", "probes", "points", "curve_steps", "slow_steps", "search_seeds", "seeds")
        check_choice("dtype", self.dtype, ("float32", "float64"))
        if 1.0 not in self.scales:
            raise ValueError(f"scales must hold 1.0, the usual one, got {self.scales}")
        if self.seed < self.search_seeds:
            raise ValueError(f"seed must be at least search_seeds = {self.search_seeds}, got {self.seed}")

    @property
    def decay(self) -> Decay:
        return Decay(beta=self.beta, gamma=self.gamma)


PROFILES = {
    "smoke": Config(
        scales=(1.0, 2.0),
        levels=(0.9, 0.7),
        steps=30,
        examples=(8, 2, 4),
        probes=16,
        probe_counts=(4, 16),
        points=4,
        slow_steps=60,
        search_seeds=1,
        seeds=3,
        sizes=SMALL,
        dtype="float64",
    ),
    "laptop": Config(),
    "paper": Config(
        steps=1000, examples=(512, 32, 256), probes=1024, points=64, curve_steps=500, slow_steps=4000, seeds=10, sizes=LARGE
    ),
}

load_data = configured_sets


@records.recorded("curvature", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every network, scale and method; see ``UNITS``. Dimensions: layer or network; scale, optimizer, seed, level, point."""
    inputs = Inputs.of(config.sizes)
    runs = [f"run {n} {s} {m}" for n in reversed(NETWORKS) for s in config.scales for m in _methods(s)]
    slow = [f"slow {network} {method}" for network in NETWORKS for method in PAIR]
    pieces = [f"probes {n}" for n in ESTIMATED] + runs + slow + [f"curve {seed}" for seed in _seeds(config)]
    compute = functools.partial(compute_piece, config, inputs)
    steps = 2 * config.steps + len(config.levels)
    results = sweep(pieces, compute, steps=steps, title="curvature", checkpoint=checkpoint, jobs=jobs)
    dataset = _assembled(config, {piece: result.drop_attrs() for piece, result in results.items()})
    dataset.attrs = {"probes": config.probes, "computed_s": computed_s(results), **inputs.described}
    return records.with_units(dataset, UNITS)


def _methods(scale: float) -> tuple[str, ...]:
    return METHODS if scale == USUAL else PAIR


def _seeds(config: Config) -> list[int]:
    return list(range(config.seed, config.seed + config.seeds))


def _assembled(config: Config, parts: dict[str, xr.Dataset]) -> xr.Dataset:
    """One dataset from the pieces."""
    runs = {network: _by_scale(config, parts, network) for network in NETWORKS}
    layers = xr.concat([run.drop_vars(OF_NETWORK) for run in runs.values()], "layer")
    wholes = [run[OF_NETWORK].drop_dims("layer", errors="ignore") for run in runs.values()]
    whole = xr.concat(wholes, xr.Variable("network", list(NETWORKS)))
    probes = xr.concat([parts[f"probes {network}"] for network in ESTIMATED], "checked")
    slow = [_slow(parts, network) for network in NETWORKS]
    slow_layers = xr.concat([part.r_med.rename("slow_r_med") for part in slow], "layer")
    slow_common = _common(xr.concat([part.reached for part in slow], xr.Variable("network", list(NETWORKS))))
    slower = slow_layers.to_dataset().assign(slow_common=slow_common)
    curve = xr.concat([parts[f"curve {seed}"] for seed in _seeds(config)], xr.Variable("seed", _seeds(config)))
    return xr.merge([layers, whole.assign(common=_common(whole.reached)), slower, probes, curve])


def _by_scale(config: Config, parts: dict[str, xr.Dataset], network: str) -> xr.Dataset:
    """One network's runs by scale and optimizer; NaN where a method was not run."""
    scales = []
    for scale in config.scales:
        methods = _methods(scale)
        runs = [parts[f"run {network} {scale} {method}"] for method in methods]
        scales.append(xr.concat(runs, xr.Variable("optimizer", list(methods))).reindex(optimizer=list(METHODS)))
    return xr.concat(scales, xr.Variable("scale", list(config.scales)))


def _slow(parts: dict[str, xr.Dataset], network: str) -> xr.Dataset:
    runs = [parts[f"slow {network} {method}"].drop_vars("owner") for method in PAIR]
    return xr.concat(runs, xr.Variable("optimizer", list(PAIR))).reindex(optimizer=list(METHODS))


def _common(reached: xr.DataArray) -> xr.DataArray:
    """1 where a level was reached with every seed by all methods that were run (at the scale), else 0."""
    was_run = reached.notnull().any(("seed", "level"))
    everywhere = (reached.notnull().all("seed") | ~was_run).all("optimizer")
    return (everywhere & was_run.any("optimizer")).astype(np.int8)


def compute_piece(config: Config, inputs: Inputs, piece: str, progress: Progress) -> xr.Dataset:
    """Named "run network scale method", "slow network method", "probes network" or "curve seed"."""
    kind, *of = piece.split()
    if kind == "probes":
        return check_probes(config, inputs, of[0], progress)
    if kind == "curve":
        return follow_curve(config, inputs, int(of[0]), progress)
    if kind == "slow":
        return train_piece(config, inputs, of[0], USUAL, of[1], progress, slow=True)
    return train_piece(config, inputs, of[0], float(of[1]), of[2], progress)


def _landscape(config: Config, inputs: Inputs, network: str) -> Landscape:
    count = config.examples[NETWORKS.index(network)]
    return landscape(inputs, network, examples=count, dtype=getattr(torch, config.dtype))


def statistics(layers: list[Array]) -> Array:
    """R_med by layer and last of all layers pooled, (E, layers + 1); NaN for a layer without any curvature."""
    every = [*layers, np.concatenate(layers, axis=1)]
    return np.array([[r_med(x) if x.any() else np.nan for x in layer] for layer in every]).T


def train_piece(
    config: Config, inputs: Inputs, network: str, scale: float, method: str, progress: Progress, *, slow: bool = False
) -> xr.Dataset:
    """All seeds of one method on one network from one scale, at the best rate of its grid, or ``slow``, at the smallest."""
    grid = [BASES[method] * factor for factor in (FACTORS[:1] if slow else FACTORS)]
    steps = config.slow_steps if slow else config.steps
    plan = Plan(grid, steps, config.levels, _seeds(config), config.search_seeds, config.decay)
    problem, probes = _landscape(config, inputs, network), config.probes if network in ESTIMATED else EXACT
    checked = problem.larger_than(probes) if scale == USUAL and method in PAIR and not slow else []
    run = Run(plan, problem, method, scale=scale, probes=probes, checked=checked, statistics=statistics)
    for n in progress.over(plan.length, {"run": run}):
        run.advance(n)
    return run.summary(network)


def check_probes(config: Config, inputs: Inputs, network: str, progress: Progress) -> xr.Dataset:
    """The error of the estimated R_med of every layer at fresh weights, by the number of probes."""
    problem = _landscape(config, inputs, network)
    starts = [problem.start(seed) for seed in _seeds(config)[:CHECKED]]
    weights = {path: torch.stack([start[path] for start in starts]) for path in starts[0]}
    chosen = problem.larger_than(max(config.probe_counts))
    found = [statistics(problem.diagonals(weights, probes=count, only=chosen)) for count in (*config.probe_counts, EXACT)]
    progress.tick()
    errors = np.log(np.array(found[:-1]) / found[-1])[..., :-1]
    names = [f"{network}: {list(problem.weights)[i]}" for i in chosen]
    coords = {"probe_count": list(config.probe_counts), "checked": names}
    return xr.Dataset({"probe_error": (("probe_count", "start", "checked"), errors)}, coords)


def follow_curve(config: Config, inputs: Inputs, seed: int, progress: Progress) -> xr.Dataset:
    """The perceptron under Adam at every point of the normal curve, all from one start."""
    problem = _landscape(config, inputs, NETWORKS[0])
    problem.start(seed)
    beta, gamma = stability.normal_curve(num=config.points)
    decays = [(Decay(beta=float(b), gamma=float(g)),) for b, g in zip(beta, gamma, strict=True)]
    ensemble = Ensemble(problem.model, problem.loss, decays, lr=config.curve_rate)
    levels = Levels(config.levels, ensemble.params)
    found = np.full((config.points, len(config.levels), len(problem.weights)), np.nan)
    for n in progress.over(config.curve_steps + len(config.levels), {"ensemble": ensemble, "levels": levels, "found": found}):
        if n < config.curve_steps:
            levels.follow(ensemble, n, problem.batch)
            continue
        members, weights = levels.at(n - config.curve_steps)
        if len(members):
            found[members, n - config.curve_steps] = statistics(problem.diagonals(weights, probes=EXACT))[:, :-1]
    C = stability.coefficient(beta=beta, gamma=gamma)
    coords = {"level": list(config.levels), "curve_layer": list(problem.weights)}
    points = {"beta": ("point", beta), "gamma": ("point", gamma), "coefficient": ("point", C)}
    curve = {"curve_r_med": (("point", "level", "curve_layer"), found), "curve_step": (("point", "level"), levels.step)}
    return xr.Dataset(curve, {**coords, **points})


UNITS = {
    "r_med": "max over median of |H_ii| in a layer, where a level is first reached; larger layers estimated",
    "exact": "the same from the exact diagonal, for estimated layers at some checkpoints",
    "pooled": "the same over all layers together",
    "step": "steps to the level",
    "reached": "loss there over the initial loss",
    "rate": "learning rate",
    "common": "1 where all methods reached the level with every seed",
    "slow_r_med": "as r_med, at the smallest rate of the grid",
    "slow_common": "1 where both methods reached the level with every seed at that rate",
    "probe_error": "log of estimated over exact R_med at fresh weights",
    "curve_r_med": "max over median of |H_ii| in a layer of the perceptron, along the normal curve",
    "curve_step": "steps to the level along the normal curve",
}


def logs(dataset: xr.Dataset, network: str, scale: float = USUAL) -> xr.DataArray:
    """log R_med of a network's layers at the levels that all methods reach: layer, optimizer, seed, level."""
    common = dataset.common.sel(network=network, scale=scale).values == 1
    layers = dataset.owner.values == network
    return np.log(dataset.r_med.sel(scale=scale).isel(layer=layers, level=common))


def _gaps(dataset: xr.Dataset, *, whole: bool) -> xr.DataArray | None:
    """log R_med of SGD less Adam's by layer and seed, at the lowest common level or averaged over all; None without one."""
    found = [logs(dataset, network) for network in NETWORKS]
    if not all(part.sizes["level"] for part in found):
        return None
    chosen = [part.mean("level", skipna=False) if whole else part.isel(level=-1, drop=True) for part in found]
    both = xr.concat(chosen, "layer")
    return both.sel(optimizer="SGD", drop=True) - both.sel(optimizer="Adam", drop=True)


NO_LEVEL: Finding = ("a network has no loss that all methods reach with every seed", "not run at this profile")


@on_enough_seeds
def _below(dataset: xr.Dataset, *, whole: bool) -> Finding:
    gaps = _gaps(dataset, whole=whole)
    if gaps is None:
        return NO_LEVEL
    interval = mean_interval(gaps.transpose("layer", "seed").values)
    below, above = (interval.low > 0).mean(), (interval.high < 0).mean()
    words = f"{below:.0%} of {len(interval.mean)} layers below, {above:.0%} above; mean log(SGD/Adam)"
    return f"{words} {_listed(interval.mean)}", passes_for(float(below))


def _listed(values: Array) -> str:
    return ", ".join(f"{value:+.2f}" for value in values)


def slow_gaps(dataset: xr.Dataset, network: str) -> xr.DataArray | None:
    """log R_med of SGD less Adam's by layer and seed at the smallest rates, at the lowest level that both reach."""
    common = dataset.slow_common.sel(network=network).values == 1
    if not common.any():
        return None
    found = dataset.slow_r_med.isel(layer=dataset.owner.values == network, level=common).isel(level=-1, drop=True)
    return np.log(found.sel(optimizer="SGD", drop=True) / found.sel(optimizer="Adam", drop=True))


@on_enough_seeds
def _slowly(dataset: xr.Dataset) -> Finding:
    words, held = [], []
    for network in NETWORKS:
        fast, slow = logs(dataset, network), slow_gaps(dataset, network)
        if not fast.sizes["level"] or slow is None:
            continue
        end = fast.isel(level=-1)
        sizes = [float(abs(gap.mean("seed")).mean()) for gap in (end.sel(optimizer="SGD") - end.sel(optimizer="Adam"), slow)]
        words.append(f"{network} {sizes[0]:.2f} and {sizes[1]:.2f}")
        held.append(sizes[1] < sizes[0])
    return f"mean |log(SGD/Adam)| over layers at the best and the smallest rates: {', '.join(words)}", passes_each(held)


@on_enough_seeds
def _relatives(dataset: xr.Dataset) -> Finding:
    near: list[xr.DataArray] = []
    for network in NETWORKS:
        found = logs(dataset, network)
        if not found.sizes["level"]:
            return NO_LEVEL
        middle = found.isel(level=-1, drop=True).median("seed", skipna=False)
        adam, sgd = (abs(middle.sel(optimizer=list(RELATIVES)) - middle.sel(optimizer=name)) for name in PAIR)
        near.append((adam < sgd).astype(float))
    cases = xr.concat(near, "layer")
    by_method = ", ".join(f"{name} {float(cases.sel(optimizer=name).mean()):.0%}" for name in RELATIVES)
    return f"{float(cases.mean()):.0%} of {cases.size} cases nearer to Adam ({by_method})", passes_for(float(cases.mean()))


@on_enough_seeds
def _initialisation(dataset: xr.Dataset) -> Finding:
    words, changed = [], []
    for network in NETWORKS:
        ends = [logs(dataset, network, float(dataset.scale[i])) for i in (0, -1)]
        if not all(end.sizes["level"] for end in ends):
            continue
        middle = [end.isel(level=-1, drop=True).median("seed", skipna=False) for end in ends]
        small, large = (one.sel(optimizer="SGD") - one.sel(optimizer="Adam") for one in middle)
        turned = (small * large < 0).values
        words.append(f"{network} {turned.sum()} of {turned.size} layers")
        changed.append(bool(turned.any()))
    return f"sign changes in {'; '.join(words)}", passes_each(changed)


def estimate_errors(dataset: xr.Dataset) -> Array:
    """log(estimated/exact) of R_med at every layer and checkpoint where both are known."""
    errors = np.log(dataset.r_med / dataset.exact).values
    return np.asarray(errors[np.isfinite(errors)])


def _estimate(dataset: xr.Dataset) -> Finding:
    errors = estimate_errors(dataset)
    middle = float(np.median(np.abs(errors)))
    measured = f"median |error| of log R_med {middle:.3f}, mean {errors.mean():+.3f}, largest {np.abs(errors).max():.2f}"
    return f"{measured}; {len(errors)} cases, {dataset.attrs['probes']} probes", passes(middle <= 0.1)


def along_curve(dataset: xr.Dataset) -> xr.DataArray | None:
    """Mean over seeds of log R_med at the lowest level that every point reaches: curve_layer, point; None without one."""
    everywhere = dataset.curve_step.notnull().all(("seed", "point")).values
    found = np.log(dataset.curve_r_med.isel(level=everywhere))
    return found.isel(level=-1).mean("seed").transpose("curve_layer", "point") if everywhere.any() else None


@on_enough_seeds
def _region(dataset: xr.Dataset) -> Finding:
    found = along_curve(dataset)
    if found is None:
        return "no loss is reached all along the curve", "not run at this profile"
    C = dataset.coefficient.values
    orders = np.array([rank_correlation(C, layer) for layer in found.values])
    steps = np.abs(np.diff(found.values, axis=1))
    at_edge = steps[:, np.flatnonzero(np.diff(np.sign(C)))[0]] / np.median(steps, axis=1)
    change = ", ".join(f"{x:.1f}" for x in at_edge)
    measured = f"rank correlation with C by layer {_listed(orders)}; change across C = 0 over the median change {change}"
    return measured, passes(bool((np.abs(orders) >= 0.8).all() and abs(np.sign(orders).sum()) == len(orders)))


JML, ASKED = "[JML] abstract, as we read it", "asked here: chapter 9"
JUDGED = "usual initial weights, every network and layer"

TESTS = [
    Test(
        "JML-9f",
        JML,
        "On real networks, per layer at the same loss, Adam's R_med is below that of SGD with momentum",
        f"{JUDGED}, lowest loss that all reach: interval over seeds of the paired difference of log R_med above 0; three "
        "quarters of the layers: partly",
        functools.partial(_below, whole=False),
    ),
    Test(
        "JML-9g",
        JML,
        "The same along the whole trajectory",
        "as JML-9f, averaged over all losses that all methods reach",
        functools.partial(_below, whole=True),
    ),
    Test(
        "D-9h",
        ASKED,
        "k-Adam, RMSprop and SignGD lie with Adam",
        f"{JUDGED}, lowest loss that all reach: median log R_med nearer to Adam's than to SGD's; three quarters: partly",
        _relatives,
    ),
    Test(
        "D-9i",
        ASKED,
        "The size of the initial weights decides which method has the smaller R_med",
        "the sign of the median difference of log R_med, SGD less Adam, differs between smallest and largest scale in at least "
        "one layer, every network; some networks: partly",
        _initialisation,
    ),
    Test(
        "D-9j",
        ASKED,
        "The estimate from random signs may be trusted",
        "|log(estimated/exact)| of R_med at most 0.1 in the median over layers and checkpoints",
        _estimate,
    ),
    Test(
        "D-9k",
        ASKED,
        "R_med sees the stability region",
        "along the normal curve at the same loss: |rank correlation of R_med with C| at least 0.8 with one sign in every layer",
        _region,
    ),
    Test(
        "D-9n",
        f"{ASKED}; asked after a look at other seeds",
        "The smaller the learning rate, the less the methods differ",
        "usual initial weights, lowest loss that all reach: mean over layers of |mean over seeds of log(SGD/Adam)| smaller at "
        "the grid's smallest rates than at the best ones, every network; some: partly",
        _slowly,
    ),
]


def claims(dataset: xr.Dataset | None, *, profile: str = "") -> list[Claim]:
    """The verdicts that a record of curvature gives."""
    return judge_all(TESTS, dataset, profile=profile, notebook=NOTEBOOK)
