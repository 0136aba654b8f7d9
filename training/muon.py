"""Muon: momentum whose step is made orthogonal, for weights that are matrices.

Keller Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). A kernel [o, c, h, w] counts as
a matrix [o, c*h*w]. torch.optim.Muon takes matrices alone and computes in bfloat16, which many CPUs only emulate.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

_STEPS = 3
_A, _B, _C = 3.4445, -4.7750, 2.0315  # a quintic that brings singular values near 1 in few steps


class Muon(Optimizer):
    """Moves each matrix by `learning_rate` along every direction in which its gradients agree, however little."""

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float, momentum: float, decay: float) -> None:
        """`decay` shrinks the weights in every step by that share of the learning rate."""
        super().__init__(parameters, {"lr": learning_rate, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates all parameters from their gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                velocity = self.state[weight].setdefault("velocity", torch.zeros_like(weight))
                velocity.mul_(group["momentum"]).add_(weight.grad)
                ahead = weight.grad.add(velocity, alpha=group["momentum"]).flatten(1)  # Nesterov's
                tall = max(1.0, ahead.shape[0] / ahead.shape[1])
                weight.mul_(1 - group["lr"] * group["decay"])
                weight.add_(orthogonal(ahead).view(weight.shape), alpha=-group["lr"] * tall**0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Returns nearly the orthogonal matrix that is nearest to a matrix [m, n], by Newton-Schulz iterations."""
    x: Tensor = matrix / (matrix.norm() + 1e-7)
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.mT).mT
    for _ in range(_STEPS):
        gram = x @ x.t()
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x
