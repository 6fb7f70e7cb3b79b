"""What is run of the contest on CIFAR-10, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import BASELINES, Contestants, Fields, check_choice, require

NETWORKS = ("batch norm", "no norm")


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

    @property
    def networks(self) -> tuple[str, ...]:
        return NETWORKS

    @property
    def baselines(self) -> tuple[str, ...]:
        return BASELINES


@dataclass(frozen=True)
class Chosen(Config):
    """The same with some networks and baselines alone: a class of its own, since a record is named by all fields there are."""

    networks: tuple[str, ...] = NETWORKS
    baselines: tuple[str, ...] = BASELINES

    def check(self) -> None:
        super().check()
        require("Adam" in self.baselines, f"baselines must hold Adam, with which all is compared, got {self.baselines!r}")
        for name in self.baselines:
            check_choice("baselines", name, BASELINES)
        require(bool(self.networks), "networks must hold one or more, got none")
        for name in self.networks:
            check_choice("networks", name, NETWORKS)


# Images, how they change, and the network: of the three other profiles.
FEW: Fields = {"batch": 16, "train": 128, "validation": 64, "test": 64, "pixels": 8, "shift": 1, "cutout": 2, "width": 2}
MORE: Fields = {"train": 16384, "validation": 3200, "test": 4000, "width": 16}
ALL: Fields = {"batch": 512, "train": 45000, "validation": 5000, "test": 10000, "pixels": 32, "cutout": 8, "width": 64}
# How they are compared and computed.
SHORT: Fields = {"seeds": 2, "steps": 12, "evaluations": 2, "precision": "float64", "images": "embedded"}
LONGER: Fields = {"seeds": 5, "steps": 320, "evaluations": 4}
LONG: Fields = {"seeds": 5, "steps": 350, "evaluations": 2}
GPU: Fields = {"smoothing": 0.1, "precision": "bfloat16", "compiler": "inductor", "device": "cuda"}

# What fits into 50 s of an H200: of two networks and 51 methods these.
SOME: Fields = {"networks": NETWORKS[:1], "baselines": ("Adam", "NAdam"), "strategies": ("inverse_exp", "meta")}

# The fewest steps with which the order of methods still means something: two passes over 45,000 images in batches of 512, so
# that the learning rate rises and falls over images seen once and seen again.
LEAST = 174

PROFILES = {
    "smoke": Config(ks=(1, 2, 3), strategies=("inverse_exp", "meta"), rates=(4e-3, 1.6e-2), **FEW, **SHORT),
    "laptop": Config(),
    # What two cores do in an hour.
    "cpu": Config(ks=(1, 2, 3, 4, 10), rates=(1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2), **MORE, **LONGER),
    # Four passes over the full-sized images. In the record cifar/cpu-5804aab5, with batches an eighth as large, the best rate
    # of Adam is 1.6e-2, and those of k-Adam, as multiples of its factor, are 8e-3 and 1.6e-2.
    "paper": Chosen(ks=(1, 2, 4), rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2), **SOME, **ALL, **LONG, **GPU),
}

DATA = "images"
