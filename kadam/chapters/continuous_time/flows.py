"""The differential equations that are set beside Adam, by name."""

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kadam.theory.flow import adam_flow
from kadam.theory.neighbours import classical_limit

FLOWS: dict[str, Callable[..., NDArray[np.float64]]] = {
    "paper": functools.partial(adam_flow, order=1),
    "second": functools.partial(adam_flow, order=2),
    "classical": classical_limit,
}
COMPARED = ("paper", "second")  # in every comparison; the third only where problems are small
