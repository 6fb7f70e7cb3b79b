"""What several judges, or parts of one sentence or figure, want to know of a dataset: computed once while they are at it."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, TypeVar

import xarray as xr

P = ParamSpec("P")
T = TypeVar("T")

KEPT: ContextVar[dict[Any, Any] | None] = ContextVar("KEPT", default=None)


@contextmanager
def judging() -> Iterator[None]:
    """While the block runs nobody changes a dataset, so what :func:`once` decorates computes once for each.

    A block within another is part of that.
    """
    token = KEPT.set({} if (outer := KEPT.get()) is None else outer)
    try:
        yield
    finally:
        KEPT.reset(token)


def once(function: Callable[Concatenate[xr.Dataset, P], T]) -> Callable[Concatenate[xr.Dataset, P], T]:
    """A function of a dataset, and of arguments with a hash, whose result nobody changes; kept within :func:`judging` only."""

    @functools.wraps(function)
    def remembering(dataset: xr.Dataset, /, *args: P.args, **kwargs: P.kwargs) -> T:
        kept = KEPT.get()
        if kept is None:
            return function(dataset, *args, **kwargs)
        key = function, id(dataset), args, tuple(kwargs.items())
        if key not in kept:
            kept[key] = dataset, function(dataset, *args, **kwargs)  # while it is kept no other dataset has its id
        return kept[key][1]

    return remembering
