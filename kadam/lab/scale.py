"""Whether a weight is scale invariant: measured before it is believed."""

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from kadam.lab.flat import Loss

FACTORS = (0.5, 2.0)

# Scaling by a power of two changes no digit of a weight, so a scale-invariant loss moves by rounding alone: a few hundred
# operations in float64 on the way to it.
ROUNDING = 1e-12


def scale_changes(model: nn.Module, loss: Loss, batch: Any) -> dict[str, float]:
    """For every parameter the largest relative change of the loss, in float64, when it alone is halved or doubled.

    The model is copied. A loss that does not depend on a parameter does not change either: see
    :func:`check_scale_invariant`.
    """
    copy = deepcopy(model).double()
    with torch.no_grad():
        start = float(loss(copy, batch))
        return {name: max(_change(copy, loss, batch, p, start, a) for a in FACTORS) for name, p in copy.named_parameters()}


def check_scale_invariant(model: nn.Module, loss: Loss, batch: Any, name: str) -> None:
    """``ValueError`` unless halving and doubling this parameter leaves the loss the same to rounding, and setting its entries
    to their absolute values does not: a parameter that the loss does not use is no example of anything."""
    changes = scale_changes(model, loss, batch)
    if name not in changes:
        raise ValueError(f"name must be one of {', '.join(changes)}; got {name!r}")
    if not changes[name] <= ROUNDING:
        raise ValueError(
            f"{name} is not scale invariant: halved or doubled it changes the loss by {changes[name]:.1e} of its value, "
            f"allowed is {ROUNDING:.0e}"
        )
    if not _is_used(model, loss, batch, name):
        raise ValueError(f"{name} is not used by this loss, so that it says nothing of scale")


def _change(model: nn.Module, loss: Loss, batch: Any, p: torch.Tensor, start: float, factor: float) -> float:
    p.mul_(factor)
    changed = float(loss(model, batch))
    p.mul_(1 / factor)  # exact: the factors are powers of two
    return abs(changed - start) / abs(start)


def _is_used(model: nn.Module, loss: Loss, batch: Any, name: str) -> bool:
    copy = deepcopy(model).double()
    with torch.no_grad():
        start = float(loss(copy, batch))
        copy.get_parameter(name).abs_()
        return float(loss(copy, batch)) != start
