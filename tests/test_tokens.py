"""What the experiment on the speed of learning text measures, and both sides of its criteria; no time is asserted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from kadam import chapters
from kadam.chapters.speed import loops
from kadam.chapters.speed.tokens import config as tokens_config
from kadam.chapters.speed.tokens import figures as report
from kadam.chapters.speed.tokens import run as tokens
from kadam.lab.data import text as corpora

TINY = tokens_config.PROFILES["smoke"]
SMALL, OTHER = TINY.settings


@pytest.fixture(scope="module")
def record():
    return tokens.run(TINY)


@pytest.fixture(scope="module")
def bench():
    return tokens.Bench(TINY)


def test_everything_is_timed_in_every_round(record):
    assert dict(record.rate.sizes) == {"setting": 2, "loop": 2, "round": 2}
    assert dict(record.part_s.sizes) == {"setting": 2, "part": 4, "round": 2}
    assert dict(record.step_s.sizes) == {"setting": 2, "optimizer": 7, "round": 2}
    assert record.optimizer.values.tolist() == [
        *("Adam", "AdamW", "NAdam", "Lion", "Adam, fused"),
        *("2-Adam inverse_exp", "2-Adam meta"),
    ]
    assert record.k.values.tolist() == [1, 0, 0, 0, 0, 2, 2]
    assert all(bool((record[name] > 0).all()) for name in ("rate", "step_s", "peak", "share", "operations"))
    assert bool(np.isfinite(record.part_s).all())


def test_the_record_says_what_was_measured_where(record):
    assert {"data", "data_sha256", "device", "side"} <= set(record.attrs)
    assert record.attrs["device"].endswith("CPU, 1 thread")
    assert all("units" in variable.attrs for variable in record.data_vars.values())
    assert all(str(name).endswith(("ATTENTION", "MATH")) for name in record.attention.values)


def test_threads_are_put_back(record):
    before = torch.get_num_threads()
    tokens.run(replace(TINY, rounds=1, repeats=1))
    assert torch.get_num_threads() == before


def test_the_parts_add_up_to_a_step(bench):
    steps = bench.clock.parts({"small": bench.training(SMALL, "Adam")}).sum(axis=1)
    assert (steps > 0).all()


def test_the_state_is_two_moments_a_stage(record):
    states = dict(zip(record.optimizer.values.tolist(), record.state_bytes.sel(setting="small").values.tolist(), strict=True))
    assert states == {"Lion": 1, "2-Adam inverse_exp": 4, "2-Adam meta": 4} | dict.fromkeys(
        ("Adam", "AdamW", "NAdam", tokens_config.FUSED), 2
    )


@pytest.mark.parametrize("setting", TINY.settings, ids=lambda setting: setting.precision)
def test_given_the_same_batches_both_loops_see_the_same_losses(bench, setting, monkeypatch):
    ours, (model, plain) = bench.training(setting, tokens.LOOPED), tokens.hand_made(bench, setting)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), ours.params, strict=True))
    ours.schedule = lambda n: 1.0
    starts = iter(ours.batches._draw(0))
    monkeypatch.setattr(torch, "randint", lambda *args, **kwargs: next(starts)[:, None])
    plain_losses = [float(plain()) for _ in range(TINY.limit)]
    for n in range(TINY.limit):
        ours.step(n)
    assert plain_losses == pytest.approx(ours.losses.tolist(), rel=1e-6)
    assert plain_losses[1] != plain_losses[0]
    assert all(torch.allclose(p, q, rtol=1e-5, atol=1e-7) for p, q in zip(model.parameters(), ours.params, strict=True))


def test_the_plain_loop_draws_windows_from_the_whole_text_and_not_beyond():
    text = torch.arange(12, dtype=torch.uint8)
    network = tokens.TextNetwork(12, 3, tokens_config.TINY, False)
    model, _ = network.build()
    model.reset(0)
    seen = []
    step = tokens.plain_loop(text, model, watched(model, seen), batch=64, context=3, precision="float32")
    for _ in range(4):
        step()
    begun = torch.cat(seen)
    assert bool((begun.diff(dim=1) == 1).all())
    assert sorted(set(begun[:, 0].tolist())) == list(range(9))  # 3 tokens and the one that is predicted


def watched(model, seen):
    return lambda x: seen.append(x.clone()) or model(x)


def test_both_loops_learn_from_as_many_tokens(bench):
    seen, (model, _) = [], tokens.hand_made(bench, SMALL)
    size = {"batch": SMALL.batch, "context": SMALL.context}
    tokens.plain_loop(bench.texts["shakespeare"].train, model, watched(model, seen), precision="float32", **size)()
    assert bench.training(SMALL, "Adam").batches[0][:, :-1].shape == seen[0].shape == (SMALL.batch, SMALL.context)


def test_prefixes_end_with_the_whole_step_and_leave_no_gradient(bench):
    ours = bench.training(SMALL, "Adam")
    ends = loops.prefixes(ours)
    assert tuple(ends) == tokens.PARTS
    start = [p.detach().clone() for p in ours.params]
    for part in tokens.PARTS[:3]:
        ends[part](0)
    assert all(torch.equal(p, q) for p, q in zip(ours.params, start, strict=True))
    assert all(p.grad is None for p in ours.params)
    ends["optimizer"](0)
    assert not all(torch.equal(p, q) for p, q in zip(ours.params, start, strict=True))


def test_operations_are_those_of_the_matrix_products(bench):
    """Counted one by one: 2 operations a number of a matrix and token, thrice; the look-up and the positions have none."""
    context, shape = SMALL.context, tokens_config.TINY
    model, _ = bench.network(SMALL).build()
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "positions" not in name]
    gains = sum(p.numel() for p in model.parameters() if p.dim() == 1)
    products = sum(2 * p.numel() for p in matrices) + shape.layers * 2 * 2 * context * shape.width
    assert tokens.operations(model, SMALL) == 3 * products + 6 * gains
    assert gains < 0.05 * sum(p.numel() for p in matrices)


def test_the_share_is_the_rate_of_operations_over_that_of_the_product(record):
    expected = record.rate * record.operations / record.peak
    assert np.allclose(record.share, expected.transpose(*record.share.dims))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_product_is_computed_in_the_precision_of_the_network(dtype, monkeypatch):
    calls, mm = [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, out: calls.append((a.dtype, a.shape)) or mm(a, b, out=out))
    out = tokens.product(8, dtype, torch.device("cpu"))()
    assert calls == [(dtype, (8, 8))]
    assert out.dtype == dtype


def test_the_two_settings_use_their_own_text_and_precision(bench):
    assert bench.network(SMALL).vocabulary < bench.network(OTHER).vocabulary == 256
    assert (SMALL.dtype, OTHER.dtype) == (torch.float32, torch.bfloat16)
    assert bench.data.sha256 == tokens.load_data(TINY).sha256


def test_without_the_reviews_the_record_says_what_stands_in(monkeypatch):
    monkeypatch.setattr(corpora, "find", lambda source, *, fetch: None)
    with pytest.warns(corpora.StandInWarning):
        data = tokens.load_data(replace(TINY, settings=(OTHER,), text="real"), fetch=False)
    assert data.origin == "embedded"


def verdicts(record):
    return {claim.id: claim.verdict for claim in chapters.claims("tokens", record)}


@pytest.mark.parametrize(
    ("factors", "verdict"), [((0.91, 0.91), "reproduced"), ((0.91, 0.89), "partly"), ((0.89, 0.89), "not reproduced")]
)
def test_the_loop_must_be_as_fast_as_a_plain_one_within_a_tenth(record, factors, verdict):
    rate = record.rate.copy()
    rate.loc[{"loop": "plain"}] = 100.0
    for setting, factor in zip(TINY.settings, factors, strict=True):
        rate.loc[{"loop": "ours", "setting": setting.name}] = 100 * factor
    assert verdicts(record.assign(rate=rate))["D-7s"] == verdict


@pytest.mark.parametrize(
    ("factors", "verdict"),
    [((1.09, 1.0), "reproduced"), ((1.0, 1.11), "not reproduced"), ((1.11, 1.0), "not reproduced"), ((1.1, 1.1), "reproduced")],
)
def test_a_second_stage_must_be_cheap_whatever_the_strategy(record, factors, verdict):
    seconds = record.step_s.copy(data=np.ones(record.step_s.shape))
    for strategy, factor in zip(("inverse_exp", "meta"), factors, strict=True):
        seconds.loc[{"optimizer": f"2-Adam {strategy}"}] = factor
    assert verdicts(record.assign(step_s=seconds))["D-7t"] == verdict


def test_a_second_stage_that_is_cheap_in_one_network_is_partly_so(record):
    seconds = record.step_s.copy(data=np.ones(record.step_s.shape))
    seconds.loc[{"optimizer": "2-Adam meta", "setting": "small"}] = 1.2
    assert verdicts(record.assign(step_s=seconds))["D-7t"] == "partly"


@pytest.mark.parametrize(
    ("shares", "device", "verdict"),
    [
        ((0.41, 0.41), "NVIDIA H200", "reproduced"),
        ((0.41, 0.39), "NVIDIA H200", "partly"),
        ((0.39, 0.39), "NVIDIA H200", "not reproduced"),
        ((0.41, 0.41), "2-core x86_64 CPU, 1 thread", "not run at this profile"),
    ],
)
def test_the_share_of_the_arithmetic_is_judged_on_a_gpu(record, shares, device, verdict):
    share = record.share.copy()
    for setting, value in zip(TINY.settings, shares, strict=True):
        share.loc[{"loop": "ours", "setting": setting.name}] = value
    assert verdicts(record.assign(share=share).assign_attrs(device=device))["D-7u"] == verdict


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "rounds must be a whole number >= 1, got 0"),
        ({"side": 0}, "side must be a whole number >= 1, got 0"),
        ({"device": "tpu"}, "device must be one of cpu, cuda; got 'tpu'"),
        ({"text": "mnist"}, "text must be one of real, embedded; got 'mnist'"),
        ({"ks": (0,)}, "0"),
        ({"settings": ()}, r"settings must have different names, and be one or more, got \[\]"),
        ({"settings": (SMALL, SMALL)}, r"settings must have different names, and be one or more, got \['small', 'small'\]"),
    ],
)
def test_a_bad_configuration_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": "novels"}, "corpus must be one of shakespeare, reviews; got 'novels'"),
        ({"precision": "float64"}, "precision must be one of float32, bfloat16; got 'float64'"),
    ],
)
def test_a_bad_setting_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


def test_the_table_fits_and_says_what_the_record_holds(record):
    lines, found = report.table(record).splitlines(), report.medians(record)
    names = {old: new.name for old, new in zip(("small", "reviews"), tokens_config.Config().settings[:2], strict=True)}
    longest = record.assign_coords(setting=[names[str(name)] for name in record.setting.values])
    assert max(map(len, [*lines, *report.table(longest).splitlines()])) <= 90
    assert all(sum(found["shares"][setting.name].values()) == pytest.approx(1) for setting in TINY.settings)
    assert f"{found['ours_over_plain']['small']:.2f}" in lines[1]
    assert lines[-1].split()[:2] == ["2-Adam", "meta"]


def test_the_costs_are_what_the_experiment_judges_by(record):
    for setting in TINY.settings:
        expected = loops.cost(record).sel(setting=setting.name)
        assert report.costs(record, setting.name) == dict(zip(record.optimizer.values, expected.values, strict=True))
        assert report.costs(record, setting.name)["Adam"] == 1
    ratios = dict(zip(record.setting.values, loops.ratio(record).values, strict=True))
    assert report.medians(record)["ours_over_plain"] == ratios


@pytest.mark.parametrize("draw", [report.split, report.cost])
def test_the_figures_are_drawn_and_label_stand_in_data(record, draw):
    figure = draw(record)
    assert isinstance(figure, Figure)
    assert "embedded excerpt" in figure.get_supxlabel()


def test_the_cost_is_drawn_over_every_k_with_the_varied_strategy(record):
    (axes,) = report.cost(record).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["small"].get_xdata().tolist() == [1, 2]
    costs = report.costs(record, "small")
    assert list(lines["small"].get_ydata()) == [1.0, costs["2-Adam inverse_exp"]]
