"""What angles runs, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import CPU, LAPTOP, PAPER, SMOKE, Checked, Sizes, require

FALLING = ("AdamW, falling", "AdamC, falling")  # ways whose learning rate falls at the end; AdamC's decay falls with it


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu."""

    beta: float = 0.999
    gammas: tuple[float, ...] = (0.5, 0.9, 0.95)
    rates: tuple[float, ...] = (1e-3, 3e-3, 6e-3)  # the last is where falling rates start
    weight_decay: float = 0.1  # 1/(2 eta lambda) = 5000, 1667 and 833 steps
    steps: int = 4000
    hold: float = 0.6  # share of the steps before rates fall
    floor: float = 0.1  # share of the rate to which they fall, in a straight line
    every: int = 10  # steps between two looks
    windows: int = 40  # of looks, over which the record keeps averages
    batch: int = 4  # windows of text, or images
    seeds: int = 5
    seed: int = 40  # sizes were chosen on seeds 0 and 1
    sizes: Sizes = LAPTOP

    def check(self) -> None:
        looks = self.steps // self.every
        require(looks % self.windows == 0, f"steps / every must be a multiple of windows = {self.windows}, got {looks}")
        for name in ("hold", "floor"):
            require(0 < getattr(self, name) < 1, f"{name} must lie between 0 and 1, got {getattr(self, name)}")


PROFILES = {
    "smoke": Config(steps=40, every=2, windows=10, batch=3, seeds=1, gammas=(0.5, 0.9), sizes=SMOKE),
    "laptop": Config(steps=800, seeds=1),
    CPU: Config(),  # the reference: minutes of one core
    "paper": Config(steps=20_000, every=20, batch=8, sizes=PAPER),
}

DATA = "text and images"
