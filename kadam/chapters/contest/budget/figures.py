"""The figure of a search over all knobs, with the numbers that it shows."""

import numpy as np
import xarray as xr
from matplotlib.ticker import MaxNLocator

from kadam.chapters.contest import looks
from kadam.chapters.contest.comparisons import ADAM, TUNED, chosen
from kadam.chapters.contest.measures import at_most_a_guess, cases, expected_best, intervals, lead, networks
from kadam.chapters.contest.optima import differences, looks_of
from kadam.report import style
from kadam.report.sentences import listed, of_all, said
from kadam.report.statistics import mean_interval
from kadam.report.table import Table, table

FIRST = 4  # trials: what is expected of fewer lies beyond the axis


def curves(record: xr.Dataset) -> xr.DataArray:
    """The best validation loss that so many trials are expected to find. Dimensions: network, optimizer, trials."""
    losses = at_most_a_guess(record, record.search_loss).transpose("network", "optimizer", "trial")
    trials = np.arange(1, losses.sizes["trial"] + 1)
    return losses.rename(trial="trials").copy(data=expected_best(losses.values)).assign_coords(trials=trials)


@style.styled
def budget(record: xr.Dataset) -> style.Figure:
    """A column for each network: above, the best loss against the number of trials; below, how far each is ahead of Adam."""
    figure, all_axes = style.panels(2, len(networks(record)), height=5.2, squeeze=False)
    for (above, below), network in zip(all_axes.T, networks(record), strict=True):
        of = curves(record).sel(network=network)
        for method, look in looks_of(record).items():
            above.plot(of.trials, of.sel(optimizer=method), lw=1.2, ms=3, label=method, **look)
        above.set(title=network, xlabel="trials", xlim=(1, of.sizes["trials"] + 0.5))
        above.set_ylim(top=float(of.isel(trials=min(FIRST, of.sizes["trials"]) - 1).max()))
        above.xaxis.set_major_locator(MaxNLocator(integer=True))
        below.sharey(all_axes[1, 0])
        differences(below, record.sel(network=[network]))
    all_axes[0, 0].set_ylabel(f"best {looks.label(record, 'validation')}")
    all_axes[1, 0].set_ylabel("ahead of Adam (nats)")
    return style.with_legend(figure, all_axes[0, 0], ncols=5)


@said
def budget_said(record: xr.Dataset) -> str:
    """Whose search is expected to find a better loss than Adam's, and whose best trial is ahead on test text."""
    of, others = curves(record).isel(trials=-1, drop=True), [name for name in record.optimizer.values.tolist() if name != ADAM]
    better = (of.sel(optimizer=others) < of.sel(optimizer=ADAM)).transpose("optimizer", "network").values
    low = mean_interval(lead(record, TUNED, others)).low > 0
    found, ahead = (
        listed(f"`{name}` in {of_all(one, 'settings')}" for name, one in zip(others, each, strict=True))
        for each in (better, low)
    )
    return (
        f"After all {record.sizes['trial']} trials the smallest validation loss is below Adam's with {found}. On test text, "
        f"with other seeds, the best trial is ahead of Adam's best, by a 95% interval, with {ahead}."
    )


def budget_table(record: xr.Dataset) -> Table:
    """What each method's best trial had, its validation loss, and its lead on test text with a 95% interval."""
    best = chosen(record)
    of = xr.Dataset({name: best.sel(knob=name, drop=True) for name in record.knob.values})
    of["validation"] = at_most_a_guess(record, record.search_loss).min("trial")
    of["ahead"] = intervals(lead(record, TUNED, record.optimizer.values.tolist()), "+.3f")
    head = ("network", "optimizer", "rate", "beta1", "beta2", "warm-up", "end", "validation loss", "ahead on test (nats)")
    rows = cases(of.drop_vars(("k", "strategy", "comparison"), errors="ignore"), "network", "optimizer")
    return table(head, rows, digits=("", "", ".2g", ".2f", ".4f", ".2f", ".2f", ".3f", ""))
