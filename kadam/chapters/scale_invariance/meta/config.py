"""What meta runs, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import CPU, LAPTOP, PAPER, SMOKE, Checked, Fields, Sizes, require

# What may change on purpose in the middle of training; then the convolutional networks, and the stages that they train with.
CHANGES = ("none", "loss x 10", "loss / 10", "larger batches", "smaller batches", "other letters")
NETWORKS = {"normalised, Adam": 1, "plain, Adam": 1, "plain, 2-Adam": 2}


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu."""

    beta: float = 0.999
    gamma: float = 0.9
    eta: float = 2e-3
    weight_decay: float = 4.0  # 1/(2 eta lambda) = 62 steps: the norm's memory
    steps: int = 400
    change: int = 200  # the step before which gradients change
    around: int = 50  # steps before the change, and at the end, over which sizes are averaged
    horizon: int = 30  # steps after the change at which directions are compared: half a memory of the norm
    every: int = 10  # steps between two kept values
    seeds: int = 3
    small: int = 4  # windows of text in a small batch
    large: int = 12  # in a larger one
    rates: tuple[float, ...] = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)  # learning rates of the convolutional networks
    image_decay: float = 0.5  # their weight decay
    batch: int = 16  # images
    sizes: Sizes = LAPTOP
    seed: int = 10  # the criteria below were chosen on seeds 0 to 2

    def check(self) -> None:
        change, around, steps, left = self.change, self.around, self.steps, self.steps - self.change
        between = around < change < steps - around
        require(between, f"change must lie between around and steps - around, got {change}, {around}, {steps}")
        require(self.horizon <= left, f"horizon must be at most steps - change = {left}, got {self.horizon}")

    @property
    def start(self) -> float:
        """Mean square of the entries at the start: there growth and decay balance if |g/sqrt(v)|^2 is 1 an entry."""
        return self.eta / (2 * self.weight_decay)


SHORT: Fields = {"steps": 40, "change": 20, "around": 5, "horizon": 15, "every": 5}
LONG: Fields = {"steps": 800, "change": 400, "around": 80, "horizon": 60, "every": 20}

PROFILES = {
    "smoke": Config(sizes=SMOKE, seeds=1, small=2, large=4, rates=(1e-3, 4e-3), batch=8, **SHORT),
    "laptop": Config(seeds=1, steps=200, change=100),
    # The reference: a minute of one core.
    CPU: Config(),
    "paper": Config(sizes=PAPER, weight_decay=2.0, small=16, large=64, batch=64, **LONG),
}

DATA = "text and images"
