"""The figure of a lead on images that was found after the fact, on fresh seeds, with the numbers that it shows."""

from kadam.chapters.contest.optima import optima, optima_said, optimum_table

__all__ = ["optima", "optima_said", "optimum_table"]
