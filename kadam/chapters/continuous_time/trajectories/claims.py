"""What is claimed of trajectories, and how a record decides it."""

import functools
from collections.abc import Callable

import numpy as np
import xarray as xr

from kadam.chapters.continuous_time.flows import BOTH
from kadam.report.ledger import Claims, Criterion, Finding, below, limited


def path_errors(dataset: xr.Dataset) -> xr.DataArray:
    """The error of each flow at each learning rate of the transformer's path, over all weights."""
    errors = np.sqrt(dataset.path_mse.max("path_step") / dataset.path_moved.max("path_step"))
    return errors.rename(path_eta="eta").sortby("eta", ascending=False)


def noise_errors(dataset: xr.Dataset) -> xr.DataArray:
    """The error of each flow at each learning rate, with the full batch and with minibatches."""
    return dataset.noise_error.rename(noise_eta="eta").sortby("eta", ascending=False)


def weight_errors(dataset: xr.Dataset) -> xr.DataArray:
    """For each shown weight and flow: its largest distance from Adam over the range of Adam's path."""
    discrete, flows = dataset.shown.sel(curve="adam"), dataset.shown.sel(curve=list(BOTH)).rename(curve="flow")
    span = discrete.max("shown_step") - discrete.min("shown_step")
    return np.abs(flows - discrete).max("shown_step") / span.where(span > 0)


def _paper_follows(dataset: xr.Dataset, *, most: float) -> Finding:
    errors = weight_errors(dataset).sel(flow="paper")
    median = float(errors.median())
    measured = f"median {median:.1%} of the weight's range, worst {float(errors.max()):.0%}"
    return measured, limited(median, most=most)


def exponent_gap(dataset: xr.Dataset) -> str:
    """How little the exponent matters, in words."""
    return f"largest gap between p = {', '.join(f'{p:g}' for p in dataset.p.values)}: {below(float(dataset.p_gap.max()))}"


def _p_drops_out(dataset: xr.Dataset, *, most: float) -> Finding:
    return exponent_gap(dataset), limited(dataset.p_gap, most=most)


def _closer(dataset: xr.Dataset, *, errors: Callable[[xr.Dataset], xr.DataArray], above: float, **chosen: str) -> Finding:
    both = errors(dataset).sel(chosen)
    ratios = both.sel(flow="paper") / both.sel(flow="second")
    measured = ", ".join(f"{float(ratio):.1f} times at {float(ratio.eta):.2g}" for ratio in ratios)
    return measured, limited(ratios, above=above)


CLOSER = Criterion("ratio of the errors above {above:g} at every learning rate", above=1)
NO_P = "solutions in the paper's own time for every p agree at t_n with the equation without p to {most:g} of the way"

TESTS: Claims = {
    ("GT-3a", "[G&T] Fig. 1, as its abstract and public reviews state it"): (
        "The second-order differential equation follows Adam's discrete path closely on a transformer",
        Criterion("of the 16 weights shown, the median of (largest gap / range of Adam's path) at most {most:.0%}", most=0.1),
        _paper_follows,
    ),
    ("GT-3b", "[G&T] Section 2 with t_n = n eta^p; asked for in the public reviews: several p"): (
        "The exponent p of the paper's time does not matter",
        Criterion(NO_P, most=1e-5),
        _p_drops_out,
    ),
    ("D-3c", "derived here: Continuous time; asked for in the public reviews: all parameters, several learning rates"): (
        "Over all weights of the transformer the half-step flow is closer to Adam than the paper's equation",
        CLOSER,
        functools.partial(_closer, errors=path_errors),
    ),
    ("D-3d", "asked in the paper's public reviews: gradient noise"): (
        "With minibatches, the same ones for Adam and the flows, the half-step flow stays the closer one",
        CLOSER,
        functools.partial(_closer, errors=noise_errors, setting="minibatches"),
    ),
}
