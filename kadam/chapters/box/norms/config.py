"""What norms runs, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import Checked, require

BASES = ("axes", "rotated")


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are the laptop profile."""

    steps: int = 2000
    kept: int = 60  # steps at which losses are kept
    dimensions: tuple[int, ...] = (10, 30, 100)
    seeds: int = 5
    level: float = 0.01  # of the first loss: when it is reached is recorded
    spread: float = 10.0  # of the eigenvalues of the quadratic for the identity
    seed: int = 10  # sizes and criteria were chosen on seeds 0 to 2

    def check(self) -> None:
        large = min(self.dimensions) >= 2
        require(large, f"dimensions must hold one number or more, each >= 2, got {self.dimensions!r}")


PROFILES = {
    "smoke": Config(steps=150, kept=12, dimensions=(6, 12), seeds=2, level=0.1),
    "laptop": Config(),
    "paper": Config(steps=20_000, kept=120, dimensions=(10, 30, 100, 300), seeds=20),
}
