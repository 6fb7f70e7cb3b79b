"""The figure of the runs on quadratics, and what it shows in sentences."""

import numpy as np
import xarray as xr
from matplotlib.colors import ListedColormap

from kadam.chapters.stability.quadratics.claims import contrast, looks_stable
from kadam.chapters.stability.quadratics.config import BASE, FACTOR
from kadam.report import style
from kadam.report.sentences import of_all, said, span

THRESHOLD = 1e-3  # of the loss, but where a column changes it

# The columns: title, the setting, the place of the number of steps among those recorded, and the threshold.
COLUMNS: tuple[tuple[str, str, int, float], ...] = (
    ("one\nsetting", "base", 1, THRESHOLD),
    ("learning\nrate ÷ 10", "learning rate / 10", 1, THRESHOLD),
    ("learning\nrate × 10", "learning rate x 10", 1, THRESHOLD),
    ("weight\ndecay", "weight decay", 1, THRESHOLD),
    ("noise", "noise", 1, THRESHOLD),
    ("large $\\varepsilon$", "eps", 1, THRESHOLD),
    ("steps\n÷ 10", "base", 0, THRESHOLD),
    ("threshold\n÷ 100", "base", 1, THRESHOLD / 100),
)
GROWN = f"red: once the gradient falls silent, the update grows {FACTOR:g}-fold", style.UNSTABLE
LOOKS = "blue: after training, the loss is below the threshold", style.STABLE


@style.styled
def maps(record: xr.Dataset) -> style.Figure:
    """A setting, and one change of it a column: pairs that grow in silence, pairs that look stable, and the boundary."""
    figure, grid = style.panels(2, len(COLUMNS), height=2.9, sharex=True, sharey=True)
    for panels, draw, (_, colour) in zip(grid, (_grown, _looks), (GROWN, LOOKS), strict=True):
        for axes, (title, view, steps, threshold) in zip(panels, COLUMNS, strict=True):
            _panel(axes, record, draw(record, view, steps, threshold), colour)
            axes.set_title(title if draw is _grown else " ", fontsize=8, loc="center")
    figure.suptitle(GROWN[0], color=GROWN[1], fontsize=9, x=0.055, ha="left")
    beside = {"xytext": (0, 6), "textcoords": "offset points", "color": LOOKS[1], "fontsize": 9}
    grid[1, 0].annotate(LOOKS[0], (0, 1), xycoords="axes fraction", **beside).set_in_layout(False)
    grid[0, 0].annotate(r"$\beta=\gamma^2$", (0.34, 0.65), fontsize=7.5, ha="center")
    figure.supxlabel(style.GAMMA_LABEL, fontsize=9)
    figure.supylabel(style.BETA_LABEL, fontsize=9)
    return figure


def _panel(axes: style.Axes, record: xr.Dataset, chosen: xr.DataArray, colour: str) -> None:
    """Pairs that are chosen, in a colour, and the boundary."""
    gamma = np.linspace(0, 1, 200)
    axes.pcolormesh(record.gamma, record.beta, chosen, cmap=ListedColormap(["white", colour]), vmin=0, vmax=1, rasterized=True)
    axes.plot(gamma, gamma**2, color=style.MEASURED, lw=1.2)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[0, 1], yticks=[0, 1])
    axes.spines[["top", "right"]].set_visible(True)


def _grown(record: xr.Dataset, view: str, steps: int, threshold: float) -> xr.DataArray:
    return record.grown.sel(view=view).isel(silence=steps)


def _looks(record: xr.Dataset, view: str, steps: int, threshold: float) -> xr.DataArray:
    return record.looks.sel(view=view, threshold=threshold).isel(horizon=steps)


@said
def maps_said(record: xr.Dataset) -> str:
    """Who grows on which side of the boundary, and what only hides them."""
    plain, outside = record.sel(eps=0), int((record.inside == 0).sum())
    right = ((plain.added == 0) & (plain.missing == 0)).all("silence")
    shown = record.predicted.sum(("beta", "gamma")) / outside
    hidden = (record.missing / record.predicted.sum(("beta", "gamma"))).isel(silence=-1).sel(eps=record.eps[1:])
    silent = " and ".join(f"{float(share):.1%} after {int(share.silence)}" for share in shown)
    return (
        f"These are {record.attrs['runs']:,} runs. **What moves the boundary:** updates grow inside in "
        f"{of_all((record.grown_inside > 0).any('silence'), 'settings')}; without eps they grow at exactly the pairs that the "
        f"rate names in {of_all(right, 'settings')}. **What hides it:** of the pairs outside a silence shows {silent} steps; "
        f"of these eps keeps back up to {float(hidden.max()):.0%}."
    )


@said
def loss_said(record: xr.Dataset) -> str:
    """What the share of pairs that look stable depends on, and how far it tells inside from outside."""
    apart, steps = contrast(record), record.horizon.values
    plain = looks_stable(record).sel({name: BASE[name] for name in ("noise", "weight_decay", "eps")}).sel(threshold=THRESHOLD)
    rates = ", ".join(f"{eta:g}" for eta in record.eta.values)
    shares = [", ".join(f"{share:.0%}" for share in plain.sel(horizon=n).values) for n in (steps[1], steps[-1])]
    return (
        f"**What a map of the loss shows:** at learning rates of {rates} the share of pairs that look stable is {shares[0]} "
        f"after {steps[1]:,} steps and {shares[1]} after {steps[-1]:,}. Over all {apart.size:,} maps of the loss the share "
        f"inside minus that outside is {span(apart, '.2f')}."
    )
