"""What is claimed of meta, and how a record decides it."""

import functools

import numpy as np
import xarray as xr

from kadam.chapters.scale_invariance.meta.config import NETWORKS
from kadam.report.ledger import Finding, Test, passes, passes_for, with_range

FOLLOWS = 0.25  # of the constant's error: a history predicts the norm
STILL = 0.1  # of log |W|^2: the norm is that of a constant |u|^2
CLOSE = 0.25  # of the angle that AdamW turned since the change: a rule moves the direction as AdamW does
CALM = 0.125  # the same for a weight made 1% larger: beyond, training is chaotic, and directions cannot be compared
PREFIX = "derived here: Scale invariance, "


def _history(dataset: xr.Dataset, name: str) -> Finding:
    error = dataset.history_error.mean("seed")
    one, constant = (error.sel(history=history) for history in (name, "constant"))
    good = float((one <= FOLLOWS * constant).mean())
    measured = (
        f"error {with_range(one)}, the constant's {with_range(constant)}; {good:.0%} of the cases at most {FOLLOWS} of it"
    )
    return measured, passes_for(good)


def _constant(dataset: xr.Dataset) -> Finding:
    error = dataset.history_error.sel(history="constant", change="none").mean("seed")
    return f"error {with_range(error)}", passes(float(error.max()) <= STILL)


def angles(dataset: xr.Dataset) -> xr.DataArray:
    """The angle of every rule to AdamW's direction at the horizon over the angle that AdamW turned, mean over seeds."""
    final = dataset.angle_at_horizon
    return (final / final.sel(rule="AdamW")).drop_sel(rule="AdamW").mean("seed")


def _close(dataset: xr.Dataset, rule: str) -> Finding:
    ratio = angles(dataset)
    calm = ratio.sel(rule="1% larger") <= CALM
    if not calm.any():
        return "training is too chaotic to compare directions", "not run at this profile"
    judged = ratio.sel(rule=rule).where(calm)
    good = float((judged <= CLOSE).sum() / calm.sum())
    measured = f"angle over AdamW's own turn {with_range(judged)}; {good:.0%} of {int(calm.sum())} calm cases at most {CLOSE}"
    return measured, passes_for(good)


def best_losses(dataset: xr.Dataset) -> xr.DataArray:
    """By network and seed: the loss at the learning rate where the mean over seeds is lowest."""
    best = dataset.network_loss.mean("seed", skipna=False).fillna(np.inf).argmin("rate")
    return dataset.network_loss.isel(rate=best)


def _without_normalisation(dataset: xr.Dataset) -> Finding:
    best = best_losses(dataset)
    normalised, plain, second = (best.sel(network=name) for name in NETWORKS)
    closed = (plain - second) / (plain - normalised)
    losses = ", ".join(f"{float(loss.mean()):.3f}" for loss in (normalised, plain, second))
    measured = f"best loss {losses} (normalised, plain, plain with 2-Adam); share of the gap closed {with_range(closed)}"
    gap = float(plain.mean() - normalised.mean())
    return measured, passes(abs(float(second.mean() - normalised.mean())) <= gap / 2)


FOUR_TWO = "[G&T] Section 4.2 as we read it"

EVERYWHERE = "mean over seeds, every change and weight; three quarters: partly"
ANGLE = (
    f"angle between both, half a memory of the norm after the change, at most {CLOSE} of what AdamW turned, {EVERYWHERE}; "
    f"judged where a weight 1% larger stays within {CALM}"
)
HISTORY = f"root mean square error of log |W|^2 after the change at most {FOLLOWS} of a constant |u|^2's, {EVERYWHERE}"

TESTS = [
    Test(
        "GT-5i",
        FOUR_TWO,
        "|W|^2 follows the history of |u|^2 (by the law with the cross term), also when gradients change on purpose",
        HISTORY,
        functools.partial(_history, name="|u|^2"),
    ),
    Test(
        "D-5j",
        PREFIX + "what of the second normalisation",
        "|W|^2 follows the history of |g/sqrt(v)|^2 as well",
        HISTORY,
        functools.partial(_history, name="|g/sqrt(v)|^2"),
    ),
    Test(
        "D-5k",
        PREFIX + "what of the second normalisation",
        "Where nothing changes on purpose, |u|^2 is constant enough to predict |W|^2",
        f"root mean square error of log |W|^2 with a constant |u|^2 at most {STILL} without a change, every weight",
        _constant,
    ),
    Test(
        "GT-5l",
        FOUR_TWO,
        "A scale-invariant weight's direction moves as under 2-Adam with gamma_2 = 0, at the rate of the paper's law",
        ANGLE,
        functools.partial(_close, rule="2-Adam, paper's rate"),
    ),
    Test(
        "D-5m",
        PREFIX + "what of the second normalisation",
        "The direction moves as under 2-Adam with gamma_2 = 0, at the rate of the law with the cross term",
        ANGLE,
        functools.partial(_close, rule="2-Adam"),
    ),
    Test(
        "D-5n",
        PREFIX + "norm law",
        "The direction moves as with the norm that the law with the cross term makes of |u|^2",
        ANGLE,
        functools.partial(_close, rule="law's norm"),
    ),
    Test(
        "GT-5o",
        "[G&T] Section 4.2, assumption A2",
        "The direction moves as under Adam with one second moment for the whole weight",
        ANGLE,
        functools.partial(_close, rule="one v"),
    ),
    Test(
        "GT-5p",
        FOUR_TWO + ", what would follow",
        "A second Adam (strategy meta) gives a network without normalisation what normalisation gives",
        "at tuned learning rates, 2-Adam closes at least half of the gap between plain and normalised, mean over seeds",
        _without_normalisation,
    ),
]
