"""The Trainer of transformers: what it hands on to an optimizer of the user's, and that a checkpoint goes on bit for bit."""

import pytest
import torch
from client import ONLY_OURS, assert_other_weights, assert_same_weights, library, tokens, weights
from recipes import follow

from kadam import KAdam

pytestmark = ONLY_OURS

ADAMW = {"lr": 1e-3, "betas": (0.9, 0.999), "k": 1}


@pytest.fixture(autouse=True)
def transformers():
    return library("transformers")


@pytest.fixture
def model(transformers):
    """GPT-2 in miniature, with its dropout: a run depends on the state of the random numbers, which checkpoints hold."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 16, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))


@pytest.fixture
def given(model, tmp_path):
    """What the recipe takes for granted."""
    dataset = [{"input_ids": row, "labels": row} for row in tokens(32)]
    return {"model": model, "folder": tmp_path / "run", "dataset": dataset}


@pytest.fixture
def train(transformers, given):
    """Train from the same weights with other arguments; returns the trainer."""
    start = weights(given["model"])

    def run(optimizer=None, resume=None, **arguments):
        given["model"].load_state_dict(start, strict=False)
        arguments = transformers.TrainingArguments(given["folder"], **{"max_steps": 6, "save_steps": 3, **arguments})
        choice = {} if optimizer is None else {"optimizer_cls_and_kwargs": (KAdam, optimizer)}
        trainer = transformers.Trainer(given["model"], arguments, train_dataset=given["dataset"], **choice)
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    return run


def trained(trainer):
    return weights(trainer.model)


def groups(trainer):
    return [(len(group["params"]) > 0, group["weight_decay"]) for group in trainer.optimizer.param_groups]


def test_the_recipe_trains_with_kadam(given):
    start = weights(given["model"])
    names = follow("Transformers", **given)
    assert type(names["trainer"].optimizer.optimizer) is KAdam
    assert_other_weights(start, weights(names["model"]))


def test_it_is_the_trainers_own_adamw_bit_for_bit(given, train):
    recipe = trained(follow("Transformers", **given)["trainer"])
    torch_adamw = train(optim="adamw_torch", learning_rate=1e-3, weight_decay=0.01)
    assert type(torch_adamw.optimizer.optimizer) is torch.optim.AdamW
    assert_same_weights(recipe, trained(torch_adamw))


def test_weight_decay_is_the_trainers_and_that_of_the_optimizers_arguments_does_nothing(train):
    plain, decayed = train(ADAMW), train(ADAMW, weight_decay=0.1)
    assert groups(plain) == [(True, 0.0), (True, 0.0)]
    assert groups(decayed) == [(True, 0.1), (True, 0.0)]
    ignored = train({**ADAMW, "weight_decay": 0.1})
    assert groups(ignored) == groups(plain)
    assert_same_weights(trained(ignored), trained(train(ADAMW)))


def test_biases_and_norms_do_not_decay(train):
    trainer = train(ADAMW, weight_decay=0.1)
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    free = [names[id(p)] for p in trainer.optimizer.param_groups[1]["params"]]
    assert free == [name for name in names.values() if "bias" in name or "ln" in name]


def test_the_trainers_learning_rate_betas_and_eps_do_nothing(train):
    usual = train(ADAMW)
    assert usual.optimizer.param_groups[0]["initial_lr"] == ADAMW["lr"]
    recipe = trained(usual)
    assert_same_weights(recipe, trained(train(ADAMW, learning_rate=1.0, adam_beta1=0.5, adam_beta2=0.6, adam_epsilon=1e-2)))
    silent = train({"k": 1}, learning_rate=1.0)
    assert silent.optimizer.param_groups[0]["initial_lr"] == KAdam([torch.zeros(1)]).defaults["lr"]


def test_the_trainer_clips_and_takes_the_rate_down_to_zero_by_itself(train):
    trainer = train(ADAMW)
    assert trainer.args.max_grad_norm == 1.0
    assert trainer.optimizer.param_groups[0]["lr"] == 0.0


@pytest.mark.parametrize("k", [1, 2])
def test_a_resumed_run_ends_with_the_weights_of_one_that_was_not_stopped(train, given, k):
    whole = trained(train({**ADAMW, "k": k}))
    resumed = train({**ADAMW, "k": k}, resume=str(given["folder"] / "checkpoint-3"))
    assert [record["step"] for record in resumed.state.log_history if "train_runtime" in record] == [6]
    assert_same_weights(whole, trained(resumed))


def test_a_checkpoint_of_another_k_is_taken_with_a_warning(train, given):
    train(ADAMW)
    with pytest.warns(UserWarning, match="k=1 stages, this optimizer k=2"):
        resumed = train({**ADAMW, "k": 2}, resume=str(given["folder"] / "checkpoint-3"))
    assert {group["stages"] for group in resumed.optimizer.param_groups} == {2}
