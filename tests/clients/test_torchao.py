"""torchao's int8 weights train as with AdamW on the paths that take one tensor after another."""

import pytest
import torch
from client import ONLY_OURS, library

from kadam import KAdam

pytestmark = ONLY_OURS
PATHS = [{}, {"foreach": False}]


@pytest.fixture(autouse=True)
def torchao():
    return library("torchao")


@pytest.fixture
def train():
    from torchao.prototype.quantized_training import int8_weight_only_quantized_training
    from torchao.quantization import quantize_

    def run(make):
        """The weights before and after five steps: rounding is random, and drawn in the order of the parameters."""
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(16, 8, bias=False), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        quantize_(model, int8_weight_only_quantized_training())
        before = plain(model)
        optimizer = make(model)
        for _ in range(5):
            model(torch.randn(4, 16)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        return before, plain(model), optimizer

    return run


def plain(model):
    return [p.dequantize().clone() if hasattr(p, "int_data") else p.detach().clone() for p in model.parameters()]


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_int8_weights_train_as_with_adamw_bit_for_bit(train, path):
    before, ours, optimizer = train(lambda model: KAdam(model.parameters(), lr=1e-2, k=1, **path))
    _, theirs, _ = train(adamw)
    assert [torch.equal(p, q) for p, q in zip(ours, theirs, strict=True)] == [True] * 3
    assert [torch.equal(p, q) for p, q in zip(ours, before, strict=True)] == [False] * 3
    quantised = optimizer.param_groups[0]["params"][0]
    assert hasattr(quantised, "int_data")
    assert {type(value) for value in optimizer.state[quantised].values()} == {torch.Tensor}


def test_two_stages_train_int8_weights_on_the_automatic_path(train):
    before, after, _ = train(lambda model: KAdam(model.parameters(), lr=1e-2, k=2))
    assert [torch.equal(p, q) for p, q in zip(after, before, strict=True)] == [False] * 3
    assert all(bool(p.isfinite().all()) for p in after)


def test_their_weights_take_no_decay_from_adamw_nor_from_kadam(train):
    """torchao has no product in place."""
    for make in (torch.optim.AdamW, KAdam):
        with pytest.raises(NotImplementedError, match="mul_"):
            train(lambda model, make=make: make(model.parameters(), weight_decay=0.01))
