"""The command line as a user meets it: what it prints, what it refuses, and with which exit status."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

from kadam import __version__, chapters, cli
from kadam.__main__ import main
from kadam.advice import advise
from kadam.lab.data import sources as data
from kadam.lab.engine.sweep import all_cores
from kadam.lab.records import record as records


@pytest.fixture
def kadam():
    runner = CliRunner()
    return lambda *arguments: runner.invoke(cli.commands, arguments)


@pytest.mark.parametrize(("betas", "words", "status"), [("0.9 0.999", "stable", 0), ("0.98 0.95", "UNSTABLE", 1)])
def test_stability_answers_with_the_reason_and_the_exit_status(kadam, betas, words, status):
    advice = advise(tuple(map(float, betas.split())))
    for options, said in (((), advice.report()), (("--short",), advice.sentence())):
        result = kadam("stability", "--betas", *betas.split(), *options)
        assert (result.exit_code, result.output) == (status, f"{said}\n")
    assert f": {words}. " in result.output
    assert kadam("stability", "--betas", *betas.split(), "--json").exit_code == status


def test_stability_takes_steps_a_batch_and_stages(kadam):
    options = ["--steps", "50", "--batch-tokens", "2048", "--k", "3", "--strategy", "meta"]
    result = kadam("stability", "--betas", "0.98", "0.95", *options)
    advice = advise((0.98, 0.95), steps=50, batch_tokens=2048, k=3, strategy="meta")
    assert (result.exit_code, result.output) == (0, f"{advice.report()}\n")
    assert "Exit status: 0 if it stays bounded, 1 if it does not, 2" in " ".join(kadam("stability", "-h").output.split())


def test_stability_as_json_is_strict_json(kadam):
    result = kadam("stability", "--betas", "0.5", "0", "--json")
    answer = json.loads(result.output, parse_constant=pytest.fail)
    assert answer["stable_discrete"] is False
    assert answer["growth_rate"] is None


@pytest.mark.parametrize(("betas", "word"), [(("1.0", "0.9"), "beta1"), (("0.9", "-0.1"), "beta2"), (("nan", "0.9"), "beta1")])
def test_betas_outside_the_unit_interval_are_named(kadam, betas, word):
    result = kadam("stability", "--betas", *betas)
    assert result.exit_code == 2
    assert f"{word} must lie in [0, 1)" in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("0.9",), "expected 2 arguments"),
        (("0.9", "0.95", "0.999"), "unrecognized arguments: 0.999"),
        (("0.9", "true"), "invalid float value: 'true'"),
        (("0.9", "0.99", "--steps", "0"), "steps must be a whole number >= 1, got 0"),
        (("0.9", "0.99", "--batch-tokens", "-5"), "batch_tokens must be a finite number > 0, got -5.0"),
        (("0.9", "0.99", "--k", "0"), "k must be a whole number >= 1, got 0"),
        (("0.9", "0.99", "--short", "--json"), "not allowed with"),
    ],
)
def test_options_of_stability_that_make_no_sense_are_refused_with_status_2(kadam, options, words):
    result = kadam("stability", "--betas", *options)
    assert result.exit_code == 2
    assert words in result.output


def test_run_makes_the_record_once_and_copies_it(kadam, tmp_path):
    first = kadam("run", "stability", "--profile", "smoke", "--out", str(tmp_path / "out"))
    assert first.exit_code == 0, first.output
    copy = tmp_path / "out" / "stability-smoke.nc"
    date = records.read(copy, command="x").attrs["date"]
    kadam("run", "stability", "--profile", "smoke", "--out", str(tmp_path / "out"))
    assert records.read(copy, command="x").attrs["date"] == date


def test_a_record_can_be_put_among_the_committed_ones(kadam, tmp_path, monkeypatch):
    monkeypatch.setattr("kadam.book.repository", lambda: tmp_path)
    result = kadam("run", "stability", "--profile", "smoke", "--commit")
    assert result.exit_code == 0, result.output
    (name,) = json.loads((tmp_path / "results" / "manifest.json").read_text())
    assert (tmp_path / "results" / name).exists()


def test_a_plan_is_printed_and_nothing_is_computed(kadam, monkeypatch):
    monkeypatch.setattr(chapters, "obtain", None)
    monkeypatch.setattr(chapters, "request", None)
    (found,) = json.loads(kadam("run", "cifar", "--profile", "paper", "--plan", "--json").output)
    assert (found["experiment"], found["runs"], found["precision"]) == ("cifar", 114, "bfloat16")
    head, row = kadam("run", "cifar", "--profile", "paper", "--plan").output.splitlines()
    assert head.split()[:4] == ["experiment", "runs", "steps", "weights"]
    assert row.split()[:4] == ["cifar", "114", f"{found['steps']:,}", f"{found['weights']:,}"]
    steps_only = kadam("run", "box", "--profile", "smoke", "--plan").output.splitlines()[1].split()
    assert steps_only == ["box", "-", "300", *"-----"]
    every = json.loads(kadam("run", "all", "--profile", "smoke", "--plan", "--json").output)
    assert tuple(one["experiment"] for one in every) == chapters.NAMES
    assert all(one["least_s"] is None or one["least_s"] > 0 for one in every)


def test_run_all_runs_every_experiment(kadam, monkeypatch):
    from kadam import chapters

    ran = []
    obtain = chapters.obtain
    monkeypatch.setattr(chapters, "obtain", lambda name, *a, **k: ran.append(name) or obtain("stability", "smoke"))
    assert kadam("run", "all", "--profile", "smoke").exit_code == 0
    assert tuple(ran) == chapters.NAMES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("run", "grwth"),
            "norms, radius, penalty, geometry, curvature, speed, correctness, engine, watching, training, tokens; got 'grwth'",
        ),
        (("run", "growth", "--profile", "lap"), "'lap' is not one of 'smoke', 'laptop', 'paper', 'cpu'"),
        (("run", "stability", "--profile", "cpu"), "profile must be one of smoke, laptop, paper; got 'cpu'"),
        (("run", "language", "--profile", "paper"), "profile must be one of smoke, laptop, cpu; got 'paper'"),
        (("run", "radius", "--profile", "paper", "--plan"), "profile must be one of smoke, laptop, cpu; got 'paper'"),
        (("run", "grwth", "--plan"), "got 'grwth'"),
        (("run", "growth", "--json"), "--json is a form of what --plan prints; give both"),
        (("run", "growth", "--jobs", "0"), "0 is not in the range x>=1"),
        (("run", "growth", "--scheduler", "here"), "scheduler must be an address like tcp://host:8786, got 'here'"),
        (("run", "growth", "--scheduler", "tcp://x:1", "--cluster", "slurm"), "give one of them"),
        (("run", "growth", "--cluster", "moon"), "'moon' is not 'slurm'"),
        (("book", "--profile", "smoke", "--set", "profil=smoke"), "no parameter 'profil'; they have: draw, example_iteration"),
        (("book", "--set", "profile"), "--set takes NAME=VALUE, got 'profile'"),
        (("book", "--update-smoke"), "--update-smoke goes with --profile smoke"),
        (("book", "--profile", "smoke", "--own", "--update-smoke"), "--own would draw from other records"),
        (("claims", "--json", "--long"), "--json and --long are two forms of one list; give one of them"),
        (("clams",), "No such command 'clams'"),
    ],
)
def test_a_misspelling_is_an_error_that_lists_what_is_valid(kadam, arguments, message):
    result = kadam(*arguments)
    assert result.exit_code != 0
    assert message in result.output


def test_a_gpu_is_given_one_process_unless_more_are_asked_for(kadam, monkeypatch):
    class Obtained(Exception):
        pass

    def obtain(name, profile, *, steps, fresh, jobs):
        raise Obtained(jobs)

    monkeypatch.setattr(chapters, "obtain", obtain)
    asked = [(), ("--jobs", "2")]
    assert [kadam("run", "growth", "--profile", "paper", *more).exception.args[0] for more in asked] == [1, 2]
    assert kadam("run", "growth", "--profile", "cpu").exception.args == (all_cores(),)


def test_a_truncated_record_is_refused_and_named(kadam):
    path = kadam("run", "stability", "--profile", "smoke").output.split(": ")[1].strip()
    with open(path, "r+b") as file:
        file.truncate(500)
    result = kadam("run", "stability", "--profile", "smoke")
    assert result.exit_code == 1
    assert path in result.output
    assert "kadam run stability --profile smoke --fresh" in result.output
    assert kadam("run", "stability", "--profile", "smoke", "--fresh").exit_code == 0


def test_claims_print_the_ledger_short_and_long_and_as_json(kadam, monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    kadam("run", "stability", "--profile", "smoke")
    ledger = {row["id"]: row for row in json.loads(kadam("claims", "--profile", "smoke", "--json").output)}
    assert (ledger["P1"]["outcome"], ledger["P1"]["held"], ledger["P1"]["cases"]) == ("reproduced", 1, 1)
    assert (ledger["P2"]["outcome"], ledger["Q2"]["outcome"][:4]) == ("not run at this profile", "open")
    assert [claim["id"] for claim in ledger["P1"]["claims"]] == ["GT-1a", "GT-2b"]
    short = kadam("claims", "--profile", "smoke").output.splitlines()
    assert max(map(len, short)) <= 72
    assert [line.split()[1] for line in short if line.startswith("P1 ")] == ["reproduced"]
    assert {line.split()[0] for line in short if line and line[0] in "PQC"} == set(ledger)
    long = kadam("claims", "--profile", "smoke", "--long").output
    assert all(f"  {claim['id']}: " in long for row in ledger.values() for claim in row["claims"])


def test_a_place_for_copies_that_cannot_be_is_told_before_anything_is_computed(kadam, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("kadam.chapters.obtain", None)
    result = kadam("run", "stability", "--profile", "smoke", "--out", str(tmp_path / "file" / "out"))
    assert result.exit_code == 1
    assert "Not a directory" in result.output
    assert str(tmp_path / "file") in result.output


def test_data_status_says_where_data_is_or_how_to_get_it(kadam, tmp_path, monkeypatch):
    assert "not on this machine" in kadam("data", "status").output
    monkeypatch.setenv("KADAM_DATA", str(tmp_path))
    (tmp_path / "tinyshakespeare.txt").write_text("something else")
    result = kadam("data", "status")
    assert result.exit_code == 1
    assert data.TINY_SHAKESPEARE.files[0].sha256 in result.output


def test_data_status_tells_of_every_data_set_and_what_is_wrong_with_each_bad_one(kadam, tmp_path, monkeypatch):
    monkeypatch.setenv("KADAM_DATA", str(tmp_path))
    excerpt = replace(data.TINY_SHAKESPEARE, files=(data.TINY_SHAKESPEARE.excerpt,))
    monkeypatch.setattr(data, "SOURCES", {"sound": replace(excerpt, name="sound"), **data.SOURCES})
    (tmp_path / excerpt.files[0].name).write_bytes(data.packaged(excerpt.files[0]))
    for name in ("tinyshakespeare.txt", "cifar10.npz"):
        (tmp_path / name).write_text("something else")
    result = kadam("data", "status")
    assert [line.split(":")[0] for line in result.output.splitlines()] == list(data.SOURCES)
    wrong = [line for line in result.output.splitlines() if ": WRONG: " in line]
    assert [line.split(":")[0] for line in wrong] == ["tinyshakespeare", "cifar10"]
    assert all("sha256 is " in line and "put the right one there" in line for line in wrong)
    assert result.exit_code == 1


RUN, STATUS = ("run", "growth", "--profile", "smoke"), ("data", "status")


@pytest.mark.parametrize(
    ("variable", "below", "command"),
    [("KADAM_DATA", "", STATUS), ("KADAM_CACHE", "", STATUS), ("KADAM_CACHE", "", RUN), ("KADAM_CACHE", "a/b", RUN)],
)
def test_a_file_where_a_folder_should_be_is_named_once_with_its_variable(
    kadam, tmp_path, monkeypatch, variable, below, command
):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv(variable, str(file / below))
    result = kadam(*command)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {variable} must name a folder, got {str(file / below)!r}")
    assert result.output.count("\n") == 1


def test_a_cache_that_cannot_be_written_is_named_with_the_variable_that_moves_it(kadam, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    result = kadam("run", "stability", "--profile", "smoke")
    remedy = "the environment variable KADAM_CACHE may name another folder"
    assert result.output == f"Error: {os.environ['KADAM_CACHE']}/locks: Permission denied; {remedy}\n"


def test_claims_without_the_committed_records_say_what_is_missing(kadam, tmp_path, monkeypatch):
    monkeypatch.setattr("kadam.lab.records.committed.results_folder", lambda: tmp_path / "results")
    result = kadam("claims")
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {tmp_path / 'results'}: missing; bring it back with: git checkout")


def test_data_fetch_without_a_network_says_so(kadam, offline):
    result = kadam("data", "fetch")
    assert result.exit_code == 1
    assert "no download from https://" in result.output


def test_stand_in_data_is_reported_when_a_run_used_it(kadam, offline, monkeypatch):
    from kadam.chapters.growth import run as growth

    tiny = growth.Config(points=2, seeds=1, steps=10, width=8, layers=1)
    monkeypatch.setitem(growth.PROFILES, "laptop", tiny)
    result = kadam("run", "growth", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert "used embedded excerpt of tiny Shakespeare (65,536 characters); for real data: kadam data fetch" in result.output


def test_a_run_that_downloads_its_data_still_finds_its_record(kadam, tmp_path, monkeypatch):
    from kadam.chapters.growth import run as growth

    monkeypatch.setitem(growth.PROFILES, "laptop", growth.Config(points=2, seeds=1, steps=10, width=8, layers=1))
    excerpt = data.load_text(embedded=True)
    there, path = [], tmp_path / data.TINY_SHAKESPEARE.files[0].name
    monkeypatch.setattr(data, "_try_download", lambda source: there.append(1) or ("download", path))
    monkeypatch.setattr(data, "locate", lambda source: ("cache", path) if there else None)
    monkeypatch.setattr(data, "verify", lambda source, path: excerpt.characters[:500].encode())
    result = kadam("run", "growth", "--jobs", "1", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert there
    assert records.read(tmp_path / "out" / "growth-laptop.nc", command="x").attrs["data"] == "tiny Shakespeare"


def test_python_m_kadam_is_the_command_line():
    run = subprocess.run([sys.executable, "-m", "kadam", "--help"], capture_output=True, text=True, check=True)
    assert all(command in run.stdout for command in ("run", "book", "claims", "stability", "data"))


def test_the_version_is_told(kadam, monkeypatch, capsys):
    assert kadam("--version").output == f"kadam {__version__}\n"
    monkeypatch.setattr(sys, "argv", ["kadam", "--version"])
    monkeypatch.setitem(sys.modules, "click", None)  # as in a core installation
    monkeypatch.delitem(sys.modules, "kadam.cli")
    main()
    assert capsys.readouterr().out == f"kadam {__version__}\n"


def test_a_run_of_cifar_says_its_plan_before_it_starts_and_only_then(kadam, offline, monkeypatch):
    from kadam.chapters.contest.cifar import run as cifar

    tiny = replace(cifar.PROFILES["smoke"], ks=(1, 2), strategies=("meta",), steps=4, seeds=1)
    monkeypatch.setitem(cifar.PROFILES, "smoke", tiny)
    first, again = (kadam("run", "cifar", "--profile", "smoke", "--jobs", "1") for _ in range(2))
    assert first.exit_code == again.exit_code == 0, first.output
    assert first.output.startswith("cifar: 28 runs to find learning rates, then 42 to compare, 280 steps in all; ")
    assert "to find learning rates" not in again.output


def test_all_experiments_at_profile_cpu_are_those_that_have_it(kadam, monkeypatch):
    from kadam import chapters

    ran = []
    original = chapters.obtain
    monkeypatch.setattr(chapters, "obtain", lambda name, *a, **k: ran.append(name) or original("stability", "smoke"))
    monkeypatch.setattr("kadam.cli._announce", lambda *a, **k: None)
    monkeypatch.setattr("kadam.cli._deliver", lambda *a, **k: None)
    assert kadam("run", "all", "--profile", "cpu").exit_code == 0
    assert ran == [name for name in chapters.NAMES if "cpu" in chapters.find(name).profiles]
    assert {"growth", "cifar"} < set(ran)
    assert "stability" not in ran


@pytest.mark.parametrize(("options", "shown"), [((), False), (("-W", "default"), True)])
def test_the_command_and_what_it_starts_show_pythons_warnings_only_to_who_asks_for_them(options, shown):
    begun = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import warnings; warnings.warn(str(2))'])"
    code = f"import warnings; from kadam import __main__; __main__._be_quiet(); warnings.warn(str(1)); {begun}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    ran = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert ("UserWarning: 1" in ran.stderr) is shown
    assert shown or ran.stderr == ""
