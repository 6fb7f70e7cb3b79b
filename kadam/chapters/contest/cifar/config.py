"""What is run of the contest on CIFAR-10, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import Contestants, Fields, require


@dataclass(frozen=True)
class Config(Contestants):
    """What is trained; the defaults are the laptop profile. After its rise the learning rate falls to 0."""

    weight_decay: float = 0.05  # of AdamW alone
    rates: tuple[float, ...] = (4e-3, 1.6e-2)  # Adam's in the search; other methods' are a factor times these
    steps: int = 20
    batch: int = 64  # images
    smoothing: float = 0.0  # of labels
    train: int = 1024  # images
    validation: int = 500
    test: int = 500
    pixels: int = 16  # images are averaged down to so many a side
    flip: bool = True
    shift: int = 2
    cutout: int = 4
    width: int = 4  # channels of the first block
    depth: int = 1  # convolutions a block
    precision: str = "float32"
    images: str = "real"  # "real", or "embedded" for scikit-learn's digits

    def check(self) -> None:
        super().check()
        require(self.evaluations <= self.steps, f"evaluations must be at most steps, {self.steps}, got {self.evaluations}")


# Images, how they change, and the network: of the three other profiles.
FEW: Fields = {"batch": 16, "train": 128, "validation": 64, "test": 64, "pixels": 8, "shift": 1, "cutout": 2, "width": 2}
MORE: Fields = {"train": 16384, "validation": 3200, "test": 4000, "width": 16}
ALL: Fields = {"batch": 512, "train": 45000, "validation": 5000, "test": 10000, "pixels": 32, "cutout": 8, "width": 64}
# How they are compared and computed.
SHORT: Fields = {"seeds": 2, "steps": 12, "evaluations": 2, "precision": "float64", "images": "embedded"}
LONGER: Fields = {"seeds": 5, "steps": 320, "evaluations": 4}
LONG: Fields = {"seeds": 5, "steps": 700, "evaluations": 8}
GPU: Fields = {"smoothing": 0.1, "precision": "bfloat16", "compiler": "inductor", "device": "cuda"}

PROFILES = {
    "smoke": Config(ks=(1, 2, 3), strategies=("inverse_exp", "meta"), rates=(4e-3, 1.6e-2), **FEW, **SHORT),
    "laptop": Config(),
    # What two cores do in an hour.
    "cpu": Config(ks=(1, 2, 3, 4, 10), rates=(1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2), **MORE, **LONGER),
    "paper": Config(ks=tuple(range(1, 11)), rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2), **ALL, **LONG, **GPU),
}

DATA = "images"
