"""k-Adam for PyTorch; never imports the theory."""

from kadam.optim.kadam import KAdam as KAdam

__all__ = ["KAdam"]
