"""Scale invariance of real weights: found where it is, refused where it is not."""

import pytest
import torch
from torch import nn

from kadam.lab.flat import FlatLoss
from kadam.lab.models import CharTransformer, initialise, next_token_loss
from kadam.lab.scale import ROUNDING, check_scale_invariant, scale_changes


@pytest.fixture
def windows():
    return torch.randint(11, (5, 7), generator=torch.Generator().manual_seed(0))


def transformer(*, normalised):
    model = CharTransformer(vocab=11, context=6, width=16, layers=2, heads=2, normalised=normalised)
    initialise(model, 3)
    return model


INVARIANT = {f"blocks.{i}.{name}.weight" for i in (0, 1) for name in ("query", "key", "up")}


def test_exactly_the_weights_before_a_normalisation_are_scale_invariant(windows):
    changes = scale_changes(transformer(normalised=True), next_token_loss, windows)
    assert {name for name, change in changes.items() if change <= ROUNDING} == INVARIANT
    assert min(change for name, change in changes.items() if name not in INVARIANT) > 1e-6


def test_without_the_option_no_weight_is(windows):
    assert min(scale_changes(transformer(normalised=False), next_token_loss, windows).values()) > 1e-6


@pytest.mark.parametrize("name", sorted(INVARIANT))
def test_the_gradient_of_a_scale_invariant_weight_is_orthogonal_to_it(windows, name):
    flat = FlatLoss(transformer(normalised=True), next_token_loss, windows)
    inside = [i for i in range(len(flat.start)) if flat.where(i).startswith(f"{name}[")]
    w, g = flat.start[inside], flat.grad(flat.start)[inside]
    assert abs(w @ g) < 1e-13 * (w @ w) ** 0.5 * (g @ g) ** 0.5
    assert (g @ g) > 0


def test_a_weight_that_is_not_is_refused_with_the_change(windows):
    model = transformer(normalised=True)
    check_scale_invariant(model, next_token_loss, windows, "blocks.1.up.weight")
    with pytest.raises(ValueError, match=r"blocks.1.down.weight is not scale invariant: halved or doubled it changes the loss"):
        check_scale_invariant(model, next_token_loss, windows, "blocks.1.down.weight")
    with pytest.raises(ValueError, match=r"name must be one of positions, tokens.weight, .*; got 'down'"):
        check_scale_invariant(model, next_token_loss, windows, "down")


def test_a_normalisation_with_pytorchs_eps_is_not_enough(windows):
    model = transformer(normalised=True)
    for block in model.blocks:
        block.standard.eps = 1e-5
    with pytest.raises(ValueError, match="not scale invariant"):
        check_scale_invariant(model, next_token_loss, windows, "blocks.0.up.weight")


def test_a_weight_that_the_loss_does_not_use_is_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))
    with pytest.raises(ValueError, match=r"1.weight is not used by this loss"):
        check_scale_invariant(model, lambda m, batch: m[0](batch).square().sum(), torch.ones(3, 2).double(), "1.weight")


def test_the_model_that_is_checked_stays_as_it_is(windows):
    model = transformer(normalised=True)
    before = [p.clone() for p in model.parameters()]
    scale_changes(model, next_token_loss, windows)
    check_scale_invariant(model, next_token_loss, windows, "blocks.0.key.weight")
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert next(model.parameters()).dtype == torch.float32
