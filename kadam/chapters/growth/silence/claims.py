"""What is claimed of silent gradients, and how a record decides it."""

import numpy as np
import xarray as xr

from kadam.report.ledger import OTHER_SEEDS, Claims, Criterion, Finding, limited, span
from kadam.theory import stability

TAIL = 0.05  # share of the steps, those of the largest updates, whose exponent is taken
LEAST_ACTIVE = 100  # steps with a gradient, over all seeds, below which a row says nothing of a tail
TOLD = (0.5, 4.0)  # predicted exponents that a run of this length can tell


def shares(record: xr.Dataset, kind: str = "silent") -> xr.DataArray:
    """The share of "silent" or "faint" steps of every row, over all seeds; NaN where the row was hardly ever active."""
    active = (1 - record.silent.mean("seed")) * steps(record)
    return record[kind].mean("seed").where(active >= LEAST_ACTIVE)


def steps(record: xr.Dataset) -> int:
    """Those that were counted, over all seeds."""
    return int(record.attrs["counted"]) * record.sizes["seed"]


def measured_exponents(record: xr.Dataset) -> xr.DataArray:
    """Hill's estimate of k in P(|u| > x) ~ x^-k of every active row, from the largest updates of all seeds together.

    It is one over the mean of ln(|u|/x) over the updates above x, the largest level that ``TAIL`` of all exceed. With a count
    of updates above each of many levels the sum of these logarithms is the integral of the count over ln x, here by the
    trapezoidal rule. Updates above the last level are known to be larger only: so they count in the sum alone, as is right for
    observations that are cut off.
    """
    count = record.exceeded.sum("seed").transpose(..., "level")
    place = np.arange(count.sizes["level"])
    start = np.where(count >= TAIL * steps(record), place, 0).max(-1, keepdims=True)
    first = np.take_along_axis(count.values, start, -1)[..., 0]
    spacing = float(np.log(record.level[1] / record.level[0]))
    excess = spacing * (np.where(place >= start, count, 0).sum(-1) - first / 2)
    seen = first - count.values[..., -1]
    exponent = count.isel(level=0, drop=True).copy(data=np.where(seen > 0, seen / np.maximum(excess, 1e-300), 0.0))
    return exponent.where(shares(record).notnull())


def predicted_exponents(record: xr.Dataset) -> xr.DataArray:
    """The same by theory, of rows whose silence in one step tells nothing of the next; infinite inside the region."""
    share = shares(record).transpose("pair", ...)
    beta, gamma = (of.values[:, None, None] for of in (record.beta, record.gamma))
    return share.copy(data=stability.silence_tail(share.fillna(0), beta=beta, gamma=gamma)).where(share.notnull())


def critical(record: xr.Dataset) -> xr.DataArray:
    """The share of silent steps from which on a row's update has no mean square, by pair."""
    share = stability.critical_silence(beta=record.beta.values, gamma=record.gamma.values)
    return xr.DataArray(share, {"pair": names(record)}, ["pair"])


def names(record: xr.Dataset) -> list[str]:
    """The pairs as PyTorch's betas."""
    return [f"betas ({gamma:g}, {beta:g})" for beta, gamma in zip(record.beta.values, record.gamma.values, strict=True)]


def sorted_rightly(record: xr.Dataset) -> xr.DataArray:
    """The share of the embedding's active rows whose exponent is below 2 just where they are too silent, by pair."""
    share, exponent = (_of_layer(record, of, "embedding") for of in (shares(record), measured_exponents(record)))
    return ((share > critical(record)) == (exponent < 2)).where(share.notnull()).mean("character")


def exponent_errors(record: xr.Dataset) -> xr.DataArray:
    """Median over the embedding's rows of measured / predicted - 1 in size, where the prediction can be told; by pair."""
    measured, predicted = (
        _of_layer(record, of, "embedding") for of in (measured_exponents(record), predicted_exponents(record))
    )
    return abs(measured / predicted - 1).where((predicted >= TOLD[0]) & (predicted <= TOLD[1])).median("character")


def _of_layer(record: xr.Dataset, of: xr.DataArray, layer: str) -> xr.DataArray:
    return of.sel(layer=layer, drop=True).assign_coords(pair=names(record))


def _sorted(record: xr.Dataset, *, least: float) -> Finding:
    share, outside = sorted_rightly(record), critical(record) < 1
    too_silent = (_of_layer(record, shares(record), "embedding") > critical(record)).sum("character")
    words = f"{span(share.where(outside), '.0%')} of the rows; {span(too_silent.where(outside), '.0f')} of them too silent"
    return words, limited(share, least=least, where=outside)


def _exponents(record: xr.Dataset, *, most: float) -> Finding:
    errors, outside = exponent_errors(record), critical(record) < 1
    return f"median error {span(errors.where(outside), '.0%')}", limited(errors, most=most, where=outside)


def _head(record: xr.Dataset, *, least: float) -> Finding:
    faint, exponent = (_of_layer(record, of, "head") for of in (shares(record, "faint"), measured_exponents(record)))
    loud = faint < critical(record)
    share, outside = (exponent > 2).where(loud).mean("character"), critical(record) < 1
    words = f"{span(share.where(outside), '.0%')} of the rows; {span(loud.sum('character').where(outside), '.0f')} such rows"
    return words, limited(share, least=least, where=outside)


def _inside(record: xr.Dataset, *, above: float) -> Finding:
    smallest = measured_exponents(record).min(["layer", "character"]).assign_coords(pair=names(record))
    inside = critical(record) == 1
    return f"smallest exponent {span(smallest.where(inside))}", limited(smallest, above=above, where=inside)


SOURCE = "derived here: Theory, independent gradients"
RANDOM = "eps = 0, new random windows in every step, rows with a gradient in at least 100 steps"

TESTS: Claims = {
    ("D-2g", SOURCE): (
        "Outside the region those rows of the embedding grow whose gradient is zero in more than beta2/beta1^2 of the steps",
        Criterion(
            "tail exponent of a row's update below 2 just where it is silent more often, in at least {least:.0%} of the rows "
            f"({RANDOM})",
            least=0.9,
            when=OTHER_SEEDS,
        ),
        _sorted,
    ),
    ("D-2h", SOURCE): (
        "The share of silent steps p predicts the tail of a row's update, of exponent 2 ln(1/p) / ln(beta1^2/beta2)",
        Criterion(
            f"median error of Hill's exponent at most {{most:.0%}} over rows of the embedding with a predicted exponent from "
            f"0.5 to 4 ({RANDOM})",
            most=0.2,
            when=OTHER_SEEDS,
        ),
        _exponents,
    ),
    ("D-2i", SOURCE): (
        "Outside the region rows of the output head, whose gradients are small but hardly ever silent, do not grow",
        Criterion(
            "tail exponent above 2 in at least {least:.0%} of the rows whose gradient is below 1% of its root mean square in "
            f"fewer than beta2/beta1^2 of the steps ({RANDOM})",
            least=0.9,
            when=OTHER_SEEDS,
        ),
        _head,
    ),
    ("D-2j", SOURCE): (
        "Inside the region no row grows, however silent",
        Criterion(f"the smallest tail exponent of all rows above {{above:g}} ({RANDOM})", above=2.0, when=OTHER_SEEDS),
        _inside,
    ),
}
