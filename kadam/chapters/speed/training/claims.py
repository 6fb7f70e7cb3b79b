"""What is claimed of training, and how a record decides it."""

import functools

import xarray as xr

from kadam.chapters.speed.measures import as_fast, each, step_over
from kadam.chapters.speed.training.config import REFERENCE_ACCURACY, REFERENCE_SECONDS
from kadam.report.ledger import NOT_JUDGED, NOT_RUN, Claims, Criterion, Finding, limited


def _cheap(dataset: xr.Dataset, *, most: float) -> Finding:
    if 2 not in dataset.k:
        return "k = 2 not measured", NOT_JUDGED
    found = float(step_over(dataset)[dataset.k == 2][0])
    return f"{found:.2f} of a step with Adam", limited(found, most=most)


def _speed_run(dataset: xr.Dataset, *, accuracy: float, most: float) -> Finding:
    stand_in = dataset.attrs["data_origin"] == "embedded"  # the digits are easily learnt
    if stand_in or dataset.attrs["target"] < accuracy or "CPU" in dataset.attrs["device"]:
        return NOT_RUN
    seconds = dataset.race_s.where(dataset.race_steps.notnull()).mean("race", skipna=False)
    return f"{each(seconds)} s", limited(seconds, most=most)


AS_FAST = "images a second at least {least:g} of the plain loop's, median of paired rounds, in float32 and bfloat16"
RACE = "mean training time over seeds, with k-Adam and with Adam, to {accuracy:.0%} at most {most} s"


TESTS: Claims = {
    ("D-6s", "measured here"): (
        "Our training loop is as fast as a plain one written by hand",
        Criterion(AS_FAST, least=0.9),
        functools.partial(as_fast, what="images"),
    ),
    ("D-6t", "measured here"): (
        "In the training of a convolutional network a second stage costs little time",
        Criterion("a step with k = 2 takes at most {most:g} of one with Adam, median of paired rounds", most=1.1),
        _cheap,
    ),
    ("D-6u", "the public speed run airbench94_muon"): (
        f"{REFERENCE_ACCURACY:.0%} of CIFAR-10's test images are learnt in at most {REFERENCE_SECONDS} s on one GPU",
        Criterion(RACE, accuracy=REFERENCE_ACCURACY, most=REFERENCE_SECONDS),
        _speed_run,
    ),
}
