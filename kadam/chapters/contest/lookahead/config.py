"""What is run of the parts of NAdam, at which profile."""

from kadam.chapters.contest.settings import (
    FEW,
    GPU,
    LARGE_REVIEWS,
    LITTLE_CHARACTERS,
    LITTLE_REVIEWS,
    MORE,
    NORMALISED_REVIEWS,
    QUICK,
    SHORT,
    SIX_A_WEIGHT,
    THREE,
    TINY_SETTINGS,
    Config,
)
from kadam.lab.records.profiles import NADAMS_PARTS, Fields

METHODS = ("Adam", "NAdam", *NADAMS_PARTS)

# Sizes are matched near Adam's own optimum: 3.3e-3 on reviews in the record optimum/cpu-670ca3fb.
ALL: Fields = {"baselines": METHODS, "ks": (1,), "seed": 5000, "equal_rate": 3e-3}
FOUR = (1.4e-3, 2.8e-3, 5.6e-3, 1.12e-2)

PROFILES = {
    "smoke": Config(settings=TINY_SETTINGS, rates=THREE, **ALL, **SHORT, **FEW),
    "laptop": Config(settings=(LITTLE_REVIEWS,), rates=QUICK[:3], **ALL),
    # Five minutes of one core. On characters the little network, of 15,488 weights.
    "cpu": Config(
        settings=(LITTLE_CHARACTERS, NORMALISED_REVIEWS),
        rates=FOUR,
        seeds=7,
        tuning_steps=300,
        steps=300,
        evaluations=3,
        **ALL,
        **MORE,
    ),
    "paper": Config(settings=(LARGE_REVIEWS,), rates=(1e-3, 2e-3, 4e-3), seeds=4, **ALL, **(SIX_A_WEIGHT | GPU)),
}

DATA = "corpora"
