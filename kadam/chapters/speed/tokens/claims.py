"""What is claimed of tokens, and how a record decides it."""

import functools

import xarray as xr

from kadam.chapters.speed.measures import as_fast, each, step_over
from kadam.chapters.speed.tokens.config import FUSED
from kadam.report.ledger import NOT_RUN, Claims, Criterion, Finding, limited


def _cheap(dataset: xr.Dataset, *, most: float) -> Finding:
    """The costlier of the strategies counts."""
    adam, fused = (step_over(dataset, against).sel(optimizer=dataset.k == 2).max("optimizer") for against in ("Adam", FUSED))
    words = f"of a step with Adam: {each(adam)}; with torch's fused Adam: {each(fused)}"
    return words, limited(adam, most=most)


def arithmetic(record: xr.Dataset) -> xr.DataArray:
    """The share of the machine's arithmetic that our loop reaches, by setting."""
    return record.share.sel(loop="ours").median("round")


def _arithmetic(dataset: xr.Dataset, *, least: float) -> Finding:
    if "CPU" in dataset.attrs["device"]:
        return NOT_RUN
    found = arithmetic(dataset)
    return each(found, ".0%"), limited(found, least=least)


EACH = "in each setting"
REACHED = 0.4  # of the arithmetic, on a GPU

TESTS: Claims = {
    ("D-7s", "measured here"): (
        "Our training loop on text is as fast as a plain one written by hand",
        Criterion(f"tokens a second at least {{least:g}} of the plain loop's, median of paired rounds, {EACH}", least=0.9),
        functools.partial(as_fast, what="tokens"),
    ),
    ("D-7t", "measured here"): (
        "In the training of a transformer a second stage costs little time",
        Criterion(f"a step with k = 2 takes at most {{most:g}} of one with Adam, median of paired rounds, {EACH}", most=1.1),
        _cheap,
    ),
    ("D-7u", "measured here; operations counted as in PaLM's appendix B"): (
        f"On a GPU at least {REACHED:.0%} of the arithmetic is reached",
        Criterion(
            "operations a token times tokens a second, at least {least:.0%} of those of one large product of square matrices "
            f"in the same precision, median of paired rounds, {EACH}",
            least=REACHED,
        ),
        _arithmetic,
    ),
}
