"""What ``torch.hub.load(folder, "kadam", source="local")`` finds in a clone, with nothing installed but torch and numpy."""

from kadam import KAdam

dependencies = ["torch", "numpy"]  # torch.hub says which of these is missing


def kadam() -> type[KAdam]:
    """The optimizer's class: ``KAdam(model.parameters(), lr=1e-3, k=1)``."""
    return KAdam
