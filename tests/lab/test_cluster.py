"""On a real Dask cluster a sweep gives the bits it gives here, whoever of the cluster is killed; and SLURM starts one."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import cloudpickle
import dask
import long_sweep
import pytest
from click.testing import CliRunner

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
    with running(*module, "--scheduler-file", file) as process:
        while not (file.exists() and file.read_text()):
            assert process.poll() is None
            time.sleep(0.02)
        yield process, json.loads(file.read_text())["address"]


def worker(address, folder):
    module = ("-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
    return running(*module, "--local-directory", folder)


def sweep(folder, *arguments, **options):
    folder.mkdir(exist_ok=True)
    return running(SWEEP, folder, *arguments, stderr=subprocess.PIPE, **options)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The bytes of the record of one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with sweep(folder) as process:
        _, complaints = process.communicate()
    assert complaints == ""
    return (folder / "record.nc").read_bytes()


def steps_taken(folder):
    return len((folder / "log").read_text().splitlines()) if (folder / "log").exists() else 0


def wait_for_steps(process, folder, steps):
    while steps_taken(folder) < steps:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_whoever_of_a_cluster_is_killed_the_bits_are_the_same(tmp_path, undisturbed):
    """First one of two workers, which the other makes up for; then the scheduler, after which the same command goes on."""
    with scheduler(tmp_path) as (_, address), worker(address, tmp_path) as first, worker(address, tmp_path):
        one = tmp_path / "one"
        with sweep(one, "--scheduler", address) as process:
            wait_for_steps(process, one, TOTAL // 4)
            first.kill()
            _, complaints = process.communicate()
        assert process.returncode == 0, complaints
        assert (one / "record.nc").read_bytes() == undisturbed
        assert steps_taken(one) < 1.5 * TOTAL

    two = tmp_path / "two"
    with scheduler(tmp_path) as (boss, address), worker(address, tmp_path), sweep(two, "--scheduler", address) as process:
        wait_for_steps(process, two, TOTAL // 3)
        boss.kill()
        _, complaints = process.communicate(timeout=60)
        assert process.returncode != 0
        assert "ClusterError: the cluster was lost" in complaints
        assert "what is finished is kept, and the same command goes on" in complaints
    assert not (two / "record.nc").exists()
    done = list((two / "checkpoint").glob("*.nc"))
    before = steps_taken(two)
    assert done
    with scheduler(tmp_path) as (_, address), worker(address, tmp_path), sweep(two, "--scheduler", address) as process:
        _, complaints = process.communicate()
    assert (two / "record.nc").read_bytes() == undisturbed, complaints
    assert steps_taken(two) - before <= TOTAL - len(done) * long_sweep.STEPS


def test_an_experiment_on_a_cluster_gives_the_bits_of_one_process(tmp_path, smoke_records):
    with scheduler(tmp_path) as (_, address), worker(address, tmp_path), worker(address, tmp_path):
        for name in ("growth", "meta"):
            result = CliRunner().invoke(commands, ["run", name, "--profile", "smoke", "--scheduler", address])
            assert result.exit_code == 0, result.output
            record = chapters.obtain(name, "smoke")
            assert record.attrs["sha256"] == records.result_sha256(smoke_records[name].assign_attrs(schema=records.SCHEMA))


def end_worker(piece, progress):
    os._exit(1)


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


SBATCH = """#!{python}
import pathlib, shutil, subprocess, sys, tempfile
job = tempfile.mktemp(prefix="job-", dir="{folder}")
shutil.copy(sys.argv[1], job)
with open(pathlib.Path(job).with_suffix(".out"), "w") as output:
    started = subprocess.Popen(["sh", job], stdout=output, stderr=output, start_new_session=True)
print("Submitted batch job", started.pid)
"""
SCANCEL = """#!{python}
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


def test_slurm_jobs_as_the_book_describes_them_compute_the_same_bits(tmp_path, slurm, undisturbed):
    with sweep(tmp_path / "long", "--cluster", "slurm", "--jobs", "2", env=slurm, cwd=tmp_path) as process:
        _, complaints = process.communicate(timeout=120)
    assert process.returncode == 0, complaints
    assert (tmp_path / "long" / "record.nc").read_bytes() == undisturbed
    jobs = [path.read_text() for path in (tmp_path / "slurm").glob("job-*") if path.suffix == ""]
    assert len(jobs) == 2
    assert all("#SBATCH --gres=gpu:1" in job and "--nthreads 1" in job for job in jobs)


def test_a_slurm_job_that_is_not_described_is_an_error_that_names_the_file(tmp_path, slurm, monkeypatch):
    environment = {**slurm, "DASK_CONFIG": str(tmp_path / "empty")}
    with sweep(tmp_path / "long", "--cluster", "slurm", env=environment) as process:
        _, complaints = process.communicate()
    assert process.returncode != 0
    assert "fill in jobqueue.slurm in ~/.config/dask/jobqueue.yaml" in complaints
