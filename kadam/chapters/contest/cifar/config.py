"""What is run of the contest on CIFAR-10, at which profile."""

from kadam.chapters.contest.settings import ALL_IMAGES, FEW_IMAGES, GPU_IMAGES, MORE_IMAGES, NETWORKS, Chosen, OnImages
from kadam.lab.records.profiles import Fields

# How they are compared and computed.
SHORT: Fields = {"seeds": 2, "steps": 12, "evaluations": 2, "precision": "float64", "images": "embedded"}
LONGER: Fields = {"seeds": 5, "steps": 320, "evaluations": 4}
LONG: Fields = {"seeds": 5, "steps": 350, "evaluations": 2}

# What fits into 50 s of an H200: of two networks and 51 methods these.
SOME: Fields = {"networks": NETWORKS[:1], "baselines": ("Adam", "NAdam"), "strategies": ("inverse_exp", "meta")}

# The fewest steps with which the order of methods still means something: two passes over 45,000 images in batches of 512, so
# that the learning rate rises and falls over images seen once and seen again.
LEAST = 174

PROFILES = {
    "smoke": OnImages(ks=(1, 2, 3), strategies=("inverse_exp", "meta"), rates=(4e-3, 1.6e-2), **FEW_IMAGES, **SHORT),
    "laptop": OnImages(),
    # What two cores do in an hour.
    "cpu": OnImages(ks=(1, 2, 3, 4, 10), rates=(1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2), **MORE_IMAGES, **LONGER),
    # Four passes over the full-sized images. In the record cifar/cpu-5804aab5, with batches an eighth as large, the best rate
    # of Adam is 1.6e-2, and those of k-Adam, as multiples of its factor, are 8e-3 and 1.6e-2.
    "paper": Chosen(ks=(1, 2, 4), rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2), **SOME, **ALL_IMAGES, **LONG, **GPU_IMAGES),
}

DATA = "images"
