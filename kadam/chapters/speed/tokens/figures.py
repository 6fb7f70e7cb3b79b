"""The figures and the table of chapter 7 on speed, from a record of one machine."""

from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from kadam.chapters.speed import loop_figures as loops
from kadam.chapters.speed.loop_figures import shares
from kadam.chapters.speed.loop_figures import split as split
from kadam.report import style

FUSED = "Adam, fused"

# Colour and marker of the networks, in the record's order.
LINES = ((style.EXACT, "o"), (style.CORRECTED, "s"), (style.PAPER, "^"))


def medians(record: xr.Dataset) -> dict[str, Any]:
    """The numbers of the table, by name."""
    names, share = loops.cases(record), record.share.sel(loop="ours").median("round")
    return {
        "tokens_a_second": loops.rates(record),
        "ours_over_plain": loops.ratios(record),
        "shares": {name: shares(record, name) for name in names},
        "share_of_arithmetic": {name: float(share.sel(setting=name)) for name in names},
        "attention": {name: str(record.attention.sel(setting=name).values) for name in names},
        "step_over_adam": {name: costs(record, name) for name in names},
        "state_bytes": dict(zip(record.optimizer.values.tolist(), record.state_bytes[0].values.tolist(), strict=True)),
    }


def costs(record: xr.Dataset, network: str) -> dict[str, float]:
    """Time of a step over Adam's by optimizer, for the network of this name."""
    found = loops.costs(record).sel(setting=network)
    return dict(zip(record.optimizer.values.tolist(), found.values.tolist(), strict=True))


def table(record: xr.Dataset) -> str:
    """Tokens a second and the share of the arithmetic, the parts of a step, and the cost of every optimizer."""
    found = medians(record)
    names, width = loops.cases(record), max(map(len, loops.cases(record))) + 1
    lines = [f"{'':{width}}{'ours':>9}{'plain':>9} tokens/s{'ratio':>7}{'arithmetic':>12}  attention"]
    for name in names:
        ours, plain = (found["tokens_a_second"][f"{name}, {loop}"] for loop in ("ours", "plain"))
        numbers = f"{ours:>9,.0f}{plain:>9,.0f}{found['ours_over_plain'][name]:>16.2f}"
        share, kernel = found["share_of_arithmetic"][name], found["attention"][name]
        lines.append(f"{name:{width}}{numbers}{share:>12.0%}  {kernel.lower().replace('_', ' ')}")
    lines.append(f"{'share of a step':{width}}" + "".join(f"{part:>10}" for part in loops.PARTS))
    lines += [f"{name:{width}}" + "".join(f"{x:>10.0%}" for x in found["shares"][name].values()) for name in names]
    lines.append(f"{'step over Adam':>20}" + "".join(f"{name:>{width}}" for name in names) + "  state/weights")
    for optimizer, state in found["state_bytes"].items():
        times = "".join(f"{found['step_over_adam'][name][optimizer]:>{width}.2f}" for name in names)
        lines.append(f"{optimizer:>20}{times}{state:>15.1f}")
    return "\n".join(lines)


@style.styled
def cost(record: xr.Dataset) -> Figure:
    """Time of a step over Adam's against k with the strategy that was varied; crosses: torch's fused Adam."""
    figure, axes = style.panels(1, 1, height=3.0)
    staged = record.sel(optimizer=(record.k >= 1) & ~record.optimizer.str.endswith("meta")).sortby("k")
    for name, (colour, marker) in zip(loops.cases(record), LINES, strict=False):
        of = costs(record, name)
        axes.plot(staged.k, [of[str(n)] for n in staged.optimizer.values], f"{marker}-", color=colour, label=name)
        axes.plot(1, of[FUSED], "x", color=colour)
    axes.plot([], [], "x", color=style.GUIDE, label="torch's fused Adam")
    axes.axhline(1, color=style.GUIDE, ls="--", lw=1)
    loops.by_k(axes, staged.k.values, loops.TIME, float(loops.costs(staged).max()))
    axes.legend()
    style.label_stand_in(figure, record)
    return figure
