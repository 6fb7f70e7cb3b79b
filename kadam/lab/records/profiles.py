"""How large an experiment is: the same code path at three sizes, and what configurations have in common."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from kadam.decay import STRATEGIES, check_strategy

PROFILES = ("smoke", "laptop", "paper")

# What some experiments have between the last two, where there is no GPU: what two cores finish in a minute to an hour.
CPU = "cpu"

# What a configuration may name: texts to learn, how a network computes, and optimizers to compare k-Adam with.
CORPORA = ("shakespeare", "reviews")
PRECISIONS = ("float64", "float32", "bfloat16")
BASELINES = ("Adam", "AdamW", "NAdam", "LaProp", "Lion", "SGD")
MEMORIES = {"Adam, beta1 = 0.5": 0.5, "Adam, beta1 = 0.7": 0.7}  # Adam whose momentum forgets faster, and its gamma
# Parts of NAdam: its look-ahead at a constant momentum; without look-ahead, a momentum whose decay warms up as NAdam's; and
# NAdam's weights of gradient and momentum, which are kept to a sum of one.
NADAMS_PARTS = ("NAdam, constant momentum", "Adam, warm momentum", "Adam, weights of NAdam")
RIDGE = "Adam, L2"  # Adam whose decay is a term of the loss, where AdamW's acts on the weights
RIVALS = (*BASELINES, *MEMORIES, *NADAMS_PARTS, RIDGE)
PAIR = re.compile(r"Adam (0|0\.\d+), (0|0\.\d+)")  # Adam with other betas
ORIGINS = ("real", "embedded")  # of data: as its authors publish it, or the stand-in that ships with the package

# What holds for fields of these names in every configuration: words of a list, finite numbers above 0, and whole numbers that
# count nothing and may be 0.
CHOICES = {"text": ORIGINS, "images": ORIGINS, "corpus": CORPORA, "precision": PRECISIONS, "dtype": ("float32", "float64")}
POSITIVE = ("eta", "equal_rate", "rates", "long_rates", "decays", "targets")
NOT_COUNTS = ("seed", "shift", "cutout")

Fields = dict[str, Any]  # some fields of a configuration, by name

C = TypeVar("C")


def choose(profiles: Mapping[str, C], profile: str) -> C:
    """The configuration of a profile; ``ValueError`` listing the profiles if there is none of that name."""
    check_choice("profile", profile, tuple(profiles))
    return profiles[profile]


def name_of(profiles: Mapping[str, Any], config: Any, least: int | None = None) -> str:
    """The profile that this configuration is, or "custom"; with ``least`` steps or more, it may have fewer than the profile."""
    return next((name for name, known in profiles.items() if known == config or _shortened(known, config, least)), "custom")


def _shortened(known: Any, config: Any, least: int | None) -> bool:
    if least is None or type(known) is not type(config) or not least <= config.steps < known.steps:
        return False
    return bool(known == replace(config, steps=known.steps))


def shortened(config: C, steps: int, *, least: int | None) -> C:
    """The configuration with fewer steps, for which there is time; ``ValueError`` outside what its criteria allow."""
    most = getattr(config, "steps", None)
    if least is None or most is None:
        raise ValueError(f"steps cannot be given for this experiment, got {steps}")
    require(min(least, most) <= steps <= most, f"steps must lie between {min(least, most)} and {most}, got {steps}")
    shorter: C = replace(config, steps=steps)  # type: ignore[type-var]
    return shorter


def is_count(value: Any) -> bool:
    """Whether this is a whole number of at least one."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def require(holds: bool, message: str) -> None:
    """``ValueError`` with the message unless it holds."""
    if not holds:
        raise ValueError(message)


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """``ValueError`` listing what is allowed unless ``value`` is."""
    require(value in allowed, f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def betas_of(method: str) -> tuple[float, float] | None:
    """PyTorch's betas of a method that is named by them, "Adam 0.5, 0.999"; None of any other."""
    found = PAIR.fullmatch(method)
    return (float(found[1]), float(found[2])) if found else None


def check_rivals(names: Sequence[str]) -> None:
    """``ValueError`` unless each is one of ``RIVALS`` or Adam with its betas."""
    for name in names:
        if betas_of(name) is None:
            check_choice("baselines", name, RIVALS)


def check_rates(name: str, values: float | Sequence[float]) -> None:
    """``ValueError`` unless this is a number or a sequence of some, each finite and above 0."""
    each = (values,) if isinstance(values, int | float) else values
    require(bool(each) and all(0 < value < math.inf for value in each), f"{name} must be finite and > 0, got {values!r}")


@dataclass(frozen=True)
class Checked:
    """A configuration whose fields are checked by type and name: ``ValueError`` for one that is not what it must be.

    Whole numbers, alone or several in a tuple, are counts of at least one; the tables above name what else holds, and
    :meth:`check` what a subclass demands besides.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if field.type is int and name not in NOT_COUNTS:
                require(is_count(value), f"{name} must be a whole number >= 1, got {value!r}")
            elif field.type == tuple[int, ...]:
                require(value and all(map(is_count, value)), f"{name} must hold one whole number >= 1 or more, got {value!r}")
            elif name in POSITIVE:
                check_rates(name, value)
            elif name in CHOICES:
                check_choice(name, value, CHOICES[name])
        self.check()

    def check(self) -> None:
        """What must hold besides, of several fields together or of one with limits of its own."""


@dataclass(frozen=True)
class Shape(Checked):
    """The size of a transformer."""

    width: int
    layers: int
    heads: int


@dataclass(frozen=True)
class Contestants(Checked):
    """The optimizers of a contest and how they are compared; the defaults are those of the laptop profile."""

    ks: tuple[int, ...] = (1, 2)
    strategies: tuple[str, ...] = STRATEGIES
    beta: float = 0.999
    gamma: float = 0.9
    equal_rate: float = 1e-3  # the learning rate of the comparison at equal rates
    tuning_seeds: int = 1
    seeds: int = 1  # of the comparisons
    evaluations: int = 3  # on the way, at equal distances
    warmup: float = 0.1  # share of the steps in which the learning rate rises
    compiler: str = ""
    device: str = "cpu"
    seed: int = 100  # criteria and sizes were chosen on seeds 0 to 2

    def check(self) -> None:
        for strategy in self.strategies:
            check_strategy(strategy)


@dataclass(frozen=True)
class Sizes(Checked):
    """How large networks and data are; the defaults are those of the laptop profile."""

    context: int = 8  # characters a window
    width: int = 12  # of the transformer
    layers: int = 1
    heads: int = 2
    channels: int = 3  # of the first convolution
    pixels: int = 8  # images are averaged down to so many a side
    examples: int = 2048  # images, the first of the training set
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package
    images: str = "real"  # "real", or "embedded" for scikit-learn's digits
    device: str = "cpu"


LAPTOP = Sizes()
SMOKE = Sizes(width=8, channels=2, examples=64, text="embedded", images="embedded")
PAPER = Sizes(context=64, width=128, layers=2, heads=4, channels=32, pixels=32, examples=16384, device="cuda")
