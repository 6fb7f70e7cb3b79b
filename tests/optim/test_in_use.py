"""Ways in which optimizers broke outside of their own tests, each as a kind."""

import copy
import gc
import re
import subprocess
import sys
import warnings
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from problems import assert_same_bits, dense_parameters, gradients, owned, parameters, random, run
from test_cpu import assert_agree
from test_cuda import fused, interpreted  # noqa: F401
from test_features import path  # noqa: F401
from test_gpu_steps import device, on_this_device  # noqa: F401
from test_kadam import LR, PAIRS, adopting, array, by_reference, moments, snapshot
from tiers import cases, exhaustive, heavy
from torch._subclasses import FakeTensorMode
from torch.nn import Parameter

from kadam import Decay, KAdam
from kadam.optim import cpu, steps
from kadam.theory.reference import kadam_updates

one_to_three = pytest.mark.parametrize("k", [1, 2, 3])


# Parameters that share memory


def tied(n):
    """Two parameters over the very same elements, and one of its own between them."""
    first = Parameter(random(n).float())
    second = Parameter(random(n).float())
    second.data = first.data
    return [first, Parameter(random(n, seed=1).float()), second]


def overlapping(n):
    """Two views that have half of their elements in common, and one that begins where the second ends."""
    memory = random(2 * n).float()
    return [Parameter(memory[:n]), Parameter(memory[n // 2 : n // 2 + n]), Parameter(memory[n // 2 + n :])]


def named_twice(n):
    """One parameter in a group twice, which torch allows with a warning."""
    first = Parameter(random(n).float())
    return [first, Parameter(random(n, seed=1).float()), first]


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate parameters")
@pytest.mark.parametrize("k", [1, 2])
def test_a_parameter_named_twice_steps_twice(k, path):  # noqa: F811
    """pytorch#40967."""
    n = 100_000
    history = [[g, h, g] for g, h in gradients([Parameter(random(n).float()) for _ in range(2)], 5)]
    ours, theirs = KAdam(named_twice(n), lr=LR, k=k, **path), KAdam(named_twice(n), lr=LR, k=k, foreach=False)
    with torch_threads(1):
        run(theirs, history)
    assert_agree(run(ours, history), theirs)
    assert ours.state[owned(ours)[0]]["step"] == 10


@contextmanager
def torch_threads(n):
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    yield
    torch.set_num_threads(before)


@one_to_three
@pytest.mark.parametrize("made", [tied, overlapping])
@pytest.mark.parametrize("n", [12, 100_000])  # the second is shared by the threads
def test_parameters_that_share_memory_step_one_after_another(made, n, k, path):  # noqa: F811
    """sd-scripts#1605, pytorch#106951: here they raced."""
    together, apart = KAdam(made(n), lr=LR, k=k, weight_decay=0.1, **path), made(n)
    singles = [KAdam([p], lr=LR, k=k, weight_decay=0.1, **path) for p in apart]
    for grads in gradients(apart, 3):
        for p, q, g in zip(owned(together), apart, grads, strict=True):
            p.grad, q.grad = g.clone(), g.clone()
        together.step()
        for single in singles:
            single.step()
    for p, q in zip(owned(together), apart, strict=True):
        assert torch.equal(p, q)


COMPILED = {"k = 1": {"k": 1}, "k = 2": {"k": 2}, "for-loop": {"k": 2, "foreach": False}}


@heavy
@pytest.mark.parametrize("made", [tied, overlapping])
@pytest.mark.parametrize("hyper", cases(COMPILED, quick=("k = 2",)))
def test_compiled_they_do_too(made, hyper):
    torch._dynamo.reset()
    ours, theirs = (KAdam(made(12), lr=LR, weight_decay=0.1, **COMPILED[hyper]) for _ in range(2))
    history = gradients(made(12), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, on importing its compiler
        step = torch.compile(ours.step, backend="eager")
        for grads in history:
            for p, g in zip(owned(ours), grads, strict=True):
                p.grad = g.clone()
            step()
    for p, q in zip(owned(ours), owned(run(theirs, history)), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_tied_parameters_of_one_stage_step_as_adamws_do(path):  # noqa: F811
    history = gradients(tied(9), 5)
    ours = run(KAdam(tied(9), lr=LR, k=1, **path), history)
    theirs = run(torch.optim.AdamW(tied(9), lr=LR, weight_decay=0, foreach=False), history)
    same = assert_agree if path.get("fused") else assert_same_bits
    same(ours, theirs)


def test_views_that_do_not_overlap_step_in_one_go(path, monkeypatch):  # noqa: F811
    memory, batches = random(30).float(), []
    monkeypatch.setattr(steps, "step_batch", lambda batch, *_: batches.append(len(batch.params)))
    monkeypatch.setattr("kadam.optim.kadam.step_batch", steps.step_batch)
    run(KAdam([Parameter(memory[i : i + 10]) for i in (10, 0, 20)], **path), [[random(10).float()] * 3])
    assert batches == [3]


# Groups


def test_a_groups_k_belongs_to_other_programs(path):  # noqa: F811
    """A schedule-free wrapper counts its steps there: stages must not follow."""
    history = gradients(parameters(), 6)
    ours, twin = (KAdam(parameters(), lr=LR, k=2, **path) for _ in range(2))
    ours.param_groups[0]["k"] = 1
    with pytest.warns(UserWarning, match=r"'k' was set to 1, .* stays 2; assign the group's 'stages'"):
        run(ours, history[:1])
    for n, grads in enumerate(history[1:], 2):
        ours.param_groups[0]["k"] = n
        run(ours, [grads])  # says nothing any more
    assert_same_bits(ours, run(twin, history))
    assert ours.state_dict()["param_groups"][0]["k"] == 6  # theirs, and kept for them


@pytest.mark.parametrize("value", [0, -1, 2.5, True, None, "2"])
def test_stages_that_are_no_number_are_refused_before_anything_moves(value):
    optimizer = run(KAdam([{"params": [p]} for p in dense_parameters()]), gradients(dense_parameters(), 2))
    before = snapshot(optimizer)
    optimizer.param_groups[-1]["stages"] = value
    with pytest.raises(ValueError, match=f"stages must be a whole number >= 1, got {value!r}"):
        run(optimizer, gradients(dense_parameters(), 1))
    torch.testing.assert_close(snapshot(optimizer)[0], before[0], rtol=0, atol=0)
    torch.testing.assert_close(optimizer.state_dict()["state"], before[1]["state"], rtol=0, atol=0)


def test_explicit_stages_of_another_number_are_refused_before_anything_moves(path):  # noqa: F811
    optimizer = run(KAdam(dense_parameters(), betas=PAIRS, k=3, **path), gradients(dense_parameters(), 2))
    before = snapshot(optimizer)
    optimizer.param_groups[0]["stages"] = 2
    with pytest.raises(ValueError, match="betas holds 3 pairs but k=2"):
        run(optimizer, gradients(dense_parameters(), 1))
    torch.testing.assert_close(optimizer.state_dict()["state"], before[1]["state"], rtol=0, atol=0)


def test_a_groups_k_at_its_making_is_its_number_of_stages():
    optimizer = KAdam([{"params": [Parameter(random(2))], "k": 3}, {"params": [Parameter(random(2))]}], k=1)
    assert [group["stages"] for group in optimizer.param_groups] == [3, 1]
    assert not any("k" in group for group in optimizer.param_groups)


# Configurations


@pytest.mark.parametrize("numpy", [np.array, np.float64], ids=["array", "float64"])
def test_numbers_of_numpy_without_dimensions_are_numbers(numpy):
    given = {"lr": numpy(0.25), "eps": numpy(0.5), "weight_decay": numpy(0.125), "betas": (numpy(0.5), numpy(0.75))}
    (group,) = KAdam([Parameter(random(2))], **given, k=np.array(3), foreach=np.bool_(True), amsgrad=False).param_groups
    assert {name: group[name] for name in given} == {"lr": 0.25, "eps": 0.5, "weight_decay": 0.125, "betas": (0.5, 0.75)}
    assert (group["stages"], group["foreach"], {type(group[name]) for name in ("lr", "eps", "weight_decay")}) == (
        3,
        True,
        {float},
    )


def test_amsgrad_is_accepted_where_it_is_off_and_refused_where_it_is_on():
    assert "amsgrad" not in KAdam([{"params": [Parameter(random(2))], "amsgrad": False}], amsgrad=False).param_groups[0]
    for make in (lambda: KAdam([Parameter(random(2))], amsgrad=True), lambda: KAdam([{"params": [], "amsgrad": True}])):
        with pytest.raises(ValueError, match="amsgrad must be False, KAdam has no such variant; got True"):
            make()


def test_a_fused_step_of_parameters_without_elements_is_refused_as_torch_does():
    with torch.device("meta"):
        model = torch.nn.Linear(2, 2)
    for made in (KAdam, torch.optim.AdamW):
        optimizer = made(model.parameters(), fused=True)  # they may get elements before the first step
        with pytest.raises(RuntimeError, match="fused=True"):
            run(optimizer, [[torch.zeros_like(p) for p in model.parameters()]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_learning_rate_in_a_float64_tensor_is_adamws_bit_for_bit(dtype, weight_decay, plain):
    """In a float32 one AdamW rounds what it makes of it to float32; KAdam reads the number."""
    hyper = {"lr": torch.tensor(LR / 3, dtype=torch.float64), "weight_decay": weight_decay}
    ours, theirs = parameters(dtype)[1:], parameters(dtype)[1:]  # torch computes with two 0-dim tensors in the wider dtype
    history = gradients(ours, 20)
    adamw = torch.optim.AdamW(theirs, **hyper, foreach=False)
    assert_same_bits(run(KAdam(ours, k=1, **hyper, **plain), history), run(adamw, history))


@pytest.fixture(params=[{"foreach": False}, {"foreach": True}, {}], ids=["for-loop", "foreach", "automatic"])
def plain(request):
    return request.param


# State that others edit


@one_to_three
def test_a_program_may_prune_every_key_but_step(k, path):  # noqa: F811
    """As gaussian splatting does: parameters lose rows, and their state with them."""
    params = [Parameter(random(6, 2, seed=i)) for i in range(2)]
    optimizer, keep = run(KAdam(params, lr=LR, k=k, **path), gradients(params, 3)), torch.tensor([0, 2, 5])
    twin = KAdam([Parameter(p.detach()[keep].clone()) for p in params], lr=LR, k=k, **path)
    twin.load_state_dict(
        {
            **(saved := copy.deepcopy(optimizer.state_dict())),
            "state": {i: {n: v[keep] if v.ndim else v for n, v in s.items()} for i, s in saved["state"].items()},
        }
    )
    for i, old in enumerate(params):
        state = optimizer.state.pop(old)
        for name in state:
            if name != "step":
                state[name] = state[name][keep]
        optimizer.param_groups[0]["params"][i] = new = Parameter(old.detach()[keep].clone())
        optimizer.state[new] = state
    history = gradients(owned(optimizer), 3)
    assert_same_bits(run(optimizer, history), run(twin, history))


@pytest.mark.parametrize("k", [2, 3])
def test_foreign_keys_in_a_state_stay_and_are_in_nobodys_way(k, path):  # noqa: F811
    history = gradients(parameters(), 6)
    optimizer, twin = (run(KAdam(parameters(), lr=LR, k=k, **path), history[:2]) for _ in range(2))
    for p in owned(optimizer):
        optimizer.state[p].update(z=torch.ones(3), ema=0.5)
    assert_same_bits_of_ours(run(optimizer, history[2:]), run(twin, history[2:]))
    assert all(optimizer.state[p]["ema"] == 0.5 for p in owned(optimizer))
    optimizer.param_groups[0]["stages"] = k + 1  # as many keys more as are foreign
    assert all(f"exp_avg_{k + 1}" in optimizer.state[p] for p in owned(run(optimizer, history[:1])))


def assert_same_bits_of_ours(ours, theirs):
    for p, q in zip(owned(ours), owned(theirs), strict=True):
        assert torch.equal(p, q)
        torch.testing.assert_close({n: ours.state[p][n] for n in theirs.state[q]}, dict(theirs.state[q]), rtol=0, atol=0)


@pytest.mark.parametrize("counted", [int, lambda n: torch.tensor(int(n)), float], ids=["int", "int64", "float"])
def test_a_step_that_a_program_keeps_as_a_number_is_understood(counted, path):  # noqa: F811
    history = gradients(parameters(), 6)
    optimizer, twin = (run(KAdam(parameters(), lr=LR, **path), history[:3]) for _ in range(2))
    for p in owned(optimizer):
        optimizer.state[p]["step"] = counted(optimizer.state[p]["step"])
    assert_same_bits(run(optimizer, history[3:]), run(twin, history[3:]))


@pytest.mark.parametrize("start", [10, 2**24 - 2, 2**24, 2**30])
def test_a_stage_may_join_after_any_number_of_steps(start, path):  # noqa: F811
    """float32 counts no further than 2^24: a stage that joined there was 0 steps old for ever."""
    weight, decay = Parameter(torch.ones(3, dtype=torch.float64)), Decay()
    optimizer = KAdam([weight], lr=LR, k=2, strategy="repeat", **path)
    moment = {name: random(3, seed=i).abs() for i, name in enumerate(("exp_avg", "exp_avg_sq"))}
    optimizer.state[weight] = {"step": torch.tensor(float(start)), **{name: m.clone() for name, m in moment.items()}}
    history = [[random(3, seed=9)] for _ in range(5)]
    run(optimizer, history)
    m, v = (array(x) for x in moment.values())
    inner = []
    for n, (g,) in enumerate(history, start + 1):
        m, v = decay.gamma * m + (1 - decay.gamma) * array(g), decay.beta * v + (1 - decay.beta) * array(g) ** 2
        inner.append(m / (1 - decay.gamma**n) / (np.sqrt(v / (1 - decay.beta**n)) + 1e-8))
    outer = kadam_updates(np.stack(inner), [decay], eps=1e-8)
    np.testing.assert_allclose(array(weight), by_reference(np.ones(3), outer), rtol=1e-12)
    assert optimizer.state[weight]["step"] == start + 5
    resumed = adopting(optimizer.state_dict(), [weight], path, k=2, strategy="repeat", lr=LR)
    assert resumed.state[owned(resumed)[0]]["step"] == start + 5
    assert_same_bits(run(resumed, history), run(optimizer, history))


def test_a_state_dict_of_version_0_2_is_loaded(path):  # noqa: F811
    """Its groups hold ``k``, and its states the floats ``first_step_i``."""
    history = gradients(dense_parameters(), 9)
    base = run(torch.optim.AdamW(dense_parameters(), lr=LR, weight_decay=0), history[:3])
    ours = run(adopting(base.state_dict(), owned(base), path, k=2), history[3:6])
    old = copy.deepcopy(ours.state_dict())
    (group,) = old["param_groups"]
    group["k"] = group.pop("stages")
    del group["stochastic_rounding"]
    for state in old["state"].values():
        state["first_step_2"] = float(state.pop("step_start_2"))
    resumed = adopting(old, owned(ours), path)
    assert_same_bits(run(resumed, history[6:]), run(ours, history[6:]))


def test_a_counter_that_is_set_back_takes_the_stages_with_it(path):  # noqa: F811
    """torchtitan#4382: a reset between two parts of a training; the age of a stage that had joined later was negative."""
    history = gradients(dense_parameters(), 6)
    base = run(torch.optim.AdamW(dense_parameters(), lr=LR, weight_decay=0), history[:2])
    ours = run(adopting(base.state_dict(), owned(base), path, k=2, lr=LR), history[2:3])
    fresh = KAdam([Parameter(p.detach().clone()) for p in owned(ours)], lr=LR, k=2, **path)
    fresh.param_groups[0].update({name: ours.param_groups[0][name] for name in ("lr", "weight_decay")})
    for state in ours.state.values():
        for name in ("step", "exp_avg", "exp_avg_sq", "exp_avg_2", "exp_avg_sq_2"):
            state[name].zero_()
    for p, q in zip(owned(run(ours, history[3:4])), owned(run(fresh, history[3:4])), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_moments_that_a_program_makes_in_the_parameters_dtype_are_widened(dtype, path):  # noqa: F811
    """relora#10: a reset by zeros like the parameter."""
    history = gradients(parameters(dtype), 4)
    ours, twin = (run(KAdam(parameters(dtype), lr=LR, **path), history[:2]) for _ in range(2))
    for p, q in zip(owned(ours), owned(twin), strict=True):
        for name in [name for name in ours.state[p] if name != "step"]:
            ours.state[p][name] = torch.zeros_like(p.data)
            twin.state[q][name].zero_()
    assert_same_bits(run(ours, history[2:]), run(twin, history[2:]))


# Threads of Python


IN_THREADS = """
import sys, threading, torch
from kadam import KAdam
sys.setswitchinterval(1e-6)
params = [torch.nn.Parameter(torch.randn(50)) for _ in range(20)]
optimizer = KAdam(params, k=2)
for p in params:
    p.grad = torch.randn(50)
def work():
    for _ in range(500):
        optimizer.step()
optimizer.step()
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(all(bool(p.isfinite().all()) for p in params))
"""

BESIDE_A_KERNEL = """
import os, threading
os.environ["NUMBA_THREADING_LAYER"] = "workqueue"
os.environ["NUMBA_NUM_THREADS"] = "2"
import numba, numpy as np, torch
from kadam import KAdam
@numba.njit(parallel=True, nogil=True)
def total(x):
    s = 0.0
    for i in numba.prange(len(x)):
        s += x[i]
    return s
torch.set_num_threads(2)
x, stop = np.arange(1_000_000.0), []
weight = torch.nn.Parameter(torch.ones(100_000))
weight.grad = torch.ones_like(weight)
optimizer = KAdam([weight], k=2)
optimizer.step()
total(x)
def work():
    while not stop:
        total(x)
thread = threading.Thread(target=work)
thread.start()
for _ in range(300):
    optimizer.step()
stop.append(True)
thread.join()
print(bool((weight == weight[0]).all()) and optimizer.state[weight]["step"].item() == 301)
"""


@heavy
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(IN_THREADS, id="one optimizer"),
        pytest.param(BESIDE_A_KERNEL, id="a kernel of the user's", marks=exhaustive),
    ],
)
def test_two_threads_of_python_do_not_end_the_process(program):
    """pytorch#8149, numba#8563: a segmentation fault, and numba's own abort."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


# Nothing is kept alive


@pytest.mark.parametrize("key", ["exp_avg", "exp_avg_sq"])
@one_to_three
def test_a_moment_that_became_shorter_where_it_lies_is_no_reason_to_write_beyond_its_end(k, key, path):  # noqa: F811
    """As a new tensor may that has the identity and the address of the one before."""
    p = Parameter(random(64))
    optimizer = run(KAdam([p], k=k, **path), [[random(64)]] * 2)
    optimizer.state[p][key].resize_(2)
    with pytest.raises(RuntimeError):
        optimizer.step()


@pytest.mark.parametrize("k", [1, 2])
def test_replaced_moments_and_removed_parameters_are_let_go(k, path):  # noqa: F811
    """fvdb-reality-capture#84: what is remembered between steps kept them."""
    optimizer = KAdam([Parameter(random(3)) for _ in range(3)], k=k, **path)
    run(optimizer, [[random(3)] * 3] * 2)
    gone, changed, _ = owned(optimizer)
    kept = [weakref.ref(x) for x in (gone, *moments(optimizer.state[gone], k), *moments(optimizer.state[changed], k))]
    del optimizer.state[gone], optimizer.param_groups[0]["params"][0], gone
    optimizer.state[changed] = {n: v.clone() for n, v in optimizer.state[changed].items()}
    gc.collect()
    assert [ref() for ref in kept] == [None] * len(kept)
    run(optimizer, [[random(3)] * 2])


# Where a compiler is missing


PROGRAM = """
import torch, warnings
from kadam import KAdam
weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    optimizer = KAdam([weight], lr=0.25, eps=0.0, fused=True)
    for _ in range(3):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
for w in told:
    print(w.message)
print([round(x, 9) for x in weight.tolist()], optimizer.state[weight]["step"].item())
"""


@heavy
def test_without_numbas_compiler_the_chain_steps_after_one_warning(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    out = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    told = r"numba cannot be imported \(NUMBA_DISABLE_JIT is set\): fused steps go without it"
    assert re.fullmatch(rf"{told}\n\[0.25, 0.25, 0.25\] 3.0\n", out), out


def test_where_numbas_kernel_does_not_start_the_chain_steps_after_one_warning(monkeypatch):
    def launch(*given):
        raise RuntimeError("no threading layer could be loaded")

    monkeypatch.setattr(cpu.one_pass_kernel(), "launch", launch)
    monkeypatch.setattr(cpu, "_broken", False)  # so that it is what it was again afterwards
    history = gradients(parameters(), 4)
    ours, theirs = (KAdam(parameters(), lr=LR, **way) for way in ({"fused": True}, {"foreach": False}))
    with pytest.warns(
        UserWarning, match="cannot be compiled or started .*no threading layer.*: fused steps go without it"
    ) as told:
        run(ours, history)
    assert len(told) == 1
    assert_agree(ours, run(theirs, history))
    assert {ours.state[p]["step"].item() for p in owned(ours)} == {4}


def test_where_triton_does_not_compile_lists_of_operations_step_after_one_warning(on_this_device, monkeypatch):  # noqa: F811
    from kadam.optim import cuda  # the interpreted one

    class Failing:
        def __getitem__(self, grid):
            raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(cuda, "kadam_kernel", Failing())
    monkeypatch.setattr(cuda, "_launched", set())
    monkeypatch.setattr(steps, "_lack_fused", set())
    history = gradients(parameters(torch.float32, on_this_device), 4)
    ours, theirs = (
        KAdam(parameters(torch.float32, on_this_device), lr=LR, **way) for way in ({"fused": True}, {"foreach": False})
    )
    with pytest.warns(UserWarning, match="Failed to find C compiler.*: taking foreach=True from here on") as told:
        run(ours, history)
    assert len(told) == 1
    assert_agree(ours, run(theirs, history))
    assert {ours.state[p]["step"].item() for p in owned(ours)} == {4}


# Tensors that are not plain


@pytest.mark.parametrize("hyper", [{"k": 1}, {"k": 2}, {"k": 2, "foreach": False}, {"k": 1, "fused": True}], ids=str)
def test_shapes_can_be_followed_without_numbers(hyper):
    with FakeTensorMode():
        model = torch.nn.Linear(3, 3)
        optimizer = KAdam(model.parameters(), **hyper)
        for _ in range(3):
            model(torch.randn(2, 3)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert all(m.shape == p.shape for p in owned(optimizer) for m in moments(optimizer.state[p], hyper["k"]))


class Alone(torch.Tensor):
    """Knows no lists of tensors, as those of quantised training."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if "foreach" in str(getattr(function, "__name__", function)):
            raise NotImplementedError(function)
        return super().__torch_function__(function, types, args, kwargs or {})


@pytest.mark.parametrize("lazy", [lambda: torch.randn(3, dtype=torch.complex64).conj(), lambda: torch._neg_view(torch.ones(3))])
def test_a_parameter_that_is_another_tensors_conjugate_or_negative_is_refused(lazy, path):  # noqa: F811
    weight, other = Parameter(lazy()), Parameter(torch.ones(2))
    optimizer = KAdam([{"params": [other]}, {"params": [weight]}], **path)
    with pytest.raises(RuntimeError, match="params must hold their own numbers"):
        run(optimizer, [[torch.ones(2), torch.ones_like(weight)]])
    assert torch.equal(other, torch.ones(2))
    optimizer.param_groups[1]["params"] = []
    run(optimizer, [[torch.ones(2)]] * 2)
    other.data = torch._neg_view(other.data)
    with pytest.raises(RuntimeError, match="params must hold their own numbers"):
        run(optimizer, [[torch.ones(2)]])


@one_to_three
def test_subclasses_that_know_no_lists_of_tensors_step_by_themselves(k):
    """torchao#4915."""

    def params():
        return [Parameter(random(3)), Parameter(random(4).as_subclass(Alone)), Parameter(random(5))]

    assert type(params()[1].data) is Alone
    plain = [Parameter(random(n)) for n in (3, 4, 5)]
    history = gradients(plain, 4)
    theirs = run(KAdam(plain, lr=LR, k=k, foreach=False), history)
    for hyper in ({}, {"fused": False}):
        for p, q in zip(owned(run(KAdam(params(), lr=LR, k=k, **hyper), history)), owned(theirs), strict=True):
            torch.testing.assert_close(p.detach().as_subclass(torch.Tensor), q.detach(), rtol=1e-12, atol=0)
