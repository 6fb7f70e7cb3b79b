"""How Adam and the equations look in the chapter's figures and tables."""

from kadam.report import style

# Colour and words of each.
LOOKS = {
    "adam": (style.MEASURED, "Adam"),
    "paper": (style.PAPER, "paper's equation"),
    "second": (style.EXACT, "half-step flow"),
    "classical": (style.GUIDE, "classical limit"),
}
