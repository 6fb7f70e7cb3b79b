"""State dicts of other optimizers: taken where their moments are Adam's, and said; else refused, and nothing moves."""

import copy

import pytest
import torch
from problems import assert_same_bits, dense_parameters, gradients, owned, parameters, run
from test_features import path  # noqa: F401
from test_kadam import LR, assert_unchanged, snapshot
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict, set_optimizer_state_dict
from torch.nn import Parameter

from kadam import KAdam

STRANGERS = {
    "SGD": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
    "RMSprop": torch.optim.RMSprop,
    "Adagrad": torch.optim.Adagrad,
    "Adadelta": torch.optim.Adadelta,
    "Adafactor": torch.optim.Adafactor,
    "Adamax": torch.optim.Adamax,
}


@pytest.mark.parametrize("name", STRANGERS)
@pytest.mark.parametrize("stepped", [True, False])
def test_what_is_not_adams_is_refused_by_name_and_nothing_moves(name, stepped):
    history = gradients([Parameter(torch.ones(4, 5))], 2)
    theirs = run(STRANGERS[name]([Parameter(torch.ones(4, 5))]), history if stepped else [])
    ours = run(KAdam([Parameter(torch.ones(4, 5))]), history)
    before = snapshot(ours)
    if name == "Adamax" and not stepped:  # its groups are Adam's, and there is nothing else yet
        pytest.skip("an Adamax without a state is an Adam without one")
    with pytest.raises(
        ValueError, match=rf"state_dict must be of KAdam, Adam or AdamW: .* hold \[.*\]; it looks like {name}'s"
    ):
        ours.load_state_dict(theirs.state_dict())
    assert_unchanged(ours, before)


def test_an_unknown_optimizers_state_is_refused_by_what_it_holds():
    ours = KAdam([Parameter(torch.ones(2))])
    adamw = torch.optim.AdamW([Parameter(torch.ones(2))]).state_dict()
    theirs = {**adamw, "state": {0: {"step": 1, "moment": torch.ones(2)}}}
    with pytest.raises(ValueError, match=r"the states of this one hold \['moment', 'step'\]$"):
        ours.load_state_dict(theirs)


@pytest.mark.parametrize("relative", [torch.optim.NAdam, torch.optim.RAdam])
def test_relatives_whose_moments_are_adams_are_taken_with_a_warning(relative):
    history = gradients(parameters(), 8)
    theirs = run(relative(parameters(), lr=LR), history[:4])
    adamw = run(torch.optim.AdamW(parameters(), lr=LR, weight_decay=0), history[:4])
    resumed = [KAdam([Parameter(p.detach().clone()) for p in owned(theirs)], k=1) for _ in range(2)]
    with pytest.warns(UserWarning, match=f"the loaded state is {relative.__name__}'s: its moments are Adam's"):
        resumed[0].load_state_dict(copy.deepcopy(theirs.state_dict()))
    resumed[1].load_state_dict(copy.deepcopy(adamw.state_dict()))
    assert_same_bits(*(run(optimizer, history[4:]) for optimizer in resumed))
    assert not {"momentum_decay", "mu_product"} & (
        resumed[0].param_groups[0].keys() | resumed[0].state[owned(resumed[0])[0]].keys()
    )


@pytest.mark.parametrize("stranger", ["another k", "Adam", "NAdam"])
def test_a_warning_that_is_an_error_comes_before_anything_changes(stranger):
    def two():
        return [{"params": [Parameter(torch.ones(3, dtype=torch.bfloat16))], "lr": 0.1 * i} for i in (1, 2)]

    history = gradients([group["params"][0] for group in two()], 3)
    makers = {
        "another k": lambda p: KAdam(p, k=2),
        "Adam": lambda p: torch.optim.Adam(p, amsgrad=True),
        "NAdam": torch.optim.NAdam,
    }
    theirs = run(makers[stranger](two()), history)
    ours = run(KAdam(two(), k=1), history)
    before = snapshot(ours)
    with pytest.raises(UserWarning, match="the loaded state"):  # in these tests every warning is an error
        ours.load_state_dict(theirs.state_dict())
    assert_unchanged(ours, before)
    run(ours, history)


def test_a_state_in_which_something_is_missing_is_saved_and_loaded_and_made_whole():
    ours = run(KAdam(parameters(), k=2), gradients(parameters(), 2))
    fresh = KAdam(parameters(), k=2)
    fresh.state[owned(fresh)[0]]["mine"] = 1  # before its first step
    assert [state["mine"] for state in copy.deepcopy(fresh).state.values()] == [1]
    for p in owned(ours):
        del ours.state[p]["exp_avg_sq"]
    fresh.load_state_dict(ours.state_dict())
    run(fresh, gradients(parameters(), 1))
    assert all("exp_avg_sq" in fresh.state[p] for p in owned(fresh))


def test_betas_in_tensors_are_read():
    betas = (torch.tensor(0.5), torch.tensor(0.75))
    theirs = run(torch.optim.AdamW(parameters(), betas=betas, foreach=False), gradients(parameters(), 2))
    ours = KAdam(parameters(), k=1)
    ours.load_state_dict(theirs.state_dict())
    assert ours.param_groups[0]["betas"] == (0.5, 0.75)


def test_a_flattened_distributed_checkpoint_brings_the_start_of_a_stage_along():
    """It fills in what a first step with a learning rate of 0 has named."""
    options = StateDictOptions(flatten_optimizer_state_dict=True)
    model, twin = (torch.nn.Linear(3, 2) for _ in range(2))
    history = gradients(list(model.parameters()), 6)
    ours = run(KAdam(model.parameters(), k=1), history[:2])
    ours.param_groups[0]["stages"] = 2
    run(ours, history[2:4])
    kept = copy.deepcopy(get_optimizer_state_dict(model, ours, options=options))
    twin.load_state_dict(model.state_dict())
    resumed = KAdam(twin.parameters(), k=2)
    set_optimizer_state_dict(twin, resumed, kept, options=options)
    assert all(resumed.state[p]["step_start_2"] == 2 for p in twin.parameters())
    assert_same_bits(run(resumed, history[4:]), run(ours, history[4:]))


def test_a_first_step_of_a_warm_up_leaves_no_names_of_zeros(path):  # noqa: F811
    optimizer = run(KAdam(dense_parameters(), lr=0.0, k=3, **path), gradients(dense_parameters(), 1))
    optimizer.param_groups[0]["lr"] = LR
    run(optimizer, gradients(dense_parameters(), 2))
    assert not any(name.startswith("step_start") for state in optimizer.state.values() for name in state)


def test_the_maximum_that_amsgrad_keeps_is_dropped():
    theirs = run(torch.optim.AdamW(parameters(), lr=LR, amsgrad=True), gradients(parameters(), 2))
    ours = KAdam(parameters(), k=1)
    with pytest.warns(UserWarning, match="amsgrad=True"):
        ours.load_state_dict(theirs.state_dict())
    assert {name for state in ours.state.values() for name in state} == {"step", "exp_avg", "exp_avg_sq"}
