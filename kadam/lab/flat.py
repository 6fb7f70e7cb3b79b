"""A torch model and its loss as functions of one flat vector in numpy: what the theory's equations are made of."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

Vector = NDArray[np.float64]
Loss = Callable[[nn.Module, Any], Tensor]


class Objective(nn.Module):
    """The loss as a module, so that functional_call can swap the weights under any loss function."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> Tensor:
        return self.loss(self.model, batch)


class FlatLoss:
    """``loss(model, batch)`` and its derivatives as functions of the d weights in one vector, in float64.

    The model is copied. ``start``: its weights, shape (d,), in the order of ``named_parameters``. ``grad`` and ``jvp`` fit
    :func:`kadam.theory.flow.adam_flow`. Where the loss is not finite every derivative is NaN, so that whoever follows it
    stops there.
    """

    def __init__(self, model: nn.Module, loss: Loss, batch: Any) -> None:
        self._objective = Objective(deepcopy(model).double(), loss)
        parameters = dict(self._objective.named_parameters())
        self._names, self._shapes = list(parameters), [p.shape for p in parameters.values()]
        self._sizes = [p.numel() for p in parameters.values()]
        self._batch = batch
        self.start: Vector = np.concatenate([p.detach().cpu().numpy().ravel() for p in parameters.values()])

    def on(self, batch: Any) -> "FlatLoss":
        """The same loss on another batch."""
        other = object.__new__(FlatLoss)
        other.__dict__ = self.__dict__ | {"_batch": batch}
        return other

    def value(self, theta: Vector) -> float:
        """The loss at theta."""
        with torch.no_grad():
            return float(self._loss(self._tensor(theta)))

    def grad(self, theta: Vector) -> Vector:
        """The gradient at theta, shape (d,)."""
        at = self._tensor(theta).requires_grad_()
        loss = self._loss(at)
        return _unless_infinite(loss, torch.autograd.grad(loss, at)[0])

    def jvp(self, theta: Vector, direction: Vector) -> Vector:
        """The Hessian at theta times a direction, by two backward passes: three times as fast here as forward over reverse."""
        at = self._tensor(theta).requires_grad_()
        loss = self._loss(at)
        (gradient,) = torch.autograd.grad(loss, at, create_graph=True)
        return _unless_infinite(loss, torch.autograd.grad(gradient, at, self._tensor(direction))[0])

    def where(self, coordinate: int) -> str:
        """Which weight a coordinate of the vector is, such as ``blocks.0.up.weight[3, 7]``."""
        ends = np.cumsum(self._sizes)
        i = int(np.searchsorted(ends, coordinate, side="right"))
        place = np.unravel_index(coordinate - (ends[i] - self._sizes[i]), self._shapes[i])
        return f"{self._names[i].removeprefix('model.')}[{', '.join(str(int(k)) for k in place)}]"

    def _loss(self, theta: Tensor) -> Tensor:
        parts = theta.split(self._sizes)
        weights = {n: part.view(shape) for n, part, shape in zip(self._names, parts, self._shapes, strict=True)}
        return cast(Tensor, functional_call(self._objective, weights, (self._batch,)))

    def _tensor(self, vector: Vector) -> Tensor:
        if np.shape(vector) != self.start.shape:
            raise ValueError(f"a vector of the weights must have shape {self.start.shape}, got {np.shape(vector)}")
        device = next(self._objective.parameters()).device
        return torch.tensor(vector, dtype=torch.float64, device=device)


def _unless_infinite(loss: Tensor, derivative: Tensor) -> Vector:
    finite = bool(torch.isfinite(loss))
    return (derivative if finite else torch.full_like(derivative, torch.nan)).detach().cpu().numpy()
