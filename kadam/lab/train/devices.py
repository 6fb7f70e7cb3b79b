"""Where a run computes: the processor, or a GPU that must be there."""

import torch


def chosen(name: str) -> torch.device:
    """The device of this name; ``ValueError`` for a GPU that this machine does not have."""
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {name!r}, but torch finds no CUDA device here; use a machine that has one")
    return device


def described(name: str) -> dict[str, str]:
    """The attribute by which a record names a GPU; none for the processor, which every record names by itself."""
    device = chosen(name)
    return {"device": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
