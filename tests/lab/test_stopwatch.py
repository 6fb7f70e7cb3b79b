"""The timer: what it counts, and that it waits for every kind of device."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kadam.lab.train import stopwatch

SYNCHRONIZE = {"cuda": torch.cuda, "mps": torch.mps}


@pytest.fixture
def told(monkeypatch):
    """What happens, in its order: the clock is looked at, a device is waited for. Between two looks pass 6 seconds."""
    events = []
    for kind, module in SYNCHRONIZE.items():
        monkeypatch.setattr(module, "synchronize", lambda *device, kind=kind: events.append((kind, *map(str, device))))
    times = itertools.count(100, 6)
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: (events.append("clock"), float(next(times)))[1])
    stream = SimpleNamespace(cuda_stream=7)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)

    class Event:
        def __init__(self, enable_timing):
            self.timed = enable_timing

        def record(self, on):
            events.append("event" if self.timed and on is stream else "event without a time")

        def synchronize(self):
            events.append("waited")

        def elapsed_time(self, end):
            return 6000.0 if end is not self else 0.0  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    return events


@pytest.mark.parametrize(("device", "waited"), [("cpu", []), ("meta", []), ("mps", [("mps",)])])
def test_the_clock_runs_from_an_idle_device_to_an_idle_device(told, device, waited):
    results = iter("abc")
    assert stopwatch.timed(lambda: told.append("call") or next(results), repeats=3, device=device) == ("c", 2.0)
    assert told == [*waited, "clock", "call", "call", "call", *waited, "clock"]


@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda", 1)])
def test_a_gpu_times_itself_from_when_it_is_idle(told, device):
    results = iter("abc")
    assert stopwatch.timed(lambda: told.append("call") or next(results), repeats=3, device=device) == ("c", 2.0)
    assert told == [("cuda", str(device)), "event", "call", "call", "call", "event", "waited"]


def test_the_hosts_own_seconds_end_before_the_device_is_done(told):
    assert stopwatch.host_seconds(lambda: told.append("call"), repeats=3, device="cuda") == 2
    assert told == [("cuda", "cuda"), "clock", "call", "call", "call", "clock", ("cuda", "cuda")]


def test_seconds_are_those_of_one_call(told):
    assert stopwatch.seconds(lambda: told.append("call"), repeats=2) == 3
    assert told == ["clock", "call", "call", "clock"]


def test_no_call_is_refused():
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        stopwatch.seconds(lambda: None, repeats=0)


def test_paired_rounds_wait_for_the_device_too_and_leave_out_the_first(told):
    seconds = stopwatch.paired(
        {"a": lambda: told.append("a"), "b": lambda: told.append("b")}, rounds=2, repeats=2, device="mps"
    )
    one = [("mps",), "clock"]
    assert told == [*one, "a", "a", *one, *one, "b", "b", *one] * 3
    assert list(seconds) == ["a", "b"]
    for values in seconds.values():
        np.testing.assert_array_equal(values, [3, 3])
