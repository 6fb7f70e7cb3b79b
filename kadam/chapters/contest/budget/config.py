"""What is run of the search over all knobs, at which profile."""

from dataclasses import dataclass

from kadam.chapters.contest.settings import (
    CHARACTERS,
    FEW,
    HALF,
    LARGE_REVIEWS,
    LITTLE_REVIEWS,
    LONGER,
    MORE,
    NORMALISED_REVIEWS,
    SHORT,
    TINY_SETTINGS,
    Config,
)
from kadam.lab.records.profiles import require

Range = tuple[float, float]


@dataclass(frozen=True)
class Drawn(Config):
    """The same with knobs that are drawn, each between two ends; those of the learning rate are Adam's."""

    methods: tuple[str, ...] = ("Adam", "NAdam", "2-Adam inverse_exp", "2-Adam meta", "4-Adam meta")
    trials: int = 8
    rates: tuple[float, ...] = (5e-4, 5e-2)  # uniform in logarithm, as are 1 - gamma and 1 - beta
    forgets: Range = (0.03, 0.9)  # 1 - gamma
    forgets_squares: Range = (1e-3, 0.2)  # 1 - beta
    warmups: Range = (0.02, 0.3)  # uniform, as is the end
    ends: Range = (0.0, 0.5)
    seed: int = 5000  # far from those of other experiments

    def check(self) -> None:
        super().check()
        for name in ("rates", "forgets", "forgets_squares", "warmups", "ends"):
            of = getattr(self, name)
            require(len(of) == 2 and 0 <= of[0] < of[1] < 1, f"{name} must be two increasing shares, got {of!r}")


PROFILES = {
    "smoke": Drawn(settings=TINY_SETTINGS, trials=3, **SHORT, **FEW),
    "laptop": Drawn(settings=(LITTLE_REVIEWS,)),
    # A quarter of an hour of one core. With nine seeds the verdict without each of them can still be reached, by eight.
    "cpu": Drawn(settings=(CHARACTERS, NORMALISED_REVIEWS), trials=24, seeds=9, **{**LONGER, "evaluations": 2}, **MORE),
    "paper": Drawn(settings=(LARGE_REVIEWS,), trials=16, seeds=8, **HALF),
}

DATA = "corpora"
