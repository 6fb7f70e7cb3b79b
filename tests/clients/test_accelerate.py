"""Accelerate: accumulated and clipped gradients give one step, a saved state goes on, and a skipped step is seen."""

import pytest
import torch
from client import ONLY_OURS, assert_other_weights, assert_same_weights, batches, library, network, weights
from recipes import follow

from kadam import KAdam

pytestmark = ONLY_OURS


@pytest.fixture(autouse=True)
def accelerate():
    """Its state is one for the process: each test begins with none."""
    accelerate = library("accelerate")
    yield accelerate
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()


def loss_function(model, batch):
    return 100 * model(batch).square().mean()  # large enough to be clipped


@pytest.fixture
def train(tmp_path):
    def run(count):
        """The recipe on the first batches; returns its names."""
        loader = torch.utils.data.DataLoader(torch.cat(batches(count)), batch_size=2)
        folder = tmp_path / f"after {count}"
        return follow("Accelerate", model=network(), loader=loader, folder=folder, loss_function=loss_function)

    return run


def by_hand(count, optimizer, model):
    """The same steps without a library: each on the mean gradient of two batches, clipped."""
    for pair in zip(batches(count)[::2], batches(count)[1::2], strict=True):
        for batch in pair:
            (loss_function(model, batch) / 2).backward()
        assert torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0) > 1.0
        optimizer.step()
        optimizer.zero_grad()
    return weights(model)


def test_the_recipe_takes_one_step_for_two_batches_as_adamw_does(train):
    names = train(8)
    kadam, model = names["optimizer"].optimizer, network()
    assert type(kadam) is KAdam
    assert {state["step"].item() for state in kadam.state.values()} == {4.0}
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    assert_same_weights(weights(names["model"]), by_hand(8, adamw, model))


def test_a_saved_state_brings_weights_and_optimizer_back(train, tmp_path):
    stopped = train(4)
    saved = weights(stopped["model"])
    whole = train(8)
    assert_other_weights(saved, weights(whole["model"]))
    whole["accelerator"].load_state(tmp_path / "after 4")
    assert_same_weights(saved, weights(whole["model"]))
    assert {state["step"].item() for state in whole["optimizer"].state.values()} == {2.0}


def test_a_loaded_run_ends_with_the_weights_of_one_that_was_not_stopped(train, tmp_path):
    whole = weights(train(8)["model"])
    train(4)
    resumed = train(2)
    resumed["accelerator"].load_state(tmp_path / "after 4")
    for batch in batches(8)[4:]:
        with resumed["accelerator"].accumulate(resumed["model"]):
            resumed["accelerator"].backward(loss_function(resumed["model"], batch))
            if resumed["accelerator"].sync_gradients:
                resumed["accelerator"].clip_grad_norm_(resumed["model"].parameters(), 1.0)
            resumed["optimizer"].step()
            resumed["optimizer"].zero_grad()
    assert_same_weights(whole, weights(resumed["model"]))


def overflowed(accelerate, **flags):
    """After a step that a scaler skipped: did Accelerate see it, did the weight stay, and how far the scheduler came."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = KAdam([weight], k=1, **flags)
    accelerate.Accelerator(cpu=True)
    scaler = torch.amp.GradScaler("cpu")
    prepared = accelerate.optimizer.AcceleratedOptimizer(optimizer, scaler=scaler)
    plain = torch.optim.lr_scheduler.ConstantLR(optimizer)
    scheduler = accelerate.scheduler.AcceleratedScheduler(plain, prepared)
    scaler.scale((weight * torch.inf).sum()).backward()
    prepared.step()
    scheduler.step()
    return prepared.step_was_skipped, torch.equal(weight, torch.ones(2)), plain.last_epoch


def test_a_step_that_the_scaler_skips_is_seen_unless_fused_is_set(accelerate):
    assert overflowed(accelerate) == (True, True, 0)
    assert overflowed(accelerate, fused=True) == (False, True, 1)
