"""Minutes of a GPU: how slices share the time, what is left out, stopped or gone on with, and what is refused first."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiers import exhaustive

from kadam import chapters, gpu
from kadam.chapters.contest.optimum import config, run
from kadam.gpu import Budget, GPUError, Slice

TRIED = (Slice("growth", "growth outside the region", 50), Slice("optimum", "rates on text", 150))
SMOKE = {one.name: chapters.request(one.name, "smoke").config.steps for one in TRIED}


ENDED = SimpleNamespace(wait=lambda timeout: 0)  # a process


class Clock:
    """Seconds that pass when a slice runs."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def told(monkeypatch):
    """The commands that slices would run; none is run, each takes 60 of the seconds, and pilots say what is in ``takes``."""
    clock, commands, takes = Clock(), [], {}

    def within_time(command, seconds):
        commands.append([*command[3:], round(seconds)])
        clock.now += 60
        return 0

    monkeypatch.setattr(gpu, "within_time", within_time)
    monkeypatch.setattr(gpu.subprocess, "Popen", lambda command: ENDED)
    monkeypatch.setattr(gpu, "Budget", lambda within: Budget(within, clock))
    for name in ("growth", "optimum"):
        module = chapters.find(name).part("run")
        monkeypatch.setattr(module, "pilot", lambda config, name=name: takes[name] * config.steps / SMOKE[name], raising=False)
        monkeypatch.setattr(chapters.find(name).part("config"), "LEAST", 12, raising=False)
    return SimpleNamespace(clock=clock, commands=commands, takes=takes)


def test_time_is_shared_by_what_slices_are_meant_to_have():
    clock = Clock()
    budget = Budget(gpu.RESERVE + 400, clock)
    assert budget.share(TRIED) == 100
    clock.now = 100
    assert (budget.left, budget.share(TRIED[1:])) == (300, 300)


def test_slices_run_in_order_with_the_steps_there_is_time_for(told):
    told.takes |= {"growth": 200.0, "optimum": 10.0}
    assert gpu.run(gpu.RESERVE + 400, "cpu", slices=TRIED) == []
    (name, *options), other = told.commands[0][1:], told.commands[1]
    assert (name, options) == ("growth", ["--profile", "smoke", "--jobs", "1", "--steps", str(SMOKE["growth"] // 2), 400])
    assert other[1] == "optimum"
    assert other[-2:] == [str(SMOKE["optimum"]), 340]


def test_what_cannot_be_long_enough_is_left_out_and_named(told):
    told.takes |= {"growth": 1e6, "optimum": 10.0}
    (line,) = gpu.run(gpu.RESERVE + 400, "cpu", slices=TRIED)
    assert line.startswith("growth (growth outside the region): left out: 12 steps, the fewest that decide it, take")
    assert [command[1] for command in told.commands] == ["optimum"]


def test_the_same_command_goes_on_with_the_steps_that_it_began_with(told, monkeypatch):
    told.takes |= {"growth": 200.0, "optimum": 10.0}
    monkeypatch.setattr(gpu, "within_time", lambda command, seconds: told.commands.append(command) or None)
    assert [line.rpartition(": ")[2] for line in gpu.run(400, "cpu", slices=TRIED)] == ["stopped, for its time was up"] * 2
    first, told.takes["growth"] = list(told.commands), 1.0
    gpu.run(400, "cpu", slices=TRIED)
    assert told.commands[2:] == first


def test_without_time_left_a_slice_is_named_and_not_run(told):
    told.takes |= {"growth": 10.0, "optimum": 1.0}
    (line,) = gpu.run(gpu.RESERVE + 55, "cpu", slices=TRIED)
    assert line == f"optimum (rates on text): {gpu.NO_TIME}"
    assert [command[1] for command in told.commands] == ["growth"]


def test_a_failed_slice_is_told_and_the_next_one_runs(told, monkeypatch):
    told.takes |= {"growth": 10.0, "optimum": 10.0}
    monkeypatch.setattr(gpu, "within_time", lambda command, seconds: 3 if "growth" in command else 0)
    assert gpu.run(400, "cpu", slices=TRIED) == ["growth (growth outside the region): failed, exit status 3"]


def test_a_command_is_interrupted_when_its_time_is_up():
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert gpu.within_time(sleeping, 0.5) is None
    assert gpu.within_time([sys.executable, "-c", "raise SystemExit(3)"], 30) == 3


def test_what_slices_train_is_compiled_ahead(told, monkeypatch):
    """Every slice that trains, and no other, takes its first steps, as in the pilot that times it later."""
    told.takes |= {"growth": 10.0, "optimum": 10.0}
    started, asked = [], []
    monkeypatch.setattr(gpu.subprocess, "Popen", lambda command: started.append(command) or ENDED)
    gpu.run(400, "cpu", slices=(*TRIED, Slice("speed", "times a step", 40)))
    for name in ("growth", "optimum"):
        monkeypatch.setattr(chapters.find(name).part("run"), "pilot", asked.append)
    ((_, _, code),) = started
    exec(code, {})
    assert asked == [chapters.request(name, "smoke").config for name in ("growth", "optimum")]


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_what_compiles_ahead_is_waited_for_or_ended(seconds):
    process = gpu.subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({0.2 if seconds else 60})"])
    gpu.end(process, seconds)
    assert process.poll() == (0 if seconds else -9)


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("device", "no CUDA GPU is here"),
        ("memory", "the GPU has 8 GB, the slices need 96 GB"),
        ("triton", "Triton is not installed"),
        ("compiler", "no C compiler is here"),
        ("named compiler", "no C compiler is at .CC, /nowhere/cc, which Triton needs"),
        ("data", "growth needs real data and found embedded excerpt of tiny Shakespeare"),
    ],
)
def test_what_is_missing_is_one_line_before_anything_starts(told, monkeypatch, lacking, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: lacking != "device")
    memory = 8e9 if lacking == "memory" else 140e9
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=memory))
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None if lacking == "triton" else name)
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None if lacking == "compiler" or name == "/nowhere/cc" else name)
    monkeypatch.setenv("CC", "/nowhere/cc" if lacking == "named compiler" else "")
    with pytest.raises(GPUError, match=message):
        gpu.run(400, "cuda", slices=TRIED)
    assert told.commands == []


def test_a_rehearsal_ends_in_a_record(monkeypatch):
    """With the real pilot and a real run of fewer steps."""
    one = (Slice("optimum", "rates on text", 150),)
    wanted = chapters.request("optimum", "smoke").config
    least = min(config.LEAST, wanted.steps)
    assert gpu.run(400, "cpu", slices=one) == []
    steps = gpu.chosen_steps(one[0], "cpu", lambda: 0.0)
    assert least <= steps <= wanted.steps
    assert run.pilot(wanted) > 0
    assert chapters.obtain("optimum", "smoke", steps=steps).attrs["profile"] == "smoke"


@exhaustive
def test_a_slice_of_fixed_length_is_compiled_ahead_and_ends_in_a_record(monkeypatch):
    (one,) = [one for one in gpu.SLICES if one.name == "training"]
    ahead = []
    started = gpu.subprocess.Popen
    monkeypatch.setattr(gpu.subprocess, "Popen", lambda command: ahead.append(command[-1]) or started(command))
    assert gpu.run(400, "cpu", slices=(one,)) == []
    assert "['training']" in ahead[0]
    assert gpu.chosen_steps(one, "cpu", lambda: 0.0) is None
    assert {"race_steps", "reached_s"} <= set(chapters.obtain("training", "smoke").data_vars)


def test_the_page_on_reproducing_lists_the_slices():
    page = (Path(__file__).parents[1] / "book" / "reproducing.md").read_text()
    for one in gpu.SLICES:
        assert re.search(rf"\| `{one.name}` \| [^|]+ \| {one.seconds:g} \|", page), one.name
