"""What is claimed of the causes of spikes, and how a record decides it."""

import functools

import numpy as np
import xarray as xr

from kadam.chapters.watching import alarms as rules
from kadam.chapters.watching.series import series
from kadam.chapters.watching.spikes.config import CONTROL, EXCESSES, SITUATIONS, UNCUT
from kadam.report.ledger import Claims, Criterion, Finding, below, limited, on_enough_seeds
from kadam.report.once import once
from kadam.report.statistics import Interval, mean_interval

ENOUGH = 5  # spikes over all seeds, below which a share of them says nothing
HALF = 0.5  # of a spike's height above the usual loss


@once
def spikes(record: xr.Dataset) -> xr.DataArray:
    """The steps at which a spike begins, (cut, situation, seed, step)."""
    loss = series(record, "loss").transpose("cut", "situation", "seed", "step")
    return loss.copy(data=rules.spikes(loss.values, window=int(record.attrs["settle"])))


@once
def explained(record: xr.Dataset) -> xr.DataArray:
    """The spikes of the runs without a cut that undoing an excess takes half of: undoing, situation, seed, step."""
    loss, undone = series(record, "loss").sel(cut=UNCUT, drop=True), series(record, "undone")
    loss = loss.transpose(..., "step")
    usual = loss.copy(data=rules.usual(loss.values, window=int(record.attrs["settle"]))[0])
    enough = undone - usual <= (1 - HALF) * (loss - usual)
    return (spikes(record).sel(cut=UNCUT, drop=True) & enough).transpose("undoing", "situation", "seed", "step")


def counts(record: xr.Dataset) -> xr.DataArray:
    """Spikes of every run: cut, situation, seed."""
    return spikes(record).sum("step")


def share(part: xr.DataArray, whole: xr.DataArray) -> Interval:
    """Sum over seeds of a part over that of the whole, with the interval of a ratio of means: without the seed."""
    a, b = (x.transpose(..., "seed").values.astype(float) for x in xr.broadcast(part, whole))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = a.sum(-1) / b.sum(-1)
        _, low, high = mean_interval(a - ratio[..., None] * b)
        return Interval(ratio, ratio + low / b.mean(-1), ratio + high / b.mean(-1))


def undone(record: xr.Dataset, excess: str) -> Interval:
    """The share of spikes that undoing an excess explains, less that of the control: by situation."""
    found = explained(record).sum("step")
    return share(found.sel(undoing=excess) - found.sel(undoing=CONTROL), counts(record).sel(cut=UNCUT, drop=True))


def avoided(record: xr.Dataset, excess: str) -> Interval:
    """The share of spikes that are not there without an excess: by situation."""
    found = counts(record)
    uncut = found.sel(cut=UNCUT, drop=True)
    return share(uncut - found.sel(cut=excess, drop=True), uncut)


def told(of: Interval) -> list[str]:
    """Shares with their intervals."""
    each = zip(*of, strict=True)
    return [f"{mean:.0%} ({low:.0%} to {high:.0%})" if np.isfinite(mean) else "no spikes" for mean, low, high in each]


@on_enough_seeds
def _share(record: xr.Dataset, *, way: str, least: float) -> Finding:
    measure = undone if way == "undone" else avoided
    silence, burst = (measure(record, excess) for excess in EXCESSES)
    enough = counts(record).sel(cut=UNCUT).sum("seed") >= ENOUGH
    number = counts(record).sel(cut=UNCUT).sum("seed").values
    each = zip(SITUATIONS, number, told(silence), told(burst), strict=True)
    words = "; ".join(f"{name}, {count} spikes: silence {one}, bursts {other}" for name, count, one, other in each)
    sure = xr.DataArray(np.where(silence.low > 0, silence.mean, 0.0), {"situation": list(SITUATIONS)})
    return words, limited(sure, least=least, where=enough.drop_vars("cut", errors="ignore"))


def _constructed(record: xr.Dataset, *, most: float) -> Finding:
    off = abs(record.returned / record.returned_predicted - 1)
    words = f"loss at the return up to {float(record.returned.max()):.3g}, relative error {below(float(off.max()))}"
    return words, limited(off, most=most)


SOURCE = "asked here: what share of spikes does silence explain?"
SPIKE = (
    f"a spike as in D-13a; cases: situations with at least {ENOUGH}; an update's excess by silence lies beyond its size at "
    "the last step whose gradient was not faint"
)

TESTS: Claims = {
    ("D-13g", SOURCE): (
        "Undoing what silence added to the latest updates takes half of a spike away",
        Criterion(
            f"at so many spikes, less the share with a control of random signs: at least {{least:.0%}}, interval over "
            f"seeds above 0 ({SPIKE})",
            least=0.5,
        ),
        functools.partial(_share, way="undone"),
    ),
    ("D-13h", SOURCE): (
        "Training from whose updates that is cut has fewer spikes",
        Criterion(f"fewer by at least {{least:.0%}}, interval over seeds above 0 ({SPIKE})", least=0.5),
        functools.partial(_share, way="avoided"),
    ),
    ("D-13g constructed", "derived here: Updates in silence"): (
        "Where a gradient vanishes and comes back, the loss jumps as the updates of a silent weight say",
        Criterion("every pair and length of silence: relative error at most {most:g}", most=1e-6),
        _constructed,
    ),
}
