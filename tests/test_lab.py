"""The experiments' network, probes and profiles."""

from dataclasses import dataclass

import pytest
import torch

from kadam.decay import Decay
from kadam.lab import probes, profiles
from kadam.lab.bench import batched_against_loops
from kadam.lab.ensemble import Ensemble, keep_freed_memory
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
