"""What is claimed of meta, and how a record decides it."""

from functools import partial

import numpy as np
import xarray as xr

from kadam.chapters.scale_invariance.meta.config import NETWORKS
from kadam.report.ledger import CLOSED, NOT_JUDGED, Claims, Criterion, Finding, closed, limited, with_range


def _history(dataset: xr.Dataset, *, name: str, most: float) -> Finding:
    error = dataset.history_error.mean("seed")
    one, constant = (error.sel(history=history) for history in (name, "constant"))
    good = float((one <= most * constant).mean())
    measured = f"error {with_range(one)}, the constant's {with_range(constant)}; {good:.0%} of the cases at most {most} of it"
    return measured, limited(one / constant, most=most)


def _constant(dataset: xr.Dataset, *, most: float) -> Finding:
    error = dataset.history_error.sel(history="constant", change="none").mean("seed")
    return f"error {with_range(error)}", limited(error, most=most)


def over_own_turn(angle: xr.DataArray) -> xr.DataArray:
    """The angle of every rule to AdamW's direction over the angle that AdamW turned since the change, mean over seeds."""
    return (angle / angle.sel(rule="AdamW")).drop_sel(rule="AdamW").mean("seed")


def _close(dataset: xr.Dataset, *, rule: str, most: float, calm: float) -> Finding:
    """Beyond ``calm``, for a weight made 1% larger, training is chaotic, and directions cannot be compared."""
    ratio = over_own_turn(dataset.angle_at_horizon)
    is_calm = ratio.sel(rule="1% larger") <= calm
    if not is_calm.any():
        return "training is too chaotic to compare directions", NOT_JUDGED
    judged = ratio.sel(rule=rule).where(is_calm)
    good = float((judged <= most).sum() / is_calm.sum())
    measured = f"angle over AdamW's own turn {with_range(judged)}; {good:.0%} of {int(is_calm.sum())} calm cases at most {most}"
    return measured, limited(ratio.sel(rule=rule), most=most, where=is_calm)


def at_best_rates(dataset: xr.Dataset) -> xr.Dataset:
    """Every network at the learning rate where its mean loss over seeds is lowest."""
    return dataset.isel(rate=dataset.network_loss.mean("seed", skipna=False).fillna(np.inf).argmin("rate"))


def _without_normalisation(dataset: xr.Dataset, *, least: float) -> Finding:
    best = at_best_rates(dataset).network_loss
    normalised, plain, second = (best.sel(network=name) for name in NETWORKS)
    losses = ", ".join(f"{float(loss.mean()):.3f}" for loss in (normalised, plain, second))
    share, held = closed(plain - second, plain - normalised, least=least)
    return f"best loss {losses} (normalised, plain, plain with 2-Adam); {share}", held


FOUR_TWO = "[G&T] Section 4.2 as we read it"
A2 = "[G&T] Section 4.2, assumption A2"
SECOND = "derived here: Scale invariance, what of the second normalisation"
NORM_LAW = "derived here: Scale invariance, norm law"

EVERYWHERE = "mean over seeds, every change and weight"
HISTORY = Criterion(
    f"root mean square error of log |W|^2 after the change at most {{most}} of a constant |u|^2's, {EVERYWHERE}", most=0.25
)
ANGLE = Criterion(
    f"angle between both, half a memory of the norm after the change, at most {{most}} of what AdamW turned, {EVERYWHERE}; "
    "judged where a weight 1% larger stays within {calm}",
    most=0.25,
    calm=0.125,
)

SECOND_ADAM = "under 2-Adam with gamma_2 = 0, at the rate of the"
DIRECTIONS = [  # id, source, the rule that is judged, and what is claimed of it
    ("GT-5l", FOUR_TWO, "2-Adam, paper's rate", f"A scale-invariant weight's direction moves as {SECOND_ADAM} paper's law"),
    ("D-5m", SECOND, "2-Adam", f"The direction moves as {SECOND_ADAM} law with the cross term"),
    ("D-5n", NORM_LAW, "law's norm", "The direction moves as with the norm that the law with the cross term makes of |u|^2"),
    ("GT-5o", A2, "one v", "The direction moves as under Adam with one second moment for the whole weight"),
]

TESTS: Claims = {
    ("GT-5i", FOUR_TWO): (
        "|W|^2 follows the history of |u|^2 (by the law with the cross term), also when gradients change on purpose",
        HISTORY,
        partial(_history, name="|u|^2"),
    ),
    ("D-5j", SECOND): ("|W|^2 follows the history of |g/sqrt(v)|^2 as well", HISTORY, partial(_history, name="|g/sqrt(v)|^2")),
    ("D-5k", SECOND): (
        "Where nothing changes on purpose, |u|^2 is constant enough to predict |W|^2",
        Criterion(
            "root mean square error of log |W|^2 with a constant |u|^2 at most {most} without a change, every weight", most=0.1
        ),
        _constant,
    ),
    **{(id, source): (statement, ANGLE, partial(_close, rule=rule)) for id, source, rule, statement in DIRECTIONS},
    ("GT-5p", FOUR_TWO + ", what would follow"): (
        "A second Adam (strategy meta) gives a network without normalisation what normalisation gives",
        CLOSED,
        _without_normalisation,
    ),
}
