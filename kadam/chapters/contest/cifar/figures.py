"""What the pages of a contest on CIFAR-10 have to themselves."""

import xarray as xr

from kadam.chapters.contest.comparisons import ADAM, EQUAL, TUNED
from kadam.chapters.contest.looks import parameters
from kadam.chapters.contest.measures import ended, networks, two_stages
from kadam.chapters.contest.words import declines, in_short
from kadam.report.sentences import said


def setting(record: xr.Dataset) -> str:
    """What was trained on what."""
    sizes = f"{{pixels}} x {{pixels}} pixels, {{steps}} steps, {record.sizes['seed']} seeds"
    images = "{train_images:,} images to train, {validation_images:,} to validate, {test_images:,} to test"
    return f"profile {{profile}}; {{data}}, {sizes}\n{images}; {parameters(record)}".format(**record.attrs)


@said
def answer(record: xr.Dataset) -> str:
    """What came out, in one paragraph."""
    return f"**The answer.** {in_short(record)} {declines(record, EQUAL)}"


@said
def normalisation_said(record: xr.Dataset) -> str:
    """What 2-Adam does in the network without normalisation, beside what normalisation does."""
    mean = ended(record).sel(comparison=TUNED).mean("seed")
    if mean.sizes["network"] < 2:
        return "This record has no network without normalisation."
    normalised, plain = (mean.sel(network=network) for network in networks(record))
    second = plain.sel(optimizer=two_stages(record)["meta"])
    scores = [f"{float(score):.1f}%" for score in (second, plain.sel(optimizer=ADAM), normalised.sel(optimizer=ADAM))]
    return (
        f"With `meta` 2-Adam reaches {scores[0]} in `{plain.network.item()}`, where Adam reaches {scores[1]}; in "
        f"`{normalised.network.item()}` Adam reaches {scores[2]}."
    )
