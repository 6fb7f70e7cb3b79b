"""What is claimed of the monitor's cost, and how a record decides it."""

import xarray as xr

from kadam.chapters.speed.looking.config import SETTINGS, WITHOUT_NUMBA
from kadam.report.ledger import NOT_JUDGED, OTHER_SEEDS, Cases, Claims, Criterion, Finding


def share(record: xr.Dataset) -> xr.DataArray:
    """A measurement's time over that of the steps from one to the next, median of the rounds' ratios, by setting."""
    return (record.seconds.sel(part="look") / record.seconds.sel(part="step")).median("round") / record.every


def _cheap(record: xr.Dataset) -> Finding:
    found = {name: value for name, value in share(record).to_series().items() if name in LIMITS}
    if not found:
        return "not these networks", NOT_JUDGED
    words = "; ".join(f"{name}: {value:.1%} (limit {LIMITS[name]:.0%})" for name, value in found.items())
    return words, Cases({str(name): bool(value <= LIMITS[name]) for name, value in found.items()})


LIMITS = {setting.name: setting.most for setting in SETTINGS + WITHOUT_NUMBA}
WORDS = "; ".join(f"{name}: {most:.0%}" for name, most in LIMITS.items())

TESTS: Claims = {
    ("D-11j", "measured here: Speed"): (
        "The monitor takes little of the training time of a transformer",
        Criterion(f"share of the time of the steps, median of paired rounds, at most: {WORDS}", when=OTHER_SEEDS),
        _cheap,
    )
}
