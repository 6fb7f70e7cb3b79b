"""What invariance runs, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import CPU, LAPTOP, PAPER, SMOKE, Checked, Sizes, require

LAGS = (0, 1, 2, 5, 10, 20, 50)  # steps back to the gradients that a weight is compared with
WINDOWS = (1, 10, 50)  # steps over which a weight's displacement is compared with its updates


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu."""

    beta: float = 0.999
    eta: float = 2e-3
    weight_decays: tuple[float, ...] = (0.0, 1.0, 4.0)  # 1/(2 eta lambda) = 250 and 62 steps to equilibrium
    start: float = 1e-3  # mean square of the entries at the start: scale-invariant weights may start at any size
    steps: int = 480
    burn_in: int = 160  # steps before growth counts; the momentum of gamma = 0.99 fills in 100
    late: int = 160  # steps at the end over which angles and cosines are averaged
    every: int = 20  # steps between two kept norms, and between two looks back
    seeds: int = 3
    small: int = 4  # examples (windows of text, images) in a small batch
    large: int = 12  # in a larger one
    fixed: int = 24  # in the one fixed batch
    sizes: Sizes = LAPTOP
    seed: int = 0

    def check(self) -> None:
        steps, every, back = self.steps, self.every, max(LAGS + WINDOWS)
        below = max(self.burn_in, self.late) < steps
        require(below, f"burn_in and late must be below steps = {steps}, got {self.burn_in} and {self.late}")
        require(steps - every > back, f"steps must be above every + {back}, got {steps} and every = {every}")


PROFILES = {
    "smoke": Config(steps=60, burn_in=20, late=20, every=5, sizes=SMOKE, seeds=1, small=3, large=4, fixed=4),
    "laptop": Config(seeds=1, steps=200, burn_in=60, late=60),
    # The reference: a minute and a half of one core.
    CPU: Config(),
    "paper": Config(sizes=PAPER, steps=1000, burn_in=250, late=500, every=50, small=16, large=64, fixed=128),
}

DATA = "text and images"
