"""What a record of a contest says, in the words that several of its figures and answers share."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from kadam.chapters.contest.comparisons import COMPARISONS, EQUAL, TUNED, overall
from kadam.chapters.contest.measures import by_k, ended, lead, scale, second_and_first, two_stages
from kadam.report.sentences import listed, of_all, span
from kadam.report.statistics import LEVEL, mean_interval


def in_short(record: xr.Dataset) -> str:
    """Where k = 2 is ahead of Adam in each comparison, and how much larger its updates are."""
    equal, tuned, matched = (of_all(ahead(record, comparison), "cases") for comparison in COMPARISONS)
    sure = f"{LEVEL:.0%} interval above zero" if record.sizes["seed"] > 1 else "difference of the one seed above zero"
    return (
        f"At the same learning rate $k = 2$ is ahead of Adam ({sure}) in {equal}, with updates "
        f"{span(over_adam(sizes_at_equal_rates(record)), '.1f')} times as large. With each at its best rate it is "
        f"ahead in {tuned}, with updates as large as Adam's in {matched}."
    )


def ahead(record: xr.Dataset, comparison: str, methods: Sequence[str] = ()) -> xr.DataArray:
    """Where methods, those with k = 2 unless others are given, are ahead of Adam. Dimensions: optimizer, network.

    The interval of the difference lies above 0; with one seed, which has no interval, the difference does.
    """
    of = lead(record, comparison, list(methods or two_stages(record).values()))
    mean, low, _ = mean_interval(of)
    return of.isel(seed=0, drop=True).copy(data=np.where(np.isnan(low), mean, low) > 0)


def sizes_at_equal_rates(record: xr.Dataset) -> xr.DataArray:
    """The rms of u over the whole of training, mean over seeds. Dimensions: network, optimizer."""
    return overall(record.update_rms).sel(comparison=EQUAL).mean("seed")


def over_adam(of: xr.DataArray) -> xr.DataArray:
    """Values of the methods with k = 2 over Adam's."""
    second, adam = second_and_first(of)
    return second / adam.reset_coords(drop=True)


def firsts(record: xr.Dataset) -> str:
    """Which methods are first at tuned rates, and in how many networks."""
    best = lead(record, TUNED, record.optimizer.values.tolist()).mean("seed").idxmax("optimizer").values.tolist()
    return listed([f"`{name}` in {of_all([name == one for one in best], 'networks')}" for name in dict.fromkeys(best)])


def beyond(record: xr.Dataset, comparison: str) -> str:
    """How the score changes from k = 2 to the largest k."""
    of, mean = scale(record), ended(record).sel(comparison=comparison).mean("seed")
    each = [by_k(mean, name) for name in two_stages(record)]
    changes = xr.concat([one[-1:] - one[1].reset_coords(drop=True) for one in each], "optimizer")
    by = f"{extremes(changes, f'+{of.form}')} {of.difference}"
    return f"stages beyond two, up to $k = {int(record.k.max())}$, change the test {of.quantity} by {by}."


def extremes(of: xr.DataArray, form: str, by: str = "strategy") -> str:
    """The smallest and the largest value, each with whose it is."""
    known = of.stack(case=of.dims).dropna("case")
    ends = known[[known.values.argmin(), known.values.argmax()]] if known.size else known
    return " to ".join(f"{float(end):{form}} (`{end[by].item()}`)" for end in ends) or "not measured"
