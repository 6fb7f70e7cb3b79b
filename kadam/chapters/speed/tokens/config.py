"""What is measured of how fast text is learnt, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import Checked, Shape, check_choice, require

PRECISIONS = ("float32", "bfloat16")
FUSED = "Adam, fused"  # torch's fused step; Adam's is what torch chooses by itself, on the processor a loop over the tensors


@dataclass(frozen=True)
class Setting(Checked):
    """A network on a text; it goes by its name in the record."""

    name: str
    corpus: str  # "shakespeare", by characters, or "reviews", by bytes
    shape: Shape
    precision: str = "float32"
    batch: int = 8  # windows of text
    context: int = 32  # tokens a window

    def check(self) -> None:
        check_choice("precision", self.precision, PRECISIONS)


# Networks and batches of the experiment ``language``, and those that nanoGPT's page recommends for a processor.
SMALL = Setting("small", "shakespeare", Shape(width=64, layers=2, heads=2))
MILLION = Setting("1M weights", "reviews", Shape(width=192, layers=2, heads=3), "bfloat16")
NANO = Setting("nanoGPT's for CPU", "shakespeare", Shape(width=128, layers=4, heads=4), batch=12, context=64)
LARGE = Setting("22M weights", "reviews", Shape(width=512, layers=7, heads=8), "bfloat16", batch=16, context=256)


@dataclass(frozen=True)
class Config(Checked):
    """What is measured; the defaults are the laptop profile."""

    settings: tuple[Setting, ...] = (SMALL, MILLION, NANO)
    rounds: int = 15  # paired rounds; in each every way is timed once
    repeats: int = 8  # steps in one timing
    ks: tuple[int, ...] = (1, 2, 3, 4)
    side: int = 1024  # rows and columns of the matrices whose product is the most that this machine computes
    limit: int = 320  # steps after which a training begins again with its first batch
    train: int = 2_000_000  # tokens to learn from, at most
    compiler: str = ""
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package
    device: str = "cpu"
    seed: int = 0

    def check(self) -> None:
        check_choice("device", self.device, ("cpu", "cuda"))
        names = [setting.name for setting in self.settings]
        require(0 < len(set(names)) == len(names), f"settings must have different names, and be one or more, got {names}")


TINY = Shape(width=8, layers=1, heads=2)
TINY_SETTINGS = (
    Setting("small", "shakespeare", TINY, batch=4, context=8),
    Setting("reviews", "reviews", TINY, "bfloat16", batch=4, context=8),
)

PROFILES = {
    "smoke": Config(TINY_SETTINGS, rounds=2, repeats=2, ks=(1, 2), side=16, limit=4, text="embedded"),
    "laptop": Config(),
    "paper": Config((LARGE,), repeats=20, side=8192, train=60_000_000, compiler="inductor", device="cuda"),
}

DATA = "corpora"
