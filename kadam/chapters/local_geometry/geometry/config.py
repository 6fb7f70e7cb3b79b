"""What geometry runs, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import CPU, Checked, require

STARTS = {"d^-3": 3, "d^-2": 2, "1/d": 1}  # variance of the initial weights: minus the exponent
LAYERS = ("layer 1", "layer 2", "pooled")
LEVELS = (0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)  # of the initial loss
LAWS = {"small_start": "vanishing start", "from_start": "with shrinking part and rest"}  # of where gradient descent ends


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu."""

    beta: float = 0.999
    gamma: float = 0.9  # of Adam's momentum and of gradient descent's
    dimensions: tuple[int, ...] = (20, 50, 100, 200)
    resolution: int = 100  # steps in which a sign-like method moves a weight by d^(-3/4), about its size at the end
    rate: float = 4e-3  # of gradient descent
    steps: int = 500
    seeds: int = 10
    seed: int = 20  # tuned on 0 to 4; the law with the rest was found on 10 to 19

    def check(self) -> None:
        require(min(self.dimensions) >= 2, f"dimensions must be whole numbers >= 2, got {self.dimensions}")


PROFILES = {
    "smoke": Config(dimensions=(10, 20), resolution=60, rate=6e-3, steps=220, seeds=3),
    "laptop": Config(dimensions=(20, 50, 100), seeds=4),
    CPU: Config(),  # the reference: a quarter of a minute of one core
    "paper": Config(dimensions=(20, 50, 100, 200, 500), seeds=20),
}
