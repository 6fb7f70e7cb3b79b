"""How far outside of the box the theory lets the weights of a recorded network be, at its last learning rate."""

import json

import numpy as np
import xarray as xr

from kadam.chapters.box.pairs import NETWORK
from kadam.theory.box import window_excess


def window_excesses(record: xr.Dataset) -> xr.DataArray:
    """The theory's excess for a record of ``radius``, (setting, weight_decay); NaN where the last stage has gamma > beta.

    It is computed from the record's configuration, so that it is today's theory also for a record of an earlier one.
    """
    config = json.loads(record.attrs["config"])
    last_rate = config["eta"] / (1 + (config["steps"] - 1) / config["bend"]) ** config["power"]
    lasts = [NETWORK[str(name)][-1] for name in record.setting.values]
    rows = [
        window_excess(**vars(pair), step=last_rate * record.weight_decay.values)
        if pair.gamma <= pair.beta
        else np.full(record.sizes["weight_decay"], np.nan)
        for pair in lasts
    ]
    coordinates = {"setting": record.setting.values, "weight_decay": record.weight_decay.values}
    return xr.DataArray(np.array(rows), coordinates, ("setting", "weight_decay"))
