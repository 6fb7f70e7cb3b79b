"""What orders runs, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import CPU, Checked, Fields, require

# The cases in which orders are judged; the others show what disturbs them: a long memory, and gradients crowded around zero.
JUDGED = ("quadratic", "perceptron", "transformer")


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu."""

    beta: float = 0.999
    gamma: float = 0.9
    substeps: int = 2  # of the integrator, a step; twice as many where its error is measured
    time: float = 0.2  # eta * steps on the numpy problems
    first_steps: int = 25  # steps at the largest learning rate, then each time twice as many
    rates: int = 6  # learning rates
    seeds: int = 2  # perceptrons and transformers; their errors are averaged geometrically
    small_time: float = 0.005  # the same for the transformer, whose gradients change within a few 1e-3
    small_first_steps: int = 20
    small_factor: float = 2**0.6
    small_rates: int = 5
    crowd: int = 4000  # weights of the crowd
    width: int = 8  # of the transformer, the smoke size of chapter 2
    batch: int = 4  # windows of text: the full batch
    context: int = 16  # characters a window
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package
    seed: int = 0

    def check(self) -> None:
        least = min(self.rates, self.small_rates)
        require(least >= 2, f"rates and small_rates must be at least 2, got {self.rates} and {self.small_rates}")


SHORT: Fields = {"time": 0.02, "first_steps": 5, "small_first_steps": 4, "small_factor": 2.0}

PROFILES = {
    "smoke": Config(rates=3, seeds=1, small_rates=2, crowd=200, text="embedded", **SHORT),
    "laptop": Config(rates=5, seeds=1),
    CPU: Config(),  # the reference: a minute of one core
    "paper": Config(rates=7, small_rates=6, batch=8),
}

DATA = "text"
