"""From the host, which draws, to the device, which computes."""

from typing import Any

import torch
from numpy.typing import NDArray


def uploaded(drawn: NDArray[Any], device: torch.device) -> torch.Tensor:
    """What the host drew, on the device and without waiting for it, for which a GPU wants memory that stays in its place."""
    there = torch.from_numpy(drawn)
    return (there.pin_memory() if device.type == "cuda" else there).to(device, non_blocking=True)
