"""Claims as data: what is claimed and where, the criterion, what was measured, and which of the cases named beforehand hold."""

import functools
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from kadam.report.once import judging
from kadam.report.statistics import LEVEL, mean_interval, without_each

Verdict = Literal["reproduced", "partly", "not reproduced", "not run at this profile"]

JUDGED_SEEDS = 3  # fewer give no interval to speak of

# When a criterion was set.
BEFORE, OTHER_SEEDS, LOOK = "before any run", "after runs on other seeds", "after a look at these runs"


@dataclass(frozen=True, init=False)
class Criterion:
    """What decides a claim: words, the numbers in them by which its judge decides, and when it was set.

    ``Criterion("relative error at most {most:.0%}", most=0.1)`` reads "relative error at most 10%", and its judge is called
    with ``most=0.1``. ``ValueError`` for a number that the words do not name, or the reverse.
    """

    words: str
    when: str
    limits: Mapping[str, Any]

    def __init__(self, words: str, *, when: str = BEFORE, **limits: Any) -> None:
        named = {name for _, name, _, _ in Formatter().parse(words) if name is not None}
        if named != set(limits):
            raise ValueError(f"words must name the limits {sorted(limits)}, each and no other; got {words!r}")
        for name, value in {"words": words, "when": when, "limits": limits}.items():
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        return self.words.format(**self.limits)


@dataclass(frozen=True)
class Cases:
    """The cases of a claim, which were named before its run, and whether each holds. None where nothing was judged.

    ``margin``: how far the case nearest to its limit is from it, as a share of the limit, where a number decides.
    """

    held: Mapping[str, bool]
    margin: float | None = None

    @property
    def verdict(self) -> Verdict:
        return together(["reproduced" if held else "not reproduced" for held in self.held.values()])


Finding = tuple[str, Cases]  # what was measured, in words with its numbers, and the cases

NOT_JUDGED = Cases({})
NOT_RUN: Finding = ("-", NOT_JUDGED)


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict of several: "partly" where some hold and some do not. What was not run does not count, unless all was not."""
    counted = {verdict for verdict in verdicts if verdict != "not run at this profile"}
    return "partly" if len(counted) > 1 else counted.pop() if counted else "not run at this profile"


def judged(held: Any, *, names: Sequence[Hashable] = (), where: Any = True, margin: float | None = None) -> Cases:
    """Cases that hold or not: one, several in a list, or an array, where ``where`` is true.

    Their names are given, or are those of the array's coordinates.
    """
    array = held if isinstance(held, xr.DataArray) else _numbered(np.asarray(held, dtype=bool))
    kept = np.ones(array.size, dtype=bool)
    if where is not True:
        array, counted = xr.broadcast(array, xr.DataArray(where))
        kept = counted.values.ravel().astype(bool)
    words = np.array([*names] or _names(array), dtype=object)
    both = zip(words[kept], array.values.ravel()[kept], strict=True)
    return Cases({str(name): bool(value) for name, value in both}, margin)


def _numbered(held: np.ndarray) -> xr.DataArray:
    return xr.DataArray(held, [("case", np.arange(1, held.size + 1))] if held.ndim else None)


def _names(array: xr.DataArray) -> list[str]:
    """What the cases of an array are called: by the words on its axes, and a number with the name of its axis."""
    axes = [[_name(dim, value) for value in array[dim].values] for dim in array.dims]
    named = (", ".join(axis[i] for axis, i in zip(axes, place, strict=True)) for place in np.ndindex(array.shape))
    return [name or "all" for name in named]


def _name(dim: Hashable, value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{str(dim).replace('_', ' ')} {value:g}"


def limited(
    values: xr.DataArray | float,
    *,
    most: float = np.inf,
    least: float = -np.inf,
    above: float = -np.inf,
    of: Any = None,
    where: Any = True,
) -> Cases:
    """Cases that hold where a value is at most ``most``, at least ``least`` and larger than ``above``; NaN is none of these.

    ``of``: what a distance from the limit is measured in, by default the limit itself.
    """
    array, low = values if isinstance(values, xr.DataArray) else xr.DataArray(values), max(least, above)
    numbers = array.values
    scale = abs(most if np.isfinite(most) else low) if of is None else _along(array, of)
    with np.errstate(all="ignore"):
        share = np.minimum(abs(numbers - most), abs(numbers - low)) / scale
    counted = share[np.isfinite(share) & _along(array, where)]
    held = array.copy(data=(numbers >= least) & (numbers > above) & (numbers <= most))
    return judged(held, where=where, margin=float(counted.min()) if counted.size else None)


def _along(array: xr.DataArray, of: Any) -> Any:
    """Numbers for the cases of an array, in its order; those that have no axes of their own as they are."""
    return of.broadcast_like(array).transpose(*array.dims).values if isinstance(of, xr.DataArray) else np.asarray(of)


# Claims before their run, by id and source (paper and place, or where it is derived): the statement in our words; the
# criterion, words alone where no number decides; and a judge, which makes a finding of a record and the criterion's limits.
Claims = Mapping[tuple[str, str], tuple[str, Criterion | str, Callable[..., Finding]]]


@dataclass(frozen=True)
class Claim:
    """A claim with what a record says of it."""

    id: str
    source: str
    statement: str
    measured: str
    criterion: str
    when: str  # the criterion was set
    verdict: Verdict
    cases: Mapping[str, bool]
    margin: float | None
    seeds: int  # 0 where nothing is drawn, or the seed is not repeated
    left_out: tuple[Verdict, ...]  # the verdicts without each of the seeds
    data: str
    profile: str
    record: str  # the record behind the verdict: experiment/profile-hash
    notebook: str
    judge: str  # the function that decides it

    @property
    def held(self) -> int:
        """How many of its cases hold."""
        return sum(self.cases.values())

    @property
    def fragile(self) -> bool:
        """Whether leaving out one seed changes the verdict."""
        return any(verdict != self.verdict for verdict in self.left_out)


def judge_all(tests: Claims, dataset: xr.Dataset | None, *, profile: str, notebook: str, leave_out: bool = True) -> list[Claim]:
    """The claims that a record decides, and without each of its seeds again unless ``leave_out`` is false.

    Without a record each is "not run at this profile".
    """
    attrs = {"profile": profile} if dataset is None else dataset.attrs
    where = attrs.get("data", "-"), attrs["profile"], "-" if dataset is None else record_name(dataset), notebook
    seeds = 0 if dataset is None else dataset.sizes.get("seed", 0)
    parts = without_each(lambda part: part.assign_attrs(left_out=1), dataset) if dataset and leave_out and seeds > 1 else []
    found = []
    with judging():
        for (id, source), (statement, given, judge) in tests.items():
            criterion = Criterion(given) if isinstance(given, str) else given
            decide = functools.partial(judge, **criterion.limits)
            measured, of = NOT_RUN if dataset is None else decide(dataset)
            left_out = tuple(decide(part)[1].verdict for part in parts) if of.held else ()
            decided = of.verdict, of.held, of.margin, seeds, left_out
            words = id, source, statement, measured, str(criterion), criterion.when
            found.append(Claim(*words, *decided, *where, _called(judge)))
    return found


def _called(judge: Callable[..., Finding]) -> str:
    """The name of a judge, whatever is bound to it."""
    function: Any = judge.func if isinstance(judge, functools.partial) else judge
    return f"{function.__module__}.{function.__qualname__}"


def record_name(dataset: xr.Dataset) -> str:
    """How a record is called: experiment/profile-hash8."""
    return "{experiment}/{profile}-{config_hash}".format(**dataset.attrs)


def on_enough_seeds(judge: Callable[..., Finding]) -> Callable[..., Finding]:
    """A judge that says nothing on too few seeds; one that was left out on purpose counts."""

    @functools.wraps(judge)
    def wary(dataset: xr.Dataset, /, *args: Any, **kwargs: Any) -> Finding:
        if (seeds := dataset.sizes["seed"]) + dataset.attrs.get("left_out", 0) < JUDGED_SEEDS:
            return f"too few seeds: {seeds}", NOT_JUDGED
        return judge(dataset, *args, **kwargs)

    return wary


def with_range(values: xr.DataArray, digits: str = ".2f") -> str:
    """Mean and range of some values, as claims and tables write them."""
    mean, low, high = (written(float(of), digits) for of in (values.mean(), values.min(), values.max()))
    return f"{mean} ({low} to {high})"


def written(value: float, form: str) -> str:
    """A number in a format: a zero without a sign, and what is below a million written out, 3,200 and not 3.2e+03."""
    text = format(value, re.sub(r"^[-+ ]?", r"\g<0>z", form))
    return f"{float(text):,g}" if re.search(r"e\+0[2-5]$", text) else text


def span(values: ArrayLike, form: str = ".2g") -> str:
    """The smallest and the largest of some values, one number where they read the same; of the finite ones."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return "not measured"
    low, high = written(float(known.min()), form), written(float(known.max()), form)
    return low if low == high else f"{low} to {high}"


def below(value: float) -> str:
    """The next power of ten, for a number of the size of rounding, whose digits differ between machines."""
    return f"below {10.0 ** (np.floor(np.log10(value)) + 1):.0e}" if value > 0 else "0"


# One rule wherever growth of |W|^2 is compared: how near it comes to the paper's law where it holds, or to ours.
NEAR_PAPER, NEAR_LAW = 0.1, 0.15

# One rule wherever a second stage is to stand in for a normalisation.
CLOSED = Criterion(
    f"at tuned learning rates: {LEVEL:.0%} interval over seeds of the gain less {{least:g}} of the gap, above 0",
    least=0.5,
    when=LOOK,
)


def closed(gain: xr.DataArray, gap: xr.DataArray, *, least: float) -> tuple[str, Cases]:
    """The mean gain over the mean gap, in words, and whether it is more than ``least``, as Fieller decides it.

    A ratio for each seed would have no mean where a gap comes near zero. Both: paired runs, (seed,).
    """
    if float(gap.mean()) <= 0:
        return "no gap to close", Cases({})
    of = mean_interval((gain - least * gap).values)
    held = limited(float(of.low), above=0, of=float(of.high - of.mean))
    return f"share of the gap closed {float(gain.mean() / gap.mean()):.2f}", held
