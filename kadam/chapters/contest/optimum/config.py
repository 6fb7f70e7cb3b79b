"""What is run of the search for the optimum on text, at which profile."""

from kadam.chapters.contest.settings import LEAST, TWO, close_searches

PROFILES = close_searches(baselines=("Adam", "NAdam"), strategies=TWO)

DATA = "corpora"

__all__ = ["DATA", "LEAST", "PROFILES"]
