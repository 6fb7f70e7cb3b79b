"""The experiments' network, probes and profiles."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from kadam.decay import Decay
from kadam.lab import probes, problems, profiles
from kadam.lab.bench import batched_against_loops
from kadam.lab.ensemble import Ensemble, keep_freed_memory
from kadam.lab.flat import FlatLoss
from kadam.lab.models import CharTransformer, initialise, next_token_loss


@pytest.fixture
def model():
    network = CharTransformer(vocab=11, context=6, width=8, layers=2, heads=2).double()
    initialise(network, 3)
    return network


@pytest.fixture
def windows():
    return torch.randint(11, (5, 7), generator=torch.Generator().manual_seed(0))


def test_the_transformer_sees_only_the_past(model, windows):
    tokens = windows[:, :-1]
    changed = tokens.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 11
    before, after = model(tokens), model(changed)
    assert before.shape == (5, 6, 11)
    torch.testing.assert_close(before[:, :4], after[:, :4], rtol=0, atol=0)
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_the_loss_is_the_mean_cross_entropy_of_the_next_character(model, windows):
    logits = model(windows[:, :-1]).log_softmax(-1)
    by_hand = -logits.gather(-1, windows[:, 1:, None]).mean()
    torch.testing.assert_close(next_token_loss(model, windows), by_hand)


def test_every_parameter_gets_a_gradient(model, windows):
    next_token_loss(model, windows).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_a_seed_fixes_every_weight_whatever_the_dtype(model):
    single = CharTransformer(vocab=11, context=6, width=8, layers=2, heads=2)
    initialise(single, 3)
    for p, q in zip(single.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(p, q.float(), rtol=0, atol=0)
    initialise(single, 4)
    assert not torch.equal(single.head.weight.double(), model.head.weight)


def test_width_must_be_a_multiple_of_heads():
    with pytest.raises(ValueError, match="width must be a multiple of heads, got width=8, heads=3"):
        CharTransformer(vocab=11, context=6, width=8, heads=3)


def test_max_update_finds_the_largest_magnitude_and_its_parameter():
    updates = {"a": torch.tensor([[1.0, -5.0], [0.5, 0.1]]), "b": torch.tensor([[3.0], [-2.0]])}
    size, where = probes.max_update(updates)
    assert size.tolist() == [5.0, 2.0]
    assert where.tolist() == [0, 1]


def test_norms_are_over_all_parameters_of_a_member():
    params = {"a": torch.tensor([[[3.0]], [[1.0]]]), "b": torch.tensor([[4.0], [0.0]])}
    assert probes.norms(params).tolist() == [5.0, 1.0]


def test_an_ensemble_needs_members_of_one_length(model):
    with pytest.raises(ValueError, match="decays must hold one member or more with equally many stages"):
        Ensemble(model, next_token_loss, [(Decay(),), (Decay(), Decay())], lr=1e-3)
    with pytest.raises(ValueError, match="decays must hold"):
        Ensemble(model, next_token_loss, [], lr=1e-3)


def test_weights_that_no_gradient_reaches_do_not_move(model, windows):
    windows = windows % 5  # characters 5..10 never occur
    ensemble = Ensemble(model, next_token_loss, [(Decay(),)] * 2, lr=0.1)
    for _ in range(3):
        ensemble.step(windows)
    embedding = ensemble.params["tokens.weight"]
    assert torch.equal(embedding[0, 5:], model.tokens.weight[5:])
    assert not torch.equal(embedding[0, :5], model.tokens.weight[:5])


def test_the_model_given_to_an_ensemble_is_left_alone(model, windows):
    before = [p.clone() for p in model.parameters()]
    Ensemble(model, next_token_loss, [(Decay(),)], lr=0.1).step(windows)
    assert all(torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))


def test_asking_to_keep_freed_memory_never_fails():
    assert keep_freed_memory() in (True, False)


def test_the_benchmark_reports_what_it_timed():
    result = batched_against_loops(steps=1, rounds=1, members=2)
    assert result.ratio == pytest.approx(result.loops_s / result.batched_s)
    assert "times faster" in result.sentence()


@dataclass(frozen=True)
class Config:
    points: int = 2


def test_a_profile_is_chosen_by_name_or_refused_with_the_list():
    known = {"smoke": Config(), "laptop": Config(3)}
    assert profiles.choose(known, "laptop") == Config(3)
    with pytest.raises(ValueError, match="profile must be one of smoke, laptop; got 'lap'"):
        profiles.choose(known, "lap")
    assert profiles.name_of(known, Config(3)) == "laptop"
    assert profiles.name_of(known, Config(4)) == "custom"


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, None])
def test_counts_are_whole_numbers_of_at_least_one(bad):
    with pytest.raises(ValueError, match="points must be a whole number >= 1, got"):
        profiles.check_counts(Config(bad), "points")


def test_a_flat_loss_has_the_models_value_gradient_and_hessian(model, windows):
    flat = FlatLoss(model, next_token_loss, windows)
    parameters = list(model.parameters())
    loss = next_token_loss(model, windows)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]).numpy()
    assert flat.value(flat.start) == pytest.approx(loss.item(), rel=1e-14)
    np.testing.assert_allclose(flat.grad(flat.start), expected, rtol=1e-12, atol=1e-16)
    direction = np.random.default_rng(0).standard_normal(len(flat.start))
    ahead, behind = (flat.grad(flat.start + step * direction) for step in (1e-7, -1e-7))
    np.testing.assert_allclose(flat.jvp(flat.start, direction), (ahead - behind) / 2e-7, rtol=1e-5, atol=1e-4)


def test_a_flat_loss_copies_its_model_computes_in_float64_and_takes_other_batches(model, windows):
    before = [p.clone() for p in model.parameters()]
    flat = FlatLoss(model.float(), next_token_loss, windows)
    other = flat.on(windows.flip(0)[:2])
    moved = flat.start + 0.1
    assert flat.grad(moved).dtype == np.float64
    assert flat.value(moved) != other.value(moved)
    np.testing.assert_array_equal(other.grad(moved), other.grad(moved))
    assert all(torch.equal(p.double(), q.float().double()) for p, q in zip(model.parameters(), before, strict=True))


def test_a_flat_loss_says_which_weight_a_coordinate_is(model, windows):
    flat = FlatLoss(model, next_token_loss, windows)
    assert flat.where(0) == "positions[0, 0]"
    assert flat.where(6 * 8 + 9) == "tokens.weight[1, 1]"
    assert flat.where(len(flat.start) - 1) == "head.weight[10, 7]"


def test_a_loss_that_is_not_finite_has_derivatives_that_are_not_numbers():
    model = torch.nn.Linear(1, 1, bias=False)
    for bad in (float("nan"), float("inf")):
        flat = FlatLoss(model, lambda m, batch: m(batch).sum() * 0 + batch.sum(), torch.full((1, 1), bad, dtype=torch.float64))
        assert np.isnan(flat.grad(flat.start)).all()
        assert np.isnan(flat.jvp(flat.start, flat.start)).all()


def test_a_loss_that_is_linear_in_the_weights_has_no_curvature():
    flat = FlatLoss(torch.nn.Linear(2, 1, bias=False), lambda m, batch: m(batch).sum(), torch.ones(3, 2, dtype=torch.float64))
    assert flat.grad(flat.start).tolist() == [3.0, 3.0]
    assert flat.jvp(flat.start, np.ones(2)).tolist() == [0.0, 0.0]


def test_a_parameter_that_the_loss_does_not_use_has_derivatives_of_zero():
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    flat = FlatLoss(model, lambda m, batch: m[0](batch).square().sum(), torch.ones(1, 1, dtype=torch.float64))
    assert flat.grad(flat.start)[1] == 0
    assert flat.jvp(flat.start, np.ones(2)).tolist() == [2.0, 0.0]


def test_a_vector_of_the_wrong_length_is_named(model, windows):
    flat = FlatLoss(model, next_token_loss, windows)
    with pytest.raises(ValueError, match=rf"a vector of the weights must have shape \({len(flat.start)},\), got \(3,\)"):
        flat.grad(np.zeros(3))
    with pytest.raises(ValueError, match="a vector of the weights must have shape"):
        flat.jvp(flat.start, np.zeros(3))


def test_the_perceptrons_derivatives_by_hand_are_torchs():
    problem = problems.perceptron(inputs=3, width=4, examples=6, seed=2)
    rng = np.random.default_rng(2)
    x = torch.from_numpy(rng.standard_normal((6, 3)))
    y = torch.sin(x.sum(1) / 2)

    def loss(theta):
        hidden = torch.tanh(x @ theta[:12].view(4, 3).T + theta[12:16])
        return (hidden @ theta[16:] - y).square().mean()

    theta, direction = torch.from_numpy(problem.start), torch.from_numpy(rng.standard_normal(20))
    _, product = torch.autograd.functional.hvp(loss, theta, direction)
    np.testing.assert_allclose(problem.grad(problem.start), torch.func.grad(loss)(theta).numpy(), rtol=1e-12)
    np.testing.assert_allclose(problem.jvp(problem.start, direction.numpy()), product.numpy(), rtol=1e-11)


@pytest.mark.parametrize("make", [problems.quadratic, problems.crowd])
def test_a_problem_with_a_known_minimum_has_no_gradient_there(make):
    problem, minimum = make()
    np.testing.assert_allclose(problem.grad(minimum), 0, atol=1e-13)
    step = problem.grad(minimum + 1e-3) - problem.grad(minimum)
    np.testing.assert_allclose(problem.jvp(minimum, np.full(len(minimum), 1e-3)), step, atol=1e-12)


def test_the_quadratics_first_gradients_keep_away_from_zero_and_the_crowds_do_not():
    away, near = (np.abs(make()[0].grad(make()[0].start)) for make in (problems.quadratic, problems.crowd))
    assert away.min() >= 1 - 1e-9
    assert near.min() < 1e-4


def test_distances_of_paths_are_shares_of_the_way():
    reference = np.array([[0.0, 0.0, 5.0], [3.0, 4.0, 5.0]])
    path = reference + np.array([[0.0, 0.0, 0.0], [0.3, 0.4, 0.0]])
    assert probes.distance(path, reference) == pytest.approx(0.1)
    assert probes.median_distance(path, reference) == pytest.approx(0.1)  # the third weight never moves
