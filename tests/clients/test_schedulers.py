"""Schedulers of three libraries drive KAdam as they drive AdamW, and with both state dicts a run goes on bit for bit."""

import pytest
import torch
from client import ONLY_OURS, assert_other_weights, assert_same_weights, batches, library, network, weights
from recipes import follow

from kadam import KAdam

pytestmark = ONLY_OURS
STEPS = 10


@pytest.fixture(autouse=True)
def transformers():
    return library("transformers")


def warm_up_and_cosine(optimizer):
    """The recipe's, around another optimizer."""
    names = follow("Schedulers", model=network())
    return names["get_cosine_schedule_with_warmup"](optimizer, num_warmup_steps=2, num_training_steps=STEPS)


def one_cycle(optimizer):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=STEPS)


class Timms:
    """timm's scheduler, which is told the number of updates, behind the methods of the others."""

    def __init__(self, optimizer):
        library("timm")
        from timm.scheduler import CosineLRScheduler

        warm_up = {"warmup_t": 2, "warmup_lr_init": 1e-5, "t_in_epochs": False}
        self.scheduler, self.updates = CosineLRScheduler(optimizer, t_initial=STEPS, **warm_up), 0

    def step(self):
        self.updates += 1
        self.scheduler.step_update(self.updates)

    def state_dict(self):
        return {"updates": self.updates, "scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state):
        self.updates = state["updates"]
        self.scheduler.load_state_dict(state["scheduler"])


SCHEDULERS = [warm_up_and_cosine, one_cycle, Timms]


class Run:
    """A network, its optimizer and its scheduler."""

    def __init__(self, make, schedule):
        self.model = network()
        self.optimizer = make(self.model.parameters())
        self.scheduler = schedule(self.optimizer)
        self.rates = []

    def steps(self, which):
        for batch in which:
            self.rates.append(self.optimizer.param_groups[0]["lr"])
            self.model(batch).square().mean().backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.scheduler.step()
        return weights(self.model)

    def state_dict(self):
        return {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "scheduler")}

    def load_state_dict(self, state):
        for name, value in state.items():
            getattr(self, name).load_state_dict(value)


def one_stage(params):
    return KAdam(params, lr=1e-3, weight_decay=0.01, k=1)


def two_stages(params):
    return KAdam(params, lr=1e-3, weight_decay=0.01, k=2)


def adamw(params):
    return torch.optim.AdamW(params, lr=1e-3, weight_decay=0.01)


def test_the_recipes_first_step_moves_nothing_but_counts():
    names = follow("Schedulers", model=network())
    before = weights(names["model"])
    names["model"](torch.ones(2, 3)).sum().backward()
    names["optimizer"].step()
    assert_same_weights(before, weights(names["model"]))
    assert {state["step"].item() for state in names["optimizer"].state.values()} == {1.0}
    names["scheduler"].step()
    names["optimizer"].step()
    assert_other_weights(before, weights(names["model"]))


@pytest.mark.parametrize("schedule", SCHEDULERS)
def test_rates_rise_then_fall_and_weights_are_adamws_bit_for_bit(schedule):
    ours, theirs = Run(one_stage, schedule), Run(adamw, schedule)
    assert_same_weights(ours.steps(batches(STEPS)), theirs.steps(batches(STEPS)))
    top = ours.rates.index(max(ours.rates))
    assert 0 < top < STEPS - 1
    assert ours.rates == [*sorted(ours.rates[:top]), *sorted(ours.rates[top:], reverse=True)] == theirs.rates


@pytest.mark.parametrize("make", [one_stage, two_stages])
@pytest.mark.parametrize("schedule", SCHEDULERS)
def test_with_both_state_dicts_a_run_goes_on_bit_for_bit(schedule, make, tmp_path):
    whole, stopped, resumed = (Run(make, schedule) for _ in range(3))
    expected = whole.steps(batches(STEPS))
    stopped.steps(batches(STEPS)[:4])
    torch.save(stopped.state_dict(), tmp_path / "run.pt")
    resumed.load_state_dict(torch.load(tmp_path / "run.pt", weights_only=True))
    assert_same_weights(expected, resumed.steps(batches(STEPS)[4:]))
    assert resumed.rates == whole.rates[4:]


@pytest.mark.parametrize("schedule", SCHEDULERS)
def test_without_the_schedulers_state_it_does_not(schedule):
    whole, stopped, resumed = (Run(two_stages, schedule) for _ in range(3))
    expected = whole.steps(batches(STEPS))
    stopped.steps(batches(STEPS)[:4])
    resumed.load_state_dict({**stopped.state_dict(), "scheduler": resumed.scheduler.state_dict()})
    assert_other_weights(expected, resumed.steps(batches(STEPS)[4:]))
