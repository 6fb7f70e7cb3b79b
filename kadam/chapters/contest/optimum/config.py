"""What is run of the search for the optimum on text, at which profile."""

from kadam.chapters.contest.settings import (
    FEW,
    LARGE_REVIEWS,
    LITTLE_REVIEWS,
    LONGER,
    MILLION_REVIEWS,
    MORE,
    NORMALISED_REVIEWS,
    SHORT,
    TINY_SETTINGS,
    TWO,
    Config,
    Once,
)
from kadam.lab.records.profiles import Fields

CLOSE: Fields = {"baselines": ("Adam", "NAdam"), "strategies": TWO, "seed": 2000}  # far from the seeds of other experiments

# A factor of two apart. At the profile cpu both networks have the same: in the record language/cpu-d22a5788 parabolas place
# Adam's optimum at 1.1e-3 and 4.3e-3, and those of k-Adam, as multiples of its factor, between 2e-3 and 9e-3.
THREE = (2e-3, 4e-3, 8e-3)
SIX = (7e-4, 1.4e-3, 2.8e-3, 5.6e-3, 1.12e-2, 2.24e-2)

TWO_SETTINGS = (NORMALISED_REVIEWS, MILLION_REVIEWS)

# The network of the largest profile has 3.3 million weights; 2,400 steps show it six bytes a weight, of 52 million there are.
FOUR = (1e-3, 2e-3, 4e-3, 8e-3)
SIX_A_WEIGHT: Fields = {"tuning_steps": 2400, "steps": 2400, "batch": 32, "context": 256, "train": 60_000_000, "windows": 256}
GPU: Fields = {"evaluations": 4, "compiler": "inductor", "device": "cuda"}

# The fewest steps of the comparison with which it still means something: half of those for which the optima were sought.
LEAST = 1200

PROFILES = {
    "smoke": Config(settings=TINY_SETTINGS, rates=THREE, **CLOSE, **SHORT, **FEW),
    "laptop": Config(settings=(LITTLE_REVIEWS,), rates=THREE, **CLOSE),
    # Half an hour of one core. With nine seeds the verdict without each of them can still be reached, by eight.
    "cpu": Config(settings=TWO_SETTINGS, rates=SIX, tuning_seeds=2, seeds=9, **CLOSE, **LONGER, **MORE),
    # Of the comparisons the one at the optima.
    "paper": Once(settings=(LARGE_REVIEWS,), rates=FOUR, seeds=8, **CLOSE, **SIX_A_WEIGHT, **GPU),
}

DATA = "corpora"
