"""What the monitor costs: a training step of a transformer, and a measurement right after it, in paired rounds of one thread.

It runs only when asked (``kadam bench monitor``). Tokens are random: what they are changes no time. Where numba is not
installed, only what goes without it is measured.
"""

import math
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch.nn import functional as F

from kadam.chapters.speed.looking.config import PROFILES, Config, Setting
from kadam.lab.engine.sweep import one_thread
from kadam.lab.records.record import device_name, recorded, with_units
from kadam.lab.train import devices, stopwatch
from kadam.lab.train.ensemble import keep_freed_memory
from kadam.lab.train.gpt import Gpt
from kadam.monitor import StabilityMonitor, rows

NEVER = 2**40  # steps between two measurements of a monitor that measures when asked


@recorded("looking", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Seconds of a step and of a measurement, by setting and round."""
    keep_freed_memory()
    settings = [setting for setting in config.settings if find_spec("numba") or not setting.numba or config.device != "cpu"]
    with one_thread():
        found = [_seconds(setting, config) for setting in settings]
    coords = {"setting": [setting.name for setting in settings], "part": ["step", "look"]}
    values = {
        "seconds": (("setting", "part", "round"), np.stack([seconds for seconds, _ in found])),
        "weights": ("setting", [weights for _, weights in found]),
        "tokens": ("setting", [setting.batch * setting.context for setting in settings]),
        "every": ("setting", [setting.every for setting in settings]),
    }
    device = {"device": f"{device_name()}, 1 thread"} | devices.described(config.device)
    data = {"data": "none: random tokens", "data_sha256": "", "data_origin": "none"}
    return with_units(xr.Dataset(values, coords).assign_attrs(data | device), UNITS)


def _seconds(setting: Setting, config: Config) -> tuple[NDArray[np.float64], int]:
    """(2, rounds): of a step and of a measurement; and how many weights there are."""
    shape, generator = setting.shape, torch.Generator().manual_seed(config.seed)
    model = Gpt(
        vocabulary=config.vocabulary, context=setting.context, width=shape.width, layers=shape.layers, heads=shape.heads
    )
    model.reset(config.seed)
    model.to(config.device)
    drawn = torch.randint(config.vocabulary, (setting.batch, setting.context + 1), generator=generator).to(config.device)
    x, y = drawn[:, :-1], drawn[:, 1:].flatten()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    monitor = StabilityMonitor(optimizer, every=NEVER, named_parameters=model)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x).flatten(0, 1), y).backward()
        optimizer.step()

    steps = {"step": step, "look": monitor.measure}
    with patch.object(rows, "LARGE", rows.LARGE if setting.numba else math.inf):  # no model is large enough for the kernel
        found = stopwatch.paired(steps, rounds=config.rounds, repeats=1, device=config.device)
    return np.stack(list(found.values())), sum(p.numel() for p in model.parameters())


UNITS = {
    "seconds": "s",
    "weights": "numbers that are trained",
    "tokens": "tokens a step",
    "every": "steps from one measurement to the next",
}
