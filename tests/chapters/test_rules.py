"""Rules do to a member's weight what they say, and to nothing else."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from kadam.chapters.scale_invariance.rules import Constant, Normed, OneSecondMoment, SecondAdam, Step, obey
from kadam.decay import Decay
from kadam.lab.records.profiles import SMOKE
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.tasks import LANGUAGE_WEIGHTS, Inputs
from kadam.theory.invariance import NormLaw

SIZE = 30
PATH = LANGUAGE_WEIGHTS["hidden"]


def vectors(count, seed=0, size=SIZE):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, size)))


def orthogonal(w, g):
    return g - (g @ w) / (w @ w) * w


def step(update=None, seed=0):
    """A step of any weight; with ``update`` instead of a random one."""
    before, after, random, momentum, gradient = vectors(5, seed)
    return Step(before, after, random if update is None else update, momentum, gradient)


def angle(x, y):
    """Between two vectors, accurate also where it is small."""
    x, y = x / x.norm(), y / y.norm()
    return 2 * math.atan2(float((x - y).norm()), float((x + y).norm()))


class Asked(Constant):
    """A constant norm that notes what it is asked."""

    def __init__(self, asked, norm):
        super().__init__(norm)
        self.asked = asked

    def advance(self, square):
        self.asked.append(square)
        return super().advance(square)


@pytest.mark.parametrize("square", [1e-6, 1.0, 7.0])
def test_a_dictated_norm_leaves_adamws_direction_and_update(square):
    asked, one = [], step()
    after, update = Normed(Asked(asked, square))(one)
    assert float(after @ after) == pytest.approx(square, rel=1e-13)
    assert angle(after, one.after) < 1e-14
    assert torch.equal(update, one.update)
    assert asked == [pytest.approx(float(one.update.square().sum()), rel=1e-13)]


def walk(rule, *, eta, gamma, weight_decay, steps=120, v=2.0):
    """The path of AdamW with v one number that stays, under gradients of a scale-invariant loss; W_0 is the first."""
    w, *raws = vectors(steps + 1, seed=3)
    m, path = torch.zeros(SIZE, dtype=torch.float64), [w]
    for n, raw in enumerate(raws):
        g = orthogonal(w, raw)
        m = gamma * m + (1 - gamma) * g
        m_hat = m / (1 - gamma ** (n + 1))
        u = m_hat / v**0.5
        after = (1 - eta * weight_decay) * w - eta * u
        w, _ = rule(Step(w, after, u, m_hat, g)) if rule else (after, u)
        path.append(w)
    return torch.stack(path)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_with_one_constant_second_moment_the_laws_norm_is_adamws_own(gamma, weight_decay):
    setting = {"eta": 0.05, "gamma": gamma, "weight_decay": weight_decay}
    free = walk(None, **setting)
    square = float(free[0] @ free[0])
    torch.testing.assert_close(walk(Normed(NormLaw(square, **setting)), **setting), free, rtol=0, atol=1e-10)
    papers = walk(Normed(NormLaw(square, **{**setting, "gamma": 0.0})), **setting)
    assert (gamma == 0) == bool(papers[-1].norm() / free[-1].norm() > 0.99)


@pytest.mark.parametrize("beta", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("rate", [1e-3, 0.5])
def test_a_second_adam_keeps_the_norm_and_the_update(beta, rate):
    one, v = step(), vectors(1, seed=1)[0].square()
    after, update = SecondAdam(beta=beta, rate=rate, v=v)(one)
    assert float(after.norm()) == pytest.approx(float(one.before.norm()), rel=1e-14)
    assert angle(after, one.before) > rate / 10
    assert torch.equal(update, one.update)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 20.0])
@pytest.mark.parametrize("rate", [1e-4, 0.01, 0.3])
def test_a_second_adam_turns_the_weight_by_its_rate(rate, scale):
    """An orthogonal update of mean square v moves W by rate |W|, and then the norm is restored: arctan(rate)."""
    u = orthogonal(step().before, vectors(1, seed=1)[0])
    u = scale * u / u.square().mean().sqrt()
    rule = SecondAdam(beta=1.0, rate=rate, v=torch.full((SIZE,), scale**2, dtype=torch.float64))
    after, _ = rule(step(u))
    assert angle(after, step().before) == pytest.approx(math.atan(rate), rel=1e-10)
    assert float((after - step().before) @ u) < 0


def test_where_all_squares_are_v_the_turn_does_not_depend_on_the_memory():
    before = torch.ones(SIZE, dtype=torch.float64)
    u = torch.tensor([3.0, -3.0] * (SIZE // 2), dtype=torch.float64)
    for beta in (0.0, 0.9):
        rule = SecondAdam(beta=beta, rate=0.1, v=u.square())
        after, _ = rule(Step(before, before, u, u, u))
        assert angle(after, before) == pytest.approx(math.atan(0.1), rel=1e-13)


@pytest.mark.parametrize(("spread", "inside"), [(0.0, True), (1.0, False)])
def test_a_second_adam_moves_along_the_update_where_v_is_one_number(spread, inside):
    one = step()
    rule = SecondAdam(beta=1.0, rate=0.2, v=torch.exp(spread * vectors(1, seed=1)[0]))
    after, _ = rule(one)
    plane = torch.stack([one.before, one.update], 1)
    shares = torch.linalg.lstsq(plane, after).solution
    left = (after - plane @ shares).norm() / after.norm()
    assert left < 1e-14 if inside else left > 1e-2
    assert shares[1] < 0


def test_a_second_adam_without_memory_moves_every_entry_equally_far():
    one = step()
    after, _ = SecondAdam(beta=0.0, rate=0.2, v=torch.ones(SIZE))(one)
    moved = one.before - 0.2 * one.before.norm() / SIZE**0.5 * one.update.sign()
    assert angle(after, moved) < 1e-14


def test_a_second_adam_averages_the_squares_of_its_updates():
    v, rule = np.full(SIZE, 2.0), SecondAdam(beta=0.7, rate=0.1, v=torch.full((SIZE,), 2.0, dtype=torch.float64))
    for seed in range(3):
        rule(step(seed=seed))
        v = 0.7 * v + 0.3 * step(seed=seed).update.numpy() ** 2
    np.testing.assert_allclose(rule.v, v, rtol=1e-14)


class Linear(nn.Module):
    """A weight whose gradient is the batch."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(vectors(1, seed=7)[0])


def product(model, batch):
    return (model.weight * batch).sum()


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("equal", [True, False])
def test_one_second_moment_is_adamw_exactly_where_all_squares_are_equal(equal, weight_decay):
    """From a step on at which v^ needs no correction any more."""
    beta, lr, rng = 0.5, 0.01, np.random.default_rng(2)
    ensemble = Ensemble(Linear(), product, [(Decay(beta=beta, gamma=0.9),)] * 2, lr=lr, weight_decay=[weight_decay] * 2)
    rules, before = {}, None
    for n in range(90):
        if n == 60:
            _, v = ensemble.corrected_moments("weight")
            rules = {1: OneSecondMoment(v=float(v[1].mean()), beta=beta, eta=lr, weight_decay=weight_decay)}
        before = ensemble.params["weight"].clone()
        signs = rng.choice([-1.0, 1.0], SIZE)
        ensemble.step(torch.from_numpy(rng.uniform(0.1, 3) * (signs if equal else signs * rng.uniform(0.1, 3, SIZE))))
        obey(ensemble, "weight", before, rules)
    for values in (ensemble.params["weight"], ensemble.updates["weight"]):
        gap = (values[0] - values[1]).abs().max()
        assert gap < 1e-12 if equal else gap > 1e-3


def test_one_second_moment_divides_the_momentum_by_one_number():
    one = step()
    rule = OneSecondMoment(v=4.0, beta=0.75, eta=0.1, weight_decay=0.5)
    after, update = rule(one)
    v = 0.75 * 4 + 0.25 * float(one.gradient.square().mean())
    torch.testing.assert_close(update, one.momentum / v**0.5, rtol=1e-14, atol=0)
    torch.testing.assert_close(after, 0.95 * one.before - 0.1 * update, rtol=1e-14, atol=1e-15)
    assert rule.v == pytest.approx(v, rel=1e-15)


@pytest.fixture(scope="module")
def inputs():
    return Inputs.of(SMOKE)


def train(inputs, rules, *, steps=3):
    """Three members that start alike, some under rules from the first step on."""
    task = inputs.language(1)
    decays = [(Decay(beta=0.9, gamma=gamma),) for gamma in (0.0, 0.9, 0.9)]
    ensemble = Ensemble(task.model, task.loss, decays, lr=0.01, weight_decay=[0.0, 1.0, 2.0])
    for _, batch in zip(range(steps), task.batches(np.random.default_rng(0), 4), strict=False):
        before = ensemble.params[PATH].flatten(1).clone()
        ensemble.step(batch)
        obey(ensemble, PATH, before, rules)
    return ensemble


def test_members_without_a_rule_keep_adamws_steps_bit_for_bit(inputs):
    free, ruled = train(inputs, {}), train(inputs, {1: Normed(Constant(2.0))})
    for name in free.params:
        for theirs, ours in ((free.params, ruled.params), (free.updates, ruled.updates)):
            assert torch.equal(ours[name][[0, 2]], theirs[name][[0, 2]])
            assert not torch.equal(ours[name][1], theirs[name][1])
        for theirs, ours in zip(free.corrected_moments(name), ruled.corrected_moments(name), strict=True):
            assert torch.equal(ours[[0, 2]], theirs[[0, 2]])
    assert ruled.params[PATH][1].square().sum().item() == pytest.approx(2, rel=1e-12)


def test_a_rule_changes_one_weight_of_its_member(inputs):
    free, ruled = train(inputs, {}, steps=1), train(inputs, {1: Normed(Constant(2.0))}, steps=1)
    for name in free.params:
        assert torch.equal(free.params[name], ruled.params[name]) == (name != PATH)


def test_a_rule_sees_the_step_of_its_own_member_and_what_it_returns_is_done(inputs):
    seen, given = [], (vectors(1, size=8 * 32)[0], vectors(1, seed=1, size=8 * 32)[0])
    ensemble = train(inputs, {2: lambda one: seen.append(one) or given}, steps=2)
    last = seen[-1]
    momentum, second = ensemble.corrected_moments(PATH)
    assert torch.equal(last.before, given[0])  # of the step before
    torch.testing.assert_close(last.after, (1 - 0.01 * 2.0) * last.before - 0.01 * last.update, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(last.update, momentum[2] / second[2].sqrt(), rtol=1e-12, atol=0)
    assert torch.equal(last.momentum, momentum[2])
    assert torch.equal(last.gradient, ensemble.gradients[PATH][2])
    assert torch.equal(ensemble.params[PATH][2].flatten(), given[0])
    assert torch.equal(ensemble.updates[PATH][2], given[1])
