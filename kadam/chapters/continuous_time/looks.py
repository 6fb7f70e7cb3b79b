"""How Adam and the equations look in the chapter's figures and tables: each has a colour and a line."""

from typing import Any

from kadam.report import style

LOOKS: dict[str, dict[str, Any]] = {
    "adam": {"color": style.MEASURED, "ls": "", "marker": ".", "label": "Adam"},
    "paper": {"color": style.PAPER, "ls": "--", "label": "paper's equation"},
    "second": {"color": style.EXACT, "ls": "-", "label": "half-step flow"},
    "classical": {"color": style.GUIDE, "ls": ":", "label": "classical limit"},
    "integral": {"color": style.SECOND, "ls": "-.", "label": "Heredia's integrals"},
}
WORDS = {flow: look["label"] for flow, look in LOOKS.items()}
