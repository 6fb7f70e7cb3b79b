"""What is claimed of pairs of betas at their best rates, and how a record decides it."""

import xarray as xr

from kadam.chapters.contest import judges
from kadam.chapters.contest.pairs import HERE, alone, in_words, losses, memory_alone
from kadam.report.ledger import BEFORE, Cases, Claims, Criterion, Finding, on_enough_seeds
from kadam.report.statistics import LEVEL, mean_interval, rank_agreement

LONG = "long_"  # before the names of what belongs to the long runs


def long_runs(dataset: xr.Dataset) -> xr.Dataset:
    """Of the long runs what the record has of the short ones, by the same names."""
    mine = dataset[[name for name in dataset.data_vars if str(name).startswith(LONG)] + ["guess"]]
    names = {*mine.data_vars, *mine.dims, *mine.coords}
    return mine.rename({name: str(name).removeprefix(LONG) for name in names if str(name).startswith(LONG)})


def agreement(dataset: xr.Dataset) -> xr.DataArray:
    """Kendall's tau of short and long runs over the pairs that have both. Dimension: seed."""
    early, late = losses(dataset), losses(long_runs(dataset))
    early = early.sel(optimizer=late.optimizer.values)
    taus = [rank_agreement(*both) for both in zip(early.values.T, late.values.T, strict=True)]
    return xr.DataArray(taus, {"seed": late.seed.values})


def agreement_of_means(dataset: xr.Dataset) -> float:
    """The same of the losses' means over seeds."""
    early, late = losses(dataset).mean("seed"), losses(long_runs(dataset)).mean("seed")
    return rank_agreement(early.sel(optimizer=late.optimizer.values).values, late.values)


@on_enough_seeds
def _as_ranked_early(dataset: xr.Dataset, *, least: float, beyond: float) -> Finding:
    tau, of = agreement_of_means(dataset), mean_interval(agreement(dataset).values)
    early, late = dataset.attrs["steps"], dataset.attrs["long_steps"]
    words = f"Kendall's tau of {early} and {late} steps: {tau:.2f} of the means, {in_words(of, '.2f')} by seed"
    return words, Cases({"tau": bool(tau >= least and of.low > beyond)})


def _inside(dataset: xr.Dataset) -> Finding:
    """In the short search and in the long one."""
    both = {"short": dataset, "long": long_runs(dataset)}
    found = {name: judges.inside_the_grid(of) for name, of in both.items()}
    held = {f"{name}: {case}": holds for name, (_, cases) in found.items() for case, holds in cases.held.items()}
    return "; ".join(f"{name} runs: {words}" for name, (words, _) in found.items()), Cases(held)


AGREE = f"Kendall's tau of the mean losses at least {{least:g}}, and its {LEVEL:.0%} interval over seeds above {{beyond:g}}"

TESTS: Claims = {
    ("D-7v", HERE): (
        "The memory of momentum alone, gamma, orders the test loss of pairs of betas on text, each at its interpolated rate",
        alone(BEFORE),
        memory_alone,
    ),
    ("D-7w", "asked here: does the ranking of short runs last?"): (
        "Longer runs, tuned anew, rank pairs of betas on text as short ones do",
        Criterion(AGREE, least=0.5, beyond=0),
        _as_ranked_early,
    ),
    ("D-7x", "checked here"): (
        "The best learning rate of every pair of betas lies inside the range that was searched, in short runs and in long ones",
        "for every pair, and NAdam",
        _inside,
    ),
}
