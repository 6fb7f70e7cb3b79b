"""The figure of pairs of betas on images, each at its own best rate, with what it shows in words, and tables of the numbers."""

import xarray as xr

from kadam.chapters.contest.maps import LABELS, draw_map, draw_shares, grid, order_in_words, share_table
from kadam.chapters.contest.pairs import pairs, shares
from kadam.report import style
from kadam.report.sentences import said, span
from kadam.report.table import Table, table

__all__ = ["factorial", "factorial_said", "gamma_table", "share_table"]


@style.styled
def factorial(record: xr.Dataset) -> style.Figure:
    """The loss of every pair at its own rate, and what orders it."""
    figure, (left, right) = style.panels(1, 2, height=3.1, width_ratios=(1.5, 0.8))
    draw_map(left, grid(record))
    draw_shares(right, record)
    return figure


@said
def factorial_said(record: xr.Dataset) -> str:
    """The same, and whether pairs inside the region, and accuracies, are ordered alike."""
    inside, accuracy = (_largest(shares(record, **how)) for how in ({"inside": True}, {"score": "accuracy"}))
    return (
        f"{order_in_words(record)} Of the pairs with $C > 0$ alone the largest shares are {inside}; of all, ranked by accuracy "
        f"instead, {accuracy}."
    )


def _largest(of: xr.DataArray) -> str:
    """The two largest shares, mean over seeds, in words."""
    mean = of.mean("seed")
    first = mean.sortby(mean, ascending=False)[:2]
    return " and ".join(f"{float(share):.0%} for {LABELS[share['quantity'].item()]}" for share in first)


def gamma_table(record: xr.Dataset) -> Table:
    """For every gamma the means over seeds, from the lowest to the highest among the values of beta."""
    of = pairs(record).mean("seed")
    of["rate"] = "optimizer", record.peak_rate.squeeze().sel(optimizer=of.optimizer).values
    forms = {"loss": ".3f", "accuracy": ".1f", "rate": ".2g"}
    rows = [
        (f"{gamma:g}", *(span(one[name].values, form) for name, form in forms.items())) for gamma, one in of.groupby("gamma")
    ]
    return table(("gamma", "test loss (nats)", "test accuracy (%)", "best rate"), rows)
