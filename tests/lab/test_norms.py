"""Norms of what makes queries and keys, watched in training: of which weights, and that they are the weights' own."""

import functools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from kadam import Decay
from kadam.lab.data.windows import Windows
from kadam.lab.records.profiles import Shape
from kadam.lab.train import language_model
from kadam.lab.train.language_model import LanguageModelling, TextNetwork
from kadam.lab.train.norms import NORMS, NormalisedModelling, blocks
from kadam.lab.train.optimizers import optimizer
from kadam.lab.train.schedule import Schedule

STEPS, LR, VOCABULARY, CONTEXT = 6, 2**-7, 9, 5
SHAPE = Shape(width=8, layers=2, heads=2)
SIZE = SHAPE.width // SHAPE.heads  # rows of a head
ROWS = {  # by the name of a block, its layer and its first row among those of queries, keys and values
    f"layer {layer}, {made}, head {head}": (layer, 8 * i + SIZE * head)
    for layer in (0, 1)
    for i, made in enumerate(("queries", "keys"))
    for head in (0, 1)
}


def begun(kind=NormalisedModelling, method="Adam", precision="float64"):
    network = TextNetwork(VOCABULARY, CONTEXT, SHAPE, True, precision=precision)
    text = torch.from_numpy(np.random.default_rng(0).integers(0, VOCABULARY, 400).astype(np.uint8))
    make = functools.partial(optimizer, method, lr=LR, decay=Decay(beta=0.99, gamma=0.8), weight_decay=0.1)
    return kind(network, make, Windows(text, batch=4, context=CONTEXT, seed=3), Schedule(STEPS, 0.3), initialisation=1)


def squares(model):
    """|W|^2 of every block, from its rows."""
    rows = (model.blocks[layer].project.weight[first : first + SIZE] for layer, first in ROWS.values())
    return np.array([float(block.detach().double().square().sum()) for block in rows])


def output(training):
    return training.model(torch.arange(CONTEXT)[None] ** 2 % VOCABULARY).detach()


def test_blocks_are_called_by_layer_what_they_make_and_head():
    assert blocks(SHAPE) == list(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_block_is_scale_invariant_and_the_one_that_is_watched(name):
    training, (layer, first) = begun(), ROWS[name]
    before, norms = output(training), squares(training.model)
    with torch.no_grad():
        training.model.blocks[layer].project.weight[first : first + SIZE] *= 2
    assert_allclose(output(training), before, rtol=1e-12, atol=1e-12)
    found = training.blocks(training.params).square().sum(1).detach()
    assert_allclose(found, np.where(np.array(list(ROWS)) == name, 4, 1) * norms, rtol=1e-12)


@pytest.mark.parametrize("first", [4 * SIZE, 5 * SIZE])
def test_what_makes_values_is_neither(first):
    training = begun()
    before, norms = output(training), squares(training.model)
    with torch.no_grad():
        training.model.blocks[0].project.weight[first : first + SIZE] *= 2
    assert abs(output(training) - before).max() > 1e-3
    assert_allclose(training.blocks(training.params).square().sum(1).detach(), norms, rtol=1e-12)


def test_half_a_head_is_not_scale_invariant():
    training = begun()
    before = output(training)
    with torch.no_grad():
        training.model.blocks[0].project.weight[: SIZE // 2] *= 2
    assert abs(output(training) - before).max() > 1e-6


@pytest.mark.parametrize("in_lists", [False, True], ids=["tensor by tensor", "in lists, as on a GPU"])
@pytest.mark.parametrize(("method", "precision"), [("Adam", "float64"), ("2-Adam meta", "float64"), ("Adam", "bfloat16")])
def test_what_is_watched_is_the_weights_own(method, precision, in_lists, monkeypatch):
    monkeypatch.setattr(language_model, "in_lists", lambda tensor: in_lists)
    training, norms, moves = begun(method=method, precision=precision), [], []
    for n in range(STEPS):
        before = [block.project.weight.detach().double().clone() for block in training.model.blocks]
        norms.append(squares(training.model))
        training.step(n)
        change = [block.project.weight.detach().double() - w for block, w in zip(training.model.blocks, before, strict=True)]
        moves.append([float(change[layer][first : first + SIZE].square().sum()) for layer, first in ROWS.values()])
    norms.append(squares(training.model))
    seen, rounding = training.watched(2, STEPS), {"rtol": 1e-9 if precision == "float64" else 1e-5}
    assert_allclose(seen["block_norm"], norms[-1], **rounding)
    assert_allclose(seen["block_growth"], norms[-1] - norms[2], **rounding, atol=1e-7)
    assert_allclose(seen["block_moves"], np.sum(moves[2:], axis=0), **rounding)


def test_to_watch_changes_no_step():
    def left(kind):
        training = begun(kind)
        for n in range(STEPS):
            training.step(n)
        return [p.clone() for p in training.params], training.squares, training.watched(0, STEPS)

    (ours, squared, seen), (theirs, their_squared, without) = left(NormalisedModelling), left(LanguageModelling)
    assert all(torch.equal(x, y) for x, y in zip(ours, theirs, strict=True))
    assert torch.equal(squared, their_squared)
    assert {name: seen.pop(name).shape for name in NORMS} == dict.fromkeys(NORMS, (len(ROWS),))
    assert seen == without
