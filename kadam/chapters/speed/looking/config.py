"""What is measured of what the monitor costs, at which profile."""

from dataclasses import dataclass, replace

from kadam.lab.records.profiles import Checked, Shape, check_choice, require


@dataclass(frozen=True)
class Setting(Checked):
    """A transformer that is watched; it goes by its name in the record."""

    name: str
    shape: Shape
    every: int  # steps between two measurements
    most: float  # the share of the training time that measurements may take
    batch: int = 16  # windows of text
    context: int = 128  # tokens a window
    numba: bool = True  # whether the monitor's kernel may be taken; on a GPU there is none

    def check(self) -> None:
        require(self.every >= 1, f"every must be at least 1, got {self.every}")


# The limits were set before anything was measured: in the monitor's own plan.
SETTINGS = (
    Setting("0.8M weights, every step", Shape(width=128, layers=4, heads=4), every=1, most=0.05),
    Setting("0.8M weights, twice the batch", Shape(width=128, layers=4, heads=4), every=1, most=0.05, batch=32),
    Setting("10.7M weights, every tenth", Shape(width=384, layers=6, heads=6), every=10, most=0.02, batch=4),
)
WITHOUT_NUMBA = tuple(replace(SETTINGS[i], name=f"{SETTINGS[i].name}, without numba", numba=False) for i in (0, 2))
TINY = (Setting("tiny", Shape(width=8, layers=1, heads=2), every=1, most=1.0, batch=2, context=4, numba=False),)


@dataclass(frozen=True)
class Config(Checked):
    """What is measured; the defaults are the laptop profile."""

    settings: tuple[Setting, ...] = SETTINGS + WITHOUT_NUMBA
    rounds: int = 15  # in each a step, and a measurement after it
    vocabulary: int = 65
    device: str = "cpu"
    seed: int = 0

    def check(self) -> None:
        check_choice("device", self.device, ("cpu", "cuda"))
        require(self.rounds >= 1, f"rounds must be at least 1, got {self.rounds}")


PROFILES = {"smoke": Config(TINY, rounds=2), "laptop": Config(), "paper": Config(SETTINGS, rounds=50, device="cuda")}
