"""How Adam and the equations look in the chapter's figures and tables."""

from typing import Any

from kadam.report import style

LOOKS: dict[str, dict[str, Any]] = {
    "adam": {"color": style.MEASURED, "label": "Adam"},
    "paper": {"color": style.PAPER, "label": "paper's equation"},
    "second": {"color": style.EXACT, "label": "half-step flow"},
    "classical": {"color": style.GUIDE, "label": "classical limit"},
    "integral": {"color": style.SECOND, "label": "Heredia's integrals"},
}
WORDS = {flow: look["label"] for flow, look in LOOKS.items()}
