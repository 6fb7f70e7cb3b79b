"""What the pages of a contest on CIFAR-10 have to themselves."""

import xarray as xr

from kadam.chapters.contest import figures
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
def ranking_said(record: xr.Dataset) -> str:
    """The ranking, and what 2-Adam does in the network without normalisation beside what normalisation does."""
    mean = ended(record).sel(comparison=TUNED).mean("seed")
    normalised, plain = networks(record)
    adam, with_norm = (float(mean.sel(optimizer=ADAM, network=network)) for network in (plain, normalised))
    second = float(mean.sel(optimizer=two_stages(record)["meta"], network=plain))
    return (
        f"{figures.ranking_said(record)}\n\nIn `{plain}` 2-Adam with `meta` reaches {second:.1f}% and Adam {adam:.1f}%; "
        f"in `{normalised}` Adam reaches {with_norm:.1f}%."
    )
