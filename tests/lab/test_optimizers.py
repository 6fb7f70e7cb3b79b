"""The optimizers that are compared: each is what its name says, and goes on from its state."""

import copy
import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from problems import assert_same_bits, dense_parameters, gradients, owned, parameters, random, run
from torch.nn import Parameter

from kadam import Decay, KAdam, stages
from kadam.lab.records.profiles import BASELINES, NADAMS_PARTS
from kadam.lab.train.optimizers import (
    RATE_FACTOR,
    Blend,
    LaProp,
    Lion,
    kadam_name,
    methods,
    nadams_share,
    optimizer,
    rates,
    stages_of,
    warm_momentum,
)
from kadam.theory.reference import kadam_updates
from kadam.theory.relatives import nadam_weights

LR = 2**-7
DECAY = Decay(beta=0.95, gamma=0.8)
METHODS = methods([1, 2, 3])

every = pytest.mark.parametrize("method", METHODS)


def made(method, params, **kwargs):
    return optimizer(method, params, **({"lr": LR, "decay": DECAY, "weight_decay": 0.25} | kwargs))


def vector(seed=0):
    return Parameter(random(40, seed=seed))


def random_walk(optimizer, steps=20):
    # Random gradients (steps, 40), and where they take a vector from where.
    (p,) = owned(optimizer)
    start, grads = p.detach().numpy().copy(), gradients([p], steps)
    run(optimizer, grads)
    return np.stack([g.numpy() for (g,) in grads]), start, p.detach().numpy()


def test_laprop_is_its_formula():
    beta1, beta2, eps = 0.8, 0.95, 1e-3
    ours = LaProp([p := vector()], lr=LR, betas=(beta1, beta2), eps=eps)
    grads, weights, end = random_walk(ours)
    m, v = np.zeros(40), np.zeros(40)
    for n, g in enumerate(grads, 1):
        v = beta2 * v + (1 - beta2) * g**2
        m = beta1 * m + (1 - beta1) * g / (np.sqrt(v / (1 - beta2**n)) + eps)
        weights = weights - LR * m / (1 - beta1**n)
    assert_allclose(end, weights, rtol=1e-12)
    assert_allclose(ours.state[p]["exp_avg"], m, rtol=1e-12)
    assert_allclose(ours.state[p]["exp_avg_sq"], v, rtol=1e-12)


def test_lion_is_its_formula():
    beta1, beta2 = 0.8, 0.95
    ours = Lion([p := vector()], lr=LR, betas=(beta1, beta2))
    grads, weights, end = random_walk(ours)
    m = np.zeros(40)
    for g in grads:
        weights = weights - LR * np.sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g
    assert_allclose(end, weights, rtol=1e-12)
    assert_allclose(ours.state[p]["exp_avg"], m, rtol=1e-12)


def test_laprop_without_momentum_is_adam():
    ours, theirs = (
        LaProp([vector()], lr=LR, betas=(0.0, 0.95)),
        KAdam([vector()], lr=LR, betas=(0.0, 0.95), k=1, weight_decay=0),
    )
    assert_allclose(random_walk(ours)[2], random_walk(theirs)[2], rtol=1e-12)


def test_laprop_is_the_mean_of_what_a_stage_without_momentum_gives():
    grads, start, end = random_walk(made("LaProp", [vector()]))
    normalised = kadam_updates(grads, [Decay(beta=DECAY.beta, gamma=0.0)], eps=1e-8)
    age = np.arange(20)
    weights = np.tril(DECAY.gamma ** np.clip(age[:, None] - age, 0, None))  # of gradient j at step i
    updates = weights / weights.sum(1, keepdims=True) @ normalised
    assert_allclose(end, start - LR * updates.sum(0), rtol=1e-12, atol=1e-14)


def test_every_update_of_lion_is_as_large_as_the_learning_rate():
    (p,) = owned(ours := made("Lion", [vector()]))
    for grads in gradients([p], 10):
        before = p.detach().clone()
        run(ours, [grads])
        assert_allclose((p - before).detach().abs(), LR, rtol=1e-12)


def averaged(grads, weights):
    """What a method does that divides so weighted sums of gradients, weights (steps, steps), by Adam's root; in float64."""
    beta, steps = DECAY.beta, np.arange(1, len(grads) + 1)
    kept = (1 - beta) * np.tril(beta ** np.clip(steps[:, None] - steps, 0, None)) @ grads**2
    return weights @ grads / (np.sqrt(kept / (1 - beta ** steps[:, None])) + 1e-8)


def blended(decays, shares):
    """The weights of gradient j at step t, (steps, steps): 1 - s of the newest, s of a mean with these decays."""
    found, mean = np.zeros((len(decays), len(decays))), np.zeros(len(decays))
    for t, (decay, share) in enumerate(zip(decays, shares, strict=True)):
        mean *= decay
        mean[t] = 1 - decay
        found[t] = share * mean / mean.sum()
        found[t, t] += 1 - share
    return found


MOMENTA = [DECAY.gamma * (1 - 0.5 * 0.96 ** (0.004 * t)) for t in range(1, 22)]


@pytest.mark.parametrize(
    ("method", "weights"),
    [
        ("Adam", blended([DECAY.gamma] * 20, [1] * 20)),
        ("Adam, warm momentum", blended(MOMENTA[:20], [1] * 20)),
        (
            "Adam, weights of NAdam",
            blended([DECAY.gamma] * 20, [after / (1 - now + after) for now, after in itertools.pairwise(MOMENTA)]),
        ),
        (
            "NAdam, constant momentum",
            np.array([np.pad(nadam_weights(n, gamma=DECAY.gamma)[::-1], (0, 19 - n)) for n in range(20)]),
        ),
    ],
)
def test_a_part_of_nadam_has_the_weights_of_its_formula(method, weights):
    grads, start, end = random_walk(made(method, [vector()]))
    assert_allclose(end, start - LR * averaged(grads, weights).sum(0), rtol=1e-6, atol=1e-8)  # NAdam's products are float32
    if not method.startswith("NAdam"):
        assert_allclose(weights.sum(1), 1)


def test_a_blend_of_nothing_but_a_constant_momentum_is_adam():
    blend = Blend([vector()], lr=LR, betas=DECAY.betas, decay=lambda beta1, t: beta1, share=lambda beta1, t: 1.0)
    assert_allclose(random_walk(blend)[2], random_walk(made("Adam", [vector()]))[2], rtol=1e-12)


def test_nadams_weights_are_these_once_its_beginning_is_forgotten():
    n, gamma = 400, 0.9
    theirs = nadam_weights(n, gamma=gamma, momentum_decay=0.004)
    share = nadams_share(gamma, n + 1)
    ours = share * (1 - gamma) * gamma ** np.arange(n + 1)
    ours[0] += 1 - share
    assert_allclose(theirs / theirs.sum(), ours, rtol=1e-6, atol=1e-12)
    assert theirs.sum() == pytest.approx(1, abs=1e-3)
    assert 0.5 < ours[0] < 0.6 < 1 - warm_momentum(gamma, n) + 0.1  # about half of it is the newest gradient


@pytest.mark.parametrize("method", [*METHODS, *NADAMS_PARTS, "Adam 0.5, 0.99"])
def test_a_method_goes_on_from_its_state_to_the_bit(method):
    params = dense_parameters(torch.float64)
    first, rest = (steps := gradients(params, 6))[:3], steps[3:]
    ours = run(made(method, params), first)
    theirs = made(method, [Parameter(p.detach().clone()) for p in params])
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    assert_same_bits(run(ours, rest), run(theirs, rest))
    whole = run(made(method, dense_parameters(torch.float64)), steps)
    assert all(torch.equal(p, q) for p, q in zip(owned(theirs), owned(whole), strict=True))


@pytest.mark.parametrize("method", ["LaProp", "Lion"])
def test_a_parameter_without_gradient_stays(method):
    params, without = [vector(), vector(1)], vector(1)
    run(made(method, params), [[g, None] for g, _ in gradients(params, 3)])
    assert torch.equal(params[1], without)
    assert not torch.equal(params[0], vector())


def test_names_say_stages_and_strategy():
    assert METHODS[: len(BASELINES)] == list(BASELINES)
    assert len(METHODS) == len(set(METHODS)) == len(BASELINES) + 2 * 5
    for method in METHODS:
        k, strategy = stages_of(method)
        assert method == (kadam_name(k, strategy) if k > 1 else strategy)
    assert [stages_of(name)[0] for name in BASELINES] == [1, 0, 0, 0, 0, 0]
    assert stages_of("12-Adam inverse_exp") == (12, "inverse_exp")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Adagrad", "SGD; Adam, beta1 = 0.5; Adam, beta1 = 0.7; .*; or like .*'2-Adam meta'; got 'Adagrad'"),
        ("2-Adam", "or '2-Adam meta'; got '2-Adam'"),
        ("2-Adam nope", "strategy must be one of repeat, .*; got 'nope'"),
        ("0-Adam meta", "k must be a whole number >= 1, got 0"),
    ],
)
def test_unknown_names_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        made(name, [vector()])


def test_adam_goes_by_its_betas():
    assert made("Adam 0.5, 0.999", [vector()]).defaults["betas"] == (0.5, 0.999)
    assert made("Adam 0, 0.9", [vector()]).defaults["betas"] == (0, 0.9)
    assert stages_of("Adam 0.5, 0.999") == (0, "Adam 0.5, 0.999")
    assert rates("Adam 0.5, 0.999", [1e-3]) == [1e-3]
    for name in ("Adam 1, 0.9", "Adam 0.5", "Adam 0.5, 1.0", "NAdam 0.5, 0.9"):
        with pytest.raises(ValueError, match="method must be one of"):
            made(name, [vector()])


def test_adam_is_k_adam_with_one_stage_bit_for_bit():
    steps = gradients(ours := parameters(), 5)
    theirs = KAdam(parameters(), lr=LR, betas=DECAY.betas, k=1, weight_decay=0)
    assert_same_bits(run(made("Adam", ours), steps), run(theirs, steps))


@every
def test_adamw_alone_has_weight_decay(method):
    p = vector()
    run(made(method, [p]), [[torch.zeros(40, dtype=torch.float64)]] * 2)
    assert_allclose(p.detach(), vector().detach() * ((1 - LR / 4) ** 2 if method == "AdamW" else 1), rtol=1e-12)


def test_sgd_looks_ahead_with_momentum_gamma():
    grads, weights, end = random_walk(made("SGD", [vector()]))
    velocity = np.zeros(40)
    for g in grads:
        velocity = DECAY.gamma * velocity + g
        weights = weights - LR * (g + DECAY.gamma * velocity)
    assert_allclose(end, weights, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("method", ["2-Adam meta", "3-Adam root", "2-Adam inverse_exp"])
def test_k_adam_has_the_stages_of_its_name(method):
    grads, start, end = random_walk(made(method, [vector()]))
    updates = kadam_updates(grads, stages(DECAY, *stages_of(method)), eps=1e-8)
    assert_allclose(end, start - LR * updates.sum(0), rtol=1e-9, atol=1e-12)


@every
def test_rates_are_adams_times_a_factor(method):
    factor = {"Lion": 0.2, "SGD": 32.0}.get(method, 1.0 if method in BASELINES else 0.25)
    assert rates(method, [1e-3, 4e-3]) == [factor * 1e-3, factor * 4e-3]
    assert factor in (1.0, *RATE_FACTOR.values())


@every
def test_without_any_gradient_nothing_happens(method):
    ours = made(method, [vector()])
    (before,) = [p.detach().clone() for p in owned(ours)]
    ours.step()
    assert torch.equal(owned(ours)[0], before)
    assert ours.param_groups[0].get("steps", 0) == 0
