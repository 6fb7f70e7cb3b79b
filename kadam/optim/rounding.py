"""How a step in float32 ends in a parameter of lower precision: rounded to nearest, or stochastically."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

BELOW = 16  # bits of a float32 that bfloat16 has not

Noise = Callable[[Tensor], Tensor]  # int32 in [0, 2^16), shaped as the tensor


def noise(dtype: torch.dtype, device: torch.device, step: float | None) -> Noise | None:
    """What stochastic rounding of this dtype draws at this step; ``None`` for others than bfloat16, which round to nearest.

    The step is the seed: replicas of a weight stay equal, a run goes on exactly, and the global generator is left alone. Where
    the host does not know the step, the device's global generator draws.
    """
    if dtype != torch.bfloat16:
        return None
    return partial(_drawn, None if step is None else torch.Generator(device).manual_seed(int(step)))


def _drawn(generator: torch.Generator | None, wide: Tensor) -> Tensor:
    return torch.randint(1 << BELOW, wide.shape, generator=generator, dtype=torch.int32, device=wide.device)


def narrow_(param: Tensor, wide: Tensor, draw: Noise | None) -> None:
    """Write ``wide``, float32 and shaped as the parameter, into it; with a draw to one of each number's two neighbours.

    The nearer one is taken more often, so that the mean over draws is the number: updates below half a unit in the last place,
    which rounding to nearest loses for ever, add up. What is not finite stays as it is.
    """
    if draw is not None:
        if hasattr(wide, "to_local"):  # distributed: every process rounds its shard
            param, wide = param.to_local(), wide.to_local()  # type: ignore[attr-defined]
        bits = wide.view(torch.int32) + draw(wide)
        wide = torch.where(wide.isfinite(), bits.bitwise_and_(-1 << BELOW).view(torch.float32), wide)
    param.copy_(wide)
