"""Convex losses and the descents on them, against autograd and against the optimizer itself."""

import numpy as np
import pytest
import torch

from kadam.chapters.box.convex import (
    ConvexDescent,
    EuclideanDescent,
    Logistic,
    Quadratics,
    Regularised,
    random_quadratic,
    two_classes,
)
from kadam.decay import Decay, stages
from kadam.lab.data.images import load_images
from kadam.lab.train.schedule import falling, kept_steps
from kadam.optim import KAdam


def quadratics(members=3, dimension=5):
    return Quadratics.of([random_quadratic(dimension, 10.0, seed) for seed in range(members)])


def logistic():
    return Logistic(torch.from_numpy(np.random.default_rng(0).standard_normal((40, 5))))


CONVEX = {
    "quadratics": quadratics(),
    "logistic": logistic(),
    "regularised": Regularised(logistic(), torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64)),
}


@pytest.mark.parametrize("name", CONVEX)
def test_gradients_are_those_of_autograd_and_losses_are_convex(name):
    convex = CONVEX[name]
    assert convex.dimension == 5
    theta = torch.from_numpy(np.random.default_rng(1).standard_normal((3, 5))).requires_grad_()
    (expected,) = torch.autograd.grad(convex.losses(theta).sum(), theta)
    torch.testing.assert_close(convex.gradients(theta.detach()), expected, rtol=1e-12, atol=1e-14)
    other = torch.from_numpy(np.random.default_rng(2).standard_normal((3, 5)))
    middle = convex.losses((theta.detach() + other) / 2)
    assert (middle <= (convex.losses(theta.detach()) + convex.losses(other)) / 2).all()


@pytest.mark.parametrize("name", CONVEX)
def test_many_points_of_each_loss_are_taken_at_once(name):
    convex = CONVEX[name]
    theta = torch.from_numpy(np.random.default_rng(3).standard_normal((2, 3, 5)))
    for values in (convex.losses, convex.gradients):
        torch.testing.assert_close(values(theta), torch.stack([values(points) for points in theta]), rtol=1e-14, atol=1e-15)


def test_eigenvalues_run_from_one_over_the_spread_to_one():
    matrix, centre = random_quadratic(7, 20.0, 0)
    values = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(values, np.geomspace(1 / 20, 1, 7), rtol=1e-10)
    assert centre.shape == (7,)


def test_two_classes_are_told_apart_by_their_sign():
    images = load_images(embedded=True)
    found = two_classes(images, classes=(3, 5), examples=30, pixels=4)
    assert found.rows.shape == (30, 16)
    labels = images.train_labels[np.isin(images.train_labels, (3, 5))][:30]
    swapped = two_classes(images, classes=(5, 3), examples=30, pixels=4)
    torch.testing.assert_close(found.rows, -swapped.rows)
    assert set(labels) == {3, 5}


@pytest.mark.parametrize("k", [1, 2])
def test_a_descent_is_the_optimizer_with_a_schedule(k):
    convex, chosen = quadratics(), stages(Decay(beta=0.99, gamma=0.9), k, "inverse_exp")
    rates = np.stack([falling(rate, steps=60, bend=5.0, power=0.5) for rate in (0.1, 0.02, 0.05)])
    decay = np.array([1.0, 0.5, 3.0])
    descent = ConvexDescent(convex, chosen, rates=rates, weight_decay=decay)
    params = [torch.nn.Parameter(torch.zeros(5, dtype=torch.float64)) for _ in decay]
    groups = [{"params": [p], "weight_decay": float(d)} for p, d in zip(params, decay, strict=True)]
    optimizer = KAdam(groups, betas=[d.betas for d in chosen], eps=0.0, k=k)
    for n in range(60):
        gradients = convex.gradients(torch.stack([p.detach() for p in params]))
        for i, group in enumerate(optimizer.param_groups):
            params[i].grad, group["lr"] = gradients[i].clone(), float(rates[i, n])
        optimizer.step()
        descent.step(n)
        torch.testing.assert_close(descent.theta, torch.stack([p.detach() for p in params]), rtol=1e-10, atol=1e-12)
    for (m, v), i in zip(descent.moments, ("", "_2"), strict=False):
        state = [optimizer.state[p] for p in params]
        torch.testing.assert_close(m, torch.stack([s[f"exp_avg{i}"] for s in state]), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(v, torch.stack([s[f"exp_avg_sq{i}"] for s in state]), rtol=1e-10, atol=1e-12)


def test_the_euclidean_twin_moves_by_one_rate_in_l_2_and_turns_with_the_loss():
    matrix, centre = random_quadratic(5, 10.0, 0)
    basis, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((5, 5)))
    both = Quadratics.of([(matrix, centre), (basis @ matrix @ basis.T, basis @ centre)])
    rates = np.full((2, 20), 0.1)
    twin = EuclideanDescent(both, (Decay(beta=0.0, gamma=0.0),), rates=rates, weight_decay=np.zeros(2))
    signs = ConvexDescent(both, (Decay(beta=0.0, gamma=0.0),), rates=rates, weight_decay=np.zeros(2))
    for n in range(20):
        before = twin.theta
        twin.step(n)
        signs.step(n)
        torch.testing.assert_close((twin.theta - before).norm(dim=1), torch.full((2,), 0.1, dtype=torch.float64))
    turned = torch.from_numpy(basis) @ twin.theta[0]
    torch.testing.assert_close(twin.theta[1], turned, rtol=0, atol=1e-12)
    assert (torch.from_numpy(basis) @ signs.theta[0] - signs.theta[1]).abs().max() > 0.1  # SignGD does not turn with it


def test_rates_fall_by_their_power_and_kept_steps_include_both_ends():
    np.testing.assert_allclose(falling(0.4, steps=3, bend=1.0, power=1.0), [0.4, 0.2, 0.4 / 3])
    kept = kept_steps(1000, 20)
    assert (kept[0], kept[-1]) == (0, 999)
    assert len(kept) <= 20
    assert (np.diff(kept) > 0).all()
    np.testing.assert_array_equal(kept_steps(3, 50), [0, 1, 2])
