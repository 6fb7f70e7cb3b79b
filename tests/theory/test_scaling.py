"""The page on scale: what learning rate, weight decay, noise and eps do to a run, and that the region feels none of them."""

import numpy as np
import pytest
import torch

from kadam import Decay, KAdam
from kadam.theory import stability
from kadam.theory.flow import adam
from kadam.theory.reference import kadam_updates

PAIRS = [(0.9, 0.999), (0.9, 0.95), (0.97, 0.9), (0.99, 0.5), (0.0, 0.9), (0.5, 0.0), (0.0, 0.0)]  # betas, as torch has them
POWERS = [2.0**-20, 2.0**-3, 2.0**10]
OPTIMIZERS = {
    "torch": lambda p, **how: torch.optim.AdamW([p], **how, foreach=False),
    "KAdam": lambda p, **how: KAdam([p], **how, k=1),
}


def problem(seed, d=5):
    """A quadratic that is not diagonal, where it has its minimum, a start and noise."""
    rng = np.random.default_rng(seed)
    square = rng.standard_normal((d, d))
    return square @ square.T, rng.standard_normal(d), 3 * rng.standard_normal(d), rng.standard_normal((60, d))


def path(make, betas, *, s, eta=0.03, weight_decay=0.4, eps=1e-3, dtype=torch.float64, keep=(), seed=0):
    """theta_n of 60 steps if all that has the unit of theta is s times as large; ``keep``: what is not scaled."""
    hessian, minimum, start, noise = (torch.tensor(x, dtype=dtype) for x in problem(seed))
    factor = {name: 1.0 if name in keep else s for name in ("eta", "start", "minimum", "noise", "weight_decay", "eps")}
    theta = torch.nn.Parameter(start * factor["start"])
    numbers = {"lr": eta * factor["eta"], "eps": eps * factor["eps"], "weight_decay": weight_decay / factor["weight_decay"]}
    optimizer, found = make(theta, betas=betas, **numbers), []
    for xi in noise:
        theta.grad = hessian @ (theta.detach() - minimum * factor["minimum"]) + xi * factor["noise"]
        optimizer.step()
        found.append(theta.detach().clone())
    return torch.stack(found)


@pytest.mark.parametrize("betas", PAIRS)
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=list(OPTIMIZERS))
@pytest.mark.parametrize("eps", [0.0, 1e-3])
def test_scaling_changes_no_bit_of_a_run(make, betas, eps):
    """On any quadratic, with noise and weight decay."""
    first = path(make, betas, s=1.0, eps=eps)
    assert torch.isfinite(first).all()
    assert all(torch.equal(path(make, betas, s=s, eps=eps), s * first) for s in POWERS)


@pytest.mark.parametrize("part", ["eta", "start", "minimum", "noise", "weight_decay", "eps"])
def test_a_run_changes_as_soon_as_one_part_is_not_scaled(part):
    first, other = (path(OPTIMIZERS["torch"], (0.9, 0.95), s=s, keep=(part,)) for s in (1.0, 8.0))
    assert not torch.equal(other, 8 * first)


@pytest.mark.parametrize("s", [0.3, 7.0])
def test_scaling_by_other_numbers_holds_until_rounding_grows(s):
    """A few steps: runs on a quadratic are chaotic, and rounding grows in them."""
    first, other = (path(OPTIMIZERS["torch"], (0.9, 0.999), s=factor)[:20] for factor in (1.0, s))
    np.testing.assert_allclose(other, s * first, rtol=1e-9)
    assert not torch.equal(other, s * first)


@pytest.mark.parametrize("s", POWERS)
def test_the_theorys_adam_scales_to_the_bit(s):
    hessian, minimum, start, noise = problem(1)
    how = {"decay": Decay(beta=0.9, gamma=0.95), "steps": 50}

    def run(s):
        grads = [lambda theta, xi=xi: hessian @ (theta - s * minimum) + s * xi for xi in noise[:51]]
        return adam(grads, s * start, eta=0.1 * s, weight_decay=0.25 / s, **how)

    np.testing.assert_array_equal(run(s), s * run(1.0))


@pytest.mark.parametrize("k", [2, 3])
def test_kadam_scales_without_eps_and_not_with_the_same_eps_in_every_stage(k):
    def make(p, **how):
        return KAdam([p], **how, k=k)

    for eps, equal in ((0.0, True), (1e-3, False)):
        assert torch.equal(path(make, (0.9, 0.99), s=8.0, eps=eps), 8 * path(make, (0.9, 0.99), s=1.0, eps=eps)) == equal


def test_a_curvature_scales_noise_and_eps_only():
    """On one coordinate: curvature, noise and eps times a power of two change no bit, and the curvature alone does."""
    noise = np.random.default_rng(3).standard_normal(100)

    def run(curvature, noise_factor, eps_factor):
        theta, found = torch.nn.Parameter(torch.tensor([2.0], dtype=torch.float64)), []
        optimizer = torch.optim.AdamW([theta], lr=0.1, betas=(0.8, 0.9), eps=0.01 * eps_factor, weight_decay=0.1)
        for xi in noise:
            theta.grad = curvature * theta.detach() + noise_factor * xi
            optimizer.step()
            found.append(theta.item())
        return found

    assert run(16.0, 16.0, 16.0) == run(1.0, 1.0, 1.0)
    assert run(16.0, 1.0, 16.0) != run(1.0, 1.0, 1.0) != run(16.0, 16.0, 1.0)


def random_pairs(rng, size):
    return 1 - 10 ** rng.uniform(-2.5, -0.1, (2, size))


def test_no_pair_arrives_before_its_bound_allows():
    """The way to the minimum is at most eta times the sum of the bounds; some pairs need nearly all of it."""
    used = []
    for beta, gamma in random_pairs(np.random.default_rng(4), 40).T:
        theta = adam(lambda x: x, [50.0], decay=Decay(beta=beta, gamma=gamma), eta=0.1, steps=300)[:, 0]
        reach = 0.1 * np.cumsum(stability.max_update_bound(np.arange(300), beta=beta, gamma=gamma))
        assert (np.abs(theta[1:]) >= (50 - reach) * (1 - 1e-12)).all()
        used.append((50 - np.abs(theta[1:])).max() / reach.max())
    equal = adam(lambda x: np.ones(1), [50.0], decay=Decay(beta=0.9, gamma=0.9), eta=0.1, steps=300)[:, 0]
    np.testing.assert_allclose(50 - equal[1:], 0.1 * np.arange(1, 301), rtol=1e-9)  # where the bound is 1, it is attained
    assert max(used) > 0.3


def silent(beta, gamma, *, eta, weight_decay, noise, eps, before=20, after=80, seed=5):
    """|u_n| of a run on L = theta^2/2 whose gradient is zero from iteration ``before`` on, and v_hat at the last one before."""
    rng, theta, gradients = np.random.default_rng(seed), 1.0, []
    for _ in range(before):
        gradients.append(theta + noise * rng.standard_normal())
        u = kadam_updates(gradients, [Decay(beta=beta, gamma=gamma)], eps=eps)[-1]
        theta -= eta * (u + weight_decay * theta)
    u = np.abs(kadam_updates([*gradients, *[0.0] * after], [Decay(beta=beta, gamma=gamma)], eps=eps))
    weights = (1 - beta) * beta ** np.arange(before)[::-1]
    return u, (weights * np.square(gradients)).sum() / (1 - beta**before)


SETTINGS = [(eta, weight_decay, noise) for eta in (1e-3, 1.0) for weight_decay in (0.0, 0.1) for noise in (0.0, 1.0)]


@pytest.mark.parametrize(("eta", "weight_decay", "noise"), SETTINGS)
def test_the_growth_in_silence_depends_on_the_decays_alone(eta, weight_decay, noise):
    for beta, gamma in random_pairs(np.random.default_rng(6), 15).T:
        u, _ = silent(beta, gamma, eta=eta, weight_decay=weight_decay, noise=noise, eps=0.0)
        expected = stability.silent_update(np.arange(19, 100), beta=beta, gamma=gamma)
        np.testing.assert_allclose(u[19:] / u[19], expected / expected[0], rtol=1e-9)
        assert (u <= stability.max_update_bound(np.arange(100), beta=beta, gamma=gamma) * (1 + 1e-12)).all()


@pytest.mark.parametrize(("eta", "weight_decay", "noise"), SETTINGS)
def test_eps_hides_growth_beyond_its_cap(eta, weight_decay, noise):
    """Never above the cap, and without a cap it would have been: outside of the region most pairs grow beyond it."""
    beyond = 0
    for beta, gamma in [(0.3, 0.95), (0.6, 0.99), (0.8, 0.95), (0.9, 0.9)]:
        for eps in (1e-8, 1e-3, 1.0):
            u, v_hat = silent(beta, gamma, eta=eta, weight_decay=weight_decay, noise=noise, eps=eps)
            cap = 1 + np.sqrt(v_hat) / eps
            assert (u[19:] <= cap * u[19] * (1 + 1e-12)).all()
            beyond += (gamma / np.sqrt(beta)) ** 80 > cap
    assert beyond >= 4


@pytest.mark.parametrize("gamma", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("steps", [10, 1000])
def test_a_short_silence_hides_a_strip_below_the_boundary(gamma, steps):
    edge = gamma**2 * 10.0 ** (-2 / steps)
    for beta, seen in ((edge * (1 - 1e-9), True), (edge * (1 + 1e-9), False)):
        assert (steps * stability.growth_rate(beta=beta, gamma=gamma) >= np.log(10)) == seen
    assert stability.growth_rate(beta=(edge + gamma**2) / 2, gamma=gamma) > 0
