"""What is run of the search for the optimum on text, at which profile."""

from kadam.chapters.contest.settings import (
    FEW,
    LITTLE_REVIEWS,
    LONGER,
    MILLION_REVIEWS,
    MORE,
    NORMALISED_REVIEWS,
    SHORT,
    TINY_SETTINGS,
    TWO,
    Config,
)
from kadam.lab.records.profiles import Fields

CLOSE: Fields = {"baselines": ("Adam", "NAdam"), "strategies": TWO, "seed": 2000}  # far from the seeds of other experiments

# A factor of two apart. At the profile cpu both networks have the same: in the record language/cpu-d22a5788 parabolas place
# Adam's optimum at 1.1e-3 and 4.3e-3, and those of k-Adam, as multiples of its factor, between 2e-3 and 9e-3.
THREE = (2e-3, 4e-3, 8e-3)
FOUR = (1.6e-2, 3.2e-2, 6.4e-2, 0.128)  # of 25 steps
SIX = (7e-4, 1.4e-3, 2.8e-3, 5.6e-3, 1.12e-2, 2.24e-2)

TWO_SETTINGS = (NORMALISED_REVIEWS, MILLION_REVIEWS)

PROFILES = {
    "smoke": Config(settings=TINY_SETTINGS, rates=THREE, **CLOSE, **SHORT, **FEW),
    "laptop": Config(settings=(LITTLE_REVIEWS,), rates=FOUR, **CLOSE),
    # Half an hour of one core. With nine seeds the verdict without each of them can still be reached, by eight.
    "cpu": Config(settings=TWO_SETTINGS, rates=SIX, tuning_seeds=2, seeds=9, **CLOSE, **LONGER, **MORE),
}

DATA = "corpora"
