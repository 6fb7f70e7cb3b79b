"""One way to run the pieces of a long computation: with a progress bar, kept as they finish, resumed where it stopped."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import xarray as xr
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from kadam.lab import records

Tick = Callable[[], object]
Compute = Callable[[str, Tick], xr.Dataset]


def all_cores() -> int:
    """How many processes this machine lets us run at once."""
    return int(cpu_count())


def sweep(
    pieces: Sequence[str], compute: Compute, *, steps: int, title: str, checkpoint: Path | None = None, jobs: int = 1
) -> dict[str, xr.Dataset]:
    """Results of ``compute(piece, tick)`` by piece, in the order of ``pieces``.

    ``compute`` calls ``tick`` once a step, ``steps`` times. With ``checkpoint`` (a folder) a finished piece is written
    there and not computed again. ``jobs`` processes share the pieces. A piece computes in one thread whatever ``jobs``
    is, so that their number changes no bit of a result. Every result has the attribute ``computed_s``, its seconds.
    """
    done = {piece: _finished(piece, checkpoint) for piece in pieces}
    todo = [piece for piece in pieces if done[piece] is None]
    total = len(pieces) * steps
    with tqdm(total=total, initial=total - len(todo) * steps, desc=title, unit="step", disable=None) as bar:
        for piece, result in _results(todo, compute, steps, bar, jobs):
            if checkpoint is not None:
                records.save(result, checkpoint / f"{piece}.nc")
            done[piece] = result
    return {piece: result for piece, result in done.items() if result is not None}


def computed_s(results: Mapping[str, xr.Dataset]) -> float:
    """Seconds that all pieces took, over all processes, and over all runs if the sweep was interrupted."""
    return round(sum(result.attrs["computed_s"] for result in results.values()), 3)


def _results(
    pieces: Sequence[str], compute: Compute, steps: int, bar: "tqdm[None]", jobs: int
) -> Iterator[tuple[str, xr.Dataset]]:
    if min(jobs, len(pieces)) <= 1:
        for piece in pieces:
            yield _timed(compute, piece, bar.update)
        return
    parallel = Parallel(n_jobs=min(jobs, len(pieces)), return_as="generator_unordered")
    for piece, result in parallel(delayed(_timed)(compute, piece, _no_tick) for piece in pieces):
        bar.update(steps)
        yield piece, result


def _timed(compute: Compute, piece: str, tick: Tick) -> tuple[str, xr.Dataset]:
    start = time.perf_counter()
    with _one_thread():
        result = compute(piece, tick)
    return piece, result.assign_attrs(computed_s=time.perf_counter() - start)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _no_tick() -> None:
    """In another process the bar cannot be reached; it moves when the piece is done."""


def _finished(piece: str, checkpoint: Path | None) -> xr.Dataset | None:
    if checkpoint is None or not (checkpoint / f"{piece}.nc").exists():
        return None
    return records.read(checkpoint / f"{piece}.nc", command=f"rm {checkpoint / piece}.nc, then the same command again")
