"""The figures of the chapter on scale, and its tables: the engine's costs as measured, and plans made of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from kadam.chapters.scale import plan
from kadam.chapters.scale.plan import PRECISIONS, Runs
from kadam.report import style

# Colour and words of each way to compute tasks, and the line of what a sweep writes.
WAYS = {
    "here": (style.MEASURED, "in this process"),
    "processes": (style.EXACT, "two processes"),
    "dask": (style.FOURTH, "two Dask workers"),
}
KEEPING = {"nothing": ("o--", "nothing kept"), "each result": ("s-", "each result written")}

STAGES = {1: style.MEASURED, 2: style.EXACT, 4: style.SECOND}  # colour by k
MODELS = {"7B": 7e9, "70B": 70e9}  # parameters
GPUS = (8, 64, 512)

ROUNDINGS = {
    "float32": (style.MEASURED, "-"),
    "bfloat16, nearest": (style.PAPER, "-"),
    "bfloat16, stochastic": (style.CORRECTED, "--"),
}

NUMBER = 10_000  # runs that are planned
SECONDS = np.geomspace(0.1, 1000, 200)  # of a run, on one worker


def per_task(record: xr.Dataset) -> xr.DataArray:
    """Median seconds a task: way, keeping, tasks; NaN where not measured."""
    return record.seconds.median("round") / record.tasks


def longest(record: xr.Dataset, way: str, keeping: str) -> float:
    """Seconds a task in the longest sweep measured; NaN where none was."""
    measured = per_task(record).sel(way=way, keeping=keeping).dropna("tasks")
    return float(measured[-1]) if measured.size else float("nan")


def clusters(record: xr.Dataset) -> str:
    """The way whose overhead stands for a cluster's: Dask, or processes where there was no Dask."""
    return "processes" if np.isnan(longest(record, "dask", "nothing")) else "dask"


def overheads(record: xr.Dataset) -> dict[str, float]:
    """Seconds that each part of the engine spends, one after another: a task handed out, its record, a commit."""
    way = clusters(record)
    return {
        "scheduler": longest(record, way, "nothing"),
        "scheduler and disk": longest(record, way, "each result"),
        "manifest": float(record.commit.isel(listed=-1).median()),
    }


@style.styled
def engine(record: xr.Dataset) -> Figure:
    """Seconds a task by the length of the sweep, seconds a record by its size, seconds a commit by the manifest."""
    figure, (tasks, disk, manifest) = style.panels(1, 3, height=3.5)
    measured = per_task(record)
    for way, (colour, words) in WAYS.items():
        tasks.plot([], [], color=colour, label=words)
        for keeping, (line, _) in KEEPING.items():
            found = measured.sel(way=way, keeping=keeping).dropna("tasks")
            tasks.plot(found.tasks, found * 1e3, line, color=colour, ms=4)
    for line, words in KEEPING.values():
        tasks.plot([], [], line, color=style.GUIDE, ms=4, label=words)
    _logarithmic(tasks, "tasks in a sweep", "ms a task")
    for name, colour, line in (("save", style.EXACT, "s-"), ("read", style.CORRECTED, "o-")):
        disk.plot(record.content / 1e3, record[name].median("saved") * 1e3, line, color=colour, ms=4, label=name)
    _logarithmic(disk, "numbers in a record (kB)", "ms a record")
    disk.legend()
    manifest.plot(record.listed, record.commit.median("committed") * 1e3, "s-", color=style.EXACT, ms=4)
    _logarithmic(manifest, "records in the manifest", "ms a commit")
    for axes in (disk, manifest):
        low, high = axes.get_ylim()
        axes.set_ylim(low / 1.2, high * 1.2)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    figure.legend(*tasks.get_legend_handles_labels(), loc="outside lower center", ncols=5, columnspacing=1.2)
    return figure


def _logarithmic(axes: Axes, x: str, y: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True)


LIMITS = {"scheduler": (style.FOURTH, "--"), "scheduler and disk": (style.FOURTH, "-"), "manifest": (style.SECOND, "-.")}
COUNTS = {1: style.MEASURED, 8: style.EXACT}  # colour by number of workers
CLUSTER = style.CORRECTED


@style.styled
def plans(record: xr.Dataset, nodes: int, workers_a_node: int) -> Figure:
    """Left: how long 10,000 runs take by the seconds of one. Right: how many workers each limit lets work."""
    figure, (time, limits) = style.panels(1, 2, height=3.7)
    spent, many = overheads(record), nodes * workers_a_node
    for workers, colour in (COUNTS | {many: CLUSTER}).items():
        hours = [plan.elapsed(NUMBER, s, workers, spent["scheduler and disk"]) / 3600 for s in SECONDS]
        time.plot(SECONDS, hours, color=colour, label=_workers(workers))
        limits.axhline(workers, color=colour, lw=0.8)
        _remark(limits, (SECONDS[-1], workers), _workers(workers), "right", colour)
    for guide, words in ((1, "an hour"), (24, "a day"), (24 * 30, "30 days")):
        time.axhline(guide, color=style.GUIDE, lw=0.8, ls=":")
        _remark(time, (SECONDS[0], guide), words, "left", style.GUIDE)
    for name, (colour, line) in LIMITS.items():
        limits.plot(SECONDS, plan.most_workers(SECONDS, spent[name]), line, color=colour, label=name)
    _logarithmic(time, "a run on one worker (s)", "10,000 runs (hours)")
    _logarithmic(limits, "a run on one worker (s)", "workers kept busy")
    time.set_ylim(bottom=2e-3)
    time.legend(loc="lower right")
    limits.legend(loc="upper left")
    return figure


def _remark(axes: Axes, place: tuple[float, float], words: str, side: Any, colour: str) -> None:
    options: Any = {"xytext": (0, 2), "textcoords": "offset points", "ha": side, "fontsize": 7, "color": colour}
    axes.annotate(words, place, **options)


PARTS = {"weights": style.GUIDE, "gradients": "#cccccc", "moments": style.EXACT}


@style.styled
def memory() -> Figure:
    """Bytes a parameter by k and precision, and the fewest GPUs of 80 GB that hold 7B and 70B parameters."""
    figure, axes = style.panels(1, 1, height=3.4)
    rows = [(name, precision, k) for name, precision in PRECISIONS.items() for k in STAGES]
    for row, (_, precision, k) in enumerate(rows):
        start = 0
        for part, size in zip(
            PARTS, (precision.weight, precision.weight, precision.kept(k) - 2 * precision.weight), strict=True
        ):
            axes.barh(row, size, left=start, color=PARTS[part], height=0.7, label=None if row else part)
            start += size
        fewest = (f"{model} on {plan.fewest_gpus(parameters, k, precision)}" for model, parameters in MODELS.items())
        axes.annotate(", ".join(fewest), (start, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{name}, k = {k}" for name, _, k in rows])
    axes.set(xlabel="bytes a parameter", xlim=(0, 50))
    axes.invert_yaxis()
    axes.legend(loc="lower right")
    return figure


@style.styled
def half(record: xr.Dataset) -> Figure:
    """Left: the optimizer's share of a training step by its tokens. Right: second moments kept in bfloat16."""
    figure, (share, ones, zeros) = style.panels(1, 3, height=3.5)
    tokens = np.geomspace(1e3, 1e7, 100)
    for k, colour in STAGES.items():
        values = plan.optimizers_share(tokens, k, plan.WEIGHTS, plan.H100_BANDWIDTH, plan.H100_FLOPS)
        share.plot(tokens, 100 * values, color=colour, label=f"k = {k}")
    _logarithmic(share, "tokens a step", "optimizer's share of a step (%)")
    share.legend(loc="lower left")
    v = record.moment.isel(beta2=-1)
    for axes, gradients in ((ones, "constant"), (zeros, "silent")):
        for rounding, (colour, line) in ROUNDINGS.items():
            axes.plot(v.moment_step, v.sel(rounding=rounding, gradients=gradients), line, color=colour, label=rounding)
        axes.set(xlabel="step", title=f"gradients {gradients}", ylim=(-0.03, 1.1))
        axes.grid(True)
    ones.set_ylabel(f"v with beta2 = {float(v.beta2):g}")
    figure.legend(*ones.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def medians(record: xr.Dataset) -> dict[str, Any]:
    """What was measured, as an object: seconds a task, a record and a commit; what was not measured is left out."""
    measured = per_task(record)
    return {
        "seconds a task": {
            way: {keeping: _by(measured.sel(way=way, keeping=keeping), "tasks") for keeping in KEEPING} for way in WAYS
        },
        "seconds to save": _by(record.save.median("saved"), "content"),
        "seconds to read": _by(record.read.median("saved"), "content"),
        "bytes on disk": _by(record.file_bytes, "content"),
        "seconds to ask for an absent file": float(record.ask.median()),
        "seconds to commit": _by(record.commit.median("committed"), "listed"),
        "bytes of the manifest": _by(record.manifest_bytes, "listed"),
    }


def _by(values: xr.DataArray, name: str) -> dict[str, float]:
    found = values.dropna(name)
    return {str(x): float(value) for x, value in zip(found[name].values, found.values, strict=True)}


def table(record: xr.Dataset) -> str:
    """What a terminal shows."""
    attrs = record.attrs
    head = f"{attrs['device']}, {attrs['date']}, load before {attrs['load_before']:.2f}; medians"
    return "\n\n".join([head, overhead_table(record), disk_table(record)])


def overhead_table(record: xr.Dataset) -> str:
    """Milliseconds a task, by the way, what is kept, and the number of tasks."""
    measured = per_task(record) * 1e3
    lines = ["ms a task, by tasks in a sweep" + " " * 9 + "".join(f"{int(n):>9,}" for n in record.tasks)]
    for way, (_, words) in WAYS.items():
        for keeping, (_, kept) in KEEPING.items():
            cells = (_cell(float(ms)) for ms in measured.sel(way=way, keeping=keeping))
            lines.append(f"  {words + ', ' + kept:37s}" + "".join(f"{cell:>9}" for cell in cells))
    return "\n".join(lines)


def _cell(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def disk_table(record: xr.Dataset) -> str:
    """Records by size, and commits by the length of the manifest."""
    save, read = (record[name].median("saved") * 1e3 for name in ("save", "read"))
    lines = ["record: bytes of numbers, of the file, ms to save, ms to read"]
    for i, content in enumerate(record.content.values):
        lines.append(f"  {content:>9,}  {int(record.file_bytes[i]):>9,}  {float(save[i]):6.1f}  {float(read[i]):6.1f}")
    lines.append("commit: records listed, kB of the manifest, ms")
    for i, listed in enumerate(record.listed.values):
        size, commit = float(record.manifest_bytes[i]) / 1e3, float(record.commit[i].median()) * 1e3
        lines.append(f"  {listed:>9,}  {size:9.1f}  {commit:6.1f}")
    lines.append(f"asking for a file that is not there: {float(record.ask.median()) * 1e6:.1f} us")
    return "\n".join(lines)


def runs_table(runs: Iterable[Runs]) -> str:
    """What a run of each committed experiment took."""
    lines = [f"{'record':30s} runs  s a run on one core  kB a run"]
    lines += [f"  {r.record:28s} {r.count:4d} {r.seconds:20.3f}  {r.size / 1e3:8.2f}" for r in runs]
    return "\n".join(lines)


def cost_table(
    record: xr.Dataset, seconds: Mapping[str, float], nodes: int, workers_a_node: int, together: Sequence[int] = (1,)
) -> str:
    """What 10,000 runs cost: worker-hours, the time on 1, 8 and many workers, and how long the engine alone is at it."""
    spent, counts = overheads(record)["scheduler and disk"], (1, 8, nodes * workers_a_node)
    names = "".join(f"{_workers(count):>12}" for count in counts)
    lines = [f"{'10,000 runs':24s} worker-h{names}   engine"]
    for name, s in seconds.items():
        for m in together:
            times = (plan.elapsed(NUMBER, s, count, spent, together=m) for count in counts)
            lines.append(f"  {f'{name}, {m} a task':22s}{NUMBER * s / 3600:9,.1f}" + "".join(f"{_time(t):>12}" for t in times))
            lines[-1] += f"{_time(NUMBER / m * spent):>9}"
    return "\n".join(lines)


def _workers(count: int) -> str:
    return f"{count} worker{'s' * (count > 1)}"


def _time(seconds: float) -> str:
    """For people: s, min, h or days."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"


def limit_table(record: xr.Dataset, seconds: Sequence[float], together: Sequence[int]) -> str:
    """How many workers each part of the engine keeps busy, by the seconds of a run and the runs in a task."""
    lines = ["workers kept busy, by seconds a run" + "".join(f"{s:>11g}" for s in seconds)]
    for name, spent in overheads(record).items():
        for m in together:
            cells = (plan.most_workers(s, spent, together=m) for s in seconds)
            words = f"{name}, {m} run{'s' * (m > 1)} a task"
            lines.append(f"  {words:33s}" + "".join(f"{int(cell):>11,}" for cell in cells))
    return "\n".join(lines)


def commit_table(record: xr.Dataset, numbers: Sequence[int]) -> str:
    """The time to commit so many records one after another, and the manifest they leave."""
    listed, seconds = record.listed.values.tolist(), record.commit.median("committed").values.tolist()
    each, size = plan.slope(listed, seconds), plan.slope(listed, record.manifest_bytes.values.tolist())
    lines = ["records, each committed: time, of it the manifest, MB of the manifest"]
    for n in numbers:
        total, plain = plan.commits(n, seconds[0], each), n * seconds[0]
        lines.append(f"  {n:>9,}: {_time(total):>9} {(total - plain) / total:6.0%} {n * size / 1e6:8.1f}")
    return "\n".join(lines)


def memory_table() -> str:
    """GB of weights, gradients and state a GPU, and the fewest GPUs of 80 GB."""
    lines = [f"{'GB a GPU, on so many GPUs':46s}" + "".join(f"{n:>7d}" for n in GPUS) + "   fewest"]
    for model, parameters in MODELS.items():
        for name, precision in PRECISIONS.items():
            for k in STAGES:
                cells = (plan.a_gpu(parameters, k, precision, n) / plan.GIGA for n in GPUS)
                words = f"{model} k={k} {name}, {precision.kept(k)} bytes"
                lines.append(f"  {words:44s}" + "".join(f"{cell:7.1f}" for cell in cells))
                lines[-1] += f"{plan.fewest_gpus(parameters, k, precision):>9d}"
    return "\n".join(lines)


def step_table(speed: xr.Dataset) -> str:
    """Seconds of an optimizer's step: at the bandwidth measured on a CPU, and at an H100's by its maker."""
    here = plan.bandwidth(speed)
    machines = {f"CPU, {here / 1e9:.0f} GB/s measured": here, "H100, 3350 GB/s by its maker": plan.H100_BANDWIDTH}
    lines = [f"{'ms a step, float32, 3 + 4k numbers moved':46s}" + "".join(f"{f'k={k}':>9}" for k in STAGES)]
    for words, bandwidth in machines.items():
        for model, number in (("7B", 8), ("70B", 64)):
            times = (plan.step_seconds(MODELS[model], k, plan.FULL, bandwidth, gpus=number) for k in STAGES)
            lines.append(f"  {f'{model} on {number} x {words}':44s}" + "".join(f"{1e3 * t:9.1f}" for t in times))
    return "\n".join(lines)


def share_table() -> str:
    """The optimizer's share of a step on H100s at their maker's figures, and where it is 1%."""
    counts, h100 = (10**4, 10**5, 10**6), (plan.H100_BANDWIDTH, plan.H100_FLOPS)
    lines = [f"{'share of a step, by its tokens':36s}" + "".join(f"{n:>11,}" for n in counts) + "   1% at"]
    for name in ("bfloat16 weights", "bfloat16 weights and state"):
        for k in STAGES:
            cells = (plan.optimizers_share(n, k, PRECISIONS[name], *h100) for n in counts)
            lines.append(f"  {f'k={k} {name}':34s}" + "".join(f"{cell:11.2%}" for cell in cells))
            lines[-1] += f"{plan.tokens_at_share(0.01, k, PRECISIONS[name], *h100) / 1e3:7.0f}k"
    return "\n".join(lines)


def moment_table(record: xr.Dataset) -> str:
    """Second moments at the end of the run, by decay and gradients."""
    last = record.moment.isel(moment_step=-1)
    lines = [f"{f'v after {int(last.moment_step):,} steps':24s}" + "".join(f"  {name}" for name in ROUNDINGS)]
    for beta2 in record.beta2.values:
        for gradients in record.gradients.values:
            v = last.sel(beta2=beta2, gradients=gradients)
            cells = (f"{float(v.sel(rounding=name)):{len(name) + 2}.2f}" for name in ROUNDINGS)
            lines.append(f"  {f'beta2={beta2:g}, {gradients}':22s}" + "".join(cells))
    return "\n".join(lines)
