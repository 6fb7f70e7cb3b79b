"""The fused CPU step: the same as the for-loop whatever the layout, the same whatever the threads, in little memory."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import assert_same_bits, dense_parameters, gradients, owned, parameters, random, run
from test_kadam import moments
from tiers import exhaustive
from torch.nn import Parameter

from kadam import KAdam
from kadam.optim import cpu
from kadam.optim.batch import Batch, side_by_side
from kadam.optim.chain import BLOCK
from kadam.optim.steps import choose

LR = 2**-7
one_to_three = pytest.mark.parametrize("k", [1, 2, 3])
# A float32 step rounds about ten times a stage; over the few steps here that stays within these.
WITHIN = {torch.float32: {"rtol": 2e-5, "atol": 2e-6}, torch.float64: {"rtol": 1e-11, "atol": 1e-13}}


@pytest.fixture(params=["fused", "chained"])
def way(request):
    if request.param == "fused":
        yield request.param
        return
    with cpu.chain_only():
        yield request.param


def assert_agree(ours, theirs):
    """Weights and state within rounding. Moments are compared in units of the root of v, as the update uses them."""
    for p, q in zip(owned(ours), owned(theirs), strict=True):
        within = WITHIN[p.dtype]
        torch.testing.assert_close(p.detach(), q.detach(), **within)
        for i in range(1, ours.param_groups[0]["stages"] + 1):
            (m, v), (m_, v_) = moments(ours.state[p], i), moments(theirs.state[q], i)
            torch.testing.assert_close(v, v_, rtol=100 * within["rtol"], atol=0)
            torch.testing.assert_close(m / v_.sqrt(), m_ / v_.sqrt(), rtol=0, atol=10 * within["rtol"])


# Any shape, any strides, any split into groups


@st.composite
def layouts(draw):
    """A shape, and how a tensor of this shape lies in memory."""
    shape = draw(st.lists(st.integers(0, 5), max_size=4))
    order = draw(st.permutations(range(len(shape))))
    step = draw(st.integers(1, 2)) if shape else 1
    return tuple(shape), tuple(order), step


def laid_out(x, layout):
    """The values of x under this layout: dimensions permuted in memory, and gaps between the elements of one."""
    shape, order, step = layout
    memory = x.permute(order).contiguous()
    if step == 2 and x.dim():
        memory = torch.stack([memory, memory], -1)[..., 0]
    return memory.permute([order.index(d) for d in range(len(shape))]) if shape else x.clone()


@given(
    kinds=st.lists(
        st.tuples(layouts(), st.booleans(), st.sampled_from([torch.float32, torch.float64])), min_size=1, max_size=5
    ),
    cut=st.integers(0, 4),
    k=st.integers(1, 4),
    chained=st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_any_layout_gives_the_step_of_the_for_loop(kinds, cut, k, chained):
    def optimizer(**flags):
        params = [Parameter(laid_out(random(*lay[0], seed=i).to(dtype), lay)) for i, (lay, _, dtype) in enumerate(kinds)]
        groups = [{"params": part, "lr": 0.01 * (j + 1)} for j, part in enumerate((params[:cut], params[cut:])) if part]
        return KAdam(groups, k=k, weight_decay=0.1, **flags)

    ours, theirs = optimizer(fused=True), optimizer(foreach=False)
    with cpu.chain_only() if chained else threading.Lock():
        for grads in gradients(owned(theirs), 3):
            for (layout, as_parameter, _), p, q, g in zip(kinds, owned(ours), owned(theirs), grads, strict=True):
                p.grad, q.grad = (laid_out(g, layout) if as_parameter else g), g
            ours.step()
            theirs.step()
    assert_agree(ours, theirs)


# What may change between two steps


def swap_data(p, optimizer):
    p.data = p.data.clone()


def transpose_data(p, optimizer):
    """The same address and sizes, another order."""
    p.data = p.data.t()
    for name, value in optimizer.state[p].items():
        if name.startswith("exp_avg"):
            optimizer.state[p][name] = value.t()


def transpose_gradient(p, optimizer):
    p.grad = p.grad.t().contiguous().t()


def replace_moment(p, optimizer):
    optimizer.state[p]["exp_avg"] = optimizer.state[p]["exp_avg"] * 2


def swap_moment(p, optimizer):
    optimizer.state[p]["exp_avg"].data = optimizer.state[p]["exp_avg"] * 2


def forget(p, optimizer):
    del optimizer.state[p]


def freeze(p, optimizer):
    p.grad = None


def add_group(p, optimizer):
    new = Parameter(random(3, 3, seed=7))
    new.grad = random(3, 3, seed=8)
    optimizer.add_param_group({"params": [new]})


def append_parameter(p, optimizer):
    new = Parameter(random(3, 3, seed=7))
    new.grad = random(3, 3, seed=8)
    optimizer.param_groups[0]["params"].append(new)


def more_stages(p, optimizer):
    optimizer.param_groups[0]["stages"] = 3


def reload(p, optimizer):
    optimizer.load_state_dict(optimizer.state_dict())


def other_path(p, optimizer):
    optimizer.param_groups[0]["foreach" if optimizer.param_groups[0]["fused"] else "fused"] = None
    optimizer.param_groups[0]["fused"] = optimizer.param_groups[0]["foreach"] = False


CHANGES = [
    swap_data,
    transpose_data,
    transpose_gradient,
    replace_moment,
    swap_moment,
    forget,
    freeze,
    add_group,
    append_parameter,
    more_stages,
    reload,
    other_path,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_between_two_steps_is_noticed(change, way):
    def changed_half_way(**flags):
        optimizer = KAdam([Parameter(random(3, 3, seed=i)) for i in range(3)], lr=LR, k=2, **flags)
        for n, grads in enumerate(gradients([random(3, 3)] * 4, 8)):
            for p, g in zip(owned(optimizer), grads, strict=False):
                p.grad = g.clone()
            if n == 4:
                change(owned(optimizer)[1], optimizer)
            optimizer.step()
        return optimizer

    assert_agree(changed_half_way(fused=True), changed_half_way(foreach=False))


def test_a_parameter_cast_away_from_its_moments_is_an_error_as_in_torch(way):
    optimizer = run(KAdam([Parameter(random(4).float())], fused=True), [[random(4).float()]] * 3)
    (p,) = owned(optimizer)
    p.data = p.data.double()
    with pytest.raises(RuntimeError, match="dtype"):
        run(optimizer, [[random(4)]])


def test_a_moment_of_the_wrong_size_is_an_error_and_no_write_beyond_its_end(way):
    optimizer = run(KAdam([Parameter(random(4))], fused=True), [[random(4)]] * 3)
    (p,) = owned(optimizer)
    optimizer.state[p]["exp_avg"] = random(3)
    p.grad = random(4)
    with pytest.raises(RuntimeError, match="size"):
        optimizer.step()


# Threads


def large(k, threads, *, steps=3):
    """Two parameters that several threads share unevenly, after some steps."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        params = [Parameter(random(*shape, seed=1).float()) for shape in ((70_001,), (3, 11), (257, 301))]
        return run(KAdam(params, lr=LR, k=k, fused=True), gradients(params, steps))
    finally:
        torch.set_num_threads(before)


@one_to_three
def test_results_do_not_depend_on_the_number_of_threads(k, way):
    once = large(k, 1)
    for threads in (2, 3):
        assert_same_bits(large(k, threads), once)


@one_to_three
def test_tensors_larger_than_a_block_step_as_by_the_for_loop(k, way):
    def optimizer(**flags):
        return KAdam([Parameter(random(n, seed=i).float()) for i, n in enumerate((BLOCK + 17, 40, 5))], k=k, **flags)

    grads = [[random(*p.shape, seed=9).float() for p in owned(optimizer())]]
    assert_agree(run(optimizer(fused=True), grads), run(optimizer(foreach=False), grads))


def test_two_python_threads_step_at_once(way):
    alone, together = [large(2, 2) for _ in range(2)], [None, None]

    def work(i):
        together[i] = large(2, 2)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for ours, theirs in zip(together, alone, strict=True):
        assert_same_bits(ours, theirs)


def exit_status(child, seconds=30):
    """Of a child process, which is killed if it takes longer."""
    for _ in range(seconds * 20):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hangs"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_steps_too(monkeypatch):
    """OpenMP's threads do not survive a fork; the kernel must not wait for them."""
    optimizer, expected = large(2, 2), large(2, 2, steps=4)
    for p, g in zip(owned(optimizer), gradients(owned(optimizer), 4)[-1], strict=True):
        p.grad = g
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    child = os.fork()
    if child == 0:  # nothing here but the step: torch's own threads are gone too
        optimizer.step()
        same = [
            p.detach().numpy().tobytes() == q.detach().numpy().tobytes()
            for p, q in zip(owned(optimizer), owned(expected), strict=True)
        ]
        os._exit(0 if all(same) else 1)
    assert exit_status(child) == 0


@pytest.fixture
def no_kernel_yet(monkeypatch):
    """As in a process that has not asked for numba's kernel."""
    monkeypatch.delitem(sys.modules, "kadam.optim.numba_kernel", raising=False)
    cpu._import_kernel.cache_clear()
    yield
    cpu._import_kernel.cache_clear()


def test_without_numba_fused_steps_are_chained(no_kernel_yet, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert cpu.one_pass_kernel() is None
    with cpu.chain_only():
        chained = large(2, 1)
    assert_same_bits(large(2, 1), chained)


def test_a_numba_that_does_not_work_is_reported(no_kernel_yet, monkeypatch):
    """It raises a plain ImportError where its numpy is too new."""

    def import_module(name):
        raise ImportError("Numba needs NumPy 2.4 or less")

    monkeypatch.setattr(cpu.importlib, "import_module", import_module)
    with pytest.warns(UserWarning, match="numba cannot be imported .Numba needs NumPy 2.4 or less.: fused steps go without"):
        assert cpu.one_pass_kernel() is None


# Which path


TABLE = [  # fused, foreach, k, and the path on a CPU
    (None, None, 1, "foreach"),
    (None, None, 2, "fused"),
    (True, None, 1, "fused"),
    (True, False, 2, "fused"),
    (None, True, 2, "foreach"),
    (None, False, 2, "for-loop"),
    (False, None, 2, "foreach"),
    (False, False, 2, "for-loop"),
    (False, True, 1, "foreach"),
]


@pytest.mark.parametrize(("fused", "foreach", "k", "expected"), TABLE)
def test_flags_choose_the_path_as_the_documentation_says(fused, foreach, k, expected):
    (group,) = KAdam([Parameter(random(2))], k=k, fused=fused, foreach=foreach).param_groups
    assert choose(group, torch.device("cpu")) == expected
    assert choose({**group, "differentiable": True}, torch.device("cpu")) == "for-loop"


def test_where_there_is_no_fused_step_asking_for_it_says_so():
    (group,) = KAdam([Parameter(random(2))], fused=True).param_groups
    with pytest.warns(UserWarning, match="no fused step on 'mps' devices; taking foreach=True"):
        assert choose(group, torch.device("mps")) == "foreach"


def test_only_dense_and_equally_strided_tensors_are_taken_by_address():
    params = parameters()
    optimizer = run(KAdam(params), gradients(params, 1))
    batch = Batch([], [], [], [], [])
    optimizer._init_group(optimizer.param_groups[0], batch.params, batch.grads, batch.moments, batch.steps, batch.starts)
    can, cannot = side_by_side(batch)
    image, transposed, gaps = params[4:]  # their gradients are contiguous: another order than the first two
    assert [id(p) for p in cannot.params] == [id(image), id(transposed), id(gaps)]
    assert [id(p) for p in can.params] == [id(p) for p in params[:4]]


def test_channels_last_parameters_with_channels_last_gradients_are_taken_by_address(way):
    def optimizer(**flags):
        return KAdam([Parameter(random(2, 3, 4, 5).to(memory_format=torch.channels_last))], lr=LR, **flags)

    grads = [[random(2, 3, 4, 5, seed=i).to(memory_format=torch.channels_last)] for i in range(3)]
    ours, theirs = run(optimizer(fused=True), grads), run(optimizer(foreach=False), grads)
    assert_agree(ours, theirs)
    (p,) = owned(ours)
    assert p.stride() == ours.state[p]["exp_avg_2"].stride() == (60, 1, 15, 3)


def test_versions_move_on_the_way_of_the_last_step_too():
    optimizer = run(KAdam(dense_parameters()[:2], fused=True), gradients(dense_parameters()[:2], 2))
    before = [t._version for p in owned(optimizer) for t in (p, *moments(optimizer.state[p], 2))]
    run(optimizer, gradients(dense_parameters()[:2], 1))
    after = [t._version for p in owned(optimizer) for t in (p, *moments(optimizer.state[p], 2))]
    assert all(b > a for a, b in zip(before, after, strict=True))


FIRST_STEP = """
import torch
from kadam import KAdam
p = torch.nn.Parameter(torch.ones(8))
p.grad = torch.ones(8)
KAdam([p], fused=True).step()
from kadam.optim.numba_kernel import _share
print(len(_share.stats.cache_hits), len(_share.stats.cache_misses))
"""


@exhaustive
def test_what_one_process_compiled_another_finds_on_disk(tmp_path):
    pytest.importorskip("numba")
    command, environment = [sys.executable, "-c", FIRST_STEP], {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    said = [subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout for _ in range(2)]
    assert said == ["0 1\n", "1 0\n"]


def test_processes_take_turns_at_the_first_launch_of_a_version_and_not_after(monkeypatch):
    """numba keeps the versions of a kernel in files that it numbers: two processes at once may give one number twice."""
    pytest.importorskip("numba")
    fcntl = pytest.importorskip("fcntl")
    from kadam import compiled

    locked = []
    monkeypatch.setattr(compiled, "_ready", set())
    monkeypatch.setattr(compiled.fcntl, "flock", lambda file, how: locked.append((Path(file.name).name, how)))
    for dtype, number in ((torch.float32, 1), (torch.float32, 1), (torch.float64, 2)):
        run(KAdam([Parameter(random(3).to(dtype))], fused=True), [[random(3).to(dtype)]])
        assert locked == [("kadam.lock", fcntl.LOCK_EX)] * number


def test_a_kernel_that_can_be_kept_nowhere_is_compiled_all_the_same(monkeypatch):
    numba = pytest.importorskip("numba")
    from kadam import compiled

    def njit(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: (function, options)

    monkeypatch.setattr(numba, "njit", njit)
    function, options = compiled.kept(parallel=True)(len)
    assert function is len
    assert options["parallel"]
