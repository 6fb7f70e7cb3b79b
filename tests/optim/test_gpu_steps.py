"""KAdam's way to the GPU's fused step: counters on the device, scalers, foreign checkpoints; interpreted on the CPU."""

import copy

import pytest
import torch
import torch.distributed as dist
from problems import assert_same_bits, gradients, loopback, owned, parameters, random, run
from test_cuda import LR, device, fused, interpreted  # noqa: F401
from tiers import heavy
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.nn import Parameter

from kadam import KAdam, optim
from kadam.optim import cpu, cuda, steps  # noqa: F401
from kadam.optim.batch import side_by_side

FUSED_AND_PLAIN = ({"fused": True}, {"foreach": False})


@pytest.fixture
def on_this_device(device, fused, monkeypatch):  # noqa: F811
    """KAdam's fused steps take the GPU's way; on the CPU through the interpreter."""
    if device == "cpu":
        monkeypatch.setattr(steps, "on_gpu", lambda tensor: True)
        monkeypatch.setattr(optim, "cuda", fused)
        with cpu.chain_only():
            yield device
    else:
        yield device


def pair(on, **hyper):
    made = [KAdam(parameters(torch.float32, on), lr=LR, weight_decay=0.1, **hyper, **f) for f in FUSED_AND_PLAIN]
    return made, gradients(parameters(torch.float32, on), 4)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("maximize", [False, True])
def test_the_optimizer_steps_on_the_gpus_way_as_by_the_for_loop(k, maximize, on_this_device):
    (ours, theirs), history = pair(on_this_device, k=k, maximize=maximize)
    for p, q in zip(owned(run(ours, history)), owned(run(theirs, history)), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
        assert ours.state[p]["step"].device == p.device
        assert ours.state[p]["step"] == 4


@heavy
def test_one_fused_stage_over_many_tensors_is_torchs_fused_adamw(on_this_device):
    """As many as ResNet-18 has, of up to a few blocks of the kernel, each with its own row of the table."""
    sizes = [1 + 97 * i % 5003 for i in range(62)]
    made = [[Parameter(random(n, seed=n).float().to(on_this_device)) for n in sizes] for _ in range(2)]
    hyper = {"lr": LR, "weight_decay": 0.1, "fused": True}
    ours, theirs = KAdam(made[0], k=1, **hyper), torch.optim.AdamW(made[1], **hyper)
    for optimizer in (ours, theirs):
        run(optimizer, gradients(made[1], 2))
    torch.testing.assert_close(made[0], made[1], rtol=1e-5, atol=1e-6)


def test_a_scaler_on_the_gpus_way_unscales_and_skips_without_counting(on_this_device):
    (ours, theirs), history = pair(on_this_device)
    for grads, overflow in zip(history, (0.0, 1.0, 0.0, 1.0), strict=True):
        ours.grad_scale = torch.tensor(8.0, device=on_this_device)
        ours.found_inf = torch.tensor(overflow, device=on_this_device)
        run(ours, [[8 * g for g in grads]])
        if not overflow:
            run(theirs, [grads])
    for p, q in zip(owned(ours), owned(theirs), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
        assert ours.state[p]["step"] == theirs.state[q]["step"] == 2


def test_an_adamw_run_goes_on_on_the_gpus_way_with_a_second_stage(on_this_device):
    (ours, theirs), history = pair(on_this_device, k=2, strategy="repeat")
    before = run(torch.optim.AdamW(parameters(torch.float32, on_this_device)), history[:2])
    for optimizer in (ours, theirs):
        for p, q in zip(owned(optimizer), owned(before), strict=True):
            p.data.copy_(q)
        flags = {name: optimizer.param_groups[0][name] for name in ("fused", "foreach")}
        optimizer.load_state_dict(copy.deepcopy(before.state_dict()))
        optimizer.param_groups[0].update(flags)
        run(optimizer, history[2:])
    for p, q in zip(owned(ours), owned(theirs), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
        assert ours.state[p]["step_start_2"] == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_on_the_gpus_way_too_a_step_repeats_the_last_one_where_nothing_has_changed(dtype, on_this_device, monkeypatch):
    def made():
        weights = [Parameter(random(*shape).to(on_this_device, dtype)) for shape in ((3,), (40, 60), (2, 2, 2))]
        return KAdam(weights, lr=LR, k=2, fused=True)

    looked = []
    monkeypatch.setattr(steps, "side_by_side", lambda batch: looked.append(0) or side_by_side(batch))
    ours, theirs = made(), made()
    history = gradients(owned(ours), 6)
    for n, grads in enumerate(history):
        theirs._repeats.clear()  # looks at everything, at every step
        for optimizer in (ours, theirs):
            optimizer.param_groups[0].update(lr=LR / (n + 1), maximize=n == 3)
            optimizer.grad_scale, optimizer.found_inf = (torch.tensor(x, device=on_this_device) for x in (2.0, float(n == 4)))
        looked.clear()
        run(ours, [grads])
        assert len(looked) == (n == 0)
        run(theirs, [grads])
    assert_same_bits(ours, theirs)
    assert {ours.state[p]["step"].item() for p in owned(ours)} == {5}
    owned(ours)[1].grad = owned(ours)[1].grad.t().contiguous().t()  # laid out in another way
    looked.clear()
    ours.step()
    assert looked


@pytest.fixture
def mesh(on_this_device, monkeypatch):
    """Of this device and process alone, which asks no network for others."""
    names = {"GLOO_SOCKET_IFNAME": loopback(), "NCCL_SOCKET_IFNAME": loopback(), "LOCAL_RANK": "0"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    backend, where = ("nccl", torch.device("cuda", 0)) if on_this_device == "cuda" else ("gloo", None)
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, device_id=where)
    try:
        yield init_device_mesh(on_this_device, (1,))
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("k", [1, 3])
def test_parameters_distributed_over_one_device_step_as_plain_ones(k, mesh, on_this_device, monkeypatch):
    places = {(5, 3): [Shard(0)], (3, 7): [Shard(1)], (2049,): [Replicate()], (): [Replicate()]}
    values = [random(*shape, seed=i).to(on_this_device, torch.float32) for i, shape in enumerate(places)]

    def spread(tensors):
        return [distribute_tensor(t.clone(), mesh, place) for t, place in zip(tensors, places.values(), strict=True)]

    launched, launch = [], optim.cuda.fused_step_
    monkeypatch.setattr(
        optim.cuda, "fused_step_", lambda batch, hyper: launched.append(len(batch.params)) or launch(batch, hyper)
    )
    ours, theirs = (KAdam(map(Parameter, each), lr=LR, k=k, fused=True) for each in (spread(values), values))
    for grads in gradients(values, 4):
        for optimizer, given in ((ours, spread(grads)), (theirs, grads)):
            for p, g in zip(owned(optimizer), given, strict=True):
                p.grad = g
            optimizer.step()
    assert launched == [len(places)] * 2 * 4  # no parameter took another way
    for p, q in zip(owned(ours), owned(theirs), strict=True):
        assert torch.equal(p.full_tensor(), q)
        assert ours.state[p].keys() == theirs.state[q].keys()
        for name, value in theirs.state[q].items():
            held = ours.state[p][name]
            assert torch.equal(held.full_tensor() if hasattr(held, "full_tensor") else held, value), name
