"""Claims as data: what is claimed and where, what was measured, the criterion fixed beforehand, and the verdict."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, Literal

import numpy as np
import xarray as xr

from kadam.report.table import Table, table

Verdict = Literal["reproduced", "partly", "not reproduced", "not run at this profile"]
Finding = tuple[str, Verdict]  # what was measured, in words with its numbers, and the verdict

JUDGED_SEEDS = 3  # fewer give no interval to speak of

NOT_RUN: Finding = ("-", "not run at this profile")


@dataclass(frozen=True, init=False)
class Criterion:
    """What decides a claim, fixed before the run: words, and the numbers in them by which its judge decides.

    ``Criterion("relative error at most {most:.0%}", most=0.1)`` reads "relative error at most 10%", and its judge is called
    with ``most=0.1``. ``ValueError`` for a number that the words do not name, or the reverse.
    """

    words: str
    limits: Mapping[str, Any]

    def __init__(self, words: str, **limits: Any) -> None:
        named = {name for _, name, _, _ in Formatter().parse(words) if name is not None}
        if named != set(limits):
            raise ValueError(f"words must name the limits {sorted(limits)}, each and no other; got {words!r}")
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "limits", limits)

    def __str__(self) -> str:
        return self.words.format(**self.limits)


# Claims before their run, by id and source (paper and place, or where it is derived): the statement in our words; the
# criterion, words alone where no number decides; and a judge, which makes a finding of a record and the criterion's limits.
Claims = Mapping[tuple[str, str], tuple[str, Criterion | str, Callable[..., Finding]]]


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


def judge_all(tests: Claims, dataset: xr.Dataset | None, *, profile: str, notebook: str) -> list[Claim]:
    """The claims that a record decides; without a record each is "not run at this profile"."""
    where = (profile, "-") if dataset is None else (str(dataset.attrs["profile"]), record_name(dataset))
    claims = []
    for (id, source), (statement, given, judge) in tests.items():
        criterion = Criterion(given) if isinstance(given, str) else given
        measured, verdict = NOT_RUN if dataset is None else judge(dataset, **criterion.limits)
        claims.append(Claim(id, source, statement, measured, str(criterion), verdict, *where, notebook))
    return claims


def record_name(dataset: xr.Dataset) -> str:
    """How a record is called: experiment/profile-hash8."""
    return "{experiment}/{profile}-{config_hash}".format(**dataset.attrs)


def on_enough_seeds(judge: Callable[..., Finding]) -> Callable[..., Finding]:
    """A judge that says nothing on too few seeds."""

    @functools.wraps(judge)
    def wary(dataset: xr.Dataset, /, *args: Any, **kwargs: Any) -> Finding:
        if (seeds := dataset.sizes["seed"]) < JUDGED_SEEDS:
            return f"too few seeds: {seeds}", "not run at this profile"
        return judge(dataset, *args, **kwargs)

    return wary


def passes(condition: bool) -> Verdict:
    """The verdict of a criterion that is met or not."""
    return "reproduced" if condition else "not reproduced"


# The share of the cases in which a criterion that :func:`passes_for` judges must be met for "partly", and its words.
MOST, MOST_WORDS = 0.75, "three quarters: partly"


def passes_for(share: float) -> Verdict:
    """The verdict of a criterion that is met in this share of the cases: in all, in ``MOST``, or in fewer."""
    return "reproduced" if share == 1 else "partly" if share >= MOST else "not reproduced"


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


def short_table(claims: Sequence[Claim], *, mark: Callable[[Verdict], str] = str) -> Table:
    """The ledger for a page: what is claimed, what was measured, the verdict; ``mark`` says how a verdict is written."""
    rows = [(c.id, c.statement, c.measured, mark(c.verdict), c.profile) for c in claims]
    return table(("id", "claim", "measured", "verdict", "profile"), rows)


def plain_table(claims: Sequence[Claim]) -> str:
    """The ledger for a terminal, one paragraph a claim."""
    return "\n\n".join(
        f"{c.id}  {c.verdict.upper()}  ({c.profile}, record {c.record}, notebook {c.notebook})\n"
        f"  claim      {c.statement}\n  source     {c.source}\n  criterion  {c.criterion}\n  measured   {c.measured}"
        for c in claims
    )
