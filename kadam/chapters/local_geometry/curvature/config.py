"""What curvature runs, at which profile."""

from dataclasses import dataclass

from kadam.chapters.local_geometry.settings import LAPTOP, LARGE, SMALL
from kadam.lab.records.profiles import CPU, Checked, Fields, Sizes, require

USUAL = 1.0  # the scale of all initial weights at which all methods are run


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu."""

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

    def check(self) -> None:
        require(USUAL in self.scales, f"scales must hold {USUAL}, the usual one, got {self.scales}")
        searched = self.search_seeds
        require(self.seed >= searched, f"seed must be at least search_seeds = {searched}, got {self.seed}")


FEW: Fields = {"steps": 30, "slow_steps": 60, "examples": (8, 2, 4), "probes": 16, "probe_counts": (4, 16), "points": 4}
SHORT: Fields = {"steps": 60, "slow_steps": 80, "curve_steps": 60, "probes": 32, "probe_counts": (16, 32), "points": 4}

PROFILES = {
    "smoke": Config(scales=(1.0, 2.0), levels=(0.9, 0.7), search_seeds=1, seeds=3, sizes=SMALL, dtype="float64", **FEW),
    "laptop": Config(scales=(1.0, 3.0), levels=(0.6, 0.1), search_seeds=1, seeds=3, **SHORT),
    CPU: Config(),  # the reference: a minute of one core
    "paper": Config(steps=300, examples=(512, 16, 256), points=64, curve_steps=200, slow_steps=1200, seeds=10, sizes=LARGE),
}

DATA = "text and images"
