"""What all tests share: a cache of their own, no user data, no network, pictures that go nowhere, and profiles of fuzzing.

Without the laboratory's libraries, as on a bare GPU machine, the tests of the core run and the others are counted.
"""

import gc
import itertools
import os
import re
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import pytest
from fuzzing import register_profiles

LAB = all(find_spec(name) for name in ("filelock", "h5netcdf", "matplotlib", "platformdirs", "pooch", "tqdm", "xarray"))
NEEDS_LAB = re.compile(r"kadam(\.| import )(lab|report|chapters|book|cli|notebooks|kernel)\b|^import jupytext", re.M)
LEFT_OUT = []

# Files whose tests run one after another in one process, since they share what is costly.
TOGETHER = {
    **{f"lab/test_{name}.py": name for name in ("cluster", "kill", "closure", "resume")},
    **{
        f"{name}.py": name
        for name in (
            "optim/test_distributed",
            "optim/test_cuda",
            "test_installation",
            "chapters/test_curvature",
            "chapters/test_chapter_speed",
        )
    },
    **{f"theory/test_{name}.py": name for name in ("flow", "geometry")},
    **{f"clients/{path.name}": "clients" for path in (Path(__file__).parent / "clients").glob("test_*.py")},
    "chapters/test_chapter_speed_loops.py": "loops",
    "chapters/test_chapter_contest.py": "contest",
    "chapters/test_review.py": "ledger",
}
CACHES = itertools.count()
KEPT = os.environ.get("KADAM_CACHE")  # of whoever started the tests; each of them has its own

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests go to whichever process is free, those that belong together as one, and first."""
    if config.getoption("dist") != "load":  # whoever asks for another way than that of -n has it
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return TOGETHER.get(nodeid.partition("::")[0].removeprefix("tests/"), nodeid)

    return Together(config, log)


def pytest_collection_finish():
    gc.freeze()  # thousands of tests and what they import are never garbage; every full collection would look at them again


@pytest.fixture(autouse=True)
def alone(tmp_path_factory, shared_cache, monkeypatch):
    """A cache of its own; only what committed records were judged to say, which goes by their bytes and the code, is shared."""
    own = tmp_path_factory.getbasetemp() / f"cache-{next(CACHES)}"
    own.mkdir()
    (own / "judged").symlink_to(shared_cache / "judged")
    monkeypatch.setenv("KADAM_CACHE", str(own))
    monkeypatch.delenv("KADAM_DATA", raising=False)
    monkeypatch.setenv("KADAM_PACK", "")
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
    """The record of every experiment at the smoke profile: computed when it is first asked for, once for all processes."""

    def __init__(self, cache):
        super().__init__()
        self.cache = cache

    def __missing__(self, name):
        from kadam import chapters

        with mock.patch.dict(os.environ, KADAM_CACHE=str(self.cache)):
            self[name] = chapters.obtain(name, "smoke")
        return self[name]


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """Where the processes of this run keep what they share: the cache that `make test` names, else a folder of the run."""
    base = tmp_path_factory.getbasetemp()
    found = Path(KEPT) if KEPT else (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-cache"
    (found / "judged").mkdir(parents=True, exist_ok=True)
    return found


@pytest.fixture(scope="session")
def shared_book(shared_cache):
    """Where executed notebooks lie: `make test` builds its book of them, so that they are executed once."""
    return Path(__file__).parents[1] if KEPT else shared_cache


@pytest.fixture(scope="session")
def smoke_records(shared_cache):
    return SmokeRecords(shared_cache)
