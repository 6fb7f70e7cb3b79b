"""What public reports say was done to optimizers that then failed, done to KAdam. Every docstring names its threads.

The weights must be those of the reference, whatever happens to parameter, gradient or state between two steps.
"""

import copy
import gc
import multiprocessing
import os
import weakref

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from problems import assert_same_bits, owned, random
from test_kadam import LR, array, by_reference, path, through_a_file  # noqa: F401
from torch import nn
from torch.nn import Parameter
from torch.optim import lr_scheduler

from kadam import Decay, KAdam, stages
from kadam.theory.reference import kadam_updates

one_and_two = pytest.mark.parametrize("k", [1, 2])
HYPER = {"lr": LR, "weight_decay": 0.1}


def step(optimizer, *grads):
    """One step with these gradients themselves, one a parameter."""
    for p, g in zip(owned(optimizer), grads, strict=True):
        p.grad = g
    optimizer.step()


def draw(*shape, steps):
    """A gradient a step."""
    return [random(*shape, seed=seed) for seed in range(1, steps + 1)]


def assert_trained(param, start, grads, k, tolerance=1e-12):
    """The parameter is where the reference comes from the start with these gradients."""
    updates = kadam_updates(np.stack([array(g) for g in grads]), stages(Decay(), k), eps=1e-8)
    assert_allclose(array(param), by_reference(array(start), updates, weight_decay=0.1), rtol=0, atol=tolerance)


# Gradients


@one_and_two
def test_gradients_whose_elements_share_memory_count_as_their_values(k, path):  # noqa: F811
    """pytorch#47163, pytorch#167263: a gradient need not have its parameter's strides. Here its strides are 0, in turns."""
    optimizer, grads = KAdam([Parameter(random(4))], k=k, **HYPER, **path), draw(1, steps=6)
    for n, g in enumerate(grads):
        step(optimizer, g.expand(4) if n % 3 else g.repeat(4))
    assert_trained(owned(optimizer)[0], random(4), [g.expand(4) for g in grads], k)


@one_and_two
def test_gradients_may_be_views_that_are_set_to_zero(k, path):  # noqa: F811
    """pytorch#25814, pytorch#37030: gradients that are parts of one buffer, at odd offsets, zeroed and filled in place."""
    buffer, shapes = torch.zeros(10, dtype=torch.float64), [(2, 3), (3,)]
    params = [Parameter(random(*shape)) for shape in shapes]
    optimizer, steps = KAdam(params, k=k, **HYPER, **path), draw(9, steps=5)
    params[0].grad, params[1].grad = buffer[1:7].view(2, 3), buffer[7:]
    for g in steps:
        optimizer.zero_grad(set_to_none=False)
        assert not buffer.any()
        buffer[1:] = g
        optimizer.step()
    assert_trained(params[0], random(2, 3), [g[:6].view(2, 3) for g in steps], k)
    assert_trained(params[1], random(3), [g[6:] for g in steps], k)


@one_and_two
@pytest.mark.parametrize(("dtype", "grad_dtype"), [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)], ids=str)
def test_a_gradient_may_have_another_dtype(dtype, grad_dtype, k, path):  # noqa: F811
    """TransformerEngine#3358, rf-detr#1076: float32 weights with bfloat16 gradients, and the reverse; AdamW refuses both."""
    start, grads = random(5).to(dtype), [g.to(grad_dtype) for g in draw(5, steps=4)]
    p = Parameter(start.clone())
    p.grad_dtype = grad_dtype
    optimizer = KAdam([p], k=k, **HYPER, **path)
    for g in grads:
        step(optimizer, g)
    assert p.dtype == dtype
    assert_trained(p, start, grads, k, tolerance=8 * torch.finfo(dtype).eps)


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True:UserWarning")
@one_and_two
def test_no_graph_is_kept_of_gradients_that_have_one(k, path):  # noqa: F811
    """jettify/pytorch-optimizer#540, kozistr/pytorch_optimizer#278: after backward with create_graph memory grew."""
    p, grads = Parameter(random(5)), []
    optimizer = KAdam([p], k=k, **HYPER, **path)
    for x in draw(5, steps=4):
        (p**3 * x).sum().backward(create_graph=True)
        grads.append(p.grad.detach().clone())
        graph = weakref.ref(p.grad)
        optimizer.step()
        optimizer.zero_grad()
        assert graph() is None
        assert p.is_leaf
        assert not any(value.requires_grad for value in optimizer.state[p].values() if torch.is_tensor(value))
    assert_trained(p, random(5), grads, k)


@one_and_two
def test_optimizers_of_one_parameter_each_step_during_backward(k, path):  # noqa: F811
    """pytorch/tutorials#2568, pytorch#87397: a step as soon as a gradient is there, which is then let go."""
    params = [Parameter(random(5, seed=seed)) for seed in (1, 2)]
    optimizers, seen = {p: KAdam([p], k=k, **HYPER, **path) for p in params}, {p: [] for p in params}

    def hook(p):
        seen[p].append(p.grad.clone())
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in params:
        p.register_post_accumulate_grad_hook(hook)
    for x in draw(5, steps=5):
        (params[0] ** 2 * params[1] * x).sum().backward()
    for p, seed in zip(params, (1, 2), strict=True):
        assert p.grad is None
        assert_trained(p, random(5, seed=seed), seen[p], k)


# Parameters


@one_and_two
def test_a_parameter_whose_elements_share_memory_is_an_error_and_stays(k, path):  # noqa: F811
    """monniert/dti-sprites#2, titans-pytorch#64: expanded instead of copied; torch's fused AdamW writes beyond its memory."""
    memory = random(1)
    optimizer = KAdam([Parameter(memory.expand(64))], k=k, **HYPER, **path)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        step(optimizer, random(64))
    assert torch.equal(memory, random(1))


def to_channels_last(p):
    p.data = p.data.to(memory_format=torch.channels_last)


def into_shared_memory(p):
    p.share_memory_()


def into_a_buffer(p):
    p.data = torch.cat([p.data.flatten()[:1], p.data.flatten()])[1:].view(p.shape)


def swapped(p):
    torch.utils.swap_tensors(p, Parameter(p.detach().clone()))


MOVES = [to_channels_last, into_shared_memory, into_a_buffer, swapped]


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
@one_and_two
def test_a_parameter_may_move_in_memory_between_two_steps(move, k, path):  # noqa: F811
    """clovaai/AdamP#17, geoopt#70 (channels last); pytorch/examples#1041 (shared memory); NVIDIA/apex#1152 (one buffer for
    all); pytorch#186796 (swapped). Torch's fused AdamW goes wrong at the first."""
    p, grads = Parameter(random(2, 3, 4, 5)), draw(2, 3, 4, 5, steps=6)
    optimizer = KAdam([p], k=k, **HYPER, **path)
    for g in grads[:3]:
        step(optimizer, g)
    optimizer.zero_grad()
    move(p)
    for g in grads[3:]:
        step(optimizer, g.to(memory_format=torch.channels_last) if g is grads[-1] else g)
    assert_trained(p, random(2, 3, 4, 5), grads, k)


@one_and_two
def test_a_module_that_swaps_its_tensors_on_loading_is_still_trained(k, path):  # noqa: F811
    """pytorch#186796, pytorch/tutorials#2824: nothing of the optimizer may hold on to the tensors that are swapped."""
    model, grads = nn.Linear(3, 2, bias=False).double(), draw(2, 3, steps=6)
    nn.init.zeros_(model.weight)
    optimizer, weight = KAdam(model.parameters(), k=k, **HYPER, **path), model.weight
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        for g in grads[:3]:
            step(optimizer, g)
        optimizer.zero_grad()
        model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    for g in grads[3:]:
        step(optimizer, g)
    assert model.weight is weight
    assert_trained(weight, torch.zeros(2, 3), grads, k)


@one_and_two
@pytest.mark.parametrize(("before", "after"), [(torch.float32, torch.float16), (torch.bfloat16, torch.float32)], ids=str)
def test_a_model_may_be_cast_to_or_from_low_precision_in_training(before, after, k, path):  # noqa: F811
    """Lightning#16303: moments are float32 on both sides of the cast, so the run goes on; AdamW's does not."""
    p, grads = Parameter(random(5).to(before)), draw(5, steps=6)
    optimizer = KAdam([p], k=k, **HYPER, **path)
    for n, g in enumerate(grads):
        if n == 3:
            optimizer.zero_grad()
            p.data = p.data.to(after)
        step(optimizer, g.to(p.dtype))
    assert p.dtype == after
    assert_trained(p, random(5).to(before), grads, k, tolerance=0.02)


@one_and_two
def test_parameters_may_get_their_shape_after_the_optimizer_is_made(k, path):  # noqa: F811
    """pytorch#44538: lazy modules, whose parameters are made at the first forward pass."""
    model, grads = nn.LazyLinear(2, bias=False).double(), draw(2, 3, steps=4)
    optimizer = KAdam(model.parameters(), k=k, **HYPER, **path)
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    model(random(4, 3))
    start = model.weight.detach().clone()
    for g in grads:
        step(optimizer, g)
    assert_trained(model.weight, start, grads, k)


class Manifold(Parameter):
    """A class of a user's own."""


@one_and_two
def test_a_subclass_of_parameter_is_trained(k, path):  # noqa: F811
    """geoopt#70, pytorch#187008."""
    optimizer, grads = KAdam([Manifold(random(5))], k=k, **HYPER, **path), draw(5, steps=4)
    for g in grads:
        step(optimizer, g)
    assert_trained(owned(optimizer)[0], random(5), grads, k)


# State


@one_and_two
def test_state_may_be_replaced_by_copies_after_every_step(k, path):  # noqa: F811
    """Lightning#10820, Lightning#19955: moving states between devices makes new dicts of new tensors."""
    moved, left = (KAdam([Parameter(random(5))], k=k, **HYPER, **path) for _ in range(2))
    for g in draw(5, steps=6):
        step(moved, g)
        step(left, g)
        for p, state in list(moved.state.items()):
            moved.state[p] = {name: x.clone() if torch.is_tensor(x) else x for name, x in state.items()}
    assert_same_bits(moved, left)


@one_and_two
def test_a_parameter_may_be_pruned_together_with_its_state(k, path):  # noqa: F811
    """FasterAI#93, joeyan/gaussian_splatting#32: what is shaped as the parameter is indexed, the rest taken over."""
    optimizer, grads, kept = KAdam([Parameter(random(6))], k=k, **HYPER, **path), draw(6, steps=6), [0, 2, 5]
    for g in grads[:3]:
        step(optimizer, g)
    (old,) = owned(optimizer)
    state, new = optimizer.state.pop(old), Parameter(old.detach()[kept])
    optimizer.param_groups[0]["params"][0] = new
    optimizer.state[new] = {n: x[kept] if torch.is_tensor(x) and x.shape == old.shape else x for n, x in state.items()}
    for g in grads[3:]:
        step(optimizer, g[kept])
    assert_trained(new, random(6)[kept], [g[kept] for g in grads], k)


def test_pruning_the_moments_of_the_first_stage_only_is_an_error(path):  # noqa: F811
    """graphdeco-inria/gaussian-splatting#897 prunes exp_avg and exp_avg_sq by name: of two stages that is half."""
    optimizer = KAdam([Parameter(random(6))], k=2, **HYPER, **path)
    for g in draw(6, steps=3):
        step(optimizer, g)
    (old,) = owned(optimizer)
    state, new = optimizer.state.pop(old), Parameter(old.detach()[:3])
    optimizer.param_groups[0]["params"][0] = new
    optimizer.state[new] = {**state, **{name: state[name][:3] for name in ("exp_avg", "exp_avg_sq")}}
    with pytest.raises(RuntimeError, match=r"size of tensor a \(6\) must match the size of tensor b \(3\)"):
        step(optimizer, random(3))


@one_and_two
def test_a_wrapper_may_keep_values_of_its_own_in_the_state(k, path):  # noqa: F811
    """midasklr/yolov5prune#14: with another key in the state AdamW believes that its own are there."""
    p, grads = Parameter(random(5)), draw(5, steps=5)
    optimizer = KAdam([p], k=k, **HYPER, **path)
    for g in grads:
        optimizer.state[p]["anchor"] = p.detach().clone()
        step(optimizer, g)
    assert_trained(p, random(5), grads, k)


@one_and_two
def test_a_state_made_beforehand_in_shared_memory_is_taken_over(k, path):  # noqa: F811
    """MorvanZhou/pytorch-A3C#2: SharedAdam's, whose step has one dimension and which has one stage."""
    p, grads = Parameter(random(5)), draw(5, steps=5)
    optimizer = KAdam([p], k=k, **HYPER, **path)
    moments = {name: torch.zeros_like(p.data).share_memory_() for name in ("exp_avg", "exp_avg_sq")}
    optimizer.state[p].update(step=torch.zeros(1).share_memory_(), **moments)
    for g in grads:
        step(optimizer, g)
    assert optimizer.state[p]["exp_avg"] is moments["exp_avg"]
    assert optimizer.state[p]["step"].tolist() == [5]
    assert_trained(p, random(5), grads, k)


def train_in_a_child(optimizer, grads):
    for g in grads:
        step(optimizer, g)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@one_and_two
def test_steps_of_a_child_advance_a_shared_state(k, path):  # noqa: F811
    """pytorch#39949: steps were counted in the child only."""
    p, grads = Parameter(random(5).share_memory_()), draw(5, steps=6)
    optimizer = KAdam([p], k=k, **HYPER, **path)
    for g in grads[:2]:
        step(optimizer, g)
    for value in optimizer.state[p].values():
        if torch.is_tensor(value):
            value.share_memory_()
    child = multiprocessing.get_context("fork").Process(target=train_in_a_child, args=(optimizer, grads[2:4]))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    for g in grads[4:]:
        step(optimizer, g)
    assert_trained(p, random(5), grads, k)


@one_and_two
def test_loading_works_whatever_the_default_device(k, path):  # noqa: F811
    """deepmd-kit#3307 makes every tensor of the default device fail, so that no one relies on it."""
    optimizer, grads = KAdam([Parameter(random(5))], k=k, **HYPER, **path), draw(5, steps=4)
    with torch.device("cuda:99"):
        for n, g in enumerate(grads):
            step(optimizer, g)
            state = optimizer.state_dict()
            if n == 1:
                state["state"][0]["step"] = 2  # a number, as old checkpoints have it
            optimizer.load_state_dict(state)
    assert_trained(owned(optimizer)[0], random(5), grads, k)


# Inference mode


@one_and_two
def test_gradients_and_later_steps_of_inference_mode_are_as_any(k, path):  # noqa: F811
    """k2-fsa/k2#1210, pytorch#170419: inference tensors count no versions."""
    optimizer, grads = KAdam([Parameter(random(5))], k=k, **HYPER, **path), draw(5, steps=6)
    for n, g in enumerate(grads):
        with torch.inference_mode(mode=n % 2 == 1):
            step(optimizer, g.clone())
    assert_trained(owned(optimizer)[0], random(5), grads, k)


@one_and_two
def test_a_state_of_inference_mode_is_refused_before_the_weights_move(k, path):  # noqa: F811
    """pytorch/rfcs#55: no update in place of inference tensors outside of that mode."""
    optimizer = KAdam([Parameter(random(5))], k=k, **{**HYPER, "weight_decay": 0.0}, **path)
    step(optimizer, random(5))
    before = owned(optimizer)[0].detach().clone()
    with torch.inference_mode():
        optimizer.load_state_dict(copy.deepcopy(through_a_file(optimizer.state_dict())))
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        step(optimizer, random(5))
    assert torch.equal(owned(optimizer)[0], before)


# Groups, copies and schedules


@one_and_two
def test_groups_may_change_places_and_leave(k, path):  # noqa: F811
    """DeepSpeed#6729: the layers in training are changed for others by and by, and their groups with them."""
    first, second = Parameter(random(5)), Parameter(random(5, seed=9))
    optimizer = KAdam([{"params": [first]}, {"params": [second], "lr": 0.5}], k=k, **HYPER, **path)
    grads = draw(5, steps=6)
    for n, g in enumerate(grads):
        if n == 4:
            moved = second.detach().clone()
            optimizer.param_groups.pop()  # after an even number of turns
            optimizer.state.pop(second)
        step(optimizer, *[g] * len(optimizer.param_groups))
        optimizer.param_groups.reverse()
    assert_trained(first, random(5), grads, k)
    assert torch.equal(second, moved)


@one_and_two
def test_a_shallow_copy_and_its_original_may_step_in_turn(k, path):  # noqa: F811
    """kakaobrain/torchlars#5: they share groups and state."""
    optimizer, grads = KAdam([Parameter(random(5))], k=k, **HYPER, **path), draw(5, steps=7)
    step(optimizer, grads[0])
    pair = (copy.copy(optimizer), optimizer)
    for n, g in enumerate(grads[1:]):
        step(pair[n % 2], g)
    assert_trained(owned(optimizer)[0], random(5), grads, k)


@one_and_two
def test_a_model_and_its_optimizer_copied_together_belong_together(k, path):  # noqa: F811
    """pytorch#196083: a copy must share nothing with its original."""
    optimizer, grads = KAdam([Parameter(random(5))], k=k, **HYPER, **path), draw(5, steps=6)
    for g in grads[:3]:
        step(optimizer, g)
    (p,), twin = copy.deepcopy((owned(optimizer), optimizer))
    assert owned(twin)[0] is p
    for g in grads[3:]:
        step(twin, g)
    assert_trained(p, random(5), grads, k)
    assert_trained(owned(optimizer)[0], random(5), grads[:3], k)


def test_an_optimizer_that_goes_out_of_scope_is_freed_at_once(path):  # noqa: F811
    """pytorch#25605, pytorch#85410: cycles, of which schedulers were part, kept parameters alive."""

    def trained():
        optimizer = KAdam([Parameter(random(5))], k=2, **path)
        scheduler = lr_scheduler.LambdaLR(optimizer, lambda n: 1.0)
        for g in draw(5, steps=3):
            step(optimizer, g)
            scheduler.step()
        optimizer.load_state_dict(optimizer.state_dict())
        (p,) = owned(optimizer)
        return [weakref.ref(x) for x in (optimizer, p, optimizer.state[p]["exp_avg_2"])]

    gc.disable()
    try:
        assert [ref() for ref in trained()] == [None] * 3
    finally:
        gc.enable()


def test_a_plateau_lowers_a_tensor_of_a_learning_rate(path):  # noqa: F811
    """pytorch#163093."""
    lr, grads = torch.tensor(0.5, dtype=torch.float64), draw(5, steps=5)
    ours, plain = (KAdam([Parameter(random(5))], lr=rate, **path) for rate in (lr, 0.5))
    for optimizer in (ours, plain):
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        for g in grads:
            step(optimizer, g)
            scheduler.step(1.0)
    assert float(ours.param_groups[0]["lr"]) == plain.param_groups[0]["lr"] == 0.5**5
    assert torch.equal(owned(ours)[0], owned(plain)[0])
