"""The figure of chapter 5 on the steady ratio of gradient and weight, with the numbers that it shows."""

import re

import xarray as xr

from kadam.chapters.scale_invariance.steady.claims import over
from kadam.report import style
from kadam.report.sentences import of_all, said, span
from kadam.report.table import Table, table

# Of the kinds of gradients: colour, marker, its filling.
LOOKS = ((style.EXACT, "v", None), (style.MEASURED, "o", None), (style.SECOND, "^", None), (style.CORRECTED, "D", "none"))
NEAR = 0.05  # how near to 1 a ratio counts as near


@style.styled
def ratios(record: xr.Dataset) -> style.Figure:
    """|g/sqrt(v)|/|W| over sqrt(2 lambda/eta) against gamma, a panel a method: measured, and by the law."""
    figure, panels = style.panels(1, record.sizes["descent"], height=3.2, sharey=True)
    base = float(record.without_momentum)
    for axes, method in zip(panels, record.descent.values, strict=True):
        one = record.sel(descent=method).mean("seed") / base
        for kind, (colour, marker, fill) in zip(record.gradients.values, LOOKS, strict=True):
            axes.plot(record.gamma, one.gradient_law.sel(gradients=kind), color=colour, lw=1)
            found, look = one.gradient_ratio.sel(gradients=kind), {"color": colour, "mfc": fill or colour}
            axes.plot(record.gamma, found, marker, ms=5, label=_in_signs(kind), **look)
        axes.axhline(1, color=style.PAPER, ls="--", lw=1, label="without momentum")
        axes.set(yscale="log", title=_in_signs(method))
        style.against_gamma(axes, record.gamma.values)
    panels[0].set_ylabel(r"$|s|/|W|$ over $\sqrt{2\lambda/\eta}$")
    panels[0].set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    panels[0].set_yticks([], minor=True)
    return style.with_legend(figure, panels[0], ncols=5, fontsize=7)


def _in_signs(name: str) -> str:
    return re.sub(r"(-?[\d.]+|\bv\b)", r"$\1$", name)


@said
def ratios_said(record: xr.Dataset) -> str:
    """How far each prediction is off, and where the one without momentum is near."""
    law, without = (over(record, "gradient_ratio", name) for name in ("gradient_law", "without_momentum"))
    moving = without.sel(gamma=without.gamma > 0)
    plain = moving.sel(gradients="correlation 0")
    return (
        f"Measured over predicted, the law with the cross term gives {span(law, '.2f')}. The formula without momentum gives "
        f"{span(moving, '.2f')} at $\\gamma > 0$; it is within {NEAR:.0%} in {of_all(abs(moving - 1) <= NEAR, 'cases')}, and "
        f"with uncorrelated gradients it gives {span(plain, '.2f')}. The update over the weight is "
        f"{span(over(record, 'update_ratio', 'without_momentum').sel(gamma=0.9), '.2f')} times that formula at "
        f"$\\gamma = 0.9$, where the law says {float(record.update_law.sel(gamma=0.9) / record.without_momentum):.2f}."
    )


def ratio_table(record: xr.Dataset) -> Table:
    """Over sqrt(2 lambda/eta): what is predicted from the correlation alone, by the law, and measured, mean over seeds."""
    base = record.without_momentum
    nominal, law, found = (record[name] / base for name in ("gradient_nominal", "gradient_law", "gradient_ratio"))
    law, found = law.mean("seed"), found.mean("seed")
    head = ("method", "gradients", *(f"gamma = {gamma:g}: from the correlation, by the law, measured" for gamma in (0.9, 0.99)))

    def written(method: str, kind: str, gamma: float) -> str:
        each = (
            nominal.sel(gradients=kind, gamma=gamma),
            *(x.sel(descent=method, gradients=kind, gamma=gamma) for x in (law, found)),
        )
        return ", ".join("-" if x.isnull() else f"{float(x):.3g}" for x in each)

    cases = [(method, kind) for method in record.descent.values for kind in record.gradients.values]
    return table(head, [(*case, *(written(*case, gamma) for gamma in (0.9, 0.99))) for case in cases])
