"""The command ``kadam``: what the core answers by itself, and, where the laboratory is installed, all of :mod:`kadam.cli`."""

import argparse
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any

from kadam import __version__
from kadam.decay import STRATEGIES

# Which extra brings what a command may miss; all that is not listed comes with the laboratory.
EXTRAS = {
    "book": ("IPython", "ipykernel", "jupyter_book", "jupytext", "myst_nb", "nbformat", "papermill", "traitlets"),
    "cluster": ("dask", "dask_jobqueue", "distributed"),
    "dev": ("hypothesis", "pytest"),
}
USAGE = "usage: kadam stability --betas BETA1 BETA2 | --version\n\nAll else needs the laboratory: pip install 'kadam[lab]'"


class Interrupted(SystemExit):
    """Ctrl-C or SIGTERM: every block on the way out puts its things in order, and the process ends with the shell's status."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


def main() -> None:
    """Run a command; an interrupt ends it in one line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell's background jobs have it
            signal.signal(number, _interrupt)
    try:
        command(sys.argv[1:])
    except Interrupted:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        print("interrupted; the same command goes on", file=sys.stderr)
        raise


def _interrupt(number: int, frame: Any) -> None:
    sys.unraisablehook = _unraisable
    raise Interrupted(number)


def _unraisable(lost: Any) -> None:
    """An interrupt that struck where Python cannot raise, as in a destructor, comes again; half-made objects end silently."""
    if isinstance(lost.exc_value, Interrupted):
        threading.Timer(0.1, os.kill, (os.getpid(), lost.exc_value.number)).start()


def command(given: list[str]) -> None:
    """Run a command. ``kadam stability`` needs the core alone; what else is missing is named with the extra that brings it."""
    if given[:1] == ["stability"]:
        stability(given[1:])
        return
    if given == ["--version"]:
        print(f"kadam {__version__}")
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
        from kadam.lab.records.pack import CARRIED

        offline = ", or without a network a pack, which `make gpu-pack` makes" if missing in CARRIED else ""
        sys.exit(f"kadam {' '.join(given[:1])}: needs {missing}, which is not installed: pip install 'kadam[{extra}]'{offline}")


def _be_quiet() -> None:
    """Python's warnings are for those who change the code: only who asks sees them, here and in processes begun here."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"


def stability(arguments: Sequence[str]) -> None:
    """Say whether the update of Adam, or of k-Adam, stays bounded with these betas, why, and what other pairs do.

    Exit status: 0 if it stays bounded, 1 if it does not, 2 if the arguments are refused.
    """
    parser = argparse.ArgumentParser(prog="kadam stability", description=stability.__doc__)
    parser.add_argument("--betas", nargs=2, type=float, required=True, metavar=("BETA1", "BETA2"), help="PyTorch's pair")
    parser.add_argument("--k", type=int, default=1, help="stages of k-Adam; 1, the default, is Adam")
    parser.add_argument("--strategy", choices=STRATEGIES, default="inverse_exp", help="how the stages' betas are derived")
    parser.add_argument("--steps", type=int, default=1000, help="within how many steps to give the worst case (default: 1000)")
    parser.add_argument("--batch-tokens", type=float, help="tokens, or samples, in a batch: for sizes in this unit")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", action="store_true", help="the verdict and its reason alone")
    form.add_argument("--json", action="store_true", help="an object instead of prose; null for infinity")
    options = vars(parser.parse_args(arguments))
    from kadam.advice import advise  # numpy is slow to import, and not needed to refuse an option

    short, as_json = options.pop("short"), options.pop("json")
    try:
        advice = advise(**options)
    except ValueError as error:
        parser.error(str(error))
    print(json.dumps(advice.as_dict(), indent=2) if as_json else advice.sentence() if short else advice.report())
    sys.exit(0 if advice.stable_discrete else 1)


if __name__ == "__main__":
    main()
