"""The figures of chapter 3, each with what it shows in sentences, except the one of the orders."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from kadam.chapters.continuous_time.flows import BOTH
from kadam.chapters.continuous_time.looks import LOOKS, WORDS
from kadam.chapters.continuous_time.trajectories.claims import noise_errors, path_errors, weight_errors
from kadam.report import style
from kadam.report.ledger import below
from kadam.report.sentences import listed, of_all, said, span
from kadam.report.table import Table, table
from kadam.theory import stability

SETTINGS: dict[str, Any] = {"full batch": {"marker": "o"}, "minibatches": {"marker": "s", "mfc": "white"}}

LONG_MEMORY = 0.8  # the beta from which on the second moment remembers at least five steps


@said
def answer(record: xr.Dataset, orders: xr.Dataset) -> str:
    """What came out, in one paragraph; ``orders``: the record of the orders."""
    gaps = weight_errors(record).median("weight")
    return (
        f"**The answer.** In the median over the weights drawn the largest distance from Adam, as a share of the weight's "
        f"range, is {_both(f'{float(gaps.sel(flow=flow)):.1%}' for flow in BOTH)}. Over all {record.attrs['d']} weights the "
        f"half-step flow is the closer one at {of_all(_ratio(path_errors(record)) > 1, 'learning rates')}. On "
        f"{orders.sizes['case']} problems the error goes with the learning rate to the power "
        f"{_both(span(orders.order.sel(flow=flow), '.2f') for flow in BOTH)}."
    )


def _both(told: Iterable[str]) -> str:
    """What there is to tell of each of the two flows, in their order."""
    return listed([f"{words} for the {WORDS[flow]}" for flow, words in zip(BOTH, told, strict=True)])


def _ratio(errors: xr.DataArray) -> xr.DataArray:
    """How many times as far from Adam the paper's equation is as the half-step flow."""
    return errors.sel(flow="paper") / errors.sel(flow="second")


@style.styled
def weights(record: xr.Dataset) -> style.Figure:
    """Adam's path and those of both flows for the randomly chosen weights, one panel each."""
    figure, all_axes = style.panels(-(-record.sizes["weight"] // 4), 4, height=6.6, sharex=True, squeeze=False)
    time = np.arange(record.sizes["shown_step"]) * record.attrs["shown_eta"]
    for axes, name, paths in zip(all_axes.flat, record.name.values, record.shown.transpose("weight", ...), strict=False):
        for curve in record.curve.values:
            axes.plot(time, paths.sel(curve=curve), ms=2.5, lw=1.1, **LOOKS[curve])
        axes.set_title(name.replace(".weight", ""), fontsize=7)
        axes.tick_params(labelsize=7)
        axes.yaxis.set_major_locator(MaxNLocator(3))
    for axes in all_axes[-1]:
        axes.set_xlabel(style.TIME, fontsize=7)
    return style.with_legend(figure, all_axes[0, 0], ncols=3)


@said
def weights_said(record: xr.Dataset) -> str:
    """Which flow is closer on the weights that move, how far it goes at most, and what it costs."""
    gaps = weight_errors(record).transpose("flow", ...)
    moves = gaps.notnull().any("flow").values
    return (
        f"Adam moves {of_all(moves, 'weights')}. The half-step flow is the closer one at "
        f"{of_all(_ratio(gaps).values[moves] > 1, 'weights')} that move. The distance from Adam, as a share of the weight's "
        f"range, is at most {_both(f'{float(gaps.sel(flow=flow).max()):.1%}' for flow in BOTH)}. A step of the "
        f"equations takes {listed(f'{float(record.evaluations.sel(curve=flow)):.0f}' for flow in BOTH)} gradients, "
        f"one of Adam 1."
    )


@style.styled
def squares(record: xr.Dataset) -> style.Figure:
    """Mean squared distance to Adam over all weights against time, by learning rate; and the longer run with its loss."""
    figure, (*both, longer) = style.panels(1, 3, height=3.5)
    shares = _longer_shares(record)[1:]
    moved = record.path_moved.sortby("path_eta").isel(path_eta=0).dropna("path_step")[1:]
    for axes, flow in zip(both, BOTH, strict=True):
        for colour, eta in zip(style.shades(record.sizes["path_eta"]), np.sort(record.path_eta.values), strict=True):
            one = record.path_mse.sel(flow=flow, path_eta=eta).dropna("path_step")[1:]
            axes.plot(one.path_step * eta, one, color=colour, label=rf"$\eta$ = {style.scientific(eta)}")
        axes.plot(moved.path_step * float(moved.path_eta), moved, "--", lw=1, color=style.MEASURED, label="Adam to its start")
        axes.set(yscale="log", xlabel=style.TIME, title=WORDS[flow])
        longer.plot(shares.long_step, shares.sel(flow=flow), **LOOKS[flow])
    both[1].sharey(both[0])
    both[1].tick_params(labelleft=False)
    both[0].set_ylabel("mean square over all weights")
    longer.set(xlabel="step", ylabel="distance to Adam / Adam's to its start", title="the longer run", ylim=(0, None))
    for axes, place in ((both[0], "lower right"), (longer, "upper left")):
        axes.legend(fontsize=7, loc=place)
    return figure


def _longer_shares(record: xr.Dataset) -> xr.DataArray:
    """Along the longer run: each flow's distance to Adam over Adam's to its start."""
    return np.sqrt(record.long_mse / record.long_moved).transpose("long_step", "flow")


def error_table(record: xr.Dataset) -> Table:
    """The error of each flow over all weights by learning rate."""
    rows = [(one.eta, *one.sel(flow=list(BOTH))) for one in path_errors(record).transpose("eta", "flow")]
    return table(("eta", *(WORDS[flow] for flow in BOTH)), rows, digits=(".2g", ".3g", ".3g"))


@said
def squares_said(record: xr.Dataset) -> str:
    """What a smaller learning rate brings to each flow, early and late; and how far the flows drift on the longer run."""
    early, late = ([f"{_gain(record, flow, share):.2f}" for flow in BOTH] for share in (0.25, 1))
    drift = listed(f"{float(share):.2g}" for share in _longer_shares(record).sel(flow=list(BOTH)).isel(long_step=-1))
    return (
        f"The half-step flow is the closer one at {of_all(_ratio(path_errors(record)) > 1, 'learning rates')}. The distance at "
        f"the smallest learning rate, over that at the largest, is {_both(early)} after a quarter of the time; at its end "
        f"it is {listed(late)}. The longer run ends at a distance of {drift} of the way."
    )


def _gain(record: xr.Dataset, flow: str, share: float) -> float:
    """The distance to Adam at the smallest learning rate over that at the largest, after a share of the time."""
    ends = (record.path_eta.min(), record.path_eta.max())
    paths = (record.path_mse.sel(flow=flow, path_eta=eta).dropna("path_step") for eta in ends)
    smallest, largest = (float(path[round(share * (path.size - 1))]) for path in paths)
    return float(np.sqrt(smallest / largest))


@style.styled
def betas(record: xr.Dataset) -> style.Figure:
    """The error of each flow over a grid of (beta, gamma); frames mark pairs outside the exact stable region."""
    figure, both = style.panels(1, 2, height=3.6, sharey=True, ylabel=style.BETA_LABEL)
    for axes, flow in zip(both, BOTH, strict=True):
        errors = record.map_error.sel(flow=flow).transpose("beta", "gamma")
        shown = errors.where(np.isfinite(errors), 1e3)
        image = axes.imshow(shown, norm=LogNorm(1e-3, 1), cmap=style.SIZE_MAP, origin="lower", aspect="auto")
        _write_cells(axes, errors)
        axes.set_xticks(range(errors.sizes["gamma"]), [f"{x:g}" for x in errors.gamma.values])
        axes.set(xlabel=style.GAMMA_LABEL, title=WORDS[flow])
        axes.spines[:].set_visible(False)
    both[0].set_yticks(range(record.sizes["beta"]), [f"{x:g}" for x in record.beta.values])
    figure.colorbar(image, ax=both, label="error of the path", extend="both", pad=0.02)
    figure.supxlabel("a perceptron on random numbers; no data set", fontsize=8, color=style.GUIDE, x=0.99, ha="right")
    return figure


def _write_cells(axes: style.Axes, errors: xr.DataArray) -> None:
    for (i, j), value in np.ndenumerate(errors.values):
        text = f"{value:.1g}" if value < 1 else ">1"
        axes.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if value > 0.05 else "black")
        if not stability.is_stable(beta=errors.beta[i].item(), gamma=errors.gamma[j].item()):
            axes.add_patch(Rectangle((j - 0.46, i - 0.46), 0.92, 0.92, fill=False, ec=style.UNSTABLE, lw=1.2))


@said
def betas_said(record: xr.Dataset) -> str:
    """The errors on both sides of the boundary where the second moment has a memory, and what is lost where it has none."""
    inside = xr.apply_ufunc(lambda beta, gamma: stability.is_stable(beta=beta, gamma=gamma), record.beta, record.gamma)
    errors = record.map_error.transpose("flow", ...).sel(flow=list(BOTH))
    long, short = errors.sel(beta=record.beta >= LONG_MEMORY), errors.sel(beta=record.beta < LONG_MEMORY)
    stable, unstable = ([span(one.where(where)) for one in long] for where in (inside, ~inside))
    return (
        f"With $\\beta$ at least {LONG_MEMORY:g} the error of finite paths is, outside of the exact region, "
        f"{_both(unstable)}; inside it is {listed(stable)}. With a smaller $\\beta$ the error is above 1, or a "
        f"path leaves the finite numbers, at {listed(of_all(~(one <= 1), 'pairs') for one in short)}."
    )


@style.styled
def noise(record: xr.Dataset) -> style.Figure:
    """The errors with one batch and with minibatches; and the squared error of the paper's equation for several p."""
    figure, (errors, exponents) = style.panels(1, 2, height=3.3)
    for setting, look in SETTINGS.items():
        for flow in BOTH:
            one = noise_errors(record).sel(setting=setting, flow=flow)
            errors.plot(one.eta, one, ms=4, **look | LOOKS[flow] | {"label": f"{WORDS[flow]}, {setting}"})
    errors.set(yscale="log", ylabel="error of the path", title="gradient noise")
    style.rate_axis(errors, list(record.noise_eta.values))
    errors.set_ylim(float(record.noise_error.min()) / 3)
    errors.legend(fontsize=7, loc="lower right")
    looks = zip(np.linspace(6, 1, record.sizes["p"]), style.shades(record.sizes["p"])[::-1], record.p.values, strict=True)
    for width, shade, p in looks:
        exponents.plot(record.p_step[1:], record.p_mse.sel(p=p)[1:], lw=width, color=shade, label=f"$p = {p:g}$")
    exponents.set(yscale="log", xlabel="step", ylabel="mean square over all weights", title="exponent $p$, paper's equation")
    exponents.legend(fontsize=7)
    return figure


@said
def noise_said(record: xr.Dataset) -> str:
    """Which flow is the closer one with noise, what noise costs each, and what the exponent changes."""
    errors = noise_errors(record)
    noisy, full = errors.sel(setting="minibatches"), errors.sel(setting="full batch")
    return (
        f"With minibatches the half-step flow is the closer one at {of_all(_ratio(noisy) > 1, 'learning rates')}. The error "
        f"with them, over that with the full batch, is "
        f"{_both(span(noisy.sel(flow=flow) / full.sel(flow=flow)) for flow in BOTH)}. The exponent $p$ changes the path of the "
        f"paper's equation by a share {below(float(record.p_gap.max()))} of its way."
    )


def noise_table(record: xr.Dataset) -> Table:
    """The errors with and without noise by learning rate."""
    errors = noise_errors(record).sel(flow=list(BOTH)).transpose("eta", "setting", "flow")
    rows = [(one.eta, one.setting, *one) for by_setting in errors for one in by_setting.sel(setting=list(SETTINGS))]
    return table(("eta", "setting", *(WORDS[flow] for flow in BOTH)), rows, digits=".2g")
