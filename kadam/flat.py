"""A torch model and its loss as functions of one flat vector in numpy: what the theory's equations are made of."""

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Vector = NDArray[np.float64]
Loss = Callable[[nn.Module, Any], Tensor]


class FlatLoss:
    """``loss(model, batch)`` and its derivatives as functions of the d weights in one vector, in float64.

    The model is copied; its copy's parameters become views of one flat tensor, in the order of ``named_parameters``.
    ``start``: the weights it had, shape (d,). ``grad`` and ``jvp`` fit :func:`kadam.theory.flow.adam_flow`. A parameter
    that the loss does not use has derivatives of zero. Where the loss is not finite every derivative is NaN, so that
    whoever follows it stops there.
    """

    def __init__(self, model: nn.Module, loss: Loss, batch: Any) -> None:
        self._model, self._loss, self._batch = deepcopy(model).double(), loss, batch
        self._names, self._parameters = map(list, zip(*self._model.named_parameters(), strict=True))
        self._flat = torch.cat([p.detach().reshape(-1) for p in self._parameters])
        for p, part in zip(self._parameters, self._split(self._flat), strict=True):
            p.data = part
        self.start: Vector = self._flat.cpu().numpy().copy()

    def on(self, batch: Any) -> "FlatLoss":
        """The same loss, of the same weights, on another batch."""
        other = copy(self)
        other._batch = batch
        return other

    def value(self, theta: Vector) -> float:
        """The loss at theta."""
        with torch.no_grad():
            return float(self._at(theta))

    def grad(self, theta: Vector) -> Vector:
        """The gradient at theta, shape (d,)."""
        loss = self._at(theta)
        return self._joined(loss, self._derivatives(loss))

    def jvp(self, theta: Vector, direction: Vector) -> Vector:
        """The Hessian at theta times a direction, shape (d,): the gradient of the gradient's part along it."""
        along = self._split(self._checked(direction))
        loss = self._at(theta)
        gradient = self._derivatives(loss, create_graph=True)
        slope = torch.stack([torch.sum(g * v) for g, v in zip(gradient, along, strict=True)]).sum()
        constant = [torch.zeros_like(p) for p in self._parameters]  # of a loss that is linear in all weights
        return self._joined(loss, self._derivatives(slope) if slope.requires_grad else constant)

    def where(self, coordinate: int) -> str:
        """Which weight a coordinate of the vector is, such as ``blocks.0.up.weight[3, 7]``."""
        i = 0
        while coordinate >= self._parameters[i].numel():
            coordinate -= self._parameters[i].numel()
            i += 1
        place = np.unravel_index(coordinate, self._parameters[i].shape)
        return f"{self._names[i]}[{', '.join(str(int(k)) for k in place)}]"

    def _at(self, theta: Vector) -> Tensor:
        self._flat.copy_(self._checked(theta))
        return self._loss(self._model, self._batch)

    def _derivatives(self, value: Any, *, create_graph: bool = False) -> Sequence[Tensor]:
        return torch.autograd.grad(
            value, self._parameters, create_graph=create_graph, allow_unused=True, materialize_grads=True
        )

    def _joined(self, loss: Tensor, parts: Sequence[Tensor]) -> Vector:
        joined = torch.cat([part.detach().reshape(-1) for part in parts])
        return (joined if bool(torch.isfinite(loss)) else torch.full_like(joined, torch.nan)).cpu().numpy()

    def _split(self, flat: Tensor) -> list[Tensor]:
        parts = flat.split([p.numel() for p in self._parameters])
        return [part.view(p.shape) for part, p in zip(parts, self._parameters, strict=True)]

    def _checked(self, vector: Vector) -> Tensor:
        if np.shape(vector) != tuple(self._flat.shape):
            raise ValueError(f"a vector of the weights must have shape {tuple(self._flat.shape)}, got {np.shape(vector)}")
        return torch.tensor(vector, dtype=torch.float64, device=self._flat.device)
