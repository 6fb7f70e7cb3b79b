"""How far a piece of a long computation is: steps counted for a bar, and a state kept so that a killed run goes on."""

import sys
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from tqdm import tqdm

from kadam.lab.engine.state import can_be_set, load_into, save

KEEP_EVERY_S = 30.0  # seconds of work between two states of a piece, which is what a kill may cost
KEEPING_SHARE = 0.05  # of the time at most goes into that: large states are kept more rarely
TELL_EVERY_S = 1.0
LINE_EVERY_S = 60.0  # where no bar can be drawn

Tell = Callable[[int], object]


class Progress:
    """One piece's steps. ``tell`` hears how many are done; ``path``: where its state is kept, every so many seconds."""

    def __init__(self, tell: Tell, path: Path | None = None, *, keep_every_s: float = KEEP_EVERY_S) -> None:
        self.tell, self.path, self.keep_every_s = tell, path, keep_every_s
        self.steps, self.earlier_s = 0, 0.0  # seconds that interrupted runs worked on what is kept
        self._begin = time.monotonic()
        self._next = self._begin + keep_every_s

    @property
    def seconds(self) -> float:
        """Seconds that the piece took, over all runs."""
        return self.earlier_s + time.monotonic() - self._begin

    def tick(self) -> None:
        """One step more is done."""
        self.steps += 1
        self.tell(self.steps)

    def over(self, steps: int, state: Mapping[str, Any]) -> Iterator[int]:
        """n = 0, 1, ... below ``steps``, for a loop whose whole state is ``state``; a killed one goes on where it was kept.

        ``state`` holds objects with ``state_dict``, generators, arrays that the loop changes in place, or nests of them.
        """
        fixed = [name for name, part in state.items() if not can_be_set(part)]
        if fixed:
            raise TypeError(f"state must hold what can be set in place; {fixed[0]} is {state[fixed[0]]!r}")
        if self.path is not None and self.path.exists():
            found = load_into({"state": dict(state)}, self.path)
            self.steps, self.earlier_s = found["steps"], found["seconds"]
            self.tell(self.steps)
        while self.steps < steps:
            yield self.steps
            self.tick()
            if self.path is not None and time.monotonic() >= self._next:
                self._keep(state, self.path)

    def _keep(self, state: Mapping[str, Any], path: Path) -> None:
        begin = time.monotonic()
        save({"steps": self.steps, "seconds": self.seconds, "state": dict(state)}, path)
        end = time.monotonic()
        self._next = end + max(self.keep_every_s, (end - begin) / KEEPING_SHARE)


class Note:
    """Tells through a file, from a process that cannot reach the bar: at most once in so many seconds."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._told = path, 0.0

    def __call__(self, steps: int) -> None:
        if time.monotonic() - self._told >= TELL_EVERY_S:
            self._told = time.monotonic()
            self.path.write_text(str(steps))


@contextmanager
def drawn(title: str, *, total: int, done: int) -> Iterator["tqdm[None] | Lines"]:
    """A bar of so many steps on a terminal, a line a minute elsewhere."""
    if sys.stderr.isatty():
        with tqdm(total=total, initial=done, desc=title, unit="step") as bar:
            yield bar
    else:
        yield Lines(title, total, done)


class Lines:
    """What a bar tells, as a line at most once a minute, and so none of what is shorter."""

    def __init__(self, title: str, total: int, done: int) -> None:
        self.title, self.total, self.n, self._before = title, total, done, done
        self._begin = self._told = time.monotonic()

    def update(self, steps: int) -> None:
        """So many steps more are done."""
        self.n += steps
        now = time.monotonic()
        if now - self._told >= LINE_EVERY_S and self.n > self._before:
            self._told = now
            left = (self.total - self.n) * (now - self._begin) / (self.n - self._before) / 60
            time_left = f"{left:,.0f} min left" if left >= 1 else "less than a minute left"
            print(f"{self.title}: {self.n:,} of {self.total:,} steps, {time_left}", file=sys.stderr, flush=True)


class Bar:
    """One bar with the time left for all pieces together, wherever they are computed."""

    def __init__(self, bar: "tqdm[None] | Lines") -> None:
        self._bar, self._steps, self._lock = bar, dict[Hashable, int](), Lock()

    def at(self, piece: Hashable, steps: int) -> None:
        """So many steps of this piece are done."""
        with self._lock:
            self._bar.update(steps - self._steps.get(piece, 0))
            self._steps[piece] = steps

    @contextmanager
    def following(self, notes: Mapping[Any, Path]) -> Iterator[None]:
        """While the block runs, believe the notes of pieces that are computed elsewhere."""
        stop = Event()

        def follow() -> None:
            while not stop.wait(TELL_EVERY_S):
                for piece, path in notes.items():
                    if (steps := noted(path)) > self._steps.get(piece, 0):
                        self.at(piece, steps)

        thread = Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def noted(path: Path) -> int:
    """What a note says, 0 where there is none, or while it is being written."""
    try:
        return int(path.read_text() or 0)
    except (FileNotFoundError, ValueError):
        return 0
