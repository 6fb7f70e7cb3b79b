"""The theory of AdamW's box: what the book's page on it says, on both sides of every boundary."""

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear

from kadam.chapters.box.convex import ConvexDescent, Quadratics, random_quadratic
from kadam.decay import Decay, stages
from kadam.lab.train.schedule import falling
from kadam.optim import KAdam
from kadam.theory import box
from kadam.theory.reference import kadam_updates
from kadam.theory.stability import max_update_bound, worst_case_gradients

PAIRS = [(0.999, 0.9), (0.95, 0.95), (0.95, 0.9), (0.99, 0.5), (0.9, 0.0), (0.0, 0.0)]


def signs(stage_count, gradient, rates, decay):
    """Weights of the optimizer with betas (0, 0) after every step, from zero."""
    theta = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    pairs = [(0.0, 0.0)] * stage_count
    optimizer = KAdam([theta], lr=1.0, betas=pairs, eps=0.0, weight_decay=decay, k=stage_count)
    for rate in rates:
        theta.grad = torch.from_numpy(gradient(theta.detach().numpy()))
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        yield theta.detach().numpy().copy()


@pytest.mark.parametrize("stage_count", [1, 2])
@pytest.mark.parametrize("decay", [0.5, 1.0, 3.0])
def test_signgd_with_decay_takes_frank_and_wolfes_steps(stage_count, decay):
    matrix, centre = random_quadratic(4, 10.0, 0)
    theta = np.zeros(4)
    rates = [1 / decay / (n + 2) for n in range(300)]
    for rate, point in zip(rates, signs(stage_count, lambda x: matrix @ (x - centre), rates, decay), strict=True):
        theta = box.frank_wolfe_step(theta, matrix @ (theta - centre), step=rate * decay, weight_decay=decay)
        np.testing.assert_allclose(point, theta, rtol=0, atol=1e-14 / decay)


def test_a_step_of_frank_and_wolfe_ends_at_the_corner_and_stays_where_the_gradient_is_zero():
    np.testing.assert_array_equal(box.frank_wolfe_step([0.1, 0.2], [3.0, -2.0], step=1, weight_decay=2.0), [-0.5, 0.5])
    np.testing.assert_array_equal(box.frank_wolfe_step([0.5], [0.0], step=0.5, weight_decay=1.0), [0.25])
    with pytest.raises(ValueError, match=r"step must lie in \[0, 1\], got 1.5"):
        box.frank_wolfe_step([0.1], [1.0], step=1.5, weight_decay=1.0)


def test_the_gap_is_zero_exactly_at_kkt_points():
    grad = [2.0, -1.0, 0.0]
    assert box.frank_wolfe_gap([-0.5, 0.5, 0.3], grad, weight_decay=2.0) == 0
    for moved in ([-0.4, 0.5, 0.3], [-0.5, 0.4, 0.3]):
        assert box.frank_wolfe_gap(moved, grad, weight_decay=2.0) > 0
    assert box.frank_wolfe_gap([-0.6, 0.5, 0.3], grad, weight_decay=2.0) < 0  # outside


@pytest.mark.parametrize("seed", range(5))
def test_the_gap_bounds_the_excess_of_a_convex_loss(seed):
    matrix, centre = random_quadratic(6, 10.0, seed)
    rng = np.random.default_rng(seed)

    def loss(x):
        return float((x - centre) @ matrix @ (x - centre)) / 2

    least = loss(box.constrained_minimum(loss, lambda x: matrix @ (x - centre), np.zeros(6), weight_decay=1.0))
    for point in rng.uniform(-1, 1, (50, 6)):
        gap = box.frank_wolfe_gap(point, matrix @ (point - centre), weight_decay=1.0)
        assert 0 <= loss(point) - least <= gap


def test_the_gap_takes_many_points_each_with_its_decay():
    theta, grad = np.random.default_rng(0).standard_normal((2, 5, 3))
    gaps = box.frank_wolfe_gap(theta, grad, weight_decay=np.arange(1.0, 6.0))
    single = [box.frank_wolfe_gap(x, g, weight_decay=decay) for x, g, decay in zip(theta, grad, range(1, 6), strict=True)]
    np.testing.assert_allclose(gaps, single, rtol=1e-14)


@pytest.mark.parametrize("decay", [0.0, -1.0])
def test_without_decay_there_is_no_box(decay):
    message = rf"weight_decay must be > 0 for there to be a box, got {decay}"
    with pytest.raises(ValueError, match=message):
        box.frank_wolfe_gap([0.0], [1.0], weight_decay=decay)
    with pytest.raises(ValueError, match=message):
        box.frank_wolfe_step([0.0], [1.0], step=0.1, weight_decay=decay)
    with pytest.raises(ValueError, match=message):
        box.radius(beta=0.9, gamma=0.9, weight_decay=decay)
    with pytest.raises(ValueError, match=message):
        box.constrained_minimum(lambda x: 0.0, lambda x: x, [0.0], weight_decay=decay)


@pytest.mark.parametrize(
    ("theta", "grad", "message"),
    [
        ([0.0, 1.0], [1.0], r"theta and grad must have the same shape \(..., d\), got \(2,\) and \(1,\)"),
        (0.0, 1.0, "must have the same shape"),
        ([np.nan], [1.0], "theta must be finite numbers; got nan"),
        ([0.0], [np.inf], "grad must be finite numbers; got inf"),
        (["a"], [1.0], "theta must be a real number or an array"),
    ],
)
def test_bad_points_are_refused(theta, grad, message):
    with pytest.raises(ValueError, match=message):
        box.frank_wolfe_gap(theta, grad, weight_decay=1.0)


@pytest.mark.parametrize(("beta", "gamma"), [*PAIRS, (0.93, 0.95), (0.5, 0.7)])
def test_the_radius_is_the_limit_of_the_max_update_bound(beta, gamma):
    limit = max_update_bound(10**7, beta=beta, gamma=gamma)
    assert box.radius(beta=beta, gamma=gamma, weight_decay=4.0) == pytest.approx(limit / 4, rel=1e-9)


@pytest.mark.parametrize(("beta", "gamma"), [*PAIRS, (0.93, 0.95), (0.5, 0.7)])
def test_the_bound_grows_with_n(beta, gamma):
    bound = max_update_bound(np.arange(3000), beta=beta, gamma=gamma)
    assert (np.diff(bound) >= -1e-12).all()
    assert bound[0] == pytest.approx(1, rel=1e-12)


def test_the_radius_is_that_of_the_box_exactly_at_equal_decays_and_infinite_from_the_boundary_on():
    grid = np.linspace(0, 0.99, 34)
    beta, gamma = np.meshgrid(grid, grid, indexing="ij")
    radius = box.radius(beta=beta, gamma=gamma, weight_decay=0.5)
    np.testing.assert_array_equal(radius == 2, beta == gamma)
    np.testing.assert_array_equal(np.isinf(radius), (beta <= gamma**2) & (gamma > 0))
    assert (radius >= 2).all()


@pytest.mark.parametrize(("beta", "gamma"), [(0.999, 0.9), (0.93, 0.95), (0.95, 0.95)])
def test_a_weight_can_get_as_close_to_the_radius_as_one_likes(beta, gamma):
    """With eta lambda = 1 the last step of the worst gradients carries a weight all the way."""
    shares = []
    for n in (10, 100, 1000):
        gradients = worst_case_gradients(n, beta=beta, gamma=gamma)
        theta, decay = 0.0, 2.0
        for u in kadam_updates(gradients, [Decay(beta=beta, gamma=gamma)]):
            theta -= (u + decay * theta) / decay
        shares.append(abs(theta) / box.radius(beta=beta, gamma=gamma, weight_decay=decay))
    assert max(shares) <= 1 + 1e-12
    assert shares == sorted(shares) or beta == gamma
    assert shares[-1] > 0.7


@pytest.mark.parametrize(("beta", "gamma"), [(0.999, 0.9), (0.93, 0.95), (0.95, 0.95)])
def test_no_gradients_carry_a_weight_beyond_the_radius(beta, gamma):
    rng = np.random.default_rng(3)
    gradients = rng.standard_normal((400, 200)) * np.exp(rng.normal(0, 3, (400, 200)))
    theta, limit = rng.uniform(-0.2, 0.2, 200), box.radius(beta=beta, gamma=gamma, weight_decay=5.0)
    for u in kadam_updates(gradients, [Decay(beta=beta, gamma=gamma)]):
        theta = (1 - 0.05 * 5) * theta - 0.05 * u
        assert (np.abs(theta) <= limit * (1 + 1e-12)).all()


@pytest.mark.parametrize("decay", [0.1, 0.5, 2.0])
def test_the_constrained_minimum_is_that_of_another_solver(decay):
    matrix, centre = random_quadratic(20, 10.0, 1)
    root = np.linalg.cholesky(matrix).T
    other = lsq_linear(root, root @ centre, bounds=(-1 / decay, 1 / decay), method="bvls", tol=1e-14).x
    found = box.constrained_minimum(
        lambda x: float((x - centre) @ matrix @ (x - centre)) / 2,
        lambda x: matrix @ (x - centre),
        np.full(20, 10.0),
        weight_decay=decay,
    )
    np.testing.assert_allclose(found, other, atol=1e-6)
    assert box.frank_wolfe_gap(found, matrix @ (found - centre), weight_decay=decay) < 1e-5


def test_a_loss_without_a_minimum_to_find_is_reported():
    with pytest.raises(RuntimeError, match="no constrained minimum found: the gradient is not finite"):
        box.constrained_minimum(lambda x: np.nan, lambda x: np.full_like(x, np.nan), [0.5], weight_decay=1.0)
    with pytest.raises(RuntimeError, match="the gap is still"):
        box.constrained_minimum(lambda x: float(x @ x), lambda x: np.ones_like(x), [0.5], weight_decay=1.0)  # not its gradient


def ends(chosen, power=1.0, rate=0.05, bend=40.0, steps=6000):
    """Where k-Adam ends on one quadratic from zero, and the bounded minimum; the box has radius 1."""
    matrix, centre = random_quadratic(8, 5.0, 4)
    minimum = box.constrained_minimum(
        lambda x: float((x - centre) @ matrix @ (x - centre)) / 2,
        lambda x: matrix @ (x - centre),
        np.zeros(8),
        weight_decay=1.0,
    )
    convex = Quadratics(torch.from_numpy(matrix)[None], torch.from_numpy(centre)[None])
    rates = falling(rate, steps=steps, bend=bend, power=power)[None]
    descent = ConvexDescent(convex, chosen, rates=rates, weight_decay=np.ones(1))
    for n in range(steps):
        descent.step(n)
    return descent.theta[0].numpy(), minimum


EQUAL = Decay(beta=0.95, gamma=0.95)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_kadam_reaches_the_bounded_minimum_with_any_number_of_stages(k):
    found, minimum = ends(stages(EQUAL, k, "inverse_exp"))
    assert 0 < (np.abs(minimum) > 1 - 1e-9).sum() < 8  # some weights on the boundary, some inside
    np.testing.assert_allclose(found, minimum, atol=5e-3)


def test_with_rates_of_finite_sum_it_does_not():
    found, minimum = ends((EQUAL,), power=2.0, bend=1.6)
    assert np.abs(found).max() < 0.2
    assert np.abs(found - minimum).max() > 0.8
