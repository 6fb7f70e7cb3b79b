"""What is run of decoupled decay against a penalty on text, at which profile."""

from dataclasses import dataclass

from kadam.chapters.contest.settings import (
    CHARACTERS,
    FEW,
    HALF,
    LARGE_REVIEWS,
    LITTLE_REVIEWS,
    LONGER,
    NORMALISED_REVIEWS,
    SHORT,
    TINY_SETTINGS,
    Config,
)
from kadam.lab.records.profiles import RIDGE, Fields, require

DECAYED, PENALISED = "AdamW", RIDGE


@dataclass(frozen=True)
class Decaying(Config):
    """The same with strengths of the decay, of each method on its own scale; zero, for both the same run, is Adam."""

    methods: tuple[str, ...] = (DECAYED, PENALISED)
    strengths: tuple[float, ...] = (0.0, 0.1, 1.0)  # of AdamW's decay
    penalties: tuple[float, ...] = (0.0, 1e-5, 1e-3)  # of L2
    seed: int = 9000  # far from those of other experiments; the strengths were chosen on seed 0

    def check(self) -> None:
        super().check()
        require(len(self.strengths) == len(self.penalties), "strengths must be as many as penalties")
        for name in ("strengths", "penalties"):
            of = getattr(self, name)
            require(0 == of[0] < min(of[1:]), f"{name} must begin with 0 and else be above, got {of!r}")


# Few tokens to learn from, which runs see several times, so that there is something to regularise.
REPEATED: Fields = {"train": 20_000, "windows": 192}

PROFILES = {
    "smoke": Decaying(settings=TINY_SETTINGS, rates=(4e-3, 8e-3, 1.6e-2), **SHORT, **FEW),
    "laptop": Decaying(settings=(LITTLE_REVIEWS,), train=20_000),
    # A quarter of an hour of one core.
    "cpu": Decaying(
        settings=(CHARACTERS, NORMALISED_REVIEWS),
        rates=(2.5e-3, 5e-3, 1e-2, 2e-2),
        strengths=(0.0, 0.03, 0.1, 0.3, 1.0, 3.0),
        penalties=(0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2),
        seeds=8,
        **LONGER,
        **REPEATED,
    ),
    "paper": Decaying(
        settings=(LARGE_REVIEWS,),
        rates=(2e-3, 4e-3),
        strengths=(0.0, 0.1, 0.3, 1.0),
        penalties=(0.0, 1e-6, 1e-5, 1e-4),
        seeds=8,
        **{**HALF, "train": 2_000_000},
    ),
}

DATA = "corpora"
