"""The figures and tables on how fast images train, from a record of one machine."""

from typing import Any

import xarray as xr

from kadam.chapters.speed import drawing
from kadam.chapters.speed.drawing import STATE, TIME, loop_table, optimizer_table
from kadam.chapters.speed.drawing import split as split
from kadam.chapters.speed.measures import cases, over_plain, shares, step_over
from kadam.report import style
from kadam.report.sentences import listed, of_all, said, span
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
    """Time of a step over Adam's, and bytes of state a byte of weights, against k; baselines as horizontal lines."""
    figure, (times, memory) = style.panels(1, 2, height=3.0)
    staged = record.k >= 1
    for axes, values, label in ((times, step_over(record), TIME), (memory, record.state_bytes, STATE)):
        axes.plot(record.k[staged], values[staged], "o-", color=style.EXACT, label="k-Adam; k = 1 is Adam")
        for name, line in (("Lion", "--"), ("SGD", ":")):
            axes.axhline(float(values.sel(optimizer=name)), color=style.GUIDE, ls=line, lw=1, label=name)
        drawing.by_k(axes, record.k[staged].values, label, float(values.max()))
    times.legend()
    return figure


@said
def cost_said(record: xr.Dataset) -> str:
    """What k stages cost in time and memory."""
    staged = [name for name, k in zip(record.optimizer.values.tolist(), record.k.values, strict=True) if k > 1]
    each = (values.sel(optimizer=staged).values for values in (record.k, step_over(record), record.state_bytes))
    costs = [f"{time:.2f} and {state:.0f} with $k = {k}$" for k, time, state in zip(*each, strict=True)]
    adam = float(record.state_bytes.sel(optimizer="Adam"))
    return (
        f"The time of a step over Adam's and the bytes of state per byte of weights are {listed(costs)}; "
        f"Adam's state is {adam:.0f} bytes per byte."
    )


@said
def split_said(record: xr.Dataset) -> str:
    """Where the time of a step goes, how our loop compares with a plain one, and the race to an accuracy."""
    parts = shares(record)
    most = listed([f"{span(parts.sel(part=name), '.0%')} for {name}" for name in parts.part.values])
    loops = listed([f"{over:.2f} in {name}" for name, over in zip(cases(record), over_plain(record).values, strict=True)])
    races = [_race(record.sel(racer=name)) for name in record.racer.values]
    return (
        f"Of a training step the shares are {most}. Our loop reaches, of the plain one's images per second, {loops}. "
        f"In the race to {record.attrs['target']:.0%} of the test images {listed(races)}."
    )


def _race(record: xr.Dataset) -> str:
    reached = record.race_steps.notnull()
    took = (
        f", after {span(record.race_steps, '.0f')} steps and {span(record.race_s.where(reached), '.1f')} s"
        if reached.any()
        else ""
    )
    return f"`{record.racer.item()}` gets there in {of_all(reached, 'runs')}{took}"
