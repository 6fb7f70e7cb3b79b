"""The figure of silent rows, with what it shows in words."""

import numpy as np
import xarray as xr

from kadam.chapters.growth.silence import claims
from kadam.report import style
from kadam.report.sentences import said
from kadam.theory import stability

COLOURS, MARKERS = (style.EXACT, style.CORRECTED, style.FOURTH), "o^s"  # of the pairs outside
DRAWN = (0.6, 1.2, 1.45)  # silences of the rows on the right, in critical ones, at the first pair


def _outside(record: xr.Dataset) -> list[int]:
    """The pairs outside of the region."""
    return np.flatnonzero(claims.critical(record).values < 1).tolist()


@style.styled
def tails(record: xr.Dataset) -> style.Figure:
    """Left, the tail exponent of every row against its share of silent steps; right, the tails of three rows themselves."""
    figure, (exponents, survival) = style.panels(1, 2, height=3.9, width_ratios=[1.35, 1])
    _draw_exponents(exponents, record)
    _draw_tails(survival, record, _outside(record)[0])
    return figure


def _draw_exponents(axes: style.Axes, record: xr.Dataset) -> None:
    measured, silent, faint = claims.measured_exponents(record), claims.shares(record), claims.shares(record, "faint")
    share = np.linspace(0.005, 0.999, 500)
    for colour, marker, pair in zip(COLOURS, MARKERS, _outside(record), strict=False):
        predicted = stability.silence_tail(share, beta=float(record.beta[pair]), gamma=float(record.gamma[pair]))
        axes.plot(share, predicted, color=colour, lw=1)
        for layer, of, mark in (("embedding", silent, marker), ("head", faint, "x")):
            name = claims.names(record)[pair] if layer == "embedding" else None
            at, exponent = (x.sel(layer=layer).isel(pair=pair) for x in (of, measured))
            axes.plot(at, exponent, mark, ms=3, mew=0.7, color=colour, label=name)
    axes.plot([], [], "kx", ms=3, mew=0.7, label="rows of the output head")
    axes.axhline(2, color=style.GUIDE, lw=0.8, ls=":")
    axes.annotate(
        "below: mean square unbounded", (0.02, 2), xytext=(0, -11), textcoords="offset points", color=style.GUIDE, fontsize=8
    )
    axes.set(
        yscale="log",
        ylim=(0.08, 40),
        xlim=(-0.03, 1.02),
        xlabel="share of silent steps",
        ylabel=f"tail exponent of {style.UPDATE}",
    )
    axes.legend(loc="lower left")


def _draw_tails(axes: style.Axes, record: xr.Dataset, pair: int) -> None:
    silent, exponent, seen = (
        of.sel(layer="embedding").isel(pair=pair)
        for of in (
            claims.shares(record),
            claims.predicted_exponents(record),
            record.exceeded.sum("seed") / claims.steps(record),
        )
    )
    for shade, times in zip((0.4, 0.65, 1.0), DRAWN, strict=True):
        row = int(abs(silent - times * float(claims.critical(record)[pair])).argmin("character"))
        tail = seen.isel(character=row)
        axes.plot(
            record.level, tail.where(tail > 0), color=COLOURS[0], alpha=shade, label=f"silent in {float(silent[row]):.0%}"
        )
        begin = float(record.level.where(tail >= claims.TAIL).max())
        to = (claims.TAIL * claims.steps(record)) ** (1 / float(exponent[row]))
        axes.plot([begin, begin * to], [claims.TAIL, 1 / claims.steps(record)], "--", color=style.MEASURED, lw=0.8)
    axes.plot([], [], "--", color=style.MEASURED, lw=0.8, label="predicted")
    axes.set(xscale="log", yscale="log", xlabel="$x$  (learning rates)", ylabel="share of steps with $|u| > x$")
    axes.set_title(claims.names(record)[pair])
    axes.legend(loc="upper right")


@said
def tails_said(record: xr.Dataset) -> str:
    """How many rows are on the side that theory says, and how well the tails are predicted."""
    outside = _outside(record)
    share, errors = claims.sorted_rightly(record), claims.exponent_errors(record)
    each = [
        f"At {claims.names(record)[pair]} a silence of {float(claims.critical(record)[pair]):.0%} is critical, "
        f"{float(share[pair]):.0%} of the embedding's rows lie on the predicted side, and exponents are "
        + (f"off by {float(errors[pair]):.0%}." if errors[pair].notnull() else "not to be told from so few steps.")
        for pair in outside
    ]
    head = claims.measured_exponents(record).sel(layer="head").isel(pair=outside)
    return f"{' '.join(each)} (Medians over rows.) The smallest exponent of a row of the head is {float(head.min()):.2g}."
