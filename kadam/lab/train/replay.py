"""A step that a GPU is shown once and then repeats by itself: a CUDA graph, one launch in place of hundreds."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

WARM_UP = 3  # calls before the one that is captured: in these compilers compile, and optimizers make their state

_failures: list[str] = []  # what kept this process from capturing, which it then tries no more


class Replay:
    """Calls of one function: on a GPU the first few as they are, then one is captured and replayed; elsewhere all as they are.

    A replay repeats the operations of the captured call with its numbers, on its memory. So what differs between calls must be
    given, as tensors or tuples and lists of them, or lie in tensors that change in place, and the host must read none of them.
    A capture that fails has computed nothing: it is told once, and this process goes on without. ``refusal``: why nothing is
    captured, empty where it is.
    """

    def __init__(self, device: torch.device, refusal: str = "") -> None:
        self._graphs, self.refusal = graphs(device), refusal or "".join(_failures[:1])
        self._calls, self._given = 0, cast(Any, None)

    @property
    def described(self) -> dict[str, str]:
        """The attribute by which a record says whether steps were captured; none for the processor."""
        if self._graphs is None:
            return {}
        return {"captured": f"no: {self.refusal}" if self.refusal else f"yes, after {WARM_UP} steps of each run"}

    def __call__(self, function: Callable[..., Any], *given: Any) -> Any:
        """``function(*given)``, the same function at every call."""
        if self._graphs is None or self.refusal:
            return function(*given)
        self._calls += 1
        self._given = _copied(given) if self._calls == 1 else _filled(self._given, given)
        call = functools.partial(function, *self._given)
        if self._calls <= WARM_UP:
            return self._graphs.ordinary(call)
        if self._calls == WARM_UP + 1:
            try:
                self._again, self._result = self._graphs.captured(call)
            except RuntimeError as error:
                self.refusal = f"{type(error).__name__}: {error}".partition("\n")[0]
                _failures.append(self.refusal)
                warnings.warn(f"a step is not captured in a CUDA graph, and slower so: {self.refusal}", stacklevel=2)
                return function(*given)
        self._again()
        return _copied(self._result)


class CudaGraph:
    """How calls are captured on a GPU: beside its current stream, where those before it run as well."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, _stream(device)

    def ordinary(self, call: Callable[[], Any]) -> Any:
        """A call that computes."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")  # it will be
            result = call()
        current.wait_stream(self.stream)
        return result

    def captured(self, call: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """What makes a call, of which nothing is computed yet, and the tensors in which it leaves its result."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            result = call()
        return graph.replay, result


def graphs(device: torch.device) -> CudaGraph | None:
    """How calls are captured on this device; ``None`` where none are."""
    return CudaGraph(device) if device.type == "cuda" else None


@functools.cache  # one for all: what was allocated on a stream is used again on that one alone
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def _copied(nest: Any) -> Any:
    """Tensors, in tuples and lists, of their own."""
    return nest.clone() if isinstance(nest, Tensor) else type(nest)(map(_copied, nest))


def _filled(kept: Any, given: Any) -> Any:
    """The tensors that are kept, now with what others of their shapes hold."""
    return kept.copy_(given, non_blocking=True) if isinstance(kept, Tensor) else type(kept)(map(_filled, kept, given))
