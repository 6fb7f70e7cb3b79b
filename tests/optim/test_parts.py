"""Steps in parts: every element once, the same bits as in one piece, and memory for a part alone."""

from itertools import accumulate

import pytest
import torch
from problems import assert_same_bits, gradients, owned, parameters, random, run
from torch.nn import Parameter
from torch.profiler import ProfilerActivity, profile

from kadam import KAdam
from kadam.optim import steps
from kadam.optim.batch import Batch
from kadam.optim.parts import ALIGN, parts


def batch_of(*sizes, k=2):
    tensors = [torch.arange(float(n)) for n in sizes]
    moments = [m for t in tensors for m in [t.clone() for _ in range(2 * k)]]
    return Batch(tensors, [t.clone() for t in tensors], moments, [torch.tensor(1.0)] * len(sizes), [(0.0,) * k] * len(sizes))


@pytest.mark.parametrize("sizes", [(5,), (64, 64), (1000, 3, 0, 200), (0,), (128, 1, 127, 300)])
@pytest.mark.parametrize("most", [None, 1, 64, 100, 256, 10_000])
def test_parts_hold_every_element_once_and_no_more_than_asked(sizes, most):
    batch = batch_of(*sizes)
    seen = list(parts(batch, most))
    for part in seen:
        assert most is None or sum(p.numel() for p in part.params) <= -(-most // ALIGN) * ALIGN
        for p, g, row in zip(part.params, part.grads, part.rows(), strict=True):
            assert all(torch.equal(p, t) for t in (g, *row))
            p += 1000
    for p in batch.params:
        assert torch.equal(p, torch.arange(float(len(p))) + 1000)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("capturable", [False, True])
def test_a_step_by_lists_in_parts_is_that_in_one_piece(k, dtype, capturable, monkeypatch):
    def made():
        large = [Parameter(random(40, 11, seed=i).to(dtype)) for i in range(2)]
        return KAdam([*parameters(dtype), *large], lr=1e-2, k=k, weight_decay=0.1, foreach=True, capturable=capturable)

    history = gradients(owned(made()), 4)
    whole = run(made(), history)
    monkeypatch.setattr(steps, "BLOCK", 64)
    assert_same_bits(run(made(), history), whole)


def most_allocated(step):
    """The most bytes that ``step`` held at once of those it allocated, as torch counts them."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    events = profiled.profiler.kineto_results.events()
    return max(accumulate(event.nbytes() for event in events if event.name() == "[memory]"))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_step_by_lists_needs_memory_for_a_part_alone(k, monkeypatch):
    monkeypatch.setattr(steps, "BLOCK", 2**16)
    weights = [Parameter(torch.ones(2**18)) for _ in range(3)]
    optimizer = KAdam(weights, k=k, foreach=True)
    for p in weights:
        p.grad = torch.ones_like(p)
    optimizer.step()
    tensors = 1 if k == 1 else 3  # of the part's size
    slack = 1024  # for numbers
    assert most_allocated(optimizer.step) <= tensors * 4 * steps.BLOCK + slack
    monkeypatch.setattr(steps, "BLOCK", 2**40)
    assert most_allocated(optimizer.step) >= tensors * sum(p.nbytes for p in weights)
