"""What is claimed of alarms before spikes, and how a record decides it."""

import numpy as np
import xarray as xr

from kadam.chapters.watching import alarms as rules
from kadam.chapters.watching.config import SITUATIONS
from kadam.chapters.watching.series import series
from kadam.report.ledger import OTHER_SEEDS, Claims, Criterion, Finding, limited, span
from kadam.report.once import once

MONITORS = ("monitor", "monitor, every 10 steps")
OTHERS = {"gradient norm": "gradient", "loss": "loss"}  # by the name of an alarm the series that it watches
ALARMS = (*MONITORS, *OTHERS)

# Factors above its level that an alarm on a series may have: up to 50, 5% apart.
FACTORS: rules.Array = np.power(1.05, np.arange(1, 81))

ENOUGH = 5  # spikes, or alarms, over all seeds, below which a share of them says nothing

OUTSIDE = [name for name in SITUATIONS if name.startswith("outside")]
BAD = [name for name, situation in SITUATIONS.items() if situation.bad]


@once
def begins(record: xr.Dataset) -> xr.DataArray:
    """The steps at which a spike begins, (network, situation, seed, step)."""
    loss, window = series(record, "loss"), settle(record)
    found = {
        name: rules.spikes(
            loss.sel(situation=name).values, window=window, ignored=record.bad_step.values.tolist() if name in BAD else ()
        )
        for name in record.situation.values.tolist()
    }
    one = loss.isel(situation=0, drop=True)
    return xr.concat([one.copy(data=found[name]) for name in found], record.situation).transpose(*loss.dims)


def settle(record: xr.Dataset) -> int:
    """Steps before the first alarm and the first spike."""
    return int(record.attrs["settle"])


def _alarms(record: xr.Dataset, of: xr.DataArray, factor: float | rules.Array) -> rules.Flags:
    return rules.alarms(of.values, factor, memory=float(record.attrs["memory"]), settle=settle(record))


@once
def thresholds(record: xr.Dataset) -> xr.DataArray:
    """The smallest factor with which an alarm is as rare as the monitor's in healthy training on other seeds; (alarm, network).

    The other alarms are given a threshold for each network, where the monitor keeps its own.
    """
    own = record.healthy_alarm.isel(every=0).any("cause").transpose("network", ..., "step")
    allowed = rules.counted(own.values).sum((1, 2))
    found = np.full((len(OTHERS), record.sizes["network"]), np.nan)
    for i, name in enumerate(OTHERS.values()):
        for j, network in enumerate(record.network.values):
            healthy = series(record, f"healthy_{name}").sel(network=network)
            many = rules.counted(_alarms(record, healthy, FACTORS[:, None])).sum((1, 2))
            too_many = np.flatnonzero(many > allowed[j])
            found[i, j] = FACTORS[min(int(too_many[-1]) + 1, len(FACTORS) - 1) if too_many.size else 0]
    return xr.DataArray(found, {"alarm": list(OTHERS), "network": record.network.values}, ["alarm", "network"])


@once
def flags(record: xr.Dataset) -> xr.DataArray:
    """The steps with an alarm, (alarm, network, situation, seed, step)."""
    own = record.alarm.any("cause").transpose("every", "network", "situation", "seed", "step")
    limits, others = thresholds(record), []
    for alarm, name in OTHERS.items():
        of, factor = series(record, name), limits.sel(alarm=alarm).values
        others.append(_alarms(record, of.transpose("network", ...), factor[:, None, None]))
    one = own.isel(every=0, drop=True)
    both = [*own.values, *others]
    return xr.concat([one.copy(data=of) for of in both], xr.Variable("alarm", list(ALARMS)))


@once
def leads(record: xr.Dataset) -> xr.DataArray:
    """How many steps before a spike the alarm came; NaN where none did, or there is no spike."""
    found, spikes = flags(record), begins(record)
    return found.copy(data=np.stack([rules.leads(of, spikes.values) for of in found.values]))


def counts(record: xr.Dataset) -> xr.DataArray:
    """How many spikes there were, (network, situation)."""
    return begins(record).sum(["seed", "step"])


def announced(record: xr.Dataset) -> xr.DataArray:
    """The share of spikes with an alarm in the steps before them, (alarm, network, situation); NaN without a spike."""
    return leads(record).notnull().sum(["seed", "step"]) / counts(record).where(counts(record) > 0)


def by_chance(record: xr.Dataset) -> xr.DataArray:
    """The share of steps with an alarm in the steps before them: the share of spikes that it would announce blindly."""
    found = flags(record)
    covered = found.copy(data=rules.recent(found.values))
    return covered.isel(step=slice(settle(record), None)).mean(["seed", "step"])


def median_lead(record: xr.Dataset) -> xr.DataArray:
    """Of the spikes that were announced, in steps."""
    return leads(record).median(["seed", "step"])


def false_alarms(record: xr.Dataset) -> xr.DataArray:
    """In 1,000 steps, (alarm, network, situation)."""
    found, spikes = flags(record), begins(record)
    wrong = found.copy(data=np.stack([rules.false(of, spikes.values) for of in found.values]))
    return 1000 * wrong.isel(step=slice(settle(record), None)).mean(["seed", "step"])


def gain(record: xr.Dataset) -> xr.DataArray:
    """The share of spikes that an alarm announces, less that by chance."""
    return announced(record) - by_chance(record)


def causes(record: xr.Dataset) -> xr.DataArray:
    """How many steps had an alarm of the monitor of each cause, (cause, network, situation)."""
    return record.alarm.isel(every=0, drop=True).sum(["seed", "step"])


@once
def first_causes(record: xr.Dataset) -> xr.DataArray:
    """In how many runs of bad batches the first alarm was of each cause, (cause, network); "none" where there was none."""
    of = record.alarm.isel(every=0, drop=True).sel(situation=BAD[0]).transpose("network", "seed", "cause", "step")
    steps = record.bad_step.values
    starts = [step for step in steps if step - 1 not in steps]
    length = len(steps) // len(starts) if starts else 0
    found = np.zeros((3, record.sizes["network"]), int)
    for start in starts:
        window = of.values[..., start : start + 2 * length]
        first = np.where(window.any(-1), window.argmax(-1), 2 * length)  # (network, seed, cause)
        cause = np.where(first.min(-1) == 2 * length, 2, first.argmin(-1))
        found += np.stack([(cause == c).sum(1) for c in range(3)])
    named = [*record.cause.values.tolist(), "none"]
    return xr.DataArray(found, {"cause": named, "network": record.network.values}, ["cause", "network"])


def judged_spikes(record: xr.Dataset) -> xr.DataArray:
    """The networks and situations with enough spikes."""
    return counts(record) >= ENOUGH


def _of(record: xr.Dataset, values: xr.DataArray, form: str = ".0%") -> str:
    return span(values.where(judged_spikes(record)), form)


def _comes_before(record: xr.Dataset, *, least: float) -> Finding:
    share, chance, more = (f(record).sel(alarm="monitor", drop=True) for f in (announced, by_chance, gain))
    words = f"{_of(record, share)} of the spikes announced, by chance {_of(record, chance)}"
    return words, limited(more, least=least, where=judged_spikes(record))


def _ahead(record: xr.Dataset, *, above: float) -> Finding:
    more = gain(record)
    others = more.sel(alarm=list(OTHERS)).max("alarm")
    difference = more.sel(alarm="monitor", drop=True) - others.clip(min=0)
    words = (
        f"beyond chance {_of(record, more.sel(alarm='monitor'))} of the spikes, the better of the others {_of(record, others)}"
    )
    return words, limited(difference, above=above, of=1.0, where=judged_spikes(record))


def _in_time(record: xr.Dataset, *, least: float) -> Finding:
    steps = median_lead(record).sel(alarm="monitor", drop=True)
    return f"a median of {_of(record, steps, '.0f')} steps before", limited(steps, least=least, where=judged_spikes(record))


def _rare(record: xr.Dataset, *, most: float) -> Finding:
    rate = false_alarms(record).sel(alarm="monitor", situation=next(iter(SITUATIONS)), drop=True)
    return f"{span(rate)} false alarms in 1,000 steps", limited(rate, most=most)


def _momentum(record: xr.Dataset, *, least: float) -> Finding:
    first = first_causes(record)
    share, none = (first.sel(cause=cause, drop=True) / first.sum("cause") for cause in ("momentum", "none"))
    words = f"momentum at {span(share, '.0%')} of the runs of bad batches, no alarm at {span(none, '.0%')}"
    return words, limited(share, least=least)


def _second_moment(record: xr.Dataset, *, least: float) -> Finding:
    of = causes(record).sel(situation=OUTSIDE)
    share, enough = of.sel(cause="second moment", drop=True) / of.sum("cause"), of.sum("cause") >= ENOUGH
    return f"second moment in {span(share.where(enough), '.0%')} of the alarms", limited(share, least=least, where=enough)


SOURCE = "asked here: does the monitor help?"
SPIKE = (
    f"a spike: the loss {rules.SPREADS:g} usual spreads above the usual loss of the 200 steps before, for the first time in "
    f"{rules.APART} steps; an alarm holds for {rules.APART} steps; cases: networks and situations with at least {ENOUGH} spikes"
)

TESTS: Claims = {
    ("D-13a", SOURCE): (
        "Alarms of the monitor come before loss spikes",
        Criterion(
            f"share of spikes announced at least {{least:.0%}} of all above the share of steps under an alarm ({SPIKE})",
            least=0.25,
            when=OTHER_SEEDS,
        ),
        _comes_before,
    ),
    ("D-13b", SOURCE): (
        "They announce more, beyond chance, than alarms on gradient norm and on loss that are as rare in healthy training",
        Criterion(
            f"that difference above {{above:g}}, and by more than that above the larger of theirs ({SPIKE}; thresholds of the "
            "others: the smallest with no more alarms than the monitor's in healthy training on other seeds)",
            above=0.0,
            when=OTHER_SEEDS,
        ),
        _ahead,
    ),
    ("D-13c", SOURCE): (
        "They come in time to act",
        Criterion(f"median lead of the announced spikes at least {{least:g}} steps ({SPIKE})", least=10, when=OTHER_SEEDS),
        _in_time,
    ),
    ("D-13d", SOURCE): (
        "In healthy training they are rare",
        Criterion("at most {most:g} alarms in 1,000 steps, of either network", most=2, when=OTHER_SEEDS),
        _rare,
    ),
    ("D-13e", SOURCE): (
        "At bad batches the monitor says momentum",
        Criterion(
            "first alarm from the first of some bad batches on, for twice as many steps: of momentum at {least:.0%} of them, "
            "of either network",
            least=0.8,
            when=OTHER_SEEDS,
        ),
        _momentum,
    ),
    ("D-13f", SOURCE): (
        "Outside the region it says second moment",
        Criterion(
            f"at least {{least:.0%}} of the alarms, of every network and pair with at least {ENOUGH}",
            least=0.8,
            when=OTHER_SEEDS,
        ),
        _second_moment,
    ),
}
