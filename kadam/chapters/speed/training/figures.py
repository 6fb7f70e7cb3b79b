"""The figures and tables on how fast images train, from a record of one machine."""

from typing import Any

import numpy as np
import xarray as xr

from kadam.chapters.speed import drawing
from kadam.chapters.speed.drawing import TIME, loop_table, optimizer_table
from kadam.chapters.speed.measures import over_plain, shares, step_over
from kadam.report import style
from kadam.report.sentences import of_all, said, span
from kadam.report.table import Table, table


def medians(record: xr.Dataset) -> dict[str, Any]:
    """The numbers of the tables, by name."""
    return drawing.medians(record, race_s=record.race_s)


def summary(record: xr.Dataset) -> str:
    """What a terminal shows."""
    return f"{loop_table(record)}\n\n{optimizer_table(record)}\n\n{race_table(record)}"


def race_table(record: xr.Dataset) -> Table:
    """Steps and seconds of training to the target, by racer and seed."""
    reached = record.race_steps.to_series().map(lambda n: f"{n:.0f}" if n == n else "not reached")
    rows = [(*race, n, s) for (race, n), s in zip(reached.items(), record.race_s.to_series(), strict=True)]
    to = f"steps to {record.attrs['target']:.0%} of the test images, at most {record.attrs['limit']}"
    return table(("racer", "seed", to, "seconds of training"), rows, digits=".1f")


@style.styled
def cost(record: xr.Dataset) -> style.Figure:
    """Time of a step over Adam's against k; baselines as horizontal lines with their names."""
    figure, axes = style.panels(1, 1, height=3.0)
    staged, over = record.k >= 1, step_over(record)
    axes.plot(record.k[staged], over[staged], "o-", color=style.ADAM)
    axes.annotate("$k$-Adam", (10, float(over[staged][-1])), xytext=(0, 7), textcoords="offset points", ha="right")
    for name, above in (("Lion", False), ("SGD", True)):
        height = float(over.sel(optimizer=name))
        axes.axhline(height, color=style.GUIDE, ls=":", lw=1)
        axes.annotate(name, (10, height), xytext=(0, 3 if above else -11), textcoords="offset points", ha="right")
    axes.set(xlabel="$k$", ylabel=TIME, ylim=(0, 1.1 * float(over.max())), xticks=np.unique(record.k[staged]))
    return figure


@said
def cost_said(record: xr.Dataset) -> str:
    """What stages cost in time and memory."""
    staged = (record.k > 1).values
    ks, times, states = (
        span(of[staged], form) for of, form in ((record.k, ".0f"), (step_over(record), ".2f"), (record.state_bytes, ".0f"))
    )
    return (
        f"With $k$ of {ks} a step takes {times} times as long as with Adam and the state holds {states} bytes per byte of "
        f"weights, Adam's {float(record.state_bytes.sel(optimizer='Adam')):.0f}."
    )


@said
def split_said(record: xr.Dataset) -> str:
    """Where the time of a step goes, how our loop compares with a plain one, and how many races reach the target."""
    most, optimizer = (span(shares(record).sel(part=name), ".0%") for name in ("backward", "optimizer"))
    return (
        f"Of a training step backward takes {most} and the optimizer {optimizer}. Our loop reaches "
        f"{span(over_plain(record), '.2f')} of the plain one's images per second. In the race to {record.attrs['target']:.0%} "
        f"of the test images {of_all(record.race_steps.notnull(), 'runs')} get there."
    )
