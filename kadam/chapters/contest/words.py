"""What a record of a contest says, in the words that several of its figures and answers share."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from kadam.chapters.contest.comparisons import COMPARISONS, EQUAL, MATCHED, TUNED, overall
from kadam.chapters.contest.measures import by_k, ended, lead, networks, scale, second_and_first, two_stages
from kadam.report.sentences import listed, of_all, span
from kadam.report.statistics import LEVEL, mean_interval

AT = {EQUAL: "at the same learning rate", TUNED: "at tuned rates", MATCHED: "at matched size"}


def in_short(record: xr.Dataset) -> str:
    """Where k = 2 is ahead of Adam in each comparison, and how much larger its updates are."""
    equal, *others = (ahead(record, comparison) for comparison in COMPARISONS)
    each = listed([f"{of_all(equal.sel(network=name), 'strategies')} in `{name}`" for name in networks(record)])
    tuned, matched = (of_all(one, "cases") for one in others)
    times = span(over_adam(sizes_at_equal_rates(record)), ".1f")
    return (
        f"At the same learning rate $k = 2$ is ahead of Adam ({sure(record)}) under {each}, and the root mean square of its "
        f"updates is {times} times Adam's. With each method at its best learning rate it is ahead in {tuned} of a strategy "
        f"and a network, with updates as large as Adam's in {matched}."
    )


def ahead(record: xr.Dataset, comparison: str, methods: Sequence[str] = ()) -> xr.DataArray:
    """Where methods, those with k = 2 unless others are given, are ahead of Adam. Dimensions: optimizer, network.

    The interval of the difference lies above 0; with one seed, which has no interval, the difference does.
    """
    of = lead(record, comparison, list(methods or two_stages(record).values()))
    mean, low, _ = mean_interval(of)
    return of.isel(seed=0, drop=True).copy(data=np.where(np.isnan(low), mean, low) > 0)


def sure(record: xr.Dataset) -> str:
    """The rule of the same in words."""
    return f"{LEVEL:.0%} interval above zero" if record.sizes["seed"] > 1 else "difference of the one seed above zero"


def sizes_at_equal_rates(record: xr.Dataset) -> xr.DataArray:
    """The rms of u over the whole of training, mean over seeds. Dimensions: network, optimizer."""
    return overall(record.update_rms).sel(comparison=EQUAL).mean("seed")


def over_adam(of: xr.DataArray) -> xr.DataArray:
    """Values of the methods with k = 2 over Adam's."""
    second, adam = second_and_first(of)
    return second / adam.reset_coords(drop=True)


def declines(record: xr.Dataset, comparison: str) -> str:
    """How the score changes from k = 2 to the largest k, by strategy, in a sentence."""
    of, mean, last = scale(record), ended(record).sel(comparison=comparison).mean("seed"), int(record.k.max())
    if last == 2:
        return "No method has more than two stages."
    beyond = [by_k(mean, name)[1:] for name in two_stages(record)]
    changes = xr.concat([one[-1:] - one[0].reset_coords(drop=True) for one in beyond], "optimizer")
    changed = by_strategy(changes, f"+{of.form}")
    return f"From $k = 2$ to $k = {last}$ the test {of.quantity} changes {AT[comparison]} by {changed} ({of.difference})."


def by_strategy(of: xr.DataArray, form: str) -> str:
    """The range of the values of each strategy, in words."""
    names = dict.fromkeys(of.strategy.values.tolist())
    return listed([f"{span(of[{'optimizer': (of.strategy == name).values}], form)} with `{name}`" for name in names])


def largest(of: xr.DataArray) -> str:
    """The method and the network in which something is largest."""
    method, network = of.stack(case=("optimizer", "network")).idxmax().item()
    return f"`{method}` in `{network}`"
