"""What is run of the contest on text, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import BASELINES, Checked, Contestants, Fields, Shape, check_choice, require

LITTLE = Shape(width=32, layers=1, heads=2)
SMALL = Shape(width=64, layers=2, heads=2)
MILLION = Shape(width=192, layers=2, heads=3)
LARGE = Shape(width=512, layers=7, heads=8)


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
        for name in self.baselines:
            check_choice("baselines", name, BASELINES)


TINY = Shape(width=8, layers=1, heads=2)
TINY_SETTINGS = (
    Setting("characters", "shakespeare", TINY, precision="float64"),
    Setting("reviews, q/k norm", "reviews", TINY, normalised=True, precision="float64"),
)
LARGE_SETTINGS = (
    Setting("reviews", "reviews", LARGE, precision="bfloat16"),
    Setting("reviews, q/k norm", "reviews", LARGE, normalised=True, precision="bfloat16"),
)
FOUR_SETTINGS = (CHARACTERS, NORMALISED_CHARACTERS, NORMALISED_REVIEWS, MILLION_REVIEWS)
TWO = ("inverse_exp", "meta")

# Steps and text of the three other profiles.
SHORT: Fields = {"seeds": 2, "tuning_steps": 8, "steps": 8, "evaluations": 2}
LONGER: Fields = {"tuning_steps": 400, "seeds": 3, "steps": 400, "evaluations": 5}
LONG: Fields = {"tuning_steps": 1000, "seeds": 1, "steps": 10_000, "warmup": 0.02, "evaluations": 10}
FEW: Fields = {"batch": 4, "context": 8, "windows": 16, "text": "embedded"}
MORE: Fields = {"train": 16_000_000, "windows": 192}
MOST: Fields = {"batch": 16, "context": 256, "train": 60_000_000, "windows": 256}
GPU: Fields = {"compiler": "inductor", "device": "cuda"}

PROFILES = {
    "smoke": Config(settings=TINY_SETTINGS, ks=(1, 2, 3), strategies=TWO, rates=(4e-3, 1.6e-2), **SHORT, **FEW),
    "laptop": Config(),
    # What two cores do in an hour.
    "cpu": Config(settings=FOUR_SETTINGS, ks=(1, 2, 3, 4), rates=(3e-4, 1e-3, 3e-3, 9e-3, 2.7e-2), **LONGER, **MORE),
    # 22 million weights and 10,000 steps, for which only a few methods fit into 20 minutes of one GPU.
    "paper": Config(settings=LARGE_SETTINGS, ks=(1, 2), strategies=TWO, rates=(3e-4, 1e-3, 3e-3), **LONG, **MOST, **GPU),
}

DATA = "corpora"
