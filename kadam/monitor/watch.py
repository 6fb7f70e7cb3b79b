"""The monitor: attached to an optimizer, it measures after steps, and remembers, compares and tells."""

import math
import warnings
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kadam.monitor import display
from kadam.monitor.diagnosis import LEVELS, QUANTITIES, Event, Rule, fresh_levels
from kadam.monitor.packet import MEMORY, F, fresh_memory, measured, merged
from kadam.monitor.reading import Kind, Reading, check_is_adams, kind_of, read, unwrapped
from kadam.monitor.ruler import MEASURED, RULERS, Measurement, critical

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CPU = torch.device("cpu")

LONGEST = 10_000  # entries of the history; then every other one goes

Named = nn.Module | Iterable[tuple[str, Tensor]]


class StabilityWarning(UserWarning):
    """Updates of a layer grew beyond their level."""


class Slot:
    """What is remembered of one parameter, which it does not keep alive."""

    def __init__(self, param: Tensor, name: str) -> None:
        self.param, self.name = ref(param), name
        self.memory: Tensor | None = None  # of its rows here: (8, rows)
        self.levels = fresh_levels()
        self.pending: Mapping[str, Any] | None = None  # what a state dict says, until the rows are known

    def rows(self, reading: Reading | None, device: torch.device) -> Tensor:
        """The memory of as many rows as there are now; another number begins anew."""
        count = 0 if reading is None else reading.shape[0]
        if reading is not None and self.pending is not None:
            self.memory, self.pending = self.pending["rows"].T.to(device, copy=True), None
        if self.memory is None or (reading is not None and self.memory.shape[1] != count):
            self.memory = fresh_memory(count, device)
        return self.memory.to(device)

    def kept(self) -> dict[str, Tensor]:
        """For a state dict; rows first."""
        memory = fresh_memory(0, CPU) if self.memory is None else self.memory
        rows = memory.T.cpu().contiguous() if self.pending is None else self.pending["rows"].cpu()
        return {"levels": torch.from_numpy(self.levels.copy()), "rows": rows}


class StabilityMonitor:
    """Watches the updates of an Adam-like optimizer, measures them against theory, and says what made a large one.

    ``optimizer``: Adam, AdamW, NAdam, Adamax, KAdam or one with the same state, or what holds it as ``.optimizer``.
    ``every``: a measurement after so many steps. ``named_parameters``: a module, or pairs of a name and a parameter; else the
    optimizer's own names (torch 2.6 and newer: ``Adam(model.named_parameters())``), else numbers. ``threshold``: an update is
    unusual at so many times its layer's running level, or further where the layer swings widely by itself. ``memory``: steps
    over which a level runs. ``settle``: steps before the first alarm.

    Attached by a hook after each step, until ``detach()``. Nothing of the size of the weights is kept; a measurement brings
    one array to the host, for each device, and takes one collective where parameters are distributed.

    An update u moves a weight by lr u. It is measured from the state after the step. ``log()`` is a plain dictionary for any
    logger, ``events`` a list of :class:`kadam.monitor.Event`, ``str()`` a table, ``picture()`` a matplotlib figure. The first
    event of either cause warns (:class:`kadam.monitor.StabilityWarning`).

    ``ValueError`` for another kind of optimizer and for arguments that make no sense, which it names; ``TypeError`` for what
    is no optimizer.
    """

    def __init__(
        self,
        optimizer: Any,
        *,
        every: int = 10,
        named_parameters: Named | None = None,
        threshold: float = 2.0,
        memory: float = 1000,
        settle: float = 200,
    ) -> None:
        self.every = _checked_every(every)
        self.rule = Rule(
            _above("threshold", threshold, 1.0), _above("memory", memory, 0.0), _above("settle", settle, 0.0), every
        )
        self.optimizer: Optimizer = unwrapped(optimizer)
        check_is_adams(self.optimizer)
        self._names = _given_names(named_parameters, self.optimizer)
        self.events: list[Event] = []
        self.measurement: Measurement | None = None
        self.history: list[tuple[float, float, float]] = []  # step, root mean square and maximum of u
        self._slots: list[Slot] = []
        self._saved: dict[str, Any] = {}
        self._told: set[str] = set()
        self._calls = 0
        self._handle: Any = None
        self.attach()

    def attach(self) -> None:
        """Measure from now on. A compiler of the step does not look into the hook."""
        if self._handle is None:
            self._handle = self.optimizer.register_step_post_hook(torch.compiler.disable(self._after_step))

    def detach(self) -> None:
        """Measure no more; what was found stays."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._calls += 1
        if self._calls % self.every == 0:
            self.measure()

    @torch.no_grad()
    def measure(self) -> None:
        """Measure now, whatever the number of steps. Gradients must still be there."""
        slots, kinds, readings = self._read()
        places: dict[Any, list[int]] = {}
        for i, slot in enumerate(slots):
            param: Any = slot.param()
            places.setdefault((_device(param), getattr(param, "device_mesh", None)), []).append(i)
        packets: dict[torch.device, list[tuple[list[int], Tensor]]] = {}
        for (device, mesh), here in places.items():
            packet = self._packet([slots[i] for i in here], [readings[i] for i in here], [kinds[i] for i in here], device)
            if mesh is not None:
                params: Any = [slots[i].param() for i in here]
                packet = merged(packet, mesh, [p.placements for p in params])
            packets.setdefault(device, []).append((here, packet))
        if any(r is not None for r in readings):
            self._judge(slots, kinds, _on_host(packets, len(slots)))

    def _read(self) -> tuple[list[Slot], list[Kind], list[Reading | None]]:
        """For every parameter that is trained a slot, a kind, and what there is to measure."""
        slots, kinds, readings = [], [], []
        known = iter(self._slots)
        number = -1
        for group in self.optimizer.param_groups:
            kind = kind_of(self.optimizer, group)
            for param in group["params"]:
                number += 1
                slot = next(known, None)
                if slot is None or slot.param() is not param:
                    slot = self._slot(param, number)
                slots.append(slot)
                kinds.append(kind)
                readings.append(read(self.optimizer, group, kind, param))
        self._slots = slots
        return slots, kinds, readings

    def _slot(self, param: Tensor, number: int) -> Slot:
        """That of this parameter if it is known in another place, or a new one."""
        for slot in self._slots:
            if slot.param() is param:
                return slot
        slot = Slot(param, self._name(param, number))
        if slot.name in self._saved:
            slot.pending = self._saved.pop(slot.name)
            slot.levels = slot.pending["levels"].numpy().copy()
        return slot

    def _name(self, param: Tensor, number: int) -> str:
        for named, name in self._names:
            if named() is param:
                return name
        own = [name for group in self.optimizer.param_groups for name in group.get("param_names", group["params"])]
        return own[number] if number < len(own) and isinstance(own[number], str) else str(number)

    def _packet(self, slots: list[Slot], readings: list[Reading | None], kinds: list[Kind], device: torch.device) -> Tensor:
        memories = [slot.rows(reading, device) for slot, reading in zip(slots, readings, strict=True)]
        packet, memories = measured(readings, memories, list(map(critical, kinds)), self.rule.rate, device)
        for slot, memory in zip(slots, memories, strict=True):
            slot.memory = memory
        return packet

    def _judge(self, slots: list[Slot], kinds: list[Kind], packet: Any) -> None:
        levels = np.stack([slot.levels for slot in slots])
        there = np.flatnonzero(packet[:, F["size"]] > 0)
        if (packet[there, F["step"]] == levels[there, 0, LEVELS.index("last")]).all():
            return  # a step that a scaler skipped
        found, levels = self.rule.judged(packet, levels)
        for slot, mine in zip(slots, levels, strict=True):
            slot.levels = mine
        for i, facts in found:
            self._tell(Event(name=slots[i].name, **facts))
        step = int(packet[:, F["step"]].max())
        self.measurement = Measurement(step, [slots[i].name for i in there], [kinds[i] for i in there], packet[there])
        size, square = packet[:, F["size"]].sum(), packet[:, F["update"]].sum()
        self.history.append((step, math.sqrt(square / size), float(packet[:, F["largest"]].max())))
        if len(self.history) > LONGEST:
            del self.history[1::2]

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        if event.kind not in self._told:
            self._told.add(event.kind)
            warnings.warn(f"{event}. More of this cause are in the monitor's events.", StabilityWarning, stacklevel=2)

    # What was found

    def log(self, *, layers: bool = True, prefix: str = "stability/") -> dict[str, float]:
        """The last measurement, for a logger: ``stability/update_rms`` and so on, and of each layer ``.../update_rms/NAME``.

        Rulers that are not finite numbers are left out, as a bound outside the stable region in the end. Empty before the
        first measurement.
        """
        if self.measurement is None:
            return {}
        found = {f"{prefix}{name}": value for name, value in self.measurement.overall().items() if _is_there(name, value)}
        found[f"{prefix}events"] = float(len(self.events))
        if layers:
            for name, values in self.measurement.layers().items():
                pairs = zip(self.measurement.names, map(float, values), strict=True)
                found.update({f"{prefix}{name}/{layer}": value for layer, value in pairs if _is_there(name, value)})
        return found

    def __str__(self) -> str:
        return display.table(self.measurement, self.events)

    def __repr__(self) -> str:
        return f"StabilityMonitor({type(self.optimizer).__name__}, every={self.every}, events={len(self.events)})"

    def _repr_html_(self) -> str:
        return display.html(self.measurement, self.events)

    def picture(self) -> "Figure":
        """A matplotlib figure of updates over steps, with rulers and events. ``ImportError`` names the extra it needs."""
        return display.picture(self.history, self.measurement, self.events)

    # Checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Levels, what rows remember, and events, by the parameters' names; tensors and plain values only."""
        layers = {slot.name: slot.kept() for slot in self._slots}
        events = [dict(vars(event)) for event in self.events]
        return {"calls": self._calls, "layers": {**self._saved, **layers}, "events": events, "history": list(self.history)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from there. What is of names that are not here waits for them; ``ValueError`` for what is no state."""
        if not {"calls", "layers", "events", "history"} <= set(state_dict):
            raise ValueError(f"state_dict must be that of a StabilityMonitor, got the keys {sorted(map(str, state_dict))}")
        for name, layer in state_dict["layers"].items():
            shapes = tuple(layer["levels"].shape), tuple(layer["rows"].shape[1:])
            if shapes != ((len(QUANTITIES), len(LEVELS)), (len(MEMORY),)):
                raise ValueError(f"state_dict has another version's layer {name!r}")
        self._slots, self._saved = [], dict(state_dict["layers"])
        self._calls, self.history = int(state_dict["calls"]), [tuple(entry) for entry in state_dict["history"]]
        self.events = [Event(**event) for event in state_dict["events"]]
        self._told = {event.kind for event in self.events}


def _on_host(packets: dict[torch.device, list[tuple[list[int], Tensor]]], layers: int) -> Any:
    """All packets as one array, layers in order; one transfer for each device."""
    whole = np.zeros((layers, len(F)))
    for parts in packets.values():
        numbers = torch.cat([packet for _, packet in parts]).cpu().numpy()
        whole[[i for here, _ in parts for i in here]] = numbers
    return whole


def _device(param: Any) -> torch.device:
    return param.to_local().device if hasattr(param, "to_local") else param.device


def _is_there(name: str, value: float) -> bool:
    """Measured numbers as they come, but for what a layer has not; rulers where they are finite."""
    if name in RULERS or name in ("outside_box", "turn", "update_to_weight"):
        return math.isfinite(value)
    assert name in MEASURED
    return True


def _checked_every(every: Any) -> int:
    if isinstance(every, bool) or not isinstance(every, Integral) or every < 1:
        raise ValueError(f"every must be a whole number of steps, at least 1, got {every!r}")
    return int(every)


def _above(name: str, value: Any, least: float) -> float:
    number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    if not least < number < math.inf:
        raise ValueError(f"{name} must be a finite number above {least:g}, got {value!r}")
    return number


def _given_names(named: Named | None, optimizer: Optimizer) -> list[tuple[Any, str]]:
    """Pairs of a weak reference and a name; ``ValueError`` if none of them is the optimizer's."""
    if named is None:
        return []
    pairs = list(named.named_parameters() if isinstance(named, nn.Module) else named)
    if not all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], Tensor) for pair in pairs):
        raise TypeError(
            "named_parameters must be a module or pairs of a name and a parameter, as model.named_parameters() gives"
        )
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(param) in own for _, param in pairs):
        raise ValueError("named_parameters must name the optimizer's parameters, it names none of them")
    return [(ref(param), str(name)) for name, param in pairs]
