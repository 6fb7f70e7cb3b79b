"""What steady runs, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import CPU, Checked, require

# Where gradients come from: random ones of this correlation from one step to the next, or one neuron that learns.
GRADIENTS = {"correlation -0.8": -0.8, "correlation 0": 0.0, "correlation 0.8": 0.8, "a neuron": None}


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu."""

    beta: float = 0.999
    eta: float = 0.02
    weight_decay: float = 0.2  # 1/(2 eta lambda) = 125 steps
    entries: int = 100  # of the weight
    examples: int = 16  # that the neuron sees a step
    noise: float = 2.0  # of its targets, whose own size is 1
    steps: int = 8000
    late: int = 6000  # steps at the end over which squares are averaged
    seeds: int = 3
    seed: int = 10

    def check(self) -> None:
        require(self.late < self.steps, f"late must be below steps = {self.steps}, got {self.late}")


PROFILES = {
    "smoke": Config(steps=300, late=100, entries=20, seeds=1),
    "laptop": Config(steps=3000, late=2000, seeds=1),
    # The reference: a minute or two of one core.
    CPU: Config(),
    "paper": Config(steps=50_000, late=48_000, seeds=5),
}
