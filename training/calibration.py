"""How sure a network may be: one temperature divides all logits, so that its probabilities come true.

Guo et al., "On Calibration of Modern Neural Networks" (2017). It is folded into fc2, so that the served graph has no
more to do and no more parameters.
"""

import torch
from torch import Tensor
from torch.nn import functional

from training.model import LeNet5

_MISTAKES = 10  # without any, the best temperature would be 0: as sure as can be


def calibrate(network: LeNet5, logits: Tensor, labels: Tensor) -> float:
    """Divides the network's logits by the temperature at which they fit best; returns it.

    `logits` [n, 10] are the network's own for held-out images with these labels. Where no temperature makes their
    negative log-likelihood fall, or too few of them are mistaken to tell, the network stays as it is and the
    temperature is 1.
    """
    if (logits.argmax(1) != labels).sum() < _MISTAKES:
        return 1.0
    temperature = best_temperature(logits, labels)
    if functional.cross_entropy(logits / temperature, labels) >= functional.cross_entropy(logits, labels):
        return 1.0
    with torch.no_grad():
        network.fc2.weight.div_(temperature)
        network.fc2.bias.div_(temperature)
    return temperature


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """Returns the temperature of the lowest negative log-likelihood, between 0.1 and 10."""
    temperatures = torch.logspace(-1, 1, 2001)
    losses = [functional.cross_entropy(logits / temperature, labels) for temperature in temperatures]
    return temperatures[int(torch.stack(losses).argmin())].item()
