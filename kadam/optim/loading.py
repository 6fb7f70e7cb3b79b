"""State dicts: what KAdam's own hold, which others it loads, and what it makes of them."""

import re
import warnings
from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kadam.optim.arguments import Group
from kadam.optim.state import State, counting_on, moment_names, state_dtype, step_counter

StateDict = dict[str, Any]

# By which key of a group or a state one knows a state dict that is not Adam's.
OTHERS = {
    "ns_steps": "Muon",
    "nesterov": "SGD",
    "centered": "RMSprop",
    "lr_decay": "Adagrad",
    "beta2_decay": "Adafactor",
    "rho": "Adadelta",
}
OTHERS |= {"exp_inf": "Adamax", "exp_avg_sq_row": "Adafactor", "state1": "bitsandbytes"}

START = re.compile(r"^(?:step_start|first_step)_(\d+)$")  # the second is the name that it had in 0.2.0


def written(given: StateDict) -> StateDict:
    """The state dict with the start of every later stage, 0 too: distributed checkpoints load what a fresh one names."""
    return {**given, "state": {number: {**_starts(state), **state} for number, state in given["state"].items()}}


def _starts(state: State) -> State:
    later = (re.fullmatch(r"exp_avg_(\d+)", str(name)) for name in state)
    return {f"step_start_{found[1]}": step_counter(0.0) for found in later if found}


def read(given: StateDict, own: Sequence[Group]) -> StateDict:
    """A state dict as the optimizer with these groups takes it; starts are numbers, which torch's loading leaves as they are.

    ``ValueError`` unless it is of KAdam, Adam or AdamW, or of a relative whose moments are Adam's. All that is to be said is
    said here, before anything has changed: a warning may be an error.
    """
    groups = [renamed(dict(group)) for group in given["param_groups"]]
    foreign = any("stages" not in group for group in groups)
    for group in groups:
        if "betas" not in group:
            raise _refused("groups", group)
        group["betas"] = tuple(map(float, group["betas"]))
        name = "RAdam" if group.pop("momentum_decay", None) is None else "NAdam"
        if name == "NAdam" or ("decoupled_weight_decay" in group and "amsgrad" not in group):
            warnings.warn(
                f"the loaded state is {name}'s: its moments are Adam's, and the steps from here on AdamW's", stacklevel=2
            )
    states = {number: _read(state, foreign) for number, state in given["state"].items()}
    for group, mine in zip(groups, own, strict=False):  # torch says it where their number differs
        keep_own_stages(mine, group)
        forget_adams(group)
    return {**given, "state": states, "param_groups": groups}


def _read(state: State, foreign: bool) -> State:
    if foreign and state and not {"step", *moment_names(1)} <= state.keys():
        raise _refused("states", state)
    kept = {name: value for name, value in state.items() if name not in ("max_exp_avg_sq", "mu_product")}
    return {START.sub(r"step_start_\1", name): float(value) if START.match(name) else value for name, value in kept.items()}


def _refused(what: str, found: dict[str, Any]) -> ValueError:
    name = next((f"; it looks like {name}'s" for key, name in OTHERS.items() if key in found), "")
    held = sorted(map(str, found.keys() - {"params"}))
    return ValueError(f"state_dict must be of KAdam, Adam or AdamW: the {what} of this one hold {held}{name}")


def renamed(group: Group) -> Group:
    """The group, in place, with the number of stages under today's name: other programs count in ``k``."""
    if "stages" not in group and "strategy" in group:
        group["stages"] = group.pop("k")
    return group


def restore_starts(state: State) -> None:
    """In place: starts as 0-dim tensors on the host, where they are not 0."""
    for name in [name for name in state if START.match(name)]:
        value = float(state.pop(name))
        if value != 0:
            state["step"] = counting_on(state["step"])
            state[START.sub(r"step_start_\1", name)] = torch.tensor(value, dtype=torch.float64, device="cpu")


def keep_own_stages(own: Group, loaded: Group) -> None:
    """Where a loaded group has another number of stages than our own, ours stay, with a warning."""
    theirs = loaded.get("stages", own["stages"])
    if theirs == own["stages"]:
        return
    structure = ("stages", "strategy", "stage_betas") + ("betas",) * (own["stage_betas"] is not None)
    loaded.update({name: own[name] for name in structure})
    common, more = min(theirs, own["stages"]), own["stages"] > theirs
    rest = f"stages {common + 1}..{own['stages']} start fresh" if more else f"stages {common + 1}..{theirs} are dropped"
    warnings.warn(
        f"the loaded state has k={theirs} stages, this optimizer k={own['stages']}: stages 1..{common} are kept, {rest}, and "
        f"strategy={own['strategy']!r} stays; construct KAdam with k={theirs} to go on exactly",
        stacklevel=2,
    )


def forget_adams(loaded: Group) -> None:
    """Drop what torch's Adam and AdamW keep in their groups and KAdam has not, with a warning where it did something."""
    amsgrad, decoupled = loaded.pop("amsgrad", False), loaded.pop("decoupled_weight_decay", True)
    if amsgrad:
        warnings.warn("the loaded state has amsgrad=True, which KAdam does not have: going on without", stacklevel=2)
    if not decoupled and loaded["weight_decay"] != 0:
        warnings.warn(
            f"the loaded state is Adam's, whose weight_decay={loaded['weight_decay']} is part of the gradient; KAdam's is "
            "decoupled, as AdamW's: going on with the same number",
            stacklevel=2,
        )


def restore_precision(state: MutableMapping[Tensor, State], groups: Sequence[Group], saved: StateDict) -> None:
    """Bring back what torch's loading rounds: float32 moments of low-precision parameters, counters in float64."""
    for group, saved_group in zip(groups, saved["param_groups"], strict=True):
        for param, number in zip(group["params"], saved_group["params"], strict=True):
            wide = state_dtype(param.dtype)
            for name, value in saved["state"].get(number, {}).items():
                if name == "step" and torch.is_tensor(value) and value.dtype == torch.float64:
                    state[param][name] = value.to(state[param][name].device, copy=True)
                if wide != param.dtype and torch.is_tensor(value) and name.startswith("exp_avg"):
                    state[param][name] = value.to(device=param.device, dtype=wide)
