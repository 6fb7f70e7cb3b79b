"""What a measurement brings to the host: for every layer one row of numbers, reduced where the parameters are.

Rows remember what they were like while they had a gradient: the slow geometric averages of their momentum and of the root of
their second moment, by which a large update is explained. In a silence the memory stands still, and also while a row is
faint, until its second moment has come down to the new gradients: a long silence must not become the measure of itself.
"""

import math
from typing import Any

import torch
from torch import Tensor

from kadam.monitor.reading import Reading
from kadam.monitor.rows import COLUMN, SUMS, numbers, tables

# What a row remembers: logarithms of its usual momentum and root of the second moment, over how many active measurements;
# its share of silent gradients, over how many measurements; whether it was active at the last, when it last was, and when the
# silence before began.
MEMORY = ("momentum", "root", "active_count", "silence", "count", "awake", "active", "since")
M = {name: i for i, name in enumerate(MEMORY)}

FAINT = math.log(10)  # a row whose momentum over root is a tenth of the usual is faint; no pull is larger than this

# A layer's numbers: sums, a maximum, and what is known of the row with the largest update.
ADDED = (*SUMS, "rows", "at_risk", "grown", "fallen")
TOP = ("top", "top_grown", "top_fallen", "top_since", "top_row")
FIELDS = (*ADDED, "largest", *TOP, "step", "age", "lr")
F = {name: i for i, name in enumerate(FIELDS)}


def weight_of_new(count: Any, rate: float) -> Any:
    """Of a new measurement after ``count`` others: at first their mean, then a moving average with this rate."""
    return (1 / (count + 1)).clip(min=rate)


def fresh_memory(rows: int, device: torch.device) -> Tensor:
    """(rows, 8), float32."""
    memory = torch.zeros(rows, len(MEMORY), device=device)
    memory[:, M["active"]] = memory[:, M["since"]] = -1
    return memory


def measured(
    readings: list[Reading | None], memories: list[Tensor], critical: list[float], rate: float, device: torch.device
) -> tuple[Tensor, list[Tensor]]:
    """The packet (layers, fields), and what the rows remember now. A layer that was not stepped has zeros."""
    there = [i for i, r in enumerate(readings) if r is not None]
    members = [r for r in readings if r is not None]
    packet = torch.zeros(len(readings), len(FIELDS), device=device, dtype=numbers([0.0], device).dtype)
    if not members:
        return packet, memories
    pieces = tables(members)
    counts = [len(piece) for piece in pieces]
    rows, memory = torch.cat(pieces), torch.cat([memories[i] for i in there])
    scalars = torch.stack([numbers([getattr(r, name) for r in members], device) for name in ("step", "age", "lr")], 1)
    fill = torch.stack([numbers([r.fill[j] for r in members], device) for j in (0, 1)], 1)
    risk = numbers([critical[i] for i in there], device)
    layer = torch.repeat_interleave(torch.tensor(counts).to(device, non_blocking=True), output_size=len(rows))
    power = numbers([1.0 if r.kind.form == "adamax" else 0.5 for r in members], device)[layer]
    size = rows[:, COLUMN["size"]]
    moments = rows[:, COLUMN["momentum"]] / size, rows[:, COLUMN["second"]] / size
    now = torch.stack([moments[0].sqrt(), moments[1] ** power], 1).log() - fill.log()[layer]
    memory, grown, fallen = _remember(rows, now, memory, scalars[:, 0][layer], rate)
    some = _reduced(rows, memory, grown, fallen, layer, risk)
    packet[torch.tensor(there).to(device, non_blocking=True)] = torch.cat([some, scalars], 1)
    updated = dict(zip(there, memory.split(counts), strict=True))
    return packet, [updated.get(i, old) for i, old in enumerate(memories)]


def _remember(rows: Tensor, now: Tensor, memory: Tensor, step: Tensor, rate: float) -> tuple[Tensor, Tensor, Tensor]:
    """The memory with this measurement, and by how much (logarithms) momentum has grown and the root has fallen.

    ``now``: logarithms of both, bias-corrected, (rows, 2). Of a row that was never active before, all of the update counts as a
    root that had fallen to nothing.
    """
    size = rows[:, COLUMN["size"]]
    old = memory.to(rows.dtype)
    usual, active_count, count = old[:, :2], old[:, M["active_count"]], old[:, M["count"]]
    known = active_count > 0
    change = torch.where(known[:, None], now - usual, 0.0).nan_to_num(0.0).clip(-50.0, 50.0)
    quiet = rows[:, COLUMN["silent"]] / size
    faint = change[:, 0] - change[:, 1] < -FAINT
    awake = (quiet < 1) & ~faint & now.isfinite().all(1)
    pull = torch.where(awake, weight_of_new(active_count, rate), 0.0)
    usual = torch.where((known | ~awake)[:, None], usual + pull[:, None] * change.clip(-FAINT, FAINT), now)
    resumed = awake & (old[:, M["awake"]] == 0)
    since = torch.where(resumed, old[:, M["active"]], old[:, M["since"]])
    active = torch.where(awake, step, old[:, M["active"]])
    silence = old[:, M["silence"]] + weight_of_new(count, rate) * (quiet - old[:, M["silence"]])
    fresh = torch.stack([*usual.unbind(1), active_count + awake, silence, count + 1, awake, active, since], 1)
    nothing = torch.log1p((rows[:, COLUMN["update"]] / size).sqrt())
    return fresh.to(memory.dtype), change[:, 0], torch.where(known, -change[:, 1], nothing)


def _reduced(rows: Tensor, memory: Tensor, grown: Tensor, fallen: Tensor, layer: Tensor, risk: Tensor) -> Tensor:
    """(layers, fields but for step, age and lr)."""
    layers, update = len(risk), rows[:, COLUMN["update"]]
    at_risk = (memory[:, M["silence"]] > risk[layer]).to(rows.dtype)
    more = torch.stack([torch.ones_like(update), at_risk, update * grown, update * fallen], 1)
    sums = rows.new_zeros(layers, len(ADDED)).index_add_(0, layer, torch.cat([rows[:, :-1], more], 1))
    peaks = torch.stack([rows[:, COLUMN["largest"]], update / rows[:, COLUMN["size"]]], 1)
    most = rows.new_zeros(layers, 2).scatter_reduce_(0, layer[:, None].expand(-1, 2), peaks, "amax")
    numbered = torch.arange(len(rows), device=rows.device)
    candidates = torch.where(peaks[:, 1] >= most[:, 1][layer], numbered, -1)
    top = torch.full((layers,), -1, device=rows.device).scatter_reduce_(0, layer, candidates, "amax").clip(0)
    first = torch.full((layers,), len(rows), device=rows.device).scatter_reduce_(0, layer, numbered, "amin")
    since = torch.where(memory[:, M["awake"]] > 0, memory[:, M["since"]], memory[:, M["active"]]).to(rows.dtype)
    if not len(rows):
        return torch.cat([sums, most, rows.new_zeros(layers, len(TOP) - 1)], 1)
    best = torch.stack([grown[top], fallen[top], since[top], (top - first).to(rows.dtype)], 1)
    return torch.cat([sums, most, best], 1)


# Shares of distributed parameters


def merged(packet: Tensor, mesh: Any, placements: list[tuple[Any, ...]]) -> Tensor:
    """The packet of whole parameters, from the shares of all processes of a mesh: one collective a direction that shards.

    ``placements``: of each layer. Along a direction in which a parameter is replicated it is counted once.
    """
    for direction in range(mesh.ndim):
        kept = [p[direction].is_replicate() for p in placements]
        if mesh.size(direction) == 1 or all(kept):
            continue
        shares = [torch.empty_like(packet) for _ in range(mesh.size(direction))]
        torch.distributed.all_gather(shares, packet.contiguous(), group=mesh.get_group(direction))
        packet = _whole(torch.stack(shares), torch.tensor(kept, device=packet.device))
    return packet


def _whole(shares: Tensor, replicated: Tensor) -> Tensor:
    """(shares, layers, fields) to (layers, fields)."""
    whole = shares.amax(0)
    whole[:, : len(ADDED)] = shares[:, :, : len(ADDED)].sum(0)
    winner = shares[:, :, F["top"]].argmax(0)
    best = shares[winner, torch.arange(shares.shape[1], device=shares.device)]
    whole[:, F["top"] : F["top"] + len(TOP)] = best[:, F["top"] : F["top"] + len(TOP)]
    return torch.where(replicated[:, None], shares[0], whole)
