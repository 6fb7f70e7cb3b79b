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
    tensors = list(zip(batch.params, batch.grads, batch.rows(), batch.steps, batch.starts, strict=True))
    part, room = _empty(), most
    for size, (p, g, row, step, starts) in zip(sizes, tensors, strict=True):
        for start in range(0, size, most):
            stop = min(start + most, size)
            if stop - start > room:
                yield part
                part, room = _empty(), most
            cut = [p, g, *row] if stop - start == size else [flat(t)[start:stop] for t in (p, g, *row)]
            part.params.append(cut[0])
            part.grads.append(cut[1])
            part.moments.extend(cut[2:])
            part.steps.append(step)
            part.starts.append(starts)
            room -= stop - start
    if part.params:
        yield part


def _empty() -> Batch:
    return Batch([], [], [], [], [])


def flat(tensor: Tensor) -> Tensor:
    """The elements of a dense tensor in the order of its memory."""
    return tensor.as_strided((tensor.numel(),), (1,))
