"""An interactive page without a server: two sliders, and what the theory says of the pair that they choose.

Every answer is computed here, by the theory, for every position of the sliders; the page's script only looks it up.
"""

import json
import re
from importlib.resources import files

import numpy as np

from kadam.advice import advise
from kadam.decay import Decay
from kadam.theory import stability

# The positions of both sliders: from no memory to 10,000 steps, with the values that people use among them.
RATES = (
    *(0.0, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88),
    *(0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.965, 0.97, 0.975, 0.98, 0.985),
    *(0.99, 0.992, 0.995, 0.997, 0.998, 0.999, 0.9995, 0.9999),
)
START = (0.9, 0.999)  # PyTorch's default betas

SIDE = 320  # of the map, in pixels
DECADES = 4.0  # the map's axes are -log10(1 - rate), from 0 to this


def answers() -> list[list[tuple[bool, str]]]:
    """For every position of beta1, and within it of beta2: whether the pair is stable, and the reason."""
    pairs = [[advise(Decay.from_betas((beta1, beta2))) for beta2 in RATES] for beta1 in RATES]
    return [[(advice.stable_discrete, advice.sentence()) for advice in row] for row in pairs]


def fragment() -> str:
    """The sliders, the map and the answers as one piece of HTML that needs nothing else."""
    values = {
        "RATES": json.dumps(RATES),
        "ANSWERS": json.dumps(answers()),
        "PLACES": json.dumps([round(place(rate), 1) for rate in RATES]),
        "BETA1": str(RATES.index(START[0])),
        "BETA2": str(RATES.index(START[1])),
        "LAST": str(len(RATES) - 1),
        "SIDE": str(SIDE),
        "EXACT": boundary_path("discrete"),
        "PAPER": boundary_path("continuous"),
    }
    html = files("kadam.report").joinpath("explorer.html").read_text(encoding="utf-8")
    return re.sub("@([A-Z0-9]+)@", lambda found: values[found[1]], html)


def place(rate: float) -> float:
    """Where a rate lies along an axis of the map, in pixels from its origin."""
    return float(-np.log10(1 - rate) / DECADES * SIDE)


def boundary_path(time: stability.Time) -> str:
    """A boundary as the points of an SVG polyline: gamma to the right, beta upwards."""
    gamma = 1 - np.geomspace(1, 10**-DECADES, 200)
    points = [(place(g), SIDE - place(b)) for g, b in zip(gamma, stability.boundary(gamma, time=time), strict=True)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
