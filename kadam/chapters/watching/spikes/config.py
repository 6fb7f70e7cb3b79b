"""What is run of the causes of spikes, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import CPU, Checked, require

# PyTorch's betas and learning rates: two pairs outside the region, and within it a learning rate at the edge of stability.
SITUATIONS = {
    "outside, (0.95, 0.8)": ((0.95, 0.8), 3e-3),
    "outside, (0.99, 0.9)": ((0.99, 0.9), 5e-4),
    "edge": ((0.9, 0.999), 1e-1),
}
EXCESSES = ("silence", "burst")  # what an update has too much of
UNCUT = "nothing"  # is cut from the updates of the runs whose spikes are looked at
CONTROL = "control"  # both excesses with random signs


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu."""

    steps: int = 2000
    settle: int = 200  # steps that say what a usual loss is
    memory: int = 100  # steps for which an excess counts
    seeds: int = 8
    silences: tuple[int, ...] = (20, 40, 80, 120, 160, 200)  # lengths, of the constructed run
    batch: int = 2  # windows of text a step: so few that rare characters are silent in most steps
    context: int = 16  # characters a window
    width: int = 16
    layers: int = 1
    heads: int = 1
    dtype: str = "float64"
    device: str = "cpu"
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package
    seed: int = 300  # sizes were chosen on seed 0

    def check(self) -> None:
        require(self.settle < self.steps, f"settle must be below steps, {self.steps}, got {self.settle}")


PROFILES = {
    "smoke": Config(seeds=1, steps=60, settle=25, memory=20, width=8, text="embedded"),
    "laptop": Config(seeds=1, steps=300),
    # The reference: minutes of one core.
    CPU: Config(),
    "paper": Config(seeds=20, steps=6000, batch=4, context=32, width=32, layers=2, device="cuda"),
}

DATA = "text"
