"""An interactive page without a server: drag or type a pair of betas, and see what the theory says of it.

All that it shows is computed in the reader's browser, by ``explorer.js``. From here it has the names of things.
"""

import json
from html import escape
from importlib.resources import files

from kadam.advice import COMMON
from kadam.decay import STRATEGIES

# The pairs that can be picked by name: those that people use, and their most common slip.
PRESETS = {**COMMON, (0.999, 0.9): "the default, swapped"}

WITHOUT_SCRIPT = "Without scripts, <code>kadam stability --betas 0.9 0.999</code> in a terminal answers what a map does here."


def script() -> str:
    """The script that fills every explorer of a page; it needs nothing else."""
    return files("kadam.report").joinpath("explorer.js").read_text(encoding="utf-8")


def fragment() -> str:
    """One explorer with its script, as HTML for a page."""
    presets = json.dumps([[*pair, name] for pair, name in PRESETS.items()])
    data = f'data-presets="{escape(presets)}" data-strategies="{escape(json.dumps(STRATEGIES))}"'
    return f'<div class="kadam-explorer" {data}><p>{WITHOUT_SCRIPT}</p></div>\n<script>\n{script()}</script>'
