"""What KAdam keeps of a parameter: a step counter and, for every stage, two moments.

``step`` counts the steps; ``exp_avg`` and ``exp_avg_sq`` are stage 1's m and v under AdamW's names; those of stage i
are ``exp_avg_i`` and ``exp_avg_sq_i``, and ``first_step_i``, a number, is the step from which its bias correction counts:
0 unless it joined later. All values are tensors shaped as the parameter, scalars or numbers, which is what distributed
checkpoints can hold; and of them these load only what a fresh state has too.
"""

import warnings
from collections.abc import MutableMapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from kadam.optim.arguments import Group

State = dict[str, Any]


@cache
def moment_names(k: int) -> tuple[str, ...]:
    """The names of the 2k moments in the order of the stages: m, v, m_2, v_2, ..."""
    later = (f"{name}_{i}" for i in range(2, k + 1) for name in ("exp_avg", "exp_avg_sq"))
    return ("exp_avg", "exp_avg_sq", *later)


@cache
def start_names(k: int) -> tuple[str, ...]:
    """The names of the steps after which the stages began. A state holds the first only if stage 1 joined later."""
    return tuple(f"first_step_{i}" for i in range(1, k + 1))


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """Moments of a low-precision parameter are kept, and its steps computed, in float32."""
    return torch.promote_types(dtype, torch.float32)


def prepare(state: State, param: Tensor, k: int, step_device: torch.device) -> None:
    """Make what is missing of a parameter's state, and drop the moments of stages beyond the k-th."""
    if "step" not in state:
        state["step"] = step_counter(0.0, step_device)
    names = moment_names(k)
    for i in range(1, k + 1):
        missing = [name for name in names[2 * i - 2 : 2 * i] if name not in state]
        if missing and state["step"] > 0:
            state[start_names(k)[i - 1]] = state["step"].item()
        for name in missing:
            state[name] = torch.zeros_like(param, dtype=state_dtype(param.dtype), memory_format=torch.preserve_format)
    for name in start_names(k)[1:]:
        state.setdefault(name, 0.0)
    drop_stages(state, k)


def drop_stages(state: State, k: int) -> None:
    """Forget the stages beyond the k-th: should k grow again, they start fresh."""
    i = k + 1
    while moment_names(i)[-1] in state:
        for name in (*moment_names(i)[-2:], start_names(i)[-1]):
            state.pop(name, None)
        i += 1


def starts(state: State, k: int) -> tuple[float, ...]:
    """For every stage the step after which it began: 0 unless it joined later."""
    return tuple([float(state.get(name, 0.0)) for name in start_names(k)])


def step_counter(value: float, device: torch.device | str = "cpu") -> Tensor:
    """As torch's optimizers count: in a dtype that counts far enough whatever the default dtype is."""
    dtype = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    return torch.tensor(value, dtype=dtype, device=device)


def tensorise_step(state: State | None) -> None:
    """Older state dicts hold the step as a number."""
    if state and not (torch.is_tensor(state["step"]) and state["step"].is_floating_point()):
        state["step"] = step_counter(float(state["step"]))


def keep_own_stages(own: Group, loaded: Group) -> None:
    """Where a loaded group has another number of stages than our own, ours stay, with a warning."""
    theirs = loaded.get("k", own["k"])
    if theirs == own["k"]:
        return
    structure = ("k", "strategy", "stage_betas") + ("betas",) * (own["stage_betas"] is not None)
    loaded.update({name: own[name] for name in structure})
    common, more = min(theirs, own["k"]), own["k"] > theirs
    rest = f"stages {common + 1}..{own['k']} start fresh" if more else f"stages {common + 1}..{theirs} are dropped"
    warnings.warn(
        f"the loaded state has k={theirs} stages, this optimizer k={own['k']}: stages 1..{common} are kept, {rest}, and "
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


def restore_precision(state: MutableMapping[Tensor, State], groups: Sequence[Group], saved: dict[str, Any]) -> None:
    """Bring back in float32 what a saved state holds of low-precision parameters: torch's loading rounds it."""
    for group, saved_group in zip(groups, saved["param_groups"], strict=True):
        for param, number in zip(group["params"], saved_group["params"], strict=True):
            wide = state_dtype(param.dtype)
            for name, value in saved["state"].get(number, {}).items():
                if wide != param.dtype and torch.is_tensor(value) and name in state[param] and name != "step":
                    state[param][name] = value.to(device=param.device, dtype=wide)
