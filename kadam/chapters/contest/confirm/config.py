"""What is run to confirm a lead on images, at which profile."""

from kadam.chapters.contest.settings import ALL_IMAGES, FEW_IMAGES, GPU_IMAGES, MORE_IMAGES, NETWORKS, Chosen
from kadam.lab.records.profiles import MEMORIES, Fields

RIVALS = ("NAdam", *MEMORIES)

# Seeds far from those of other experiments. In the record cifar/cpu-5804aab5 the best rate of Adam is 1.6e-2, and those of
# 4-Adam meta, as multiples of its factor, are 8e-3 and 1.6e-2.
WHO: Fields = {"baselines": ("Adam", *RIVALS), "ks": (1, 4), "strategies": ("meta",), "seed": 7000}
FIVE = (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)
SHORT: Fields = {"seeds": 2, "steps": 12, "evaluations": 2, "precision": "float64", "images": "embedded"}
LONG: Fields = {"steps": 350, "evaluations": 2}

PROFILES = {
    "smoke": Chosen(rates=(4e-3, 8e-3, 1.6e-2), **WHO, **FEW_IMAGES, **SHORT),
    "laptop": Chosen(networks=NETWORKS[:1], rates=(4e-3, 8e-3, 1.6e-2), **WHO),
    # A quarter of an hour of one core, with the networks of ``cifar``. With nine seeds the verdict without each of them can
    # still be reached, by eight.
    "cpu": Chosen(rates=FIVE, tuning_seeds=2, seeds=9, steps=320, evaluations=4, **WHO, **MORE_IMAGES),
    "paper": Chosen(networks=NETWORKS[:1], rates=FIVE[1:], seeds=9, **LONG, **WHO, **ALL_IMAGES, **GPU_IMAGES),
}

DATA = "images"
