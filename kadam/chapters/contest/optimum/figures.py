"""The figure of chapter 7 that shows optima between the rates tried, with the numbers that it shows."""

from kadam.chapters.contest.optima import optima, optima_said, optimum_table

__all__ = ["optima", "optima_said", "optimum_table"]
