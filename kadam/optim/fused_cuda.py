"""k-Adam's fused step on CUDA (in the making: until it is here, CUDA takes the foreach path)."""

from typing import Any


def available() -> bool:
    return False


def kadam_fused_cuda_step_(*args: Any, **kwargs: Any) -> None:
    raise NotImplementedError("the fused CUDA step is not available yet")
