"""What is run of the stability region, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import Checked, require


@dataclass(frozen=True)
class Config(Checked):
    """What a run is made of; the defaults are the laptop profile."""

    grid: int = 201  # points a side of the maps
    length: int = 200  # iterations of the sequences
    sequences: int = 300  # random and adversarial gradient sequences, each with its own pair of decay rates
    pairs: int = 400  # pairs (beta, gamma) whose growth is simulated, around both boundaries
    seed: int = 0

    def check(self) -> None:
        require(self.length >= 20, f"length must be at least 20, got {self.length}")


PROFILES = {
    "smoke": Config(grid=41, length=50, sequences=40, pairs=40),
    "laptop": Config(),
    "paper": Config(grid=401, length=1000, sequences=3000, pairs=4000),
}
