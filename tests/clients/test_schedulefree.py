"""ScheduleFreeWrapper counts its steps in ``group["k"]``: KAdam says once that it does not read that, and its stages stay."""

import pytest
import torch
from client import ONLY_OURS, assert_other_weights, batches, library, network, weights

from kadam import KAdam

pytestmark = ONLY_OURS
STEPS, MOMENTUM, LR = 5, 0.9, 1e-2


@pytest.fixture(autouse=True)
def schedulefree():
    return library("schedulefree")


def kadam(params, k):
    return KAdam(params, lr=LR, betas=(0.0, 0.999), k=k, foreach=False)


def wrapped(schedulefree, k):
    """The weights after some steps in the wrapper, and the optimizer within."""
    model = network()
    optimizer = schedulefree.ScheduleFreeWrapper(kadam(model.parameters(), k), momentum=MOMENTUM)
    optimizer.train()
    for batch in batches(STEPS):
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    optimizer.eval()
    return weights(model), optimizer.base


def by_hand(k):
    """Schedule-Free: KAdam moves z by the gradient at y, between z and the mean x of all z; the weights are x."""
    model = network()
    y = list(model.parameters())
    z = [torch.nn.Parameter(p.detach().clone()) for p in y]
    x = [p.detach().clone() for p in y]
    optimizer = kadam(z, k)
    for step, batch in enumerate(batches(STEPS), start=1):
        model.zero_grad()
        model(batch).square().mean().backward()
        for a, p in zip(z, y, strict=True):
            a.grad = p.grad.clone()
        optimizer.step()
        with torch.no_grad():
            for a, b, p in zip(x, z, y, strict=True):
                a.lerp_(b, 1 / step)
                p.copy_(b.lerp(a, MOMENTUM))
    return dict(zip(weights(model), x, strict=True))


def stages(optimizer):
    return {len([name for name in state if name.startswith("exp_avg_sq")]) for state in optimizer.state.values()}


@pytest.mark.parametrize("k", [1, 2])
def test_the_wrapper_gives_schedule_free_kadam_with_as_many_stages_as_it_was_given(schedulefree, k):
    with pytest.warns(UserWarning, match="'k' was set to ., which KAdam does not read") as told:
        found, optimizer = wrapped(schedulefree, k)
    assert len(told) == 1
    assert stages(optimizer) == {k}
    torch.testing.assert_close(found, by_hand(k), rtol=1e-5, atol=1e-6)
    assert_other_weights(found, weights(network()))
