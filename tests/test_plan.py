"""Plans past one machine: their arithmetic by hand, and that figures, tables and the chapter show the records."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from kadam import KAdam
from kadam.chapters.scale import plan
from kadam.chapters.scale.engine import figures as scale
from kadam.chapters.scale.plan import FULL, HALF, WEIGHTS
from kadam.lab.records import committed as results
from kadam.report import style

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"


@pytest.fixture(scope="module")
def record():
    return results.committed(RESULTS, "engine", "laptop")


@pytest.fixture(scope="module")
def speed():
    return results.committed(RESULTS, "speed", "laptop")


@pytest.fixture(scope="module")
def runs():
    return [plan.runs(results.committed(RESULTS, name, "laptop"), RESULTS) for name in plan.COUNTED]


def test_runs_are_the_members_that_the_experiments_trained(runs):
    # growth: 64 pairs x 3 seeds x (fixed, fresh) + 16 pairs; invariance: 2 networks x 3 settings x 3 seeds x 15 members;
    # meta: 6 changes x 3 seeds x 8 rules + 3 networks x 3 seeds x 6 learning rates
    assert {r.experiment: r.count for r in runs} == {"growth": 400, "invariance": 270, "meta": 198}
    for r in runs:
        whole = results.committed(RESULTS, r.experiment, "laptop").attrs["computed_s"]
        assert r.seconds * r.count == pytest.approx(whole)
        assert r.size * r.count == pytest.approx((RESULTS / f"{r.record}.nc").stat().st_size)


def test_workers_share_the_work_until_the_engine_or_the_last_task_decides():
    assert plan.elapsed(100, 2.0, 1, 0.01) == 200
    assert plan.elapsed(100, 2.0, 10, 0.01) == 20
    assert plan.elapsed(100, 2.0, 100, 0.05) == 5  # the engine: 100 tasks of 0.05 s
    assert plan.elapsed(100, 2.0, 100, 0.01, together=10) == 20  # ten tasks, and ninety workers without one
    assert plan.elapsed(100, 2.0, 3, 0.0, together=10) == 4 * 20  # the fourth round holds one task
    assert plan.elapsed(101, 2.0, 11, 0.0, together=10) == 20


def test_below_the_most_workers_work_decides_and_above_the_engine():
    most = plan.most_workers(1.0, 0.01)
    assert most == 100
    assert plan.elapsed(10_000, 1.0, 99, 0.01) > 100
    assert plan.elapsed(10_000, 1.0, 101, 0.01) == 100
    assert plan.most_workers(1.0, 0.01, together=32) == 3200


def test_commits_add_up():
    assert plan.commits(1, 0.5, 0.1) == 0.5
    assert plan.commits(4, 0.5, 0.1) == pytest.approx(0.5 + 0.6 + 0.7 + 0.8)
    assert plan.slope([1, 10, 101], [2, 50, 12]) == 0.1


@pytest.mark.parametrize(
    ("k", "precision", "kept", "moved"),
    [(1, FULL, 16, 28), (2, FULL, 24, 44), (4, FULL, 40, 76), (2, WEIGHTS, 20, 38), (4, HALF, 20, 38), (1, HALF, 8, 14)],
)
def test_bytes_a_parameter(k, precision, kept, moved):
    assert (precision.kept(k), precision.moved(k)) == (kept, moved)


@pytest.mark.parametrize(("dtype", "precision"), [(torch.float32, FULL), (torch.bfloat16, WEIGHTS)])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_kadam_keeps_the_bytes_that_the_plan_counts(dtype, precision, k):
    weight = torch.nn.Parameter(torch.ones(10, dtype=dtype))
    weight.grad = torch.ones_like(weight)
    optimizer = KAdam([weight], k=k)
    optimizer.step()
    moments = [value for value in optimizer.state[weight].values() if torch.is_tensor(value) and value.numel() == 10]
    assert sum(tensor.nbytes for tensor in (weight, weight.grad, *moments)) == 10 * precision.kept(k)


def test_half_the_state_is_worth_twice_the_stages():
    for k in (1, 2):
        assert HALF.kept(2 * k) == WEIGHTS.kept(k)
        assert HALF.moved(2 * k) == WEIGHTS.moved(k)


def test_the_fewest_gpus_hold_it_and_one_less_does_not():
    for parameters in (7e9, 70e9):
        for k in (1, 2, 4):
            fewest = plan.fewest_gpus(parameters, k, FULL)
            assert plan.a_gpu(parameters, k, FULL, fewest) <= 80e9
            assert fewest == 1 or plan.a_gpu(parameters, k, FULL, fewest - 1) > 80e9
    assert plan.fewest_gpus(70e9, 2, FULL) == 21
    assert plan.fewest_gpus(80e9, 1, HALF, memory=640e9) == 1  # exactly full


def test_a_steps_time_is_its_bytes_over_the_bandwidth():
    assert plan.step_seconds(1e9, 2, FULL, 44e9) == 1
    assert plan.step_seconds(1e9, 2, FULL, 44e9, gpus=8) == 1 / 8


def test_the_optimizers_share_falls_with_the_tokens_from_one_to_nothing():
    args = (2, WEIGHTS, 2.0, 12.0)  # 38 bytes at 2 bytes a second: 19 s; a token: 6 / 12 s
    assert plan.optimizers_share(0, *args) == 1
    assert plan.optimizers_share(38, *args) == 0.5
    assert plan.optimizers_share(1e9, *args) < 1e-7
    for share in (0.5, 0.01):
        assert plan.optimizers_share(plan.tokens_at_share(share, *args), *args) == pytest.approx(share)
    assert plan.tokens_at_share(0.5, *args) == 38


def test_the_bandwidth_is_that_of_the_record(speed):
    seconds = float(speed.seconds.sel(case="100M", way="scaling in place", k=2).median())
    assert plan.bandwidth(speed) == pytest.approx(1e8 * 11 * 4 / seconds)


@pytest.mark.parametrize("draw", ["engine", "plans", "memory", "half"])
def test_every_figure_draws_something_at_the_width_of_the_text(record, draw):
    arguments = {"engine": (record,), "plans": (record, 100, 8), "memory": (), "half": (record,)}[draw]
    before = dict(plt.rcParams)
    figure = getattr(scale, draw)(*arguments)
    assert isinstance(figure, Figure)
    assert figure.get_figwidth() == style.WIDTH
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    assert dict(plt.rcParams) == before


def without_dask(record):
    return record.assign(seconds=record.seconds.where(record.way != "dask"))


def test_without_dask_processes_stand_for_a_cluster_and_tables_say_what_is_missing(record):
    changed = without_dask(record)
    assert scale.overheads(record)["scheduler"] == scale.longest(record, "dask", "nothing")
    assert scale.overheads(changed)["scheduler"] == scale.longest(record, "processes", "nothing")
    line = scale.overhead_table(changed).splitlines()[5]
    assert line.split() == ["two", "Dask", "workers,", "nothing", "kept", "-", "-", "-"]
    assert scale.engine(changed).axes
    assert scale.medians(changed)["seconds a task"]["dask"]["nothing"] == {}


def tables(record, speed, runs):
    seconds = {r.experiment: r.seconds for r in runs}
    return [
        scale.table(record),
        scale.runs_table(runs),
        scale.cost_table(record, seconds | {"1000 s a run": 1000}, 100, 8, (1, 32)),
        scale.limit_table(record, (1, 10, 100), (1, 32)),
        scale.commit_table(record, (1_000, 10_000, 100_000)),
        scale.memory_table(),
        scale.step_table(speed),
        scale.share_table(),
        scale.moment_table(record),
    ]


def test_the_tables_fit_the_page(record, speed, runs):
    assert max(len(line) for table in tables(record, speed, runs) for line in table.splitlines()) <= 79


def test_the_tables_hold_what_the_record_holds(record, speed, runs):
    overhead = float(record.seconds.sel(way="dask", keeping="nothing", tasks=10_000).median()) / 10_000
    assert f"{1e3 * overhead:.2f}" in scale.overhead_table(record).splitlines()[5]
    assert scale.limit_table(record, (1,), (1,)).splitlines()[1].split()[-1] == f"{int(1 / overhead)}"
    assert f"{float(record.commit.sel(listed=10_000).median()) * 1e3:.1f}" in scale.disk_table(record)
    cost = scale.cost_table(record, {"growth": 0.36}, 100, 8).splitlines()[1].split()
    assert cost[:7] == ["growth,", "1", "a", "task", "1.0", "60", "min"]
    assert scale.memory_table().splitlines()[2].split()[-4:] == ["21.0", "2.6", "0.3", "3"]
    assert scale.share_table().splitlines()[2].split()[-4:] == ["15.75%", "1.84%", "0.19%", "185k"]
    assert f"{float(record.moment.sel(beta2=0.999, rounding='bfloat16, nearest', gradients='constant')[-1]):.2f}" == "0.25"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.5, "0.5 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 days")]
)
def test_times_are_told_in_a_unit_for_people(seconds, words):
    assert scale._time(seconds) == words


def test_the_chapter_names_the_numbers_that_its_records_hold(record, runs):
    chapter = (ROOT / "notebooks" / "12-scale.md").read_text()
    spent, growth = scale.overheads(record), runs[0]
    floor = plan.elapsed(10_000, growth.seconds, 800, spent["scheduler and disk"])
    assert f"the engine needs {floor:.0f} s to hand out and write ten thousand results" in chapter
    assert f"ten thousand runs of `growth` are {growth.size * 10_000 / 1e6:.0f} MB" in chapter
    (feeds,) = re.findall(r"it feeds (\d+) workers with runs of one second", chapter)
    assert int(feeds) == pytest.approx(plan.most_workers(1, spent["scheduler"]), rel=0.03)
    (look,) = re.findall(r"Looking for a file takes (\d+) µs", chapter)
    assert int(look) == round(float(record.ask.median()) * 1e6)
    noise = float(record.moment.sel(beta2=0.999, rounding="bfloat16, nearest", gradients="noise")[-1])
    assert f"to {noise:.1f} after 5,000 steps" in chapter
