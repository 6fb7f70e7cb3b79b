"""Speed of the batched sweep: members trained in one program against one training loop each, in paired rounds."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from kadam.decay import Decay
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.networks import CharTransformer, initialise, next_token_loss
from kadam.optim import KAdam

# The growth experiment's network and batch at its laptop profile; the text does not matter for speed.
VOCABULARY, CONTEXT, BATCH, MEMBERS = 65, 16, 4, 64


@dataclass(frozen=True)
class Comparison:
    """Seconds per training step of all members, medians over rounds, and the median of the rounds' ratios."""

    members: int
    threads: int
    batched_s: float
    loops_s: float
    ratio: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        return (
            f"{self.members} members, {self.threads} threads: {self.batched_s * 1e3:.1f} ms a step in one program, "
            f"{self.loops_s * 1e3:.1f} ms in separate loops; {self.ratio:.1f} times faster (median of paired rounds)"
        )


def batched_against_loops(*, steps: int, rounds: int, members: int = MEMBERS) -> Comparison:
    """Time both in alternation. Of the separate loops one member is timed and multiplied: they are all alike."""
    batch = torch.randint(VOCABULARY, (BATCH, CONTEXT + 1), generator=torch.Generator().manual_seed(0))
    together, alone = _batched(members, batch), _loop(batch)
    pairs = [(_seconds(together, steps), members * _seconds(alone, steps)) for _ in range(rounds + 1)][1:]
    batched, loops = zip(*pairs, strict=True)
    return Comparison(
        members,
        torch.get_num_threads(),
        statistics.median(batched),
        statistics.median(loops),
        statistics.median(loop / program for program, loop in pairs),
    )


def _model() -> CharTransformer:
    model = CharTransformer(vocab=VOCABULARY, context=CONTEXT)
    initialise(model, 0)
    return model


def _batched(members: int, batch: torch.Tensor) -> Callable[[], object]:
    ensemble = Ensemble(_model(), next_token_loss, [(Decay(),)] * members, lr=1e-3)
    return lambda: ensemble.step(batch)


def _loop(batch: torch.Tensor) -> Callable[[], object]:
    model = _model()
    optimizer = KAdam(model.parameters(), lr=1e-3, k=1)

    def step() -> None:
        optimizer.zero_grad()
        next_token_loss(model, batch).backward()
        optimizer.step()

    return step


def _seconds(step: Callable[[], object], steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps
