"""One way to run the pieces of a long computation: here, in processes or on a cluster, kept as they finish, and resumed."""

import functools
import os
import threading
import time
import warnings
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import xarray as xr
from joblib import Parallel, cpu_count, delayed
from threadpoolctl import threadpool_limits

from kadam.lab.engine import cluster
from kadam.lab.engine.progress import KEEP_EVERY_S, Bar, Note, Progress, Tell, drawn
from kadam.lab.records.closure import check_unedited, package_hash
from kadam.lab.records.record import read, save

P = TypeVar("P", bound=Hashable)  # what a piece goes by: a tuple with named parts, or a word
Compute = Callable[[P, Progress], xr.Dataset]


def name_of(piece: Hashable) -> str:
    """What a piece is called in files and messages."""
    return "-".join(map(str, piece)).replace("/", "_") if isinstance(piece, tuple) else str(piece)


def all_cores() -> int:
    """How many processes this machine lets us run at once."""
    return int(cpu_count())


def sweep(
    pieces: Sequence[P],
    compute: Compute[P],
    *,
    steps: int,
    title: str,
    checkpoint: Path | None = None,
    jobs: int = 1,
    keep_every_s: float = KEEP_EVERY_S,
) -> dict[P, xr.Dataset]:
    """Results of ``compute(piece, progress)``, which tells ``progress`` of ``steps`` steps, in the order of ``pieces``.

    ``checkpoint``: a folder that keeps finished pieces, and every ``keep_every_s`` seconds the state of one that loops with
    ``progress.over``. Inside :func:`kadam.lab.engine.cluster.running` or ``slurm`` there pieces go to that cluster, else to
    ``jobs`` processes here; each computes in one thread, so that no bit of a result depends on where. Its seconds are its
    attribute ``computed_s``. ``ClusterError`` where pieces cannot be computed where they were sent.
    """
    work = Work(compute, checkpoint, keep_every_s, package_hash())
    done = {piece: work.finished(piece) for piece in pieces}
    todo = [piece for piece in pieces if done[piece] is None]
    total = len(pieces) * steps
    with drawn(title, total=total, done=total - len(todo) * steps) as shown, warnings.catch_warnings():
        # Of joblib: tasks that ended with the sweep, and a worker that is replaced since its memory grew. Were the latter an
        # error, its thread would end, and the sweep would wait for ever.
        warnings.filterwarnings("ignore", message=r"\d+ tasks (have been|which were)|A worker stopped while some jobs")
        bar = Bar(shown)
        with closing(_results(todo, work, bar, jobs)) as results:  # whatever ends the sweep ends its processes
            for piece, result in results:
                work.keep(piece, result)
                bar.at(piece, steps)
                done[piece] = result
    return {piece: result for piece, result in done.items() if result is not None}


def computed_s(results: Mapping[Any, xr.Dataset]) -> float:
    """Seconds that all pieces took, over all processes, and over all runs if the sweep was interrupted."""
    return round(sum(result.attrs["computed_s"] for result in results.values()), 3)


def captured(several: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The attribute by which these attributes say how a GPU took steps, each way once; none where none says it."""
    ways = dict.fromkeys(attributes["captured"] for attributes in several if "captured" in attributes)
    return {"captured": "; ".join(ways)} if ways else {}


@dataclass(frozen=True)
class Work(Generic[P]):
    """What a piece needs wherever it is computed, and the files that are kept of it."""

    compute: Compute[P]
    checkpoint: Path | None
    keep_every_s: float
    code: str  # hash of the package's code, which must be the same everywhere

    def path(self, piece: P, suffix: str) -> Path | None:
        """A piece's file: ``nc`` its result, ``state`` where it is, ``steps`` what the bar is told."""
        return None if self.checkpoint is None else self.checkpoint / f"{name_of(piece)}.{suffix}"

    def finished(self, piece: P) -> xr.Dataset | None:
        path = self.path(piece, "nc")
        if path is None or not path.exists():
            return None
        return read(path, command=f"rm '{path}', then the same command again", expected={"piece": name_of(piece)})

    def keep(self, piece: P, result: xr.Dataset) -> None:
        """Write a finished piece, of code that nobody edited meanwhile; only then is its state not needed any more."""
        path = self.path(piece, "nc")
        if path is not None:
            check_unedited(_module(self.compute), name_of(piece))
            save(result.assign_attrs(piece=name_of(piece)), path)
            for suffix in ("state", "steps"):
                path.with_suffix(f".{suffix}").unlink(missing_ok=True)

    def here(self, piece: P, tell: Tell) -> xr.Dataset:
        """The result of a piece, computed in this process, with its seconds."""
        progress = Progress(tell, self.path(piece, "state"), keep_every_s=self.keep_every_s)
        result = self.compute(piece, progress)
        return result.assign_attrs(computed_s=progress.seconds)

    def elsewhere(self, piece: P) -> tuple[P, xr.Dataset]:
        """The same in a process that does nothing else, which tells of its steps through a file."""
        if self.code != package_hash():
            complaint = "the process that was to compute it runs another version of kadam or of its libraries"
            remedy = "install the same everywhere and start the workers anew"
            raise cluster.ClusterError(f"{name_of(piece)}: {complaint}; {remedy}")
        torch.set_num_threads(1)
        threadpool_limits(1)  # for good: this process computes pieces only
        path = self.path(piece, "steps")  # without it the bar moves when the piece is done
        return piece, self.here(piece, (lambda steps: None) if path is None else Note(path))


def _module(compute: Any) -> str:
    """Where the function of a piece stands, whatever arguments it was given."""
    return _module(compute.func) if isinstance(compute, functools.partial) else str(compute.__module__)


def _results(pieces: Sequence[P], work: Work[P], bar: Bar, jobs: int) -> Generator[tuple[P, xr.Dataset], None, None]:
    """(piece, result) as they finish."""
    client = cluster.active()
    if client is None and min(jobs, len(pieces)) <= 1:
        with one_thread():
            for piece in pieces:
                yield piece, work.here(piece, functools.partial(bar.at, piece))
        return
    notes = {piece: path for piece in pieces if (path := work.path(piece, "steps")) is not None}
    with bar.following(notes):
        if client is not None:
            yield from cluster.results(client, work.elsewhere, pieces)
        else:
            parallel = Parallel(n_jobs=min(jobs, len(pieces)), return_as="generator_unordered", batch_size=1)
            yield from parallel(delayed(_with_parent)(os.getpid(), work, piece) for piece in pieces)


def _with_parent(parent: int, work: Work[P], piece: P) -> tuple[P, xr.Dataset]:
    end_with(parent)
    return work.elsewhere(piece)


@functools.cache
def end_with(parent: int) -> None:
    """From now on this process ends when its parent does, however that ended: nobody waits for what it computes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def one_thread() -> Iterator[None]:
    """The block computes in one thread, as every piece does: torch, and the linear algebra of numpy and scipy."""
    threads = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
