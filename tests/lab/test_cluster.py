"""On a real Dask cluster a sweep gives the bits it gives here, whoever of the cluster is killed; and SLURM starts one."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import cloudpickle
import dask
import distributed
import long_sweep
import pytest
from click.testing import CliRunner
from tiers import exhaustive

from kadam import chapters
from kadam.cli import commands
from kadam.lab.engine import cluster
from kadam.lab.engine import sweep as engine
from kadam.lab.records import record as records

SWEEP = Path(long_sweep.__file__)
TOTAL = len(long_sweep.PIECES) * long_sweep.STEPS


@contextmanager
def running(*command, stderr=subprocess.DEVNULL, **options):
    with subprocess.Popen([sys.executable, *map(str, command)], stderr=stderr, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def scheduler(folder):
    file = folder / f"scheduler-{time.monotonic_ns()}.json"
    module = ("-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    with running(*module, "--scheduler-file", file, cwd=SWEEP.parent) as process:  # whence it can import the sweep
        while not (file.exists() and file.read_text()):
            assert process.poll() is None
            time.sleep(0.02)
        yield process, json.loads(file.read_text())["address"]


def worker(address, folder):
    module = ("-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
    return running(*module, "--local-directory", folder, cwd=SWEEP.parent)


def sweep(folder, *arguments, **options):
    return running(SWEEP, folder, *arguments, stderr=subprocess.PIPE, **options)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The bytes of the record of one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    long_sweep.main(folder)
    return (folder / "record.nc").read_bytes()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of a scheduler with one worker, neither of which anybody kills."""
    folder = tmp_path_factory.mktemp("cluster")
    with scheduler(folder) as (_, address), worker(address, folder):
        yield address


def steps_taken(folder):
    return len((folder / "log").read_text().splitlines()) if (folder / "log").exists() else 0


def kill_after(steps, folder, victim):
    """Kill a process once so many steps were taken in this folder."""
    while steps_taken(folder) < steps:
        time.sleep(0.01)
    victim.kill()


@exhaustive
def test_the_worker_that_is_left_makes_up_for_one_that_is_killed(tmp_path, address, undisturbed):
    with worker(address, tmp_path) as victim:
        with distributed.Client(address, set_as_default=False) as client:
            client.wait_for_workers(2)
        killer = Thread(target=kill_after, args=(TOTAL // 4, tmp_path, victim), daemon=True)
        killer.start()
        long_sweep.main(tmp_path, scheduler=address, step_s=0.02)
        killer.join()
    assert (tmp_path / "record.nc").read_bytes() == undisturbed
    assert steps_taken(tmp_path) < 1.5 * TOTAL


@exhaustive
def test_after_the_scheduler_is_killed_the_same_command_goes_on(tmp_path, address, undisturbed):
    with scheduler(tmp_path) as (boss, doomed), worker(doomed, tmp_path), sweep(tmp_path, "--scheduler", doomed) as process:
        kill_after(TOTAL // 3, tmp_path, boss)
        _, complaints = process.communicate(timeout=60)
        assert process.returncode != 0
        assert "ClusterError: the cluster was lost" in complaints
        assert "what is finished is kept, and the same command goes on" in complaints
    assert not (tmp_path / "record.nc").exists()
    done = list((tmp_path / "checkpoint").glob("*.nc"))
    before = steps_taken(tmp_path)
    assert done
    long_sweep.main(tmp_path, scheduler=address)
    assert (tmp_path / "record.nc").read_bytes() == undisturbed
    assert steps_taken(tmp_path) - before <= TOTAL - len(done) * long_sweep.STEPS


@exhaustive
def test_an_experiment_on_a_cluster_gives_the_bits_of_one_process(address, smoke_records):
    for name in ("generalization", "meta"):
        result = CliRunner().invoke(commands, ["run", name, "--profile", "smoke", "--scheduler", address])
        assert result.exit_code == 0, result.output
        record = chapters.obtain(name, "smoke")
        assert record.attrs["sha256"] == records.result_sha256(smoke_records[name].assign_attrs(schema=records.SCHEMA))


def end_worker(piece, progress):
    os._exit(1)


@exhaustive
def test_a_piece_that_takes_its_workers_with_it_is_named(tmp_path):
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        cluster.local(1),
        pytest.raises(cluster.ClusterError, match=r"the deadly piece.*what is finished is kept, and the same command goes on"),
    ):
        engine.sweep(["the deadly piece"], end_worker, steps=1, title="deadly", checkpoint=tmp_path)
    assert list(tmp_path.glob("*.nc")) == []


def test_a_scheduler_that_does_not_answer_is_an_error_that_says_how_to_start_one(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with (
        pytest.raises(
            cluster.ClusterError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9; start one with: dask scheduler"
        ),
        cluster.running("tcp://127.0.0.1:9"),
    ):
        pass


@pytest.mark.parametrize("address", ["", "here", "localhost:8786", "tcp://", "tcp://host", "tcp://host:port"])
def test_an_address_that_is_none_is_refused(address):
    with (
        pytest.raises(cluster.ClusterError, match=rf"scheduler must be an address like tcp://host:8786, got '{address}'"),
        cluster.running(address),
    ):
        pass


@pytest.mark.parametrize("option", [("--scheduler", "tcp://host:8786"), ("--cluster", "slurm")])
def test_without_dask_the_command_that_installs_it_is_named(option, monkeypatch):
    for module in ("distributed", "dask_jobqueue"):
        monkeypatch.setitem(sys.modules, module, None)
    result = CliRunner().invoke(commands, ["run", "stability", "--profile", "smoke", *option])
    assert result.exit_code == 1
    assert "install it with: pip install 'kadam[cluster]'" in result.output


def test_the_core_runs_without_dask():
    code = "import sys, kadam.lab.engine.sweep, kadam.cli; print([m for m in ('dask', 'distributed') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


SBATCH = """#!/bin/sh
"exec" "{python}" "$0" "$@"
import pathlib, shutil, subprocess, sys, tempfile
job = tempfile.mktemp(prefix="job-", dir="{folder}")
shutil.copy(sys.argv[1], job)
with open(pathlib.Path(job).with_suffix(".out"), "w") as output:
    started = subprocess.Popen(["sh", job], stdout=output, stderr=output, start_new_session=True)
print("Submitted batch job", started.pid)
"""
SCANCEL = """#!/bin/sh
"exec" "{python}" "$0" "$@"
import os, signal, sys
os.killpg(int(sys.argv[1]), signal.SIGTERM)
"""


@pytest.fixture
def slurm(tmp_path):
    """A SLURM of one machine: jobs that are submitted start at once, in the background. Returns the environment to use it."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, script in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (folder / name).write_text(script.format(python=sys.executable, folder=folder))
        (folder / name).chmod(0o755)
    (folder / "jobqueue.yaml").write_text(documented_configuration())
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "DASK_CONFIG": str(folder)}


def documented_configuration():
    """The job file of the book's page on clusters."""
    page = (Path(__file__).parents[2] / "book" / "cluster.md").read_text()
    return page.split("```yaml\n")[1].split("```")[0]


@exhaustive
def test_slurm_jobs_as_the_book_describes_them_compute_the_same_bits(tmp_path, slurm, undisturbed):
    with sweep(tmp_path / "long", "--cluster", "slurm", "--jobs", "2", env=slurm, cwd=tmp_path) as process:
        _, complaints = process.communicate(timeout=120)
    assert process.returncode == 0, complaints
    assert (tmp_path / "long" / "record.nc").read_bytes() == undisturbed
    jobs = [path.read_text() for path in (tmp_path / "slurm").glob("job-*") if path.suffix == ""]
    assert len(jobs) == 2
    assert all("#SBATCH --gres=gpu:1" in job and "--nthreads 1" in job for job in jobs)


@exhaustive
def test_a_slurm_job_that_is_not_described_is_an_error_that_names_the_file(tmp_path, slurm, monkeypatch):
    environment = {**slurm, "DASK_CONFIG": str(tmp_path / "empty")}
    with sweep(tmp_path / "long", "--cluster", "slurm", env=environment) as process:
        _, complaints = process.communicate()
    assert process.returncode != 0
    assert "fill in jobqueue.slurm in ~/.config/dask/jobqueue.yaml" in complaints
