"""The figure that sets stages beside a shorter memory of momentum, with the numbers that it shows."""

from kadam.chapters.contest.optima import optima, optima_said, optimum_table

__all__ = ["optima", "optima_said", "optimum_table"]
