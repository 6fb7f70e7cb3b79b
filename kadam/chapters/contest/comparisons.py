"""The three ways in which methods of training are compared, once each was tried at as many learning rates.

At one learning rate for all; each at its best in the search; and each at the rate at which its update is as large as Adam's at
that one learning rate. Size is learning rate times the root mean square of u, over all weights and steps.
"""

import xarray as xr

COMPARISONS = EQUAL, TUNED, MATCHED = ("equal rate", "tuned", "matched size")
ADAM = "Adam"  # with which every method is compared


def overall(update_rms: xr.DataArray) -> xr.DataArray:
    """The root mean square of u over the whole of training, from those between evaluations."""
    return (update_rms**2).mean("evaluation", skipna=False) ** 0.5


def chosen(dataset: xr.Dataset) -> xr.DataArray:
    """What each method's best trial had. Dimensions: knob, network, optimizer."""
    return dataset.tried.isel(trial=dataset.chosen.astype(int)).transpose("knob", "network", "optimizer")
