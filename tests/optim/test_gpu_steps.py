"""KAdam's way to the GPU's fused step: counters on the device, scalers, foreign checkpoints; interpreted on the CPU."""

import copy

import pytest
import torch
from problems import gradients, owned, parameters, run
from test_cuda import LR, device, fused, interpreted  # noqa: F401

from kadam import KAdam, optim
from kadam.optim import cpu, cuda, steps  # noqa: F401

FUSED_AND_PLAIN = ({"fused": True}, {"foreach": False})


@pytest.fixture
def on_this_device(device, fused, monkeypatch):  # noqa: F811
    """KAdam's fused steps take the GPU's way; on the CPU through the interpreter."""
    if device == "cpu":
        monkeypatch.setattr(steps, "on_gpu", lambda tensor: True)
        monkeypatch.setattr(optim, "cuda", fused)
        with cpu.chain_only():  # no step to repeat
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
