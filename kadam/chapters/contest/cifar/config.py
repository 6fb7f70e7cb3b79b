"""What is run of the contest on CIFAR-10, at which profile."""

from dataclasses import dataclass

from kadam.decay import STRATEGIES, check_stage_count, check_strategy
from kadam.lab.records.profiles import check_choice, check_counts, check_rates


@dataclass(frozen=True)
class Config:
    """What is trained; the defaults are the laptop profile."""

    ks: tuple[int, ...] = (1, 2, 4)
    strategies: tuple[str, ...] = STRATEGIES
    beta: float = 0.999
    gamma: float = 0.9
    weight_decay: float = 0.05  # of AdamW alone
    equal_rate: float = 1e-3  # the learning rate of the comparison at equal rates
    rates: tuple[float, ...] = (2e-3, 8e-3, 3.2e-2)  # Adam's in the search; other methods' are a factor times these
    tuning_seeds: int = 1
    seeds: int = 2  # of the comparisons
    steps: int = 90
    batch: int = 64  # images
    warmup: float = 0.1  # share of the steps in which the learning rate rises; then it falls to 0
    smoothing: float = 0.0  # of labels
    evaluations: int = 3  # on the way, at equal distances
    train: int = 4096  # images
    validation: int = 1000
    test: int = 1000
    pixels: int = 16  # images are averaged down to so many a side
    flip: bool = True
    shift: int = 2
    cutout: int = 4
    width: int = 8  # channels of the first block
    depth: int = 1  # convolutions a block
    precision: str = "float32"
    compiler: str = ""
    images: str = "real"  # "real", or "embedded" for scikit-learn's digits
    device: str = "cpu"
    seed: int = 100  # criteria and sizes were chosen on seeds 0 to 2

    def __post_init__(self) -> None:
        check_counts(self, "tuning_seeds", "seeds", "steps", "batch", "evaluations", "train", "validation", "test", "pixels")
        check_counts(self, "width", "depth")
        check_choice("images", self.images, ("real", "embedded"))
        for k in self.ks:
            check_stage_count(k)
        for strategy in self.strategies:
            check_strategy(strategy)
        check_rates("equal_rate", self.equal_rate)
        check_rates("rates", self.rates)
        if self.evaluations > self.steps:
            raise ValueError(f"evaluations must be at most steps, {self.steps}, got {self.evaluations}")


PROFILES = {
    "smoke": Config(
        ks=(1, 2, 3),
        strategies=("inverse_exp", "meta"),
        rates=(4e-3, 1.6e-2),
        seeds=2,
        steps=12,
        batch=16,
        evaluations=2,
        train=128,
        validation=64,
        test=64,
        pixels=8,
        shift=1,
        cutout=2,
        width=2,
        precision="float64",
        images="embedded",
    ),
    "laptop": Config(),
    # What two cores do in an hour.
    "cpu": Config(
        ks=(1, 2, 3, 4, 10),
        rates=(1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2),
        seeds=5,
        steps=320,
        evaluations=4,
        train=16384,
        validation=3200,
        test=4000,
        width=16,
    ),
    "paper": Config(
        ks=tuple(range(1, 11)),
        rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2),
        seeds=5,
        steps=700,
        batch=512,
        evaluations=8,
        smoothing=0.1,
        train=45000,
        validation=5000,
        test=10000,
        pixels=32,
        shift=2,
        cutout=8,
        width=64,
        precision="bfloat16",
        compiler="inductor",
        device="cuda",
    ),
}

DATA = "images"
