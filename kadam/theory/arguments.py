"""What the theory's functions make of their array arguments: float64, or an error that names the argument."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kadam.decay import as_float

Array = NDArray[np.float64]


def real_array(name: str, value: Any) -> Array:
    """The value in float64; ``ValueError`` unless it is a number, or an array of numbers, real and not text."""
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return value
    try:
        given = np.asarray(value)
        with np.errstate(over="ignore"):
            if given.dtype.kind in "biuf":
                return given.astype(np.float64)
            return np.array([_real(x) for x in given.ravel()], dtype=np.float64).reshape(given.shape)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be a real number or an array of real numbers, got {value!r}") from None


def _real(x: Any) -> float:
    """Of an array of objects: Python's own numbers of any kind and size."""
    number = as_float(x)
    if np.isnan(number) and not isinstance(x, float):
        raise TypeError
    return number


def finite_array(name: str, value: Any, *, largest: float = np.inf) -> Array:
    """:func:`real_array` of finite numbers that are no larger than ``largest`` in size."""
    x = real_array(name, value)
    allowed = np.isfinite(x) & (np.abs(x) <= largest)
    if not allowed.all():
        limit = "" if largest == np.inf else f" of size up to {largest:g}, so that their squares are finite"
        raise ValueError(f"{name} must be finite numbers{limit}; got {x[~allowed].ravel()[0].item()!r}")
    return x
