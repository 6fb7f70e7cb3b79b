"""The figure of decoupled decay against a penalty, with the numbers that it shows."""

import numpy as np
import xarray as xr

from kadam.chapters.contest import looks
from kadam.chapters.contest.measures import at_most_a_guess, networks
from kadam.chapters.contest.penalty.claims import leads
from kadam.chapters.contest.penalty.config import DECAYED, PENALISED
from kadam.report import style
from kadam.report.sentences import listed, said
from kadam.report.statistics import mean_interval

LOOKS: dict[str, looks.Look] = {
    DECAYED: {"color": style.ADAM, "marker": "o"},
    PENALISED: {"color": style.ADAM, "marker": "s", "ls": "--", "mfc": "white"},
}


def by_strength(record: xr.Dataset, method: str) -> xr.DataArray:
    """The validation loss of each strength at its best rate. Dimensions: network, strength."""
    strength = record.tried.sel(knob="weight_decay", optimizer=method, drop=True)
    losses = at_most_a_guess(record, record.search_loss).sel(optimizer=method, drop=True)
    return losses.assign_coords(strength=strength).groupby("strength").min()


@style.styled
def strengths(record: xr.Dataset) -> style.Figure:
    """A panel for each network of validation losses against the strength, and one of how far AdamW is ahead."""
    names = networks(record)
    figure, (*all_axes, last) = style.panels(1, len(names) + 1, height=2.8)
    for axes, network in zip(all_axes, names, strict=True):
        for method, look in LOOKS.items():
            of = by_strength(record, method).sel(network=network)
            axes.plot(of.strength[1:], of[1:], lw=1.2, ms=4, label=method, **look)
        axes.axhline(float(of[0]), color=style.GUIDE, lw=1, ls=":", label="no decay")
        axes.set(xscale="log", title=network, xlabel="strength of the decay")
    all_axes[0].set_ylabel(looks.label(record, "validation"))
    for j, (on, of) in enumerate(leads(record).items()):
        found = np.stack(mean_interval(of.transpose("network", "seed")))
        colour, marker = ((style.MEASURED, "o"), (style.SECOND, "^"))[j]
        looks.bars(last, np.arange(len(names)) + 0.2 * (j - 0.5), found, marker=marker, color=colour, label=on)
    last.axhline(0, color=style.GUIDE, lw=0.8)
    last.set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names], fontsize=7)
    last.set(xlim=(-0.6, len(names) - 0.4), title="AdamW ahead (nats)")
    last.legend(fontsize=7, loc="upper left")
    return style.with_legend(figure, all_axes[0], ncols=3)


@said
def strengths_said(record: xr.Dataset) -> str:
    """How far AdamW is ahead of L2, on test text and in training, and what each gains over no decay."""
    of = {method: by_strength(record, method) for method in LOOKS}
    each = []
    for network in networks(record):
        test, training = (mean_interval(one.sel(network=network).values) for one in leads(record).values())
        gains = [float(one.sel(network=network)[0] - one.sel(network=network).min()) for one in of.values()]
        each.append(
            f"`{network}` {float(test.mean):+.3f} ({float(test.low):+.3f} to {float(test.high):+.3f}) on test text and "
            f"{float(training.mean):+.3f} in training; decay itself gains {gains[0]:.3f} with AdamW and {gains[1]:.3f} with L2 "
            "over none, on validation text"
        )
    return f"Loss of Adam with L2 minus AdamW's, each at its optimum, in nats: {listed(each)}."
