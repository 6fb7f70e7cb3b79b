"""The figures and the table of chapter 6 on speed, from a record of one machine."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from kadam.chapters.speed import loop_figures as loops
from kadam.chapters.speed.loop_figures import PARTS, costs, shares
from kadam.chapters.speed.loop_figures import split as split
from kadam.report import style


def medians(record: xr.Dataset) -> dict[str, Any]:
    """The numbers of the table, by name."""
    return {
        "images_a_second": loops.rates(record),
        "ours_over_plain": loops.ratios(record),
        "shares": {name: shares(record, name) for name in loops.cases(record)},
        "step_over_adam": dict(zip(record.optimizer.values.tolist(), costs(record).values.tolist(), strict=True)),
        "state_bytes": dict(zip(record.optimizer.values.tolist(), record.state_bytes.values.tolist(), strict=True)),
        "race_s": {str(name): record.race_s.sel(racer=name).values.tolist() for name in record.racer.values},
    }


def table(record: xr.Dataset) -> str:
    """Images a second, the parts of a step, the cost of every optimizer, and the races."""
    found = medians(record)
    lines = [f"{'':>12}{'ours':>9}{'plain':>9} images/s{'ratio':>8}" + "".join(f"{part:>10}" for part in PARTS)]
    for precision, ratio in found["ours_over_plain"].items():
        ours, plain = (found["images_a_second"][f"{precision}, {loop}"] for loop in ("ours", "plain"))
        parts = "".join(f"{share:>10.0%}" for share in found["shares"][precision].values())
        lines.append(f"{precision:>12}{ours:>9,.0f}{plain:>9,.0f}{ratio:>17.2f}{parts}")
    lines.append(f"{'optimizer':>20}{'step over Adam':>18}{'bytes of state a byte of weights':>36}")
    lines += [f"{name:>20}{of:>18.2f}{found['state_bytes'][name]:>36.1f}" for name, of in found["step_over_adam"].items()]
    lines.append(f"to {record.attrs['target']:.0%} of the test images, at most {record.attrs['limit']} steps, each seed:")
    for name in record.racer.values:
        one = record.sel(racer=name)
        reached = ", ".join("not reached" if np.isnan(n) else f"{n:.0f}" for n in one.race_steps.values)
        seconds = ", ".join(f"{s:.1f}" for s in one.race_s.values)
        lines.append(f"{name:>20} steps: {reached}; seconds of training: {seconds}")
    return "\n".join(lines)


@style.styled
def cost(record: xr.Dataset) -> Figure:
    """Time of a step over Adam's, and bytes of state a byte of weights, against k; baselines as horizontal lines."""
    figure, (times, memory) = style.panels(1, 2, height=3.0)
    staged = record.k >= 1
    for axes, values, label in (
        (times, costs(record), loops.TIME),
        (memory, record.state_bytes, "bytes of state / bytes of weights"),
    ):
        axes.plot(record.k[staged], values[staged], "o-", color=style.EXACT, label="k-Adam; k = 1 is Adam")
        others = [
            (str(n), float(v)) for n, v in zip(record.optimizer.values, values.values, strict=True) if n in ("SGD", "Lion")
        ]
        for (name, value), line in zip(others, ("--", ":"), strict=True):
            axes.axhline(value, color=style.GUIDE, ls=line, lw=1, label=name)
        loops.by_k(axes, record.k[staged].values, label, float(values.max()))
    times.legend()
    style.label_stand_in(figure, record)
    return figure
