"""The figure of the parts of NAdam, with what it shows in words and a table of the numbers."""

import xarray as xr

from kadam.chapters.contest import looks, optima
from kadam.chapters.contest.comparisons import MATCHED, TUNED
from kadam.chapters.contest.lookahead.claims import AHEAD, NADAM, WARM, WEIGHTS, leads, shares
from kadam.chapters.contest.measures import scale
from kadam.chapters.contest.optima import optimum_table
from kadam.report import style
from kadam.report.sentences import listed, said, span

__all__ = ["optimum_table", "parts", "parts_said"]

PARTS = {
    AHEAD: "NAdam at constant momentum",
    WARM: "a momentum that warms up alike",
    WEIGHTS: "its weights with their sum kept to one",
}


@style.styled
def parts(record: xr.Dataset) -> style.Figure:
    """How far NAdam and each of its parts are ahead of Adam; means with 95% intervals over seeds, a panel a setting."""
    figure, all_axes = looks.by_network(record, height=3.0, sharey=True)
    for axes, network in zip(all_axes, record.network.values, strict=True):
        optima.differences(axes, record.sel(network=[network]))
    all_axes[0].set_ylabel(f"ahead of Adam ({scale(record).difference})")
    return style.with_legend(figure, all_axes[0], ncols=2)


@said
def parts_said(record: xr.Dataset) -> str:
    """How large NAdam's lead is, and how much of it each part gives."""
    of, share = leads(record, [NADAM]).mean("seed").squeeze("optimizer"), shares(record, list(PARTS))
    told = []
    for name, words in ((TUNED, "Each at its optimum,"), (MATCHED, "With updates as large as Adam's,")):
        lead = f"NAdam's lead over Adam is {span(of.sel(comparison=name), f'+{scale(record).form}')} {scale(record).difference}"
        each = [f"{label} {span(share.sel(comparison=name, optimizer=part), '.0%')}" for part, label in PARTS.items()]
        told.append(f"{words} {lead}; of this have {listed(each)}.")
    return " ".join(told)
