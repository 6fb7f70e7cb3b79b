"""Which cases of a property every edit is tried on, and which only whoever asks for all: ``make exhaustive``, as CI does."""

import pytest

exhaustive = pytest.mark.exhaustive
heavy = pytest.mark.heavy  # starts another process or a compiler: ``make check``, which is for every edit, does without


def cases(every, *, quick):
    """All cases of a property; those that are not ``quick`` show again, at length, what these show."""
    every = list(every)
    assert set(quick) <= set(every), quick
    return [case if case in quick else pytest.param(case, marks=exhaustive) for case in every]
