"""What a measurement brings to the host: for every layer one row of numbers, reduced where the parameters are.

Rows remember what they were like while they had a gradient: the slow geometric averages of their momentum and of the root of
their second moment, by which a large update is explained. In a silence the memory stands still, and also while a row is
faint, until its second moment has come down to the new gradients: a long silence must not become the measure of itself.
"""

import math
from typing import Any

import torch
from torch import Tensor

from kadam.monitor.reading import Reading, widest
from kadam.monitor.rows import LINE, SUMS, numbers, tables

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

_MOMENTS = [LINE["momentum"], LINE["second"]]


def weight_of_new(count: Any, rate: float) -> Any:
    """Of a new measurement after ``count`` others: at first their mean, then a moving average with this rate."""
    return (1 / (count + 1)).clip(min=rate)


def fresh_memory(rows: int, device: torch.device) -> Tensor:
    """(8, rows), float32."""
    memory = torch.zeros(len(MEMORY), rows, device=device)
    memory[M["active"]] = memory[M["since"]] = -1
    return memory


def measured(
    readings: list[Reading | None], memories: list[Tensor], critical: list[float], rate: float, device: torch.device
) -> tuple[Tensor, list[Tensor]]:
    """The packet (layers, fields), and what the rows remember now. A layer that was not stepped has zeros."""
    there = [i for i, r in enumerate(readings) if r is not None]
    packet = torch.zeros(len(readings), len(FIELDS), device=device, dtype=widest(device))
    if not there:
        return packet, memories
    order, rows = tables([r for r in readings if r is not None])
    there = [there[i] for i in order]
    members = [r for i in there if (r := readings[i]) is not None]
    counts = [r.shape[0] for r in members]
    scalars = [(r.step, r.age, r.lr, *r.fill, critical[i], float(r.first)) for i, r in zip(there, members, strict=True)]
    step, age, lr, *fill, risk, begin = (numbers(each, device) for each in zip(*scalars, strict=True))
    layer = torch.repeat_interleave(torch.tensor(counts).to(device, non_blocking=True), output_size=rows.shape[1])
    now = (rows[_MOMENTS] / rows[0]).log_()
    now[0] /= 2
    now[1] *= _powers(members, layer, device)
    now -= torch.stack(fill).log_().index_select(1, layer)
    old = torch.cat([memories[i] for i in there], 1).to(rows.dtype)
    memory, grown, fallen = _remember(rows, now, old, step.index_select(0, layer), rate)
    some = _reduced(rows, memory, grown, fallen, layer, risk, begin)
    packet[torch.tensor(there).to(device, non_blocking=True)] = torch.cat([some, torch.stack([step, age, lr])]).T
    memories = list(memories)
    for i, one in zip(there, memory.to(memories[there[0]].dtype).split(counts, 1), strict=True):
        memories[i] = one
    return packet, memories


def _powers(readings: list[Reading], layer: Tensor, device: torch.device) -> Any:
    """Of the second moment, for what a momentum is compared with: one number, or one a row."""
    each = [1.0 if r.kind.form == "adamax" else 0.5 for r in readings]
    return each[0] if len(set(each)) == 1 else numbers(each, device)[layer]


def _remember(rows: Tensor, now: Tensor, old: Tensor, step: Tensor, rate: float) -> tuple[Tensor, Tensor, Tensor]:
    """The memory with this measurement, and by how much (logarithms) momentum has grown and the root has fallen.

    ``now``: logarithms of both, bias-corrected, (2, rows). Of a row that was never active before, all of the update counts as a
    root that had fallen to nothing.
    """
    usual, (active_count, silence, count, was_awake, was_active, began) = old[:2], old[2:]
    size, quiet = rows[LINE["size"]], rows[LINE["silent"]] / rows[LINE["size"]]
    known = active_count > 0
    change = torch.where(known, now - usual, 0.0).nan_to_num_(0.0).clip_(-50.0, 50.0)
    faint = change[0] - change[1] < -FAINT
    awake = (quiet < 1) & ~faint & (now.abs().amax(0) < math.inf)
    pull = weight_of_new(active_count, rate) * awake
    fresh = torch.stack(
        [
            *torch.where(known | ~awake, usual + pull * change.clip(-FAINT, FAINT), now),
            active_count + awake,
            silence + weight_of_new(count, rate) * (quiet - silence),
            count + 1,
            awake.to(old.dtype),
            torch.where(awake, step, was_active),
            torch.where(awake & (was_awake == 0), was_active, began),
        ]
    )
    nothing = (rows[LINE["update"]] / size).sqrt_().log1p_()
    return fresh, change[0], torch.where(known, -change[1], nothing)


def _reduced(rows: Tensor, memory: Tensor, grown: Tensor, fallen: Tensor, layer: Tensor, risk: Tensor, begin: Tensor) -> Tensor:
    """(fields but for step, age and lr, layers). ``begin``: of each layer the number of its first row here, or -1."""
    layers, update = len(risk), rows[LINE["update"]]
    at_risk = (memory[M["silence"]] > risk.index_select(0, layer)).to(rows.dtype)
    more = torch.stack([torch.ones_like(update), at_risk, update * grown, update * fallen])
    sums = rows.new_zeros(len(ADDED), layers).index_add_(1, layer, torch.cat([rows[:-1], more]))
    peaks = torch.stack([rows[LINE["largest"]], update / rows[LINE["size"]]])
    most = rows.new_zeros(2, layers).scatter_reduce_(1, layer.expand(2, -1), peaks, "amax")
    if not rows.shape[1]:
        return torch.cat([sums, most, rows.new_zeros(len(TOP) - 1, layers)])
    numbered = torch.arange(rows.shape[1], device=rows.device)
    candidates = torch.where(peaks[1] >= most[1].index_select(0, layer), numbered, -1)
    top = torch.full((layers,), -1, device=rows.device).scatter_reduce_(0, layer, candidates, "amax").clip_(0)
    first = torch.full((layers,), rows.shape[1], device=rows.device).scatter_reduce_(0, layer, numbered, "amin")
    since = torch.where(memory[M["awake"]] > 0, memory[M["since"]], memory[M["active"]])
    best = torch.stack([grown, fallen, since])[:, top]
    return torch.cat([sums, most, best, torch.where(begin < 0, -1.0, begin + top - first)[None]])


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
