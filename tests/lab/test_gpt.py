"""The transformer for text: what it computes, and from which weights it starts."""

import pytest
import torch
from numpy.testing import assert_allclose
from problems import random
from torch.nn import functional as F

from kadam.lab.train.gpt import Gpt

SHAPE = {"vocabulary": 7, "context": 6, "width": 12, "layers": 2, "heads": 3}

either = pytest.mark.parametrize("normalised", [True, False], ids=["q/k norm", "plain"])


def made(normalised=False, seed=0, **change):
    model = Gpt(**{**SHAPE, **change}, normalised=normalised).double()
    model.reset(seed)
    return model


def tokens(batch=2, length=6):
    return torch.arange(batch * length).reshape(batch, length) ** 2 % 7


def by_hand(model, tokens, normalised):
    # The same written out: attention as a masked softmax, head by head.
    x = model.tokens.weight[tokens] + model.positions.weight[: tokens.shape[1]]
    hidden = torch.ones(tokens.shape[1], tokens.shape[1]).triu(1).bool()
    for block in model.blocks:
        queries, keys, values = F.linear(F.layer_norm(x, (12,)), block.project.weight).split(12, dim=-1)
        mixed = []
        for h in range(3):
            q, k, v = (part[..., 4 * h : 4 * h + 4] for part in (queries, keys, values))
            if normalised:
                q, k = (y / (y.square().mean(-1, keepdim=True) + torch.finfo(y.dtype).eps).sqrt() for y in (q, k))
            scores = (q @ k.transpose(1, 2) / 2).masked_fill(hidden, -torch.inf)
            mixed.append(scores.softmax(-1) @ v)
        x = x + F.linear(torch.cat(mixed, -1), block.out.weight)
        x = x + F.linear(F.gelu(F.linear(F.layer_norm(x, (12,)), block.up.weight)), block.down.weight)
    return F.layer_norm(x, (12,)) @ model.tokens.weight.T


@either
@pytest.mark.parametrize("length", [1, 4, 6])
def test_it_computes_what_is_written(normalised, length):
    model, some = made(normalised), tokens(length=length)
    assert_allclose(model(some).detach(), by_hand(model, some, normalised).detach(), atol=1e-12)


@either
def test_no_token_sees_a_later_one(normalised):
    model, one = made(normalised), tokens()
    other = one.clone()
    other[:, 4] = (other[:, 4] + 1) % 7
    before, after = model(one), model(other)
    assert torch.equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).all()


@either
def test_queries_and_keys_are_scale_invariant_only_where_they_are_normalised(normalised):
    model = made(normalised)
    before = model(tokens())
    with torch.no_grad():
        model.blocks[0].project.weight[:24] *= 4
    assert torch.allclose(model(tokens()), before, atol=1e-12) == normalised


def test_reset_draws_weights_by_the_seed_alone_and_in_place():
    model, fresh = made(seed=1), made(seed=1).state_dict()
    places = [p.data_ptr() for p in model.parameters()]
    with torch.no_grad():
        for p in model.parameters():
            p.add_(random(*p.shape))
    model.reset(1)
    assert all(torch.equal(value, fresh[name]) for name, value in model.state_dict().items())
    assert [p.data_ptr() for p in model.parameters()] == places
    assert not torch.equal(made(seed=2).tokens.weight, fresh["tokens.weight"])


def test_weights_have_the_variance_of_their_layer():
    model = made(width=48, layers=4, vocabulary=64, context=64)
    for name, p in model.named_parameters():
        if "norm" in name:
            assert (p == 1).all()
            continue
        added = name.endswith(("out.weight", "down.weight"))
        expected = 0.02**2 if name.startswith(("tokens", "positions")) else 1 / p.shape[1] / (8 if added else 1)
        assert abs(p.var() / expected - 1) < 5 * (2 / p.numel()) ** 0.5, name


def test_the_head_is_the_embedding_and_there_are_no_biases():
    count = sum(p.numel() for p in made().parameters())
    assert count == (7 + 6) * 12 + 2 * (12 * 12 * 12 + 2 * 12) + 12


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="width must be a multiple of heads, got width=10, heads=3"):
        made(width=10)
