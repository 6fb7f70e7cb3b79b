"""What is claimed of training, and how a record decides it."""

import numpy as np
import xarray as xr

from kadam.chapters.speed.loops import SLOWER, cost, ratio
from kadam.chapters.speed.training.config import PRECISIONS, RACERS, REFERENCE_ACCURACY, REFERENCE_SECONDS
from kadam.report.ledger import Finding, Test, passes, passes_each


def _as_fast(dataset: xr.Dataset) -> Finding:
    found = ratio(dataset)
    measured = ", ".join(f"{name} {float(found.sel(precision=name)):.2f}" for name in PRECISIONS)
    return f"our images a second over the plain loop's: {measured}", passes_each((found >= 1 - SLOWER).values.tolist())


def _cheap(dataset: xr.Dataset) -> Finding:
    if 2 not in dataset.k:
        return "k = 2 not measured", "not run at this profile"
    found = float(cost(dataset).isel(optimizer=int(np.flatnonzero(dataset.k == 2)[0])))
    return f"{found:.2f} of a step with Adam", passes(found <= 1 + SLOWER)


def _speed_run(dataset: xr.Dataset) -> Finding:
    stand_in = dataset.attrs["data_origin"] == "embedded"  # the digits are easily learnt
    if stand_in or dataset.attrs["target"] < REFERENCE_ACCURACY or "CPU" in dataset.attrs["device"]:
        return "-", "not run at this profile"
    seconds = dataset.race_s.where(dataset.race_steps.notnull()).mean("race", skipna=False)
    measured = ", ".join(f"{name} {float(seconds.sel(racer=name)):.2f} s" for name in RACERS)
    return measured, passes_each((seconds <= REFERENCE_SECONDS).values.tolist())


TESTS = [
    Test(
        "D-6s",
        "measured here",
        "Our training loop is as fast as a plain one written by hand",
        f"images a second at least {1 - SLOWER:g} of the plain loop's, median of paired rounds, in float32 and bfloat16",
        _as_fast,
    ),
    Test(
        "D-6t",
        "measured here",
        "In the training of a convolutional network a second stage costs little time",
        f"a step with k = 2 takes at most {1 + SLOWER:g} of one with Adam, median of paired rounds",
        _cheap,
    ),
    Test(
        "D-6u",
        "the public speed run airbench94_muon",
        f"{REFERENCE_ACCURACY:.0%} of CIFAR-10's test images are learnt in at most {REFERENCE_SECONDS} s on one GPU",
        "mean training time over seeds, with k-Adam and with Adam",
        _speed_run,
    ),
]
