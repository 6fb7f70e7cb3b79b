"""What the tests in this folder need of the machine, and what becomes of them where it is missing."""

import os
from importlib import import_module

import pytest


def needed(found, name):
    """What was found; else the test is skipped, or fails where the tests are asked for by ``make browser``."""
    if not found:
        (pytest.fail if os.environ.get("KADAM_BROWSER") else pytest.skip)(f"needs {name}")
    return found


def library(name):
    """The module of this name, if there is one."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None
