"""What the tests in this folder need of the machine, and what becomes of them where it is missing."""

import os
from importlib import import_module

import pytest


def needed(found, name):
    """What was found, or the test fails; without ``make browser``, which asks for these tests, it is skipped."""
    if not os.environ.get("KADAM_BROWSER"):
        pytest.skip("in a browser: make browser")
    if not found:
        pytest.fail(f"needs {name}")
    return found


def library(name):
    """The module of this name, if there is one."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None
