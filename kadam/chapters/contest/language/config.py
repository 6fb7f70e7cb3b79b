"""What is run of the contest on text, at which profile."""

from kadam.chapters.contest.settings import (
    CHARACTERS,
    FEW,
    LARGE,
    LONGER,
    MILLION_REVIEWS,
    MORE,
    NORMALISED_CHARACTERS,
    NORMALISED_REVIEWS,
    SHORT,
    TINY_SETTINGS,
    TWO,
    Config,
    Setting,
)
from kadam.lab.records.profiles import Fields

LARGE_SETTINGS = (
    Setting("reviews", "reviews", LARGE, precision="bfloat16"),
    Setting("reviews, q/k norm", "reviews", LARGE, normalised=True, precision="bfloat16"),
)
FOUR_SETTINGS = (CHARACTERS, NORMALISED_CHARACTERS, NORMALISED_REVIEWS, MILLION_REVIEWS)
# Steps and text of the largest profile.
LONG: Fields = {"tuning_steps": 1000, "seeds": 1, "steps": 10_000, "warmup": 0.02, "evaluations": 10}
MOST: Fields = {"batch": 16, "context": 256, "train": 60_000_000, "windows": 256}
GPU: Fields = {"compiler": "inductor", "device": "cuda"}

PROFILES = {
    "smoke": Config(settings=TINY_SETTINGS, ks=(1, 2, 3), strategies=TWO, rates=(4e-3, 1.6e-2), **SHORT, **FEW),
    "laptop": Config(),
    # What two cores do in an hour.
    "cpu": Config(settings=FOUR_SETTINGS, ks=(1, 2, 3, 4), rates=(3e-4, 1e-3, 3e-3, 9e-3, 2.7e-2), seeds=3, **LONGER, **MORE),
    # 22 million weights and 10,000 steps, for which only a few methods fit into 20 minutes of one GPU.
    "paper": Config(settings=LARGE_SETTINGS, ks=(1, 2), strategies=TWO, rates=(3e-4, 1e-3, 3e-3), **LONG, **MOST, **GPU),
}

DATA = "corpora"
