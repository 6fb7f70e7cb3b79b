"""KAdam on parameters distributed over two processes: the cases of ``distributed_worker.py``, in one pair of processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from distributed_worker import CASES, PATIENCE
from problems import loopback
from tiers import exhaustive

WORKER = Path(__file__).parents[1].joinpath("distributed_worker.py")
RANKS = (0, 1)


def start(rank, folder):
    """A process that speaks to the other one over the loopback interface."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback()}
    with (folder / f"output-{rank}").open("w") as output:
        command = [sys.executable, str(WORKER), str(rank), str(folder)]
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)


def wait(processes):
    """Until all have ended, or one has failed, or patience has."""
    deadline = time.monotonic() + PATIENCE + 10  # by then a process that hangs has said where
    while time.monotonic() < deadline:
        codes = [process.poll() for process in processes]
        if None not in codes:
            return
        if any(codes):
            deadline = min(deadline, time.monotonic() + 1)  # for the last words of the other one
        time.sleep(0.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes, that have ended, left what they had to say."""
    folder = tmp_path_factory.mktemp("processes")
    processes = [start(rank, folder) for rank in RANKS]
    try:
        wait(processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return folder


def failure(case, rank, folder):
    """What went wrong in one process, or nothing."""
    outcome = folder / case / f"outcome-{rank}"
    if outcome.exists():
        return outcome.read_text()
    return f"did not finish this case; it said:\n{(folder / f'output-{rank}').read_text()}"


@exhaustive
@pytest.mark.parametrize("case", CASES)
def test_two_processes_agree_with_one(case, folder):
    failures = {rank: text for rank in RANKS if (text := failure(case, rank, folder))}
    if failures:
        pytest.fail("\n".join(f"In process {rank}:\n{text}" for rank, text in failures.items()), pytrace=False)
