"""What is run of stages against shorter memories of momentum, at which profile."""

from kadam.chapters.contest.settings import LEAST, close_searches
from kadam.lab.records.profiles import MEMORIES

SHORTER = tuple(MEMORIES)  # Adam with smaller gammas

PROFILES = close_searches(baselines=("Adam", *SHORTER), ks=(1, 4), strategies=("meta",))

DATA = "corpora"

__all__ = ["DATA", "LEAST", "PROFILES", "SHORTER"]
