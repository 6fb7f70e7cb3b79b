"""What is claimed of the step on a GPU, and how a record decides it."""

import xarray as xr

from kadam.report.ledger import NOT_JUDGED, Cases, Claims, Criterion, Finding


def _all_pass(dataset: xr.Dataset, *, least: int) -> Finding:
    """A case is a test function; and one more, that there were not too few tests to speak of."""
    passed, failed, skipped = (int(dataset[name].sum()) for name in ("passed", "failed", "skipped"))
    words = f"{passed} tests passed, {failed} failed, {skipped} were skipped"
    if "CPU" in dataset.attrs["device"]:
        return f"{words}, none of them on a GPU", NOT_JUDGED
    held = (dataset.passed > 0) & (dataset.failed == 0) & (dataset.skipped == 0)
    named = dict(zip(dataset.function.values.tolist(), held.values.tolist(), strict=True))
    return words, Cases({**named, f"at least {least} tests": passed >= least})


TESTS: Claims = {
    ("D-13a", "measured here"): (
        "The step on a GPU passes all its tests there",
        Criterion("no test that needs a GPU fails or is skipped, and at least {least} pass", least=100),
        _all_pass,
    )
}
