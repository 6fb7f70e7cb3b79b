"""What quadratics runs, at which profile."""

from dataclasses import dataclass
from typing import Any

from kadam.lab.records.profiles import Checked, require

FACTOR = 10.0  # by which an update must grow in silence to count

SETTING = ("noise", "weight_decay", "eps", "eta")  # what of a run is no decay rate

# The setting of the figure's first column, and what each of the others changes of it.
BASE = {"eta": 0.01, "noise": 0.0, "weight_decay": 0.0, "eps": 0.0}
VIEWS: dict[str, dict[str, float]] = {
    "base": {},
    "learning rate / 10": {"eta": 0.001},
    "learning rate x 10": {"eta": 0.1},
    "noise": {"noise": 1.0},
    "weight decay": {"weight_decay": 0.1},
    "eps": {"eps": 1e-3},
}

CASES = ("plain", "with noise, weight decay and eps")  # in which the learning rate and all that is measured in it are scaled
POWERS = (0, -3, -6, -10)  # of two: the learning rates there, three decades


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu. Every pair is run in every setting."""

    grid: int = 100  # values of each decay rate, in the middles of equal parts of [0, 1)
    horizons: tuple[int, ...] = (100, 1000, 5000, 10_000)  # steps after which the loss is looked at, in one run
    silences: tuple[int, ...] = (100, 1000)  # steps without a gradient after the last of them
    rates: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0)
    noises: tuple[float, ...] = (0.0, 0.001, 0.03, 1.0)  # standard deviation of what is added to the gradient
    weight_decays: tuple[float, ...] = (0.0, 0.1)
    epsilons: tuple[float, ...] = (0.0, 1e-6, 1e-3)
    thresholds: tuple[float, ...] = (1e-2, 1e-3, 1e-5)  # of the loss, below which a run looks stable
    start: float = 2.0  # theta_0
    seed: int = 10  # sizes and criteria were chosen on another grid, another start and seed 0

    def check(self) -> None:
        require(self.grid >= 4, f"grid must be at least 4, got {self.grid}")
        for name in ("horizons", "silences"):
            values: tuple[Any, ...] = getattr(self, name)
            require(len(values) >= 2 and list(values) == sorted(set(values)), f"{name} must hold two or more, in order")
        for name, values in {"noises": self.noises, "weight_decays": self.weight_decays, "epsilons": self.epsilons}.items():
            require(min(values, default=-1.0) >= 0, f"{name} must hold one number or more, each >= 0, got {values!r}")


PROFILES = {
    "smoke": Config(grid=16, horizons=(20, 200), silences=(20, 200)),
    "laptop": Config(grid=30, horizons=(100, 1000, 2000)),
    "cpu": Config(),
    "paper": Config(grid=200),
}
