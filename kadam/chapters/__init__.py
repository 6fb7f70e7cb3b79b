"""The catalogue: which experiments there are, their chapter and notebook; and their records and verdicts.

An experiment is a folder of four files: ``config`` (what is run, at which profile), ``run`` (the only one that trains),
``claims`` (what is claimed and how a record decides it) and ``figures``. To add one, add its folder and a line here.
"""

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import xarray as xr

from kadam.chapters import rows
from kadam.lab.data.configured import configured
from kadam.lab.data.sources import Described, StandInWarning
from kadam.lab.records import committed, files, profiles, store
from kadam.lab.records.cache import cache_folder
from kadam.lab.records.closure import PACKAGE, code_of, files_of
from kadam.lab.records.files import RecordError
from kadam.lab.records.record import Reader, read, read_attributes
from kadam.lab.records.store import command
from kadam.report.ledger import Claim, judge_all
from kadam.report.rows import Answered
from kadam.report.table import Table, table


@dataclass(frozen=True)
class Experiment:
    """Where an experiment lives, and where it is shown."""

    place: str  # its folder below this one
    notebook: str  # empty where no page shows it
    measures_machine: bool = False  # instead of mathematics: it runs only when asked, and is shown at every profile

    @property
    def name(self) -> str:
        return self.place.rpartition(".")[2]

    def module_name(self, part: str) -> str:
        return f"{__name__}.{self.place}.{part}"

    def part(self, part: str) -> ModuleType:
        """One of its four modules."""
        return import_module(self.module_name(part))

    @property
    def profiles(self) -> tuple[str, ...]:
        return tuple(self.part("config").PROFILES)


CATALOGUE = {
    experiment.name: experiment
    for experiment in (
        Experiment("stability", "01-stability-region"),
        Experiment("stability.quadratics", "01-stability-region"),
        Experiment("growth", "02-growth"),
        Experiment("growth.silence", "02-growth"),
        Experiment("continuous_time.trajectories", "03-continuous-time"),
        Experiment("continuous_time.orders", "03-continuous-time"),
        Experiment("continuous_time.race", "03-continuous-time"),
        Experiment("generalization", "04-generalization"),
        Experiment("scale_invariance.invariance", "05-scale-invariance"),
        Experiment("scale_invariance.meta", "05-scale-invariance"),
        Experiment("scale_invariance.steady", "05-scale-invariance"),
        Experiment("scale_invariance.angles", "05-scale-invariance"),
        Experiment("contest.cifar", "06-cifar"),
        Experiment("contest.confirm", "06-cifar"),
        Experiment("contest.factorial_images", "06-cifar"),
        Experiment("contest.language", "07-language"),
        Experiment("contest.optimum", "07-language"),
        Experiment("contest.memory", "07-language"),
        Experiment("contest.factorial", "07-language"),
        Experiment("contest.lookahead", "07-language"),
        Experiment("contest.budget", "07-language"),
        Experiment("box.box", "08-adamw-box"),
        Experiment("box.norms", "08-adamw-box"),
        Experiment("box.radius", "08-adamw-box"),
        Experiment("contest.penalty", "08-adamw-box"),
        Experiment("local_geometry.geometry", "09-local-geometry"),
        Experiment("local_geometry.curvature", "09-local-geometry"),
        Experiment("local_geometry.predicts", "09-local-geometry"),
        Experiment("speed.speed", "11-speed", measures_machine=True),
        Experiment("speed.correctness", "", measures_machine=True),
        Experiment("scale.engine", "12-scale", measures_machine=True),
        Experiment("watching", "13-watching"),
        Experiment("watching.spikes", "13-watching"),
        Experiment("speed.training", "06-cifar", measures_machine=True),
        Experiment("speed.tokens", "07-language", measures_machine=True),
        Experiment("speed.looking", "11-speed", measures_machine=True),
    )
}
NAMES = tuple(name for name, experiment in CATALOGUE.items() if not experiment.measures_machine)
MEASURED = tuple(name for name, experiment in CATALOGUE.items() if experiment.measures_machine and experiment.notebook)
MEASURED_PROFILE = "laptop"

# Profiles beyond the laptop's, the most convincing first. Not every experiment has both.
LARGER = ("paper", "cpu")


def find(name: str) -> Experiment:
    """The experiment of this name; ``ValueError`` listing the names if there is none."""
    if name not in CATALOGUE:
        raise ValueError(f"experiment must be one of {', '.join(CATALOGUE)}; got {name!r}")
    return CATALOGUE[name]


def request(name: str, profile: str, *, steps: int | None = None, fetch: bool = False) -> store.Request:
    """What decides an experiment's record; ``steps``: fewer than the profile's; ``fetch``: may download its data.

    ``ValueError`` listing what names there are, and naming the numbers of steps for which its criteria still mean something.
    """
    described = find(name).part("config")
    config = profiles.choose(described.PROFILES, profile)
    if steps is not None:
        config = profiles.shortened(config, steps, least=getattr(described, "LEAST", None))
    data = data_of(name, config, fetch=fetch)
    return store.Request(name, profile, config, find(name).module_name("run"), data.sha256 if data else "")


def data_of(name: str, config: Any, *, fetch: bool) -> Described | None:
    """The data that an experiment with this configuration learns from, if it learns from any; ``fetch``: may download it."""
    described = find(name).part("config")
    if not hasattr(described, "DATA"):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StandInWarning)  # the record and its figures say it
        return configured(described.DATA, config, fetch=fetch)


def offered(name: str, profile: str) -> str:
    """The profile at which a book that is made at this one has the experiment: the laptop's where it lacks it."""
    return MEASURED_PROFILE if profile in profiles.PROFILES and profile not in find(name).profiles else profile


def obtain(
    name: str, profile: str, *, steps: int | None = None, fresh: bool = False, jobs: int = 1, reader: Reader = read
) -> xr.Dataset:
    """The record of an experiment at a profile: the local one if it is current, else a run, which is then kept.

    An interrupted run goes on; ``fresh`` computes everything again. Data is downloaded only when a run needs it. Where the
    experiment lacks the profile, see :func:`offered`. ``reader``, here and below: may read a record's attributes alone.
    """
    profile = offered(name, profile)
    wanted = request(name, profile, steps=steps)
    if fresh or not wanted.path.exists():
        wanted = request(name, profile, steps=steps, fetch=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StandInWarning)
        return store.obtain(wanted, lambda: find(name).part("run").run, fresh=fresh, jobs=jobs, reader=reader)


def remark_on_stand_ins(records: Mapping[str, xr.Dataset]) -> str:
    """Which of these records are made of stand-in data where real data was wanted, and the remedy; empty where none is."""
    wanted = {name: record.attrs for name, record in records.items() if record.attrs["profile"] != "smoke"}
    used = {name: attrs["data"] for name, attrs in wanted.items() if attrs["data_origin"] == "embedded"}
    data = " and ".join(dict.fromkeys(part for words in used.values() for part in words.split(" and ")))
    return f"{', '.join(used)}: used {data}; for real data: kadam data fetch, then run again" if used else ""


def claims(name: str, record: xr.Dataset | None, *, profile: str = "", leave_out: bool = True) -> list[Claim]:
    """The verdicts that a record of this experiment gives; without a record, what would be judged at ``profile``.

    ``leave_out``: judge without each of the seeds, too.
    """
    tests, notebook = find(name).part("claims").TESTS, find(name).notebook
    return judge_all(tests, record, profile=profile, notebook=notebook, leave_out=leave_out)


def verdicts(*records: xr.Dataset) -> Table:
    """What these records decide, as a chapter shows it: each claim under its row of the ledger, how many cases hold."""
    found = [claim for record in records for claim in claims(record.attrs["experiment"], record, leave_out=False)]
    row_of = {id: row.id for row in rows.ROWS.values() for id in row.claims}
    told = [(row_of.get(c.id, "-"), c.id, c.statement, _held(c), c.measured) for c in found]
    return table(("row", "claim", "what is claimed", "cases that hold", "measured"), told)


def _held(claim: Claim) -> str:
    return f"{claim.held} of {len(claim.cases)}" if claim.cases else "not judged"


def on_this_machine(*own: xr.Dataset) -> Table:
    """Own records beside the committed ones of the same profile, claim by claim: how many cases hold, and whether all agree."""
    told, folder = [], committed.results_folder()
    for record in own:
        name, profile = (str(record.attrs[fact]) for fact in ("experiment", "profile"))
        theirs = committed.committed(folder, name, profile) if folder else None
        both = (claims(name, one, profile=profile, leave_out=False) for one in (record, theirs))
        for mine, other in zip(*both, strict=True):
            agree = "-" if theirs is None else "yes" if mine.cases == other.cases else "no"
            told.append((mine.id, mine.profile, _held(mine), "-" if theirs is None else _held(other), agree))
    return table(("claim", "profile", "this machine", "committed", "equal"), told)


def arithmetic(name: str, profile: str) -> dict[str, Any]:
    """What an experiment computes at a profile, and its least time on an H200, before anything is computed; see ``Arithmetic``.

    Of what no ``plan`` counts only the steps of a run are known, where it has any.
    """
    from kadam.lab.train.arithmetic import (
        Arithmetic,  # it loads torch, which most that the catalogue is asked for does not need
    )

    config, run = profiles.choose(find(name).part("config").PROFILES, profile), find(name).part("run")
    found = run.plan(config) if hasattr(run, "plan") else Arithmetic(getattr(config, "steps", None))
    return {"experiment": name, "profile": profile, **asdict(found), "least_s": found.least_s}


def arithmetic_table(each: Iterable[Mapping[str, Any]]) -> Table:
    """The same of several experiments; a dash for what is not counted."""

    def written(of: Any, form: str) -> str:
        return "-" if of is None else format(of, form)

    head = ("experiment", "runs", "steps", "weights", "precision", "operations", "bytes", "least time (s)")
    forms = {"runs": ",", "steps": ",", "weights": ",", "precision": "", "operations": ".1e", "moved": ".1e", "least_s": ".2g"}
    return table(head, ([one["experiment"], *(written(one[k], form) for k, form in forms.items())] for one in each))


def ledger(profile: str, folder: Path | None) -> list[Claim]:
    """Every claim of the papers, the questions and the checks, with its verdict from the most convincing record there is."""
    found: list[Claim] = []
    for name in NAMES:
        record = best(name, profile, folder, read_attributes)
        found += claims(name, None, profile=profile) if record is None else kept(name, record)
    return found


def answered(profile: str, draw: str = "best") -> list[Answered]:
    """Every row of the ledger, judged by the records that the pages of a book draw; see :func:`shown`."""
    return rows.answered([claim for name in NAMES for claim in kept(name, shown(name, profile, draw, read_attributes))])


def kept(name: str, record: xr.Dataset) -> list[Claim]:
    """The claims of a record in a file, known by its attributes: judged once for what it holds and the code that judges it."""
    module = find(name).module_name("claims")
    key = f"{record.attrs['sha256']:.16}-{code_of(files_of(module), PACKAGE)}"
    path = cache_folder() / "judged" / f"{name}-{key}.json"
    if path.exists():
        judged = json.loads(path.read_text())
        return [Claim(**{**one, "left_out": tuple(one["left_out"]), "notebook": find(name).notebook}) for one in judged]
    whole = read(Path(record.encoding["source"]), command=command(name, record.attrs["profile"]))
    found = claims(name, whole)
    with files.whole_file(path) as aside:
        aside.write_text(json.dumps([asdict(claim) for claim in found]))
    return found


def best(name: str, profile: str, folder: Path | None, reader: Reader = read) -> xr.Dataset | None:
    """The most convincing record of an experiment: real data before stand-ins, larger profiles before smaller, own before ours.

    At profile smoke, and of a profile that only some experiments have, no other profile's record will do.
    """
    known = [one for one in (*LARGER, "laptop") if one in find(name).profiles] if profile == "laptop" else [profile]
    wanted = [request(name, one) for one in known if one in find(name).profiles]
    stand_in = None
    for one in wanted:
        own = one.read(reader) if one.path.exists() else None
        ours = committed.committed(folder, name, one.profile, reader) if folder else None
        for record in (own, ours):
            if record is not None and record.attrs.get("data_origin") != "embedded":
                return record
            stand_in = record if stand_in is None else stand_in
    return stand_in


def larger(name: str, folder: Path | None, reader: Reader = read) -> xr.Dataset | None:
    """The committed record of an experiment at the most convincing profile beyond the laptop, if there is one."""
    known = [profile for profile in LARGER if profile in find(name).profiles]
    found = (committed.committed(folder, name, profile, reader) for profile in known) if folder else iter(())
    return next((record for record in found if record is not None), None)


def shown(name: str, profile: str, draw: str = "best", reader: Reader = read) -> xr.Dataset:
    """The record that a page draws: the most convincing one, and one of this machine where there is none yet.

    ``draw``: "best", or "own" for this machine's at the profile, whatever it is.
    """
    if draw not in ("best", "own"):
        raise ValueError(f"draw must be 'best' or 'own', got {draw!r}")
    found = None if draw == "own" else best(name, offered(name, profile), committed.results_folder(), reader)
    return obtain(name, profile, reader=reader) if found is None else found


def measured(name: str, reader: Reader = read) -> xr.Dataset:
    """The record of an experiment that measures a machine, local or committed; ``RecordError`` with the command for one."""
    wanted = request(name, MEASURED_PROFILE)
    found = wanted.existing(committed.results_folder(), reader)
    if found is None:
        raise RecordError(f"{name}: no record on this machine or in the repository; make one with: {wanted.command}")
    return found
