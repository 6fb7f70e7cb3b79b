"""Adam in continuous time, made executable: the k-Adam optimizer and the theory behind it.

What may be imported from here, from ``kadam.theory`` and from ``kadam.optim`` stays; the rest may move.
"""

from typing import TYPE_CHECKING, Any

from kadam.decay import Decay as Decay
from kadam.decay import stages as stages

if TYPE_CHECKING:
    from kadam.advice import advise as advise
    from kadam.monitor import StabilityMonitor as StabilityMonitor
    from kadam.optim import KAdam as KAdam

__all__ = ["Decay", "KAdam", "StabilityMonitor", "advise", "stages"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Import what needs torch, the optimizer and the monitor, or scipy, as the advice, only when it is asked for."""
    if name == "KAdam":
        from kadam.optim import KAdam

        return KAdam
    if name == "advise":
        from kadam.advice import advise

        return advise
    if name == "StabilityMonitor":
        from kadam.monitor import StabilityMonitor

        return StabilityMonitor
    raise AttributeError(f"module 'kadam' has no attribute {name!r}")
