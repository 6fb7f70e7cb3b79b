"""What is claimed of tokens, and how a record decides it."""

import xarray as xr

from kadam.chapters.speed.loops import SLOWER, cost, ratio
from kadam.chapters.speed.tokens.config import FUSED
from kadam.report.ledger import Finding, Test, passes_each

REACHED = 0.4  # of the arithmetic, on a GPU


def _each(found: xr.DataArray, digits: str = ".2f") -> str:
    return ", ".join(f"{name} {float(found.sel(setting=name)):{digits}}" for name in found.setting.values)


def _as_fast(dataset: xr.Dataset) -> Finding:
    found = ratio(dataset)
    return f"our tokens a second over the plain loop's: {_each(found)}", passes_each((found >= 1 - SLOWER).values.tolist())


def _cheap(dataset: xr.Dataset) -> Finding:
    """The costlier of the strategies counts."""
    adam, fused = (cost(dataset, against).sel(optimizer=dataset.k == 2).max("optimizer") for against in ("Adam", FUSED))
    words = f"of a step with Adam: {_each(adam)}; with torch's fused Adam: {_each(fused)}"
    return words, passes_each((adam <= 1 + SLOWER).values.tolist())


def _arithmetic(dataset: xr.Dataset) -> Finding:
    if "CPU" in dataset.attrs["device"]:
        return "-", "not run at this profile"
    found = dataset.share.sel(loop="ours").median("round")
    return _each(found, ".0%"), passes_each((found >= REACHED).values.tolist())


EACH = "in every setting; in some: partly"
TESTS = [
    Test(
        "D-7s",
        "measured here",
        "Our training loop on text is as fast as a plain one written by hand",
        f"tokens a second at least {1 - SLOWER:g} of the plain loop's, median of paired rounds, {EACH}",
        _as_fast,
    ),
    Test(
        "D-7t",
        "measured here",
        "In the training of a transformer a second stage costs little time",
        f"a step with k = 2 takes at most {1 + SLOWER:g} of one with Adam, median of paired rounds, {EACH}",
        _cheap,
    ),
    Test(
        "D-7u",
        "measured here; operations counted as in PaLM's appendix B",
        f"On a GPU at least {REACHED:.0%} of the arithmetic is reached",
        "operations a token times tokens a second, over those of one large product of square matrices in the same precision, "
        f"median of paired rounds, {EACH}",
        _arithmetic,
    ),
]
