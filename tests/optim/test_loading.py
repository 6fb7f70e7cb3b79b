"""State dicts of other optimizers: taken where their moments are Adam's, and said; else refused, and nothing moves."""

import copy

import pytest
import torch
from problems import assert_same_bits, gradients, owned, parameters, run
from test_kadam import LR, assert_unchanged, snapshot
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
    theirs = {
        "state": {0: {"step": 1, "moment": torch.ones(2)}},
        "param_groups": copy.deepcopy(ours.state_dict()["param_groups"]),
    }
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


def test_the_maximum_that_amsgrad_keeps_is_dropped():
    theirs = run(torch.optim.AdamW(parameters(), lr=LR, amsgrad=True), gradients(parameters(), 2))
    ours = KAdam(parameters(), k=1)
    with pytest.warns(UserWarning, match="amsgrad=True"):
        ours.load_state_dict(theirs.state_dict())
    assert {name for state in ours.state.values() for name in state} == {"step", "exp_avg", "exp_avg_sq"}
