"""What is claimed of trajectories, and how a record decides it."""

import numpy as np
import xarray as xr

from kadam.chapters.continuous_time.trajectories.config import FLOWS
from kadam.report.ledger import Finding, Test, below, passes


def path_errors(dataset: xr.Dataset) -> xr.DataArray:
    """The error of each flow at each learning rate of the transformer's path, over all weights."""
    return np.sqrt(dataset.path_mse.max("path_step") / dataset.path_moved.max("path_step"))


def weight_errors(dataset: xr.Dataset) -> xr.DataArray:
    """For each shown weight and flow: its largest distance from Adam over the range of Adam's path."""
    discrete, flows = dataset.shown.sel(curve="adam"), dataset.shown.sel(curve=list(FLOWS)).rename(curve="flow")
    span = discrete.max("shown_step") - discrete.min("shown_step")
    return np.abs(flows - discrete).max("shown_step") / span.where(span > 0)


def _paper_follows(dataset: xr.Dataset) -> Finding:
    errors = weight_errors(dataset).sel(flow="paper")
    median = float(errors.median())
    measured = f"median {median:.1%} of the weight's range, worst {float(errors.max()):.0%}"
    return measured, "reproduced" if median <= 0.1 else "partly" if median <= 0.25 else "not reproduced"


def _p_drops_out(dataset: xr.Dataset) -> Finding:
    gap = float(dataset.p_gap.max())
    return f"largest gap between p = {', '.join(f'{p:g}' for p in dataset.p.values)}: {below(gap)}", passes(gap <= 1e-5)


def _flow_is_closer(dataset: xr.Dataset) -> Finding:
    errors = path_errors(dataset)
    ratios = (errors.sel(flow="paper") / errors.sel(flow="second")).sortby("path_eta", ascending=False)
    measured = ", ".join(f"{float(ratio):.1f} times at {float(ratio.path_eta):.2g}" for ratio in ratios)
    return measured, passes(bool((ratios > 1).all()))


def _closer_with_noise(dataset: xr.Dataset) -> Finding:
    noisy = dataset.noise_error.sel(setting="minibatches")
    ratios = (noisy.sel(flow="paper") / noisy.sel(flow="second")).sortby("noise_eta", ascending=False)
    measured = ", ".join(f"{float(ratio):.1f} times at {float(ratio.noise_eta):.2g}" for ratio in ratios)
    return measured, passes(bool((ratios > 1).all()))


TESTS = [
    Test(
        "GT-3a",
        "[G&T] Fig. 1, as its abstract and public reviews state it",
        "The second-order differential equation follows Adam's discrete path closely on a transformer",
        "of the 16 weights shown, the median of (largest gap / range of Adam's path) at most 10%; at most 25%: partly",
        _paper_follows,
    ),
    Test(
        "GT-3b",
        "[G&T] Section 2 with t_n = n eta^p; asked for in the public reviews: several p",
        "The exponent p of the paper's time does not matter",
        "solutions in the paper's own time for every p agree at t_n with the equation without p to 1e-5 of the way",
        _p_drops_out,
    ),
    Test(
        "D-3c",
        "derived here: Continuous time; asked for in the public reviews: all parameters, several learning rates",
        "Over all weights of the transformer the half-step flow is closer to Adam than the paper's equation",
        "ratio of the errors above 1 at every learning rate",
        _flow_is_closer,
    ),
    Test(
        "D-3d",
        "asked in the paper's public reviews: gradient noise",
        "With minibatches, the same ones for Adam and the flows, the half-step flow stays the closer one",
        "ratio of the errors above 1 at every learning rate",
        _closer_with_noise,
    ),
]
