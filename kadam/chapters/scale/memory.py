"""The memory that a network needs beside its activations, as arithmetic: bytes of weights, gradients and k-Adam's moments."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Precision:
    """Bytes of a number in weights and gradients, and in k-Adam's moments."""

    weight: int
    state: int

    def kept(self, k: int) -> int:
        """Bytes a parameter that stay from step to step: its weight, its gradient, and 2k moments."""
        return 2 * self.weight + 2 * k * self.state


# The first two are what KAdam does with float32 and bfloat16 parameters; the third it does not do.
PRECISIONS = {
    "float32": Precision(4, 4),
    "bfloat16 weights": Precision(2, 4),
    "bfloat16 weights and state": Precision(2, 2),
}


def fewest_gpus(parameters: float, k: int, precision: Precision, *, memory: float) -> int:
    """The smallest number of GPUs of so many bytes that hold weights, gradients and state, shared out among them."""
    return math.ceil(parameters * precision.kept(k) / memory)
