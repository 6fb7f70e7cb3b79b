"""How the methods look in the figures of chapter 9, and what those figures have in common."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axis import Axis

from kadam.report import style

# The colour and the marker of each method.
LOOKS = {
    "Adam": (style.ADAM, "o"),
    "2-Adam": (style.STRATEGIES["inverse_exp"], "^"),
    "4-Adam": (style.FIFTH, "v"),
    "RMSprop": (style.FOURTH, "D"),
    "SignGD": (style.SIGNS, "P"),
    "SGD": (style.SGD, "s"),
}


def plain_ticks(axis: Axis, values: Sequence[Any]) -> None:
    """Ticks at these numbers, written out, and no others; call it after the scale is set."""
    axis.set_ticks(values, labels=[f"{value:g}" for value in values])
    axis.set_ticks([], minor=True)
