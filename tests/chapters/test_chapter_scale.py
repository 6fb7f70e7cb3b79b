"""Chapter scale: what the experiment on the engine measures and how, never how fast this machine is; and counts of memory."""

import dataclasses
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import CliRunner
from matplotlib.figure import Figure
from tiers import exhaustive

from kadam import KAdam, chapters, cli
from kadam.chapters.scale.engine import claims, config, figures
from kadam.chapters.scale.engine import run as engine
from kadam.chapters.scale.engine.figures import PRECISIONS, fewest_gpus
from kadam.lab.engine import cluster, sweep
from kadam.lab.engine.progress import Progress
from kadam.lab.records import record as records
from kadam.report import style

SMOKE = config.PROFILES["smoke"]
HERE = dataclasses.replace(SMOKE, workers=1)  # one process is this one: nothing has to start


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KADAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        return engine.run(HERE)


def test_the_record_holds_every_part_and_what_was_not_measured_is_missing(record):
    assert dict(record.seconds.sizes) == {"way": 3, "keeping": 2, "tasks": 2, "round": 2}
    assert record.seconds.sel(way="dask").isnull().all()
    assert (record.seconds.sel(way=["here", "processes"]) > 0).all()
    assert (record.save > 0).all()
    assert (record.read > 0).all()
    assert (record.commit > 0).all()
    assert float(record.ask.max()) < 0.1
    assert (record.file_bytes > 1024).all()
    assert record.attrs["data_origin"] == "none"
    assert {name: record[name].attrs["units"] for name in engine.UNITS} == engine.UNITS


def test_long_sweeps_are_measured_less_often_and_too_long_ones_not():
    long = config.Config(rounds=3, most=10_000, most_kept=1_000)
    assert [engine.rounds(long, n, "nothing") for n in long.tasks] == [3, 3, 1]
    assert [engine.rounds(long, n, "each result") for n in long.tasks] == [3, 1, 0]


def test_a_sweep_is_the_real_one_with_as_many_pieces_and_files(monkeypatch):
    seen = []

    def spy(pieces, compute, *, checkpoint, jobs, **rest):
        found = sweep.sweep(pieces, compute, checkpoint=checkpoint, jobs=jobs, **rest)
        seen.append((len(pieces), compute, jobs, checkpoint and len(list(checkpoint.glob("*.nc")))))
        return found

    monkeypatch.setattr(engine, "sweep", spy)
    for way, keeping in (("here", "nothing"), ("processes", "each result")):
        assert engine._sweep_s(HERE, way, 5, keeping) > 0
    assert seen == [(5, engine.empty, 1, None), (5, engine.empty, 1, 5)]


def test_nothing_is_left_in_the_cache(record, tmp_path):
    with engine._folder() as folder:
        (folder / "file").touch()
    assert not folder.exists()


def test_an_empty_task_takes_its_step():
    steps = []
    assert engine.empty("0", Progress(steps.append)).nothing.shape == ()
    assert steps == [1]


def test_without_dask_its_ways_are_left_out(monkeypatch):
    assert engine.ways(config.Config()) == list(engine.WAYS)
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    assert engine.ways(config.Config()) == ["here", "processes"]
    assert engine.ways(SMOKE) == ["here", "processes"]


@exhaustive
def test_a_cluster_of_this_machine_computes_sweeps_in_its_own_processes():
    dasked = dataclasses.replace(SMOKE, workers=1, dask=True)
    with cluster.local(dasked.workers):
        assert set(cluster.active().nthreads().values()) == {1}
        assert engine._sweep_s(dasked, "dask", 3, "each result") > 0
    assert cluster.active() is None


def test_bfloat16_is_rounded_to_the_nearest_or_to_a_neighbour_that_is_right_on_average():
    x = torch.full((40_000,), 1 + 2**-9)  # a quarter of the way from 1 to the next, 1 + 2^-7
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(engine.rounded(x, "float32", generator), x)
    assert (engine.rounded(x, "bfloat16, nearest", generator) == 1).all()
    random = engine.rounded(x, "bfloat16, stochastic", generator)
    assert set(random.unique().tolist()) == {1, 1 + 2**-7}
    assert float(random.mean()) == pytest.approx(1 + 2**-9, abs=5 * 2**-7 * (3 / 16 / x.numel()) ** 0.5)
    exact = torch.tensor([0.0, 0.5, 1.5])
    assert torch.equal(engine.rounded(exact, "bfloat16, stochastic", generator), exact)


def test_moments_of_float32_follow_their_formula(record):
    v = record.moment.sel(rounding="float32")
    memory = record.beta2**record.moment_step
    np.testing.assert_allclose(v.sel(gradients="silent"), memory.transpose("moment_step", "beta2"), rtol=1e-4)
    np.testing.assert_allclose(v.sel(gradients="constant"), 1 - memory.transpose("moment_step", "beta2"), rtol=1e-4)


def test_every_rounding_meets_the_same_gradients(record):
    noise = record.moment.sel(gradients="noise", beta2=0.95)
    gap = abs(noise - noise.sel(rounding="float32"))
    assert float(gap.max()) < 0.1 * float(noise.max())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"tasks": ()}, "tasks"),
        ({"numbers": (0,)}, "numbers"),
        ({"listed": (-1,)}, "listed"),
        ({"decays": (1.0,)}, "decays"),
        ({"workers": 0}, "workers.*0"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        config.Config(**bad)


def made(*, overhead=(1e-3, 1e-3, 1e-3), short=1.0, kept=5e-3, commit=(1e-2, 1.1e-2, 2e-2), file=1.05, moments=None):
    """A record with these seconds a task by way, these commits, and so on; ``short``: how much 100 tasks cost more."""
    tasks, coords = [100, 1_000, 10_000], {"way": list(engine.WAYS), "keeping": list(engine.KEEPING)}
    each = np.empty((3, 2, 3, 1))
    each[:, 0] = np.asarray(overhead)[:, None, None]
    each[:, 1] = kept
    each[:, :, 0] *= short
    seconds = xr.DataArray(each, dims=("way", "keeping", "tasks", "round"), coords={**coords, "tasks": tasks})
    v = np.asarray(moments or [[1.0, 0.13], [0.3, 1.0], [1.0, 0.14]])
    moment = np.stack([np.stack([v[:, :1].repeat(2, 1), v[:, 1:].repeat(2, 1)], -1)], 2)
    return xr.Dataset(
        {
            "seconds": seconds * seconds.tasks,
            "commit": (("listed", "committed"), np.asarray(commit)[:, None]),
            "file_bytes": ("content", [1e4, file * 102_400]),
            "moment": (("rounding", "moment_step", "beta2", "gradients"), moment),
        },
        coords={
            "listed": [1, 1_000, 10_000],
            "content": [1024, 102_400],
            "rounding": list(config.ROUNDINGS),
            "moment_step": [2_000, 5_000],
            "beta2": [0.999],
            "gradients": ["constant", "silent"],
        },
        attrs={"profile": "laptop", "experiment": "engine", "config_hash": "0"},
    )


def verdicts(dataset):
    return {claim.id[-1]: claim.verdict for claim in chapters.claims("engine", dataset)}


def test_all_criteria_can_be_met():
    assert set(verdicts(made()).values()) == {"reproduced"}
    assert set(verdicts(None).values()) == {"not run at this profile"}


@pytest.mark.parametrize(
    ("changed", "claim", "verdict"),
    [
        ({"overhead": (9.9e-3, 9.9e-3, 9.9e-3)}, "a", "reproduced"),
        ({"overhead": (1e-3, 1e-3, 1.1e-2)}, "a", "partly"),
        ({"overhead": (1.1e-2,) * 3}, "a", "not reproduced"),
        ({"overhead": (1e-3, 1e-3, np.nan)}, "a", "reproduced"),
        ({"kept": 1.1e-2}, "b", "not reproduced"),
        ({"short": 0.51}, "c", "reproduced"),
        ({"short": 0.49}, "c", "not reproduced"),
        ({"commit": (1e-2, 1.1e-2, 1.4e-2)}, "d", "not reproduced"),
        ({"commit": (1e-2, 1.1e-2, 3.1e-2)}, "d", "not reproduced"),
        ({"file": 1.11}, "e", "not reproduced"),
        ({"moments": [[1.0, 0.13], [0.6, 1.0], [1.0, 0.13]]}, "f", "partly"),
        ({"moments": [[1.0, 0.13], [0.3, 0.5], [0.8, 0.13]]}, "f", "not reproduced"),
    ],
)
def test_verdicts_follow_the_criteria_on_both_sides(changed, claim, verdict):
    assert verdicts(made(**changed))[claim] == verdict


def test_the_command_measures_and_keeps_a_record(monkeypatch):
    monkeypatch.setitem(config.PROFILES, "smoke", HERE)
    result = CliRunner().invoke(cli.commands, ["bench", "engine", "--profile", "smoke", "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout, parse_constant=pytest.fail)
    assert answer["seconds a task"]["dask"] == {"nothing": {}, "each result": {}}
    assert set(answer["seconds to commit"]) == {"1", "100"}
    path = chapters.request("engine", "smoke").path
    assert records.read(path, command="x").attrs["experiment"] == "engine"
    assert list(path.parents[2].glob("engine-*")) == []


FULL, WEIGHTS, HALF = PRECISIONS.values()


@pytest.mark.parametrize(
    ("k", "precision", "kept"), [(1, FULL, 16), (2, FULL, 24), (4, FULL, 40), (2, WEIGHTS, 20), (4, HALF, 20), (1, HALF, 8)]
)
def test_bytes_a_parameter(k, precision, kept):
    assert precision.kept(k) == kept


@pytest.mark.parametrize(("dtype", "precision"), [(torch.float32, FULL), (torch.bfloat16, WEIGHTS)])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_kadam_keeps_the_bytes_that_are_counted(dtype, precision, k):
    weight = torch.nn.Parameter(torch.ones(10, dtype=dtype))
    weight.grad = torch.ones_like(weight)
    optimizer = KAdam([weight], k=k)
    optimizer.step()
    moments = [value for value in optimizer.state[weight].values() if torch.is_tensor(value) and value.numel() == 10]
    assert sum(tensor.nbytes for tensor in (weight, weight.grad, *moments)) == 10 * precision.kept(k)


def test_half_the_state_is_worth_twice_the_stages():
    assert [HALF.kept(2 * k) for k in (1, 2)] == [WEIGHTS.kept(k) for k in (1, 2)]


def test_the_fewest_gpus_hold_it_and_one_less_does_not():
    for parameters in (7e9, 70e9):
        for k in (1, 2, 4):
            fewest, needed = fewest_gpus(parameters, k, FULL, memory=80e9), parameters * FULL.kept(k)
            assert needed <= 80e9 * fewest
            assert fewest == 1 or needed > 80e9 * (fewest - 1)
    assert fewest_gpus(70e9, 2, FULL, memory=80e9) == 21
    assert fewest_gpus(80e9, 1, HALF, memory=640e9) == 1  # exactly full


@pytest.fixture(scope="module")
def laptop():
    return chapters.measured("engine")


@pytest.mark.parametrize("draw", [figures.engine, figures.moments])
def test_every_figure_draws_something_at_the_width_of_the_text(laptop, draw):
    before = dict(plt.rcParams)
    figure = draw(laptop)
    assert isinstance(figure, Figure)
    assert figure.get_figwidth() == style.WIDTH
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    assert dict(plt.rcParams) == before


def test_without_dask_its_rows_say_that_they_are_missing(laptop):
    changed = laptop.assign(seconds=laptop.seconds.where(laptop.way != "dask"))
    assert figures.overhead_table(changed).rows[4] == ("two Dask workers", "nothing kept", "-", "-", "-", "-")
    assert figures.engine(changed).axes
    assert figures.medians(changed)["seconds a task"]["dask"]["nothing"] == {}


def test_the_tables_hold_what_the_record_holds(laptop):
    overhead = float(claims.per_task(laptop).sel(way="dask", keeping="nothing", tasks=10_000))
    assert overhead == float(laptop.seconds.sel(way="dask", keeping="nothing", tasks=10_000).median()) / 10_000
    assert figures.overhead_table(laptop).rows[4][-2:] == (f"{1e3 * overhead:.2f}", f"{int(1 / overhead)}")
    assert figures.commit_table(laptop).rows[-1][2] == f"{float(laptop.commit.sel(listed=10_000).median()) * 1e3:.1f}"
    assert figures.record_table(laptop).rows[0][1] == f"{float(laptop.file_bytes[0]):,.0f}"
    assert figures.memory_table([7e9], gpu=80e9).rows[1] == ("7B", "float32", "2", "24", "168", "3")
    nearest = float(laptop.moment.sel(beta2=0.999, rounding="bfloat16, nearest", gradients="constant")[-1])
    assert figures.moment_table(laptop).rows[6][3] == f"{nearest:.2f}" == "0.25"
    for table in (figures.overhead_table, figures.record_table, figures.commit_table, figures.asking):
        assert str(table(laptop)) in figures.summary(laptop)
