"""What contests train: networks on texts and on images, and how the optimizers that learn them are compared."""

from dataclasses import dataclass
from typing import Any

from kadam.lab.records.profiles import BASELINES, Checked, Contestants, Fields, Shape, check_choice, check_rivals, require

LITTLE = Shape(width=32, layers=1, heads=2)
SMALL = Shape(width=64, layers=2, heads=2)
MILLION = Shape(width=192, layers=2, heads=3)
LARGE = Shape(width=256, layers=4, heads=4)


@dataclass(frozen=True)
class Setting(Checked):
    """A network on a text; it goes by its name in the record."""

    name: str
    corpus: str  # "shakespeare", by characters, or "reviews", by bytes
    shape: Shape = SMALL
    normalised: bool = False  # queries and keys
    precision: str = "float32"  # bfloat16 pays from a width of about 200 on


LITTLE_CHARACTERS = Setting("characters", "shakespeare", LITTLE)
LITTLE_REVIEWS = Setting("reviews, q/k norm", "reviews", LITTLE, normalised=True)
CHARACTERS = Setting("characters", "shakespeare")
NORMALISED_CHARACTERS = Setting("characters, q/k norm", "shakespeare", normalised=True)
NORMALISED_REVIEWS = Setting("reviews, q/k norm", "reviews", normalised=True)
LARGE_REVIEWS = Setting("reviews, 3M weights, q/k norm", "reviews", LARGE, normalised=True, precision="bfloat16")
MILLION_REVIEWS = Setting("reviews, 1M weights", "reviews", MILLION, precision="bfloat16")


@dataclass(frozen=True)
class Config(Contestants):
    """What is trained; the defaults are the laptop profile. After its rise the learning rate falls as a cosine."""

    settings: tuple[Setting, ...] = (LITTLE_CHARACTERS, LITTLE_REVIEWS)
    baselines: tuple[str, ...] = ("Adam", "AdamW", "NAdam", "Lion")
    weight_decay: float = 0.1  # of AdamW alone
    rates: tuple[float, ...] = (3e-3, 9e-3)  # Adam's in the search; other methods' are a factor times these
    tuning_steps: int = 25
    steps: int = 25
    batch: int = 8  # windows of text
    context: int = 32  # tokens a window
    end: float = 0.1  # the share of its peak to which the learning rate falls
    train: int = 2_000_000  # tokens to learn from, at most
    windows: int = 64  # to evaluate on, as many each for validation and test
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package

    def check(self) -> None:
        super().check()
        names = [setting.name for setting in self.settings]
        require(0 < len(set(names)) == len(names), f"settings must have different names, and be one or more, got {names}")
        least, found = min(self.steps, self.tuning_steps), self.evaluations
        require(found <= least, f"evaluations must be at most the steps of a run, {least}, got {found}")
        require("Adam" in self.baselines, f"baselines must hold Adam, with which all is compared, got {self.baselines!r}")
        check_rivals(self.baselines)


@dataclass(frozen=True)
class Once(Config):
    """The same where no run sees text twice: a class of its own, since a record is named by all fields there are."""

    comparisons: tuple[str, ...] = ("tuned",)

    def check(self) -> None:
        super().check()
        for name in self.comparisons:
            check_choice("comparisons", name, ("tuned", "matched size"))


TINY = Shape(width=8, layers=1, heads=2)
TINY_SETTINGS = (
    Setting("characters", "shakespeare", TINY, precision="float64"),
    Setting("reviews, q/k norm", "reviews", TINY, normalised=True, precision="float64"),
)
TWO = ("inverse_exp", "meta")

# Steps and text of the smallest profile, and of the one for two cores.
SHORT: Fields = {"seeds": 2, "tuning_steps": 8, "steps": 8, "evaluations": 2}
FEW: Fields = {"batch": 4, "context": 8, "windows": 16, "text": "embedded"}
LONGER: Fields = {"tuning_steps": 400, "steps": 400, "evaluations": 5}
MORE: Fields = {"train": 16_000_000, "windows": 192}

# Close searches: rates a factor of two apart, far from the seeds of other experiments. At the profile cpu both networks have
# the same rates: in the record language/cpu-d22a5788 parabolas place Adam's optimum at 1.1e-3 and 4.3e-3, and those of k-Adam,
# as multiples of its factor, between 2e-3 and 9e-3.
THREE = (2e-3, 4e-3, 8e-3)
QUICK = (1.6e-2, 3.2e-2, 6.4e-2, 0.128)  # of 25 steps
SIX = (7e-4, 1.4e-3, 2.8e-3, 5.6e-3, 1.12e-2, 2.24e-2)
CLOSE: Fields = {"seed": 2000}

# The network of the largest profile has 3.3 million weights; 2,400 steps show it six bytes a weight, of 52 million there are.
FOUR = (1e-3, 2e-3, 4e-3, 8e-3)
SIX_A_WEIGHT: Fields = {"tuning_steps": 2400, "steps": 2400, "batch": 32, "context": 256, "train": 60_000_000, "windows": 256}
GPU: Fields = {"evaluations": 4, "compiler": "inductor", "device": "cuda"}

# The fewest steps of the comparison with which it still means something: half of those for which the optima were sought.
LEAST = 1200
HALF: Fields = {**SIX_A_WEIGHT, **GPU, "tuning_steps": LEAST, "steps": LEAST}


def close_searches(**methods: Any) -> dict[str, Config]:
    """The profiles of an experiment that tunes these methods closely."""
    with_all: Fields = CLOSE | methods
    two = (NORMALISED_REVIEWS, MILLION_REVIEWS)
    return {
        "smoke": Config(settings=TINY_SETTINGS, rates=THREE, **with_all, **SHORT, **FEW),
        "laptop": Config(settings=(LITTLE_REVIEWS,), rates=QUICK, **with_all),
        # Half an hour of one core. With nine seeds the verdict without each of them can still be reached, by eight.
        "cpu": Config(settings=two, rates=SIX, tuning_seeds=2, seeds=9, **with_all, **LONGER, **MORE),
        # Of the comparisons the one at the optima.
        "paper": Once(settings=(LARGE_REVIEWS,), rates=FOUR, seeds=8, **with_all, **SIX_A_WEIGHT, **GPU),
    }


NETWORKS = ("batch norm", "no norm")


@dataclass(frozen=True)
class OnImages(Contestants):
    """What a contest on images trains; the defaults are the laptop profile. After its rise the learning rate falls to 0."""

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
class Chosen(OnImages):
    """The same with some networks and baselines alone: a class of its own, since a record is named by all fields there are."""

    networks: tuple[str, ...] = NETWORKS
    baselines: tuple[str, ...] = BASELINES

    def check(self) -> None:
        super().check()
        require("Adam" in self.baselines, f"baselines must hold Adam, with which all is compared, got {self.baselines!r}")
        check_rivals(self.baselines)
        require(bool(self.networks), "networks must hold one or more, got none")
        for name in self.networks:
            check_choice("networks", name, NETWORKS)


# Images, how they change, and the network: of the three profiles other than the laptop's.
FEW_IMAGES: Fields = {"batch": 16, "train": 128, "validation": 64, "test": 64, "pixels": 8, "shift": 1, "cutout": 2, "width": 2}
MORE_IMAGES: Fields = {"train": 16384, "validation": 3200, "test": 4000, "width": 16}
ALL_IMAGES: Fields = {"batch": 512, "train": 45000, "validation": 5000, "test": 10000, "pixels": 32, "cutout": 8, "width": 64}
GPU_IMAGES: Fields = {"smoothing": 0.1, "precision": "bfloat16", "compiler": "inductor", "device": "cuda"}

# Pairs of betas: the axes of a map on which all of them stand, equal ones and unstable ones among them.
DEFAULT = (0.9, 0.999)  # gamma and beta, PyTorch's beta1 and beta2

Pair = tuple[float, float]


def method(pair: Pair) -> str:
    """The name of Adam with this gamma and beta; "Adam" at the defaults."""
    return "Adam" if pair == DEFAULT else f"Adam {pair[0]:g}, {pair[1]:g}"


def methods(gammas: tuple[float, ...], betas: tuple[float, ...]) -> tuple[str, ...]:
    """Every pair, and NAdam at the defaults."""
    return (*(method((gamma, beta)) for gamma in gammas for beta in betas), "NAdam")


GAMMAS = (0.0, 0.5, 0.7, 0.9, 0.95, 0.98)
BETAS = (0.7, 0.9, 0.95, 0.98, 0.99, 0.999)
ALL_PAIRS, FOUR_PAIRS = methods(GAMMAS, BETAS), methods((0.5, 0.9), (0.9, 0.999))
