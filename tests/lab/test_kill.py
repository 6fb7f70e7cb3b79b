"""Whatever kills a run, the same command ends with the same bits, and what was finished is not computed again."""

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import long_sweep
import pytest
import xarray as xr
from click.testing import CliRunner
from tiers import cases, exhaustive

from kadam import chapters
from kadam.cli import commands
from kadam.lab.records import record as records

SWEEP = Path(long_sweep.__file__)


def start(folder, *options):
    return subprocess.Popen(
        [sys.executable, SWEEP, folder, *options], stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The bytes of a record that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    long_sweep.main(folder)
    return (folder / "record.nc").read_bytes()


def steps_taken(folder):
    """Every step that was computed, as often as it was."""
    log = folder / "log"
    return [tuple(map(int, line.split())) for line in log.read_text().splitlines()] if log.exists() else []


def finished(folder):
    return {int(path.stem[-1]) for path in (folder / "checkpoint").glob("piece ?.nc")}


def workers_of(parent):
    """The processes that compute for this one; Linux only."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            if f"PPid:\t{parent}\n" in status.read_text() and b"popen_loky" in status.with_name("cmdline").read_bytes():
                found.add(int(status.parent.name))
    return found


def lives(pid):
    """Whether the process is there, and is not merely one whose end nobody has asked for."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def those_left(processes, seconds):
    """Those that are still there after so many seconds."""
    deadline = time.monotonic() + seconds
    while any(map(lives, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return {pid for pid in processes if lives(pid)}


@exhaustive
def test_a_sweep_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path, undisturbed):
    """In two processes, then in one; each goes on with what the others left, and two processes end it."""
    rng, total = random.Random(), len(long_sweep.PIECES) * long_sweep.STEPS
    for jobs in (2, 1):
        before, done = len(steps_taken(tmp_path)), finished(tmp_path)
        kill_after(before + rng.randint(1, total // 4), tmp_path, jobs)
        assert {piece for piece, _ in steps_taken(tmp_path)[before:]}.isdisjoint(done)
    before, done = len(steps_taken(tmp_path)), finished(tmp_path)
    _, complaints = start(tmp_path, "--jobs", "2").communicate()
    assert complaints == ""
    assert (tmp_path / "record.nc").read_bytes() == undisturbed
    taken = steps_taken(tmp_path)
    assert {piece for piece, _ in taken[before:]}.isdisjoint(done)
    assert len(set(taken)) == total
    assert len(taken) < 2 * total


def kill_after(steps, folder, jobs):
    """SIGKILL once so many steps were taken altogether; its processes, which have half a minute of work left, end with it."""
    process = start(folder, "--jobs", str(jobs), "--stall", str(steps))
    before = len(steps_taken(folder))
    while len(taken := steps_taken(folder)) < steps or len({piece for piece, _ in taken[before:]}) < jobs:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    workers = workers_of(process.pid) if sys.platform == "linux" else set()
    process.kill()
    process.wait()
    alive = those_left(workers, 10)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    process.communicate()  # which whoever is left would hold open
    assert not alive
    assert len(workers) == (jobs if jobs > 1 and sys.platform == "linux" else 0)


def kadam(name, jobs, **options):
    command = [sys.executable, "-m", "kadam", "run", name, "--profile", "smoke", "--jobs", str(jobs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def here(name):
    """The same command in this process, which has loaded everything: what it printed, on stdout and stderr."""
    result = CliRunner().invoke(commands, ["run", name, "--profile", "smoke", "--jobs", "1"])
    return result.stdout, result.stderr


def path(name):
    return chapters.request(name, "smoke").path


def pieces():
    """The finished ones that are kept; what is being written has a name that begins with a dot."""
    return list((Path(os.environ["KADAM_CACHE"]) / "checkpoints").rglob("[!.]*.nc"))


def assert_is(name, smoke_records):
    record = records.read(path(name), command="x")
    xr.testing.assert_identical(record.drop_attrs(deep=False), smoke_records[name].drop_attrs(deep=False))


@exhaustive
def test_an_experiment_that_is_killed_goes_on(smoke_records):
    process = kadam("radius", 1)
    while not pieces():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert not path("radius").exists()
    output, complaints = here("radius")
    assert output == f"radius: {path('radius')}\n", complaints
    assert_is("radius", smoke_records)
    assert not pieces()


@exhaustive
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize(("number", "everyone"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_an_interrupted_command_says_one_line_and_leaves_no_process_and_no_half_file(smoke_records, number, everyone):
    """SIGTERM as a batch system sends it, SIGINT as a terminal does, to all processes."""
    process = kadam("meta", 2, start_new_session=True, preexec_fn=hear_the_keyboard)
    cache = Path(os.environ["KADAM_CACHE"])
    while not pieces():
        assert process.poll() is None
        time.sleep(0.05)
    workers = workers_of(process.pid)
    half = pieces()[0].with_name(".0.piece.state")
    half.touch()
    (os.killpg if everyone else os.kill)(process.pid, number)
    output, complaints = process.communicate()
    said = [line for line in complaints.splitlines() if not re.fullmatch(r"meta: \d+ of \d+ steps, .* left", line)]
    assert (output, said) == ("", ["interrupted; the same command goes on"])  # a busy machine may tell its progress
    assert process.returncode == 128 + number
    assert workers
    assert not those_left(workers, 1.2)
    assert not list(cache.rglob(".*"))
    assert pieces()  # what is finished is kept
    here("meta")
    assert_is("meta", smoke_records)


def hear_the_keyboard():
    """A shell's background job ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


INTERRUPTED_IN_A_DESTRUCTOR = """
import os, signal, sys, time
from kadam import __main__

class Fragile:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)  # here the signal is heard

class HalfMade:
    def __del__(self):
        self.missing

def command(given):
    Fragile()
    half_made = HalfMade()
    time.sleep(20)

__main__.command = command
__main__.main()
"""


def test_an_interrupt_that_strikes_in_a_destructor_is_not_lost():
    begin = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED_IN_A_DESTRUCTOR], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (143, "interrupted; the same command goes on\n")
    assert time.monotonic() - begin < 15


@exhaustive
def test_two_runs_of_one_experiment_at_once_compute_it_once(smoke_records):
    process = kadam("radius", 1)
    while not list(Path(os.environ["KADAM_CACHE"]).rglob("*.lock")):
        assert process.poll() is None
        time.sleep(0.05)
    answers = [here("radius"), process.communicate()]
    assert [output for output, _ in answers] == [f"radius: {path('radius')}\n"] * 2
    assert sorted(complaints != "" for _, complaints in answers) == [False, True]
    assert sum("another process is at it; waiting for its result" in complaints for _, complaints in answers) == 1
    assert_is("radius", smoke_records)


def small_files(largest):
    """A limit on every file that a process writes, as of a disk that is full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))


@exhaustive
def test_a_full_disk_stops_a_run_with_a_clear_error_and_it_goes_on_later(smoke_records):
    output, complaints = kadam("radius", 1, preexec_fn=small_files(9000)).communicate()
    assert output == ""
    assert "what was finished is kept, make room and run the same command" in complaints
    assert "Traceback" not in complaints
    cache = Path(os.environ["KADAM_CACHE"])
    assert {path.suffix for path in cache.rglob("*") if path.is_file()} <= {".lock", ".nc"}
    assert not path("radius").exists()
    here("radius")
    assert_is("radius", smoke_records)


@pytest.mark.parametrize("fails", cases(range(8), quick=(0, 5, 6)))
def test_whichever_write_fails_nothing_is_lost_and_nothing_half_written_is_read(fails, tmp_path, monkeypatch):
    from kadam.chapters.growth import run as growth

    config = growth.Config(points=4, seeds=1, chunk=2, eps_every=2, steps=10, width=8, layers=1, text="embedded")
    monkeypatch.setitem(growth.PROFILES, "smoke", config)
    expected = growth.run(config)
    count, write = [0], Path.write_bytes

    def failing(path, content):
        count[0] += 1
        if count[0] - 1 == fails:
            write(path, content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", failing)
        if fails < 6:  # five pieces and the record
            with pytest.raises(OSError, match=r"No space left on device; what was finished is kept"):
                chapters.obtain("growth", "smoke")
        else:
            chapters.obtain("growth", "smoke")
    again = chapters.obtain("growth", "smoke")
    xr.testing.assert_identical(again.drop_attrs(deep=False), expected.drop_attrs(deep=False))
