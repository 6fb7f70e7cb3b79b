"""The update as a function: with decay rates that differ between members, and inside an ensemble."""

import copy

import pytest
import torch
from problems import DEVICES, gradients, random
from torch import nn

from kadam import Decay, KAdam
from kadam.lab.train.ensemble import Ensemble
from kadam.optim.update import StageAtStep, kadam_step_, kadam_update

# Members and stages differ in both decay rates, but so that no member is chaotic: rounding stays rounding.
PAIRS = [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99), (0.99, 0.995)]
MEMBERS = {k: [tuple(Decay.from_betas(PAIRS[(e + i) % 4]) for i in range(k)) for e in range(4)] for k in (1, 2, 3)}
ROUNDING = {"rtol": 1e-12, "atol": 1e-14}

one_to_three = pytest.mark.parametrize("k", MEMBERS)


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


def no_moments(like, k):
    return [(torch.zeros_like(like), torch.zeros_like(like)) for _ in range(k)]


def columns(members, i):
    """beta1 and beta2 of stage i, each (E, 1)."""
    return torch.tensor([member[i].betas for member in members], dtype=torch.float64).unsqueeze(-1).unbind(1)


@one_to_three
def test_members_with_their_own_decays_equal_runs_of_their_own(k):
    members, shared = MEMBERS[k], no_moments(random(4, 6), k)
    apart = [no_moments(random(6), k) for _ in members]
    for step, (g,) in enumerate(gradients([random(4, 6)], 20), start=1):
        at_step = [StageAtStep.at(*columns(members, i), step) for i in range(k)]
        together = kadam_update(g, shared, at_step, eps=1e-3)
        for e, member in enumerate(members):
            alone = kadam_update(g[e], apart[e], [StageAtStep.at(*d.betas, step) for d in member], eps=1e-3)
            torch.testing.assert_close(together[e], alone, **ROUNDING)
            for ours, theirs in zip(shared, apart[e], strict=True):
                torch.testing.assert_close([moment[e] for moment in ours], list(theirs), **ROUNDING)


@one_to_three
def test_the_update_advances_the_moments_in_place_and_leaves_the_gradient(k):
    at_step, moments, g = [StageAtStep.at(*d.betas, 1) for d in MEMBERS[k][0]], no_moments(random(6), k), random(6)
    version = g._version
    u = kadam_update(g, moments, at_step, eps=1e-3)
    assert torch.equal(g, random(6))
    assert (g._version, u.shape) == (version, g.shape)
    assert u.data_ptr() not in {g.data_ptr(), *(x.data_ptr() for pair in moments for x in pair)}
    assert all(moment.all() for pair in moments for moment in pair)


@one_to_three
def test_the_step_moves_the_decayed_weights_by_the_update(k):
    at_step, weight = [StageAtStep.at(*d.betas, 1) for d in MEMBERS[k][0]], random(6)
    u = kadam_update(random(6, seed=1), no_moments(weight, k), at_step, eps=1e-3)
    kadam_step_(weight, random(6, seed=1), no_moments(weight, k), at_step, lr=0.5, eps=1e-3, weight_decay=0.1)
    torch.testing.assert_close(weight, (1 - 0.5 * 0.1) * random(6) - 0.5 * u, **ROUNDING)


def test_decay_rates_are_rounded_to_the_weights_dtype_only_at_the_end():
    """Rounding 0.999 before subtracting it from 1 would cost three digits."""
    beta1, beta2 = columns(MEMBERS[1], 0)
    single = StageAtStep.at(beta1, beta2, 1).to(torch.float32)
    assert {x.dtype for x in vars(single).values()} == {torch.float32}
    torch.testing.assert_close(single.correction2[0].item(), (1 - 0.999) ** 0.5, rtol=1e-7, atol=0)
    assert StageAtStep.at(0.9, 0.999, 1).to(torch.float32) == StageAtStep.at(0.9, 0.999, 1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4).double(), nn.Linear(4, 2).double()
        for i, p in enumerate(self.parameters()):
            p.data = random(*p.shape, seed=i)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def loss(model, batch):
    return (model(batch[:, :3]) - batch[:, 3:]).square().mean()


BATCHES = random(20, 8, 5, seed=9)


def on_its_own(model, member, lr, eps, weight_decay=0.0):
    """The losses of one model trained by KAdam, which is left trained."""
    betas = [d.betas for d in member]
    optimizer = KAdam(model.parameters(), lr=lr, betas=betas, eps=eps, k=len(member), weight_decay=weight_decay)
    losses = []
    for batch in BATCHES.to(next(model.parameters()).device):
        optimizer.zero_grad()
        value = loss(model, batch)
        value.backward()
        optimizer.step()
        losses.append(value.detach())
    return torch.stack(losses)


@one_to_three
@pytest.mark.parametrize("eps", [1e-3, 0.0])
def test_an_ensemble_equals_separate_runs(k, eps, device):
    """Losses before each step, and weights after 20."""
    ensemble = Ensemble(Net().to(device), loss, MEMBERS[k], lr=0.01, eps=eps)
    losses = torch.stack([ensemble.step(batch) for batch in BATCHES.to(device)])
    for e, member in enumerate(MEMBERS[k]):
        model = Net().to(device)
        torch.testing.assert_close(losses[:, e], on_its_own(model, member, 0.01, eps), rtol=1e-12, atol=0)
        for name, p in model.named_parameters():
            torch.testing.assert_close(ensemble.params[name][e], p.detach(), **ROUNDING)


def test_an_ensembles_last_moments_make_its_update():
    ensemble = Ensemble(Net(), loss, MEMBERS[1], lr=0.01)
    for batch in BATCHES[:5]:
        ensemble.step(batch)
    for name, u in ensemble.updates.items():
        m_hat, v_hat = ensemble.corrected_moments(name)
        torch.testing.assert_close(m_hat / v_hat.sqrt(), u, rtol=1e-10, atol=1e-12)
        assert ensemble.gradients[name].shape == u.shape


def test_an_ensembles_members_have_their_own_weight_decay():
    decays, rates = [MEMBERS[1][0]] * 3, [0.0, 0.1, 5.0]
    ensemble = Ensemble(Net(), loss, decays, lr=0.01, weight_decay=rates)
    for batch in BATCHES:
        ensemble.step(batch)
    for e, rate in enumerate(rates):
        model = Net()
        on_its_own(model, decays[e], 0.01, 0.0, weight_decay=rate)
        for name, p in model.named_parameters():
            torch.testing.assert_close(ensemble.params[name][e], p.detach(), **ROUNDING)
    with pytest.raises(ValueError, match="weight_decay must hold one number a member, 3 of them, got 1"):
        Ensemble(Net(), loss, decays, lr=0.01, weight_decay=[0.1])


def test_an_ensemble_reports_the_updates_it_moved_by():
    ensemble = Ensemble(Net(), loss, MEMBERS[2], lr=0.01)
    for batch in BATCHES[:3]:
        before = copy.deepcopy(ensemble.params)
        ensemble.step(batch)
        for name, p in ensemble.params.items():
            moved = (before[name] - p).flatten(1) / 0.01
            torch.testing.assert_close(ensemble.updates[name], moved, rtol=0, atol=1e-12)


def test_an_ensemble_trains_weights_of_any_layout():
    def transposed():
        model = Net()
        model.first.weight = nn.Parameter(model.first.weight.detach().t().contiguous().t())
        return model

    ensemble, model = Ensemble(transposed(), loss, MEMBERS[1][:1], lr=0.01), transposed()
    for batch in BATCHES:
        ensemble.step(batch)
    on_its_own(model, MEMBERS[1][0], 0.01, 0.0)
    torch.testing.assert_close(ensemble.params["first.weight"][0], model.first.weight.detach())
