"""What is claimed of decoupled decay against a penalty on text, and how a record decides it."""

import functools

import numpy as np
import xarray as xr

from kadam.chapters.contest import judges
from kadam.chapters.contest.comparisons import TUNED, chosen
from kadam.chapters.contest.measures import lead
from kadam.chapters.contest.penalty.config import DECAYED, PENALISED
from kadam.report.ledger import OTHER_SEEDS, Claims, Criterion, Finding, judged


def leads(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """How far AdamW is ahead of Adam with L2, in nats, on test text and in training at the end. Dimensions: network, seed."""
    training = dataset.train_loss.isel(evaluation=-1).fillna(np.inf).clip(max=dataset.guess).sel(comparison=TUNED, drop=True)
    less = training.sel(optimizer=PENALISED, drop=True) - training.sel(optimizer=DECAYED, drop=True)
    return {"test": lead(dataset, TUNED, DECAYED, PENALISED), "training": less}


def _better(dataset: xr.Dataset, *, on: str, level: float) -> Finding:
    found = leads(dataset)[on].drop_vars("optimizer", errors="ignore")
    return judges.in_pairs(found.expand_dims(pair=[f"{DECAYED} over {PENALISED}"]), ".3f", "nats", level=level)


def _inside(dataset: xr.Dataset) -> Finding:
    """Whether the best trial has neither the smallest nor the largest rate, and not the largest strength."""
    best, tried = chosen(dataset), dataset.tried
    low, high = tried.min("trial"), tried.max("trial")
    within = (best < high) & ((best > low) | (best.knob == "weight_decay"))
    words = [
        f"{method}, {network}: rate {float(of.sel(knob='rate')):.2g}, strength {float(of.sel(knob='weight_decay')):.2g}"
        for method in dataset.optimizer.values
        for network in dataset.network.values
        for of in [best.sel(optimizer=method, network=network)]
    ]
    return "; ".join(words), judged(within.transpose("knob", "optimizer", "network"))


XL = "[X&L] abstract, as we read it"
TEST = f"each at its best rate and strength by validation: {judges.BY_PAIRS}"
BETTER = "On text, both tuned, AdamW {verb} better than Adam with L2 regularisation"

TESTS: Claims = {
    ("D-8x test", XL): (
        BETTER.format(verb="generalises"),
        Criterion(f"test loss, {TEST}", level=0.05, when=OTHER_SEEDS),
        functools.partial(_better, on="test"),
    ),
    ("D-8x training", XL): (
        BETTER.format(verb="trains"),
        Criterion(f"training loss at the end, {TEST}", level=0.05, when=OTHER_SEEDS),
        functools.partial(_better, on="training"),
    ),
    ("D-8x inside", "checked here"): (
        "The best learning rate and strength of both decays lie inside of what was tried",
        "rate neither the smallest nor the largest, strength not the largest but maybe zero; for both methods and settings",
        _inside,
    ),
}
