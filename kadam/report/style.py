"""Figure style as values: one width, one dictionary of colours and of axes, so that a colour or a side means one thing."""

import functools
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes as Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, TwoSlopeNorm, to_rgb
from matplotlib.figure import Figure as Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from kadam.report.once import judging

P = ParamSpec("P")

# Okabe & Ito's palette, told apart by colour-blind readers; what a hue means beside the laws is said below.
PAPER = "#D55E00"  # the paper's continuous-time law
EXACT = "#0072B2"  # the exact discrete law
CORRECTED = "#009E73"  # the exact discrete law with its bias correction
MEASURED = "#222222"  # what a run measured
SECOND = "#CC79A7"  # a second measurement beside it
FOURTH = "#E69F00"  # a fourth and a fifth thing told apart
FIFTH = "#56B4E9"
GUIDE = "#888888"  # grid, level curves, remarks
UNSTABLE = "#B2182B"  # a pair, or a run with it, outside of the region
STABLE = "#2166AC"  # one that is well, as if inside
REST = "#cccccc"  # what is left

# Methods: Adam and its near relatives are black and differ by line or marker; SGD has the one hue that no strategy has.
ADAM, SIGNS, SGD = MEASURED, GUIDE, PAPER
STRATEGIES = {"repeat": FIFTH, "inverse_exp": EXACT, "scaled": CORRECTED, "root": SECOND, "meta": FOURTH}

MARKS = dict(zip(STRATEGIES, "vos^D", strict=True))  # so that strategies are told apart in print as well

GROWTH_MAP = "YlOrRd"  # how fast updates may grow
SIZE_MAP = "Purples"  # how large anything else is
# Numbers whose order counts, as k, learning rates, memories: the palest end, which vanishes on white, is cut off.
NUMBERS = ListedColormap(colormaps["viridis"](np.linspace(0, 0.8, 256)), "numbers")

# Where a point lies along the normal curve: outside orange to red, inside blue, and always darker than outside; none is pale.
ALONG_CURVE = LinearSegmentedColormap.from_list(
    "along the curve", [(0, UNSTABLE), (0.499, "#F4A259"), (0.5, "#5B9BD5"), (1, "#08306B")]
)

WIDTH = 7.6  # inches: the text column of the book
NAME = 0.07  # of the height of a panel: what a name beside a line takes

BASE: Any = {
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.4,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
}

GAMMA_LABEL = r"$\gamma$  (PyTorch's beta1)"
BETA_LABEL = r"$\beta$  (PyTorch's beta2)"
C_LABEL = r"$C(\beta,\gamma)$  (right of 0: unstable)"

# What is drawn in many figures, as mathematics.
UPDATE, SQUARE, NORM = r"$|u|$", r"$|u|^2$", r"$|W|^2$"
RMS = r"rms of $u$"
R_MED = r"$R_{\mathrm{med}}$"
TIME = r"time $n\eta$"


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a function that draws a record so that it draws in this style and labels stand-in data.

    The figure's ``gid`` is the function's name, its ``drawn_from`` what the records say of themselves.

    Only the settings named in ``BASE`` are put back: ``plt.rc_context`` would also undo what a notebook's backend sets
    when it wakes up at the first figure, and every later figure would stay invisible.
    """

    @functools.wraps(draw)
    def draw_in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        before = {name: plt.rcParams[name] for name in BASE}
        plt.rcParams.update(BASE)
        try:
            with judging():
                figure = draw(*args, **kwargs)
            _label_stand_in(figure, args)
            _drop_minor_ticks(figure)
            figure.set_gid(f"{draw.__module__}.{draw.__name__}")
            figure.drawn_from = [one.attrs for one in args if isinstance(one, xr.Dataset)]  # type: ignore[attr-defined]
            return figure
        finally:
            plt.rcParams.update(before)

    draw_in_style.draws = True  # type: ignore[attr-defined]  # by this a figure is known
    return draw_in_style


def panels(rows: int, columns: int, *, height: float, ylabel: str = "", **options: Any) -> tuple[Figure, Any]:
    """A figure as wide as the text, ``height`` inches high, and its axes; ``ylabel``: of those on the left."""
    size = (WIDTH, height)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", **options)
    plt.setp(figure.axes[::columns], ylabel=ylabel)
    return figure, axes


def with_legend(figure: Figure, axes: Axes, **legend: Any) -> Figure:
    """The figure with one legend for all panels, of what is drawn in ``axes``; above them unless ``loc`` says otherwise."""
    figure.legend(*axes.get_legend_handles_labels(), **{"loc": "outside upper center", **legend})
    return figure


def name_lines(axes: Axes) -> None:
    """The name of each line beside its end, in its colour, moved apart where they would meet; call it after limits are set."""
    ends = [(_end(axes, line), line) for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    height = -np.inf
    for (x, y), line in sorted(ends, key=lambda end: end[0][1]):
        height = max(y, height + NAME)
        dark = 0.75 * np.array(to_rgb(line.get_color()))  # thin strokes need more contrast than lines
        words: Any = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 8, "color": dark}
        axes.annotate(str(line.get_label()), (x, height), xycoords="axes fraction", **words)


def _end(axes: Axes, line: Line2D) -> tuple[float, float]:
    """Where a line ends, as shares of the panel."""
    axes.autoscale_view()
    points = (axes.transScale + axes.transLimits).transform(line.get_xydata())
    x, y = points[np.isfinite(points).all(1)][-1]
    return float(x), float(y)


def rate_axis(axes: Axes, rates: Sequence[float], label: str = "learning rate") -> None:
    """A logarithmic horizontal axis whose ticks are the smallest, a middle and the largest of the learning rates shown."""
    ordered = sorted(rates)
    shown = sorted({ordered[0], ordered[len(ordered) // 2], ordered[-1]})
    axes.set_xscale("log")
    axes.set_xticks(shown, [scientific(rate) for rate in shown])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(label)


def scientific(number: float) -> str:
    """A positive number as mathematics: a digit or two, times a power of ten."""
    digits, power = f"{number:.1e}".split("e")
    return rf"${float(digits):g}\times10^{{{int(power)}}}$"


def against_c(axes: Axes, **settings: Any) -> None:
    """A horizontal axis of C, which falls to the right, with a line where the paper's region ends."""
    axes.axvline(0, color=MEASURED, lw=0.6)
    axes.set(xlabel=C_LABEL, **settings)
    axes.invert_xaxis()


def against_gamma(axes: Axes, gammas: Sequence[float]) -> None:
    """A horizontal axis of gamma, linear in the logarithm of the memory 1/(1-gamma), with a tick at each of ``gammas``."""
    ends = np.array([min(gammas), max(gammas)], dtype=float)
    axes.set_xlim(*(float(beside(gamma, shift)) for gamma, shift in zip(ends, (-0.15, 0.15), strict=True)))
    memory = (lambda gamma: -np.log10(np.maximum(1 - gamma, 1e-12)), lambda place: 1 - 10.0**-place)
    axes.set_xscale("function", functions=memory)
    axes.set_xticks(list(gammas), [f"{gamma:g}" for gamma in gammas])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(GAMMA_LABEL)


def beside(gamma: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    """Where on that axis a point stands that lies by ``shift`` powers of ten of the memory beside gamma."""
    return 1 - (1 - gamma) * 10.0**-shift


def fine_gammas(gammas: Sequence[float]) -> NDArray[np.float64]:
    """Enough values from the first gamma to the last for a law to be drawn as the curve that it is."""
    return 1 - np.geomspace(1 - min(gammas), 1 - max(gammas), 100)


def along_curve(C: NDArray[np.float64]) -> ScalarMappable:
    """Colours of values of C: orange to red outside the region, blue inside."""
    return ScalarMappable(TwoSlopeNorm(0, min(C.min(), -1e-3), max(C.max(), 1e-3)), ALONG_CURVE)


def name_along_curve(figure: Figure, scale: ScalarMappable, axes: Any) -> None:
    """Beside ``axes``, which value of C a colour of :func:`along_curve` stands for."""
    label, ticks = "$C$  (orange and red: outside the region)", [-0.04, -0.02, 0, 0.05, 0.1, 0.15, 0.2]
    figure.colorbar(scale, ax=axes, label=label, pad=0.02, ticks=ticks)


def shades(count: int) -> NDArray[np.float64]:
    """Colours of so many numbers in their order, the first one the darkest, none of them pale. (count, 4)"""
    return np.asarray(NUMBERS(np.linspace(0, 1, count)))


def _drop_minor_ticks(figure: Figure) -> None:
    """Of a logarithmic axis over two powers of ten or more: marks without a number, and half of the time of a layout."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) if axis.get_scale() == "log"):
        low, high = sorted(axis.get_view_interval())
        if high >= 100 * low:
            axis.set_minor_locator(NullLocator())


def _label_stand_in(figure: Figure, drawn: Sequence[Any]) -> None:
    """Say on a figure that says nothing itself where a record that it was drawn from was made of stand-in data."""
    if figure.get_supxlabel():
        return
    for record in drawn:
        if isinstance(record, xr.Dataset) and record.attrs.get("data_origin") == "embedded":
            words = textwrap.fill(f"stand-in data: {record.attrs['data']}", 120)
            figure.supxlabel(words, fontsize=8, color=PAPER, x=0.99, ha="right")
