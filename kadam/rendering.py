"""From pages to html, by Jupyter Book in a process of its own."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

from kadam.notebooks import BookError

# Jupyter Book's command. It begins when it is told to, if it is: with all that it needs loaded, before it looks for pages.
COMMAND = """import sys
from jupyter_book.cli.main import main
import kadam.monitor, kadam.optim, kadam.theory.box, kadam.theory.flow, ziamath
from sphinx import application

def setup(app):
    app.connect("config-inited", lambda *given: sys.stdin.readline() or sys.exit(), priority=0)

application.builtin_extensions += (__name__,)
main()"""


@contextmanager
def renderer(root: Path, output: Path) -> Iterator[Callable[[], None]]:
    """What makes html of the pages when it is called, strictly; its process loads meanwhile what it needs, which takes seconds.

    The call raises ``BookError`` with what Sphinx said.
    """
    command = [sys.executable, "-P", "-c", COMMAND, "build", "book", "--config", "_config.yml", "--path-output", str(output)]
    command += ["-W", "-n", "--keep-going"]
    with Popen(command, cwd=root, text=True, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:

        def render() -> None:
            said = process.communicate("begin\n")
            if process.returncode != 0:
                # Sphinx says nothing of pages that it has read before: the next build reads all of them, and complains again.
                shutil.rmtree(output / "_build" / ".doctrees", ignore_errors=True)
                raise BookError("\n".join(["the strict build failed:", *(part[-4000:] for part in said)]))

        try:
            yield render
        finally:
            process.kill()
