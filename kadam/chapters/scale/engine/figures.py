"""The figures of the chapter on scale, and its tables: the engine's costs as measured, memory as arithmetic."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from kadam.chapters.scale.engine.claims import per_task
from kadam.chapters.scale.engine.config import ROUNDINGS
from kadam.report import style
from kadam.report.sentences import listed, said, span
from kadam.report.table import Table, table

# Colour and words of each way to compute tasks, and the line of what a sweep writes.
WAYS = {
    "here": (style.MEASURED, "in this process"),
    "processes": (style.EXACT, "two processes"),
    "dask": (style.FOURTH, "two Dask workers"),
}
PLACES = {"here": "in one process", "processes": "in two processes", "dask": "on Dask"}
KEEPING = {"nothing": ("o--", "nothing kept"), "each result": ("s-", "each result written")}

LINES = dict(zip(ROUNDINGS, ((style.MEASURED, "-"), (style.PAPER, "-"), (style.CORRECTED, "--")), strict=True))

STAGES = (1, 2, 4)  # k whose memory is shown


@said
def answer(record: xr.Dataset) -> str:
    """What came out, in one paragraph."""
    written = float(per_task(record).sel(way="dask", keeping="each result").dropna("tasks")[-1])
    nothing = float(per_task(record).sel(way="dask", keeping="nothing").dropna("tasks")[-1])
    ends = {rounding: f"{float(of):.2f}" for rounding, of in zip(ROUNDINGS, _ends(record, "constant"), strict=True)}
    exact, nearest, random = ends.values()
    return (
        f"**The answer.** On a Dask cluster of two workers the engine spends {1e3 * nothing:.1f} ms on a task, and "
        f"{1e3 * written:.1f} ms where each result is written: enough for {1 / written:,.0f} workers with tasks of one second. "
        f"A second moment with `beta2` = {float(record.beta2[-1]):g} that should reach {exact} gets to {nearest} in bfloat16 "
        f"rounded to the nearest, and to {random} rounded at random."
    )


def _ends(record: xr.Dataset, gradients: str) -> NDArray[np.float64]:
    """The second moment with the largest of the decays at the end, by rounding."""
    return record.moment.isel(moment_step=-1, beta2=-1).sel(gradients=gradients, rounding=list(ROUNDINGS)).values


@style.styled
def engine(record: xr.Dataset) -> style.Figure:
    """Seconds a task by the length of the sweep, seconds a record by its size, seconds a commit by the manifest."""
    figure, (tasks, disk, manifest) = style.panels(1, 3, height=3.5)
    for way, (colour, words) in WAYS.items():
        tasks.plot([], [], color=colour, label=words)
        for keeping, (line, _) in KEEPING.items():
            found = per_task(record).sel(way=way, keeping=keeping).dropna("tasks")
            tasks.plot(found.tasks, found * 1e3, line, color=colour, ms=4)
    for line, words in KEEPING.values():
        tasks.plot([], [], line, color=style.GUIDE, ms=4, label=words)
    _logarithmic(tasks, "tasks in a sweep", "ms per task")
    for name, colour, line in (("save", style.EXACT, "s-"), ("read", style.CORRECTED, "o-")):
        disk.plot(record.content / 1e3, 1e3 * middle(record)[name], line, color=colour, ms=4, label=name)
    _logarithmic(disk, "numbers in a record (kB)", "ms per record")
    disk.legend()
    manifest.plot(record.listed, 1e3 * middle(record).commit, "s-", color=style.EXACT, ms=4)
    _logarithmic(manifest, "records in the manifest", "ms per commit")
    for axes in (disk, manifest):
        low, high = axes.get_ylim()
        axes.set_ylim(low / 1.2, high * 1.2)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    return style.with_legend(figure, tasks, loc="outside lower center", ncols=5, columnspacing=1.2)


@said
def engine_said(record: xr.Dataset) -> str:
    """What a task costs in each way, what a record's size and the manifest's length change."""
    tasks = 1e3 * per_task(record)
    ways = [f"{span(tasks.sel(way=way, keeping='nothing'))} ms {name}" for way, name in PLACES.items()]
    more = tasks.sel(keeping="each result") - tasks.sel(keeping="nothing")
    save, commit = 1e3 * middle(record).save, 1e3 * middle(record).commit
    return (
        f"A task costs {listed(ways)} over all lengths of a sweep; writing its result adds {span(more)} ms. To save the "
        f"largest record takes {float(save[-1] / save[0]):.1f} times as long as the smallest, of whose bytes it has "
        f"{float(record.content[-1] / record.content[0]):,.0f} times as many. A commit takes {float(commit[0]):.0f} ms where "
        f"the manifest lists {int(record.listed[0]):,} and {float(commit[-1]):.0f} ms where it lists "
        f"{int(record.listed[-1]):,}."
    )


def middle(record: xr.Dataset) -> xr.Dataset:
    """Median seconds to save, to read, to ask and to commit, over repetitions."""
    return record[["save", "read", "ask", "commit"]].median(("saved", "round", "committed"))


def _logarithmic(axes: style.Axes, x: str, y: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True)


@style.styled
def moments(record: xr.Dataset) -> style.Figure:
    """Second moments kept in bfloat16 with the largest beta2: gradients of one, and none after one."""
    figure, both = style.panels(1, 2, height=3.2, sharey=True)
    v = record.moment.isel(beta2=-1)
    for axes, gradients in zip(both, ("constant", "silent"), strict=True):
        for rounding, (colour, line) in LINES.items():
            axes.plot(v.moment_step, v.sel(rounding=rounding, gradients=gradients), line, color=colour, label=rounding)
        axes.set(xlabel="step", title=f"gradients {gradients}", ylim=(-0.03, 1.1))
        axes.grid(True)
    both[0].set_ylabel(rf"$v$ with $\beta_2 = {float(v.beta2):g}$")
    return style.with_legend(figure, both[0], loc="outside lower center", ncols=3)


@said
def moments_said(record: xr.Dataset) -> str:
    """Where v ends, by rounding, with gradients and without."""
    cases = {"constant": "With gradients of 1", "silent": "Without gradients"}
    names = ("in float32", "in bfloat16 rounded to the nearest", "rounded at random")
    words = []
    for gradients, begin in cases.items():
        ends = [f"{end:.2f} {name}" for end, name in zip(_ends(record, gradients), names, strict=True)]
        words.append(f"{begin} $v$ ends at {listed(ends)}.")
    return " ".join(words)


def medians(record: xr.Dataset) -> dict[str, Any]:
    """What was measured, as an object: seconds a task, a record and a commit; what was not measured is left out."""
    tasks, found = per_task(record), middle(record)
    return {
        "seconds a task": {way: {keeping: _by(tasks.sel(way=way, keeping=keeping)) for keeping in KEEPING} for way in WAYS},
        "seconds to ask for an absent file": float(found.ask),
        "seconds to save": _by(found.save),
        "seconds to read": _by(found.read),
        "bytes on disk": _by(record.file_bytes),
        "seconds to commit": _by(found.commit),
        "bytes of the manifest": _by(record.manifest_bytes),
    }


def _by(values: xr.DataArray) -> dict[int, float]:
    return values.to_series().dropna().to_dict()


def summary(record: xr.Dataset) -> str:
    """What a terminal shows."""
    head = "{device}, {date}, load before {load_before:.2f}; medians".format(**record.attrs)
    return "\n\n".join([head, *(str(part(record)) for part in (overhead_table, record_table, commit_table, asking))])


def overhead_table(record: xr.Dataset) -> Table:
    """Milliseconds a task by the way, what is kept and the number of tasks; and how many workers the longest keeps busy."""
    measured, rows = per_task(record), []
    for (way, (_, words)), (keeping, (_, kept)) in itertools.product(WAYS.items(), KEEPING.items()):
        found = measured.sel(way=way, keeping=keeping)
        busy = f"{int(1 / found.dropna('tasks')[-1]):,}" if found.notnull().any() else "-"
        rows.append((words, kept, *("-" if np.isnan(s) else f"{1e3 * s:.2f}" for s in found.values), busy))
    sweeps = (f"ms per task of {n:,}" for n in record.tasks.values)
    return table(("where", "what is kept", *sweeps, "workers busy with tasks of 1 s"), rows)


def record_table(record: xr.Dataset) -> Table:
    """What a record takes of the disk and in time, by the bytes of its numbers."""
    ms = 1e3 * middle(record)
    rows = zip(map("{:,}".format, ms.content.values), record.file_bytes.values, ms.save.values, ms.read.values, strict=True)
    return table(("bytes of numbers", "of the file", "ms to save", "ms to read"), rows, digits=("", ",.0f", ".1f", ".1f"))


def commit_table(record: xr.Dataset) -> Table:
    """What a commit takes, by the length of the manifest."""
    ms, kilobytes = 1e3 * middle(record).commit, record.manifest_bytes / 1e3
    rows = zip(map("{:,}".format, ms.listed.values), kilobytes.values, ms.values, strict=True)
    return table(("records listed", "kB of the manifest", "ms per commit"), rows, digits=".1f")


def asking(record: xr.Dataset) -> str:
    """The time to look for a file that is not there, in words."""
    return f"asking for a file that is not there: {float(middle(record).ask) * 1e6:.1f} us"


def moment_table(record: xr.Dataset) -> Table:
    """Second moments at the end of the run, by decay and gradients."""
    last = record.moment.isel(moment_step=-1).transpose("beta2", "gradients", "rounding")
    cases = itertools.product(last.beta2.values, last.gradients.values)
    rows = [(f"{beta2:g}", gradients, *last.sel(beta2=beta2, gradients=gradients).values) for beta2, gradients in cases]
    return table(("beta2", f"v after {int(last.moment_step):,} steps, gradients", *last.rounding.values), rows, digits=".2f")


@dataclass(frozen=True)
class Precision:
    """Bytes of a number in weights and gradients, and in k-Adam's moments."""

    weight: int
    state: int

    def kept(self, k: int) -> int:
        """Bytes a parameter that stay from step to step: its weight, its gradient, and 2k moments."""
        return 2 * self.weight + 2 * k * self.state


# The first two are what KAdam does with float32 and bfloat16 parameters; the third it does not do.
PRECISIONS = {"float32": Precision(4, 4), "bfloat16 weights": Precision(2, 4), "bfloat16 weights and state": Precision(2, 2)}


def fewest_gpus(parameters: float, k: int, precision: Precision, *, memory: float) -> int:
    """The smallest number of GPUs of so many bytes that hold weights, gradients and state, shared out among them."""
    return math.ceil(parameters * precision.kept(k) / memory)


def memory_table(parameters: Sequence[float], *, gpu: float) -> Table:
    """GB of weights, gradients and state of networks of so many parameters, and the fewest GPUs of ``gpu`` bytes."""
    if min(*parameters, gpu) <= 0:
        raise ValueError(f"parameters and gpu must be > 0, got {parameters} and {gpu}")
    rows = []
    for n, (name, precision), k in itertools.product(parameters, PRECISIONS.items(), STAGES):
        kept = precision.kept(k)
        rows.append((f"{n / 1e9:g}B", name, k, kept, n * kept / 1e9, fewest_gpus(n, k, precision, memory=gpu)))
    return table(("parameters", "in", "k", "bytes per parameter", "GB in all", f"GPUs of {gpu / 1e9:g} GB"), rows, digits=".0f")
