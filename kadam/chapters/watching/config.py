"""What is watched: two networks, each in all of ``SITUATIONS``, at which profile."""

from dataclasses import dataclass
from typing import NamedTuple

from kadam.lab.records.profiles import CPU, SMOKE, Checked, Sizes, require

NETWORKS = ("text", "images")


class Situation(NamedTuple):
    """How both networks are trained."""

    betas: tuple[float, float]  # PyTorch's
    rates: tuple[float, float]  # learning rates, of text and of images
    bad: bool = False  # whether some batches are bad


# The first is healthy, and says how often an alarm is false.
SITUATIONS = {
    "inside": Situation((0.9, 0.999), (3e-3, 3e-3)),
    "near": Situation((0.95, 0.91), (3e-3, 3e-3)),
    "outside, (0.95, 0.8)": Situation((0.95, 0.8), (3e-3, 3e-2)),
    "outside, (0.99, 0.9)": Situation((0.99, 0.9), (5e-4, 1e-2)),
    "edge": Situation((0.9, 0.999), (1e-1, 5e-2)),
    "bad batches": Situation((0.9, 0.999), (3e-3, 3e-3), bad=True),
}


LARGER = Sizes(context=16, width=16, heads=1, channels=4)


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu."""

    steps: int = 1800
    settle: int = 200  # steps before the first alarm, and before a step that say what a usual loss is
    memory: int = 1000  # steps over which a level runs, the monitor's and the others'
    bad_every: int = 300  # steps from one run of bad batches to the next
    bad: int = 5  # batches in a row
    seeds: int = 5
    healthy_seeds: int = 3  # whose healthy runs set the thresholds; they come before ``seed``
    text_batch: int = 2  # windows of text a step: so few that rare characters are silent in most steps
    image_batch: int = 32
    sizes: Sizes = LARGER
    seed: int = 200  # of the first repetition; rules and situations were set after looks at seeds 0 to 2 and 100 to 104

    def check(self) -> None:
        require(self.settle < self.steps, f"settle must be below steps, {self.steps}, got {self.settle}")
        require(self.healthy_seeds <= self.seed, f"healthy_seeds must be at most seed, {self.seed}, got {self.healthy_seeds}")


PROFILES = {
    "smoke": Config(seeds=1, healthy_seeds=1, steps=60, settle=25, memory=100, bad_every=15, bad=3, sizes=SMOKE),
    "laptop": Config(seeds=1, healthy_seeds=1, steps=400),
    # The reference.
    CPU: Config(),
    "paper": Config(seeds=20, healthy_seeds=10),
}

DATA = "text and images"
