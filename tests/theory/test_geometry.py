"""R_med and the two-layer linear network: the page's propositions, each by the test it names; refusals."""

import numpy as np
import pytest
import torch

from kadam.chapters.local_geometry.geometry import run
from kadam.chapters.local_geometry.geometry.claims import BOTH, at_end
from kadam.chapters.local_geometry.geometry.config import Config
from kadam.theory import geometry as theory


@pytest.mark.parametrize(
    ("diagonal", "value"),
    [
        ([1.0, 2.0, 4.0], 2.0),
        ([-4.0, 2.0, 1.0], 2.0),
        ([3.0], 1.0),
        ([[1, 3], [2, 10]], 4.0),
        ([0.0, 0.0, 5.0], np.inf),
        ([0.0, 1.0, 5.0], 5.0),
        ([1e-320, 2e-320, 4e-320], 2.0),
        ([1e308, 1e308, 1.7e308], 1.7),
    ],
)
def test_r_med_is_the_largest_size_over_the_median_size(diagonal, value):
    assert theory.r_med(diagonal) == pytest.approx(value, rel=1e-3)


def test_r_med_does_not_depend_on_scale_shape_order_or_sign():
    diagonal = np.random.default_rng(0).standard_normal((6, 7))
    expected = np.abs(diagonal).max() / np.median(np.abs(diagonal))
    for same in (diagonal, -3e-9 * diagonal, diagonal.T, diagonal.ravel()[::-1], diagonal.astype(object)):
        assert theory.r_med(same) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("diagonal", "message"),
    [
        ([], r"hessian_diagonal must hold one entry or more, got shape \(0,\)"),
        ([1.0, np.nan], "hessian_diagonal must be finite numbers; got nan"),
        ([1.0, -np.inf], "hessian_diagonal must be finite numbers; got -inf"),
        ([0.0, 0, -0.0], "hessian_diagonal must hold an entry other than 0, got 3 zeros"),
        ([1j, 1.0], "hessian_diagonal must be a real number or an array of real numbers"),
        (["1"], "hessian_diagonal must be a real number or an array of real numbers"),
        (None, "hessian_diagonal must be a real number or an array of real numbers"),
    ],
)
def test_a_diagonal_that_has_no_r_med_is_refused(diagonal, message):
    with pytest.raises(ValueError, match=message):
        theory.r_med(diagonal)


def draw(h, d, scale=1.0, seed=0):
    """W1 (h, d), w2 (h,), and a target of length 1.5."""
    rng = np.random.default_rng(seed)
    target = rng.standard_normal(d)
    return scale * rng.standard_normal((h, d)), scale * rng.standard_normal(h), 1.5 * target / np.linalg.norm(target)


@pytest.mark.parametrize("whitened", [True, False])
def test_the_closed_forms_are_the_diagonals_of_torchs_hessian(whitened):
    w1, w2, target = draw(3, 4)
    root = np.eye(4) if whitened else np.random.default_rng(1).standard_normal((4, 4))
    S = root @ root.T
    covariance, a = torch.from_numpy(S), torch.from_numpy(target)

    def loss(flat):
        error = flat[12:] @ flat[:12].reshape(3, 4) - a
        return error @ covariance @ error / 2

    hessian = torch.autograd.functional.hessian(loss, torch.from_numpy(np.append(w1.ravel(), w2))).diagonal().numpy()
    found = theory.two_layer_diagonals(w1, w2, covariance=None if whitened else S)
    np.testing.assert_allclose(np.append(found.layer1.ravel(), found.layer2), hessian, rtol=1e-12)


def descend(w1, w2, target, *, rate, gamma=0.0, steps):
    """Gradient descent with momentum."""
    m1, m2 = np.zeros_like(w1), np.zeros_like(w2)
    for _ in range(steps):
        error = w2 @ w1 - target
        m1, m2 = gamma * m1 + np.outer(w2, error), gamma * m2 + w1 @ error
        w1, w2 = w1 - rate * m1, w2 - rate * m2
    return w1, w2


@pytest.mark.parametrize("scale", [0.01, 0.3, 2.0])
def test_without_a_rest_gradient_flow_ends_where_the_law_says(scale):
    w1, w2, target = draw(6, 4, scale)
    direction = target / np.linalg.norm(target)
    w1 = np.outer(w1 @ direction, direction)
    law = theory.gradient_descent_end(w1, w2, target=target)
    end = theory.two_layer_diagonals(*descend(w1, w2, target, rate=1e-3, steps=20000))
    np.testing.assert_allclose(end.layer1, law.layer1, rtol=0.01, atol=1e-4)
    np.testing.assert_allclose(end.layer2, law.layer2, rtol=0.01, atol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.9])
def test_momentum_keeps_the_proportions_of_the_growing_part(gamma):
    w1, w2, target = draw(6, 4, 0.05)
    direction = target / np.linalg.norm(target)
    w1 = np.outer(w1 @ direction, direction)
    before = theory.growing_part(w1, w2, target=target)
    for steps in (5, 50, 500):
        ratio = theory.growing_part(*descend(w1, w2, target, rate=0.02, gamma=gamma, steps=steps), target=target) / before
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-10)


def test_the_initial_weights_say_where_gradient_descent_ends():
    w1, w2, target = draw(80, 80, 80**-1.5)
    end = theory.two_layer_diagonals(*descend(w1, w2, target, rate=3e-3, gamma=0.9, steps=600))
    law = theory.gradient_descent_end(w1, w2, target=target)
    for measured, predicted in zip(end, law, strict=True):
        assert theory.r_med(measured) == pytest.approx(theory.r_med(predicted), rel=0.02)
    assert theory.r_med(end.layer1) == pytest.approx(theory.small_start_r_med(w1, w2, target=target), rel=0.01)
    assert theory.r_med(end.layer1) > 5


def test_the_law_of_a_vanishing_start_is_the_limit_of_the_law_from_the_start():
    w1, w2, target = draw(30, 20)
    limit = theory.small_start_r_med(w1, w2, target=target)
    gaps = []
    for scale in (1e-1, 1e-2, 1e-3):
        layers = theory.gradient_descent_end(scale * w1, scale * w2, target=target)
        gaps.append(max(abs(theory.r_med(layer) / limit - 1) for layer in layers))
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 5e-3
    assert theory.small_start_r_med(7 * w1, 7 * w2, target=3 * target) == pytest.approx(limit)


@pytest.mark.parametrize("rows", [20, 100, 1000])
def test_the_typical_value_is_the_median_over_random_starts(rows):
    squares = np.random.default_rng(rows).standard_normal((3000, rows)) ** 2
    drawn = np.median(squares.max(1) / np.median(squares, 1))
    assert float(theory.typical_r_med(rows)) == pytest.approx(drawn, rel=0.05)


def test_the_typical_value_grows_like_the_logarithm():
    values = theory.typical_r_med([1e4, 1e8, 1e12])
    growth = np.diff(values) / np.log(1e4)
    np.testing.assert_allclose(growth, 2 / 0.455, rtol=0.1)


@pytest.mark.parametrize("d", [30, 150, 400])
def test_the_largest_initial_weight_is_that_of_its_layers_number_of_entries(d):
    """sqrt(4 ln d) for the d^2 entries of W, sqrt(2 ln d) for the d of w: neither is an estimate for the other."""
    for entries, factor in ((d, 2.0), (d * d, 4.0)):
        sizes = np.abs(np.random.default_rng(d).standard_normal((100, entries))).max(1)
        found = np.median(sizes) / np.sqrt(np.log(d))
        assert abs(found / np.sqrt(factor) - 1) < 0.13
        assert abs(found / np.sqrt(6 - factor) - 1) > 0.25


def test_equal_steps_forget_the_start():
    rng = np.random.default_rng(2)
    start = rng.uniform(-0.1, 0.1, 500)
    ends = start + 0.7 * rng.choice([-1, 1], 500)
    bound = theory.equal_steps_bound(float(np.abs(start).max()), 0.7)
    assert 1.3 < theory.r_med(ends**2) <= bound
    assert theory.equal_steps_bound(0.0, 0.7) == 1


@pytest.fixture(scope="module")
def small():
    """The experiment, in one dimension."""
    return run.run(Config(dimensions=(30,), steps=300, resolution=80, seeds=3)).sel(dimension=30)


def test_adam_from_a_small_start_makes_layers_even(small):
    ends = at_end(small).sel(layer=BOTH)
    for name in ("Adam", "2-Adam", "4-Adam", "RMSprop", "SignGD"):
        assert float(ends.sel(optimizer=name).max()) < 1.6
    assert float(ends.sel(optimizer="SGD").min()) > 2.5


def test_pooling_reverses_the_order(small):
    d = 12
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (d, d + 1))
    layers = theory.two_layer_diagonals(signs[:, :d], signs[:, d])
    assert [theory.r_med(layer) for layer in layers] == [1, 1]
    assert theory.r_med(np.concatenate([layer.ravel() for layer in layers])) == d
    half = small.r_med.sel(start="d^-3", level=0.5, layer="pooled").median("seed")
    assert float(half.sel(optimizer="Adam")) > float(half.sel(optimizer="SGD"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.two_layer_diagonals([1.0], [1.0]), r"w1 must have shape \(h, d\) and w2 shape \(h,\), got \(1,\) and"),
        (lambda: theory.two_layer_diagonals([[1.0, 2.0]], [1.0, 2.0]), r"got \(1, 2\) and \(2,\)"),
        (lambda: theory.two_layer_diagonals([[1.0]], [np.nan]), "w2 must be finite numbers; got nan"),
        (lambda: theory.two_layer_diagonals([[1.0, 2.0]], [1.0], covariance=[[1, 2], [3, 1]]), "covariance must be symmetric"),
        (lambda: theory.growing_part([[1.0, 2.0]], [1.0], target=[0.0, 0.0]), r"target must have shape \(2,\) and an entry"),
        (lambda: theory.growing_part([[1.0, 2.0]], [1.0], target=[1.0]), r"target must have shape \(2,\)"),
        (lambda: theory.gradient_descent_end([[1.0]], [-1.0], target=[2.0]), "is 0 in every row"),
        (lambda: theory.typical_r_med([3, 0.5]), "rows must be at least 1, got 0.5"),
        (lambda: theory.equal_steps_bound(1.0, 1.0), r"start must lie in \[0, moved\), got start = 1.0 and moved = 1.0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
