"""What is claimed of the runs on quadratics, and how a record decides it.

The criteria were set after a look at smaller grids of pairs with the same settings; nothing is drawn without noise, so that
there are no other seeds.
"""

import xarray as xr

from kadam.chapters.stability.quadratics.config import FACTOR
from kadam.report.ledger import LOOK, Claims, Criterion, Finding, judged, limited

ROUNDING = 1e-12  # of float64, accumulated over a run


def contrast(dataset: xr.Dataset) -> xr.DataArray:
    """Of each map of the loss: the share of pairs that look stable inside of the boundary, less that outside."""
    return dataset.looks_share.sel(side="inside") - dataset.looks_share.sel(side="outside")


def looks_stable(dataset: xr.Dataset) -> xr.DataArray:
    """Of each map of the loss: the share of all pairs that look stable."""
    inside = float(dataset.inside.mean())
    return inside * dataset.looks_share.sel(side="inside") + (1 - inside) * dataset.looks_share.sel(side="outside")


def _same_region(dataset: xr.Dataset, *, factor: float) -> Finding:
    """Where eps = 0 the grown pairs are the predicted ones, and where it is not no others."""
    wrong = dataset.added + dataset.missing.where(dataset.eps == 0, 0)
    inside = (dataset.grown_inside > 0).any("silence")
    plain = (wrong.sel(eps=0) == 0).all("silence")
    hidden = float((dataset.missing / dataset.predicted.sum(("beta", "gamma"))).max())
    return (
        f"updates grow {factor:g}-fold inside in {int(inside.sum())} of {inside.size} settings; outside, at the pairs that the "
        f"exact rate names in {int(plain.sum())} of {plain.size} settings without eps, and eps hides up to {hidden:.0%}",
        judged(wrong == 0),
    )


def _bound_holds(dataset: xr.Dataset, *, rounding: float) -> Finding:
    largest = float(dataset.over_bound.max())
    return f"largest |u|/bound over {dataset.attrs['runs']:,} runs: {largest:.6f}", limited(
        dataset.over_bound, most=1 + rounding
    )


def _scaling_is_exact(dataset: xr.Dataset) -> Finding:
    compared = dataset.scaled_differs.isel(power=slice(1, None))
    of = compared.size * dataset.inside.size
    return f"{int(compared.sum())} of {of:,} runs differ in a bit", judged(compared == 0)


def _loss_shows_it(dataset: xr.Dataset, *, least: float) -> Finding:
    shown, stable = contrast(dataset), looks_stable(dataset)
    return (
        f"{float(stable.min()):.0%} to {float(stable.max()):.0%} of the pairs look stable, and the share inside less that "
        f"outside is {float(shown.min()):.2f} to {float(shown.max()):.2f}",
        limited(shown, least=least),
    )


def _ends_further(dataset: xr.Dataset) -> Finding:
    inside, outside = (dataset.distance.sel(side=side) for side in ("inside", "outside"))
    plain = {"noise": 0, "weight_decay": 0, "eps": 0}
    both = [f"{float(part.sel(plain).median()):.2f}" for part in (inside, outside)]
    words = f"median |theta|/eta over the last tenth of the steps: {both[0]} inside and {both[1]} outside without noise"
    return f"{words}; larger outside in {int((outside > inside).sum())} of {inside.size} settings", judged(outside > inside)


TESTS: Claims = {
    ("D-1g", "asked in review: Theory, scale"): (
        "The pairs whose updates grow in silence are the same at every learning rate, noise and weight decay; eps hides some",
        Criterion(
            "pairs whose |u| grows {factor:g}-fold once the gradient is silent after training: with eps = 0 those that the "
            "exact rate names, no more and no fewer; with eps > 0 no others; in every setting and for each length of silence",
            factor=FACTOR,
            when=LOOK,
        ),
        _same_region,
    ),
    ("D-1h", "asked in review: Theory, discrete bound"): (
        "No learning rate, noise, weight decay or eps takes an update above its pair's bound",
        Criterion("no |u_n|/D_n above 1 + {rounding:g} in any run, at any n >= 1", rounding=ROUNDING, when=LOOK),
        _bound_holds,
    ),
    ("D-1i", "derived here: Theory, scale"): (
        "The learning rate is a unit: with all lengths measured in it, it changes no bit of a run",
        Criterion(
            "learning rates that are powers of two, theta_0/eta, noise/eta, eta lambda and eps/eta kept: no pair whose "
            "theta/eta at a horizon, or largest |u|, differs from that at the first learning rate",
            when=LOOK,
        ),
        _scaling_is_exact,
    ),
    ("D-1j", "asked in review: chapter 1"): (
        "A map of the loss after a fixed number of steps shows the boundary of bounded updates",
        Criterion(
            "share of pairs with a loss below the threshold inside less that outside at least {least:g}, in every map",
            least=0.5,
            when=LOOK,
        ),
        _loss_shows_it,
    ),
    ("D-1k", "asked in review: chapter 1"): (
        "On a quadratic pairs outside end further from the minimum than pairs inside",
        Criterion("median over pairs of the median |theta|/eta of the last tenth: larger outside, in every setting", when=LOOK),
        _ends_further,
    ),
}
