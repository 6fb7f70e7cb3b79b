"""The figure of chapter 13 on the causes of spikes, with the numbers that it shows."""

import numpy as np
import xarray as xr

from kadam.chapters.watching.spikes.claims import avoided, counts, told, undone
from kadam.chapters.watching.spikes.config import EXCESSES, SITUATIONS, UNCUT
from kadam.report import style
from kadam.report.sentences import said
from kadam.report.table import Table, table

LOOKS = dict(zip(EXCESSES, ((style.EXACT, "o"), (style.PAPER, "s")), strict=True))
PAIRS = dict(zip(SITUATIONS, (style.EXACT, style.SECOND, style.MEASURED), strict=True))
WAYS = {"undone": undone, "avoided": avoided}


@style.styled
def causes(record: xr.Dataset) -> style.Figure:
    """Left, the loss of the constructed run where its gradient returns; right, the shares of spikes of each excess."""
    figure, (left, *right) = style.panels(1, 3, height=3.0, width_ratios=[1.2, 1, 1])
    for name, colour in PAIRS.items():
        one = record.sel(situation=name)
        left.plot(one.silence, one.returned_predicted, lw=1, color=colour)
        left.plot(one.silence, one.returned, "o", ms=4, color=colour, label=name)
    left.axhline(0.5, ls=":", color=style.GUIDE)
    left.set(yscale="log", xlabel="steps of silence", ylabel="loss at the return", title="constructed")
    left.legend(fontsize=7, loc="upper left")
    places = np.arange(len(SITUATIONS))
    for axes, (word, measure) in zip(right, WAYS.items(), strict=True):
        for shift, (excess, (colour, marker)) in zip((-0.15, 0.15), LOOKS.items(), strict=True):
            mean, low, high = measure(record, excess)
            axes.errorbar(mean, places + shift, xerr=(mean - low, high - mean), fmt=marker, ms=4, color=colour, label=excess)
        axes.axvline(0, color=style.GUIDE, lw=0.8)
        axes.set(title=word, xlabel="share of spikes", ylim=(len(SITUATIONS) - 0.5, -0.5))
        axes.set_yticks(
            places, [name.replace("outside, ", "outside\n") for name in SITUATIONS] if axes is right[0] else [], fontsize=7
        )
    right[1].legend(fontsize=7, loc="lower left")
    return figure


@said
def causes_said(record: xr.Dataset) -> str:
    """What silence and bursts explain in every situation, by undoing and by cutting."""
    undoing = told(undone(record, "silence"))
    silence, burst = ([words.partition(" (")[0] for words in told(avoided(record, excess))] for excess in EXCESSES)
    each = [f"*{name}* {undoing[i]}, {silence[i]}, {burst[i]}" for i, name in enumerate(SITUATIONS)]
    return (
        "Shares of spikes that undoing the excess by silence explains, that cutting it avoids, and that cutting bursts avoids: "
        f"{'; '.join(each)}."
    )


def cause_table(record: xr.Dataset) -> Table:
    """Spikes, and the shares that each excess explains, with intervals over seeds."""
    number = counts(record).sel(cut=UNCUT).sum("seed").values
    shares = [told(measure(record, excess)) for measure in WAYS.values() for excess in EXCESSES]
    head = ("situation", "spikes", *(f"{word}, {excess}" for word in WAYS for excess in EXCESSES))
    return table(head, list(zip(SITUATIONS, map(str, number), *shares, strict=True)))
