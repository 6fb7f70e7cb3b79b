"""Networks on one batch: Hessian diagonals exact and estimated, descents side by side, and the levels that they reach."""

import numpy as np
import pytest
import torch
from torch.autograd.functional import hessian as torch_hessian
from torch.func import functional_call

from kadam.chapters.local_geometry import hessian, landscapes
from kadam.chapters.local_geometry.hessian import estimated_diagonal, exact_diagonal
from kadam.chapters.local_geometry.landscapes import Descent, landscape
from kadam.chapters.local_geometry.levels import Levels
from kadam.chapters.local_geometry.methods import FAMILY, METHODS, NETWORKS
from kadam.decay import Decay, stages
from kadam.lab.records.profiles import SMOKE
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.tasks import Inputs
from kadam.optim import KAdam


@pytest.fixture(scope="module")
def inputs():
    return Inputs.of(SMOKE)


def problem(inputs, network):
    return landscape(inputs, network, examples=3, dtype=torch.float64)


def stacked(one, seeds):
    starts = [one.start(seed) for seed in seeds]
    return {path: torch.stack([start[path] for start in starts]) for path in starts[0]}


def quadratic(matrices):
    """Losses x'Ax/2 of members with matrices (E, n, n), as a function of name -> (E, n)."""
    return lambda weights: torch.einsum("ei,eij,ej->e", weights["x"], matrices, weights["x"]) / 2


class Objective(torch.nn.Module):
    """A network's loss on its batch, whose weights can be swapped."""

    def __init__(self, one):
        super().__init__()
        self.model, self.one = one.model, one

    def forward(self):
        return self.one.loss(self.model, self.one.batch)


def symmetric(members, size, seed=0):
    matrices = torch.from_numpy(np.random.default_rng(seed).standard_normal((members, size, size)))
    return (matrices + matrices.mT) / 2


@pytest.mark.parametrize("network", NETWORKS)
def test_the_exact_diagonal_is_that_of_torchs_hessian(inputs, network):
    one = problem(inputs, network)
    weights = stacked(one, (0, 5))
    path = list(one.weights.values())[-1]
    found = exact_diagonal(one.losses, weights, path)
    for member in range(2):
        others = {name: weight[member] for name, weight in weights.items()}

        def loss(flat, others=others):
            changed = {**others, path: flat.reshape(others[path].shape)}
            return functional_call(Objective(one), {f"model.{name}": w for name, w in changed.items()}, ())

        full = torch_hessian(loss, others[path].flatten())
        torch.testing.assert_close(found[member], full.diagonal(), rtol=1e-9, atol=1e-12)


def test_a_chunk_changes_nothing_but_rounding(inputs, monkeypatch):
    one = problem(inputs, "perceptron")
    weights, paths = stacked(one, (0, 1, 2)), list(one.weights.values())
    whole = [exact_diagonal(one.losses, weights, path) for path in paths]
    monkeypatch.setattr(hessian, "CHUNK", 5)
    for path, expected in zip(paths, whole, strict=True):
        torch.testing.assert_close(exact_diagonal(one.losses, weights, path), expected, rtol=1e-10, atol=1e-13)


def test_the_estimate_is_exact_for_a_diagonal_hessian():
    diagonal = torch.tensor([[1.0, -2.0, 5.0], [0.5, 0.0, 3.0]], dtype=torch.float64)
    weights = {"x": torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))}
    rng = np.random.default_rng(0)
    found = estimated_diagonal(quadratic(torch.diag_embed(diagonal)), weights, "x", probes=1, rng=rng)
    torch.testing.assert_close(found, diagonal)


def test_the_estimate_is_unbiased_and_its_error_shrinks_like_one_over_the_root_of_the_probes():
    matrices, weights = symmetric(1, 8), {"x": torch.ones(1, 8, dtype=torch.float64)}
    exact = exact_diagonal(quadratic(matrices), weights, "x")
    torch.testing.assert_close(exact, matrices.diagonal(dim1=1, dim2=2))
    off = (matrices.square().sum(2) - exact.square())[0].numpy()
    for probes in (4, 64):
        rngs = (np.random.default_rng([probes, i]) for i in range(300))
        found = [estimated_diagonal(quadratic(matrices), weights, "x", probes=probes, rng=rng) for rng in rngs]
        errors = torch.stack(found)[:, 0].numpy() - exact[0].numpy()
        np.testing.assert_allclose(errors.var(0), off / probes, rtol=0.3)
        assert np.abs(errors.mean(0) / np.sqrt(off / probes / 300)).max() < 4


def test_the_signs_are_those_of_the_generator(monkeypatch):
    matrices, weights = symmetric(2, 5), {"x": torch.ones(2, 5, dtype=torch.float64)}
    found = []
    for seed, chunk in ((0, 64), (0, 64), (0, 10), (1, 64)):
        monkeypatch.setattr(hessian, "CHUNK", chunk)
        rng = np.random.default_rng(seed)
        found.append(estimated_diagonal(quadratic(matrices), weights, "x", probes=10, rng=rng))
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])
    assert not torch.allclose(found[0], found[3])


def test_a_loss_that_is_linear_in_a_tensor_has_no_curvature():
    weights = {"x": torch.ones(2, 3, dtype=torch.float64)}
    assert not exact_diagonal(lambda w: w["x"].sum(1), weights, "x").any()


def test_no_probes_are_refused():
    with pytest.raises(ValueError, match="probes must be a whole number >= 1, got 0"):
        estimated_diagonal(quadratic(symmetric(1, 2)), {"x": torch.ones(1, 2)}, "x", probes=0, rng=np.random.default_rng(0))


@pytest.mark.parametrize("method", METHODS)
def test_a_member_is_what_the_optimizer_of_that_name_makes(inputs, method):
    one = problem(inputs, "perceptron")
    descent = Descent(one, method, [one.start(0), one.start(3)], decay=Decay(), lr=[1e-2, 3e-3])
    for _ in range(6):
        descent.step(one.batch)
    one.start(3)
    params = list(one.model.parameters())
    if method == "SGD":
        optimizer = torch.optim.SGD(params, lr=3e-3, momentum=0.9)
    else:
        betas = [decay.betas for decay in FAMILY[method](Decay())]
        optimizer = KAdam(params, lr=3e-3, betas=betas[0] if len(betas) == 1 else betas, eps=1e-30, k=len(betas))
    for _ in range(6):
        optimizer.zero_grad()
        one.loss(one.model, one.batch).backward()
        optimizer.step()
    for name, param in one.model.named_parameters():
        torch.testing.assert_close(descent.params[name][1], param.detach(), rtol=1e-7, atol=1e-9)


def test_the_family_is_adams_pair_by_its_strategies():
    decay = Decay(beta=0.99, gamma=0.8)
    assert FAMILY["4-Adam"](decay) == stages(decay, 4, "inverse_exp")
    assert FAMILY["RMSprop"](decay) == (Decay(beta=0.99, gamma=0.0),)
    assert FAMILY["SignGD"](decay) == (Decay(beta=0.0, gamma=0.0),)


def test_levels_keep_the_weights_of_the_first_step_at_or_below():
    levels = Levels((0.5, 0.1), {"w": torch.zeros(2, 3)})
    for n, losses in enumerate(([4.0, 8.0], [3.0, 0.4], [2.0, 0.4], [1.0, np.nan])):
        levels.note(n, np.array(losses), {"w": torch.full((2, 3), float(n))})
    np.testing.assert_array_equal(levels.step, [[2, np.nan], [1, 1]])
    np.testing.assert_array_equal(levels.reached, [[0.5, np.nan], [0.05, 0.05]])
    members, weights = levels.at(0)
    assert (members.tolist(), weights["w"][:, 0].tolist()) == ([0, 1], [2.0, 1.0])
    assert levels.at(1)[0].tolist() == [1]
    assert not levels.done


def test_a_few_members_at_a_time_are_all_members(inputs, monkeypatch):
    one = problem(inputs, "language")
    weights = stacked(one, range(4))
    smallest = min(weights[path][0].numel() for path in one.weights.values())
    together = one.diagonals(weights, probes=smallest)
    monkeypatch.setattr(landscapes, "MEMBERS", 3)
    for few, all_at_once in zip(one.diagonals(weights, probes=smallest), together, strict=True):
        np.testing.assert_allclose(few, all_at_once, rtol=1e-9, atol=1e-13)


def test_layers_no_larger_than_the_probes_are_exact(inputs):
    one = problem(inputs, "language")
    weights = stacked(one, (0,))
    sizes = [weights[path][0].numel() for path in one.weights.values()]
    mixed, exact = (one.diagonals(weights, probes=probes) for probes in (min(sizes), max(sizes)))
    for size, a, b in zip(sizes, mixed, exact, strict=True):
        assert np.allclose(a, b, rtol=1e-9, atol=1e-14) == (size <= min(sizes))
    assert one.larger_than(max(sizes)) == []


def test_a_start_is_a_multiple_of_the_usual_one(inputs):
    one = problem(inputs, "images")
    usual, large = one.start(4), one.start(4, 3.0)
    assert all(torch.equal(3.0 * usual[name], large[name]) for name in usual)
    assert list(one.weights) == ["convolution 1", "convolution 2", "convolution 3", "head"]


def test_members_of_an_ensemble_can_be_followed(inputs):
    one = problem(inputs, "perceptron")
    one.start(0)
    ensemble = Ensemble(one.model, one.loss, [(Decay(),), (Decay(gamma=0.5),)], lr=0.05)
    levels = Levels((0.9,), ensemble.params)
    for n in range(30):
        levels.follow(ensemble, n, one.batch)
    assert levels.done
    assert ensemble.steps <= 30
    losses = one.losses(levels.at(0)[1]).numpy()
    np.testing.assert_allclose(losses / levels.first, levels.reached[:, 0], rtol=1e-9)


def test_an_unknown_network_or_method_is_named(inputs):
    with pytest.raises(ValueError, match="network must be one of perceptron, language, images; got 'mlp'"):
        landscape(inputs, "mlp", examples=2, dtype=torch.float64)
    one = problem(inputs, "perceptron")
    with pytest.raises(ValueError, match="method must be one of Adam, 2-Adam, 4-Adam, RMSprop, SignGD, SGD; got 'Lion'"):
        Descent(one, "Lion", [one.start(0)], decay=Decay(), lr=0.1)


def test_a_layer_without_curvature_has_no_r_med():
    found = landscapes.r_med([np.array([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]]), np.array([[8.0], [1.0]])])
    np.testing.assert_allclose(found, [[2, 1, 8 / 3], [np.nan, 1, np.inf]])
