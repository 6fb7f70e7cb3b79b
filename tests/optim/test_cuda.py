"""The Triton kernel: in Triton's interpreter on the CPU, compiled for Hopper without a GPU, and for real where there is one."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from problems import DEVICES, gradients, parameters, random
from tiers import cases, heavy

from kadam.decay import Decay
from kadam.optim import cuda
from kadam.optim.arguments import Hyper
from kadam.optim.batch import Batch
from kadam.optim.update import StageAtStep, kadam_step_
from kadam.theory.reference import kadam_moments, kadam_updates

triton = pytest.importorskip("triton")

LR = 2**-7  # exact in float32 too
EPS = 1e-3  # large, so that its place in every stage matters
WEIGHT_DECAY = 0.1
PAIRS = [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99), (0.9, 0.0), (0.99, 0.9999), (0.0, 0.0), (0.8, 0.95), (0.9, 0.999)]
HYPER = {"lr": LR, "eps": EPS, "weight_decay": WEIGHT_DECAY, "maximize": False}
SAME_BITS = {"rtol": 0, "atol": 0}

every_k = pytest.mark.parametrize("k", cases((1, 2, 3, 8), quick=(1, 3)))


def load(name):
    """A copy of the module of its own."""
    spec = importlib.util.spec_from_file_location(name, cuda.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def interpreted():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        return load("cuda_interpreted")


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.fixture
def fused(device, interpreted):
    return interpreted if device == "cpu" else cuda


def decays_of(k):
    return tuple(map(Decay.from_betas, PAIRS[:k]))


class Run:
    """Parameters and their state as the kernel takes them."""

    def __init__(self, params, k, *, steps=None, starts=None):
        self.params, self.k, self.decays = [p.detach() for p in params], k, decays_of(k)
        real = torch.promote_types(params[0].dtype, torch.float32)
        self.moments = [torch.zeros_like(p, dtype=real) for p in self.params for _ in range(2 * k)]
        self.steps = steps or [torch.tensor(0.0, device=p.device) for p in params]
        self.starts = starts or [(0.0,) * k] * len(params)

    def step(self, fused, grads, **hyper):
        for step in self.steps:
            step += 1
        self.grads = grads
        batch = Batch(self.params, grads, self.moments, self.steps, self.starts)
        fused.fused_step_(batch, Hyper(self.decays, **{**HYPER, **hyper}))
        return self

    def all(self):
        return [*self.params, *self.moments]


def shaped_like(params, steps):
    """Gradients with the strides of their parameters."""
    return [[torch.empty_like(p).copy_(g) for p, g in zip(params, grads, strict=True)] for grads in gradients(params, steps)]


def dense_parameters(dtype, device):
    """Every layout; sizes 1 and 17; more than a block; and a view that lies at no multiple of 16 bytes."""
    scalar, _, _, empty, image, transposed, _ = parameters(dtype, device)
    block, rest = cuda.BLOCK, cuda.REST
    small, large, shifted = (random(n, seed=n).to(device, dtype) for n in (17, block + rest + 7, block + 8))
    return [scalar, empty, image, transposed, small, large, shifted[1:]]


def array(x):
    return x.detach().cpu().double().numpy()


def by_reference(theta, updates):
    for u in updates:
        theta = (1 - LR * WEIGHT_DECAY) * theta - LR * u
    return theta


# What it computes


@every_k
def test_weights_and_moments_equal_the_reference_in_float64(k, fused, device):
    """Stages without memory divide by values close to 0, and so enlarge a rounding error by up to 1 / EPS."""
    params = dense_parameters(torch.float64, device)
    run, steps, start = Run(params, k), shaped_like(params, 5), [array(p).copy() for p in params]
    for grads in steps:
        run.step(fused, grads)
    for i, p in enumerate(run.params):
        g = np.stack([array(grads[i]) for grads in steps])
        assert_allclose(array(p), by_reference(start[i], kadam_updates(g, run.decays, eps=EPS)), rtol=1e-12, atol=1e-14)
        for j, (m, v) in enumerate(zip(*kadam_moments(g, run.decays, eps=EPS), strict=True)):
            ours = run.moments[2 * k * i + 2 * j : 2 * k * i + 2 * j + 2]
            assert_allclose(array(ours[0]) / np.sqrt(v), m / np.sqrt(v), rtol=0, atol=1e-11)
            assert_allclose(array(ours[1]), v, rtol=1e-11)


@every_k
def test_float32_stays_within_its_rounding_of_the_reference(k, fused, device):
    """A step rounds the weight twice (decay, update), and the update at most 10 times a stage; half an ulp each."""
    n, half_ulp = 5, torch.finfo(torch.float32).eps / 2
    params = dense_parameters(torch.float32, device)
    run, steps, start = Run(params, k), shaped_like(params, n), [array(p).copy() for p in params]
    for grads in steps:
        run.step(fused, grads)
    for i, p in enumerate(run.params):
        u = kadam_updates(np.stack([array(grads[i]) for grads in steps]), run.decays, eps=EPS)
        weight, update = abs(start[i]).max(initial=0) + n * LR, abs(u).max(initial=0)
        atol = n * half_ulp * (2 * weight + 10 * k * LR * update)
        assert_allclose(array(p), by_reference(start[i], u), rtol=0, atol=atol)


@every_k
@pytest.mark.parametrize("step_dtype", [torch.float32, torch.float64], ids=str)
def test_every_parameter_and_stage_has_a_step_of_its_own(step_dtype, k, fused, device):
    """And the update is that of the other paths, at any learning rate."""
    params = dense_parameters(torch.float64, device)
    begun = [float(7 * i) for i in range(len(params))]
    starts = [tuple(i * s / (k + 1) // 1 for i in range(k)) for s in begun]
    run = Run(params, k, steps=[torch.tensor(s, dtype=step_dtype, device=device) for s in begun], starts=starts)
    expected = Run([p.clone() for p in params], k, starts=starts)
    for n, grads in enumerate(shaped_like(params, 2), start=1):
        run.step(fused, grads, lr=n * LR)
        for i, (p, g) in enumerate(zip(expected.params, grads, strict=True)):
            own = expected.moments[2 * k * i : 2 * k * (i + 1)]
            ages = [begun[i] + n - start for start in starts[i]]
            stages = [StageAtStep.at(*d.betas, age) for d, age in zip(run.decays, ages, strict=True)]
            pairs = list(zip(own[::2], own[1::2], strict=True))
            kadam_step_(p, g, pairs, stages, lr=n * LR, eps=EPS, weight_decay=WEIGHT_DECAY)
    torch.testing.assert_close(run.all(), expected.all(), rtol=1e-12, atol=1e-14)


def test_steps_of_two_dtypes_may_stand_side_by_side(fused, device):
    params = [random(3).to(device), random(4).to(device)]
    steps = [torch.tensor(5.0, device=device), torch.tensor(8.0, dtype=torch.float64, device=device)]
    (grads,) = shaped_like(params, 1)
    mixed = Run([p.clone() for p in params], 2, steps=steps).step(fused, grads)
    alike = Run(params, 2, steps=[s.double() - 1 for s in steps]).step(fused, grads)
    torch.testing.assert_close(mixed.all(), alike.all(), **SAME_BITS)


@pytest.mark.parametrize("step", [1.0, 2.0, 1e3, 1e7])
def test_corrections_are_accurate(step, fused, device):
    """Also for decays close to 1, where 1 - beta^step cancels as it does for torch on the host."""
    beta, gamma = 1 - 1e-6, 1 - 1e-5
    run = Run([torch.zeros(1, dtype=torch.float64, device=device)], 1, steps=[torch.tensor(step - 1, device=device)])
    run.decays = (Decay(beta=beta, gamma=gamma),)
    run.step(fused, [torch.ones(1, dtype=torch.float64, device=device)], lr=1.0, eps=1e-300, weight_decay=0.0)
    correction1, correction2 = (-np.expm1(step * np.log1p(-x)) for x in (1e-5, 1e-6))
    assert_allclose(array(run.params[0]), -(1e-5 / correction1) / np.sqrt(1e-6 / correction2), rtol=1e-9)


def rounded(x, dtype, device):
    """As the hardware rounds; Triton's interpreter cuts bfloat16 off."""
    if device == "cpu" and dtype == torch.bfloat16:
        return (x.view(torch.int32) & -(2**16)).view(torch.float32).to(dtype)
    return x.to(dtype)


@every_k
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_is_computed_in_float32_and_rounded_once(dtype, k, fused, device):
    low, high = (Run(dense_parameters(dtype, device), k) for _ in range(2))
    for grads in shaped_like(low.params, 2):
        high.params = [p.float() for p in low.params]
        low.step(fused, grads)
        high.step(fused, [g.float() for g in grads])
        torch.testing.assert_close(low.params, [rounded(p, dtype, device) for p in high.params], **SAME_BITS)
        torch.testing.assert_close(low.moments, high.moments, **SAME_BITS)


@every_k
def test_maximizing_is_minimizing_the_negative(k, fused, device):
    up, down = (Run(dense_parameters(torch.float32, device), k) for _ in range(2))
    for grads in shaped_like(up.params, 2):
        up.step(fused, grads, maximize=True)
        down.step(fused, [-g for g in grads])
    torch.testing.assert_close(up.all(), down.all(), **SAME_BITS)


@pytest.mark.parametrize("shape", [(), (1,)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("where", ["beside the parameters", "on the host"])
def test_the_learning_rate_may_be_a_tensor(where, dtype, shape, fused, device):
    lr = torch.full(shape, LR, dtype=dtype, device=device if where == "beside the parameters" else "cpu")
    given, plain = (Run(dense_parameters(torch.float32, device)[:4], 2) for _ in range(2))
    for rate, grads in zip((LR, 0.5), shaped_like(given.params, 2), strict=True):
        lr.fill_(rate)
        given.step(fused, grads, lr=lr)
        plain.step(fused, grads, lr=rate)
    torch.testing.assert_close(given.all(), plain.all(), **SAME_BITS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
def test_gradients_are_divided_by_their_scale(dtype, fused, device):
    """A power of two rounds nothing."""
    scaled, plain = (Run(dense_parameters(dtype, device), 2) for _ in range(2))
    for grads in shaped_like(plain.params, 2):
        plain.step(fused, [(g.double() / 8).to(dtype) for g in grads])
        large = [(g.double() / 8).to(dtype) * 8 for g in grads]
        scale = torch.tensor([8.0], device=device)
        scaled.step(fused, large, grad_scale=scale, found_inf=torch.zeros(1, device=device))
    torch.testing.assert_close(scaled.all(), plain.all(), **SAME_BITS)


@every_k
def test_after_an_overflow_nothing_is_written(k, fused, device):
    run = Run(dense_parameters(torch.float32, device), k)
    first, second = shaped_like(run.params, 2)
    run.step(fused, first)
    before = [t.clone() for t in run.all()]
    scaler = {"grad_scale": torch.tensor(8.0, device=device), "found_inf": torch.tensor(1.0, device=device)}
    run.step(fused, [g / 0 for g in second], **scaler)
    torch.testing.assert_close(run.all(), before, **SAME_BITS)


# What it leaves alone


@every_k
def test_gradients_are_never_written_to_and_autograd_sees_the_rest_change(k, fused, device):
    run = Run(dense_parameters(torch.float32, device), k)
    (grads,) = shaped_like(run.params, 1)
    copies, before, versions = [g.clone() for g in grads], *([t._version for t in ts] for ts in (grads, run.all()))
    run.step(fused, grads, maximize=True, grad_scale=torch.tensor(2.0, device=device))
    torch.testing.assert_close(grads, copies, **SAME_BITS)
    assert [g._version for g in grads] == before
    assert all(t._version > version for t, version in zip(run.all(), versions, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_memory_around_a_parameter_is_left_alone(dtype, fused, device):
    whole = random(2 * cuda.BLOCK).to(device, dtype)
    run = Run([whole[1:1000], whole[1001:-3]], 2)
    (grads,) = shaped_like(run.params, 1)
    run.step(fused, grads, lr=0.5)
    changed = (whole != random(2 * cuda.BLOCK).to(device, dtype)).nonzero().flatten()
    assert changed.min() >= 1
    assert changed.max() < len(whole) - 3
    assert 1000 not in changed
    assert len(changed) > 0.9 * len(whole)


def test_nothing_to_do(fused, device):
    empty = torch.empty(3, 0, device=device)
    for params in ([], [empty, empty.clone()]):
        moments = [p.clone() for p in params for _ in range(2)]
        steps = [torch.tensor(1.0, device=device) for _ in params]
        grads, starts = [p.clone() for p in params], [(0.0,)] * len(params)
        fused.fused_step_(Batch(params, grads, moments, steps, starts), Hyper(decays_of(1), **HYPER))


# The tables


def test_rows_say_which_blocks_are_whole_and_aligned():
    block, k = cuda.BLOCK, 1
    sizes = (block - 1, block, 3 * block + 5, 2 * block, 2 * block)
    p, g, step, m, v = ([base * 2**20 + 4096 * i for i in range(5)] for base in range(1, 6))
    p[3] += 8
    v[4] += 4
    moments = [at for pair in zip(m, v, strict=True) for at in pair]
    rows = cuda._rows((*p, *g, *step, *moments), sizes, ((2.0,) * k,) * 5)
    assert rows.dtype == torch.int64
    assert rows[:, [0, 1, 2, 6, 7]].tolist() == [list(row) for row in zip(p, g, step, m, v, strict=True)]
    assert rows[:, 3].tolist() == list(sizes)
    assert rows[:, 4].tolist() == [0, block, 3 * block, 0, 0]
    assert rows[:, 5].contiguous().view(torch.float64).tolist() == [2.0] * 5


def test_chunks_cover_every_element_once():
    block = cuda.BLOCK
    chunks = cuda._chunks((0, 1, block, 0, 2 * block + 1))
    assert chunks.tolist() == [[1, 0], [2, 0], [4, 0], [4, 1], [4, 2]]


def test_tables_are_made_anew_only_when_what_they_hold_changes(fused, device):
    run = Run([random(5).to(device), random(7, seed=1).to(device)], 2)
    grads, others = shaped_like(run.params, 2)
    made = fused._uploaded.cache_info

    def new_tables(grads, **hyper):
        before = made().misses
        run.step(fused, grads, **hyper)
        return made().misses - before

    fused._uploaded.cache_clear()
    assert new_tables(grads) == 4  # chunks, rows, numbers, learning rate
    assert new_tables(grads) == 0
    grads[0].fill_(0.5)
    assert new_tables(grads) == 0
    assert new_tables(others) == 1  # rows
    assert new_tables(grads) == 0
    assert new_tables(grads, lr=0.5) == 1
    assert new_tables(grads, weight_decay=0.5) == 1
    run.starts = [(0.0, 1.0), (0.0, 0.0)]
    assert new_tables(grads) == 1  # rows
    run.params[0], run.grads[0], run.moments[:4] = run.params[0][:3], grads[0][:3], [m[:3] for m in run.moments[:4]]
    assert new_tables(run.grads) == 2  # chunks and rows: the addresses are the same, a size is not
    assert made().maxsize is not None


def test_a_gradient_at_another_address_is_the_one_that_counts(fused, device):
    moving, staying = (Run([random(5).to(device)], 2) for _ in range(2))
    kept = torch.empty_like(staying.params[0])
    for grads in shaped_like(moving.params, 4):
        moving.step(fused, grads)
        staying.step(fused, [kept.copy_(grads[0])])
    torch.testing.assert_close(moving.all(), staying.all(), **SAME_BITS)


def test_each_stream_has_tables_of_its_own(interpreted, monkeypatch):
    run = Run([random(5)], 1)
    (grads,) = shaped_like(run.params, 1)
    for stream, new in ((1, 4), (2, 4), (1, 0)):
        monkeypatch.setattr(interpreted, "_stream", lambda device, stream=stream: stream)
        before = interpreted._uploaded.cache_info().misses
        run.step(interpreted, grads)
        assert interpreted._uploaded.cache_info().misses - before == new


def test_a_capture_allocates_nothing_on_the_host_and_its_tables_stay(interpreted, monkeypatch):
    """As far as can be seen without a GPU: a capture of two groups is played, in which nothing may be allocated."""
    captured, plain = ([Run([random(5)], 2) for _ in range(2)] for _ in range(2))
    first, second, third = shaped_like([random(5)], 3)

    def step(groups, grads):
        for group in groups:
            group.step(interpreted, grads)

    step(captured, first)
    kept = len(interpreted._captured)
    with monkeypatch.context() as capture:
        capture.setattr(interpreted, "_stream", lambda device: None)
        capture.setattr(interpreted, "_pinned", None)
        capture.setattr(interpreted, "_uploaded", None)
        step(captured, second)
    sources = [t.clone() for t in interpreted._captured[kept:]]
    assert len(sources) == 2 * 4
    step(captured, third)
    torch.testing.assert_close(interpreted._captured[kept:], sources, **SAME_BITS)
    for grads in (first, second, third):
        step(plain, grads)
    torch.testing.assert_close([g.all() for g in captured], [g.all() for g in plain], **SAME_BITS)


if torch.cuda.is_available():

    @pytest.mark.gpu
    def test_a_captured_step_counts_on_and_reads_new_gradients():
        replayed, plain = (Run(dense_parameters(torch.float32, "cuda"), 2) for _ in range(2))
        history = shaped_like(plain.params, 6)
        static = [g.clone() for g in history[0]]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            replayed.step(cuda, static)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            replayed.step(cuda, static)
        for grads in history[1:]:
            for s, g in zip(static, grads, strict=True):
                s.copy_(g)
            graph.replay()
        for grads in history:
            plain.step(cuda, grads)
        torch.testing.assert_close(replayed.all(), plain.all(), **SAME_BITS)

    @pytest.mark.gpu
    def test_a_step_never_waits_for_the_device():
        run = Run(dense_parameters(torch.float32, "cuda"), 2)
        torch.cuda.synchronize()
        history = shaped_like(run.params, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that it is a prototype
            torch.cuda.set_sync_debug_mode("error")
        try:
            for grads in history:
                run.step(cuda, grads)
        finally:
            torch.cuda.set_sync_debug_mode("default")


# What CUDA's memory checker says of it

CHECKER = "compute-sanitizer"
MEMCHECK = ("--tool", "memcheck", "--report-api-errors", "no", "--error-exitcode", "9")  # accesses alone, not torch's calls

# Weights of odd sizes, each once at an odd address, and each up to the end of its memory.
CHECKED_STEP = """
import torch
from kadam import KAdam
wholes = [torch.ones(n, device="cuda") for n in (1, 17, 511, 2049, 2049 + 512) for _ in range(2)]
weights = [torch.nn.Parameter(whole[i % 2:]) for i, whole in enumerate(wholes)]
optimizer = KAdam(weights, k=2, fused=True)
for weight in weights:
    weight.grad = torch.ones_like(weight)
{planted}
optimizer.step()
torch.cuda.synchronize()
"""
TOO_SHORT = "weights[2].grad.untyped_storage().resize_(16 * 4)"  # a gradient, by its last element


def memory_checker():
    """Where CUDA's toolkit has its memory checker, on the PATH or not."""
    return shutil.which(CHECKER) or shutil.which(CHECKER, path="/usr/local/cuda/bin")


def report_on(program, checker):
    """The checker's exit status and report; every tensor has memory of its own, beyond which nothing may be touched."""
    command = [checker, *MEMCHECK, sys.executable, "-c", program]
    alone = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    root = Path(cuda.__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=alone, capture_output=True, text=True, timeout=300)
    report = done.stdout + done.stderr
    if "Device not supported" in report:
        pytest.skip(f"{CHECKER} does not support this device")
    return done.returncode, report


def assert_sound(program, checker):
    status, report = report_on(program, checker)
    assert status == 0, report
    assert "ERROR SUMMARY: 0 errors" in report


# Without the checker the test is no part of the tests that a GPU must pass, and the run names what is missing.
checked = (
    pytest.mark.gpu
    if torch.cuda.is_available() and memory_checker()
    else pytest.mark.skipif(True, reason=f"needs a CUDA device and {CHECKER}, CUDA's memory checker")
)


@checked
def test_a_step_touches_no_memory_but_its_own():
    assert_sound(CHECKED_STEP.format(planted=""), memory_checker())


@checked
def test_the_memory_checker_sees_a_step_beyond_its_memory():
    status, report = report_on(CHECKED_STEP.format(planted=TOO_SHORT), memory_checker())
    assert status != 0
    assert "Invalid __global__ read" in report


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (0, "ERROR SUMMARY: 0 errors", nullcontext()),
        (0, "ERROR SUMMARY: 10 errors", pytest.raises(AssertionError)),
        (9, "ERROR SUMMARY: 0 errors", pytest.raises(AssertionError)),
        (0, "", pytest.raises(AssertionError)),
        (1, "Device not supported", pytest.raises(pytest.skip.Exception, match=CHECKER)),
    ],
)
def test_only_a_checker_that_ran_and_found_nothing_is_believed(status, said, expected, tmp_path, monkeypatch):
    fake = tmp_path / CHECKER
    fake.write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert memory_checker() == str(fake)
    with expected:
        assert_sound("", memory_checker())


# What the compiler makes of it, for Hopper; needs no GPU


def compiled(k, dtype, tmp_path, monkeypatch, capsys, stochastic=False):
    """The PTX, and what the assembler says of it."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DUMP_PTXAS_LOG", "1")
    kernel = cuda.kadam_kernel
    fixed = cuda.constants(k, dtype, torch.float32, False, stochastic) | {"grad_scale": None, "found_inf": None}
    types = {"chunks": "*i32", "rows": "*i64", "numbers": "*fp64", "lr": "*fp64"}
    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    attributes = {(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in types}
    source = triton.compiler.ASTSource(kernel, signature, fixed, attributes)
    target = triton.backends.compiler.GPUTarget("cuda", 90, 32)
    ptx = triton.compile(source, target=target, options=cuda.OPTIONS).asm["ptx"]
    return ptx, capsys.readouterr().out


@heavy
@pytest.mark.parametrize("k", cases((1, 2, 8), quick=(8,)))  # a loop that is unrolled: not at all, once, and most registers
def test_compiled_for_hopper_it_moves_128_bits_at_a_time_and_spills_nothing(k, tmp_path, monkeypatch, capsys):
    ptx, log = compiled(k, torch.float32, tmp_path, monkeypatch, capsys)
    vectors = cuda.BLOCK // (4 * 32 * cuda.OPTIONS["num_warps"])  # a thread and tensor
    accesses = Counter(re.findall(r"\b(ld|st)\.global\S*\.v4\.[bf]32\b", ptx))
    assert accesses == {"ld": vectors * (2 + 2 * k), "st": vectors * (1 + 2 * k)}
    assert "0 bytes spill stores, 0 bytes spill loads" in log
    assert int(re.search(r"Used (\d+) registers", log)[1]) <= 80  # six blocks of 128 threads on a multiprocessor


@heavy
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_compiled_for_hopper_it_rounds_to_nearest(dtype, tmp_path, monkeypatch, capsys):
    ptx, _ = compiled(2, dtype, tmp_path, monkeypatch, capsys)
    operations = set(re.findall(r"\b(?:sqrt|rsqrt|div|rcp|fma|ex2|lg2)\.\S+", ptx))
    real = "f64" if dtype == torch.float64 else "f32"
    assert operations == {f"sqrt.rn.{real}", f"div.rn.{real}", "sqrt.rn.f64", "fma.rn.f64"}  # the last two: corrections
    assert (dtype == torch.bfloat16) == bool(re.search(r"cvt\.rn\.bf16(x2)?\.f32", ptx))


# Where it is there


def test_it_is_available_where_triton_has_something_to_run_on(interpreted, monkeypatch):
    assert interpreted.available()
    for version, gpu, expected in (("13.0", True, True), ("13.0", False, False), (None, True, False)):
        monkeypatch.setattr(torch.version, "cuda", version)
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        assert cuda.available() == expected


def test_without_triton_it_is_not_available(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    assert not load("cuda_without_triton").available()
