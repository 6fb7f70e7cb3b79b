"""What is claimed of the engine and of moments in bfloat16, and how a record decides it."""

import functools
from collections.abc import Callable

import xarray as xr

from kadam.chapters.scale.engine.config import ROUNDINGS
from kadam.report.ledger import BEFORE, NOT_RUN, Claims, Criterion, Finding, judged, limited


def per_task(dataset: xr.Dataset) -> xr.DataArray:
    """Median seconds a task: way, keeping, tasks; NaN where not measured."""
    return dataset.seconds.median("round") / dataset.tasks


def _each(found: xr.DataArray, words: str, held: xr.DataArray) -> Finding:
    """What was measured by the labels of one dimension, and whether each held; nothing where there is none."""
    measured = [words.format(name, value) for name, value in found.to_series().items()]
    return "; ".join(measured) or "-", judged(held)


def _cheap(dataset: xr.Dataset, *, keeping: str, tasks: int, most: float) -> Finding:
    """Whether a task costs less than so many milliseconds, in each way that was measured."""
    if tasks not in dataset.tasks:
        return NOT_RUN
    found = 1e3 * per_task(dataset).sel(keeping=keeping, tasks=tasks).dropna("way")
    return _each(found, "{} {:.3g} ms", found < most)


def _constant(dataset: xr.Dataset, *, short: int, long: int, most: float) -> Finding:
    """The cost of a task in a long sweep over that in a short one, for ways in which both were measured."""
    if not {short, long} <= set(dataset.tasks.values):
        return NOT_RUN
    measured = per_task(dataset).sel(keeping="nothing")
    growth = (measured.sel(tasks=long) / measured.sel(tasks=short)).dropna("way")
    return _each(growth, "{} {:.2f}", growth <= most)


def _manifest(dataset: xr.Dataset, *, few: int, many: int, least: float, most: float) -> Finding:
    """How many times longer the longer manifest takes, beyond what a commit with one record takes."""
    if not {1, few, many} <= set(dataset.listed.values):
        return NOT_RUN
    seconds = dataset.commit.median("committed")
    beyond = seconds - seconds.sel(listed=1)
    times, each = float(beyond.sel(listed=many) / beyond.sel(listed=few)), float(beyond.sel(listed=many)) / many
    return f"{times:.1f} times; {each * 1e6:.1f} us a record listed", limited(times, least=least, most=most)


def _small_files(dataset: xr.Dataset, *, most: float) -> Finding:
    large = dataset.file_bytes.sel(content=dataset.content >= 100_000)
    ratio = large / large.content
    return _each(ratio, "{:,} bytes of numbers: {:.2f}", ratio <= most)


def _bfloat16(dataset: xr.Dataset, *, ones: int, zeros: int, most: float, left: float, near: float) -> Finding:
    """At beta2 = 0.999: ones averaged to the end, and what is left after gradients fell silent."""
    if 0.999 not in dataset.beta2 or dataset.moment_step[-1] < ones:
        return NOT_RUN
    v = dataset.moment.sel(beta2=0.999)
    reached = v.sel(gradients="constant").isel(moment_step=-1)
    kept = v.sel(gradients="silent").sel(moment_step=zeros, method="nearest")
    found = {rounding: (float(reached.sel(rounding=rounding)), float(kept.sel(rounding=rounding))) for rounding in ROUNDINGS}
    exact, nearest, stochastic = found.values()
    loses = nearest[0] <= most * exact[0] and nearest[1] >= left
    mends = all(abs(a - b) <= near * b for a, b in zip(stochastic, exact, strict=True))
    words = "; ".join(f"{rounding}: reaches {up:.2f}, keeps {down:.2f}" for rounding, (up, down) in found.items())
    return words, judged([loses, mends], names=["nearest", "at random"])


# What is claimed, the criterion's words and limits, and the judge.
CLAIMS: dict[str, tuple[str, str, dict[str, float], Callable[..., Finding]]] = {
    "D-12a": (
        "In a sweep of 10,000 tasks the engine costs less than 1% of a run of one second",
        "less than {most} ms a task in a sweep of {tasks:,} where nothing is kept, in this process, in two processes and on "
        "two Dask workers",
        {"most": 10, "tasks": 10_000},
        functools.partial(_cheap, keeping="nothing"),
    ),
    "D-12b": (
        "With each result written to disk the engine costs less than 1% of a run of one second, too",
        "less than {most} ms a task in a sweep of {tasks:,}, in each of the three ways",
        {"most": 10, "tasks": 1_000},
        functools.partial(_cheap, keeping="each result"),
    ),
    "D-12c": (
        "What the engine costs a task does not grow with the number of tasks",
        "{long:,} tasks cost at most {most} times as much a task as {short:,}, in each of the three ways",
        {"long": 10_000, "short": 100, "most": 2},
        _constant,
    ),
    "D-12d": (
        "A commit takes time in proportion to the records that the manifest lists",
        "beyond a commit with one record listed, {many:,} records take {least} to {most} times as long as {few:,}",
        {"many": 10_000, "few": 1_000, "least": 5, "most": 20},
        _manifest,
    ),
    "D-12e": (
        "A record takes hardly more of a disk than its numbers",
        "the file at most {most} times as large, for random numbers of 100 kB and of 1 MB",
        {"most": 1.1},
        _small_files,
    ),
    "D-12f": (
        "Rounded to the nearest bfloat16, a second moment with beta2 = 0.999 neither reaches its value nor forgets; rounded "
        "at random it does both",
        "nearest: at most {most} of float32's value after {ones:,} ones, at least {left} left after {zeros:,} zeros; at "
        "random: both within {near:.0%} of float32",
        {"ones": 5_000, "zeros": 2_000, "most": 0.5, "left": 0.9, "near": 0.1},
        _bfloat16,
    ),
}
HERE = "measured here: Scale"
TESTS: Claims = {
    (id, HERE): (claim, Criterion(words, when=BEFORE, **of), judge) for id, (claim, words, of, judge) in CLAIMS.items()
}
