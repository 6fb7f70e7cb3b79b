"""What all tests share: a cache of their own, no user data, no network, pictures that go nowhere, and profiles of fuzzing."""

import matplotlib
import matplotlib.pyplot as plt
import pooch
import pytest
from fuzzing import register_profiles

from kadam.lab.data import sources as data

matplotlib.use("Agg")

RETRIEVE = pooch.retrieve
register_profiles()  # HYPOTHESIS_PROFILE, or --hypothesis-profile, takes another than quick


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.setenv("KADAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KADAM_DATA", raising=False)
    data._try_download.cache_clear()
    yield
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

    monkeypatch.setattr("pooch.retrieve", refuse)


class SmokeRecords(dict):
    """The record of every experiment at the smoke profile, each computed when it is first asked for."""

    def __missing__(self, name):
        from kadam import chapters

        self[name] = chapters.find(name).part("run").run(chapters.request(name, "smoke").config)
        return self[name]


@pytest.fixture(scope="session")
def smoke_records():
    return SmokeRecords()
