"""What is claimed of steady, and how a record decides it."""

import functools

import xarray as xr

from kadam.report.ledger import Claims, Criterion, Finding, limited, with_range


def over(dataset: xr.Dataset, measured: str, predicted: str) -> xr.DataArray:
    """Measured over predicted, mean over seeds: (descent, gamma, gradients)."""
    return (dataset[measured] / dataset[predicted]).mean("seed")


def _near(dataset: xr.Dataset, *, measured: str, predicted: str, most: float) -> Finding:
    found = over(dataset, measured, predicted)
    off = abs(found - 1)
    good = float((off <= most).mean())
    return f"measured over predicted: {with_range(found)}; {good:.0%} of the cases within {most:.0%}", limited(off, most=most)


def _cosine(dataset: xr.Dataset, *, most: float) -> Finding:
    moving = dataset.sel(gamma=dataset.gamma > 0)  # without momentum it is 0
    return _near(moving, measured="cosine", predicted="cosine_law", most=most)


EVERY = "mean over seeds, for every method, gamma and kind of gradients"
HERE = "derived here: Scale invariance, steady ratio"


def _within(what: str) -> Criterion:
    return Criterion(f"{what} within {{most:.0%}} of it, {EVERY}", most=0.05)


TESTS: Claims = {
    ("D-5q", "Defazio (arXiv 2506.02285) for gradient descent without momentum; with momentum asked here"): (
        "With momentum, too, |g/sqrt(v)|/|W| settles at sqrt(2 lambda/eta)",
        _within("late ratio of root mean squares"),
        functools.partial(_near, measured="gradient_ratio", predicted="without_momentum"),
    ),
    ("D-5r", HERE): (
        "It settles where the law with the cross term says, which knows gamma and the share of |u|^2 in |g/sqrt(v)|^2",
        _within("late ratio of root mean squares"),
        functools.partial(_near, measured="gradient_ratio", predicted="gradient_law"),
    ),
    ("D-5s", HERE): (
        "The cosine of weight and update settles at -gamma sqrt((1-q^2)/(1-gamma^2 q^2)), whatever the gradients",
        _within("late cosine, at gamma > 0,"),
        _cosine,
    ),
}
