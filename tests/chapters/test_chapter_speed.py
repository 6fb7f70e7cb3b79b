"""The speed experiment: what it measures and how, never how fast this machine is."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from kadam import chapters, cli
from kadam.chapters.speed import ways
from kadam.chapters.speed.speed import claims, config, figures
from kadam.chapters.speed.speed import run as speed
from kadam.lab.records import record as records
from kadam.lab.train import stopwatch
from kadam.optim import cpu
from kadam.optim.chain import BLOCK


@pytest.fixture
def record(smoke_records):
    return smoke_records["speed"]


def test_the_networks_have_the_sizes_they_are_known_by():
    shapes = ways.resnet18()
    assert (len(shapes), sum(int(np.prod(s)) for s in shapes)) == (62, 11_689_512)
    shapes = ways.tiny_network()
    assert (len(shapes), sum(int(np.prod(s)) for s in shapes)) == (8, 10_730)


def test_every_way_is_what_its_name_says():
    named = {way: ways.optimizer(way, 2, [(3,)], "cpu").param_groups[0] for way in (*config.TORCH, *config.PATHS)}
    flags = {way: (group["fused"], group["foreach"]) for way, group in named.items()}
    assert flags["torch fused"] == flags["fused"] == flags["chained"] == (True, False)
    assert flags["torch foreach"] == flags["foreach"] == (False, True)
    seen = []
    made = ways.optimizer("chained", 2, [(3,)], "cpu")
    made.register_step_post_hook(lambda *_: seen.append(cpu.one_pass_kernel()))
    ways.step_of("chained", made)()
    ways.step_of("fused", made)()
    assert seen[0] is None
    assert seen[1] is not None


def test_each_round_times_every_way_once_and_the_first_round_is_dropped():
    calls = []
    steps = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    seconds = stopwatch.paired(steps, rounds=3, repeats=2, device="cpu")
    assert calls == ["a", "a", "b", "b"] * 4
    assert all(values.shape == (3,) and (values > 0).all() for values in seconds.values())


def test_the_limit_moves_the_bytes_of_the_step():
    step, passes = ways.scaling(1000, "cpu")
    assert passes == 1.0
    assert step().numel() == 1000
    _, passes = ways.scaling(3 * ways.LARGEST_BUFFER, "meta")
    assert passes == 3.0


def test_peak_memory_is_what_a_step_takes_for_a_while():
    size = 64 * 2**20

    def step():
        torch.ones(size // 4)

    found = ways.peak_bytes(step, "cpu")
    if np.isnan(found):
        pytest.skip("this system does not count the peak")
    assert size * 0.9 < found < size * 1.2


@pytest.mark.parametrize("way", ["fused", "chained"])
def test_a_fused_step_takes_two_scratch_blocks_at_most(way):
    made = ways.optimizer(way, 3, [(8_000_000,)], "cpu")
    found = ways.peak_bytes(ways.step_of(way, made), "cpu")
    if np.isnan(found):
        pytest.skip("this system does not count the peak")
    assert found <= 2 * BLOCK * 4 + 2**20


def test_the_record_holds_every_way_k_and_round(record):
    assert dict(record.sizes) == {"case": 3, "way": 6, "k": 2, "round": 3}
    absent = record.seconds.isnull().all("round")
    assert bool(absent.sel(way="torch foreach", k=2).all())
    assert int(absent.sum()) == 3
    assert record.attrs["device"].endswith("2 threads")
    assert record.attrs["profile"] == "smoke"


def test_on_a_gpu_a_step_is_replayed_too_where_its_state_fits_beside_the_others():
    paper = config.PROFILES["paper"]
    on_gpu = {size: list(speed.ways(paper, size, 8)) for size in paper.sizes}
    assert [config.REPLAYED in found for found in on_gpu.values()] == [True, True, False]
    assert not any(set(found) - set(speed.ways_on("cuda")) for found in on_gpu.values())
    assert config.REPLAYED not in speed.ways(config.PROFILES["laptop"], 10, 8)
    made = ways.optimizer(config.REPLAYED, 2, [(3,)], "cpu")
    assert made.param_groups[0]["fused"]
    ways.step_of(config.REPLAYED, made)()
    assert [state["step"] for state in made.state.values()] == [1]


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"sizes": ()}, "sizes"), ({"ks": (0,)}, "ks"), ({"device": "tpu"}, "device.*'tpu'"), ({"rounds": 0}, "rounds.*0")],
)
def test_a_configuration_that_cannot_be_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        config.Config(**bad)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_profile_says_so():
    with pytest.raises(ValueError, match="device='cuda' needs a CUDA GPU"):
        speed.run(config.PROFILES["paper"])


def doctored(record, **seconds):
    """The record with these ways taking these multiples of a second, whatever k."""
    changed = record.copy(deep=True)
    for way, value in seconds.items():
        changed.seconds.loc[{"way": way.replace("_", " ")}] = value
    return changed


def verdicts(record):
    return {claim.id: claim.verdict for claim in chapters.claims("speed", record)}


@pytest.mark.parametrize(
    ("claim", "seconds", "verdict"),
    [
        ("D-11e", {"fused": 1.0}, "reproduced"),  # limits 1.0 and 1.2
        ("D-11e", {"fused": 1.1}, "partly"),
        ("D-11e", {"fused": 1.3}, "not reproduced"),
        ("D-11a", {"fused": 1.0}, "not run at this profile"),
        ("D-11f", {"foreach": 3.0, "fused": 1.0, "chained": 2.9}, "reproduced"),  # with and without numba
        ("D-11f", {"foreach": 3.0, "fused": 1.0, "chained": 3.1}, "partly"),
    ],
)
def test_verdicts_follow_the_ratios(record, claim, seconds, verdict):
    assert verdicts(doctored(record, torch_fused=1.0, **seconds))[claim] == verdict


@pytest.mark.parametrize(
    ("claim", "way", "times"),
    [
        ("D-11a", "fused", {1: 1.0, 2: 1.7, 4: 3.1}),
        ("D-11b", "chained", {1: 1.0, 2: 1.9, 4: 3.6}),
        ("D-11c", "fused", {1: 1 / 0.97, 2: 1 / 0.9, 4: 1 / 0.85}),
        ("D-11h", "fused", {1: 1 / 0.85, 2: 1 / 0.85, 4: 1 / 0.85}),
        ("D-11i", "fused", {1: 1.0, 2: 9.0}),
    ],
)
@pytest.mark.parametrize(("factor", "verdict"), [(0.999, "reproduced"), (1.001, "not reproduced")])
def test_a_large_tensor_must_be_near_torch_and_near_the_bandwidth(record, claim, way, times, factor, verdict):
    changed = record.reindex(k=[1, 2, 4]).isel(case=[0])
    changed = changed.assign_coords(case=["1B" if claim in ("D-11h", "D-11i") else "10M"])
    changed.seconds[:] = 1.0
    for k, limit in times.items():
        changed.seconds.loc[{"way": way, "k": k}] = factor * limit
    assert verdicts(changed)[claim] == verdict


@pytest.mark.parametrize(("mebibytes", "verdict"), [(9, "reproduced"), (9.1, "not reproduced")])
def test_memory_beyond_two_blocks_fails_its_claim(record, mebibytes, verdict):
    changed = record.copy(deep=True)
    changed.peak[:] = 0.0
    changed.peak.loc[{"way": "chained"}] = mebibytes * 2**20
    assert verdicts(changed)["D-11g"] == verdict
    (blocks,) = [criterion.limits["blocks"] for (id, _), (_, criterion, _) in claims.TESTS.items() if id == "D-11g"]
    assert blocks * 2**20 == 2 * BLOCK * 4


def test_tables_and_figures_show_the_record(record):
    medians = figures.medians(record)
    assert medians["20k"]["fused"][2] == float(record.seconds.sel(case="20k", way="fused", k=2).median())
    assert "torch foreach" in figures.summary(record)
    assert list(medians["tiny network"]["torch fused"]) == [1]
    for figure in (figures.large(record), figures.small(record), figures.memory(record)):
        assert figure.axes
    assert [row[:2] for row in figures.memory_table(record).rows] == [("1", "8"), ("2", "16")]
    ((case, _, *shares),) = figures.limit_table(record, "ResNet-18").rows
    assert (case, len(shares), shares[0][-1]) == ("ResNet-18", 2, "%")
    ratio = claims.time_ratio(record, "chained").sel(case="ResNet-18", k=2)
    assert figures.ratio_table(record, "ResNet-18").rows[1][3] == f"{float(ratio):.2f}"


def test_the_command_measures_and_keeps_a_record_and_gives_back_the_threads(monkeypatch):
    before = torch.get_num_threads()
    tiny = dataclasses.replace(config.PROFILES["smoke"], ks=(1,), rounds=1, memory=1000, threads=before + 1)
    monkeypatch.setitem(config.PROFILES, "smoke", tiny)
    monkeypatch.setattr(speed, "resnet18", ways.tiny_network)
    result = CliRunner().invoke(cli.commands, ["bench", "optimizer", "--profile", "smoke", "--json"])
    assert result.exit_code == 0, result.output
    assert torch.get_num_threads() == before
    assert set(json.loads(result.stdout)) == {"20k", "ResNet-18", "tiny network"}
    path = chapters.request("speed", "smoke").path
    assert records.read(path, command="x").attrs["experiment"] == "speed"


def test_where_no_record_is_the_command_that_makes_one_is_named(tmp_path, monkeypatch):
    (tmp_path / "manifest.json").write_text("{}")
    monkeypatch.setattr("kadam.lab.records.committed.results_folder", lambda: tmp_path)
    with pytest.raises(records.RecordError, match=r"speed: no record.*kadam run speed --profile laptop"):
        chapters.measured("speed")
