"""Lightning: the recipe's optimizer and scheduler, what clipping makes of ``fused``, and that a checkpoint goes on."""

import itertools

import pytest
import torch
from client import ONLY_OURS, assert_other_weights, assert_same_weights, batches, library, network, weights
from recipes import follow

from kadam import KAdam

pytestmark = ONLY_OURS
STEPS = 6


@pytest.fixture(autouse=True)
def lightning():
    return library("lightning")


@pytest.fixture
def module(lightning):
    """Makes a module that trains the tiny network with the recipe's method, or with another."""

    def make(configure=None):
        class Module(lightning.LightningModule):
            configure_optimizers = configure or follow("Lightning")["configure_optimizers"]

            def __init__(self):
                super().__init__()
                self.network, self.pairs = network(), []

            def training_step(self, batch, i):
                (group,) = self.optimizers().param_groups
                self.pairs.append((group["lr"], group["betas"][0]))
                return self.network(batch).square().mean()

        return Module()

    return make


@pytest.fixture
def fit(lightning, tmp_path):
    def run(module, resume=None, epoch=3, **arguments):
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        checkpoints = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path, every_n_train_steps=3, save_top_k=-1)
        trainer = lightning.Trainer(max_steps=STEPS, callbacks=[checkpoints], **quiet, **arguments)
        loader = torch.utils.data.DataLoader(torch.cat(batches(epoch)), batch_size=2)
        trainer.fit(module, loader, ckpt_path=resume)
        return weights(module)

    return run


def fused(self):
    return KAdam(self.parameters(), k=1, fused=True)


def unset(self):
    return KAdam(self.parameters(), k=1)


def torchs_fused(self):
    return torch.optim.AdamW(self.parameters(), fused=True)


def test_the_recipe_trains_with_kadam_and_its_scheduler_cycles_at_every_step(module, fit):
    made = module()
    start = weights(made)
    assert_other_weights(start, fit(made))
    rates, momenta = zip(*made.pairs, strict=True)
    assert len(set(rates)) == STEPS
    rising = [after > before for before, after in itertools.pairwise(rates)]
    assert [after > before for before, after in itertools.pairwise(momenta)] == [not up for up in rising]


def test_without_its_interval_the_scheduler_advances_once_an_epoch(module, fit):
    def configure(self):
        recipe = follow("Lightning")["configure_optimizers"](self)
        return {**recipe, "lr_scheduler": {"scheduler": recipe["lr_scheduler"]["scheduler"]}}

    made = module(configure)
    fit(made, epoch=3)
    assert [made.pairs.count(pair) for pair in dict.fromkeys(made.pairs)] == [3, 3]


def adamw(params, k, **rest):
    return torch.optim.AdamW(params, **rest)


def test_it_is_adamw_bit_for_bit(module, fit):
    recipe = follow("Lightning")
    recipe["KAdam"] = adamw
    theirs = module(recipe["configure_optimizers"])
    assert_same_weights(fit(module()), fit(theirs))
    assert type(theirs.optimizers().optimizer) is torch.optim.AdamW


def resumed(module, fit, folder, epoch):
    """The weights of a run in epochs of so many steps, and those of one that goes on from its third."""
    whole, again = module(), module()
    expected = fit(whole, epoch=epoch)
    (stopped,) = folder.glob("*step=3.ckpt")
    found = fit(again, resume=stopped, epoch=epoch)
    assert again.pairs == whole.pairs[3:]  # of learning rates and momenta
    return expected, found


def test_a_run_resumed_after_an_epoch_ends_with_the_weights_of_one_that_was_not_stopped(module, fit, tmp_path):
    assert_same_weights(*resumed(module, fit, tmp_path, epoch=3))


def test_within_an_epoch_the_data_begin_anew(module, fit, tmp_path):
    """Lightning's doing, with any optimizer: a plain DataLoader has no state."""
    assert_other_weights(*resumed(module, fit, tmp_path, epoch=STEPS))


@pytest.mark.parametrize("configure", [fused, torchs_fused])
def test_fused_and_gradient_clipping_in_mixed_precision_are_refused(module, fit, configure):
    with pytest.raises(RuntimeError, match="does not allow for gradient clipping"):
        fit(module(configure), precision="bf16-mixed", gradient_clip_val=1.0)


def test_left_unset_the_same_run_trains(module, fit):
    made = module(unset)
    start = weights(made)
    assert_other_weights(start, fit(made, precision="bf16-mixed", gradient_clip_val=1.0))


def test_the_rule_in_float16_is_the_same_with_a_scaler(lightning):
    """Lightning trains in "16-mixed" on a GPU only; what unscales and clips there is asked here on its own."""
    plugin = lightning.pytorch.plugins.MixedPrecision("16-mixed", "cpu")
    model = network()
    model(torch.ones(2, 3)).sum().backward()
    with pytest.raises(RuntimeError, match="does not allow for gradient clipping"):
        plugin.clip_gradients(KAdam(model.parameters(), fused=True), clip_val=1e-3)
    plugin.clip_gradients(KAdam(model.parameters()), clip_val=1e-3)
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
    assert norm.item() == pytest.approx(1e-3, rel=1e-2)
