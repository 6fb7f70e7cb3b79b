"""The figure of chapter 9 on what R_med predicts, with the numbers that it shows."""

import numpy as np
import xarray as xr

from kadam.chapters.local_geometry.drawing import LOOKS, plain_ticks
from kadam.chapters.local_geometry.predicts.claims import OWN, fastest, orders, others, own, slowness, within
from kadam.report import style
from kadam.report.sentences import listed, said, span
from kadam.report.table import Table, table

TICKS = (2, 3, 5, 10, 30, 100, 1000, 10_000)  # of R_med


@style.styled
def speeds(record: xr.Dataset) -> style.Figure:
    """R_med where the second lowest loss is reached, against speed from there: by the run itself, and by two others."""
    networks, low = record.network.values, record.isel(place=-1)
    slow = slowness(record).isel(place=-1)
    ways = slow.by.values
    figure, all_axes = style.panels(len(ways), len(networks), height=1.9 * len(ways) + 0.6, sharex="col")
    for row, by in zip(all_axes, ways, strict=True):
        for axes, network in zip(row, networks, strict=True):
            for name, (colour, marker) in LOOKS.items():
                x, y = (of.sel(network=network, optimizer=name).values.ravel() for of in (np.exp(low.r_med), slow.sel(by=by)))
                axes.scatter(x, y if by == OWN else -y, s=9, marker=marker, color=colour, label=name, lw=0)
            axes.set(xscale="log", yscale="log" if by == OWN else "linear")
        row[0].set_ylabel("steps to the next loss" if by == OWN else f"fall of log loss\nby {by} from there", fontsize=8)
    for column, network in zip(all_axes.T, networks, strict=True):
        column[0].set_title(str(network))
        column[-1].set_xlabel(r"$R_{\mathrm{med}}$, geometric mean over layers", fontsize=8)
        ends = column[0].get_xlim()
        plain_ticks(column[0].xaxis, [x for x in TICKS if ends[0] <= x <= ends[1]])
    return style.with_legend(figure, all_axes[0, 0], ncols=len(LOOKS))


@said
def speeds_said(record: xr.Dataset) -> str:
    """The rank correlations, over everything, within methods, and from a place by others."""
    all_runs, inside, places, best = (of(record).mean("seed") for of in (own, within, others, fastest))
    by = "; ".join(f"for {name} {span(places.sel(by=name), '+.2f')}" for name in places.by.values)
    each = [f"{span(best.sel(network=network), '+.2f')} in *{network}*" for network in best.network.values]
    return (
        f"The rank correlation of $R_{{\\mathrm{{med}}}}$ and the steps to the next loss is {span(all_runs, '+.2f')} by "
        f"network and loss, in the mean over seeds; within methods it is {span(inside, '+.2f')}. With how slowly others go on "
        f"from the place it is, {by}. A look after the run: of methods alone, each at its fastest rate, it is {listed(each)}."
    )


def order_table(record: xr.Dataset) -> Table:
    """Every rank correlation: mean and range over seeds."""
    named = [("all runs", orders(record)), ("within methods", orders(record, named=True))]
    head = ("network", "loss / initial", *(f"{by}, {which}" for by in named[0][1].by.values for which, _ in named))
    rows = []
    for network in record.network.values:
        for place in record.place.values:
            each = (x.sel(network=network, place=place, by=by).values for by in named[0][1].by.values for _, x in named)
            rows.append((network, f"{place:g}", *(f"{x.mean():+.2f} ({span(x, '+.2f')})" for x in each)))
    return table(head, rows)
