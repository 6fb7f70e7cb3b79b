"""What KAdam keeps of a parameter: a step counter and, for every stage, two moments.

====================================  ================================================================================
key                                   value
====================================  ================================================================================
``step``                              how many steps the parameter has made; 0-dim, counted in place
``exp_avg``, ``exp_avg_sq``           m and v of stage 1, under AdamW's names; shaped as the parameter
``exp_avg_i``, ``exp_avg_sq_i``       those of stage i = 2..k
``step_start_i``                      the step after which stage i began, from which its bias correction counts; 0-dim, and
                                      only where that is not 0: the stage joined a run that was under way
====================================  ================================================================================

So a program that prunes or adds rows of a parameter may treat every key but ``step`` as shaped like it. A state dict names
``step_start_i`` of all later stages, 0 too: distributed checkpoints load only what a fresh state dict has. Foreign keys stay.
"""

from collections.abc import Callable
from functools import cache
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

State = dict[str, Any]
WIDER = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.complex32: torch.complex64}


@cache
def moment_names(k: int) -> tuple[str, ...]:
    """The names of the 2k moments in the order of the stages: m, v, m_2, v_2, ..."""
    later = (f"{name}_{i}" for i in range(2, k + 1) for name in ("exp_avg", "exp_avg_sq"))
    return ("exp_avg", "exp_avg_sq", *later)


@cache
def start_names(k: int) -> tuple[str, ...]:
    """The names of the steps after which the k stages began."""
    return tuple(f"step_start_{i}" for i in range(1, k + 1))


@cache
def _fields(k: int) -> Callable[[State], tuple[Any, ...]]:
    """Of a state its step and its 2k moments; ``KeyError`` where one is missing."""
    return itemgetter("step", *moment_names(k))


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """Moments of a low-precision parameter are kept, and its steps computed, in float32."""
    return WIDER.get(dtype, dtype)


def prepared(state: State, param: Tensor, k: int, step_device: torch.device) -> tuple[Tensor, ...]:
    """The step and the 2k moments of a parameter's state, after whatever is not as it should be was put right."""
    try:
        step, *moments = values = _fields(k)(state)
    except KeyError:
        right = False
    else:
        right = moment_names(k + 1)[-1] not in state and _counts(step)
        if right and param.dtype in WIDER:
            right = all(m.dtype == state_dtype(param.dtype) for m in moments)
    if right:
        return values
    _prepare(state, param, k, step_device)
    return _fields(k)(state)


def _prepare(state: State, param: Tensor, k: int, step_device: torch.device) -> None:
    """Make what is missing of a state or of another kind than it should be, and drop the stages beyond the k-th."""
    wide = state_dtype(param.dtype)
    for name in moment_names(k):
        if name in state and param.dtype != wide:  # a program that resets moments makes them in the parameter's own dtype
            state[name] = state[name].to(wide)
    state.setdefault("step", 0.0)
    tensorise_step(state, step_device)
    names = moment_names(k)
    for i in range(1, k + 1):
        missing = [name for name in names[2 * i - 2 : 2 * i] if name not in state]
        if missing and state["step"] > 0:
            state["step"] = counting_on(state["step"])
            state[start_names(k)[i - 1]] = state["step"].to("cpu", copy=True)
        for name in missing:
            state[name] = torch.zeros_like(param, dtype=wide, memory_format=torch.preserve_format)
    drop_stages(state, k)


def counting_on(step: Tensor) -> Tensor:
    """A counter that goes on beyond 2^24, where float32 stops: the age of a stage that joined later is a difference."""
    return step.double() if step.device.type != "mps" else step


def drop_stages(state: State, k: int) -> None:
    """Forget the stages beyond the k-th: should k grow again, they start fresh."""
    i = k + 1
    while moment_names(i)[-1] in state:
        for name in (*moment_names(i)[-2:], start_names(i)[-1]):
            state.pop(name, None)
        i += 1


def starts(state: State, k: int) -> tuple[float, ...]:
    """For every stage the step after which it began: 0 unless it joined later. Names of zeros go."""
    found = tuple([float(state[name]) if name in state else 0.0 for name in start_names(k)])
    for name, value in zip(start_names(k), found, strict=True):
        if value == 0:
            state.pop(name, None)
    return found


def name_starts(state: State, k: int) -> None:
    """Name the start of every later stage until the next step, 0 as it is.

    A distributed checkpoint that is loaded makes a state by a step with a learning rate of 0, and fills in what that names.
    """
    state.update({name: step_counter(0.0) for name in start_names(k)[1:]})


def step_counter(value: float, device: torch.device | str = "cpu") -> Tensor:
    """As torch's optimizers count: in a dtype that counts far enough whatever the default dtype is."""
    dtype = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    return torch.tensor(value, dtype=dtype, device=device)


def _counts(step: Any) -> bool:
    """Whether a step can be counted in place."""
    return isinstance(step, Tensor) and step.is_floating_point()


def tensorise_step(state: State | None, device: torch.device | str = "cpu") -> None:
    """Older state dicts, and programs that make a state themselves, hold the step as a number or in whole numbers."""
    if state and "step" in state and not _counts(state["step"]):
        state["step"] = step_counter(float(state["step"]), device)
