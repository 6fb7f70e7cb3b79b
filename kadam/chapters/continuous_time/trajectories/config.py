"""What trajectories runs, at which profile."""

from dataclasses import dataclass

from kadam.decay import Decay
from kadam.lab.records.profiles import CPU, Checked, Fields, require


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu. A learning rate is a time over its steps."""

    beta: float = 0.999
    gamma: float = 0.9
    substeps: int = 2  # of the integrator, a step; twice as many on the map
    width: int = 16  # of the transformer
    layers: int = 1
    heads: int = 2
    batch: int = 8  # windows of text: the full batch
    context: int = 16  # characters a window
    weights: int = 16  # randomly chosen ones, as in [G&T, Fig. 1]
    path_time: float = 0.05
    path_steps: tuple[int, ...] = (25, 50, 100, 200)
    shown_steps: int = 50  # of the 16 weights' path
    long_time: float = 0.125
    long_steps: int = 125
    noise_time: float = 0.02
    noise_steps: tuple[int, ...] = (20, 40)
    map_betas: tuple[float, ...] = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
    map_gammas: tuple[float, ...] = (0.0, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99)
    map_time: float = 0.16
    map_steps: int = 80
    exponents: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)  # p
    p_time: float = 0.2
    p_steps: int = 100
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package
    seed: int = 0

    def check(self) -> None:
        even, shown = self.substeps % 2 == 0, self.shown_steps
        require(even, f"substeps must be even, for minibatches change between two of them; got {self.substeps}")
        require(shown in self.path_steps, f"shown_steps must be one of path_steps {self.path_steps}, got {shown}")

    @property
    def decay(self) -> Decay:
        return Decay(beta=self.beta, gamma=self.gamma)


# Network and data, lengths of the runs, and what varies, of the smoke profile.
SMALL: Fields = {"width": 8, "heads": 1, "batch": 2, "context": 8, "text": "embedded"}
TIMES: Fields = {"path_time": 0.004, "long_time": 0.01, "noise_time": 0.002, "map_time": 0.04, "p_time": 0.02}
STEPS: Fields = {"path_steps": (8, 16), "shown_steps": 16, "long_steps": 10, "noise_steps": (4, 8), "map_steps": 10}
FEW: Fields = {"map_betas": (0.5, 0.95, 0.999), "map_gammas": (0.0, 0.9, 0.99), "exponents": (0.0, 2.0), "p_steps": 10}
# Of the laptop profile.
SHORTER: Fields = {"long_time": 0.05, "long_steps": 50, "map_time": 0.08, "map_steps": 40, "p_time": 0.1, "p_steps": 50}
FEWER: Fields = {"noise_steps": (20,), "map_betas": (0.0, 0.8, 0.95, 0.999), "map_gammas": (0.0, 0.5, 0.9, 0.99)}

PROFILES = {
    "smoke": Config(**SMALL, **TIMES, **STEPS, **FEW),
    "laptop": Config(path_steps=(25, 50), exponents=(0.0, 0.5, 2.0), **SHORTER, **FEWER),
    CPU: Config(),  # the reference: a minute of one core
    "paper": Config(width=32, layers=2, heads=2, context=32, long_time=0.5, long_steps=500),
}

DATA = "text"
