"""The figures of chapter 8 on a network, each with the numbers that it shows."""

import itertools

import numpy as np
import xarray as xr

from kadam.chapters.box.looks import COLOURS
from kadam.chapters.box.pairs import ENDS
from kadam.chapters.box.radius.claims import BELOW, OUTSIDE, ROUNDING, relative_gap, share_of_bound
from kadam.chapters.box.window import window_excesses
from kadam.report import style
from kadam.report.ledger import with_range
from kadam.report.selection import selected
from kadam.report.sentences import listed, of_all, said, span
from kadam.report.table import Table, table

# Of each setting: colour, line and words.
LINES = {
    "equal": (COLOURS["equal"], "-.", "AdamW, both 0.95"),
    "short": (COLOURS["short"], "-", "AdamW, (0.9, 0.99)"),
    "Adam": (COLOURS["Adam"], "-", "AdamW, default"),
    "2-Adam": (COLOURS["2-Adam inverse_exp"], "-", "2-Adam, inverse_exp"),
    "above": (COLOURS["above"], "-", "AdamW, (0.95, 0.93)"),
    "unstable": (COLOURS["unstable"], "--", "AdamW, (0.99, 0.95)"),
}
SHOWN = ("equal", "Adam", "2-Adam", "unstable")  # over the steps
MARKERS = {"equal": "o", "2-Adam": "^", "short": "v", "Adam": "s"}
BOUNDED = ("equal", "Adam")  # shown against the bound
LEAST = 1e-4  # where a weight this near to the box, or inside, is drawn


@style.styled
def paths(record: xr.Dataset, *, batches: str = "full batch") -> style.Figure:
    """Gap (its smallest size so far), largest weight and loss over the steps, a column a weight decay; median over seeds."""
    figure, grid = style.panels(3, record.sizes["weight_decay"], height=6.0, sharex=True, sharey="row", squeeze=False)
    runs = selected(record, batches=batches)
    labels = ("smallest gap / first", "largest weight\nover " r"$1/\lambda$", "loss (nats)")
    middles = [values.median("seed") for values in (relative_gap(runs), runs["size"], runs.loss)]
    for column, decay in zip(grid.T, record.weight_decay.values, strict=True):
        for axes, middle, label in zip(column, middles, labels, strict=True):
            for setting in SHOWN:
                colour, line, words = LINES[setting]
                axes.plot(record.step, middle.sel(setting=setting, weight_decay=decay), line, color=colour, label=words)
            axes.set(xscale="log", yscale="log", xlabel="step", ylabel=label)
            axes.label_outer()
        column[0].set_title(rf"$\lambda = {decay:g}$")
        column[1].axhline(1, color=style.GUIDE, lw=0.8)
        for setting in np.intersect1d(SHOWN, record.setting.values[np.isfinite(record.radius)]):
            column[1].axhline(float(record.radius.sel(setting=setting)), ls=":", lw=0.8, color=LINES[setting][0])
    grid[1, 0].set(ylim=(0.3, 20), yticks=[0.5, 1, 2, 5, 10, 20])
    grid[1, 0].yaxis.set_major_formatter("{x:g}")
    grid[1, 0].yaxis.minorticks_off()
    return style.with_legend(figure, grid[0, 0], ncols=4, fontsize=8)


@said
def paths_said(record: xr.Dataset, *, batches: str = "full batch") -> str:
    """Where the largest weights start and end, and what decay costs."""
    runs = record.sel(batches=batches)
    end = runs.isel(kept=-1)
    within = [f"{of_all(end['size'].sel(setting=name) <= OUTSIDE, 'runs')} with {words}" for name, words in ENDS.items()]
    small, large = (float(end.loss.sel(setting=list(BELOW)).isel(weight_decay=place).mean()) for place in (0, -1))
    return (
        f"The largest first weight is at {span(runs.start)} radii. On the {batches} it ends at {OUTSIDE:g} or below in "
        f"{listed(within)}. With $\\gamma\\le\\beta$ the mean loss ends at {small:.2f} nats with the smallest weight decay and "
        f"at {large:.2f} with the largest."
    )


def end_table(record: xr.Dataset) -> Table:
    """At the end, over weight decays and seeds: the largest weight, and shares that have settled or lie on the boundary."""
    rows = []
    for batches, setting in itertools.product(record.batches.values, LINES):
        one = record.isel(kept=-1).sel(batches=batches, setting=setting)
        largest = with_range(one["size"], ".3g" if float(one["size"].max()) < 1e3 else ".1g")
        shares = (f"{100 * float(share.mean()):.0f}%" for share in (one.still, one.share))
        rows.append((one.setting, one.batches, largest, *shares, one.loss.mean()))
    return table(("setting", "batches", "largest weight", "settled", "boundary", "loss"), rows)


@style.styled
def window(record: xr.Dataset) -> style.Figure:
    """How far outside of the box the largest weight ends, against what the window of the decay allows; a symbol a run."""
    figure, both = style.panels(1, 2, height=3.4, sharey=True, ylabel="largest weight, beyond the box\n" r"(radii $1/\lambda$)")
    excesses = window_excesses(record)
    for axes, batches in zip(both, record.batches.values, strict=True):
        for setting, marker in MARKERS.items():
            one = record.isel(kept=-1).sel(batches=batches, setting=setting)
            excess, outside = xr.broadcast(excesses.sel(setting=setting).clip(LEAST), (one["size"] - 1).clip(LEAST))
            colour, _, words = LINES[setting]
            axes.plot(excess.values.ravel(), outside.values.ravel(), marker, ms=4, alpha=0.7, color=colour, label=words)
        axes.axvline(1, color=style.GUIDE, lw=0.8)
        axes.set(xscale="log", yscale="log", xlabel="window excess at the last rate", title=str(batches), ylim=(LEAST / 2, 20))
    both[0].legend(fontsize=8, loc="upper left")
    return figure


@said
def window_said(record: xr.Dataset) -> str:
    """The largest weights at the end where the window excess is small and where it is large."""
    runs = record.isel(kept=-1).sel(setting=list(MARKERS))
    excess, size = xr.broadcast(window_excesses(runs), runs["size"])
    small, large = (
        listed([f"{span(size.where(held).sel(batches=batches), '.3g')} on the {batches}" for batches in record.batches.values])
        for held in (excess < 1, excess >= 1)
    )
    return f"At an excess of 1 or above the largest weight ends at {large}, in radii of the box; at a smaller one at {small}."


def window_table(record: xr.Dataset) -> Table:
    """Window excess, and the largest weight at the end (mean and range over seeds) on a full batch and on fresh ones."""
    rows, excesses = [], window_excesses(record)
    for setting, decay in itertools.product(MARKERS, record.weight_decay.values):
        one = record.isel(kept=-1).sel(setting=setting, weight_decay=decay)
        rows.append(
            (
                setting,
                f"{decay:g}",
                excesses.sel(setting=setting, weight_decay=decay),
                *(with_range(size, ".3f") for size in one["size"]),
            )
        )
    return table(("setting", "lambda", "excess", *record.batches.values), rows)


@style.styled
def averages(record: xr.Dataset) -> style.Figure:
    """The mean square of a weight's updates against the theory's bound on it, one symbol a weight, run and weight decay."""
    figure, both = style.panels(1, 2, height=3.4, sharey=True, ylabel="mean of $u^2$ over all steps")
    for axes, batches in zip(both, record.batches.values, strict=True):
        for setting in BOUNDED:
            colour, _, words = LINES[setting]
            one = record.sel(batches=batches, setting=setting)
            x, y = one.update_bound.values.ravel(), one.update_square.values.ravel()
            axes.plot(x, y, MARKERS[setting], ms=2, mew=0, alpha=0.5, color=colour, label=words)
        ends = np.array([1e-4, 10])
        axes.plot(ends, ends, color=style.GUIDE, lw=0.8)
        axes.set(xscale="log", yscale="log", xlabel="bound on the mean", title=str(batches), xlim=(0.02, 5), ylim=(1e-4, 5))
        axes.legend(fontsize=8, loc="lower left", markerscale=3)
    return figure


@said
def averages_said(record: xr.Dataset) -> str:
    """Whether any mean square is above its bound, and how near the largest come."""
    share, total = share_of_bound(record.sel(setting=list(BOUNDED))), "followed weights"
    known = share.values[share.notnull().values]
    return (
        f"The mean of $u^2$ is above its bound for {of_all(known > 1 + ROUNDING, total)}. It is at nine tenths of it or above "
        f"for {of_all(known >= 0.9, total)}, and its largest share is {float(share.max()):.3f}."
    )
