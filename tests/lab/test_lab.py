"""The experiments' network, probes and profiles."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from kadam.decay import Decay
from kadam.flat import FlatLoss
from kadam.lab.records import profiles
from kadam.lab.train import probes
from kadam.lab.train.ensemble import Ensemble, keep_freed_memory
from kadam.lab.train.networks import CharTransformer, ConvNet, classification_loss, initialise, next_token_loss


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


RATES = [1e-3, 0.02, 0.1]
DECAYS = [(Decay(beta=0.99, gamma=gamma),) for gamma in (0.0, 0.5, 0.9)]


@pytest.mark.parametrize("weight_decay", [None, [0.0, 0.5, 2.0]])
def test_an_ensembles_members_have_their_own_learning_rates(model, windows, weight_decay):
    together = Ensemble(model, next_token_loss, DECAYS, lr=RATES, weight_decay=weight_decay)
    apart = [Ensemble(model, next_token_loss, DECAYS, lr=rate, weight_decay=weight_decay) for rate in RATES]
    for _ in range(3):
        for ensemble in (together, *apart):
            ensemble.step(windows)
    for i, alone in enumerate(apart):
        for name, p in together.params.items():
            torch.testing.assert_close(p[i], alone.params[name][i], rtol=1e-12, atol=1e-15)
        assert not torch.allclose(together.params["head.weight"][i], together.params["head.weight"][i - 1])


@pytest.mark.parametrize("rates", [0.02, RATES], ids=["one rate", "a rate each"])
def test_the_pace_multiplies_the_learning_rate_in_step_and_decay(model, windows, rates):
    decay = [0.5, 1.0, 2.0]
    paced = Ensemble(model, next_token_loss, DECAYS, lr=rates, weight_decay=decay)
    halved = [0.5 * rate for rate in rates] if isinstance(rates, list) else 0.5 * rates
    slow = Ensemble(model, next_token_loss, DECAYS, lr=halved, weight_decay=decay)
    for pace in (0.5, 0.5):
        paced.pace = pace
        paced.step(windows)
        slow.step(windows)
    for name, p in paced.params.items():
        torch.testing.assert_close(p, slow.params[name], rtol=1e-13, atol=1e-16)
    paced.pace = 0.0
    before = {name: p.clone() for name, p in paced.params.items()}
    paced.step(windows)
    for name, p in paced.params.items():
        torch.testing.assert_close(p, before[name], rtol=0, atol=0)


def test_one_learning_rate_a_member_keeps_the_weights_dtype(model, windows):
    ensemble = Ensemble(model.float(), next_token_loss, DECAYS, lr=RATES, weight_decay=[0.0, 0.5, 2.0])
    ensemble.step(windows)
    assert {x.dtype for x in (*ensemble.params.values(), *ensemble.updates.values())} == {torch.float32}


@pytest.mark.parametrize("rates", [[0.1], (0.1,) * 4, []])
def test_a_wrong_number_of_learning_rates_is_refused(model, rates):
    with pytest.raises(ValueError, match=f"lr must hold one number a member, 3 of them, got {len(rates)}"):
        Ensemble(model, next_token_loss, DECAYS, lr=rates)


def test_a_batch_may_be_images_with_their_labels():
    model = ConvNet(channels=1, classes=4, width=2).double()
    initialise(model, 3)
    rng = np.random.default_rng(0)
    batch = torch.from_numpy(rng.standard_normal((5, 1, 8, 8))), torch.from_numpy(rng.integers(0, 4, 5))
    ensemble = Ensemble(model, classification_loss, DECAYS, lr=0.02)
    losses = ensemble.step(batch)
    loss = classification_loss(model, batch)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    torch.testing.assert_close(losses, loss.detach().expand(3), rtol=1e-12, atol=0)
    for (name, _), g in zip(model.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(ensemble.gradients[name], g.flatten().expand(3, -1), rtol=1e-10, atol=1e-13)
    for _ in range(20):
        last = ensemble.step(batch)
    assert (last < losses).all()


def ensemble_of_one(model, lr=0.02):
    return Ensemble(model, next_token_loss, DECAYS[2:], lr=lr, weight_decay=[0.5])


@pytest.mark.parametrize("lr", [0.02, [0.02]])
@pytest.mark.parametrize("before", [0, 3])
def test_a_spread_ensemble_trains_on_as_the_one_it_was(model, windows, before, lr):
    alone, spread = ensemble_of_one(model, lr), ensemble_of_one(model, lr)
    for _ in range(before):
        alone.step(windows)
        spread.step(windows)
    spread.spread(3)
    for _ in range(4):
        loss, losses = alone.step(windows), spread.step(windows)
        torch.testing.assert_close(losses, loss.expand(3), rtol=1e-12, atol=0)
    assert spread.steps == alone.steps == before + 4
    for name, p in alone.params.items():
        pairs = [(spread.params[name], p), (spread.updates[name], alone.updates[name])]
        pairs += zip(spread.corrected_moments(name), alone.corrected_moments(name), strict=True)
        for ours, theirs in pairs:
            torch.testing.assert_close(ours, theirs.expand(3, *theirs.shape[1:]), rtol=1e-9, atol=1e-12)
            assert not torch.equal(ours, torch.zeros_like(ours))


def test_to_spread_an_ensemble_changes_nothing_yet(model, windows):
    ensemble = ensemble_of_one(model)
    for _ in range(3):
        ensemble.step(windows)
    params, updates, gradients = dict(ensemble.params), dict(ensemble.updates), dict(ensemble.gradients)
    moments = {name: ensemble.corrected_moments(name) for name in params}
    ensemble.spread(4)
    for name in params:
        pairs = [(ensemble.params, params), (ensemble.updates, updates), (ensemble.gradients, gradients)]
        pairs = [(ours[name], theirs[name]) for ours, theirs in pairs]
        for ours, theirs in (*pairs, *zip(ensemble.corrected_moments(name), moments[name], strict=True)):
            assert torch.equal(ours, theirs.expand(4, *theirs.shape[1:]))


def test_spread_members_go_their_own_ways(model, windows):
    ensemble = ensemble_of_one(model)
    ensemble.step(windows)
    ensemble.spread(3)
    before = ensemble.params["head.weight"][0].clone()
    ensemble.params["head.weight"][1] *= 2
    assert torch.equal(ensemble.params["head.weight"][0], before)
    losses = ensemble.step(windows)
    assert losses[0] == pytest.approx(float(losses[2]), rel=1e-12)
    assert abs(losses[0] - losses[1]) > 1e-6


def test_only_an_ensemble_of_one_can_be_spread(model):
    with pytest.raises(ValueError, match="one member can be spread, to one or more; got members = "):
        Ensemble(model, next_token_loss, DECAYS[:2], lr=0.1).spread(3)


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


@dataclass(frozen=True)
class Config(profiles.Checked):
    points: int = 2
    sizes: tuple[int, ...] = (3,)
    rates: tuple[float, ...] = (0.1,)
    text: str = "real"
    seed: int = 0


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
        Config(bad)


@pytest.mark.parametrize("bad", [(), (0,), (3, 1.5)])
def test_several_counts_are_one_or_more_whole_numbers_of_at_least_one(bad):
    with pytest.raises(ValueError, match="sizes must hold one whole number >= 1 or more, got"):
        Config(sizes=bad)


@pytest.mark.parametrize(("change", "message"), [({"rates": (0.0,)}, "rates must be finite"), ({"text": "x"}, "text must be")])
def test_rates_and_data_are_checked_by_the_name_of_their_field(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**change)


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


def test_an_ensemble_of_several_models_is_as_many_ensembles(model, windows):
    other = CharTransformer(vocab=11, context=6, width=8, heads=2).double()
    initialise(other, 7)
    models, batches = (model, other), (windows, windows.flip(0).roll(1, 1))
    together = Ensemble(models, next_token_loss, DECAYS * 2, lr=0.02)
    apart = [Ensemble(one, next_token_loss, DECAYS, lr=0.02) for one in models]
    for _ in range(3):
        losses = together.step(*batches)
        alone = torch.cat([ensemble.step(batch) for ensemble, batch in zip(apart, batches, strict=True)])
        torch.testing.assert_close(losses, alone, rtol=1e-12, atol=0)
    for name, p in together.params.items():
        torch.testing.assert_close(p, torch.cat([one.params[name] for one in apart]), rtol=1e-10, atol=1e-13)


def test_several_models_have_equally_many_members_and_a_batch_each(model, windows):
    with pytest.raises(ValueError, match="models must be one or more with equally many of the 3 members, got 2"):
        Ensemble([model, model], next_token_loss, DECAYS, lr=0.02)
    with pytest.raises(ValueError, match="models must be one or more with equally many of the 3 members, got 0"):
        Ensemble([], next_token_loss, DECAYS, lr=0.02)
    with pytest.raises(ValueError, match="batches must be as many as models, 1, got 2"):
        Ensemble(model, next_token_loss, DECAYS, lr=0.02).step(windows, windows)


def test_the_batches_of_several_models_may_be_tuples():
    models = [ConvNet(channels=1, classes=4, width=2).double() for _ in range(2)]
    rng, batches = np.random.default_rng(0), []
    for seed, one in enumerate(models):
        initialise(one, seed)
        batches.append((torch.from_numpy(rng.standard_normal((5, 1, 8, 8))), torch.from_numpy(rng.integers(0, 4, 5))))
    losses = Ensemble(models, classification_loss, DECAYS[:2], lr=0.02).step(*batches)
    expected = torch.stack([classification_loss(one, batch) for one, batch in zip(models, batches, strict=True)])
    torch.testing.assert_close(losses, expected.detach(), rtol=1e-12, atol=0)
