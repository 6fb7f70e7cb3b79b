"""Adam in continuous time, made executable: the k-Adam optimizer and the theory behind it."""

from typing import TYPE_CHECKING, Any

from kadam.decay import Decay as Decay
from kadam.decay import stages as stages

if TYPE_CHECKING:
    from kadam.optim import KAdam as KAdam

__all__ = ["Decay", "KAdam", "stages"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the optimizer, and with it torch, only when it is asked for: the theory and the figures need neither."""
    if name == "KAdam":
        from kadam.optim import KAdam

        return KAdam
    raise AttributeError(f"module 'kadam' has no attribute {name!r}")
