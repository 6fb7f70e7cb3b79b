"""What box runs, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import Checked


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are the laptop profile."""

    steps: int = 2000
    kept: int = 60  # steps at which values are kept
    rate: float = 0.05  # the first learning rate, in units of the box's radius
    bend: float = 40.0  # the rate falls after so many steps: rate/(1 + n/bend), a power of it
    short_bend: float = 1.6  # the control's
    dimension: int = 20  # of the quadratics
    spread: float = 10.0  # largest over smallest eigenvalue
    quadratics: int = 5
    decays: tuple[float, ...] = (3.0, 10.0, 30.0)  # weight decays of the logistic regressions; the quadratics have 1
    examples: int = 1024  # images
    pixels: int = 4  # they are averaged down to so many a side
    images: str = "real"  # "real", or "embedded" for scikit-learn's digits
    seed: int = 10  # sizes and criteria were chosen on seeds 0 to 2


PROFILES = {
    "smoke": Config(steps=300, kept=12, dimension=6, quadratics=3, decays=(3.0,), examples=64, images="embedded"),
    "laptop": Config(),
    "cpu": Config(steps=100_000, kept=80),
    "paper": Config(steps=100_000, kept=120, dimension=40, quadratics=20, examples=2048),
}

DATA = "images"
