"""What predicts runs, at which profile."""

from dataclasses import dataclass

from kadam.chapters.local_geometry.settings import LAPTOP, LARGE, SMALL
from kadam.lab.records.profiles import CPU, Checked, Sizes, require

BY = ("SGD", "Adam")  # who goes on from every place


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu."""

    beta: float = 0.999
    gamma: float = 0.9
    levels: tuple[float, ...] = (0.6, 0.3, 0.1)  # of the initial loss; the last is only an end
    steps: int = 400
    ahead: int = 20  # steps that are gone on with from a place
    examples: tuple[int, ...] = (64, 8, 16)  # in the fixed batch, by network
    probes: int = 128  # random sign vectors an estimate
    seeds: int = 5
    seed: int = 30  # sizes were chosen on seeds 0 and 1
    sizes: Sizes = LAPTOP
    dtype: str = "float32"

    def check(self) -> None:
        require(len(self.levels) >= 2, f"levels must be two or more, got {self.levels}")


PROFILES = {
    "smoke": Config(levels=(0.9, 0.7), steps=30, ahead=3, examples=(8, 2, 4), probes=8, seeds=1, sizes=SMALL, dtype="float64"),
    "laptop": Config(steps=100, ahead=5, probes=16, seeds=1),
    CPU: Config(),  # the reference: minutes of one core
    "paper": Config(steps=1200, ahead=60, examples=(512, 16, 256), probes=256, seeds=10, sizes=LARGE),
}

DATA = "text and images"
