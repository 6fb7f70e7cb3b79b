"""What is measured of how fast images train, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import Checked, Fields, check_choice, require

PRECISIONS = ("float32", "bfloat16")
RACERS = ("Adam", "2-Adam meta")

# The public speed run airbench94_muon: 94% of CIFAR-10's test images in 2.59 s on one A100 (its repository's table).
REFERENCE_ACCURACY, REFERENCE_SECONDS = 0.94, 2.59


@dataclass(frozen=True)
class Config(Checked):
    """What is measured; the defaults are the laptop profile."""

    rounds: int = 15  # paired rounds; in each every way is timed once
    repeats: int = 20  # steps in one timing
    ks: tuple[int, ...] = (1, 2, 4, 8, 10)
    target: float = 0.45  # share of test images that the race is to
    rates: tuple[float, float] = (1.6e-2, 2e-3)  # peak learning rates of the racers
    limit: int = 320  # steps of the race
    every: int = 20  # steps between two looks at the test images
    seeds: int = 3  # of the race
    batch: int = 64
    train: int = 16384  # images
    validation: int = 1000
    test: int = 4000
    pixels: int = 16
    width: int = 16
    depth: int = 1
    smoothing: float = 0.0
    compiler: str = ""
    precision: str = "float32"  # of everything but the comparison of loops and its split, which are in both
    images: str = "real"
    device: str = "cpu"
    seed: int = 0

    def check(self) -> None:
        check_choice("device", self.device, ("cpu", "cuda"))
        check_choice("precision", self.precision, PRECISIONS)
        share = self.target
        require(0 < share < 1, f"target must be a share of the test images in (0, 1), got {share!r}")


# Images and network of the two other profiles, and how the larger is computed.
SMALL: Fields = {"batch": 16, "train": 128, "validation": 64, "test": 64, "pixels": 8, "width": 2, "images": "embedded"}
LARGE: Fields = {"batch": 512, "train": 45000, "validation": 5000, "test": 10000, "pixels": 32, "width": 64, "depth": 2}
GPU: Fields = {"smoothing": 0.1, "compiler": "inductor", "precision": "bfloat16", "device": "cuda"}
# With twice the time of a step that is predicted, and four times that in float32: 18 s for all races to the limit, 5 s for what
# is timed.
FEW: Fields = {"rounds": 5, "repeats": 10, "ks": (1, 2, 4), "limit": 1400, "every": 50}

PROFILES = {
    "smoke": Config(rounds=2, repeats=2, ks=(1, 2), target=0.05, limit=4, every=2, seeds=1, **SMALL),
    "laptop": Config(),
    "paper": Config(target=REFERENCE_ACCURACY, rates=(4e-3, 1e-3), **(LARGE | GPU | FEW)),
}

DATA = "images"
