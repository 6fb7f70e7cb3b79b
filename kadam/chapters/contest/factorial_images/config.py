"""What is run of pairs of betas on images, each at its own best rate, at which profile."""

from kadam.chapters.contest.settings import (
    ALL_IMAGES,
    ALL_PAIRS,
    FEW_IMAGES,
    FOUR_PAIRS,
    GPU_IMAGES,
    MORE_IMAGES,
    NETWORKS,
    Chosen,
)
from kadam.lab.records.profiles import Fields

# One network, that of chapter 6 with batch normalisation; seeds far from those of other experiments. In runs of 200 steps with
# a seed of no other use the best of six rates, by validation loss, was 3.2e-2 for (0, 0.999), 1.6e-2 for the default and NAdam,
# 8e-3 for (0.98, 0.999) and (0.98, 0.95), and for (0.98, 0.7) at 4e-3 as good as at 8e-3.
FIVE = (2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2)
COMMON: Fields = {"networks": NETWORKS[:1], "ks": (1,), "seed": 11000}
SHORT: Fields = {"seeds": 2, "steps": 12, "evaluations": 2, "precision": "float64", "images": "embedded"}
LONG: Fields = {"seeds": 5, "evaluations": 2}

PROFILES = {
    # The averages of batch normalisation need more steps than these.
    "smoke": Chosen(baselines=FOUR_PAIRS, rates=FIVE[2:], **{**COMMON, "networks": NETWORKS[1:]}, **FEW_IMAGES, **SHORT),
    "laptop": Chosen(baselines=FOUR_PAIRS, rates=FIVE[1:4], **COMMON),
    # A quarter of an hour of one core: nearly one pass over the images.
    "cpu": Chosen(baselines=ALL_PAIRS, rates=FIVE, steps=200, **COMMON, **LONG, **MORE_IMAGES),
    "paper": Chosen(baselines=ALL_PAIRS, rates=FIVE[1:], steps=174, **COMMON, **LONG, **ALL_IMAGES, **GPU_IMAGES),
}

DATA = "images"
