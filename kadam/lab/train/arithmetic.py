"""What a run computes and moves, from its configuration alone: its least time on a GPU, before anything is computed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

# An H200 as it was measured: bytes a second of a copy, operations a second in bfloat16, and in float32 and float64.
COPY, BFLOAT16, OTHERS = 4.3e12, 780e12, 60e12

TRAINING = 3  # passes forward that a gradient costs, the one forward included


class Size(NamedTuple):
    """Numbers that a network learns, and operations of one pass forward of one batch."""

    weights: int
    operations: int


@dataclass(frozen=True)
class Arithmetic:
    """Of all runs of an experiment together; None where it is not counted.

    ``steps``: of one run where there is no number of ``runs``. ``weights``: of the largest network. ``operations``: additions
    and multiplications of matrix products, those of attention included, and of convolutions. ``moved``: bytes that optimizers
    read and write; what networks read and write comes on top.
    """

    steps: int | None
    runs: int | None = None
    weights: int | None = None
    operations: float | None = None
    moved: float | None = None
    precision: str | None = None

    def __add__(self, other: "Arithmetic") -> "Arithmetic":
        """Of both, where all is counted and they have one precision."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in ("steps", "runs", "operations", "moved")}
        weights, precision = max(self.weights or 0, other.weights or 0), self.precision or other.precision
        return replace(self, **sums, weights=weights, precision=precision)

    @property
    def least_s(self) -> float | None:
        """The least time on an H200, in seconds: the longer of computing and moving."""
        if self.operations is None or self.moved is None:
            return None
        return max(self.operations / (BFLOAT16 if self.precision == "bfloat16" else OTHERS), self.moved / COPY)


NOTHING = Arithmetic(0, 0, 0, 0.0, 0.0)  # where a sum begins


def size(make: Callable[[], nn.Module], batch: Iterable[int], *, dtype: torch.dtype = torch.float32) -> Size:
    """Of the network that ``make`` gives, on a batch of this shape and dtype; nothing is computed, nor any memory taken."""
    with torch.device("meta"):
        model, x = make(), torch.zeros(*batch, dtype=dtype)
    return size_of(model, lambda: model(x))


def size_of(model: nn.Module, forward: Callable[[], object]) -> Size:
    """Of a network whose one pass forward this is."""
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        forward()
    return Size(sum(p.numel() for p in model.parameters()), counted.get_total_flops())


def bytes_a_step(weights: int, k: int) -> int:
    """What an optimizer with k stages moves a step, in float32: the gradient and, there and back, weights and 2k moments."""
    return (12 + 16 * k) * weights


def of_ensembles(of: Size, *, runs: int, steps: int, precision: str = "float32", k: int = 1) -> Arithmetic:
    """So many members of a network with k stages, each of so many steps."""
    bytes_moved = float(runs * steps * bytes_a_step(of.weights, k)) * (2 if precision == "float64" else 1)
    return Arithmetic(runs * steps, runs, of.weights, float(TRAINING * of.operations * runs * steps), bytes_moved, precision)
