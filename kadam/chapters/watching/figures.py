"""The figures of watched training, with what they show in words."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from kadam.chapters.watching import alarms as rules
from kadam.chapters.watching import claims
from kadam.chapters.watching.series import series
from kadam.report import style
from kadam.report.sentences import listed, said, span
from kadam.report.table import Table, table

MARKERS = dict(zip(claims.ALARMS, "oDs^", strict=True))
COLOURS = dict(zip(claims.ALARMS, (style.EXACT, style.FIFTH, style.CORRECTED, style.FOURTH), strict=True))
SHOWN = ("monitor", "gradient norm", "loss")  # alarms of the story


def told(record: xr.Dataset) -> dict[str, Any]:
    """The run whose story is told: outside the region, the one with the most spikes."""
    spikes = claims.begins(record).sel(situation=claims.OUTSIDE).sum("step").stack(run=["network", "situation", "seed"])
    network, situation, seed = spikes.run.values[int(spikes.values.argmax())]
    return {"network": network, "situation": situation, "seed": seed}


@style.styled
def story(record: xr.Dataset) -> style.Figure:
    """One loss curve with its spikes, and below it when each alarm was on."""
    run = told(record)
    figure, (top, below) = style.panels(2, 1, height=3.6, sharex=True, height_ratios=[2.2, 1])
    loss, begins = series(record, "loss").sel(**run), np.flatnonzero(claims.begins(record).sel(**run))
    top.plot(loss, color=style.MEASURED, lw=0.6)
    top.plot(
        begins, loss[begins], "o", ms=6, mfc="none", color=style.UNSTABLE, label=f"spike (the first in {rules.APART} steps)"
    )
    top.set(yscale="log", ylabel="training loss (nats)", title=f"{run['network']}; {run['situation']}; seed {run['seed']}")
    top.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    top.yaxis.set_major_formatter(ScalarFormatter())
    top.yaxis.set_minor_formatter(NullFormatter())
    top.legend(loc="upper left")
    for row, name in enumerate(SHOWN):
        flags = claims.flags(record).sel(alarm=name, **run).values
        held, steps = rules.recent(flags), np.arange(len(flags))
        below.fill_between(steps, row - 0.3, row + 0.3, where=held, color=COLOURS[name], alpha=0.3, lw=0)
        on = np.flatnonzero(flags)
        below.plot(on, np.full(len(on), row), "|", color=COLOURS[name], ms=11, mew=1.4)
    for n in begins:
        below.axvline(n, color=style.UNSTABLE, lw=0.8)
    below.set(yticks=range(len(SHOWN)), yticklabels=SHOWN, ylim=(len(SHOWN) - 0.5, -0.5), xlabel="step")
    below.set_xlim(claims.settle(record), record.sizes["step"])
    return figure


@said
def story_said(record: xr.Dataset) -> str:
    """How many of its spikes each alarm announced."""
    run = told(record)
    leads = claims.leads(record).sel(**run)
    spikes = int(claims.begins(record).sel(**run).sum())
    words = [f"{name} {int(leads.sel(alarm=name).notnull().sum())}" for name in SHOWN]
    kept = f"{run['network']}, {run['situation']}, seed {run['seed']}"
    return (
        f"The run outside the region with the most spikes ({kept}): {spikes} spikes, of which so many had an alarm in the "
        f"{rules.APART} steps before: {listed(words)}."
    )


def _cases(record: xr.Dataset) -> list[tuple[str, str]]:
    """Networks and situations with spikes."""
    counts = claims.counts(record)
    return [
        (str(n), str(s)) for n in counts.network.values for s in counts.situation.values if counts.sel(network=n, situation=s)
    ]


@style.styled
def shares(record: xr.Dataset) -> style.Figure:
    """Left, shares of spikes that each alarm announced, and would by chance; right, its false alarms in healthy training."""
    cases = [(n, s) for n, s in _cases(record) if claims.judged_spikes(record).sel(network=n, situation=s)]
    figure, (axes, right) = style.panels(1, 2, height=1.6 + 0.45 * max(len(cases), 3), width_ratios=[2, 1])
    announced, chance = claims.announced(record), claims.by_chance(record)
    for i, name in enumerate(claims.ALARMS):
        at = np.arange(len(cases)) + 0.18 * (i - 1.5)
        share, blind = ([float(x.sel(alarm=name, network=n, situation=s)) for n, s in cases] for x in (announced, chance))
        axes.hlines(at, blind, share, color=COLOURS[name], lw=1.2)
        axes.plot(blind, at, "|", color=COLOURS[name], ms=7)
        axes.plot(share, at, MARKERS[name], color=COLOURS[name], ms=5, label=name)
    counts = claims.counts(record)
    labels = [f"{n}: {s}\n({int(counts.sel(network=n, situation=s))} spikes)" for n, s in cases]
    axes.set(yticks=range(len(cases)), yticklabels=labels, xlim=(-0.03, 1.03), xlabel="share of spikes announced")
    axes.set_ylim(max(len(cases), 1) - 0.5, -0.5)
    healthy = claims.false_alarms(record).isel(situation=0)
    for i, name in enumerate(claims.ALARMS):
        at = np.arange(record.sizes["network"]) + 0.18 * (i - 1.5)
        right.barh(at, healthy.sel(alarm=name), height=0.16, color=COLOURS[name])
    right.set(
        yticks=range(record.sizes["network"]),
        yticklabels=record.network.values,
        xlabel="false alarms in 1,000 steps",
        title="healthy training",
    )
    right.invert_yaxis()
    return style.with_legend(figure, axes, ncols=len(claims.ALARMS))


@said
def shares_said(record: xr.Dataset) -> str:
    """Spikes, shares, leads and false alarms of the monitor and of the others."""
    counts = claims.counts(record)
    of = int(counts.sum())
    each = [
        f"{name} {_total(record, name)} (by chance {_blind(record, name):.0f}; {_before(record, name)}"
        f"{_false(record, name):.2g} false alarms)"
        for name in claims.ALARMS
    ]
    none = [
        f"{n}, {s}" for n in counts.network.values for s in counts.situation.values if not counts.sel(network=n, situation=s)
    ]
    return (
        f"Of {of} spikes were announced, in brackets with the median lead and the false alarms in a thousand steps of healthy "
        f"training: {'; '.join(each)}. Without a spike: {'; '.join(none) or 'none'}."
    )


def _total(record: xr.Dataset, name: str) -> int:
    return int(claims.leads(record).sel(alarm=name).notnull().sum())


def _blind(record: xr.Dataset, name: str) -> float:
    """Spikes that alarms at random would announce."""
    return float((claims.by_chance(record).sel(alarm=name) * claims.counts(record)).sum())


def _lead(record: xr.Dataset, name: str) -> str:
    return span(claims.leads(record).sel(alarm=name).median(), ".0f")


def _before(record: xr.Dataset, name: str) -> str:
    """The median lead of an alarm, for a list in brackets; nothing where it announced no spike."""
    return f"{_lead(record, name)} steps before; " if _total(record, name) else ""


def _false(record: xr.Dataset, name: str) -> float:
    return float(claims.false_alarms(record).sel(alarm=name).isel(situation=0).mean())


def leads_table(record: xr.Dataset) -> Table:
    """For each network and situation with spikes, and each alarm."""
    announced, chance, lead, wrong = (
        f(record) for f in (claims.announced, claims.by_chance, claims.median_lead, claims.false_alarms)
    )
    rows = []
    for network, situation in _cases(record):
        for name in claims.ALARMS:
            case = {"alarm": name, "network": network, "situation": situation}
            share, blind, before, false = (float(x.sel(case)) for x in (announced, chance, lead, wrong))
            count = int(claims.counts(record).sel(network=network, situation=situation))
            led = f"{before:.0f}" if share else "none announced"
            rows.append((network, situation, count, name, f"{share:.0%}", f"{blind:.0%}", led, f"{false:.1f}"))
    head = ("network", "situation", "spikes", "alarm", "announced", "by chance", "median lead (steps)", "false in 1,000 steps")
    return table(head, rows)


def causes_table(record: xr.Dataset) -> Table:
    """How many steps had an alarm of the monitor of each cause, over all seeds."""
    of = claims.causes(record)
    rows = [
        (str(n), str(s), *(int(of.sel(network=n, situation=s, cause=c)) for c in of.cause.values))
        for n in of.network.values
        for s in of.situation.values
    ]
    return table(("network", "situation", *(f"alarms: {c}" for c in of.cause.values)), rows)


@said
def answer(record: xr.Dataset) -> str:
    """The answer in one sentence."""
    counts = int(claims.counts(record).sum())
    parts = [f"{name} {_total(record, name)} (by chance {_blind(record, name):.0f})" for name in SHOWN]
    early = f" The monitor's came a median of {_lead(record, 'monitor')} steps before." if _total(record, "monitor") else ""
    return f"**The answer.** Of {counts} loss spikes an alarm came in the {rules.APART} steps before: {listed(parts)}.{early}"
