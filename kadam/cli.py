"""The command line of the laboratory: run experiments, build the book, print the ledger, measure this machine."""

import errno
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from kadam import __version__
from kadam.lab.engine.cluster import CLUSTERS, ClusterError, chosen
from kadam.lab.records.cache import cache_folder
from kadam.lab.records.profiles import CPU, PROFILES


class Commands(click.Group):
    """Commands of which the errors that a user can mend become one line on stderr and exit status 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (ValueError, OSError, ClusterError) as error:
            raise click.ClickException(_complaint(error)) from error


def _complaint(error: Exception) -> str:
    """What went wrong; where the cache refused to be written also how to have another."""
    match error:
        case OSError(errno=errno.EACCES | errno.EPERM | errno.EROFS, filename=str(path)):
            if Path(path).is_relative_to(cache_folder()):
                return f"{path}: {error.strerror}; the environment variable KADAM_CACHE may name another folder"
    return str(error)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="kadam %(version)s")
def commands() -> None:
    """Adam in continuous time, made executable."""


def _profile_option(*more: str, remark: str = "") -> Callable[[Any], Any]:
    help = f"How large: seconds, minutes, a GPU{remark}."
    return click.option("--profile", type=click.Choice((*PROFILES, *more)), default="laptop", show_default=True, help=help)


profile_option = _profile_option()
any_profile_option = _profile_option(CPU, remark="; cpu: a minute to an hour without one, where an experiment has it")
commit_option = click.option("--commit", is_flag=True, help="Put the record into the repository's results/ and its manifest.")


@commands.command()
@click.argument("name")
@any_profile_option
@click.option("--jobs", type=click.IntRange(1), show_default="all cores; on a GPU 1", help="Processes; with --cluster, jobs.")
@click.option("--scheduler", metavar="ADDRESS", help="Compute on the Dask cluster whose scheduler is at tcp://HOST:PORT.")
@click.option("--cluster", type=click.Choice(CLUSTERS), help="Start --jobs workers there, one a job, and compute on them.")
@click.option("--steps", type=click.IntRange(1), help="Fewer than the profile's, where there is less time.")
@click.option("--fresh", is_flag=True, help="Compute everything again, whatever is there.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Copy the record to OUT/NAME-PROFILE.nc too.")
@commit_option
@click.option("--plan", "planned", is_flag=True, help="Only print what it would compute, and its least time on an H200.")
@click.option("--json", "as_json", is_flag=True, help="With --plan: a list of objects instead of a table.")
def run(
    name: str,
    profile: str,
    jobs: int | None,
    scheduler: str | None,
    cluster: str | None,
    steps: int | None,
    fresh: bool,
    out: Path | None,
    commit: bool,
    planned: bool,
    as_json: bool,
) -> None:
    """Run experiment NAME, or all of them. What is done already is kept; an interrupted run goes on."""
    from kadam import chapters
    from kadam.lab.engine.sweep import all_cores

    if scheduler is not None and cluster is not None:
        raise click.UsageError("--scheduler is for a cluster that runs already, --cluster starts one; give one of them")
    if as_json and not planned:
        raise click.UsageError("--json is a form of what --plan prints; give both")
    having = tuple(one for one in chapters.NAMES if profile in chapters.find(one).profiles)
    names = having if name == "all" else (name,)
    if planned:
        each = [chapters.arithmetic(one, profile) for one in names]
        click.echo(json.dumps(each, indent=2) if as_json else chapters.arithmetic_table(each))
        return
    if name != "all":
        chapters.request(name, profile)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)  # now, not after hours: it may lie below a file
    records = {}
    with chosen(scheduler=scheduler, cluster=cluster, jobs=jobs or 1):
        for one in names:
            wanted = chapters.request(one, profile, steps=steps)
            on_gpu = getattr(wanted.config, "device", "cpu") == "cuda"  # whose context and compiler each process would double
            processes = jobs or (1 if on_gpu else all_cores())
            _announce(wanted, fresh=fresh, jobs=processes)
            records[one] = chapters.obtain(one, profile, steps=steps, fresh=fresh, jobs=processes)
            _deliver(records[one], out, commit)
    if remark := chapters.remark_on_stand_ins(records):
        click.secho(remark, fg="yellow", err=True)


def _announce(wanted: Any, *, fresh: bool, jobs: int) -> None:
    """Say what a long experiment is going to do before it starts, if it is not done yet."""
    if fresh or not wanted.path.exists():
        module = import_module(wanted.run)
        if hasattr(module, "announcement"):
            click.echo(f"{wanted.name}: {module.announcement(wanted.config, jobs)}", err=True)


def _deliver(record: Any, out: Path | None, commit: bool) -> None:
    from kadam.lab.records.files import copy

    path, name = Path(record.encoding["source"]), "{experiment}-{profile}.nc".format(**record.attrs)
    click.echo(f"{record.attrs['experiment']}: {path}")
    if out is not None:
        copy(path, out / name)
        click.echo(f"copied to {out / name}")
    if commit:
        _commit(record)


def _commit(record: Any) -> None:
    from kadam.book import repository
    from kadam.lab.records import committed

    click.echo(f"committed records: {committed.commit(record, repository() / 'results')}")


@commands.command()
@profile_option
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a parameter in the notebooks that have it.")
@click.option("--own", is_flag=True, help="Draw this machine's records at the profile, whatever they are: --set draw=own.")
@click.option("--update-smoke", is_flag=True, help="Rewrite notebooks/smoke, what CI compares with (smoke profile only).")
def book(profile: str, settings: tuple[str, ...], own: bool, update_smoke: bool) -> None:
    """Run what is missing, execute the notebooks and build the book."""
    from kadam import book as book_module

    if update_smoke and profile != "smoke":
        raise click.UsageError("--update-smoke goes with --profile smoke")
    if own and update_smoke:
        raise click.UsageError("--update-smoke writes what CI compares with, which --own would draw from other records")
    given = _parse((*settings, "draw=own") if own else settings)
    page = book_module.build(profile, given, update_smoke=update_smoke)
    click.echo(f"open {page}")


def _parse(settings: tuple[str, ...]) -> dict[str, Any]:
    parsed = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set takes NAME=VALUE, got {setting!r}")
        try:
            parsed[name] = json.loads(value)
        except json.JSONDecodeError:
            parsed[name] = value
    return parsed


@commands.command()
@click.option("--within", type=click.FloatRange(min=0, min_open=True), default=450.0, show_default=True, help="Seconds in all.")
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True, help="cpu: a rehearsal.")
def gpu(within: float, device: str) -> None:
    """Prove the CUDA path and answer what CPUs can't, in a few minutes of one GPU.

    The most telling slice comes first; the same command goes on where the time ran out.
    """
    from kadam import gpu as slices

    missing = slices.run(within, device)
    click.echo("all slices are done" if not missing else "\n".join(["not done:", *missing, "the same command goes on"]))


@commands.command()
@any_profile_option
@click.option("--json", "as_json", is_flag=True, help="A list of objects with all that is known, cases by name.")
@click.option("--long", is_flag=True, help="Every claim with its criterion, what was measured and the cases that fail.")
def claims(profile: str, as_json: bool, long: bool) -> None:
    """Print the ledger, a row a statement, question or check, from the most convincing records there are."""
    import shutil

    from kadam import chapters
    from kadam.lab.records.committed import results_folder
    from kadam.report import rows

    if as_json and long:
        raise click.UsageError("--json and --long are two forms of one list; give one of them")
    ledger = chapters.rows.answered(chapters.ledger(profile, results_folder()))
    if as_json:
        click.echo(json.dumps([one.as_dict() for one in ledger], indent=2))
    else:
        click.echo((rows.long if long else rows.short)(ledger, shutil.get_terminal_size().columns))


@commands.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def stability(arguments: tuple[str, ...]) -> None:
    """Say whether Adam's update stays bounded with these betas, and why."""
    from kadam.__main__ import stability as answer  # the core has it without this command line

    answer(list(arguments))


@commands.group()
def data() -> None:
    """The data sets: where they are, and fetching them."""


@data.command()
def status() -> None:
    """For each data set: where it was found and whether it is the right one."""
    from kadam.lab.data import sources

    sources.data_folder()  # a wrong folder is named once, not with every data set
    sources.download_folder()
    states = [_state(source) for source in sources.SOURCES.values()]
    for sound, state in states:
        click.secho(state, fg=None if sound else "red")
    if not all(sound for sound, _ in states):
        raise click.exceptions.Exit(1)


def _state(source: Any) -> tuple[bool, str]:
    """Whether a data set is as it should be, and the line that says where it is, or what is wrong with it."""
    from kadam.lab.data import sources

    try:
        if (found := sources.locate(source)) is None:
            return True, f"{source.name}: not on this machine; `kadam data fetch` downloads it, else a stand-in is used"
        origin, path = found
        sources.verify(source, path)
        return True, f"{source.name}: {path} ({origin}), sha256 verified{_remark(source, path)}"
    except (ValueError, OSError) as error:
        return False, f"{source.name}: WRONG: {error}"


def _remark(source: Any, path: Path) -> str:
    """What is not as it should be in a file of the right checksum."""
    from kadam.lab.data import images, reviews, sources

    if isinstance(source, sources.ImageSource) and (inexact := images.lossy_count(source, path)):
        return f"; the pixels of {inexact} images are not exact"
    if foreign := reviews.foreign_count(source, path):
        return f"; {foreign} lines that are no film reviews are left out"
    return ""


@data.command()
def fetch() -> None:
    """Download every data set into the cache, with checksum."""
    from kadam.lab.data import sources

    for source in sources.SOURCES.values():
        try:
            click.echo(f"{source.name}: {sources.download(source)}")
        except OSError as error:
            remedy = f"a copy in the folder $KADAM_DATA as {source.download.name} will do"
            raise click.ClickException(f"{source.name}: no download from {source.download.url} ({error}); {remedy}") from error


# What can be measured of this machine, and the experiment that does it.
BENCHMARKS = {"optimizer": "speed", "engine": "engine", "training": "training", "tokens": "tokens", "monitor": "looking"}


@commands.command()
@click.argument("what", type=click.Choice(tuple(BENCHMARKS)))
@profile_option
@click.option("--json", "as_json", is_flag=True, help="The medians as an object instead of a table.")
@commit_option
def bench(what: str, profile: str, as_json: bool, commit: bool) -> None:
    """Measure this machine, always as ratios side by side, and save a record.

    optimizer: a step of KAdam against torch's fused AdamW and against the bandwidth of memory. engine: what a sweep costs
    a task, here, in processes and on a Dask cluster, and its records. training, tokens: images and tokens a second of our loop
    against a plain one, where a step's time goes, what k costs. monitor: what watching takes of the training time.
    """
    from kadam import chapters

    name = BENCHMARKS[what]
    record, figures = chapters.obtain(name, profile, fresh=True), chapters.find(name).part("figures")
    click.echo(json.dumps(figures.medians(record), indent=2) if as_json else figures.summary(record))
    click.echo(f"record: {chapters.request(name, profile).path}", err=True)
    if commit:
        _commit(record)
