"""How uneven is the diagonal of the Hessian where an optimizer passes? R_med, and its theory for two-layer linear networks.

    R_med = max_i |H_ii| / median_i |H_ii|

of the entries that belong to one layer, or of all. The statistic is Jiang, Malik & Li's (arXiv 2211.02254); "per layer" is our
reading. The two-layer linear network is x -> w2 W1 x with W1 of shape (h, d) and w2 of shape (h,); its target is a x with a of
shape (d,), the inputs x have mean square covariance S (the identity where they are whitened), and its loss is

    L = E (w2 W1 x - a x)^2 / 2 .

What follows for gradient descent and for sign-like steps is derived in the book's page "Local geometry of two layers".
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtri

from kadam.theory.arguments import Array, array_that, finite_array


class Diagonals(NamedTuple):
    """The Hessian's diagonal by layer, of the two-layer linear network."""

    layer1: Array  # of W1, shape (h, d)
    layer2: Array  # of w2, shape (h,)


def r_med(hessian_diagonal: ArrayLike) -> float:
    """max |H_ii| / median |H_ii| over all entries of an array of any shape; at least 1.

    inf where the median is 0: then most weights have no curvature of their own; ``ValueError`` where all are 0.
    Source: Jiang, Malik & Li, arXiv 2211.02254, as we read the abstract.
    """
    sizes = np.abs(finite_array("hessian_diagonal", hessian_diagonal)).ravel()
    if sizes.size == 0:
        raise ValueError(f"hessian_diagonal must hold one entry or more, got shape {np.shape(hessian_diagonal)}")
    largest = float(sizes.max())
    if largest == 0:
        raise ValueError(f"hessian_diagonal must hold an entry other than 0, got {sizes.size} zeros")
    median = float(np.median(sizes / largest))
    return 1 / median if median > 0 else float("inf")


def two_layer_diagonals(w1: ArrayLike, w2: ArrayLike, *, covariance: ArrayLike | None = None) -> Diagonals:
    """The Hessian's diagonal at (W1, w2): w2_i^2 S_jj for the weight W1_ij, and row i's W1_i S W1_i for w2_i.

    ``w1``: (h, d); ``w2``: (h,); ``covariance``: S, (d, d), symmetric; the identity by default. The target plays no part: the
    loss is quadratic in every single weight.
    """
    first, second = _layers(w1, w2)
    d = first.shape[1]
    S = np.eye(d) if covariance is None else finite_array("covariance", covariance)
    if S.shape != (d, d) or not np.allclose(S, S.T):
        raise ValueError(f"covariance must be symmetric of shape {(d, d)}, got shape {S.shape}")
    along = first if covariance is None else first @ S
    return Diagonals(np.outer(second**2, np.diag(S)), np.sum(along * first, 1))


def growing_part(w1: ArrayLike, w2: ArrayLike, *, target: ArrayLike) -> Array:
    """c_i = (w2_i + <W1_i, a/|a|>)/2, the part of row i that gradient descent from a small start makes grow; (h,).

    On whitened inputs. The layers' other part, (w2_i - <W1_i, a/|a|>)/2, shrinks.
    """
    first, second = _layers(w1, w2)
    direction, _ = _direction(target, first.shape[1])
    return (second + first @ direction) / 2


def small_start_r_med(w1: ArrayLike, w2: ArrayLike, *, target: ArrayLike) -> float:
    """R_med of both layers where gradient descent, with any momentum, ends from a vanishing start: that of its c_i^2."""
    return r_med(growing_part(w1, w2, target=target) ** 2)


def gradient_descent_end(w1: ArrayLike, w2: ArrayLike, *, target: ArrayLike) -> Diagonals:
    """The Hessian's diagonals where gradient descent on whitened inputs ends, from the start (w1, w2) alone.

        w2_i = G c_i + b_i/G,   <W1_i, a/|a|> = G c_i - b_i/G,   G^2 |c|^2 - |b|^2/G^2 = |a|

    c and b are the growing and the shrinking part; the rest of W1_i, orthogonal to a, stays. Exact where that rest is zero
    (gradient flow); otherwise off relatively by the order of |W1| at the start. ``ValueError`` where nothing grows.
    """
    first, second = _layers(w1, w2)
    direction, size = _direction(target, first.shape[1])
    along = first @ direction
    c, b = (second + along) / 2, (second - along) / 2
    grown, shrunk = float(c @ c), float(b @ b)
    if grown == 0:
        raise ValueError("w1 and w2 must have a part that grows; theirs, (w2_i + <W1_i, a/|a|>)/2, is 0 in every row")
    gain = np.sqrt((size + np.sqrt(size**2 + 4 * grown * shrunk)) / (2 * grown))
    rest = np.maximum(np.sum(first**2, 1) - along**2, 0)
    layer1 = np.repeat((gain * c + b / gain)[:, None] ** 2, first.shape[1], axis=1)
    return Diagonals(layer1, (gain * c - b / gain) ** 2 + rest)


def typical_r_med(rows: ArrayLike) -> Array:
    """R_med of gradient descent from a vanishing normal start with so many rows h: median over starts, to leading order.

    The c_i are normal, so this is the largest of h squared normals over their median: F^-1(2^(-1/h)) / F^-1(1/2) with F the
    distribution of chi-square with one degree of freedom. It grows like 2 ln(h) / 0.455.
    """
    h = array_that("rows", finite_array("rows", rows), lambda h: h >= 1, "be at least 1,")
    return np.asarray(chdtri(1, -np.expm1(-np.log(2) / h)) / chdtri(1, 0.5), dtype=np.float64)


def equal_steps_bound(start: float, moved: float) -> float:
    """R_med at most of squares whose roots, of size ``start`` at most, all went as far: ((moved + start)/(moved - start))^2.

    That is what sign-like steps do as long as no sign turns. Needs 0 <= start < moved.
    """
    if not 0 <= start < moved < np.inf:
        raise ValueError(f"start must lie in [0, moved), got start = {start!r} and moved = {moved!r}")
    return ((moved + start) / (moved - start)) ** 2


def _layers(w1: ArrayLike, w2: ArrayLike) -> tuple[Array, Array]:
    first, second = finite_array("w1", w1), finite_array("w2", w2)
    if first.ndim != 2 or second.shape != first.shape[:1] or first.size == 0:
        raise ValueError(f"w1 must have shape (h, d) and w2 shape (h,), got {first.shape} and {second.shape}")
    return first, second


def _direction(target: ArrayLike, d: int) -> tuple[Array, float]:
    """a/|a| and |a|."""
    a = finite_array("target", target)
    if a.shape != (d,) or not a.any():
        raise ValueError(f"target must have shape {(d,)} and an entry other than 0, got shape {a.shape}")
    size = float(np.linalg.norm(a))
    return a / size, size
