"""The monitor: its numbers against independent ones, what it says of replays of known causes, that it disturbs nothing."""

import copy
import gc
import math
import pickle
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import gradients, owned, random
from recipes import watch
from tiers import cases
from torch import nn
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode

import kadam
from kadam import KAdam, StabilityMonitor
from kadam.decay import Decay, stages
from kadam.monitor import StabilityWarning, rows
from kadam.theory import invariance, stability
from kadam.theory.reference import kadam_updates

LR, DECAY = 2**-7, 0.1
SHAPES = [(), (3,), (4, 20), (2, 3, 4, 4), (2, 5)]


def made(optimizer, shapes=SHAPES, dtype=torch.float64, **hyper):
    """The optimizer on parameters of these shapes, and a monitor that measures every step."""
    params = [Parameter(random(*shape, seed=i).to(dtype)) for i, shape in enumerate(shapes)]
    found = optimizer(params, lr=LR, **hyper)
    return found, StabilityMonitor(found, every=1)


def feed(optimizer, steps):
    for grads in steps:
        for p, g in zip(owned(optimizer), grads, strict=True):
            p.grad = None if g is None else g.clone()
        optimizer.step()


def one(grads, k=0):
    """The gradients of the k-th parameter as an array, one row a step."""
    return np.stack([step[k].numpy() for step in grads])


# Updates by another way than the monitor's: the oracle, or torch's own step without weight decay

ADAMS = {
    "Adam": (torch.optim.Adam, {}),
    "AdamW": (torch.optim.AdamW, {"weight_decay": DECAY}),
    "AdamW for-loop": (torch.optim.AdamW, {"foreach": False, "betas": (0.8, 0.95)}),
    "KAdam": (KAdam, {"k": 1, "weight_decay": DECAY}),
    "KAdam, two": (KAdam, {"k": 2}),
    "KAdam, three": (KAdam, {"k": 3, "strategy": "root"}),
    "KAdam, pairs": (KAdam, {"k": 2, "betas": [(0.9, 0.99), (0.5, 0.9)]}),
}


def stages_of(hyper):
    betas, k = hyper.get("betas", (0.9, 0.999)), hyper.get("k", 1)
    if isinstance(betas, list):
        return [Decay.from_betas(pair) for pair in betas]
    return stages(Decay.from_betas(betas), k, hyper.get("strategy", "inverse_exp"))


@pytest.fixture
def passed(monkeypatch):
    """Every model is large enough for the kernel, which must be there; the shapes of what it takes are noted."""
    pytest.importorskip("numba")
    taken, once = [], rows._passed_once
    monkeypatch.setattr(rows, "LARGE", 0)
    monkeypatch.setattr(rows, "_passed_once", lambda readings, *more: taken.extend(readings) or once(readings, *more))
    return taken


@pytest.mark.parametrize("name", ADAMS)
@pytest.mark.parametrize("way", ["by blocks", "in one pass"])
def test_the_update_is_that_of_the_reference(name, way, request):
    taken = request.getfixturevalue("passed") if way == "in one pass" else []
    cls, hyper = ADAMS[name]
    optimizer, monitor = made(cls, **hyper)
    steps = gradients(owned(optimizer), 7)
    feed(optimizer, steps)
    layers = monitor.measurement.layers()
    for i, param in enumerate(owned(optimizer)):
        u = kadam_updates(one(steps, i), stages_of(hyper), eps=1e-8)[-1]
        assert layers["update_rms"][i] == pytest.approx(np.sqrt(np.mean(u**2)), rel=1e-12)
        assert layers["update_max"][i] == pytest.approx(np.abs(u).max(), rel=1e-12)
        assert layers["above_one"][i] == np.mean(np.abs(u) > 1)
        after = param.detach().numpy()
        assert layers["update_to_weight"][i] == pytest.approx(LR * np.linalg.norm(u) / np.linalg.norm(after), rel=1e-12)
    assert len(taken) == (7 * len(SHAPES) if way == "in one pass" else 0)


MOVED = {
    "Adam, amsgrad": (torch.optim.Adam, {"amsgrad": True}),
    "Adam, maximize": (torch.optim.Adam, {"maximize": True}),
    "Adam, coupled": (torch.optim.Adam, {"weight_decay": DECAY}),
    "NAdam": (torch.optim.NAdam, {}),
    "NAdam, maximize": (torch.optim.NAdam, {"maximize": True}),
    "NAdam, coupled": (torch.optim.NAdam, {"weight_decay": DECAY}),
    "NAdam, decoupled": (torch.optim.NAdam, {"weight_decay": DECAY, "decoupled_weight_decay": True}),
    "Adamax": (torch.optim.Adamax, {"weight_decay": DECAY}),
    "KAdam": (KAdam, {"k": 2, "weight_decay": DECAY}),
}


@pytest.mark.parametrize("name", MOVED)
def test_the_update_is_what_moved_the_weights(name):
    cls, hyper = MOVED[name]
    optimizer, monitor = made(cls, **hyper)
    steps = gradients(owned(optimizer), 6)
    feed(optimizer, steps[:-1])
    before = [p.detach().clone() for p in owned(optimizer)]
    feed(optimizer, steps[-1:])
    decoupled = "decoupled" in name or name == "KAdam"
    for i, (old, new) in enumerate(zip(before, (p.detach() for p in owned(optimizer)), strict=True)):
        u = ((1 - LR * DECAY * decoupled) * old - new) / LR
        assert monitor.measurement.layers()["update_rms"][i] == pytest.approx(u.square().mean().sqrt().item(), rel=1e-9)
        angle = math.acos(min(1.0, ((old * new).sum() / old.norm() / new.norm()).item()))
        assert monitor.measurement.layers()["turn"][i] == pytest.approx(angle, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.5), (0.0, 0.99)])
def test_rulers_are_theorys(betas):
    optimizer, monitor = made(torch.optim.AdamW, betas=betas, weight_decay=DECAY)
    feed(optimizer, gradients(owned(optimizer), 4))
    pair, overall = {"gamma": betas[0], "beta": betas[1]}, monitor.measurement.overall()
    assert overall["noise"] == pytest.approx(stability.white_update(gamma=betas[0]))
    assert overall["rms_bound"] == pytest.approx(stability.rms_bound(3, **pair))
    assert overall["bound"] == pytest.approx(stability.max_update_bound(3, **pair))
    assert overall["critical_silence"] == pytest.approx(stability.critical_silence(**pair))
    turn = invariance.rotation_per_step(eta=LR, weight_decay=DECAY, gamma=betas[0])
    assert overall["turn_equilibrium"] == pytest.approx(turn)


def test_the_bound_of_more_stages_is_the_last_ones_and_counts_from_its_own_start():
    optimizer, _ = made(KAdam, k=1)
    feed(optimizer, gradients(owned(optimizer), 5))
    later = KAdam(owned(optimizer), lr=LR, k=2)
    with pytest.warns(UserWarning, match="stages"):
        later.load_state_dict(optimizer.state_dict())
    monitor = StabilityMonitor(later, every=1)
    feed(later, gradients(owned(later), 3, seed=4))
    last, overall = stages(Decay(), 2)[-1], monitor.measurement.overall()
    assert monitor.measurement.step == 8
    assert overall["bound"] == pytest.approx(stability.max_update_bound(2, beta=last.beta, gamma=last.gamma))
    assert math.isnan(overall["noise"])


def test_an_update_at_the_bound_is_measured_as_that():
    worst = stability.worst_case_gradients(30, beta=0.95, gamma=0.9)
    optimizer, monitor = made(torch.optim.Adam, shapes=[(1, 20)], betas=(0.9, 0.95), eps=0.0)
    feed(optimizer, [[torch.full((1, 20), float(g), dtype=torch.float64)] for g in worst])
    overall = monitor.measurement.overall()
    assert overall["update_max"] == pytest.approx(overall["bound"], rel=1e-9)


def test_shares_count_what_they_say():
    optimizer, monitor = made(torch.optim.AdamW, shapes=[(2, 20)], weight_decay=2.0)
    weight = owned(optimizer)[0]
    with torch.no_grad():
        weight.copy_(torch.arange(40.0).reshape(2, 20) / 20)
    grad = random(2, 20)
    grad[0, :5] = 0
    feed(optimizer, [[grad]])
    layers = monitor.measurement.layers()
    assert layers["silent"][0] == 5 / 40
    assert layers["outside_box"][0] == float((weight.abs() > 0.5).double().mean())
    assert 0 < layers["outside_box"][0] < 1


@pytest.mark.parametrize("width", [1, 7, 64, 1000])
def test_blocks_do_not_change_the_numbers(monkeypatch, width):
    shapes = [*SHAPES, (5, 300), (2, 40), (1, 700), (700,)]
    found = []
    for block, small in ((rows.BLOCK["cpu"], rows.SMALL), (width, width)):
        monkeypatch.setitem(rows.BLOCK, "cpu", block)
        monkeypatch.setattr(rows, "SMALL", small)
        optimizer, monitor = made(torch.optim.AdamW, shapes=shapes)
        feed(optimizer, gradients(owned(optimizer), 3))
        found.append(monitor.measurement.packet)
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-12)


MIXED = {
    "AdamW": (torch.optim.AdamW, {"weight_decay": 0.5}),
    "amsgrad": (torch.optim.AdamW, {"amsgrad": True, "betas": (0.5, 0.6)}),
    "KAdam": (KAdam, {"k": 2, "eps": 1e-3}),
}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_one_pass_measures_what_blocks_do(name, dtype, rel, passed, monkeypatch):
    """In layers of all lengths, silent and late ones and such with numbers that are none; others it leaves to the blocks."""
    shapes, cls, found = [*SHAPES, (5, 300), (1, 1300), (1300,), (0, 3), (4, 20)], MIXED[name][0], []
    for large in (0, math.inf):
        monkeypatch.setattr(rows, "LARGE", large)
        params = [Parameter(2 * random(*shape, seed=i).to(dtype)) for i, shape in enumerate(shapes)]
        params += [Parameter(random(6, 8, 3, 3).to(memory_format=torch.channels_last)), Parameter(random(3, 20).bfloat16())]
        optimizer = cls([{"params": params[:3]}, {"params": params[3:], "lr": 0.1}], lr=LR, **MIXED[name][1])
        monitor, steps = StabilityMonitor(optimizer, every=1), gradients(params, 4)
        for n, step in enumerate(steps):
            step[2][0, ::3] = 0
            step[3].mul_(n < 2)
            step[4][0, 3] = math.nan if n == 3 else 1
            step[6] = step[6] if n else None
        feed(optimizer, steps)
        found.append(monitor.measurement.packet)
    np.testing.assert_allclose(*found, rtol=rel, atol=rel)
    assert np.isnan(found[0]).any()
    assert len(passed) == 4 * len(shapes) - 1


def test_a_small_model_asks_for_no_kernel_and_where_numba_is_not_blocks_measure_a_large_one(passed, monkeypatch):
    def packet(large):
        monkeypatch.setattr(rows, "LARGE", large)
        optimizer, monitor = made(torch.optim.AdamW)
        feed(optimizer, gradients(owned(optimizer), 2))
        return monitor.measurement.packet

    rows._kernel.cache_clear()
    small = packet(sum(math.prod(shape) for shape in SHAPES) + 1)
    assert rows._kernel.cache_info().currsize == 0
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in ("kadam.monitor.kernel", "kadam.compiled"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    np.testing.assert_array_equal(packet(0), small)
    rows._kernel.cache_clear()

    def import_module(name):
        raise RuntimeError("no LLVM")

    monkeypatch.setattr(rows.importlib, "import_module", import_module)
    with pytest.warns(UserWarning, match="numba cannot be used .no LLVM.: the monitor measures without it") as told:
        np.testing.assert_array_equal(packet(0), small)
    assert len(told) == 1
    assert passed == []
    rows._kernel.cache_clear()


# What made it large: replays of both causes, and quiet ones

SHAPE = (64, 32)


class Replay:
    """White gradients of one size with something done to them, by the number of the step."""

    def __init__(self, change=lambda n, g: g, shape=SHAPE):
        self.change, self.shape = change, shape

    def run(self, steps, optimizer=torch.optim.AdamW, every=10, schedule=None, lr=1e-3, quiet=True, **hyper):
        param = Parameter(random(*self.shape, seed=5).float() / 10)
        optimizer = optimizer([("weight", param)], lr=lr, **hyper)
        monitor = StabilityMonitor(optimizer, every=every)
        self.feed(optimizer, steps, schedule and schedule(optimizer), quiet=quiet)
        return monitor

    def feed(self, optimizer, steps, scheduler=None, start=0, quiet=True):
        rng = torch.Generator().manual_seed(1 + start)
        with warnings.catch_warnings():
            if quiet:
                warnings.simplefilter("ignore", StabilityWarning)
            for n in range(start, start + steps):
                owned(optimizer)[0].grad = self.change(n, torch.randn(self.shape, generator=rng))
                optimizer.step()
                if scheduler:
                    scheduler.step()


def lined_up(n, g):
    """From step 600 on a quarter of each gradient's square is one direction: its size stays what it was."""
    return g if n < 600 else 0.75**0.5 * g + 0.5 * random(*SHAPE, seed=9).float()


def bad_batch(n, g):
    return g * (100 if n == 700 else 1)


def silent(first, last, row=None, size=0.0):
    """Gradients of nothing, or next to nothing, in these steps, everywhere or in one row."""

    def change(n, g):
        if first <= n < last:
            g[slice(None) if row is None else row] *= size
        return g

    return change


CAUSES = {  # the gradients, steps, betas, the cause, since about which step, the row
    "gradients that line up": (lined_up, 900, (0.9, 0.999), "momentum", 600, None),
    "a bad batch": (bad_batch, 800, (0.9, 0.999), "momentum", 700, None),
    "a silence and a return": (silent(500, 4000), 4100, (0.9, 0.999), "second moment", 500, None),
    "a faint while and a return": (silent(500, 4000, size=1e-6), 4100, (0.9, 0.999), "second moment", 500, None),
    "a silent row": (silent(500, 4000, row=3), 4100, (0.9, 0.999), "second moment", 500, 3),
    "outside the region": (silent(500, 540), 600, (0.9, 0.5), "second moment", 500, None),
    "outside, a row": (silent(500, 540, row=7), 600, (0.9, 0.5), "second moment", 500, 7),
}


@pytest.mark.parametrize("case", cases(CAUSES, quick=[*CAUSES][::2]))
def test_the_cause_is_told(case):
    change, steps, betas, kind, since, row = CAUSES[case]
    monitor = Replay(change).run(steps, betas=betas)
    (event,) = monitor.events
    assert event.kind == kind
    assert event.cause.startswith(kind)
    assert event.name == "weight"
    assert event.row == row
    assert event.factor > monitor.rule.threshold
    assert abs(event.since - since) <= 30
    assert event.step > event.since


def test_a_step_earlier_is_an_event_earlier():
    by_ten, at_once = (Replay(bad_batch).run(720, every=every).events[0] for every in (10, 1))
    assert by_ten.step == 710
    assert at_once.step == 701
    assert at_once.factor > by_ten.factor


HEALTHY = {
    **{
        f"white, betas {betas}": (lambda n, g: g, {"betas": betas})
        for betas in ((0.9, 0.999), (0.9, 0.95), (0.5, 0.9), (0.9, 0.5))
    },
    "no momentum": (lambda n, g: g, {"betas": (0.0, 0.99)}),
    "a gradient that fades": (lambda n, g: g * math.exp(-n / 500), {}),
    "a rising and falling rate": (
        lambda n, g: g,
        {"lr": 1e-3, "schedule": lambda opt: torch.optim.lr_scheduler.OneCycleLR(opt, 1e-2, 5000)},
    ),
    "two stages": (lambda n, g: g, {"optimizer": KAdam, "k": 2}),
}


@pytest.mark.parametrize("case", cases(HEALTHY, quick=("white, betas (0.9, 0.999)", "no momentum", "two stages")))
def test_a_healthy_run_has_no_event(case):
    change, hyper = HEALTHY[case]
    monitor = Replay(change, shape=(8, 32)).run(5000, **hyper)
    assert len(monitor.history) == 500
    assert monitor.events == []


@pytest.mark.parametrize("shape", cases([(1,), (7,), (5, 20)], quick=[(7,)]))
def test_nor_has_a_layer_of_few_weights(shape):
    assert Replay(shape=shape).run(5000).events == []


def test_white_gradients_are_measured_at_the_level_of_noise():
    history = Replay().run(2000).history
    assert history[-1][1] == pytest.approx(stability.white_update(gamma=0.9), rel=0.1)


def test_rows_at_risk_are_silent_in_more_steps_than_the_critical_share():
    betas, share = (0.9, 0.5), stability.critical_silence(beta=0.5, gamma=0.9)

    def change(n, g):
        g[:16] *= (n * 7919) % 100 < 100 * (1 - share) - 15  # silent in more
        g[16:32] *= (n * 7919) % 100 < 100 * (1 - share) + 15  # silent in fewer
        return g

    monitor = Replay(change).run(1000, betas=betas, every=3)
    assert monitor.measurement.overall()["rows_at_risk"] == 16 / 64
    inside = Replay(change).run(1000, betas=(0.9, 0.999), every=3)
    assert inside.measurement.overall()["rows_at_risk"] == 0


def test_each_cause_warns_once():
    def twice(n, g):
        return bad_batch(n, bad_batch(n - 800, g))

    replay = Replay(twice)
    with pytest.warns(StabilityWarning, match="momentum lined up") as found:
        monitor = replay.run(1700, quiet=False)
    assert len(monitor.events) == 2
    assert len(found) == 1


# Out of the way


class Transfers(TorchDispatchMode):
    """Counts what would make a host wait for a device: numbers read one by one, and the shapes of what is made."""

    def __init__(self):
        super().__init__()
        self.read, self.largest = 0, 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        self.read += function is torch.ops.aten._local_scalar_dense.default and arguments[0].dim() > 0
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel())
        return result


def test_a_measurement_makes_nothing_larger_than_a_block(monkeypatch):
    monkeypatch.setitem(rows.BLOCK, "cpu", 2**12)
    optimizer, monitor = made(torch.optim.AdamW, shapes=[(256, 256), (2**15,), (300, 40)])
    feed(optimizer, gradients(owned(optimizer), 1))
    with Transfers() as seen:
        monitor.measure()
    assert seen.largest == max(p.numel() for p in owned(optimizer))  # of which views are made
    held = tensors_that_live()
    del monitor
    assert sum(held.values()) - sum(tensors_that_live().values()) == 0  # the optimizer's hook still holds it
    optimizer._optimizer_step_post_hooks.clear()
    gone = set(held) - set(tensors_that_live())
    assert 0 < sum(held[i] for i in gone) < 0.2 * sum(p.nbytes for p in owned(optimizer))


def tensors_that_live():
    """Bytes by identity."""
    gc.collect()
    return {id(x): x.nbytes for x in gc.get_objects() if type(x) is torch.Tensor}


def test_a_measurement_comes_to_the_host_at_once(monkeypatch):
    optimizer, monitor = made(torch.optim.AdamW, capturable=False)
    moved = []
    cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda t: moved.append(t.shape) or cpu(t))
    feed(optimizer, gradients(owned(optimizer), 1))
    assert moved == [(len(SHAPES), monitor.measurement.packet.shape[1])]


def test_the_weights_are_those_of_a_run_that_is_not_watched():
    runs = []
    for watched in (True, False):
        optimizer, monitor = made(KAdam, k=1)
        if not watched:
            monitor.detach()
        feed(optimizer, gradients(owned(optimizer), 5))
        assert (monitor.measurement is not None) == watched
        runs.append(owned(optimizer))
    assert all(torch.equal(p, q) for p, q in zip(*runs, strict=True))


def test_it_measures_every_so_many_steps_until_it_is_detached():
    param = Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([param])
    monitor = StabilityMonitor(optimizer, every=4)
    assert monitor.log() == {}
    assert "nothing was measured" in str(monitor)
    feed(optimizer, [[torch.ones(3)]] * 9)
    assert [step for step, *_ in monitor.history] == [4, 8]
    monitor.detach()
    feed(optimizer, [[torch.ones(3)]] * 9)
    assert len(monitor.history) == 2
    monitor.attach()
    monitor.attach()  # once
    feed(optimizer, [[torch.ones(3)]] * 3)
    assert [step for step, *_ in monitor.history] == [4, 8, 21]


def test_it_does_not_keep_weights_alive_and_copies_of_an_optimizer_are_not_watched():
    optimizer, monitor = made(torch.optim.AdamW)
    feed(optimizer, gradients(owned(optimizer), 2))
    assert not copy.deepcopy(optimizer)._optimizer_step_post_hooks
    pickle.loads(pickle.dumps(optimizer))
    slot = monitor._slots[0]
    optimizer.state.pop(optimizer.param_groups[0]["params"].pop(0))
    gc.collect()
    assert slot.param() is None
    feed(optimizer, gradients(owned(optimizer), 1))
    assert len(monitor.measurement.names) == len(SHAPES) - 1


def test_two_monitors_and_two_optimizers_do_not_disturb_each_other():
    optimizer, first = made(torch.optim.AdamW)
    second = StabilityMonitor(optimizer, every=2)
    other, third = made(torch.optim.NAdam)
    feed(optimizer, gradients(owned(optimizer), 4))
    feed(other, gradients(owned(other), 3))
    assert [len(monitor.history) for monitor in (first, second, third)] == [4, 2, 3]
    np.testing.assert_array_equal(first.measurement.packet[:, 1], second.measurement.packet[:, 1])


# Parameters of every kind


def test_parameters_without_a_gradient_wait_and_later_ones_join():
    optimizer, monitor = made(torch.optim.AdamW, shapes=[(4, 20), (3,)])
    feed(optimizer, [[None, torch.ones(3).double()]])
    assert monitor.measurement.names == ["1"]
    late = Parameter(random(2, 20))
    optimizer.add_param_group({"params": [late], "lr": LR / 2})
    feed(optimizer, gradients(owned(optimizer), 2))
    assert monitor.measurement.names == ["0", "1", "2"]
    assert monitor.measurement.packet[:, -3].tolist() == [2.0, 3.0, 2.0]  # steps
    assert monitor.measurement.packet[:, -1].tolist() == [LR, LR, LR / 2]


def test_no_gradient_at_all_is_no_measurement():
    optimizer, monitor = made(torch.optim.AdamW, shapes=[(3,)])
    feed(optimizer, [[None]])
    assert monitor.measurement is None


def test_parameters_of_different_ages_and_groups_are_measured_each_by_its_own():
    ours = [Parameter(random(4, 20, seed=i)) for i in range(3)]
    groups = [{"params": ours[:2]}, {"params": ours[2:], "betas": (0.8, 0.9)}]
    optimizer = torch.optim.AdamW(groups, lr=LR)
    monitor = StabilityMonitor(optimizer, every=1)
    steps = gradients(ours, 5)
    for step in steps[:2]:
        step[1] = None
    feed(optimizer, steps)
    late = np.stack([step[1].numpy() for step in steps[2:]])
    given = [(one(steps, 0), Decay()), (late, Decay()), (one(steps, 2), Decay(gamma=0.8, beta=0.9))]
    for grads, decay, rms in zip(*zip(*given, strict=True), monitor.measurement.layers()["update_rms"], strict=True):
        assert rms == pytest.approx(np.sqrt(np.mean(kadam_updates(grads, [decay], eps=1e-8)[-1] ** 2)))


@pytest.mark.parametrize("cls", [torch.optim.AdamW, KAdam])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.complex64])
def test_every_dtype_is_measured(cls, dtype):
    hyper = {"k": 1} if cls is KAdam else {}
    optimizer, monitor = made(cls, shapes=[(4, 20)], dtype=dtype, **hyper)
    feed(optimizer, [[torch.ones(4, 20, dtype=dtype) * (1 + 1j if dtype.is_complex else 1)]] * 3)
    layers = monitor.measurement.layers()
    assert layers["update_rms"][0] == pytest.approx(1.0, rel=0.02)
    assert monitor.measurement.packet[0, 0] == (160 if dtype.is_complex else 80)


def test_any_layout_is_measured():
    whole = random(6, 8, 3, 3)
    kept = [Parameter(whole.clone()), Parameter(whole.clone().to(memory_format=torch.channels_last))]
    kept.append(Parameter(whole.clone().transpose(0, 1).contiguous().transpose(0, 1)))
    optimizer = torch.optim.AdamW(kept, lr=LR)
    monitor = StabilityMonitor(optimizer, every=1)
    grad = random(6, 8, 3, 3, seed=3)
    feed(optimizer, [[grad] * 3] * 2)
    first, *others = monitor.measurement.packet
    for other in others:
        np.testing.assert_allclose(first, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("flags", [{"capturable": True}, {"lr": torch.tensor(LR)}, {"fused": True}, {"foreach": True}])
def test_flags_of_torchs_optimizers_do_not_matter(flags):
    found = []
    for more in ({}, flags):
        params = [Parameter(random(4, 20))]
        optimizer = torch.optim.AdamW(params, **{"lr": LR, **more})
        if more.get("capturable"):
            for group in optimizer.param_groups:
                group["capturable"] = False  # which a CPU has not; the state is the same
        monitor = StabilityMonitor(optimizer, every=1)
        feed(optimizer, gradients(params, 3))
        found.append(monitor.measurement.packet)
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_steps_that_are_counted_on_a_device_are_not_read_there(monkeypatch):
    """A stand-in for a device: numbers without dimensions that stay tensors."""
    from kadam.monitor import reading

    optimizer, monitor = made(torch.optim.AdamW)
    feed(optimizer, gradients(owned(optimizer), 3))
    expected = monitor.measurement.packet
    monkeypatch.setattr(reading, "_number", lambda x: torch.as_tensor(x, dtype=torch.float64).reshape(()))
    for slot in monitor._slots:
        slot.levels[:, -2] = -1  # the last step measured
    with Transfers() as seen:
        monitor.measure()
    np.testing.assert_allclose(monitor.measurement.packet[:, :11], expected[:, :11], rtol=1e-9)
    assert seen.read == 0


def test_a_step_that_a_scaler_skips_is_not_measured():
    optimizer, monitor = made(KAdam, shapes=[(4, 20)], dtype=torch.float32, k=1, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    param = owned(optimizer)[0]
    for factor in (math.inf, 1.0, 1.0, math.inf, 1.0):
        optimizer.zero_grad()
        scaler.scale((param * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert [step for step, *_ in monitor.history] == [1, 2, 3]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, as its compiler is imported
@pytest.mark.parametrize("cls", [torch.optim.AdamW, KAdam])
def test_a_compiled_step_is_measured(cls):
    optimizer, monitor = made(cls, shapes=[(4, 20)], dtype=torch.float32)
    plain, expected = made(cls, shapes=[(4, 20)], dtype=torch.float32)
    steps = gradients(owned(optimizer), 3)
    step = torch.compile(optimizer.step, backend="eager")
    for grads in steps:
        owned(optimizer)[0].grad = grads[0].clone()
        step()
    feed(plain, steps)
    assert len(monitor.history) == 3
    np.testing.assert_allclose(monitor.measurement.packet, expected.measurement.packet, rtol=1e-4)


# Checkpoints


def test_a_resumed_monitor_goes_on_as_one_that_was_not_stopped(tmp_path):
    replay = Replay(silent(500, 4000, row=3))
    whole, stopped = replay.run(1005), replay.run(1005)
    torch.save([stopped.optimizer.state_dict(), stopped.state_dict()], tmp_path / "checkpoint")
    state, watched = torch.load(tmp_path / "checkpoint", weights_only=True)
    param = Parameter(owned(stopped.optimizer)[0].detach().clone())
    optimizer = torch.optim.AdamW([("weight", param)])
    optimizer.load_state_dict(state)
    monitor = StabilityMonitor(optimizer)
    monitor.load_state_dict(watched)
    for one_of in (whole.optimizer, optimizer):
        replay.feed(one_of, 3100, start=1005)
    assert [str(e) for e in monitor.events] == [str(e) for e in whole.events]
    assert monitor.history == whole.history
    assert monitor.log() == whole.log()
    assert len(monitor.events) == 1
    untold = StabilityMonitor(optimizer)
    assert untold.events == []


def test_what_was_loaded_is_kept_until_its_parameter_is_stepped():
    optimizer, monitor = made(torch.optim.AdamW, shapes=[(4, 20), (2, 20)])
    feed(optimizer, gradients(owned(optimizer), 2))
    other, later = made(torch.optim.AdamW, shapes=[(4, 20), (2, 20)])
    later.load_state_dict(monitor.state_dict())
    first, _ = gradients(owned(other), 1)[0]
    feed(other, [[first, None]])
    torch.testing.assert_close(later.state_dict()["layers"]["1"], monitor.state_dict()["layers"]["1"])


def test_a_state_of_something_else_is_refused():
    monitor = made(torch.optim.AdamW)[1]
    with pytest.raises(ValueError, match="StabilityMonitor"):
        monitor.load_state_dict({"state": {}})


def test_a_layer_of_another_shape_begins_anew():
    optimizer, monitor = made(torch.optim.AdamW, shapes=[(4, 20)])
    feed(optimizer, gradients(owned(optimizer), 2))
    other, later = made(torch.optim.AdamW, shapes=[(6, 20)])
    later.load_state_dict(monitor.state_dict())
    feed(other, gradients(owned(other), 2))
    assert later._slots[0].memory.shape == (8, 6)


# Names and arguments


def test_names_come_from_the_model_the_optimizer_or_a_number():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    loss = lambda: model(torch.ones(2, 3)).sum().backward()  # noqa: E731
    names = [name for name, _ in model.named_parameters()]
    for optimizer, given, expected in (
        (torch.optim.AdamW(model.parameters()), model, names),
        (torch.optim.AdamW(model.parameters()), model.named_parameters(), names),
        (torch.optim.AdamW(model.named_parameters()), None, names),
        (torch.optim.AdamW(model.parameters()), None, ["0", "1", "2", "3"]),
        (torch.optim.AdamW(model.parameters()), model[0].named_parameters(), ["weight", "bias", "2", "3"]),
    ):
        monitor = StabilityMonitor(optimizer, every=1, named_parameters=given)
        loss()
        optimizer.step()
        assert monitor.measurement.names == expected


WEIGHT = [Parameter(torch.ones(2))]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *[({"every": every}, "every") for every in (0, -1, 1.5, True, "2")],
        *[({"threshold": x}, "threshold") for x in (1, 0.5, math.inf, math.nan, "2")],
        *[({"memory": x}, "memory") for x in (0, -1)],
        ({"settle": -1}, "settle"),
        ({"named_parameters": nn.Linear(2, 2)}, "named_parameters"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        StabilityMonitor(torch.optim.AdamW(WEIGHT), **arguments)


def test_names_that_are_no_pairs_are_refused():
    with pytest.raises(TypeError, match="named_parameters"):
        StabilityMonitor(torch.optim.AdamW(WEIGHT), named_parameters=WEIGHT)


@pytest.mark.parametrize(
    "cls", [torch.optim.SGD, torch.optim.RAdam, torch.optim.Adafactor, torch.optim.Adagrad, torch.optim.SparseAdam]
)
def test_another_kind_of_optimizer_is_refused_by_name(cls):
    with pytest.raises(ValueError, match=rf"{cls.__name__} cannot be watched.*KAdam"):
        StabilityMonitor(cls(WEIGHT, lr=1e-3))


def test_what_is_no_optimizer_is_refused():
    with pytest.raises(TypeError, match="torch optimizer"):
        StabilityMonitor([1, 2])


def test_a_state_that_is_not_adams_is_named():
    class Other(torch.optim.AdamW):
        def step(self):
            for p in owned(self):
                self.state[p] = {"momentum": p.grad}

    optimizer = Other([Parameter(torch.ones(2))])
    StabilityMonitor(optimizer, every=1)
    with pytest.raises(ValueError, match=r"Other cannot be watched.*step, exp_avg, exp_avg_sq.*momentum"):
        feed(optimizer, [[torch.ones(2)]])


def test_wrappers_that_hold_an_optimizer_are_opened():
    class Wrapper:
        def __init__(self, optimizer):
            self.optimizer = optimizer

    inner = torch.optim.AdamW(WEIGHT)
    assert StabilityMonitor(Wrapper(inner)).optimizer is inner


# What is shown


def watched():
    return Replay(bad_batch).run(720)


def test_the_table_is_narrow_and_says_what_the_numbers_are_read_against():
    model = nn.ModuleDict({f"a_very_long_name_of_a_layer_{i}": nn.Linear(40, 40) for i in range(30)})
    optimizer = torch.optim.AdamW(model.named_parameters(), lr=1e-3, betas=(0.9, 0.5))
    monitor = StabilityMonitor(optimizer, every=1)
    feed(optimizer, gradients(owned(optimizer), 2))
    lines = str(monitor).splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) < 30
    assert "noise 0.229" in lines[1]
    assert "critical" in lines[1]
    shown = [float(line.split()[2]) for line in lines if line.startswith("…")]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == 20


def test_events_stand_below_the_table():
    monitor = watched()
    table = str(monitor)
    below = table[table.index("1 event:") :]
    assert str(monitor.events[0]) in " ".join(below.split())
    assert "momentum lined up" in " ".join(below.split())
    assert max(map(len, below.splitlines())) < 80


def test_html_is_escaped_and_whole():
    optimizer = torch.optim.AdamW([("<b>&", Parameter(torch.ones(2)))])
    monitor = StabilityMonitor(optimizer, every=1)
    feed(optimizer, [[torch.ones(2)]])
    html = monitor._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "<b>" not in html
    assert html.count("<tr>") == html.count("</tr>") == 3


def test_the_log_is_a_plain_dictionary_of_floats():
    log = watched().log()
    assert {type(value) for value in log.values()} == {float}
    assert {"stability/update_rms", "stability/noise", "stability/events", "stability/update_rms/weight"} <= set(log)
    assert all(math.isfinite(value) for value in log.values())
    assert not [name for name in watched().log(layers=False) if name.endswith("/weight")]
    assert "x.bound" in watched().log(prefix="x.")


def test_the_picture_has_a_line_for_each_quantity_and_each_ruler():
    pytest.importorskip("matplotlib")
    labels = watched().picture().axes[0].get_legend_handles_labels()[1]
    assert labels == ["largest", "root mean square", "noise", "rms bound", "bound", "event: momentum"]


def test_a_picture_without_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"kadam\[lab\]"):
        watched().picture()


def test_a_long_history_is_thinned(monkeypatch):
    from kadam.monitor import watch

    monkeypatch.setattr(watch, "LONGEST", 10)
    optimizer, monitor = made(torch.optim.AdamW, shapes=[(3,)])
    feed(optimizer, gradients(owned(optimizer), 40))
    assert len(monitor.history) <= 10
    assert monitor.history[-1][0] >= 39


def test_it_is_public():
    assert "StabilityMonitor" in kadam.__all__
    assert kadam.StabilityMonitor is StabilityMonitor


def numbers_and_words(text):
    """Its numbers, with units and signs of percent as factors, and what is between them."""
    pattern = r"(?<![\w.])\d+\.?\d*(?:e[+-]\d+)?"
    return [float(x) for x in re.findall(pattern, text)], re.sub(pattern, "#", text).split()


def test_the_page_shows_what_its_example_prints(capsys):
    page = (Path(__file__).parents[1] / "book" / "monitor.md").read_text()
    (shown,) = re.findall(r"^```text\n(.*?)^```$", page, flags=re.M | re.S)
    with pytest.warns(StabilityWarning) as found:
        watch("A spike")
    assert len(found) == 2
    (expected, words), (printed, said) = map(numbers_and_words, (shown, capsys.readouterr().out))
    assert words == said
    assert printed == pytest.approx(expected, rel=0.1, abs=0.5)
