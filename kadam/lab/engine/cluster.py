"""Dask clusters that the pieces of a sweep are sent to: one that runs already, or one that SLURM starts for us."""

import functools
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from importlib import import_module
from typing import Any, TypeVar
from uuid import uuid4

from tqdm import tqdm

CLUSTERS = ("slurm",)  # what we can start workers on
CONNECT_S = 10  # seconds without an answer after which there is no scheduler

T = TypeVar("T")

_active: ContextVar[Any] = ContextVar("kadam_cluster", default=None)
active = _active.get  # the Dask client whose cluster sweeps are sent to, or None


class ClusterError(RuntimeError):
    """A cluster cannot be used, and why."""


def chosen(*, scheduler: str | None, cluster: str | None, jobs: int) -> AbstractContextManager[None]:
    """Where sweeps go: to the scheduler at this address, to so many ``jobs`` of a cluster, or with neither to this machine."""
    if scheduler is not None:
        return running(scheduler)
    return slurm(jobs) if cluster is not None else nullcontext()


@contextmanager
def running(address: str) -> Iterator[None]:
    """While the block runs sweeps go to the Dask scheduler at ``address``; ``ClusterError`` where that is none."""
    if not re.fullmatch(r"\w+://.+:\d+", address):
        raise ClusterError(f"scheduler must be an address like tcp://host:8786, got {address!r}")
    with _connected(address, f"no Dask scheduler answers at {address}; start one with: dask scheduler"):
        yield


@contextmanager
def slurm(jobs: int) -> Iterator[None]:
    """While the block runs sweeps go to workers in so many SLURM jobs; ``ClusterError`` where they cannot be described.

    What a job asks for (queue, memory, GPU, time) comes from the section ``jobqueue.slurm`` of Dask's own configuration.
    """
    jobqueue = _imported("dask_jobqueue")
    configured = _imported("dask").config.get("jobqueue.slurm.python", None)
    try:  # the command becomes a line of a shell script, where the name of this Python's folder may hold a space
        cluster = jobqueue.SLURMCluster(python=configured or shlex.quote(sys.executable))
    except ValueError as error:
        remedy = "fill in jobqueue.slurm in ~/.config/dask/jobqueue.yaml"
        raise ClusterError(f"SLURM jobs cannot be described: {error}; {remedy}") from None
    with cluster:
        cluster.scale(jobs=jobs)
        with _connected(cluster, "the scheduler for the SLURM jobs does not answer"):
            yield


@contextmanager
def local(workers: int) -> Iterator[None]:
    """While the block runs sweeps go to a Dask cluster of so many workers on this machine, processes of one thread each."""
    distributed = _imported("distributed")
    cluster = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0")
    with cluster, _connected(cluster, "the scheduler on this machine does not answer"):
        yield


@contextmanager
def _connected(to: Any, complaint: str) -> Iterator[None]:
    distributed = _imported("distributed")
    try:
        client = distributed.Client(to, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:  # a timeout is an OSError, a malformed address a ValueError
        raise ClusterError(f"{complaint} ({error})") from None
    with client:
        if not client.nthreads():
            tqdm.write("the cluster has no worker yet: waiting for the first", file=sys.stderr)
        token = _active.set(client)
        try:
            yield
        finally:
            _active.reset(token)


def _imported(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        remedy = "install it with: pip install 'kadam[cluster]'"
        raise ClusterError(f"a cluster needs Dask, which is not installed; {remedy}") from None


def results(client: Any, compute: Callable[[Any], T], pieces: Sequence[Any]) -> Iterator[T]:
    """``compute(piece)`` of every piece as they finish, by another worker where one is lost; ``ClusterError`` where all are."""
    distributed = _imported("distributed")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sending large graph")  # the data: once, to the scheduler
        shared = client.submit(functools.partial(_same, compute), pure=False)
        keys = [f"{piece!s} {uuid4().hex}" for piece in pieces]  # what errors name
        futures = client.map(_call, [shared] * len(pieces), pieces, key=keys)
    try:
        for future in distributed.as_completed(futures, loop=client.loop):
            yield future.result()
            future.release()
    except (distributed.KilledWorker, distributed.CancelledError) as error:
        what = error if isinstance(error, distributed.KilledWorker) else f"the cluster was lost ({error})"
        raise ClusterError(f"{what}; what is finished is kept, and the same command goes on") from None
    finally:
        client.cancel(futures)


def _same(x: T) -> T:
    """As a task's result the shared part outlives the worker that holds it: another worker makes it again."""
    return x


def _call(compute: Callable[[Any], T], piece: Any) -> T:
    return compute(piece)
