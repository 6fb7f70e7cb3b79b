"""The state of a computation as plain data: tensors, numbers and names, never code, from which it goes on to the bit."""

import io
from collections import deque
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar

import numpy as np
import torch

from kadam.lab.records import files


class Stateful:
    """An object whose state is what the attributes named in ``STATE`` hold."""

    STATE: ClassVar[tuple[str, ...]] = ()

    def state_dict(self) -> dict[str, Any]:
        return {name: plain(getattr(self, name)) for name in self.STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self.STATE:
            present = getattr(self, name)
            value = restored(state[name], present)
            if value is not present:
                setattr(self, name, value)


def can_be_set(value: Any) -> bool:
    """Whether :func:`restored` sets this value itself, so that whoever holds it sees the state."""
    return isinstance(value, np.ndarray | list | deque | dict | np.random.Generator) or hasattr(value, "load_state_dict")


def plain(value: Any) -> Any:
    """A value as tensors, numbers, strings and (kind, content) pairs of them; ``TypeError`` for what cannot be kept."""
    match value:
        case np.generic():
            return value.item()
        case None | bool() | int() | float() | str() | torch.Tensor():
            return value
        case np.ndarray():
            return "array", torch.from_numpy(value)
        case list() | tuple() | deque():
            return type(value).__name__, [plain(item) for item in value]
        case dict():
            return "dict", {key: plain(item) for key, item in value.items()}
        case np.random.Generator():
            return "generator", value.bit_generator.state
    if not hasattr(value, "load_state_dict"):
        raise TypeError(f"a state holds tensors, numbers, generators and objects with state_dict(), got {type(value).__name__}")
    return "object", value.state_dict()


def restored(kept: Any, present: Any) -> Any:
    """The value that :func:`plain` made ``kept`` of; ``present``, where it is of the same kind, is set to it in place."""
    if not isinstance(kept, tuple):
        return kept
    kind, content = kept
    match kind:
        case "array":
            new = content.numpy()
            if not (isinstance(present, np.ndarray) and present.shape == new.shape):
                return new
            present[...] = new
        case "dict":
            return _dict(content, present)
        case "generator":
            present.bit_generator.state = content
        case "object":
            present.load_state_dict(content)
        case _:
            return _sequence(kind, content, present)
    return present


def _dict(content: dict[str, Any], present: Any) -> Any:
    old = present if isinstance(present, dict) else {}
    items = {key: restored(item, old.get(key)) for key, item in content.items()}
    old.clear()
    old.update(items)
    return old


def _sequence(kind: str, content: list[Any], present: Any) -> Any:
    old = list(present or ())
    items = [restored(item, old[i] if i < len(old) else None) for i, item in enumerate(content)]
    if kind == "tuple" or not isinstance(present, list | deque):
        return tuple(items) if kind == "tuple" else items
    present.clear()
    present.extend(items)
    return present


def save(state: Any, path: Path) -> None:
    """Write a state, sealed, under its name at once or not at all."""
    buffer = io.BytesIO()
    torch.save(plain(state), buffer)
    files.write_sealed(path, buffer.getvalue())


def load_into(state: Any, path: Path) -> Any:
    """The state of the file, set in place where that can be; ``RecordError`` for a damaged file."""
    command = f"rm {path}, then the same command again"
    content = files.read_sealed(path, command=command)
    try:
        kept = torch.load(io.BytesIO(content), weights_only=True)
    except (UnpicklingError, RuntimeError) as error:
        raise files.RecordError(f"{path}: is no state ({type(error).__name__}); make it anew with: {command}") from None
    return restored(kept, state)
