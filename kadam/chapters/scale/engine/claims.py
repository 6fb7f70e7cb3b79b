"""What is claimed of engine, and how a record decides it."""

import xarray as xr

from kadam.chapters.scale.engine.config import ROUNDINGS
from kadam.report.ledger import NOT_RUN, Finding, Test, passes, passes_each


def per_task(dataset: xr.Dataset) -> xr.DataArray:
    """Median seconds a task: way, keeping, tasks; NaN where not measured."""
    return dataset.seconds.median("round") / dataset.tasks


def _cheap(dataset: xr.Dataset, keeping: str, tasks: int) -> Finding:
    """Whether a task costs less than 1% of a second, in each way that was measured."""
    if tasks not in dataset.tasks:
        return NOT_RUN
    measured = per_task(dataset).sel(keeping=keeping, tasks=tasks).dropna("way")
    found = [f"{way} {1e3 * float(s):.3g} ms" for way, s in zip(measured.way.values, measured, strict=True)]
    return "; ".join(found) or "-", passes_each([float(s) < 0.01 for s in measured])


def _overhead(dataset: xr.Dataset) -> Finding:
    return _cheap(dataset, "nothing", 10_000)


def _writing(dataset: xr.Dataset) -> Finding:
    return _cheap(dataset, "each result", 1_000)


def _constant(dataset: xr.Dataset) -> Finding:
    """The cost of a task in the longest sweep over that in the shortest, for ways whose longest has 10^4 tasks."""
    if not {100, 10_000} <= set(dataset.tasks.values):
        return NOT_RUN
    measured = per_task(dataset).sel(keeping="nothing")
    growth = (measured.sel(tasks=10_000) / measured.sel(tasks=100)).dropna("way")
    found = [f"{way} {float(g):.2f}" for way, g in zip(growth.way.values, growth, strict=True)]
    return "; ".join(found) or "-", passes_each([float(g) <= 2 for g in growth])


def _manifest(dataset: xr.Dataset) -> Finding:
    """How many times longer ten times the manifest takes, beyond what a commit with one takes."""
    if not {1, 1_000, 10_000} <= set(dataset.listed.values):
        return NOT_RUN
    seconds = dataset.commit.median("committed")
    beyond = seconds - seconds.sel(listed=1)
    times = float(beyond.sel(listed=10_000) / beyond.sel(listed=1_000))
    each = float(beyond.sel(listed=10_000)) / 10_000
    return f"{times:.1f} times; {each * 1e6:.1f} us a record listed", passes(5 <= times <= 20)


def _small_files(dataset: xr.Dataset) -> Finding:
    large = dataset.file_bytes.sel(content=dataset.content >= 100_000)
    ratio = large / large.content
    found = [f"{int(content):,} bytes of numbers: {float(r):.2f}" for content, r in zip(ratio.content, ratio, strict=True)]
    return "; ".join(found) or "-", passes_each([float(r) <= 1.1 for r in ratio])


def _bfloat16(dataset: xr.Dataset) -> Finding:
    """At beta2 = 0.999: ones averaged to the end, and what is left two memories (2000 steps) after gradients fell silent."""
    if 0.999 not in dataset.beta2 or dataset.moment_step[-1] < 5_000:
        return NOT_RUN
    v = dataset.moment.sel(beta2=0.999)
    reached = v.sel(gradients="constant").isel(moment_step=-1)
    left = v.sel(gradients="silent").sel(moment_step=2_000, method="nearest")
    found = {rounding: (float(reached.sel(rounding=rounding)), float(left.sel(rounding=rounding))) for rounding in ROUNDINGS}
    exact, nearest, stochastic = found.values()
    loses = nearest[0] <= 0.5 * exact[0] and nearest[1] >= 0.9
    mends = all(abs(a - b) <= 0.1 * b for a, b in zip(stochastic, exact, strict=True))
    words = "; ".join(f"{rounding}: reaches {up:.2f}, keeps {down:.2f}" for rounding, (up, down) in found.items())
    return words, passes_each([loses, mends])


SOURCE = "measured here: Scale"
TESTS = [
    Test(
        "D-12a",
        SOURCE,
        "In a sweep of 10,000 tasks the engine costs less than 1% of a run of one second",
        "less than 10 ms a task where nothing is kept, in this process, in two processes and on two Dask workers",
        _overhead,
    ),
    Test(
        "D-12b",
        SOURCE,
        "With each result written to disk the engine costs less than 1% of a run of one second, too",
        "less than 10 ms a task in a sweep of 1,000, in each of the three ways",
        _writing,
    ),
    Test(
        "D-12c",
        SOURCE,
        "What the engine costs a task does not grow with the number of tasks",
        "10,000 tasks cost at most twice as much a task as 100, in each of the three ways",
        _constant,
    ),
    Test(
        "D-12d",
        SOURCE,
        "A commit takes time in proportion to the records that the manifest lists",
        "beyond a commit with one record listed, 10,000 records take 5 to 20 times as long as 1,000",
        _manifest,
    ),
    Test(
        "D-12e",
        SOURCE,
        "A record takes hardly more of a disk than its numbers",
        "the file at most 1.1 times as large, for random numbers of 100 kB and of 1 MB",
        _small_files,
    ),
    Test(
        "D-12f",
        SOURCE,
        "Rounded to the nearest bfloat16, a second moment with beta2 = 0.999 neither reaches its value nor forgets; rounded "
        "at random it does both",
        "nearest: at most half of float32's value after 5,000 ones, at least 0.9 left after 2,000 zeros; at random: both "
        "within 10% of float32",
        _bfloat16,
    ),
]
