"""What is run of generalization, at which profile."""

from dataclasses import dataclass

from kadam.decay import Decay
from kadam.lab.records.profiles import Checked, Fields, require

NORMAL = "normal"  # the name of the normal curve
ADAM = Decay(beta=0.999, gamma=0.9)  # through which it goes
ADAM_C = 0.22122122122122115  # its C, as :func:`kadam.theory.stability.coefficient` has it

CHOICES = ("fixed", "tuned")  # of the learning rate: one for all pairs, or each pair's best


@dataclass(frozen=True)
class Config(Checked):
    """What is trained; the defaults are the laptop profile."""

    normal: int = 32  # pairs on the normal curve, one of them with equal betas
    level: int = 8  # pairs on each level curve
    levels: tuple[float, ...] = (ADAM_C, 0.05, 0.0, -0.03)  # their C
    rates: tuple[float, ...] = (1e-3, 1e-2)
    fixed_rate: float = 1e-3  # one of them: the learning rate of the comparison at one rate
    targets: tuple[float, ...] = (3.5, 3.3, 3.2)  # validation losses, nats a character
    seeds: int = 3  # weights and batches, repeated
    chunk: int = 64  # members that train together: the unit of work that processes share and checkpoints keep
    steps: int = 100
    evaluations: int = 20  # after the one before the first step, at equal distances
    batch: int = 8  # windows of text a step
    context: int = 16  # characters a window
    held_out: float = 0.1  # share of the text, its end, that is not trained on
    windows: int = 64  # of it, evenly spaced, by which every member is judged
    width: int = 16
    layers: int = 1
    heads: int = 1
    dtype: str = "float32"
    device: str = "cpu"
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package
    seed: int = 200  # of the first repetition; sizes, rates and targets were chosen on seeds 0 to 2

    def check(self) -> None:
        for name, values in (("rates", self.rates), ("targets", self.targets)):
            require(len(set(values)) == len(values), f"{name} must hold each number once, got {values!r}")
        fixed = self.fixed_rate
        require(fixed in self.rates, f"fixed_rate must be one of rates {self.rates!r}, got {fixed!r}")
        require(self.evaluations <= self.steps, f"evaluations must be at most steps, {self.steps}, got {self.evaluations}")


# Pairs and rates, training, and the network: of the three other profiles.
FEW: Fields = {"normal": 6, "level": 2, "levels": (ADAM_C, -0.03), "rates": (3e-3, 1e-2, 3e-2), "fixed_rate": 3e-3}
SHORT: Fields = {"chunk": 10, "steps": 60, "evaluations": 6, "batch": 4, "context": 8, "windows": 16, "width": 8}
LONGER: Fields = {"chunk": 32, "steps": 1000, "layers": 2, "width": 32, "windows": 128}
LONG: Fields = {"chunk": 256, "steps": 1500, "evaluations": 30, "batch": 16, "context": 32, "windows": 128}
LARGE: Fields = {"width": 64, "layers": 2, "device": "cuda"}

PROFILES = {
    "smoke": Config(targets=(4.0, 3.5), dtype="float64", text="embedded", **FEW, **SHORT),
    "laptop": Config(),
    # What one core does in about twenty minutes.
    "cpu": Config(rates=(3e-4, 1e-3, 3e-3, 1e-2), targets=(2.8, 2.6, 2.5), seeds=5, **LONGER),
    # All pairs at all rates with a seed in one ensemble. Targets: Adam with seed 7 takes 400, 900 and 1,400 steps to them.
    "paper": Config(rates=(1e-4, 3e-4, 1e-3, 3e-3), targets=(2.4, 2.2, 2.1), seeds=5, **LONG, **LARGE),
}

DATA = "text"
