"""A training run is a plain PyTorch loop, watched on the way."""

import functools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from problems import random
from tiers import exhaustive
from torch.nn import functional as F

from kadam import Decay
from kadam.lab.data.labelled import Augmentation, Batches, Labelled, Seeds
from kadam.lab.engine import state as states
from kadam.lab.train import classification as classify
from kadam.lab.train.classification import Classification, ImageNetwork
from kadam.lab.train.networks import Vgg
from kadam.lab.train.optimizers import optimizer
from kadam.lab.train.schedule import Schedule
from kadam.lab.train.training import parameter_count

STEPS, LR = 6, 2**-6
SHAPE = {"channels": 2, "classes": 3, "width": 4, "depth": 2}
SCHEDULE = Schedule(STEPS, 0.3)
DECAY = Decay(beta=0.99, gamma=0.8)
SEEDS = Seeds(1, 2, 3)

either = pytest.mark.parametrize("normalised", [True, False], ids=["batch norm", "no norm"])


def network(normalised=True, precision="float64", **kwargs):
    return ImageNetwork(**SHAPE, normalised=normalised, precision=precision, **kwargs)


def images(dtype=torch.float64, n=30):
    pictures = random(n, 8, 8, 2)
    return Labelled(pictures.to(dtype), (10 * pictures.mean((1, 2, 3)).abs()).long() % 3, 3)


def batches(dtype=torch.float64, seeds=SEEDS):
    return Batches(images(dtype), Augmentation(shift=1, cutout=2), 10, seeds)


def begun(wanted=None, method="Adam", lr=LR, smoothing=0.1):
    wanted = wanted or network()
    make = functools.partial(optimizer, method, lr=lr, decay=DECAY, weight_decay=0.1)
    return Classification(wanted, make, batches(wanted.dtype), SCHEDULE, smoothing=smoothing)


def taken(training, steps=STEPS, start=0):
    for n in range(start, steps):
        training.step(n)
    return training


def weights(model):
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


def copied(tensors):
    return {name: value.clone() for name, value in tensors.items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def plain_loop(dtype, normalised):
    # The same in PyTorch alone: the weights and averages at the end, and the losses.
    model = Vgg(**SHAPE, normalised=normalised).to(dtype).to(memory_format=torch.channels_last)
    model.reset(SEEDS.initialisation)
    adam = torch.optim.Adam(model.parameters(), lr=LR, betas=(0.8, 0.99))
    several, losses = batches(dtype), []
    for n in range(STEPS):
        adam.param_groups[0]["lr"] = LR * SCHEDULE(n)
        pictures, labels = several[n]
        adam.zero_grad()
        loss = F.cross_entropy(model(pictures), labels, label_smoothing=0.1)
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return model.state_dict(), losses


@either
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_training_is_a_plain_loop_bit_for_bit(normalised, precision):
    ours = taken(begun(network(normalised, precision)))
    theirs, losses = plain_loop(getattr(torch, precision), normalised)
    assert same(ours.model.state_dict(), theirs)
    assert_allclose(ours.losses, np.float32(losses), rtol=0)


def test_the_schedule_rises_to_its_peak_and_falls_linearly():
    factors = np.array([Schedule(200, 0.25)(n) for n in range(200)])
    assert_allclose(np.diff(factors[:50]), 1 / 50)
    assert_allclose(np.diff(factors[50:]), -1 / 150)
    assert 0 < factors.min() < 0.02
    assert 0.98 < factors.max() <= 1
    assert_allclose(factors.mean(), 0.5, rtol=1e-3)


@pytest.mark.parametrize("warmup", [-0.1, 1, 1.5, float("nan")])
def test_warmup_is_a_share_of_the_steps(warmup):
    with pytest.raises(ValueError, match=rf"warmup must be a share of the steps in \[0, 1\), got {warmup}"):
        Schedule(10, warmup)


@either
def test_reset_draws_weights_by_the_seed_alone(normalised):
    one, other = Vgg(**SHAPE, normalised=normalised), Vgg(**SHAPE, normalised=normalised)
    one.reset(1)
    other.reset(2)
    assert not torch.equal(weights(one), weights(other))
    other.reset(1)
    assert same(one.state_dict(), other.state_dict())


@either
def test_reset_forgets_all_training_in_place(normalised):
    model = Vgg(**SHAPE, normalised=normalised)
    model.reset(1)
    fresh, places = copied(model.state_dict()), [p.data_ptr() for p in model.state_dict().values()]
    for value in model.state_dict().values():
        value.add_(1)
    model(random(4, 2, 8, 8).float())
    model.reset(1)
    assert same(model.state_dict(), fresh)
    assert [p.data_ptr() for p in model.state_dict().values()] == places


def test_weights_have_the_variance_of_their_layer_and_biases_are_zero():
    model = Vgg(channels=16, classes=50, width=32, depth=2, normalised=False)
    model.reset(0)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert not p.any()
            continue
        fan_in, gain = p[0].numel(), 1 if name == "head.weight" else 2
        assert abs(p.mean()) < 4 * (gain / fan_in / p.numel()) ** 0.5
        assert abs(p.var() * fan_in / gain - 1) < 4 * (2 / p.numel()) ** 0.5


@either
def test_parameters_are_counted(normalised):
    # Of a convolution 9 numbers a pair of channels; then a gain and a shift a channel, or a bias.
    pairs = sum(before * after for before, after in [(2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16)])
    assert parameter_count(network(normalised)) == 9 * pairs + (2 if normalised else 1) * 2 * (4 + 8 + 16) + 16 * 3 + 3


def test_equal_networks_are_built_once():
    assert network().build() is network().build()
    assert network().build()[0] is not network(normalised=False).build()[0]
    assert network().build()[0] is not network(precision="float32").build()[0]


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision must be one of float64, float32, bfloat16; got 'float16'"):
        network(precision="float16")


@pytest.mark.parametrize("method", ["Adam", "AdamW", "SGD", "2-Adam meta"])
def test_squares_are_those_of_the_move_in_units_of_the_learning_rate(method):
    training, expected = begun(method=method), []
    for n in range(STEPS):
        before = weights(training.model)
        training.step(n)
        expected.append((((before - weights(training.model)) / (LR * SCHEDULE(n))) ** 2).mean())
    assert_allclose(training.squares, expected, rtol=1e-6)


def test_the_square_of_lions_move_is_one():
    training = begun(method="Lion")
    for i, p in enumerate(training.params):
        p.grad = random(*p.shape, seed=i)
    training.pace(2)
    (square,) = training.move()
    assert_allclose(square, 1, rtol=1e-6)


def test_the_batches_loss_is_that_before_the_step():
    training = begun(smoothing=0.0)
    logits = training.model(batches()[0][0])
    expected = -logits.log_softmax(1).gather(1, batches()[0][1][:, None]).mean()
    training = taken(begun(smoothing=0.0), 1)
    assert_allclose(training.losses[0], expected.item(), rtol=1e-6)
    assert training.losses[1:].isnan().all()


@either
def test_evaluation_in_parts_is_that_of_all_images_at_once(normalised, monkeypatch):
    monkeypatch.setattr(classify, "EVALUATED", 7)
    training, data = taken(begun(network(normalised))), images(n=30)
    before = copied(training.model.state_dict())
    loss, accuracy = training.evaluate(data).values()
    assert training.model.training
    assert same(training.model.state_dict(), before)
    logits = training.model.eval()(data.images.permute(0, 3, 1, 2))
    assert_allclose(loss, F.cross_entropy(logits, data.labels).item(), rtol=1e-12)
    assert accuracy == pytest.approx((logits.argmax(1) == data.labels).double().mean().item())
    assert 0 < accuracy < 1


def test_evaluation_of_an_image_does_not_depend_on_its_company():
    training, data = taken(begun()), images()
    alone = [
        tuple(training.evaluate(Labelled(data.images[i : i + 1], data.labels[i : i + 1], 3)).values()) for i in range(len(data))
    ]
    assert_allclose(np.mean(alone, axis=0), tuple(training.evaluate(data).values()), rtol=1e-12)


@pytest.mark.parametrize(
    ("losses", "squares", "expected"),
    [
        ([1, 2, 3, 4, 5, 6], [1] * 6, None),
        ([1, 2, np.nan, np.inf, 5, 6], [1] * 6, 2),
        ([1, 2, 3, -np.inf, 5, 6], [1] * 6, 3),
        ([1, 2, 3, 4, 5, 6], [1, np.inf, 1, 1, 1, np.nan], 1),
        ([np.nan] * 6, [1] * 6, 0),
        ([1, 2, 3, 4, np.nan, np.nan], [1, 1, 1, 1, np.nan, np.nan], None),  # steps to come
    ],
)
def test_a_run_diverges_at_its_first_loss_or_move_that_is_not_finite(losses, squares, expected):
    training = begun()
    training.losses, training.squares = torch.tensor(losses, dtype=torch.float32), torch.tensor(squares, dtype=torch.float32)
    assert training.diverged_at(STEPS if expected is not None else 4) == expected


def test_a_huge_learning_rate_diverges():
    training = taken(begun(network(normalised=False, precision="float32"), "SGD", lr=1e8))
    assert training.losses[0].isfinite()
    assert training.diverged_at(STEPS) in range(1, STEPS)
    assert taken(begun()).diverged_at(STEPS) is None


@exhaustive
def test_a_compiled_network_computes_the_same():
    plain, compiled = taken(begun()), taken(begun(network(compiler="aot_eager")))
    assert compiled.forward is not compiled.model
    assert_allclose(compiled.losses, plain.losses, rtol=1e-6)
    assert compiled.evaluate(images()) == pytest.approx(plain.evaluate(images()), rel=1e-6)


def test_bfloat16_keeps_the_weights_in_float32():
    rough, fine = taken(begun(network(precision="bfloat16"))), taken(begun(network(precision="float32")))
    assert {p.dtype for p in rough.params} == {torch.float32}
    assert not torch.equal(rough.losses, fine.losses)
    assert_allclose(rough.losses, fine.losses, atol=0.1)
    assert rough.losses[-1] < rough.losses[0]


def test_a_run_inherits_no_gradient_from_one_that_was_stopped():
    first = copied(taken(begun(method="SGD"), 1).model.state_dict())
    stopped = begun()
    stopped.loss(stopped.batches[0]).backward()
    assert stopped.params[0].grad is not None
    assert same(taken(begun(method="SGD"), 1).model.state_dict(), first)


@pytest.mark.parametrize("method", ["Adam", "NAdam", "LaProp", "Lion", "2-Adam meta"])
def test_a_run_goes_on_from_its_state_to_the_bit(method, tmp_path):
    whole = taken(begun(method=method))
    end, losses, squares = copied(whole.model.state_dict()), whole.losses, whole.squares
    states.save(taken(begun(method=method), 3), tmp_path / "state")
    again = taken(states.load_into(begun(method=method), tmp_path / "state"), start=3)
    assert same(again.model.state_dict(), end)
    assert torch.equal(again.losses, losses)
    assert torch.equal(again.squares, squares)
