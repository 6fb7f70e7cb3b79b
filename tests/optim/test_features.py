"""What AdamW's users rely on: dtypes, autograd through a step, device counters, compilers, scalers, foreign checkpoints."""

import copy
import pickle
import warnings
import weakref

import pytest
import torch
from numpy.testing import assert_allclose
from problems import DEVICES, assert_same_bits, dense_parameters, gradients, owned, parameters, random, run
from test_kadam import EPS, LR, PAIRS, adopting, array, by_reference, history, moments, path, through_a_file  # noqa: F401
from tiers import exhaustive, heavy
from torch import nn
from torch.autograd import gradcheck
from torch.nn import Parameter
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from kadam import Decay, KAdam, stages
from kadam.theory.reference import kadam_updates

one_to_three = pytest.mark.parametrize("k", [1, 2, 3])
every_device = pytest.mark.parametrize("device", DEVICES)

# Complex parameters are two reals each


def complex_parameters():
    shapes = [(), (3,), (4, 5), (5, 4)]
    values = [torch.complex(random(*shape, seed=1), random(*shape, seed=2)) for shape in shapes]
    return [Parameter(x) for x in (*values[:3], values[3].t())]


def complex_gradients(steps):
    real, imaginary = (gradients([p.real for p in complex_parameters()], steps, seed=seed) for seed in (3, 4))
    return [[torch.complex(a, b) for a, b in zip(*grads, strict=True)] for grads in zip(real, imaginary, strict=True)]


@one_to_three
def test_a_complex_parameter_steps_as_two_reals(k, path):  # noqa: F811
    steps = complex_gradients(10)
    whole = run(KAdam(complex_parameters(), lr=LR, k=k, weight_decay=0.1, **path), steps)
    parts = [Parameter(torch.view_as_real(p.detach()).clone()) for p in complex_parameters()]
    halves = run(KAdam(parts, lr=LR, k=k, weight_decay=0.1, **path), [[*map(torch.view_as_real, grads)] for grads in steps])
    for p, q in zip(owned(whole), parts, strict=True):
        assert torch.equal(torch.view_as_real(p.detach()), q.detach())
        for name, value in halves.state[q].items():
            ours = whole.state[p][name]
            if torch.is_tensor(ours) and ours.is_complex():
                ours = torch.view_as_real(ours)
            torch.testing.assert_close(ours, value, rtol=0, atol=0)


def test_one_complex_stage_equals_torch_bit_for_bit():
    steps = complex_gradients(10)
    theirs = run(torch.optim.AdamW(complex_parameters(), lr=LR, foreach=False), steps)
    ours = run(KAdam(complex_parameters(), lr=LR, weight_decay=0.01, k=1, foreach=False), steps)
    assert_same_bits(ours, theirs)


def test_a_gradient_that_is_a_lazy_conjugate_is_understood(path):  # noqa: F811
    g = torch.complex(random(3), random(3, seed=1))
    lazy, eager = (KAdam([Parameter(torch.complex(random(3), random(3)))], lr=LR, **path) for _ in range(2))
    for optimizer, grad in ((lazy, g.conj()), (eager, g.conj().resolve_conj())):
        owned(optimizer)[0].grad = grad
        optimizer.step()
    assert_same_bits(lazy, eager)


def test_a_gradient_that_is_lazily_negative_is_understood(path):  # noqa: F811
    g = torch.complex(random(3), random(3, seed=1)).conj().imag
    assert g.is_neg()
    lazy, eager = (KAdam([Parameter(random(3))], lr=LR, **path) for _ in range(2))
    for optimizer, grad in ((lazy, g), (eager, g.resolve_neg())):
        owned(optimizer)[0].grad = grad
        optimizer.step()
    torch.testing.assert_close(owned(lazy), owned(eager), rtol=1e-14, atol=0)


# Low precision

HALVES = [torch.bfloat16, torch.float16]
every_half = pytest.mark.parametrize("half", HALVES, ids=str)


@every_half
@one_to_three
@every_device
def test_low_precision_parameters_have_float32_moments_and_are_rounded_once_a_step(half, k, path, device):  # noqa: F811
    """Each step equals a float32 step from the rounded weights, rounded; other paths may round a tie the other way."""
    optimizer = KAdam(parameters(half, device), lr=LR, k=k, weight_decay=0.1, **path)
    wide = KAdam(parameters(half, device), lr=LR, k=k, weight_decay=0.1, **path)
    wide = KAdam([Parameter(p.detach().float()) for p in owned(wide)], lr=LR, k=k, weight_decay=0.1, **path)
    for grads in gradients(owned(optimizer), 5):
        for p, q in zip(owned(optimizer), owned(wide), strict=True):
            q.data.copy_(p)
        run(optimizer, [grads])
        run(wide, [[g.float() for g in grads]])
        for p, q in zip(owned(optimizer), owned(wide), strict=True):
            torch.testing.assert_close(p.detach().float(), q.detach().to(half).float(), rtol=2 * torch.finfo(half).eps, atol=0)
            for ours, theirs in zip(moments(optimizer.state[p], k), moments(wide.state[q], k), strict=True):
                assert ours.dtype == torch.float32
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@every_half
def test_float32_moments_survive_saving_and_loading(half, path):  # noqa: F811
    steps = gradients(dense_parameters(half), 20)
    whole = run(KAdam(dense_parameters(half), lr=LR, **path), steps)
    first = run(KAdam(dense_parameters(half), lr=LR, **path), steps[:10])
    resumed = adopting(first.state_dict(), owned(first))
    assert {moments(state, 2)[1].dtype for state in resumed.state.values()} == {torch.float32}
    assert_same_bits(run(resumed, steps[10:]), whole)


def test_users_hooks_see_the_state_dict_before_and_the_precise_state_after_loading():
    saved = run(KAdam([Parameter(random(3).bfloat16())]), [[random(3).bfloat16()]]).state_dict()
    optimizer, seen = KAdam([Parameter(random(3).bfloat16())]), []

    def double(optimizer, state_dict):
        state = {0: {**state_dict["state"][0], "exp_avg": 2 * state_dict["state"][0]["exp_avg"]}}
        return {**state_dict, "state": state}

    optimizer.register_load_state_dict_pre_hook(double)
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append(o.state[owned(o)[0]]["exp_avg"].clone()))
    optimizer.load_state_dict(saved)
    assert torch.equal(seen[0], 2 * saved["state"][0]["exp_avg"])
    assert len(optimizer._optimizer_load_state_dict_pre_hooks) == len(optimizer._optimizer_load_state_dict_post_hooks) == 1


# Autograd through a step


@pytest.mark.parametrize("maximize", [False, True])
@one_to_three
def test_a_gradient_flows_through_two_steps(k, maximize):
    """From the weights after them to the first weights, both gradients, the moments and the learning rate."""

    def two_steps(weight, first, second, m, v, lr):
        p = weight.clone()
        optimizer = KAdam([p], lr=lr, eps=EPS, k=k, weight_decay=0.1, maximize=maximize, differentiable=True)
        zeros = {f"exp_avg{s}_{i}": torch.zeros(3).double() for s in ("", "_sq") for i in range(2, k + 1)}
        optimizer.state[p] = {"step": torch.tensor(1.0), "exp_avg": m.clone(), "exp_avg_sq": v.clone(), **zeros}
        for grad in (first, second):
            p.grad = grad
            optimizer.step()
        return (p, *[x for x in optimizer.state[p].values() if torch.is_tensor(x) and x.requires_grad])

    values = [random(3, seed=i) for i in range(4)] + [random(3, seed=4).square() + 0.1, torch.tensor(0.01).double()]
    assert gradcheck(two_steps, [x.requires_grad_() for x in values])


@one_to_three
def test_a_differentiable_step_is_the_same_step(k):
    steps = gradients(parameters(), 10)
    weights = [p.detach().clone().requires_grad_() for p in parameters()]
    moving = [w.clone() for w in weights]
    optimizer = KAdam(moving, lr=LR, k=k, weight_decay=0.1, differentiable=True)
    plain = KAdam(parameters(), lr=LR, k=k, weight_decay=0.1, foreach=False)
    for grads in steps:
        for p, q, g in zip(moving, owned(plain), grads, strict=True):
            p.grad, q.grad = g.clone(), g.clone()
        optimizer.step()
        plain.step()
    for p, q in zip(moving, owned(plain), strict=True):
        torch.testing.assert_close(p.detach(), q.detach(), rtol=1e-12, atol=1e-14)
    sum(p.sum() for p in moving).backward()
    for w in weights:  # the gradients do not depend on the weights, so only decay lies between first and last
        torch.testing.assert_close(w.grad, torch.full_like(w, (1 - LR * 0.1) ** 10), rtol=1e-13, atol=0)


def test_a_unit_without_gradient_passes_no_nan_through_a_differentiable_step():
    weight, grad = random(2).requires_grad_(), torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    p = weight.clone()
    p.grad = grad
    KAdam([p], lr=LR, k=2, differentiable=True).step()
    p.sum().backward()
    assert weight.grad.isfinite().all()
    assert grad.grad.isfinite().all()


# Counters on the device, and compilers


@one_to_three
@pytest.mark.parametrize("flags", [{"foreach": False}, {"foreach": True}, {"fused": True}], ids=str)
@every_device
def test_a_capturable_step_is_the_same_step(k, flags, device):
    steps = gradients(parameters(device=device), 20)
    lr = torch.tensor(LR, dtype=torch.float64, device=device)
    ours = KAdam(parameters(device=device), lr=lr, k=k, weight_decay=0.1, capturable=True, **flags)
    plain = KAdam(parameters(device=device), lr=LR, k=k, weight_decay=0.1, foreach=False)
    for p, q in zip(owned(run(ours, steps)), owned(run(plain, steps)), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)
        assert ours.state[p]["step"].device == p.device
        torch.testing.assert_close(moments(ours.state[p], k), moments(plain.state[q], k), rtol=1e-11, atol=1e-12)


def test_a_beta_of_zero_needs_no_logarithm():
    steps = gradients(parameters(), 5)
    ours, plain = (KAdam(parameters(), lr=LR, strategy="meta", capturable=c, foreach=True) for c in (True, False))
    for p, q in zip(owned(run(ours, steps)), owned(run(plain, steps)), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)


def train(step, optimizer, model):
    for x in random(10, 4, 5).to(owned(optimizer)[0].device):
        step(model, optimizer, x)
    return optimizer


def training_step(model, optimizer, x):
    optimizer.zero_grad()
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
    return loss


def network(device, lr, **hyper):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double().to(device)
    lr = lr.to(device) if isinstance(lr, torch.Tensor) else lr
    return KAdam(model.parameters(), lr=lr, weight_decay=0.1, **hyper), model


@heavy
@every_device
@pytest.mark.parametrize(
    "hyper",
    [
        {"k": 2, "lr": torch.tensor(0.01)},
        pytest.param({"k": 1, "lr": 0.01}, marks=exhaustive),
        pytest.param({"k": 3, "lr": 0.01, "foreach": False}, marks=exhaustive),
    ],
    ids=str,
)
def test_a_compiled_training_step_trains_the_same(hyper, device):
    torch._dynamo.reset()
    backend = "aot_eager" if device == "cpu" else "inductor"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, on importing its compiler,
        warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")  # and on compiling
        compiled = train(torch.compile(training_step, backend=backend), *network(device, **hyper))
    eager = train(training_step, *network(device, **hyper))
    for p, q in zip(owned(compiled), owned(eager), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-7, atol=1e-9)
        assert compiled.state[p]["step"] == 10


# GradScaler's protocol


def scaled(optimizer, steps, scale, found_inf):
    """The steps as a scaler would have them taken: gradients too large by ``scale``, and a note where one overflowed."""
    for grads, overflow in zip(steps, found_inf, strict=True):
        optimizer.grad_scale, optimizer.found_inf = torch.tensor(scale), torch.tensor(float(overflow))
        run(optimizer, [[g * scale for g in grads]])
        del optimizer.grad_scale, optimizer.found_inf
    return optimizer


@one_to_three
@pytest.mark.parametrize("maximize", [False, True], ids=["minimize", "maximize"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_scaled_gradients_are_unscaled_and_overflown_steps_leave_no_trace(k, maximize, dtype, path):  # noqa: F811
    steps = gradients(parameters(dtype), 6)
    hyper = {"lr": LR, "k": k, "maximize": maximize, **path}
    ours = scaled(KAdam(parameters(dtype), **hyper), steps, 2.0**4, [0, 1, 0, 0, 1, 0])
    plain = run(KAdam(parameters(dtype), **hyper), [steps[i] for i in (0, 2, 3, 5)])
    assert_same_bits(ours, plain)


@one_to_three
def test_an_overflown_step_of_device_counters_leaves_no_trace_either(k):
    steps = gradients(parameters(), 4)
    ours = scaled(KAdam(parameters(), k=k, capturable=True, foreach=True), steps, 2.0**4, [0, 1, 0, 1])
    assert_same_bits(ours, run(KAdam(parameters(), k=k, capturable=True, foreach=True), [steps[0], steps[2]]))


def test_a_step_start_that_overflows_is_not_counted(path):  # noqa: F811
    optimizer = scaled(KAdam(parameters(), **path), gradients(parameters(), 1), 4.0, [1])
    assert {state["step"].item() for state in optimizer.state.values()} == {0}
    torch.testing.assert_close(owned(optimizer), parameters(), rtol=0, atol=0)


@every_device
@pytest.mark.parametrize("fused", [True, None])
def test_under_torchs_grad_scaler_an_infinite_gradient_skips_the_step(fused, device):
    scaler, weight = torch.amp.GradScaler(device, init_scale=8.0), Parameter(random(3).float().to(device))
    optimizer, before = KAdam([weight], lr=LR, fused=fused), weight.detach().clone()
    assert optimizer._step_supports_amp_scaling is (fused is True)
    for factor, moved in ((float("inf"), False), (1.0, True)):
        optimizer.zero_grad()
        scaler.scale((weight * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert (not torch.equal(weight, before)) == moved
    assert optimizer.state[weight]["step"] == 1


# Checkpoints with another number of stages


@pytest.mark.parametrize(("saved", "own"), [(2, 3), (3, 2), (1, 4)])
def test_common_stages_are_kept_and_the_rest_start_fresh_with_a_warning(saved, own, path):  # noqa: F811
    steps = gradients(dense_parameters(), 15)
    theirs = run(KAdam(dense_parameters(), lr=LR, k=saved, strategy="repeat", **path), steps[:10])
    with pytest.warns(UserWarning, match=rf"k={saved} stages, this optimizer k={own}: stages 1..{min(saved, own)} are kept"):
        ours = adopting(theirs.state_dict(), owned(theirs), path, k=own, strategy="repeat")
    assert ours.param_groups[0]["stages"] == own
    start = [array(p).copy() for p in owned(ours)]
    run(ours, steps[10:])
    decays = stages(Decay(), own, "repeat")
    for i, p in enumerate(owned(ours)):
        u = kadam_updates(history(steps, i), decays[: min(saved, own)], eps=1e-8)[10:]
        expected = kadam_updates(u, decays[saved:], eps=1e-8) if own > saved else u
        assert_allclose(array(p), by_reference(start[i], expected), rtol=1e-11, atol=1e-12)
        assert ("exp_avg_3" in ours.state[p]) == (own >= 3)
        assert ours.state[p].get("step_start_3") == (10 if own > 2 and saved < 3 else None)


def test_a_group_that_loses_a_stage_and_gains_it_again_starts_it_fresh():
    optimizer = run(KAdam(parameters(), k=2), gradients(parameters(), 3))
    for k in (1, 2):
        optimizer.param_groups[0]["stages"] = k
        run(optimizer, gradients(parameters(), 2))
    for p in owned(optimizer):
        assert optimizer.state[p]["step_start_2"] == 5
    assert len(optimizer.state[owned(optimizer)[0]]) == 6


def test_what_adam_does_and_kadam_does_not_is_said_on_loading():
    theirs = torch.optim.Adam([Parameter(random(3))], weight_decay=0.1, amsgrad=True)
    ours = KAdam([Parameter(random(3))], k=1)
    with pytest.warns(UserWarning, match="amsgrad=True"), pytest.warns(UserWarning, match="0.1 is part of the gradient"):
        ours.load_state_dict(theirs.state_dict())
    assert set(ours.param_groups[0]) == set(KAdam([Parameter(random(3))]).param_groups[0])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_a_copy_keeps_the_stages_of_each_group(copied):
    groups = [{"params": [Parameter(random(3))], "k": k} for k in (1, 3)]
    optimizer = KAdam([*groups, {"params": [Parameter(random(3))], "betas": PAIRS, "k": 3}])
    mine, twins = ([{**g, "params": None} for g in o.param_groups] for o in (optimizer, copied(optimizer)))
    assert mine == twins


def test_explicit_stages_stay_together_when_a_checkpoint_has_fewer():
    theirs = run(KAdam(parameters(), betas=(0.5, 0.6), k=1), gradients(parameters(), 2))
    ours = KAdam(parameters(), betas=PAIRS, k=3)
    with pytest.warns(UserWarning, match="k=1 stages"):
        ours.load_state_dict(theirs.state_dict())
    (group,) = ours.param_groups
    assert (group["betas"], group["stage_betas"]) == (PAIRS[0], PAIRS)


# Combinations that exclude each other

CONFLICTS = [
    ({"fused": True, "foreach": True}, "fused=True and foreach=True"),
    ({"differentiable": True, "foreach": True}, "differentiable=True takes the for-loop path; got foreach=True"),
    ({"differentiable": True, "fused": True}, "differentiable=True takes the for-loop path; got fused=True"),
    ({"fused": "yes"}, "fused must be True, False or None, got 'yes'"),
    ({"foreach": 1}, "foreach must be True, False or None, got 1"),
    ({"capturable": None}, "capturable must be True or False, got None"),
    ({"maximize": "no"}, "maximize must be True or False, got 'no'"),
]


@pytest.mark.parametrize(("flags", "message"), CONFLICTS, ids=[str(flags) for flags, _ in CONFLICTS])
def test_paths_that_exclude_each_other_are_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        KAdam([Parameter(random(2))], **flags)
    with pytest.raises(ValueError, match=message):
        KAdam([{"params": [Parameter(random(2))], **flags}])


# Nothing moves that should not


@one_to_three
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_learning_rate_of_zero_moves_no_parameter(k, dtype, path):  # noqa: F811
    optimizer = run(KAdam(parameters(dtype), lr=0.0, k=k, weight_decay=0.1, **path), gradients(parameters(dtype), 3))
    for p, q in zip(owned(optimizer), parameters(dtype), strict=True):
        assert torch.equal(p, q)
        assert optimizer.state[p]["exp_avg"].count_nonzero() == p.numel()


def test_an_optimizer_without_gradients_and_one_of_empty_parameters_step(path):  # noqa: F811
    KAdam(parameters(), **path).step()
    optimizer = run(KAdam([Parameter(random(0, 3))], **path), [[random(0, 3)]] * 2)
    assert optimizer.state[owned(optimizer)[0]]["step"] == 2


def test_gradients_set_to_zero_instead_of_none_are_gradients(path):  # noqa: F811
    optimizer = run(KAdam(parameters(), lr=LR, **path), gradients(parameters(), 3))
    twin = run(KAdam(parameters(), lr=LR, **path), gradients(parameters(), 3))
    optimizer.zero_grad(set_to_none=False)
    optimizer.step()
    assert_same_bits(optimizer, run(twin, [[p.new_zeros(p.shape) for p in owned(twin)]]))


def test_the_optimizer_keeps_no_gradient_alive(path):  # noqa: F811
    optimizer = KAdam([Parameter(random(3)) for _ in range(2)], **path)
    for _ in range(3):
        grads = [random(3), random(3)]
        for p, g in zip(owned(optimizer), grads, strict=True):
            p.grad = g
        kept = [weakref.ref(g) for g in grads]
        optimizer.step()
        optimizer.zero_grad()
        del grads, g
        assert [ref() for ref in kept] == [None, None]


def test_global_hooks_see_the_step(path):  # noqa: F811
    optimizer, calls = KAdam([Parameter(random(3))], **path), []
    hooks = [
        register_optimizer_step_pre_hook(lambda *_: calls.append("before")),
        register_optimizer_step_post_hook(lambda *_: calls.append("after")),
    ]
    run(optimizer, [[random(3)]])
    for hook in hooks:
        hook.remove()
    assert calls == ["before", "after"]


def test_a_state_dict_survives_a_file_that_only_weights_are_read_from():
    optimizer = run(KAdam(parameters(torch.bfloat16), k=3, betas=PAIRS), gradients(parameters(torch.bfloat16), 2))
    state = copy.deepcopy(optimizer.state_dict())
    torch.testing.assert_close(through_a_file(state)["state"], state["state"], rtol=0, atol=0)
