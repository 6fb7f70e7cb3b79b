"""What the theory's functions make of their arguments: float64, or an error that names the argument."""

from collections.abc import Callable
from numbers import Integral
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


def array_that(name: str, value: Any, allowed: Callable[[Array], NDArray[np.bool_]], must: str) -> Array:
    """:func:`real_array` whose numbers are all ``allowed``; the error says what they must, and shows the first that is not."""
    x = real_array(name, value)
    fine = allowed(x)
    if not fine.all():
        raise ValueError(f"{name} must {must} got {x[~fine].ravel()[0].item()!r}")
    return x


def finite_array(name: str, value: Any, *, largest: float = np.inf) -> Array:
    """:func:`real_array` of finite numbers that are no larger than ``largest`` in size."""
    limit = "" if largest == np.inf else f" of size up to {largest:g}, so that their squares are finite"
    return array_that(name, value, lambda x: np.isfinite(x) & (np.abs(x) <= largest), f"be finite numbers{limit};")


def check_count(name: str, value: Any) -> None:
    """``ValueError`` unless ``value`` is a whole number of at least one (and below 2^53, where floats stop counting)."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= int(value) < 2**53:
        raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")


def check_number(name: str, value: Any, *, above: float | None = None) -> float:
    """The value as a float; ``ValueError`` unless it is finite and > ``above``, or >= 0 where no ``above`` is given."""
    number = as_float(value)
    if not (number >= 0 if above is None else number > above) or np.isinf(number):
        raise ValueError(f"{name} must be a finite number {'>= 0' if above is None else f'> {above:g}'}, got {value!r}")
    return number


def unit_interval(name: str, value: Any) -> Array:
    """:func:`real_array` of numbers in [0, 1)."""
    return array_that(name, value, lambda x: (x >= 0) & (x < 1), "lie in [0, 1),")


def check_broadcast(**arrays: Array) -> None:
    """``ValueError`` naming the arrays and their shapes unless they broadcast."""
    try:
        np.broadcast_shapes(*(x.shape for x in arrays.values()))
    except ValueError:
        shapes = " and ".join(str(x.shape) for x in arrays.values())
        raise ValueError(f"{' and '.join(arrays)} must broadcast, got shapes {shapes}") from None


def decay_arrays(beta: Any, gamma: Any) -> tuple[Array, Array]:
    """Decays in [0, 1), as arrays that broadcast; ``ValueError`` otherwise."""
    b, g = unit_interval("beta", beta), unit_interval("gamma", gamma)
    check_broadcast(beta=b, gamma=g)
    return b, g
