"""Scale invariance of real weights: found where it is, refused where it is not."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from kadam.flat import FlatLoss
from kadam.lab.train.networks import CharTransformer, ConvNet, classification_loss, initialise, next_token_loss
from kadam.lab.train.tasks import check_scale_invariant


@pytest.fixture
def windows():
    return torch.randint(11, (5, 7), generator=torch.Generator().manual_seed(0))


def transformer(*, normalised):
    model = CharTransformer(vocab=11, context=6, width=16, layers=2, heads=2, normalised=normalised)
    initialise(model, 3)
    return model


INVARIANT = {f"blocks.{i}.{name}.weight" for i in (0, 1) for name in ("query", "key", "up")}


def invariant(model, loss, batch):
    """The parameters that pass as scale invariant; or that change the loss by little more than rounding."""
    found = set()
    for name, _ in model.named_parameters():
        try:
            check_scale_invariant(model, loss, batch, name)
            found.add(name)
        except ValueError as error:
            changes = re.search(r"changes the loss by (\S+) of its value", str(error))
            found |= {name} if float(changes[1]) < 1e-6 else set()
    return found


def test_exactly_the_weights_before_a_normalisation_are_scale_invariant(windows):
    assert invariant(transformer(normalised=True), next_token_loss, windows) == INVARIANT


def test_without_the_option_no_weight_is(windows):
    assert invariant(transformer(normalised=False), next_token_loss, windows) == set()


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
    invariant(model, next_token_loss, windows)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert next(model.parameters()).dtype == torch.float32


CONVOLUTIONS = {f"convolutions.{i}.weight" for i in range(3)}


def pictures(height=8, width=8):
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.standard_normal((5, 2, height, width))), torch.from_numpy(rng.integers(0, 4, 5))


def convolutional(*, normalised, **sizes):
    model = ConvNet(**{"channels": 2, "classes": 4, "width": 3, **sizes}, normalised=normalised).double()
    initialise(model, 3)
    return model


def test_exactly_the_convolutions_before_batch_normalisation_are_scale_invariant():
    assert invariant(convolutional(normalised=True), classification_loss, pictures()) == CONVOLUTIONS


def test_without_batch_normalisation_no_convolution_is():
    model = convolutional(normalised=False)
    assert invariant(model, classification_loss, pictures()) == set()
    with pytest.raises(ValueError, match=r"convolutions.1.weight is not scale invariant"):
        check_scale_invariant(model, classification_loss, pictures(), "convolutions.1.weight")


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("name", sorted(CONVOLUTIONS))
def test_the_gradient_of_a_convolution_is_orthogonal_to_it_only_before_batch_normalisation(normalised, name):
    model = convolutional(normalised=normalised)
    w = model.get_parameter(name)
    (g,) = torch.autograd.grad(classification_loss(model, pictures()), w)
    cosine = torch.cosine_similarity(w.flatten(), g.flatten(), dim=0).abs()
    assert cosine < 1e-13 if normalised else cosine > 1e-6
    assert g.norm() > 1e-6


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize(("height", "width", "blocks"), [(8, 8, 3), (8, 12, 3), (4, 9, 2), (2, 2, 1)])
def test_a_convolutional_network_has_one_logit_a_class_and_twice_the_channels_in_every_block(normalised, height, width, blocks):
    model = convolutional(normalised=normalised, blocks=blocks)
    logits = model(pictures(height, width)[0])
    assert logits.shape == (5, 4)
    assert torch.isfinite(logits).all()
    assert [tuple(c.weight.shape) for c in model.convolutions] == [(3, 2, 3, 3), (6, 3, 3, 3), (12, 6, 3, 3)][:blocks]


def test_the_batch_normalisation_is_by_the_batchs_own_statistics_also_when_evaluated():
    model, (images, _) = convolutional(normalised=True), pictures()
    logits = model(images)
    assert torch.equal(model.eval()(images), logits)
    assert not torch.allclose(model(images[:2]), logits[:2])


def test_a_convolution_starts_with_variance_one_over_its_fan_in():
    model = convolutional(normalised=True, channels=3, width=8)
    for convolution in model.convolutions:
        w = convolution.weight.detach()
        fan_in = 9 * w.shape[1]
        assert float(w.square().mean()) * fan_in == pytest.approx(1, abs=4 * (2 / w.numel()) ** 0.5)


def test_the_classification_loss_is_the_mean_cross_entropy_of_the_labels():
    model, (images, labels) = convolutional(normalised=True), pictures()
    by_hand = -model(images).log_softmax(1).gather(1, labels[:, None]).mean()
    torch.testing.assert_close(classification_loss(model, (images, labels)), by_hand)
