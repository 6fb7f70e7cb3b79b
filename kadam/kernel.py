"""How a notebook is executed: by a kernel of this very Python, apart from every other kernel of the machine."""

from collections.abc import Mapping
from typing import Any, ClassVar

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from traitlets import default
from traitlets.config import Config

# What the kernel does first: figures then give what they draw as a table, beside their pictures, and what several of a book's
# cells ask of a record, which none of them changes, is computed once.
FIRST = "from kadam import pictures; from kadam.report import once; pictures.publish(get_ipython()); once.KEPT.set({})"


class OwnSpecs(KernelSpecManager):
    """Knows one kernel, that of the Python that asks: whatever is installed under its name elsewhere is passed over."""

    kernel_dirs: ClassVar[list[str]] = []  # type: ignore[misc]


class OwnKernel(AsyncKernelManager):
    """A kernel of the Python that starts it."""

    @default("kernel_spec_manager")
    def _own_specs(self) -> OwnSpecs:
        return OwnSpecs(parent=self)


class CellError(Exception):
    """A cell failed: which one, and how."""


def execute(notebook: nbformat.NotebookNode, parameters: Mapping[str, Any], sockets: str) -> nbformat.NotebookNode:
    """The executed notebook; ``CellError`` where a cell fails.

    The kernel is spoken to through files whose names begin with ``sockets``: no ports, so none that another process could
    take or listen to. It logs only what is critical: at shutdown it would complain of being interrupted.
    """
    config = Config({"KernelManager": {"transport": "ipc", "ip": sockets}})
    kernel: dict[str, Any] = {"kernel_name": "python3", "kernel_manager_class": OwnKernel, "config": config}
    shown = "--InlineBackend.figure_formats=set()"  # what comes first says how a figure is shown
    options = ["--log-level=CRITICAL", shown, f"--IPKernelApp.exec_lines={FIRST}"]
    quiet: dict[str, Any] = {"progress_bar": False, "extra_arguments": options}
    kernel["shutdown_kernel"] = "immediate"  # nothing that it holds outlives the notebook
    try:
        return papermill.execute_notebook(notebook, None, dict(parameters), **quiet, **kernel)
    except papermill.PapermillExecutionError as error:
        raise CellError(f"cell {error.exec_count} failed with {error.ename}: {error.evalue}") from None
