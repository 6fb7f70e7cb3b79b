"""What numba compiles for the optimizer and the monitor: kept on disk for the next process, by one process at a time."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numba
from numba.core import cgutils, types
from numba.extending import intrinsic

try:
    import fcntl
except ImportError:  # no such locks here
    fcntl = None  # type: ignore[assignment]

if numba.config.DISABLE_JIT:
    raise RuntimeError("NUMBA_DISABLE_JIT is set")

STRICT: Any = {"nogil": True, "error_model": "numpy"}
strict: Callable[..., Any] = numba.njit(**STRICT)


def kept(**options: Any) -> Callable[..., Any]:
    """The same for what is launched, whose machine code is kept on disk for the next process, if it may be written anywhere."""

    def compile(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(**STRICT, **options, cache=True)(function)
        except RuntimeError:  # neither beside this file nor in the user's own cache
            return numba.njit(**STRICT, **options)(function)

    return compile


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing_context: Any, address: Any) -> Any:
    """An address as a pointer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


_ready: set[Any] = set()  # functions and their versions that have been compiled, or loaded, in this process


def first_alone(function: Any, version: Any) -> AbstractContextManager[None]:
    """For a launch: the first one of a version in this process is one in which no other process compiles."""
    return nullcontext() if (function, version) in _ready else _alone(function, version)


@contextmanager
def _alone(function: Any, version: Any) -> Iterator[None]:
    """Two processes that keep different versions at once can leave one under the other's name."""
    path = function.stats.cache_path
    if fcntl is None or not path:
        yield
    else:
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, "kadam.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    _ready.add((function, version))
