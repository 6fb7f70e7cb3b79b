"""What the pages of a contest on CIFAR-10 have to themselves."""

import xarray as xr

from kadam.chapters.contest.comparisons import ADAM, EQUAL, TUNED
from kadam.chapters.contest.looks import parameters
from kadam.chapters.contest.measures import ended, networks, two_stages
from kadam.chapters.contest.words import beyond, in_short
from kadam.report.sentences import said


def setting(record: xr.Dataset) -> str:
    """What was trained on what."""
    sizes = f"{{pixels}} x {{pixels}} pixels, {{steps}} steps, {record.sizes['seed']} seeds"
    images = "{train_images:,} images to train, {validation_images:,} to validate, {test_images:,} to test"
    return f"profile {{profile}}; {{data}}, {sizes}\n{images}; {parameters(record)}".format(**record.attrs)


@said
def answer(record: xr.Dataset) -> str:
    """What came out, in one paragraph."""
    return f"**The answer.** {in_short(record)} At the same rate {beyond(record, EQUAL)}"


@said
def normalisation_said(record: xr.Dataset) -> str:
    """What 2-Adam does in the network without normalisation, beside what normalisation does."""
    if len(networks(record)) < 2:
        return "This record has no network without normalisation."
    (normalised, plain), mean = networks(record), ended(record).sel(comparison=TUNED).mean("seed")
    cases = (two_stages(record)["meta"], plain), (ADAM, plain), (ADAM, normalised)
    two, one, other = (f"{float(mean.sel(optimizer=name, network=network)):.1f}%" for name, network in cases)
    return f"In `{plain}` 2-Adam with `meta` reaches {two} and Adam {one}; in `{normalised}` Adam reaches {other}."
