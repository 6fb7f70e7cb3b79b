"""What all tests share: a cache of their own, no user data, no network, pictures that go nowhere, and profiles of fuzzing.

Without the laboratory's libraries, as on a bare GPU machine, the tests of the core run and the others are counted.
"""

import re
from importlib.util import find_spec

import pytest
from fuzzing import register_profiles

LAB = all(find_spec(name) for name in ("filelock", "h5netcdf", "matplotlib", "platformdirs", "pooch", "tqdm", "xarray"))
NEEDS_LAB = re.compile(r"kadam(\.| import )(lab|report|chapters|book|cli)\b|^import jupytext", re.M)
LEFT_OUT = []

register_profiles()  # HYPOTHESIS_PROFILE, or --hypothesis-profile, takes another than quick

if LAB:
    import matplotlib
    import matplotlib.pyplot as plt
    import pooch

    from kadam.lab.data import sources

    matplotlib.use("Agg")
    RETRIEVE = pooch.retrieve


def pytest_ignore_collect(collection_path):
    """Without the laboratory leave out what imports it."""
    if not LAB and collection_path.suffix == ".py" and NEEDS_LAB.search(collection_path.read_text()):
        LEFT_OUT.append(collection_path.name)
        return True
    return None


def pytest_terminal_summary(terminalreporter):
    if LEFT_OUT:
        terminalreporter.write_line(f"{len(LEFT_OUT)} test files left out: they need kadam[lab], which is not installed")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.setenv("KADAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KADAM_DATA", raising=False)
    if LAB:
        sources._try_download.cache_clear()
    yield
    if LAB:
        plt.close("all")


@pytest.fixture
def retrieve(monkeypatch):
    """The real download again, for tests that speak to this machine alone."""
    monkeypatch.setattr("pooch.retrieve", RETRIEVE)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Downloads fail as they do without a network, on every machine."""

    def refuse(*args, **kwargs):
        raise ConnectionError("no network")

    if LAB:
        monkeypatch.setattr("pooch.retrieve", refuse)
        monkeypatch.setattr(sources, "_accepts", lambda host: True)  # so that no test asks a server
        monkeypatch.delenv(sources.UNREACHABLE, raising=False)


class SmokeRecords(dict):
    """The record of every experiment at the smoke profile, each computed when it is first asked for."""

    def __missing__(self, name):
        from kadam import chapters

        self[name] = chapters.find(name).part("run").run(chapters.request(name, "smoke").config)
        return self[name]


@pytest.fixture(scope="session")
def smoke_records():
    return SmokeRecords()
