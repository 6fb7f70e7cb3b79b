"""Whether a weight is scale invariant: measured before it is believed."""

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from kadam.flat import Loss

FACTORS = (0.5, 2.0)

# Scaling by a power of two changes no digit of a weight, so a scale-invariant loss moves by rounding alone: a few hundred
# operations in float64 on the way to it.
ROUNDING = 1e-12


def check_scale_invariant(model: nn.Module, loss: Loss, batch: Any, name: str) -> None:
    """``ValueError`` unless halving and doubling this parameter leaves the loss the same to rounding, and setting its entries
    to their absolute values does not: a parameter that the loss does not use is no example of anything."""
    copy = deepcopy(model).double()
    parameters = dict(copy.named_parameters())
    if name not in parameters:
        raise ValueError(f"name must be one of {', '.join(parameters)}; got {name!r}")
    change = _change(copy, loss, batch, parameters[name])
    if not change <= ROUNDING:
        raise ValueError(
            f"{name} is not scale invariant: halved or doubled it changes the loss by {change:.1e} of its value, "
            f"allowed is {ROUNDING:.0e}"
        )
    if not _is_used(copy, loss, batch, parameters[name]):
        raise ValueError(f"{name} is not used by this loss, so that it says nothing of scale")


@torch.no_grad()
def _change(model: nn.Module, loss: Loss, batch: Any, p: torch.Tensor) -> float:
    """The largest relative change of the loss as the parameter is scaled; it is left as it was."""
    start, changes = float(loss(model, batch)), []
    for factor in FACTORS:
        p.mul_(factor)
        changes.append(abs(float(loss(model, batch)) - start) / abs(start))
        p.mul_(1 / factor)  # exact: the factors are powers of two
    return max(changes)


@torch.no_grad()
def _is_used(model: nn.Module, loss: Loss, batch: Any, p: torch.Tensor) -> bool:
    """Whether the loss changes with the signs of the parameter's entries; they are lost."""
    start = float(loss(model, batch))
    p.abs_()
    return float(loss(model, batch)) != start
