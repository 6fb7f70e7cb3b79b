"""Claims as data: what is claimed and where, what was measured, the criterion fixed beforehand, and the verdict."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Concatenate, Literal, ParamSpec

import numpy as np
import xarray as xr

Verdict = Literal["reproduced", "partly", "not reproduced", "not run at this profile"]
Finding = tuple[str, Verdict]  # what was measured, in words with its numbers, and the verdict

JUDGED_SEEDS = 3  # fewer give no interval to speak of

NOT_RUN: Finding = ("-", "not run at this profile")


@dataclass(frozen=True)
class Test:
    """A claim before its run. ``judge`` turns a record into what was measured and the verdict."""

    __test__ = False  # not a pytest class

    id: str
    source: str  # paper and place, or where it is derived
    statement: str  # in our words
    criterion: str  # fixed before the run
    judge: Callable[[xr.Dataset], Finding]


@dataclass(frozen=True)
class Claim:
    """A claim with its verdict; the fields are the columns of the ledger."""

    id: str
    source: str
    statement: str
    measured: str
    criterion: str
    verdict: Verdict
    profile: str
    record: str  # the record behind the verdict: experiment/profile-hash
    notebook: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge_all(tests: Sequence[Test], dataset: xr.Dataset | None, *, profile: str, notebook: str) -> list[Claim]:
    """The claims that a record decides; without a record each is "not run at this profile"."""
    if dataset is not None:
        profile = str(dataset.attrs["profile"])
    claims = []
    for test in tests:
        measured, verdict = NOT_RUN if dataset is None else test.judge(dataset)
        record = "-" if dataset is None else record_name(dataset)
        claims.append(Claim(test.id, test.source, test.statement, measured, test.criterion, verdict, profile, record, notebook))
    return claims


def record_name(dataset: xr.Dataset) -> str:
    """How a record is called: experiment/profile-hash8."""
    return "{experiment}/{profile}-{config_hash}".format(**dataset.attrs)


P = ParamSpec("P")


def on_enough_seeds(judge: Callable[Concatenate[xr.Dataset, P], Finding]) -> Callable[Concatenate[xr.Dataset, P], Finding]:
    """A judge that says nothing on too few seeds."""

    @functools.wraps(judge)
    def wary(dataset: xr.Dataset, /, *args: P.args, **kwargs: P.kwargs) -> Finding:
        seeds = dataset.sizes["seed"]
        if seeds < JUDGED_SEEDS:
            return f"too few seeds: {seeds}", "not run at this profile"
        return judge(dataset, *args, **kwargs)

    return wary


def passes(condition: bool) -> Verdict:
    """The verdict of a criterion that is met or not."""
    return "reproduced" if condition else "not reproduced"


def passes_for(share: float) -> Verdict:
    """The verdict of a criterion that is met in this share of the cases: in all, in three quarters, or in fewer."""
    return "reproduced" if share == 1 else "partly" if share >= 0.75 else "not reproduced"


def passes_each(held: Sequence[bool]) -> Verdict:
    """The verdict of a criterion that each of several cases met or not: partly where some did."""
    if not held:
        return "not run at this profile"
    return "partly" if any(held) and not all(held) else passes(all(held))


def with_range(values: xr.DataArray, digits: str = ".2f") -> str:
    """Mean and range of some values, as claims and tables write them."""
    return f"{float(values.mean()):{digits}} ({float(values.min()):{digits}} to {float(values.max()):{digits}})"


def below(value: float) -> str:
    """The next power of ten, for a number of the size of rounding, whose digits differ between machines."""
    return f"below {10.0 ** (np.floor(np.log10(value)) + 1):.0e}" if value > 0 else "0"


def markdown_table(claims: Sequence[Claim], *, mark: Callable[[Verdict], str] = str) -> str:
    """The ledger for a page: what is claimed, what was measured, the verdict; ``mark`` says how a verdict is written."""
    rows = [(c.id, c.statement, c.measured, mark(c.verdict), c.profile) for c in claims]
    lines = [("id", "claim", "measured", "verdict", "profile"), ("---",) * 5, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def plain_table(claims: Sequence[Claim]) -> str:
    """The ledger for a terminal, one paragraph a claim."""
    return "\n\n".join(
        f"{c.id}  {c.verdict.upper()}  ({c.profile}, record {c.record}, notebook {c.notebook})\n"
        f"  claim      {c.statement}\n  source     {c.source}\n  criterion  {c.criterion}\n  measured   {c.measured}"
        for c in claims
    )
