"""Stochastic rounding of bfloat16 weights: unbiased, between the two neighbours, and the same where it must be."""

import re
import subprocess
import sys
import warnings

import pytest
import torch
from problems import gradients, owned, parameters, run
from test_cuda import compiled
from test_features import path  # noqa: F401
from tiers import cases, exhaustive, heavy
from torch.nn import Parameter

from kadam import KAdam
from kadam.optim.rounding import narrow_, noise

BF16 = torch.bfloat16
CPU = torch.device("cpu")
ULP = 2**-7  # of a bfloat16 in [1, 2)


@pytest.mark.parametrize("share", [0.0, 2**-16, 0.1, 0.5, 0.9, 1 - 2**-16])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_mean_is_the_number_and_only_its_neighbours_are_drawn(share, sign):
    n = 200_000
    exact = torch.full((n,), sign * (1 + share * ULP))
    param = torch.empty(n, dtype=BF16)
    narrow_(param, exact, noise(BF16, CPU, 7))
    assert set(param.unique().tolist()) <= {sign * 1.0, sign * (1 + ULP)}
    away = (param.float() != sign).float().mean().item()
    assert abs(away - share) <= 5 * (share * (1 - share) / n) ** 0.5 + 1e-12


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan"), 0.0, -0.0, 3.0, 1e-45])
def test_what_needs_no_rounding_or_is_no_number_stays(value):
    param = torch.empty(1000, dtype=BF16)
    narrow_(param, torch.full((1000,), value), noise(BF16, CPU, 1))
    nearest = torch.tensor([value]).to(BF16)
    if value == 1e-45:  # far below the least step of a bfloat16
        assert param.float().mean() <= 2**-126
    else:
        assert torch.equal(param.view(torch.int16), nearest.expand(1000).contiguous().view(torch.int16))


def small_steps(steps, **hyper):
    """A weight of one that takes ``steps`` steps of a hundredth of a unit in the last place, in a thousand copies."""
    optimizer = KAdam([Parameter(torch.ones(40, 25, dtype=BF16))], lr=ULP / 100, k=1, **hyper)
    ones = [torch.full((40, 25), -1.0, dtype=BF16)]
    return run(optimizer, [ones] * steps), 1 + steps * ULP / 100


def test_updates_that_are_lost_to_nearest_add_up(path):  # noqa: F811
    nearest, _ = small_steps(100, **path)
    assert torch.equal(owned(nearest)[0], torch.ones(40, 25, dtype=BF16))
    rounded, expected = small_steps(100, stochastic_rounding=True, **path)
    (weights,) = owned(rounded)
    spread = ULP  # of one weight: the sum of 100 draws, each of variance p (1 - p) with p = 1/100
    assert abs(weights.float().mean().item() - expected) <= 5 * spread / 1000**0.5
    assert weights.float().std() > 0.5 * spread  # each weight draws for itself


ON_THE_GPUS_WAY = """
import torch
from kadam import KAdam
from kadam.optim import steps
if not torch.cuda.is_available():
    steps.on_gpu = lambda tensor: True  # the interpreter runs the kernel on the CPU's tensors
device = "cuda" if torch.cuda.is_available() else "cpu"
weights = torch.nn.Parameter(torch.ones(40, 100, dtype=torch.bfloat16, device=device))
optimizer = KAdam([weights], lr=2**-7 / 20, k=1, fused=True, stochastic_rounding=True)
for _ in range(20):
    weights.grad = -torch.ones_like(weights)
    optimizer.step()
print(weights.float().mean().item(), *sorted(set(weights.flatten().tolist())))
"""


@exhaustive
def test_updates_add_up_on_the_gpus_way_too(monkeypatch):
    if not torch.cuda.is_available():
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    command = [sys.executable, "-W", "error", "-c", ON_THE_GPUS_WAY]
    mean, *drawn = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert abs(mean - (1 + ULP)) <= 5 * ULP / 4000**0.5
    assert set(drawn) > {1.0, 1 + ULP, 1 + 2 * ULP}


def test_replicas_stay_equal_runs_go_on_exactly_and_the_global_generator_is_left_alone(path):  # noqa: F811
    def made():
        return KAdam(parameters(BF16), lr=1e-2, k=2, stochastic_rounding=True, **path)

    history = gradients(parameters(BF16), 6)
    before = torch.get_rng_state()
    whole = run(made(), history)
    assert torch.equal(torch.get_rng_state(), before)
    half = run(made(), history[:3])
    torch.manual_seed(1)
    resumed = made()
    for p, q in zip(owned(resumed), owned(half), strict=True):
        p.data.copy_(q)
    resumed.load_state_dict(half.state_dict())
    for p, q in zip(owned(run(resumed, history[3:])), owned(whole), strict=True):
        assert torch.equal(p, q)


@heavy
@pytest.mark.parametrize("k", cases((1, 2, 8), quick=(2,)))
def test_compiled_for_hopper_it_spills_two_registers_at_most(k, tmp_path, monkeypatch, capsys):
    ptx, log = compiled(k, BF16, tmp_path, monkeypatch, capsys, stochastic=True)
    assert "mul.hi" in ptx or "mul.wide.u32" in ptx  # the generator's products
    assert int(re.search(r"(\d+) bytes spill stores", log)[1]) <= 8


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_other_dtypes_are_rounded_to_nearest(dtype, path):  # noqa: F811
    history = gradients(parameters(dtype), 3)
    ours, theirs = (KAdam(parameters(dtype), lr=1e-2, stochastic_rounding=asked, **path) for asked in (True, False))
    for p, q in zip(owned(run(ours, history)), owned(run(theirs, history)), strict=True):
        assert torch.equal(p, q)


@heavy
def test_a_compiled_step_rounds_stochastically_too():
    optimizer = KAdam([Parameter(torch.ones(1000, dtype=BF16))], lr=ULP / 4, k=1, stochastic_rounding=True)
    owned(optimizer)[0].grad = torch.full((1000,), -1.0, dtype=BF16)
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, on importing its compiler
        torch.compile(optimizer.step, backend="eager")()
    share = (owned(optimizer)[0] > 1).float().mean().item()
    assert abs(share - 0.25) <= 5 * (0.25 * 0.75 / 1000) ** 0.5


def test_it_excludes_gradients_through_a_step():
    with pytest.raises(ValueError, match="differentiable=True and stochastic_rounding=True exclude each other"):
        KAdam([Parameter(torch.ones(2))], differentiable=True, stochastic_rounding=True)
    with pytest.raises(ValueError, match="stochastic_rounding must be True or False, got 1"):
        KAdam([Parameter(torch.ones(2))], stochastic_rounding=1)
