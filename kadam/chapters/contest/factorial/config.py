"""What is run of pairs of betas, each at its own best rate, at which profile."""

from dataclasses import dataclass

from kadam.chapters.contest.settings import (
    ALL_PAIRS,
    CHARACTERS,
    DEFAULT,
    FEW,
    FOUR_PAIRS,
    GPU,
    LITTLE_CHARACTERS,
    MORE,
    QUICK,
    SHORT,
    THREE,
    TINY_SETTINGS,
    Config,
    method,
)
from kadam.lab.records.profiles import Fields, check_rivals, require


@dataclass(frozen=True)
class Pairs(Config):
    """Pairs of betas in short runs, and a few of them in long ones."""

    long: tuple[str, ...] = ()  # of the baselines those that run long, too
    long_rates: tuple[float, ...] = QUICK
    long_steps: int = 50

    def check(self) -> None:
        super().check()
        check_rivals(self.long)
        require("Adam" in self.long, f"long must hold Adam, got {self.long!r}")
        require(set(self.long) <= set(self.baselines), f"long must name some of the baselines, got {self.long!r}")


# The default; a shorter memory of momentum; none; a short one beside a short second moment; a common choice for large language
# models; equal betas; the longest memory; and that beside so short a second moment that updates may grow.
EIGHT = ((0.9, 0.999), (0.5, 0.999), (0.0, 0.99), (0.7, 0.95), (0.9, 0.95), (0.95, 0.95), (0.98, 0.999), (0.98, 0.9))

COMMON: Fields = {"ks": (1,), "seed": 7000}
SOME: Fields = {"baselines": FOUR_PAIRS, "long": tuple(map(method, ((0.5, 0.999), DEFAULT, (0.9, 0.9))))}
ALL: Fields = {"baselines": ALL_PAIRS, "long": tuple(map(method, EIGHT))}

# Rates of the short runs and of the long ones: in runs of 200 steps with a seed of no other use the best of six rates was
# 2.2e-2 for (0.98, 0.9), and 1.1e-2 for the default and for (0, 0.9).
FIVE = (7e-4, 1.4e-3, 2.8e-3, 5.6e-3, 1.12e-2)
HIGH, LOW = (5.6e-3, 1.12e-2, 2.24e-2, 4.48e-2), (2.8e-3, 5.6e-3, 1.12e-2, 2.24e-2)

PROFILES = {
    "smoke": Pairs(settings=TINY_SETTINGS[:1], rates=THREE, long_rates=THREE, long_steps=12, **SOME, **COMMON, **SHORT, **FEW),
    "laptop": Pairs(settings=(LITTLE_CHARACTERS,), rates=QUICK, **SOME, **COMMON),
    # Six minutes of one core. The network has 15,488 weights: 160 steps of 256 tokens are 2.6 tokens a weight, 800 are 13.
    "cpu": Pairs(
        settings=(LITTLE_CHARACTERS,),
        rates=HIGH,
        long_rates=LOW,
        seeds=5,
        tuning_steps=160,
        steps=160,
        long_steps=800,
        evaluations=2,
        **ALL,
        **COMMON,
        **MORE,
    ),
    # The network of chapter 7 with 104,832 weights: 1 token a weight, and 5.9.
    "paper": Pairs(
        settings=(CHARACTERS,),
        rates=FIVE,
        long_rates=FIVE,
        tuning_seeds=2,
        seeds=7,
        tuning_steps=400,
        steps=400,
        long_steps=2400,
        **ALL,
        **COMMON,
        **MORE,
        **GPU,
    ),
}

DATA = "corpora"
