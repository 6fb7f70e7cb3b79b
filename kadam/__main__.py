"""The command ``kadam``: what the core answers by itself, and, where the laboratory is installed, all of :mod:`kadam.cli`."""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence

from kadam.decay import STRATEGIES

# Which extra brings what a command may miss; all that is not listed comes with the laboratory.
EXTRAS = {
    "book": ("IPython", "ipykernel", "jupyter_book", "jupytext", "myst_nb", "nbformat", "papermill", "traitlets"),
    "cluster": ("dask", "dask_jobqueue", "distributed"),
}
USAGE = "usage: kadam stability --betas BETA1 BETA2\n\nAll other commands need the laboratory: pip install 'kadam[lab]'"


def main() -> None:
    """Run a command. ``kadam stability`` needs the core alone; what else is missing is named with the extra that brings it."""
    given = sys.argv[1:]
    if given[:1] == ["stability"]:
        stability(given[1:])
        return
    _be_quiet()
    try:
        from kadam.cli import commands

        commands(given, prog_name="kadam")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "kadam":
            raise
        if missing == "click" and given[:1] in ([], ["-h"], ["--help"]):
            sys.exit(USAGE)
        extra = next((extra for extra, modules in EXTRAS.items() if missing in modules), "lab")
        sys.exit(f"kadam {' '.join(given[:1])}: needs {missing}, which is not installed: pip install 'kadam[{extra}]'")


def _be_quiet() -> None:
    """Python's warnings are for those who change the code: only who asks sees them, here and in processes begun here."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"


def stability(arguments: Sequence[str]) -> None:
    """Say whether the update of Adam, or of k-Adam, stays bounded with these betas, and why."""
    parser = argparse.ArgumentParser(prog="kadam stability", description=stability.__doc__)
    parser.add_argument("--betas", nargs=2, type=float, required=True, metavar=("BETA1", "BETA2"), help="PyTorch's pair")
    parser.add_argument("--k", type=int, default=1, help="stages of k-Adam; 1, the default, is Adam")
    parser.add_argument("--strategy", choices=STRATEGIES, default="inverse_exp", help="how the stages' betas are derived")
    parser.add_argument("--json", action="store_true", help="an object instead of prose")
    options = parser.parse_args(arguments)
    from kadam.advice import advise  # numpy is slow to import, and not needed to refuse an option

    try:
        advice = advise(options.betas, k=options.k, strategy=options.strategy)
    except ValueError as error:
        sys.exit(f"Error: {error}")
    print(json.dumps(advice.as_dict(), indent=2) if options.json else advice.sentence())


if __name__ == "__main__":
    main()
