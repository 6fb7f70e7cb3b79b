"""KAdam's constructor and step on every CPU path at every kind of number, shape and layout."""

import copy
import io
import math
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import test_fuzz_flow
import test_fuzz_theory
import torch
from fuzzing import (
    AT_LEAST,
    NIGHTLY,
    PROPERTIES,
    QUICK,
    Refused,
    answer,
    anything,
    as_float,
    fuzz,
    is_count,
    is_rate,
    refuses,
    strategies,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from problems import owned
from test_kadam import array, moments
from torch.nn import Parameter

from kadam import Decay, KAdam, stages
from kadam.optim.cpu import chain_only
from kadam.theory.reference import kadam_moments, kadam_updates

PATHS = {
    "for-loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "chained": {"fused": True},
    "capturable": {"foreach": True, "capturable": True},
}
LARGEST = {dtype: torch.finfo(dtype).max for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)}
LR = 2**-7

paths = st.sampled_from(list(PATHS))
dtypes = st.sampled_from(list(LARGEST))


def on_path(name):
    """The context in which this path is taken; its flags are PATHS[name]."""
    return chain_only() if name == "chained" else nullcontext()


def square_root_of_largest(dtype):
    """What a gradient must stay below: of the dtype in which moments are kept."""
    return math.sqrt(LARGEST[torch.promote_types(dtype, torch.float32)])


# Parameters and gradients


def laid_out(x, layout):
    """The same values transposed in memory, with gaps in between, or one after another."""
    if layout == "transposed" and x.ndim == 2:
        return x.t().clone(memory_format=torch.contiguous_format).t()
    if layout == "gaps" and x.ndim > 0:
        return x.repeat_interleave(2, dim=-1)[..., ::2]
    return x.clone()


@dataclass
class Problem:
    """Weights, the gradients of every step, and the layouts of both."""

    weights: list
    gradients: list
    layouts: list

    def parameters(self):
        return [Parameter(laid_out(w, layout[0])) for w, layout in zip(self.weights, self.layouts, strict=True)]

    def train(self, optimizer, first=0, last=None):
        for grads in self.gradients[first:last]:
            for p, g, layout in zip(owned(optimizer), grads, self.layouts, strict=True):
                p.grad = laid_out(g, layout[1])
            optimizer.step()
        return optimizer

    def optimizer(self, path, **hyper):
        """An optimizer on these parameters that has taken all steps on this path."""
        with on_path(path):
            return self.train(KAdam(self.parameters(), **hyper, **PATHS[path]))


shapes = st.sampled_from([(), (0,), (1,), (3,), (2, 0, 3), (2, 3), (5, 1), (17,)])
layouts = st.sampled_from(["plain", "transposed", "gaps"])
dense = st.sampled_from(["plain", "transposed"])


def tensors(shape, dtype, elements):
    return arrays(np.float64, shape, elements=elements).map(lambda x: torch.from_numpy(np.asarray(x)).to(dtype))


@st.composite
def problems(draw, dtype, elements, *, layouts=layouts, shapes=shapes, most_steps=5):
    chosen = draw(st.lists(shapes, min_size=1, max_size=3))
    weights = [draw(tensors(shape, dtype, st.floats(-4, 4))) for shape in chosen]
    steps = draw(st.integers(1, most_steps))
    gradients = [[draw(tensors(shape, dtype, elements)) for shape in chosen] for _ in range(steps)]
    return Problem(weights, gradients, [(draw(layouts), draw(layouts)) for _ in chosen])


def sizes(lowest, highest):
    """Numbers of both signs whose exponents are spread evenly, and zeros."""
    exponents = st.floats(math.log10(lowest), math.log10(highest))
    return st.builds(lambda e, sign: sign * min(10**e, highest), exponents, st.sampled_from([1.0, 1.0, -1.0, -1.0, 0.0]))


remembering = st.tuples(st.floats(0, 0.9999), st.floats(0.5, 0.9999))  # (beta1, beta2)
hypers = st.fixed_dictionaries(
    {
        "lr": st.sampled_from([0.0, LR, 1.0]),
        "betas": st.just((0.9, 0.999)) | remembering,
        "eps": st.sampled_from([1e-10, 1e-8, 1e-3]),
        "weight_decay": st.sampled_from([0.0, 0.1]),
        "k": st.integers(1, 4),
        "strategy": strategies,
        "maximize": st.booleans(),
    }
)


# What may be asked


no_arguments = [
    *(torch.tensor(x) for x in (0.1, [0.1], [], [0.1, 0.2], math.nan, 1j, True, 1, -1.0)),
    ((0.9, 0.999), (0.5, 0.9)),
    [[0.9, 0.999], [0.5, 1.0]],
    ((0.9, 0.999), 0.5),
    (0.5, 0.9),
    np.array([0.5, 0.9]),
]
arguments = anything | st.sampled_from(no_arguments)
flags = st.sampled_from(["maximize", "foreach", "fused", "capturable", "differentiable"])
numbers = st.sampled_from(["lr", "eps", "weight_decay"])


@fuzz(name=numbers | flags | st.sampled_from(["betas", "k", "strategy"]), value=arguments, path=paths)
def test_an_argument_is_taken_or_named_and_what_is_taken_can_step(name, value, path):
    asked = {**PATHS[path], name: value}
    params = [Parameter(torch.ones(shape)) for shape in ((), (3,), (0,))]
    try:
        optimizer = answer(lambda: KAdam(params, **asked), name, "fused=True", "foreach=True")
    except Refused:
        assert not is_allowed(name, value) or flags_exclude_each_other(asked)
        return
    assert is_allowed(name, value)
    assert not flags_exclude_each_other(asked)
    (group,) = optimizer.param_groups
    assert all(isinstance(group[each], float | torch.Tensor) for each in ("lr", "eps", "weight_decay"))
    assert type(group["stages"]) is int
    assert [type(beta) for beta in group["betas"]] == [float, float]
    if group["stages"] <= 100 and not (name == "eps" and float(value) == 0) and not group["differentiable"]:
        for p in params:
            p.grad = torch.ones_like(p)
        with on_path(path), torch.no_grad():
            optimizer.step()
        assert all(p.isfinite().all() for p in params)
        torch.load(saved(optimizer), weights_only=True)


def is_allowed(name, value):
    if name in ("lr", "eps", "weight_decay"):
        one = isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_complex()
        return 0 <= (value.item() if one else as_float(value)) <= 1e15
    if name == "k":
        return is_count(value, most=10**6)
    if name == "betas":
        pairs = value if isinstance(value, tuple | list) and len(value) == 2 and np.ndim(value[0]) else [value]
        return all(isinstance(p, tuple | list | np.ndarray) and len(p) == 2 and all(map(is_rate, p)) for p in pairs)
    if name in ("foreach", "fused"):
        return value is None or value is False or value is True
    return name != "strategy" and isinstance(value, bool)


def flags_exclude_each_other(asked):
    fast = [bool(asked.get(name)) for name in ("foreach", "fused")]
    return all(fast) or (asked.get("differentiable") is True and any(fast))


def saved(optimizer):
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return file


# Torch itself fails at an empty tuple inside the list, which it takes for a name and a tensor.
@fuzz(params=st.lists(anything.filter(lambda x: not isinstance(x, tuple)), max_size=2) | anything)
def test_what_are_no_parameters_is_refused(params):
    try:
        answer(lambda: KAdam(params), "param", "optimizer got an empty")
    except Refused:
        return
    raise AssertionError(f"{params!r} was taken for parameters")


# Right answers


@fuzz(path=paths, hyper=hypers, problem=problems(torch.float64, sizes(1e-150, 1e150) | sizes(5e-324, 1e-150)))
def test_weights_and_moments_are_the_references(path, hyper, problem):
    optimizer = problem.optimizer(path, **hyper)
    decays = stages(Decay.from_betas(hyper["betas"]), hyper["k"], hyper["strategy"])
    lr, sign = hyper["lr"], -1 if hyper["maximize"] else 1
    for i, p in enumerate(owned(optimizer)):
        g = sign * np.stack([array(grads[i]) for grads in problem.gradients])
        u = kadam_updates(g, decays, eps=hyper["eps"])
        expected = array(problem.weights[i])
        for each in u:
            expected = (1 - lr * hyper["weight_decay"]) * expected - lr * each
        assert_allclose(array(p), expected, rtol=1e-12, atol=1e-9 * (1 + abs(u).max(initial=0)))
        for j, (m, v) in enumerate(zip(*kadam_moments(g, decays, eps=hyper["eps"]), strict=True), start=1):
            ours = moments(optimizer.state[p], j)
            assert (np.abs(array(ours[0]) - m) <= 1e-9 * (abs(m) + np.sqrt(v)) + 1e-160).all()
            assert_allclose(array(ours[1]), v, rtol=1e-9, atol=1e-300)


@fuzz(dtype=dtypes, path=paths, hyper=hypers, data=st.data())
def test_every_path_is_the_for_loop_to_rounding(dtype, path, hyper, data):
    """Also where a second moment overflows (not where m^ may as well), and where a gradient is not finite."""
    limit = square_root_of_largest(dtype)
    beyond = [x for x in (1e4 * limit, LARGEST[dtype] / 2) if 1e4 * limit <= x <= LARGEST[dtype] / 2]
    odd = st.sampled_from([*beyond, math.inf, -math.inf, math.nan])
    usual = sizes(torch.finfo(dtype).smallest_normal, min(limit, LARGEST[dtype]))
    problem = data.draw(problems(dtype, st.one_of(usual, usual, usual, odd)))
    loop, fast = problem.optimizer("for-loop", **hyper), problem.optimizer(path, **hyper)
    precise = 1e-10 if dtype == torch.float64 else 1e-3
    for p, q in zip(owned(loop), owned(fast), strict=True):
        rounding = precise * (1 + hyper["lr"]) * 50 + 20 * torch.finfo(dtype).eps
        torch.testing.assert_close(q.detach(), p.detach(), rtol=rounding, atol=rounding, equal_nan=True)
        for j in range(1, hyper["k"] + 1):
            (m, v), (n, w) = moments(loop.state[p], j), moments(fast.state[q], j)
            torch.testing.assert_close(w, v, rtol=precise, atol=1e-30, equal_nan=True)
            scale = torch.where(v.isfinite(), v.sqrt(), m.abs()) + 1e-15
            torch.testing.assert_close(n / scale, m / scale, rtol=precise, atol=precise, equal_nan=True)


@fuzz(
    dtype=st.sampled_from([torch.float64, torch.float32]),
    path=st.sampled_from(["for-loop", "foreach"]),
    hyper=hypers,
    eps=st.sampled_from([0.0, 1e-45, 1e-8, 1e3]),
    data=st.data(),
)
def test_one_stage_is_adamw_bit_for_bit_whatever_the_gradients(dtype, path, hyper, eps, data):
    everything = st.floats(width=32 if dtype == torch.float32 else 64)
    problem = data.draw(problems(dtype, everything | sizes(1e-45, 1e38)))
    ours = problem.optimizer(path, **{**hyper, "k": 1, "eps": eps})
    theirs = {name: value for name, value in hyper.items() if name not in ("k", "strategy")}
    adamw = problem.train(torch.optim.AdamW(problem.parameters(), **{**theirs, "eps": eps}, **PATHS[path]))
    for p, q in zip(owned(ours), owned(adamw), strict=True):
        torch.testing.assert_close(p.detach(), q.detach(), rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(ours.state[p], adamw.state[q], rtol=0, atol=0, equal_nan=True)


@fuzz(dtype=dtypes, path=paths, k=st.integers(1, 4), strategy=strategies, data=st.data())
def test_the_step_start_is_the_sign_of_the_gradient(dtype, path, k, strategy, data):
    limit = min(square_root_of_largest(dtype), LARGEST[dtype])
    problem = data.draw(problems(dtype, sizes(1e-3, limit), most_steps=1))
    optimizer = problem.optimizer(path, lr=1.0, k=k, strategy=strategy)
    for p, w, g in zip(owned(optimizer), problem.weights, problem.gradients[0], strict=True):
        torch.testing.assert_close(p.detach(), w - g.sign(), rtol=0, atol=1e-3 + 8 * torch.finfo(dtype).eps)


# Finite in, finite out


@st.composite
def stable_pairs(draw):
    """(beta1, beta2) with beta2 > beta1^2, up to the edges of the square."""
    beta1 = draw(st.sampled_from([0.0, 1e-310, 0.5, 0.9, 1 - 1e-9]) | st.floats(0, 0.9999))
    share = draw(st.floats(0.01, 0.99))
    return beta1, beta1**2 + share * (1 - beta1**2)


def states_of(optimizer):
    return [x for state in optimizer.state.values() for x in state.values() if torch.is_tensor(x)]


@fuzz(
    dtype=dtypes,
    path=paths,
    betas=st.lists(stable_pairs(), min_size=1, max_size=4),
    eps=st.sampled_from([1e-30, 1e-8, 1.0]),
    data=st.data(),
)
def test_moments_and_weights_stay_finite_below_the_root_of_the_largest_number(dtype, path, betas, eps, data):
    limit = min(0.99 * square_root_of_largest(dtype), LARGEST[dtype])
    problem = data.draw(problems(dtype, sizes(5e-324, limit) | sizes(1e-3 * limit, limit), most_steps=8))
    optimizer = problem.optimizer(path, lr=LR, betas=betas, k=len(betas), eps=eps)
    assert all(x.isfinite().all() for x in states_of(optimizer))
    if dtype != torch.float16 or eps > 1e-30:
        assert all(p.isfinite().all() for p in owned(optimizer))


def with_first(problem, value, step):
    """The problem with one gradient, that of the first element at one step, replaced."""
    changed = copy.deepcopy(problem)
    changed.gradients[step][0].view(-1)[0] = value
    return changed


several = st.sampled_from([(1,), (3,), (2, 3), (5, 1), (17,)])
wide_dtypes = st.sampled_from([torch.float64, torch.float32, torch.bfloat16])


@fuzz(dtype=wide_dtypes, path=paths, k=st.integers(1, 4), strategy=strategies, share=st.floats(0.01, 0.5), data=st.data())
def test_beyond_it_stage_one_is_silent_forever_and_later_momentum_fades(dtype, path, k, strategy, share, data):
    """The coordinate's first second moment is infinite, as AdamW's would be; everything else stays finite."""
    problem = data.draw(problems(dtype, sizes(1e-3, 1e3), shapes=several))
    step, lr = data.draw(st.integers(0, len(problem.gradients) - 1)), LR
    optimizer = with_first(problem, share * LARGEST[dtype], step).optimizer(path, lr=lr, k=k, strategy=strategy)
    p, decays = owned(optimizer)[0], stages(Decay(), k, strategy)
    g = np.array([array(grads[0]).flat[0] for grads in problem.gradients])
    first = np.where(np.arange(len(g)) < step, kadam_updates(g, decays[:1], eps=1e-8), 0.0)
    updates = kadam_updates(first, decays[1:], eps=1e-8) if k > 1 else first
    expected = array(problem.weights[0]).flat[0] - lr * updates.sum()
    assert_allclose(array(p).flat[0], expected, rtol=0, atol=1e-3 * lr * k + 40 * torch.finfo(dtype).eps)
    assert moments(optimizer.state[p], 1)[1].flatten()[0] == math.inf
    assert all(p.isfinite().all() for p in owned(optimizer))
    assert all(m.isfinite().all() for j in range(2, k + 1) for m in moments(optimizer.state[p], j))


@fuzz(dtype=dtypes, path=paths, hyper=hypers, value=st.sampled_from([math.nan, math.inf, -math.inf, 6e4]), data=st.data())
def test_a_coordinate_never_sees_anothers_gradient(dtype, path, hyper, value, data):
    problem = data.draw(problems(dtype, sizes(1e-3, 1e3), shapes=several))
    step = data.draw(st.integers(0, len(problem.gradients) - 1))
    plain, odd = (x.optimizer(path, **hyper) for x in (problem, with_first(problem, value, step)))
    for i, (p, q) in enumerate(zip(owned(plain), owned(odd), strict=True)):
        ours, theirs = ([p, *states_of_one(plain, p)], [q, *states_of_one(odd, q)])
        for x, y in zip(ours, theirs, strict=True):
            skip = 1 if i == 0 else 0
            assert torch.equal(x.detach().flatten()[skip:], y.detach().flatten()[skip:])


def states_of_one(optimizer, p):
    return [x for x in optimizer.state[p].values() if torch.is_tensor(x) and x.shape == p.shape and x.ndim]


@fuzz(dtype=dtypes, path=paths, k=st.integers(1, 4), strategy=strategies, data=st.data())
def test_without_eps_only_a_coordinate_that_never_had_a_gradient_is_lost(dtype, path, k, strategy, data):
    limit = min(0.99 * square_root_of_largest(dtype), LARGEST[dtype])
    problem = data.draw(problems(dtype, sizes(1e-3, limit).filter(bool), shapes=several))
    for grads in problem.gradients:
        grads[0].view(-1)[0] = 0.0
    optimizer = problem.optimizer(path, lr=LR, k=k, strategy=strategy, eps=0.0)
    first = owned(optimizer)[0].detach().flatten()
    assert first[0].isnan()
    assert first[1:].isfinite().all()
    assert all(p.isfinite().all() for p in owned(optimizer)[1:])


# Groups and state dicts


@fuzz(path=paths, hyper=st.lists(hypers, min_size=2, max_size=3), data=st.data())
def test_a_group_steps_as_if_alone(path, hyper, data):
    problem = data.draw(problems(torch.float32, sizes(1e-20, 1e18) | st.sampled_from([1e30, math.inf]), layouts=dense))
    hyper = (hyper * 2)[: len(problem.weights)]
    with on_path(path):
        groups = [{"params": [p], **each} for p, each in zip(problem.parameters(), hyper, strict=False)]
        together = problem.train(KAdam(groups, **PATHS[path]))
    for i, (p, each) in enumerate(zip(owned(together), hyper, strict=False)):
        alone = Problem([problem.weights[i]], [[grads[i]] for grads in problem.gradients], [problem.layouts[i]])
        single = alone.optimizer(path, **each)
        torch.testing.assert_close(p.detach(), owned(single)[0].detach(), rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(together.state[p], single.state[owned(single)[0]], rtol=0, atol=0, equal_nan=True)


@fuzz(dtype=dtypes, path=paths, hyper=hypers, data=st.data())
def test_a_run_goes_on_from_a_file_bit_for_bit(dtype, path, hyper, data):
    odd = st.sampled_from([math.nan, math.inf, LARGEST[dtype]])
    problem = data.draw(problems(dtype, sizes(1e-20, 1e4) | odd, layouts=dense))
    middle = data.draw(st.integers(0, len(problem.gradients)))
    whole = problem.optimizer(path, **hyper)
    with on_path(path):
        first = problem.train(KAdam(problem.parameters(), **hyper, **PATHS[path]), last=middle)
        resumed = KAdam(owned(first), **PATHS[path], k=hyper["k"])
        resumed.load_state_dict(torch.load(saved(first), weights_only=True))
        problem.train(resumed, first=middle)
    for p, q in zip(owned(whole), owned(resumed), strict=True):
        torch.testing.assert_close(p.detach(), q.detach(), rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(told(whole.state[p]), told(resumed.state[q]), rtol=0, atol=0, equal_nan=True)


def told(state):
    """Without starts of 0, which a step of learning rate 0 writes for distributed checkpoints, and loading leaves out."""
    return {name: value for name, value in state.items() if not (name.startswith("step_start_") and value == 0)}


# How many cases


def test_all_properties_together_have_the_cases_that_are_promised():
    """Counted from the register, to which every module of properties adds its own when it is imported."""
    assert len(PROPERTIES) == len(set(PROPERTIES))
    assert all(set(PROPERTIES) & set(dir(module)) for module in (test_fuzz_theory, test_fuzz_flow))
    assert settings.get_profile("quick").max_examples == QUICK
    assert settings.get_profile("nightly").max_examples == NIGHTLY
    assert len(PROPERTIES) * QUICK >= AT_LEAST["quick"]
    assert len(PROPERTIES) * NIGHTLY >= AT_LEAST["nightly"]


# What fuzzing found, each as it was found


def test_numbers_of_every_kind_step_and_load_with_weights_only():
    """A checkpoint with numpy's numbers in it did not load, and fractions did not multiply tensors."""
    for kind in (np.float32, np.float64, Fraction):
        hyper = {"lr": kind(0.5), "eps": kind(0.25), "weight_decay": kind(0), "betas": (kind(0.5), kind(0.75))}
        for flags in PATHS.values():
            p = Parameter(torch.ones(3))
            optimizer = KAdam([p], k=np.int64(3), **hyper, **flags)
            p.grad = torch.ones(3)
            optimizer.step()
            assert torch.load(saved(optimizer), weights_only=True)["param_groups"][0]["stages"] == 3


def test_integers_too_large_for_a_float_are_refused_by_name():
    for name in ("lr", "eps", "weight_decay", "k"):
        assert refuses(lambda name=name: KAdam([Parameter(torch.ones(1))], **{name: 10**400}), name)


def test_a_number_that_would_overflow_in_the_middle_of_a_step_is_refused_before_it():
    """On float32 weights torch raised, after moments had moved, that 1e300 is no float; numba warned."""
    assert refuses(lambda: KAdam([Parameter(torch.ones(1))], lr=1e300), "lr must be a finite number >= 0, and at most 1e+15")


def test_a_number_in_a_tensor_with_one_dimension_steps_a_parameter_without():
    for name in ("lr", "eps", "weight_decay"):
        p = Parameter(torch.tensor(1.0))
        p.grad = torch.tensor(1.0)
        KAdam([p], **{name: torch.tensor([0.1])}, capturable=True, foreach=True).step()
        assert p.isfinite()


def test_no_number_but_a_complex_tensor_or_a_strange_strategy_is_named():
    p = Parameter(torch.ones(1))
    assert refuses(lambda: KAdam([p], lr=torch.tensor(1j)), "lr must be one real number")
    assert refuses(lambda: KAdam([p], strategy=np.array(["root", "meta"])), "strategy must be one of")
    assert refuses(lambda: KAdam(0.5), "params must be an iterable")
    assert refuses(lambda: KAdam([{"lr": 0.1}]), "a group must hold its params")
