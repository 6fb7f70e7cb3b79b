"""The stability region: maps, the two boundaries, and runs of the discrete algorithm that test each theorem.

The independent float64 k-Adam (``theory.reference``) is held against the closed forms (``theory.stability``).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from tqdm import tqdm

from kadam.chapters.stability.config import PROFILES, Config
from kadam.decay import Decay
from kadam.lab.records.record import recorded
from kadam.theory import stability
from kadam.theory.arguments import Array
from kadam.theory.reference import kadam_updates

# Pairs (beta, gamma) that people use or might, and where they come from. PyTorch's order would be (gamma, beta).
PRACTICE = {
    "Adam default": (0.999, 0.9),  # Kingma & Ba 2015, torch.optim.Adam
    "language models": (0.95, 0.9),  # Brown et al. 2020 and most large language models since
    "Transformer": (0.98, 0.9),  # Vaswani et al. 2017
    "RMSprop": (0.99, 0.0),  # torch.optim.RMSprop's alpha, without momentum
    "SignSGD": (0.0, 0.0),  # Bernstein et al. 2018
    "equal betas": (0.95, 0.95),  # Orvieto & Gower 2025
    "momentum 0.97": (0.95, 0.97),  # ours: the language-model pair with more momentum
    "momentum 0.98": (0.95, 0.98),  # ours: a little more, and both boundaries are crossed
    "default swapped": (0.9, 0.999),  # ours: Adam's default with beta1 and beta2 exchanged
}

# Pairs on which tightness and the continuous expression are shown: inside, between the boundaries, on, and outside.
EXAMPLES = [
    Decay(beta=b, gamma=g) for b, g in ((0.999, 0.9), (0.95, 0.9), (0.9, 0.95), (0.95, 0.974), (0.81, 0.9), (0.9, 0.99))
]

# Iterations after which the moments of a silent coordinate (0.3^200 = 1e-105) are still far from underflow.
LONGEST_SILENCE = 200


@recorded("stability", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """The maps and the tests of the theorems; seconds, so ``checkpoint`` and ``jobs`` are not needed."""
    parts = (maps, practice, examples, random_sequences, simulated_growth, last_stage)
    dataset = xr.merge([part(config) for part in tqdm(parts, desc="stability", unit="part", disable=None)])
    dataset.attrs = {"data": "none: closed forms and synthetic gradients", "data_sha256": "", "data_origin": "none"}
    return dataset


def maps(config: Config) -> xr.Dataset:
    """C and both growth rates over the unit square and over its corner near (1, 1), and both boundaries."""
    side, fine = np.linspace(0, 1, config.grid, endpoint=False), np.linspace(0, 1, 1001)[:-1]
    axes = np.stack([side, 0.85 + 0.15 * side])
    beta, gamma, plane = axes[:, :, None], axes[:, None, :], ("window", "row", "column")
    normal_beta, normal_gamma = stability.normal_curve(num=64)
    columns = {
        "map_beta": (("window", "row"), axes),
        "map_gamma": (("window", "column"), axes),
        "coefficient": (plane, stability.coefficient(beta=beta, gamma=gamma).astype(np.float32)),
        "rate_discrete": (plane, stability.growth_rate(beta=beta, gamma=gamma).astype(np.float32)),
        "boundary_discrete": ("boundary_gamma", stability.boundary(fine)),
        "boundary_continuous": ("boundary_gamma", stability.boundary(fine, time="continuous")),
        "normal_beta": ("normal", normal_beta),
        "normal_gamma": ("normal", normal_gamma),
    }
    return xr.Dataset(columns, coords={"window": ["square", "corner"], "boundary_gamma": fine})


def practice(config: Config) -> xr.Dataset:
    """What the theory says of the pairs that people use."""
    beta, gamma = np.array(list(PRACTICE.values())).T
    pairs: dict[str, Any] = {"beta": beta, "gamma": gamma}
    columns = pairs | {
        "coefficient": stability.coefficient(**pairs),
        "rate": stability.growth_rate(**pairs),
        "stable_discrete": stability.is_stable(**pairs).astype(np.int8),
        "stable_continuous": stability.is_stable(**pairs, time="continuous").astype(np.int8),
        **{f"bound_{n}": stability.max_update_bound(n, **pairs) for n in (10, 100, 1000)},
    }
    named = {f"practice_{name}": ("practice", values) for name, values in columns.items()}
    return xr.Dataset(named, coords={"practice": list(PRACTICE)})


def examples(config: Config) -> xr.Dataset:
    """For a few pairs and every n: both bounds, and what the algorithm reaches on the worst-case gradients."""
    beta, gamma = np.array([(pair.beta, pair.gamma) for pair in EXAMPLES]).T
    n, dims = np.arange(config.length), ("n", "example")
    reached = [[abs(kadam_updates(stability.worst_case_gradients(int(i), **vars(d)), [d])[-1]) for d in EXAMPLES] for i in n]
    bounds = [stability.max_update_bound(n[:, None], beta=beta, gamma=gamma, time=t) for t in ("discrete", "continuous")]
    columns = {
        "example_beta": ("example", beta),
        "example_gamma": ("example", gamma),
        "bound_discrete": (dims, bounds[0]),
        "bound_continuous": (dims, bounds[1]),
        "attained": (dims, np.array(reached)),
    }
    return xr.Dataset(columns, coords={"n": n})


def random_sequences(config: Config) -> xr.Dataset:
    """The largest |u_n| / bound_n, n >= 1, of random and adversarial sequences, each with a pair drawn at random."""
    rng = np.random.default_rng([config.seed, 1])
    sequences = _gradient_sequences(config, rng)
    kinds, ratios = zip(*((kind, largest_ratio(of, [_random_decay(rng)])) for kind, of in sequences), strict=True)
    return xr.Dataset({"sequence_ratio": ("sequence", list(ratios)), "sequence_kind": ("sequence", list(kinds))})


def largest_ratio(gradients: Array, stages: Sequence[Decay]) -> float:
    """max |u_n| / (bound_n of the last stage) over n >= 1; at n = 0 both are 1."""
    n = np.arange(1, len(gradients))
    return float(np.max(np.abs(kadam_updates(gradients, stages)[1:]) / stability.max_update_bound(n, **vars(stages[-1]))))


def _gradient_sequences(config: Config, rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """Noise, heavy tails, spikes, silence after a burst, exponential trends: what gradients might do, and worse."""
    for i in range(config.sequences):
        noise = rng.standard_normal(config.length)
        n = np.arange(config.length)
        yield (
            ("noise", noise),
            ("heavy tails", rng.standard_cauchy(config.length)),
            ("spikes", noise * (rng.random(config.length) < 0.05)),
            ("silence", np.where(n < config.length // 4, noise, 0.0)),
            ("trend", np.exp(rng.uniform(-0.2, 0.2) * n) * (1 + 0.1 * noise)),
        )[i % 5]


def _random_decay(rng: np.random.Generator) -> Decay:
    """Rates from all of [0, 1), most of them near 1 where people choose them."""
    beta, gamma = 1 - 10 ** rng.uniform(-3, 0, size=2)
    return Decay(beta=float(beta), gamma=float(gamma))


def simulated_growth(config: Config) -> xr.Dataset:
    """Growth of |u_n| after a burst of noise has fallen silent, for pairs on both sides of the discrete boundary."""
    rng = np.random.default_rng([config.seed, 2])
    gamma = rng.uniform(0.3, 0.95, config.pairs)
    beta = np.clip(stability.boundary(gamma) * np.exp(rng.uniform(-0.2, 0.2, config.pairs)), 0.01, 0.999)
    last = min(config.length, LONGEST_SILENCE) - 1
    n = np.arange(last + 1)
    burst = np.where(n < 10, rng.standard_normal(last + 1), 0.0)
    runs = [np.abs(kadam_updates(burst, [Decay(beta=b, gamma=g)])) for b, g in zip(beta, gamma, strict=True)]
    columns = {
        "beta": beta,
        "gamma": gamma,
        "measured": _mean_rate(np.transpose(runs)),
        "predicted": _mean_rate(stability.silent_update(n[:, None], beta=beta, gamma=gamma)),
        "asymptotic": np.log(gamma) - np.log(beta) / 2,
    }
    return xr.Dataset({f"growth_{name}": ("pair", values) for name, values in columns.items()})


def _mean_rate(size: Array) -> Array:
    """Rate a step between the middle and the last iteration; ``size`` has shape (iteration, pair)."""
    middle, last = len(size) // 2, len(size) - 1
    return np.log(size[last] / size[middle]) / (last - middle)


def last_stage(config: Config) -> xr.Dataset:
    """|u^(k)_n| over the last stage's bound for random stages, and what two orders of a stable and an unstable stage reach."""
    rng = np.random.default_rng([config.seed, 3])
    sequences = _gradient_sequences(config, rng)
    ratios = [largest_ratio(of, [_random_decay(rng) for _ in range(rng.integers(2, 5))]) for _, of in sequences]
    stable, unstable, n = Decay(beta=0.999, gamma=0.9), Decay(beta=0.8, gamma=0.95), np.arange(config.length)
    silent = np.where(n < 10, 1.0, 0.0)
    orders = {"stable last": (unstable, stable), "unstable last": (stable, unstable)}
    reached = [np.abs(kadam_updates(silent, order)).max() for order in orders.values()]
    limits = [stability.max_update_bound(n, **vars(order[-1])).max() for order in orders.values()]
    columns = {"last_stage_ratio": ("sequence", ratios), "order_reached": ("order", reached), "order_limit": ("order", limits)}
    return xr.Dataset(columns, coords={"order": list(orders)})
