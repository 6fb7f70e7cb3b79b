"""Networks that learn text: their steps, what is watched of them, and their spikes."""

import functools
import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.nn import functional as F

from kadam import Decay
from kadam.lab.data.windows import Windows
from kadam.lab.engine import state as states
from kadam.lab.records.profiles import Shape
from kadam.lab.train import language_model as lab
from kadam.lab.train.gpt import Gpt
from kadam.lab.train.language_model import LanguageModelling, TextNetwork
from kadam.lab.train.optimizers import optimizer
from kadam.lab.train.probes import SPIKE_WINDOW, spikes
from kadam.lab.train.schedule import Schedule

STEPS, LR, VOCABULARY, CONTEXT = 6, 2**-7, 9, 5
SHAPE = Shape(width=8, layers=1, heads=2)
SCHEDULE = Schedule(STEPS, 0.3, "cosine", 0.1)
TEXT = torch.from_numpy(np.random.default_rng(0).integers(0, VOCABULARY, 400).astype(np.uint8))

either = pytest.mark.parametrize("normalised", [True, False], ids=["q/k norm", "plain"])


def network(normalised=False, precision="float64", **kwargs):
    return TextNetwork(VOCABULARY, CONTEXT, SHAPE, normalised, precision=precision, **kwargs)


def batches():
    return Windows(TEXT, batch=4, context=CONTEXT, seed=3)


def begun(wanted=None, method="Adam", lr=LR):
    make = functools.partial(optimizer, method, lr=lr, decay=Decay(beta=0.99, gamma=0.8), weight_decay=0.1)
    return LanguageModelling(wanted or network(), make, batches(), SCHEDULE, initialisation=1)


def taken(training, steps=STEPS, start=0):
    for n in range(start, steps):
        training.step(n)
    return training


def weights(model):
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


@either
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_training_is_a_plain_loop_bit_for_bit(normalised, precision):
    ours = taken(begun(network(normalised, precision)))
    model = Gpt(vocabulary=VOCABULARY, context=CONTEXT, width=8, layers=1, heads=2, normalised=normalised)
    model = model.to(getattr(torch, precision))
    model.reset(1)
    adam, several = torch.optim.Adam(model.parameters(), lr=LR, betas=(0.8, 0.99)), batches()
    for n in range(STEPS):
        adam.param_groups[0]["lr"] = LR * SCHEDULE(n)
        adam.zero_grad()
        loss = F.cross_entropy(model(several[n][:, :-1]).flatten(0, 1), several[n][:, 1:].flatten())
        loss.backward()
        adam.step()
        assert_allclose(ours.losses[n], np.float32(loss.item()), rtol=0)
    assert torch.equal(weights(ours.model), weights(model))


def test_the_rate_falls_as_a_cosine_to_its_end():
    factors = np.array([Schedule(200, 0.25, "cosine", 0.1)(n) for n in range(200)])
    left = (200 - 50 - np.arange(150) - 0.5) / 150
    assert_allclose(factors[50:], 0.1 + 0.9 * (1 - np.cos(np.pi * left)) / 2, rtol=1e-12)
    assert_allclose(np.diff(factors[:50]), 1 / 50)
    assert 0.1 < factors[-1] < 0.101


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fall": "exponential"}, "fall must be one of linear, cosine; got 'exponential'"),
        ({"end": 1.5}, r"end must be a share of the peak in \[0, 1\], got 1.5"),
        ({"end": float("nan")}, "end must be a share of the peak"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Schedule(10, **change)


@pytest.mark.parametrize("in_lists", [False, True], ids=["tensor by tensor", "in lists, as on a GPU"])
def test_what_is_watched_of_a_step_is_its_move_in_units_of_the_learning_rate(in_lists, monkeypatch):
    monkeypatch.setattr(lab, "in_lists", lambda tensor: in_lists)
    training, squares, largest = begun(method="2-Adam meta"), [], []
    for n in range(STEPS):
        before = weights(training.model)
        training.step(n)
        u = (before - weights(training.model)) / (LR * SCHEDULE(n))
        squares.append((u**2).mean())
        largest.append(u.abs().max())
    assert_allclose(training.squares, squares, rtol=1e-6)
    assert_allclose(training.largest, largest, rtol=1e-6)
    seen = training.watched(2, 5)
    assert seen["max_update"] == pytest.approx(max(largest[2:5]).item())
    assert seen["update_rms"] == pytest.approx(np.mean(squares[2:5]) ** 0.5)
    assert seen["train_loss"] == pytest.approx(training.losses[2:5].mean().item())
    assert seen["spikes"] == 0


def test_evaluation_in_parts_is_that_of_all_windows_at_once(monkeypatch):
    training, data = taken(begun()), batches()[7]
    whole = training.loss(data).item()
    monkeypatch.setattr(lab, "EVALUATED", 3 * CONTEXT)
    assert training.evaluate(data)["loss"] == pytest.approx(whole, rel=1e-12)
    assert len(data) % 3


def test_an_untrained_network_is_about_as_good_as_a_guess():
    assert begun().evaluate(batches()[0])["loss"] == pytest.approx(math.log(VOCABULARY), abs=0.05)


def test_bfloat16_keeps_the_weights_in_float32():
    rough, fine = taken(begun(network(precision="bfloat16"))), taken(begun(network(precision="float32")))
    assert {p.dtype for p in rough.params} == {torch.float32}
    assert not torch.equal(rough.losses, fine.losses)
    assert_allclose(rough.losses, fine.losses, atol=0.05)


def test_a_compiled_network_computes_the_same():
    plain, compiled = taken(begun()), taken(begun(network(compiler="aot_eager")))
    assert compiled.forward is not compiled.model
    assert_allclose(compiled.losses, plain.losses, rtol=1e-6)


@pytest.mark.parametrize("method", ["Adam", "NAdam", "Lion", "2-Adam meta"])
def test_a_run_goes_on_from_its_state_to_the_bit(method, tmp_path):
    whole = taken(begun(method=method))
    end, seen = weights(whole.model), (whole.losses, whole.squares, whole.largest)
    states.save(taken(begun(method=method), 3), tmp_path / "state")
    again = taken(states.load_into(begun(method=method), tmp_path / "state"), start=3)
    assert torch.equal(weights(again.model), end)
    assert all(torch.equal(x, y) for x, y in zip((again.losses, again.squares, again.largest), seen, strict=True))


def wobbling(steps=60):
    return np.where(np.arange(steps) % 2, 2.1, 1.9)  # mean 2, standard deviation 0.1


@pytest.mark.parametrize(("height", "expected"), [(2.49, []), (2.51, [40])])
def test_a_spike_is_five_deviations_above_the_mean_of_what_came_before(height, expected):
    losses = wobbling()
    losses[40] = height
    assert np.flatnonzero(spikes(losses)).tolist() == expected


def test_a_spike_is_counted_once_and_early_or_infinite_losses_are_none():
    losses = wobbling()
    losses[30:33] = [3, 4, 5]
    losses[5], losses[-1] = 100, np.inf
    assert np.flatnonzero(spikes(losses)).tolist() == [30]
    assert not spikes(wobbling(SPIKE_WINDOW)).any()
    assert not spikes(np.full(30, np.nan)).any()
    assert np.array_equal(spikes(np.stack([losses, wobbling()], 1)), np.stack([spikes(losses), spikes(wobbling())], 1))


def test_a_network_without_layers_is_refused():
    with pytest.raises(ValueError, match="layers must be a whole number >= 1, got 0"):
        Shape(8, 0, 2)
