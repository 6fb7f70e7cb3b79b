"""The tables on how fast text is learnt, from a record of one machine, and what they say."""

from typing import Any

import xarray as xr

from kadam.chapters.speed import drawing
from kadam.chapters.speed.drawing import optimizer_table
from kadam.chapters.speed.measures import over_plain, step_over
from kadam.chapters.speed.tokens.claims import arithmetic
from kadam.chapters.speed.tokens.config import FUSED
from kadam.report.sentences import said, span
from kadam.report.table import Table


def medians(record: xr.Dataset) -> dict[str, Any]:
    """The numbers of the tables, by name."""
    return drawing.medians(record, share_of_arithmetic=arithmetic(record), attention=record.attention)


def costs(record: xr.Dataset, network: str) -> dict[str, float]:
    """Time of a step over Adam's by optimizer, for the network of this name."""
    return step_over(record).sel(setting=network).to_series().to_dict()


def summary(record: xr.Dataset) -> str:
    """What a terminal shows."""
    return f"{loop_table(record)}\n\n{optimizer_table(record)}"


def loop_table(record: xr.Dataset) -> Table:
    """Both loops, where a step's time goes, the share of the machine's arithmetic and the kernel of attention."""
    kernel = record.attention.str.lower().str.replace("_", " ")
    return drawing.loop_table(record, arithmetic=arithmetic(record), attention=kernel)


@said
def cost_said(record: xr.Dataset) -> str:
    """What two stages cost beside both steps of Adam, and how our loop compares with a plain one."""
    two = record.optimizer.values[record.k == 2].tolist()
    adam, fused = (span(step_over(record, against).sel(optimizer=two), ".2f") for against in ("Adam", FUSED))
    return (
        f"A step with $k = 2$ takes {adam} times as long as one with torch's Adam, {fused} times as long as one with its fused "
        f"Adam. Our loop reaches {span(over_plain(record), '.2f')} of the plain one's tokens per second and "
        f"{span(arithmetic(record), '.0%')} of the machine's arithmetic."
    )
