"""The figures of chapter 3, each with the numbers that it shows, except the one of the orders."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kadam.report import style
from kadam.theory import stability

# Colour, line and words of each path.
CURVES = {
    "adam": (style.MEASURED, ".", "Adam"),
    "paper": (style.PAPER, "-", "paper's equation"),
    "second": (style.EXACT, "-", "half-step flow"),
}
FLOWS = ("paper", "second")

RATES = ("#08306b", "#2171b5", "#6baed6", "#bdd7e7")  # learning rates, small to large
SETTINGS = {"full batch": "o-", "minibatches": "s--"}


@style.styled
def weights(record: xr.Dataset) -> Figure:
    """Adam's path and those of both flows for the randomly chosen weights, one panel each."""
    columns = 4
    figure, all_axes = style.panels(-(-record.sizes["weight"] // columns), columns, height=6.6, sharex=True, squeeze=False)
    time = np.arange(record.sizes["shown_step"]) * record.attrs["shown_eta"]
    for axes, weight in zip(all_axes.flat, range(record.sizes["weight"]), strict=False):
        one = record.isel(weight=weight)
        for curve, (colour, line, label) in CURVES.items():
            axes.plot(time, one.shown.sel(curve=curve), line, ms=2.5, lw=1.1, color=colour, label=label)
        axes.set_title(str(one.name.values), fontsize=6.5)
        axes.tick_params(labelsize=6)
    for axes in all_axes[-1]:
        axes.set_xlabel("time, steps * eta", fontsize=7)
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def weight_table(record: xr.Dataset) -> str:
    """For each flow the median and the largest gap to Adam over the shown weights, as a share of the weight's range."""
    discrete = record.shown.sel(curve="adam")
    span = discrete.max("shown_step") - discrete.min("shown_step")
    lines = [f"{'gap / range of the weight':<28}{'median':>9}{'largest':>9}{'gradients a step':>18}"]
    for flow in FLOWS:
        gap = np.abs(record.shown.sel(curve=flow) - discrete).max("shown_step") / span.where(span > 0)
        asked = float(record.evaluations.sel(curve=flow))
        lines.append(f"{CURVES[flow][2]:<28}{float(gap.median()):>9.1%}{float(gap.max()):>9.1%}{asked:>18.0f}")
    return "\n".join(lines)


@style.styled
def squares(record: xr.Dataset) -> Figure:
    """Mean squared distance to Adam over all weights against time, by learning rate; and the longer run with its loss."""
    figure, (paper, second, longer) = style.panels(1, 3, height=3.5)
    for axes, flow in ((paper, "paper"), (second, "second")):
        _by_rate(axes, record, flow)
        axes.set(yscale="log", xlabel="time, steps * eta", title=CURVES[flow][2])
    second.sharey(paper)
    paper.set_ylabel("mean square over all weights")
    paper.legend(fontsize=6.5, loc="lower right")
    _longer(longer, record)
    return figure


def _by_rate(axes: Axes, record: xr.Dataset, flow: str) -> None:
    for colour, eta in zip(RATES, np.sort(record.path_eta.values), strict=False):
        one = record.path_mse.sel(flow=flow, path_eta=eta).dropna("path_step")[1:]
        axes.plot(one.path_step * eta, one, color=colour, label=f"eta = {eta:.2g}")
    moved = record.path_moved.isel(path_eta=int(np.argmin(record.path_eta.values))).dropna("path_step")[1:]
    axes.plot(moved.path_step * float(moved.path_eta), moved, "--", lw=1, color=style.MEASURED, label="Adam to its start")


def _longer(axes: Axes, record: xr.Dataset) -> None:
    for flow in FLOWS:
        colour, line, label = CURVES[flow]
        share = np.sqrt(record.long_mse.sel(flow=flow) / record.long_moved)[1:]
        axes.plot(share.long_step, share, line, color=colour, label=label)
    axes.set(xlabel="step", ylabel="distance to Adam / Adam's to its start", title="the longer run", ylim=(0, None))
    axes.legend(fontsize=6.5, loc="lower right")


def error_table(record: xr.Dataset) -> str:
    """The error of each flow over all weights by learning rate, and along the longer run."""
    lines = [f"{'eta':>9}" + "".join(f"{CURVES[flow][2]:>18}" for flow in FLOWS)]
    for eta in np.sort(record.path_eta.values)[::-1]:
        one = record.sel(path_eta=eta)
        error = np.sqrt(one.path_mse.max("path_step") / one.path_moved.max())
        lines.append(f"{eta:>9.2g}" + "".join(f"{float(error.sel(flow=flow)):>18.3g}" for flow in FLOWS))
    steps = record.sizes["long_step"] - 1
    at = [round(steps * share) for share in (0.25, 0.5, 1)]
    share = np.sqrt(record.long_mse / record.long_moved)
    for flow in FLOWS:
        values = ", ".join(f"{float(share.sel(flow=flow, long_step=n)):.2g} at step {n}" for n in at)
        lines.append(f"longer run, {CURVES[flow][2]}: {values}")
    lines.append(f"loss of the longer run: {float(record.long_loss[0]):.2f} to {float(record.long_loss[-1]):.2f}")
    return "\n".join(lines)


@style.styled
def betas(record: xr.Dataset) -> Figure:
    """The error of each flow over a grid of (beta, gamma); frames mark pairs outside the exact stable region."""
    figure, both = style.panels(1, 2, height=3.6, sharey=True)
    for axes, flow in zip(both, FLOWS, strict=True):
        errors = record.map_error.sel(flow=flow).transpose("beta", "gamma")
        image = axes.imshow(_finite(errors), norm=LogNorm(1e-3, 1), cmap=style.GROWTH_MAP, origin="lower", aspect="auto")
        _write_cells(axes, errors)
        axes.set_xticks(range(errors.sizes["gamma"]), [f"{x:g}" for x in errors.gamma.values])
        axes.set(xlabel=style.GAMMA_LABEL, title=CURVES[flow][2])
        axes.spines[:].set_visible(False)
    both[0].set_yticks(range(record.sizes["beta"]), [f"{x:g}" for x in record.beta.values])
    both[0].set_ylabel(style.BETA_LABEL)
    figure.colorbar(image, ax=both, label="error of the path", extend="both", pad=0.02)
    return figure


def _finite(errors: xr.DataArray) -> np.ndarray:
    return np.where(np.isfinite(errors), errors, 1e3)


def _write_cells(axes: Axes, errors: xr.DataArray) -> None:
    for (i, j), value in np.ndenumerate(errors.values):
        text = f"{value:.1g}" if value < 1 else ">1"
        axes.text(j, i, text, ha="center", va="center", fontsize=6, color="white" if value > 0.1 else "black")
        if not stability.is_stable(beta=errors.beta[i].item(), gamma=errors.gamma[j].item()):
            axes.add_patch(Rectangle((j - 0.46, i - 0.46), 0.92, 0.92, fill=False, ec=style.EXACT, lw=1.2))


def map_table(record: xr.Dataset) -> str:
    """The largest error inside and the median outside the exact stable region, for each flow."""
    beta, gamma = xr.broadcast(record.beta, record.gamma)
    inside = xr.zeros_like(beta, dtype=bool).copy(data=stability.is_stable(beta=beta.values, gamma=gamma.values))
    lines = [f"{'error of the path':<20}{'inside: median':>16}{'largest':>10}{'outside: median':>18}"]
    for flow in FLOWS:
        errors = record.map_error.sel(flow=flow)
        inner, outer = errors.where(inside), errors.where(~inside)
        lines.append(f"{CURVES[flow][2]:<20}{float(inner.median()):>16.2g}{float(inner.max()):>10.2g}{_or_infinite(outer):>18}")
    return "\n".join(lines)


def _or_infinite(errors: xr.DataArray) -> str:
    median = float(np.nanmedian(errors.values))
    return f"{median:.2g}" if np.isfinite(median) else "no finite path"


@style.styled
def noise(record: xr.Dataset) -> Figure:
    """The errors with one batch and with minibatches; and the squared error of the paper's equation for several p."""
    figure, (errors, exponents) = style.panels(1, 2, height=3.3)
    for setting, line in SETTINGS.items():
        for flow in FLOWS:
            colour, _, label = CURVES[flow]
            one = record.noise_error.sel(setting=setting, flow=flow).sortby("noise_eta")
            errors.plot(one.noise_eta, one, line, ms=4, color=colour, label=f"{label}, {setting}")
    errors.set(yscale="log", ylabel="error of the path", title="gradient noise")
    style.rate_axis(errors, list(record.noise_eta.values))
    errors.set_ylim(float(record.noise_error.min()) / 3)
    errors.legend(fontsize=6.5, loc="lower right")
    for width, p in zip(np.linspace(5, 1, record.sizes["p"]), record.p.values, strict=True):
        exponents.plot(record.p_step[1:], record.p_mse.sel(p=p)[1:], lw=width, label=f"p = {p:g}")
    exponents.set(yscale="log", xlabel="step", ylabel="mean square over all weights", title="exponent p, paper's equation")
    exponents.legend(fontsize=6.5)
    return figure


def noise_table(record: xr.Dataset) -> str:
    """The errors with and without noise by learning rate, and how little p matters."""
    lines = [f"{'eta':>9} {'setting':<13}" + "".join(f"{CURVES[flow][2]:>18}" for flow in FLOWS)]
    for eta in np.sort(record.noise_eta.values)[::-1]:
        for setting in SETTINGS:
            one = record.noise_error.sel(noise_eta=eta, setting=setting)
            lines.append(f"{eta:>9.2g} {setting:<13}" + "".join(f"{float(one.sel(flow=flow)):>18.2g}" for flow in FLOWS))
    same = bool(record.p_gap.max() < 1e-8)
    values = ", ".join(f"{p:g}" for p in record.p.values)
    return "\n".join([*lines, f"p = {values}: the same path to 1e-8 of its length: {same}"])
