"""What radius runs, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import Checked


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of."""

    decays: tuple[float, ...] = (1.0, 3.0, 10.0)  # weight decays
    eta: float = 0.01  # the first learning rate
    bend: float = 200.0  # it falls like eta/(1 + n/bend)^power
    power: float = 0.5
    steps: int = 200
    kept: int = 40  # steps at which values are kept
    followed: int = 60  # weights whose gradients and updates are kept at every step
    seeds: int = 3
    batch: int = 8  # windows of text
    context: int = 16  # characters a window
    width: int = 12
    layers: int = 1
    heads: int = 2
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package
    device: str = "cpu"
    seed: int = 20  # sizes and criteria were chosen on seeds 0 to 2, and that of D-8w after a look at 10 to 12


PROFILES = {
    "smoke": Config(decays=(3.0, 10.0), steps=60, kept=8, followed=20, seeds=1, batch=2, context=8, width=8, text="embedded"),
    "laptop": Config(seeds=1),
    "cpu": Config(steps=20_000, kept=100, followed=20),
}

DATA = "text"
