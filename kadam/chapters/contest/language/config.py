"""What is run of the contest on text, at which profile."""

from kadam.chapters.contest.settings import (
    CHARACTERS,
    FEW,
    LONGER,
    MILLION_REVIEWS,
    MORE,
    NORMALISED_CHARACTERS,
    NORMALISED_REVIEWS,
    SHORT,
    TINY_SETTINGS,
    TWO,
    Config,
)

FOUR_SETTINGS = (CHARACTERS, NORMALISED_CHARACTERS, NORMALISED_REVIEWS, MILLION_REVIEWS)

# There is no larger one. On a GPU the experiment ``optimum`` asks the same with rates closer together: 75 s of one are 47,000
# steps of its network at 1.6 ms, and six methods at three rates and in three comparisons with three seeds would have 650 a run.
PROFILES = {
    "smoke": Config(settings=TINY_SETTINGS, ks=(1, 2, 3), strategies=TWO, rates=(4e-3, 1.6e-2), **SHORT, **FEW),
    "laptop": Config(),
    # What two cores do in an hour.
    "cpu": Config(settings=FOUR_SETTINGS, ks=(1, 2, 3, 4), rates=(3e-4, 1e-3, 3e-3, 9e-3, 2.7e-2), seeds=3, **LONGER, **MORE),
}

DATA = "corpora"
