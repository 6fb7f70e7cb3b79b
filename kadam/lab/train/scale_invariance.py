"""Whether a weight is scale invariant: measured before it is believed."""

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from kadam.flat import Loss

# Scaling by a power of two changes no digit of a weight, so a scale-invariant loss moves by rounding alone: a few hundred
# operations in float64 on the way to it.
ROUNDING = 1e-12


@torch.no_grad()
def check_scale_invariant(model: nn.Module, loss: Loss, batch: Any, name: str) -> None:
    """``ValueError`` unless halving and doubling this parameter leaves the loss the same to rounding, and setting its entries
    to their absolute values does not: a parameter that the loss does not use is no example of anything."""
    copy = deepcopy(model).double()
    parameters = dict(copy.named_parameters())
    if name not in parameters:
        raise ValueError(f"name must be one of {', '.join(parameters)}; got {name!r}")
    weight, losses = parameters[name].clone(), []
    for changed in (weight, weight / 2, weight * 2, weight.abs()):
        parameters[name].copy_(changed)
        losses.append(float(loss(copy, batch)))
    start, *scaled, without_signs = losses
    change = max(abs(one - start) for one in scaled) / abs(start)
    if not change <= ROUNDING:
        raise ValueError(
            f"{name} is not scale invariant: halved or doubled it changes the loss by {change:.1e} of its value, "
            f"allowed is {ROUNDING:.0e}"
        )
    if without_signs == start:
        raise ValueError(f"{name} is not used by this loss, so that it says nothing of scale")
