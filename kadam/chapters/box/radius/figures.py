"""The figures of chapter 8 on a network, each with the numbers that it shows."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from kadam.report import style
from kadam.report.ledger import with_range

SETTINGS = {
    "equal": (style.CORRECTED, "AdamW, both 0.95"),
    "short": (style.FIFTH, "AdamW, (0.9, 0.99)"),
    "Adam": (style.EXACT, "AdamW, default"),
    "2-Adam": (style.SECOND, "2-Adam, inverse_exp"),
    "above": (style.FOURTH, "AdamW, (0.95, 0.93)"),
    "unstable": (style.PAPER, "AdamW, (0.99, 0.95)"),
}
BOUNDED = {"equal": (style.CORRECTED, "o"), "Adam": (style.EXACT, "s")}
MARKERS = {"equal": "o", "2-Adam": "^", "short": "v", "Adam": "s"}
LEAST = 1e-4  # where a weight this near to the box, or inside, is drawn


@style.styled
def paths(record: xr.Dataset, *, batches: str = "full batch") -> Figure:
    """Gap (its smallest size so far), largest weight and loss over the steps, a column a weight decay; median over seeds."""
    figure, grid = style.panels(3, record.sizes["weight_decay"], height=6.0, sharex=True, sharey="row", squeeze=False)
    middle = record.sel(batches=batches).median("seed")
    relative = middle.least_gap / middle.gap.isel(kept=0)
    rows = [(relative, "smallest gap / first"), (middle["size"], "largest weight\nover 1/lambda"), (middle.loss, "loss (nats)")]
    for column, decay in zip(grid.T, record.weight_decay.values, strict=True):
        for axes, (values, label) in zip(column, rows, strict=True):
            for setting, (colour, words) in SETTINGS.items():
                axes.plot(record.step, values.sel(setting=setting, weight_decay=decay), color=colour, label=words)
            axes.set(xscale="log", yscale="log")
            if axes in grid[:, 0]:
                axes.set_ylabel(label)
        column[0].set_title(f"lambda = {decay:g}")
        column[1].axhline(1, color=style.GUIDE, lw=0.8)
        for setting in record.setting.values[np.isfinite(record.radius)]:
            column[1].axhline(float(record.radius.sel(setting=setting)), ls=":", lw=0.8, color=SETTINGS[setting][0])
        column[-1].set_xlabel("step")
    grid[1, 0].set(ylim=(0.3, 20), yticks=[0.5, 1, 2, 5, 10, 20])
    grid[1, 0].yaxis.set_major_formatter(ScalarFormatter())
    grid[1, 0].yaxis.minorticks_off()
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8)
    style.label_stand_in(figure, record)
    return figure


def table(record: xr.Dataset) -> str:
    """At the end, over weight decays and seeds: the largest weight, and shares that have settled or lie on the boundary."""
    lines = [f"{'':>9}{'':>14}{'largest weight':>28}{'settled':>9}{'boundary':>10}{'loss':>9}"]
    for batches in record.batches.values:
        for setting in SETTINGS:
            one = record.sel(batches=batches, setting=setting).isel(kept=-1)
            shares = f"{100 * float(one.still.mean()):>8.0f}%{100 * float(one.share.mean()):>9.0f}%"
            largest = with_range(one["size"], ".3g" if float(one["size"].max()) < 1e3 else ".0e")
            lines.append(f"{setting:>9}{batches:>14}{largest:>28}{shares}{float(one.loss.mean()):>9.3g}")
    return "\n".join(lines)


@style.styled
def window(record: xr.Dataset) -> Figure:
    """How far outside of the box the largest weight ends, against what the window of the decay allows; a symbol a run."""
    figure, both = style.panels(1, 2, height=3.4, sharey=True)
    for axes, batches in zip(both, record.batches.values, strict=True):
        for setting, marker in MARKERS.items():
            one = record.sel(batches=batches, setting=setting).isel(kept=-1)
            excess, outside = xr.broadcast(np.maximum(one.window_excess, LEAST), np.maximum(one["size"] - 1, LEAST))
            colour, words = SETTINGS[setting]
            axes.plot(excess.values.ravel(), outside.values.ravel(), marker, ms=4, alpha=0.7, color=colour, label=words)
        axes.axvline(1, color=style.GUIDE, lw=0.8)
        axes.set(xscale="log", yscale="log", xlabel="window excess at the last rate", title=str(batches), ylim=(LEAST / 2, 20))
    both[0].set_ylabel("largest weight, beyond the box\n(radii 1/lambda)")
    both[0].legend(fontsize=8, loc="upper left")
    style.label_stand_in(figure, record)
    return figure


def window_table(record: xr.Dataset) -> str:
    """Window excess, and the largest weight at the end (mean and range over seeds) on a full batch and on fresh ones."""
    lines = [f"{'':>9}{'lambda':>7}{'excess':>8}" + "".join(f"{b!s:>24}" for b in record.batches.values)]
    for setting in MARKERS:
        for decay in record.weight_decay.values:
            one = record.sel(setting=setting, weight_decay=decay).isel(kept=-1)
            cells = "".join(f"{with_range(one['size'].sel(batches=b), '.3f'):>24}" for b in record.batches.values)
            lines.append(f"{setting:>9}{decay:>7g}{float(one.window_excess):>8.3g}{cells}")
    return "\n".join(lines)


@style.styled
def averages(record: xr.Dataset) -> Figure:
    """The mean square of a weight's updates against the theory's bound on it, one symbol a weight, run and weight decay."""
    figure, both = style.panels(1, 2, height=3.4, sharey=True)
    for axes, batches in zip(both, record.batches.values, strict=True):
        for setting, (colour, marker) in BOUNDED.items():
            one = record.sel(batches=batches, setting=setting)
            x, y = one.update_bound.values.ravel(), one.update_square.values.ravel()
            axes.plot(x, y, marker, ms=2, mew=0, alpha=0.5, color=colour, label=SETTINGS[setting][1])
        ends = np.array([1e-4, 10])
        axes.plot(ends, ends, color=style.GUIDE, lw=0.8)
        axes.set(xscale="log", yscale="log", xlabel="bound on the mean", title=str(batches), xlim=(0.02, 5), ylim=(1e-4, 5))
        axes.legend(fontsize=8, loc="lower left", markerscale=3)
    both[0].set_ylabel("mean of u^2 over all steps")
    style.label_stand_in(figure, record)
    return figure


def average_table(record: xr.Dataset) -> str:
    """Mean square of updates, bound, and their ratio by setting and batches: range over all followed weights."""
    lines = [f"{'':>9}{'':>14}{'mean of u^2':>21}{'bound':>21}{'largest':>9}"]
    for batches in record.batches.values:
        for setting in BOUNDED:
            one = record.sel(batches=batches, setting=setting)
            ratio = float((one.update_square / one.update_bound).max())
            cells = f"{with_range(one.update_square):>21}{with_range(one.update_bound):>21}{ratio:>9.3f}"
            lines.append(f"{setting:>9}{batches:>14}{cells}")
    return "\n".join(lines)
