"""What is run of stages against shorter memories of momentum, at which profile."""

from kadam.chapters.contest.settings import close_searches
from kadam.lab.records.profiles import MEMORIES

PROFILES = close_searches(baselines=("Adam", *MEMORIES), ks=(1, 4), strategies=("meta",))

DATA = "corpora"
