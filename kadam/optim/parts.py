"""A batch cut into parts, so that what a step makes on the way needs little memory, and stays in the processor's cache."""

from collections.abc import Iterator

from torch import Tensor

from kadam.optim.batch import Batch

ALIGN = 64  # elements, a multiple of every vector's width: so cutting a tensor changes no bit


def parts(batch: Batch, most: int | None) -> Iterator[Batch]:
    """The elements of parameters that lie side by side, in parts of at most ``most``, rounded up to :data:`ALIGN`.

    Tensors that fit are taken as they are, larger ones by flat views. ``None``: the whole batch.
    """
    sizes = [p.numel() for p in batch.params]
    if most is None or sum(sizes) <= most:
        yield batch
        return
    most = -(-max(most, 1) // ALIGN) * ALIGN
    part: list[tuple[int, int, int]] = []  # parameter, first element, and the one after the last
    room = most
    for t, size in enumerate(sizes):
        for start in range(0, size, most):
            stop = min(start + most, size)
            if stop - start > room:
                yield _views(batch, part)
                part, room = [], most
            part.append((t, start, stop))
            room -= stop - start
    if part:
        yield _views(batch, part)


def _views(batch: Batch, part: list[tuple[int, int, int]]) -> Batch:
    chosen = batch.select([t for t, _, _ in part])
    width, cuts = chosen.width, [slice(start, stop) for _, start, stop in part]
    params, grads = ([_cut(t, cut) for t, cut in zip(tensors, cuts, strict=True)] for tensors in (chosen.params, chosen.grads))
    moments = [_cut(m, cuts[j // width]) for j, m in enumerate(chosen.moments)]
    return Batch(params, grads, moments, chosen.steps, chosen.starts)


def _cut(tensor: Tensor, cut: slice) -> Tensor:
    return tensor if cut.stop - cut.start == tensor.numel() else flat(tensor)[cut]


def flat(tensor: Tensor) -> Tensor:
    """The elements of a dense tensor in the order of its memory."""
    return tensor.as_strided((tensor.numel(),), (1,))
