"""What KAdam promises, on every path and on every device at hand."""

import copy
import io
import math
import pickle
import re
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from problems import DEVICES, assert_same_bits, dense_parameters, gradients, owned, parameters, random, run
from torch.nn import Parameter
from torch.optim import lr_scheduler

from kadam import Decay, KAdam, stages
from kadam.decay import STRATEGIES
from kadam.optim.cpu import chain_only
from kadam.theory.reference import kadam_moments, kadam_updates

LR = 2**-7  # exact in float32 too
EPS = 1e-3  # large, so that its place in every stage matters
ADAM = (0.9, 0.999)
PAIRS = ((0.9, 0.999), (0.5, 0.9), (0.0, 0.99))  # one a stage
SAME_BITS = {"rtol": 0, "atol": 0}

one_to_three = pytest.mark.parametrize("k", [1, 2, 3])


PLAIN = {"for-loop": {"foreach": False}, "foreach": {"foreach": True}}


@pytest.fixture(params=PLAIN)
def plain(request):
    """The paths that follow torch's order of operations."""
    return PLAIN[request.param]


@pytest.fixture(params=[*PLAIN, "fused", "chained"])
def path(request):
    """Every path; fused takes numba's kernel on CPU, chained what is there without numba."""
    with chain_only() if request.param == "chained" else nullcontext():
        yield PLAIN.get(request.param, {"fused": True})


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


def array(x):
    return x.detach().cpu().double().numpy()


def in_a_row(tensors):
    """All their elements, one tensor's after another's."""
    return np.concatenate([array(x).ravel() for x in tensors])


def history(steps, i):
    """The gradients of parameter i, shape (n, ...)."""
    return np.stack([array(grads[i]) for grads in steps])


def moments(state, i):
    return (state["exp_avg"], state["exp_avg_sq"]) if i == 1 else (state[f"exp_avg_{i}"], state[f"exp_avg_sq_{i}"])


def moments_in_a_row(optimizer, i):
    """The first and the second moment of a stage, of all parameters."""
    return [in_a_row(each) for each in zip(*(moments(optimizer.state[p], i) for p in owned(optimizer)), strict=True)]


def snapshot(optimizer):
    """Copies of the weights, the state and the groups, the parameters numbered."""
    return copy.deepcopy([[p.detach() for p in owned(optimizer)], optimizer.state_dict()])


def assert_unchanged(optimizer, before):
    torch.testing.assert_close(snapshot(optimizer)[0], before[0], **SAME_BITS)
    state, groups = optimizer.state_dict()["state"], optimizer.state_dict()["param_groups"]
    torch.testing.assert_close(state, before[1]["state"], **SAME_BITS)
    assert groups == before[1]["param_groups"]


# One stage is torch's Adam


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("maximize", [False, True], ids=["minimize", "maximize"])
@pytest.mark.parametrize(("theirs", "weight_decay"), [(torch.optim.Adam, 0.0), (torch.optim.AdamW, 0.1)])
def test_one_stage_equals_torch_bit_for_bit(theirs, weight_decay, maximize, dtype, plain, device):
    hyper = {"lr": LR, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": weight_decay}
    steps = gradients(parameters(dtype, device), 100)
    ours = KAdam(parameters(dtype, device), k=1, maximize=maximize, **plain, **hyper)
    assert_same_bits(run(ours, steps), run(theirs(parameters(dtype, device), maximize=maximize, **plain, **hyper), steps))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_defaults_are_adams_and_one_stage_is_adam_under_every_strategy(strategy):
    steps = gradients(parameters(), 10)
    assert_same_bits(run(KAdam(parameters(), k=1, strategy=strategy), steps), run(torch.optim.Adam(parameters()), steps))


def test_groups_of_one_stage_equal_adamw_bit_for_bit(plain, device):
    def groups():
        a, b, c, *rest = parameters(torch.float32, device)
        return [
            {"params": [a, b], "lr": 0.1, "betas": (0.5, 0.9), "weight_decay": 0.0},
            {"params": [c], "eps": 1e-2},
            {"params": rest, "weight_decay": 0.3},
        ]

    theirs = torch.optim.AdamW(groups(), **plain)
    steps = gradients(owned(theirs), 100)
    assert_same_bits(run(KAdam(groups(), k=1, weight_decay=0.01, **plain), steps), run(theirs, steps))


def test_parameters_of_several_dtypes_share_a_group(plain, device):
    def mixed():
        return [p for three in zip(parameters(torch.float32, device), parameters(device=device), strict=True) for p in three]

    steps = gradients(mixed(), 20)
    theirs = torch.optim.AdamW(mixed(), **plain)
    assert_same_bits(run(KAdam(mixed(), k=1, weight_decay=0.01, **plain), steps), run(theirs, steps))


# Several stages are the theory's


def by_reference(theta, updates, *, weight_decay=0.0):
    for u in updates:
        theta = (1 - LR * weight_decay) * theta - LR * u
    return theta


def decays_of(betas, k, strategy):
    explicit = isinstance(betas[0], tuple)
    return tuple(map(Decay.from_betas, betas)) if explicit else stages(Decay.from_betas(betas), k, strategy)


DERIVED = [(ADAM, k, strategy) for strategy in STRATEGIES for k in (2, 3, 4, 5)]
EXPLICIT = [(PAIRS[:k], k, "inverse_exp") for k in (1, 2, 3)]
every_kind = pytest.mark.parametrize(("betas", "k", "strategy"), [*DERIVED, *EXPLICIT])

# Rounding knows decays and their number: the decays of every strategy, and one, two, three and most stages.
ROUNDED = [*(case for case in DERIVED if case[1] == 5), DERIVED[0], EXPLICIT[0], EXPLICIT[2]]


@every_kind
def test_weights_and_moments_equal_the_reference_in_float64(betas, k, strategy, path, device):
    """Updates are at most a few units, so their rounding is absolute; v is a sum of squares, so its own is relative."""
    params = parameters(device=device)
    start, steps, decays = in_a_row(params), gradients(params, 50), decays_of(betas, k, strategy)
    hyper = {"lr": LR, "eps": EPS, "weight_decay": 0.1, **path}
    optimizer = run(KAdam(params, betas=betas, k=k, strategy=strategy, **hyper), steps)
    g = np.stack([in_a_row(grads) for grads in steps])
    expected = by_reference(start, kadam_updates(g, decays, eps=EPS), weight_decay=0.1)
    assert_allclose(in_a_row(params), expected, rtol=1e-12, atol=1e-14)
    for j, (m, v) in enumerate(zip(*kadam_moments(g, decays, eps=EPS), strict=True), start=1):
        ours = moments_in_a_row(optimizer, j)
        assert_allclose(ours[0] / np.sqrt(v), m / np.sqrt(v), rtol=0, atol=1e-12)
        assert_allclose(ours[1], v, rtol=1e-12)


@pytest.mark.parametrize(("betas", "k", "strategy"), ROUNDED)
def test_float32_stays_within_its_rounding_of_the_reference(betas, k, strategy, path, device):
    """A step rounds the weight twice (decay, update), and the update at most 10 times a stage; half an ulp each. Moments
    forget their rounding as they forget gradients; m is measured in units of the root of v, as the update uses it."""
    n, half_ulp = 50, torch.finfo(torch.float32).eps / 2
    params = parameters(torch.float32, device)
    start, steps, decays = in_a_row(params), gradients(params, n), decays_of(betas, k, strategy)
    hyper = {"lr": LR, "eps": EPS, "weight_decay": 0.1, **path}
    optimizer = run(KAdam(params, betas=betas, k=k, strategy=strategy, **hyper), steps)
    g = np.stack([in_a_row(grads) for grads in steps])
    u = kadam_updates(g, decays, eps=EPS)
    weight, update = abs(start) + LR * abs(u).sum(0), abs(u).max(0)
    expected = by_reference(start, u, weight_decay=0.1)
    rounding = n * half_ulp * (2 * weight + 10 * k * LR * update)
    assert_allclose((in_a_row(params) - expected) / rounding, 0, atol=1)
    for j, (m, v) in enumerate(zip(*kadam_moments(g, decays, eps=EPS), strict=True), start=1):
        ours, rounding = moments_in_a_row(optimizer, j), 10 * j * n * half_ulp
        assert_allclose(ours[0] / np.sqrt(v), m / np.sqrt(v), rtol=0, atol=rounding)
        assert_allclose(ours[1], v, rtol=rounding)


@every_kind
def test_foreach_equals_the_for_loop(betas, k, strategy, device):
    """On the CPU bit for bit; a GPU may fuse a multiplication and an addition on one path only."""
    hyper = {"lr": LR, "betas": betas, "weight_decay": 0.1, "k": k, "strategy": strategy}
    steps = gradients(parameters(device=device), 30)
    loop, lists = (run(KAdam(parameters(device=device), foreach=f, **hyper), steps) for f in (False, True))
    tolerance = 0.0 if device == "cpu" else 1e-12
    torch.testing.assert_close(owned(lists), owned(loop), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(list(lists.state.values()), list(loop.state.values()), rtol=tolerance, atol=tolerance)


# What a step does, and what it leaves alone


@one_to_three
def test_weight_decay_is_decoupled(k, path):
    """It shrinks the weights, by the learning rate's share a step, and never enters a moment."""
    steps = [[torch.zeros_like(p) for p in parameters()]] * 5
    optimizer = run(KAdam(parameters(), lr=LR, weight_decay=0.5, k=k, **path), steps)
    for p, start in zip(owned(optimizer), parameters(), strict=True):
        torch.testing.assert_close(p.detach(), start.detach() * (1 - LR * 0.5) ** 5)
        assert not any(moment.any() for i in range(1, k + 1) for moment in moments(optimizer.state[p], i))


@one_to_three
def test_without_a_learning_rate_weights_stay_and_moments_advance(k, path):
    steps = gradients(parameters(), 3)
    still = run(KAdam(parameters(), lr=0.0, weight_decay=0.5, k=k, **path), steps)
    moving = run(KAdam(parameters(), lr=LR, k=k, **path), steps)
    for p, start in zip(owned(still), parameters(), strict=True):
        assert torch.equal(p, start)
    torch.testing.assert_close(list(still.state.values()), list(moving.state.values()), **SAME_BITS)


@one_to_three
def test_zero_gradients_keep_the_weights(k, path):
    optimizer = run(KAdam(parameters(), lr=LR, k=k, **path), [[torch.zeros_like(p) for p in parameters()]] * 3)
    for p, start in zip(owned(optimizer), parameters(), strict=True):
        assert torch.equal(p, start)


def test_parameters_without_a_gradient_are_skipped(path):
    optimizer = KAdam(parameters(), lr=LR, weight_decay=0.5, **path)
    optimizer.step()
    assert not optimizer.state
    run(optimizer, [[None, *grads[1:]] for grads in gradients(parameters(), 3)])
    assert torch.equal(owned(optimizer)[0], parameters()[0])
    assert owned(optimizer)[0] not in optimizer.state
    assert not torch.equal(owned(optimizer)[1], parameters()[1])


@one_to_three
def test_a_parameter_that_thaws_late_starts_as_if_alone(k, path, device):
    steps = gradients(parameters(device=device), 20)
    frozen = [[None if i == 2 else g for i, g in enumerate(grads)] for grads in steps[:7]]
    together = run(KAdam(parameters(device=device), lr=LR, k=k, **path), frozen + steps[7:])
    alone = run(KAdam([parameters(device=device)[2]], lr=LR, k=k, **path), [[grads[2]] for grads in steps[7:]])
    (q,) = owned(alone)
    assert torch.equal(owned(together)[2], q)
    torch.testing.assert_close(together.state[owned(together)[2]], alone.state[q], **SAME_BITS)


def test_accumulated_gradients_are_their_sum(path):
    weight, g, h = Parameter(random(4)), random(4, seed=1), random(4, seed=2)
    accumulated = KAdam([weight], lr=LR, **path)
    (weight * g).sum().backward()
    (weight * h).sum().backward()
    accumulated.step()
    assert torch.equal(weight.grad, g + h)
    assert_same_bits(accumulated, run(KAdam([Parameter(random(4))], lr=LR, **path), [[g + h]]))


@one_to_three
@pytest.mark.parametrize("maximize", [False, True], ids=["minimize", "maximize"])
def test_gradients_are_never_written_to(k, maximize, path):
    params = parameters()
    (start,) = gradients(params, 1)
    for p, g in zip(params, start, strict=True):
        p.grad = g.clone()
    before = [(p.grad, p.grad._version) for p in params]
    KAdam(params, lr=LR, weight_decay=0.1, k=k, maximize=maximize, **path).step()
    for p, g, (grad, version) in zip(params, start, before, strict=True):
        assert p.grad is grad
        assert grad._version == version
        assert torch.equal(grad, g)


@one_to_three
def test_weights_change_in_place_and_moments_have_their_layout(k, path):
    params = parameters()
    before = [(p.data_ptr(), p.stride(), p._version) for p in params]
    optimizer = run(KAdam(params, k=k, **path), gradients(params, 2))
    for p, (address, stride, version) in zip(params, before, strict=True):
        assert (p.data_ptr(), p.stride()) == (address, stride)
        assert p._version > version  # autograd sees the change
        assert p.is_leaf
        for moment in [m for i in range(1, k + 1) for m in moments(optimizer.state[p], i)]:
            assert moment.stride() == torch.zeros_like(p).stride()


def test_memory_between_the_rows_of_a_parameter_is_left_alone(path):
    whole = random(6, 4)
    run(KAdam([Parameter(whole[::2])], lr=LR, **path), [[random(3, 4, seed=1)]] * 2)
    assert torch.equal(whole[1::2], random(6, 4)[1::2])
    assert not torch.equal(whole[::2], random(6, 4)[::2])


@one_to_three
def test_maximizing_is_minimizing_the_negative(k, path):
    steps = gradients(parameters(), 10)
    up = run(KAdam(parameters(), lr=LR, k=k, maximize=True, **path), steps)
    down = run(KAdam(parameters(), lr=LR, k=k, **path), [[-g for g in grads] for grads in steps])
    assert_same_bits(up, down)


# Groups

GROUPS = [
    {"k": 1, "lr": 0.1, "betas": (0.5, 0.9)},
    {"k": 3, "strategy": "root", "eps": 1e-2},
    {"k": 3, "betas": PAIRS, "weight_decay": 0.3},
    {"strategy": "meta"},
    {"k": 2, "betas": PAIRS[:2], "maximize": True},
    {},
    {"k": 5},
]


def test_a_group_is_an_optimizer_of_its_own(path, device):
    params, singles = parameters(device=device), parameters(device=device)
    together = KAdam([{"params": p, **g} for p, g in zip(params, GROUPS, strict=True)], lr=LR, **path)
    steps = gradients(params, 10)
    run(together, steps)
    for i, (p, group) in enumerate(zip(singles, GROUPS, strict=True)):
        alone = run(KAdam([p], **{"lr": LR, **path, **group}), [[grads[i]] for grads in steps])
        assert torch.equal(params[i], p)
        torch.testing.assert_close(together.state[params[i]], alone.state[p], **SAME_BITS)


@pytest.mark.parametrize("added", GROUPS)
def test_an_added_group_starts_afresh_with_the_defaults_it_does_not_replace(added, path):
    defaults = {"lr": LR, "eps": 1e-4, "strategy": "scaled", **path}
    first, second, alone = Parameter(random(3)), Parameter(random(3)), Parameter(random(3))
    steps = gradients([first, second], 9)
    optimizer = run(KAdam([first], **defaults), [grads[:1] for grads in steps[:4]])
    optimizer.add_param_group({"params": [second], **added})
    run(optimizer, steps[4:])
    reference = run(KAdam([alone], **{**defaults, **added}), [grads[1:] for grads in steps[4:]])
    assert torch.equal(second, alone)
    torch.testing.assert_close(optimizer.state[second], reference.state[alone], **SAME_BITS)


def test_a_groups_own_pair_replaces_the_explicit_stages(path):
    params, hyper = [Parameter(random(3)), Parameter(random(3))], {"k": 3, "strategy": "root", **path}
    steps = gradients(params[:1], 9)
    groups = [{"params": params[:1], "betas": (0.5, 0.9)}, {"params": params[1:]}]
    run(KAdam(groups, betas=PAIRS, **hyper), [grads * 2 for grads in steps])
    for p, betas in zip(params, ((0.5, 0.9), PAIRS), strict=True):
        (alone,) = owned(run(KAdam([Parameter(random(3))], betas=betas, **hyper), steps))
        assert torch.equal(p, alone)


def test_named_parameters_keep_their_names():
    optimizer = KAdam(torch.nn.Linear(2, 3).named_parameters())
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]


# State


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def adopting(state, weights, path=None, **hyper):
    """A new optimizer over copies of the weights, with this state loaded from a file."""
    optimizer = KAdam([Parameter(p.detach().clone()) for p in weights], **hyper)
    optimizer.load_state_dict(through_a_file(state))
    for group in optimizer.param_groups:
        group.update(path or {})
    return optimizer


STAGED = [{"k": 1}, {"k": 2}, {"k": 3, "strategy": "root"}, {"k": 3, "betas": PAIRS}]


@pytest.mark.parametrize("staged", STAGED)
def test_a_saved_run_continues_bit_for_bit(staged, path, device):
    """Whatever the new optimizer's own hyperparameters, as in torch."""
    steps = gradients(dense_parameters(device=device), 20)
    hyper = {"lr": LR, "weight_decay": 0.1, **path, **staged}
    whole = run(KAdam(dense_parameters(device=device), **hyper), steps)
    half = run(KAdam(dense_parameters(device=device), **hyper), steps[:10])
    resumed = adopting(half.state_dict(), owned(half), lr=1.0, k=staged["k"])
    assert_same_bits(run(resumed, steps[10:]), whole)


@pytest.mark.parametrize("staged", STAGED)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_a_copy_continues_bit_for_bit_and_leaves_the_original(copied, staged, path):
    steps = gradients(dense_parameters(), 20)
    optimizer = run(KAdam(dense_parameters(), lr=LR, **path, **staged), steps[:10])
    twin = copied(optimizer)
    before = snapshot(optimizer)
    run(twin, steps[10:])
    assert_unchanged(optimizer, before)
    assert_same_bits(run(optimizer, steps[10:]), twin)


def test_foreach_may_take_over_from_the_for_loop():
    steps = gradients(parameters(), 20)
    loop = run(KAdam(parameters(), lr=LR, foreach=False), steps[:10])
    lists = adopting(loop.state_dict(), owned(loop), foreach=True)
    for group in lists.param_groups:
        group["foreach"] = True
    assert_same_bits(run(lists, steps[10:]), run(loop, steps[10:]))


def test_an_adamw_run_continues_as_adamw(plain, device):
    steps = gradients(parameters(device=device), 20)
    theirs = run(torch.optim.AdamW(parameters(device=device), lr=LR, **plain), steps[:10])
    ours = adopting(theirs.state_dict(), owned(theirs), k=1)
    assert_same_bits(run(ours, steps[10:]), run(theirs, steps[10:]))


@pytest.mark.parametrize("strategy", ["repeat", "meta"])  # these keep Adam's decay rates in stage 1
def test_an_adamw_run_gains_a_second_stage_with_its_own_bias_correction(strategy, path, device):
    params = parameters(device=device)
    start, steps = [array(p).copy() for p in params], gradients(params, 20)
    theirs = run(torch.optim.AdamW(params, lr=LR, eps=EPS, weight_decay=0.1, foreach=False), steps[:10])
    ours = run(adopting(theirs.state_dict(), params, path, k=2, strategy=strategy), steps[10:])
    first, second = stages(Decay.from_betas(ADAM), 2, strategy)
    for i, p in enumerate(owned(ours)):
        inner = kadam_updates(history(steps, i), [first], eps=EPS)
        outer = kadam_updates(inner[10:], [second], eps=EPS)
        assert_allclose(array(p), by_reference(start[i], [*inner[:10], *outer], weight_decay=0.1), rtol=1e-12, atol=1e-14)
        assert float(ours.state[p]["step_start_2"]) == 10


def test_a_groups_own_stages_survive_an_adamw_state_dict():
    theirs = torch.optim.AdamW([{"params": p} for p in parameters()])
    ours = KAdam([{"params": p, **group} for p, group in zip(parameters(), GROUPS, strict=True)], k=4)
    own = [[group[name] for name in ("stages", "strategy", "stage_betas")] for group in ours.param_groups]
    ours.load_state_dict(theirs.state_dict())
    assert [[group[name] for name in ("stages", "strategy", "stage_betas")] for group in ours.param_groups] == own


def test_a_run_that_gained_a_stage_can_be_saved_again(path):
    steps = gradients(parameters(torch.float32), 30)
    theirs = run(torch.optim.AdamW(parameters(torch.float32), lr=LR, **path), steps[:10])
    ours = run(adopting(theirs.state_dict(), owned(theirs), k=2), steps[10:20])
    resumed = adopting(ours.state_dict(), owned(ours))
    assert_same_bits(run(resumed, steps[20:]), run(ours, steps[20:]))


def test_the_step_at_which_a_stage_began_survives_half_precision(path):
    (grads,) = gradients([random(2).bfloat16()], 1)
    theirs = run(torch.optim.AdamW([Parameter(random(2).bfloat16())], **path), [grads] * 301)
    ours = run(adopting(theirs.state_dict(), owned(theirs), k=2), [grads])
    (p,) = owned(resumed := adopting(ours.state_dict(), owned(ours)))
    assert float(resumed.state[p]["step_start_2"]) == 301


def test_a_step_saved_as_a_number_is_understood(path):
    """As torch saved it before version 1.12."""
    steps = gradients(dense_parameters(), 20)
    half = run(KAdam(dense_parameters(), lr=LR, **path), steps[:10])
    state = copy.deepcopy(half.state_dict())
    for entry in state["state"].values():
        entry["step"] = int(entry["step"])
    assert_same_bits(run(adopting(state, owned(half)), steps[10:]), run(half, steps[10:]))


@one_to_three
def test_state_is_named_and_shaped_as_documented(k, path, device):
    params = parameters(torch.float32, device)
    optimizer = run(KAdam(params, k=k, **path), gradients(params, 2))
    later = {f"{name}_{i}" for name in ("exp_avg", "exp_avg_sq") for i in range(2, k + 1)}
    starts = {f"step_start_{i}": 0.0 for i in range(2, k + 1)}
    for number, p in enumerate(params):
        state, saved = optimizer.state[p], optimizer.state_dict()["state"][number]
        assert set(state) == {"step", "exp_avg", "exp_avg_sq"} | later
        assert set(saved) == set(state) | set(starts)
        assert {name: saved[name].item() for name in starts} == starts
        assert (state["step"].item(), state["step"].shape, state["step"].dtype) == (2, (), torch.float32)
        for moment in [m for i in range(1, k + 1) for m in moments(state, i)]:
            assert (moment.shape, moment.dtype, moment.device) == (p.shape, p.dtype, p.device)


def test_steps_are_counted_whatever_the_default_dtype(path):
    optimizer = KAdam([Parameter(random(2))], **path)
    torch.set_default_dtype(torch.bfloat16)
    try:
        run(optimizer, [[random(2)]] * 300)
    finally:
        torch.set_default_dtype(torch.float32)
    assert optimizer.state[owned(optimizer)[0]]["step"].item() == 300


def test_steps_are_counted_whatever_the_default_device(path):
    optimizer, grad = KAdam([Parameter(random(2))], **path), random(2)
    with torch.device("meta"):
        run(optimizer, [[grad]] * 2)
    assert optimizer.state[owned(optimizer)[0]]["step"].item() == 2


# Schedules

SCHEDULERS = {
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=20),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, base_lr=0.01, max_lr=0.1, step_size_up=5),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda n: 1 / (1 + n)),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=15),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=2),
}
CYCLING = {"OneCycleLR", "CyclicLR"}
every_scheduler = pytest.mark.parametrize("name", SCHEDULERS)


def scheduled(optimizer, name, steps):
    """Run under the scheduler, yielding the group as each step will use it."""
    scheduler = SCHEDULERS[name](optimizer)
    (group,) = optimizer.param_groups
    for grads in steps:
        yield {**group, "lr": float(group["lr"])}
        run(optimizer, [grads])
        scheduler.step(*[1.0] * (name == "ReduceLROnPlateau"))


@every_scheduler
def test_one_stage_follows_a_schedule_as_adamw(name, plain):
    steps = gradients(parameters(), 18)
    ours = KAdam(parameters(), lr=LR, weight_decay=0.1, k=1, **plain)
    theirs = torch.optim.AdamW(parameters(), lr=LR, weight_decay=0.1, **plain)
    seen, expected = list(scheduled(ours, name, steps)), list(scheduled(theirs, name, steps))
    assert [(g["lr"], g["betas"]) for g in seen] == [(g["lr"], g["betas"]) for g in expected]
    assert len({g["lr"] for g in seen}) > 2
    assert (len({g["betas"] for g in seen}) > 2) == (name in CYCLING)
    assert_same_bits(ours, theirs)


@every_scheduler
@pytest.mark.parametrize("strategy", ["scaled", "meta"])
def test_every_stage_follows_a_schedule(strategy, name, path):
    """Each step equals that of a new optimizer, given the stages of this moment explicitly and the old state."""
    params, state = parameters(), {}
    steps = gradients(params, 18)
    ours = KAdam(parameters(), lr=LR, k=2, strategy=strategy, **path)
    for grads, group in zip(steps, scheduled(ours, name, steps), strict=True):
        pairs = [d.betas for d in stages(Decay.from_betas(group["betas"]), 2, strategy)]
        now = KAdam(params, lr=group["lr"], betas=pairs, k=2, **path)
        now.state.update(state)
        state = run(now, [grads]).state
    assert_same_bits(ours, now)


def test_with_explicit_pairs_a_schedule_cycles_the_first(path):
    steps = gradients(parameters(), 18)
    optimizer = KAdam(parameters(), betas=PAIRS, k=3, **path)
    (first, *_, last) = scheduled(optimizer, "OneCycleLR", steps)
    assert first["betas"] == (0.95, 0.999)
    assert last["betas"] != first["betas"]
    expected, state = parameters(), {}
    for grads, group in zip(steps, scheduled(KAdam(parameters(), betas=PAIRS, k=3), "OneCycleLR", steps), strict=True):
        now = KAdam(expected, lr=group["lr"], betas=(group["betas"], *PAIRS[1:]), k=3, **path)
        now.state.update(state)
        state = run(now, [grads]).state
    assert_same_bits(optimizer, now)


@pytest.mark.parametrize("lr", [torch.tensor(LR), torch.tensor([LR], dtype=torch.float64)], ids=["float32", "one element"])
def test_the_learning_rate_may_be_a_tensor(lr, path, device):
    steps = gradients(parameters(device=device), 10)
    ours = KAdam(parameters(device=device), lr=lr.clone(), weight_decay=0.1, **path)
    plain = KAdam(parameters(device=device), lr=LR, weight_decay=0.1, **path)
    assert_same_bits(run(ours, steps), run(plain, steps))
    ours.param_groups[0]["lr"].fill_(0.5)
    plain.param_groups[0]["lr"] = 0.5
    assert_same_bits(run(ours, steps), run(plain, steps))


def test_schedulers_write_into_a_tensor_learning_rate(path):
    lr, steps = torch.tensor(LR, dtype=torch.float64), gradients(parameters(), 10)
    ours, plain = KAdam(parameters(), lr=lr, **path), KAdam(parameters(), lr=LR, **path)
    rates = [[group["lr"] for group in scheduled(o, "LambdaLR", steps)] for o in (ours, plain)]
    assert rates[0] == rates[1]
    assert ours.param_groups[0]["lr"] is lr
    assert_same_bits(ours, plain)


# Closures and hooks


def test_a_closure_runs_once_with_gradients_on_and_its_loss_is_returned(path):
    weight, calls = Parameter(random(3)), []

    def closure():
        assert torch.is_grad_enabled()
        calls.append(1)
        loss = weight.square().sum()
        loss.backward()
        return loss

    optimizer = KAdam([weight], **path)
    assert optimizer.step() is None
    with torch.no_grad():
        loss = optimizer.step(closure)
    assert len(calls) == 1
    assert loss.item() == random(3).square().sum().item()  # of the weights before the step
    assert_same_bits(optimizer, run(KAdam([Parameter(random(3))], **path), [[2 * random(3)]]))


def test_hooks_fire_in_torchs_order(path):
    names = [f"{what}_{when}_hook" for what in ("step", "state_dict", "load_state_dict") for when in ("pre", "post")]
    optimizer, calls = KAdam([Parameter(random(3))], **path), []
    for name in names:
        getattr(optimizer, f"register_{name}")(lambda *args, name=name: calls.append(name))
    run(optimizer, [[random(3)]])
    optimizer.load_state_dict(optimizer.state_dict())
    assert calls == names


# Properties that define the algorithm


@every_kind
def test_the_step_start_is_the_sign_of_the_gradient(betas, k, strategy, path, device):
    params = parameters(device=device)
    steps = gradients(params, 1)
    run(KAdam(params, lr=LR, betas=betas, eps=0.0, k=k, strategy=strategy, **path), steps)
    for p, start, g in zip(params, parameters(device=device), *steps, strict=True):
        torch.testing.assert_close(p.detach(), start.detach() - LR * g.sign(), rtol=1e-13, atol=1e-15)


@one_to_three
def test_weights_do_not_depend_on_the_gradients_scale(k, path):
    """A power of two rounds nothing, so even the bits agree; without eps."""
    steps = gradients(parameters(), 20)
    plain = run(KAdam(parameters(), lr=LR, eps=0.0, k=k, **path), steps)
    scaled = run(KAdam(parameters(), lr=LR, eps=0.0, k=k, **path), [[2**20 * g for g in grads] for grads in steps])
    torch.testing.assert_close(owned(scaled), owned(plain), **SAME_BITS)


@one_to_three
def test_negating_gradients_and_weights_negates_the_run(k, path):
    steps, mirrored = gradients(parameters(), 20), [Parameter(p.detach().neg_()) for p in parameters()]
    plain = run(KAdam(parameters(), lr=LR, weight_decay=0.1, k=k, **path), steps)
    run(KAdam(mirrored, lr=LR, weight_decay=0.1, k=k, **path), [[-g for g in grads] for grads in steps])
    torch.testing.assert_close(mirrored, [-p.detach() for p in owned(plain)], **SAME_BITS)


@one_to_three
def test_a_run_repeats_bit_for_bit(k, path, device):
    steps = gradients(parameters(torch.float32, device), 20)
    first, second = (run(KAdam(parameters(torch.float32, device), k=k, **path), steps) for _ in range(2))
    assert_same_bits(first, second)


def valley(x):
    return (torch.tensor([1.0, 10.0, 100.0], device=x.device) * x.square()).sum()


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


PROBLEMS = [(valley, [1.0, 1.0, 1.0], 0.05, 200, 1e4), (rosenbrock, [-1.2, 1.0], 0.2, 300, 20)]


@one_to_three
@pytest.mark.parametrize(("loss", "start", "lr", "steps", "factor"), PROBLEMS, ids=["valley", "rosenbrock"])
def test_the_loss_falls_by_this_factor(loss, start, lr, steps, factor, k, path, device):
    """The rate decays to zero: with two stages or more every step is about as large as the rate, at a minimum too."""
    x = Parameter(torch.tensor(start, device=device))
    optimizer = KAdam([x], lr=lr, k=k, **path)
    scheduler = lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    before = loss(x).item()
    for _ in range(steps):
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()
        scheduler.step()
    assert loss(x).item() < before / factor


# What is refused

BAD = [
    *(({name: x}, f"{name}.*{x}") for name in ("lr", "eps", "weight_decay") for x in (-0.5, math.nan, math.inf)),
    ({"lr": torch.tensor(-0.5)}, "lr.*-0.5"),
    ({"lr": torch.ones(2)}, r"lr.*\(2,\)"),
    *(({"betas": (x, 0.999)}, f"beta1.*{x}") for x in (1.0, -0.1, math.nan)),
    *(({"betas": (0.9, x)}, f"beta2.*{x}") for x in (1.0, -0.1, math.nan)),
    *(({"betas": betas}, rf"betas must be a pair.*{re.escape(repr(betas))}") for betas in ((0.9,), (0.9, 0.99, 0.999), 0.9)),
    *(({"k": k}, f"k must be a whole number >= 1, got {k}") for k in (0, -1, 1.5, True, None)),
    ({"strategy": "cube"}, ".*".join(["strategy", *STRATEGIES, "'cube'"])),
    ({"betas": PAIRS, "k": 2}, "3 pairs.*k=2"),
    ({"betas": PAIRS[:1], "k": 2}, "1 pairs.*k=2"),
    ({"betas": (ADAM, (0.9, 1.0)), "k": 2}, "beta2.*1.0"),
]
every_bad = pytest.mark.parametrize(("bad", "message"), BAD, ids=[f"{bad}" for bad, _ in BAD])


@every_bad
def test_bad_hyperparameters_are_refused_by_name_and_value(bad, message):
    with pytest.raises(ValueError, match=message):
        KAdam([Parameter(random(2))], **bad)
    with pytest.raises(ValueError, match=message):
        KAdam([{"params": [Parameter(random(2))]}, {"params": [Parameter(random(2))], **bad}])


@every_bad
def test_a_bad_group_leaves_the_optimizer_as_it_was(bad, message):
    optimizer, group = run(KAdam([Parameter(random(2))]), [[random(2)]]), {"params": [Parameter(random(2))], **bad}
    before, defaults, given = snapshot(optimizer), dict(optimizer.defaults), dict(group)
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group(group)
    assert_unchanged(optimizer, before)
    assert optimizer.defaults == defaults
    assert group == given


@pytest.mark.parametrize("name", ["lr", "eps", "weight_decay"])
def test_numbers_as_text_are_refused(name):
    """YAML reads 1e-3 as text."""
    with pytest.raises((TypeError, ValueError), match=name):
        KAdam([Parameter(random(2))], **{name: "1e-3"})


def test_a_refused_gradient_leaves_every_group_untouched(path, device):
    good, bad = Parameter(random(3).to(device)), Parameter(random(2).to(device))
    optimizer = KAdam([{"params": [good]}, {"params": [bad]}], **path)
    for warm_up in (False, True):
        if warm_up:
            run(optimizer, [[random(3).to(device), None]])
        before = snapshot(optimizer)
        good.grad, bad.grad = random(3).to(device), bad.detach().to_sparse()
        with pytest.raises(RuntimeError, match="dense"):
            optimizer.step()
        assert_unchanged(optimizer, before)


def test_an_optimizers_defaults_make_another_one():
    first = KAdam([Parameter(random(2))], betas=((0.9, 0.99), (0.5, 0.6)))
    again = KAdam([Parameter(random(2))], **first.defaults)
    assert again.param_groups[0]["stage_betas"] == first.param_groups[0]["stage_betas"] == ((0.9, 0.99), (0.5, 0.6))


def test_a_pair_whose_stages_round_to_one_is_refused_before_any_step():
    with pytest.raises(ValueError, match=r"beta must lie in \[0, 1\), got 1.0"):
        KAdam([Parameter(random(2))], betas=(0.9, math.nextafter(1.0, 0.0)), strategy="root")
