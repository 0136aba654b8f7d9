"""Tells how unlike the training digits an image is, from two things that a network sees of it.

Its energy: Liu et al., "Energy-based Out-of-distribution Detection" (2020); digits make large logits, and what is none
hardly ever does. But some networks give large logits to noise or to a blank image, so there is also the activity of
pool2's channels, whose means lie in a narrow region for digits: Lee et al., "A Simple Unified Framework for Detecting
Out-of-Distribution Samples" (2018), with one Gaussian for all classes.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

ACCEPTED = 0.98
"""Share of the digits held out that the threshold lets pass."""


class Familiarity(nn.Module):
    """The score in the exported graph; its numbers are buffers and no parameters, since nothing trains them."""

    typical: Tensor
    short_scale: Tensor
    whitening: Tensor
    offset: Tensor
    ordinary: Tensor

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.register_buffer("typical", torch.zeros(()))
        self.register_buffer("short_scale", torch.ones(()))
        self.register_buffer("whitening", torch.eye(channels))
        self.register_buffer("offset", torch.zeros(channels))
        self.register_buffer("ordinary", torch.zeros(()))
        self.threshold = 0.0
        """Unfamiliarity above which an image is probably no digit."""

    def forward(self, logits: Tensor, pool2: Tensor) -> Tensor:
        """Returns the unfamiliarity [n], 0 = like the training digits, from logits [n, 10] and pool2 [n, c, h, w]."""
        return (self.distance(logits, pool2) - self.ordinary).relu()

    def distance(self, logits: Tensor, pool2: Tensor) -> Tensor:
        """Returns the distance [n] from an ideal digit; for 95 % of digits each of its two parts is at most 1."""
        parts = torch.cat([self.short(logits), self.odd(pool2)], 1)  # [n, 1 + c]
        distance: Tensor = parts.norm(2, dim=1)
        return distance

    def short(self, logits: Tensor) -> Tensor:
        """Returns the energy [n, 1] that logits [n, 10] lack, to scale."""
        return (self.typical - logits.logsumexp(1, keepdim=True)).relu() / self.short_scale

    def odd(self, pool2: Tensor) -> Tensor:
        """Returns how far the mean of each channel of pool2 is from typical: [n, c], decorrelated and to scale."""
        return linear(pool2.mean((2, 3)), self.whitening, self.offset)


@torch.no_grad()
def measured(training: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]) -> Familiarity:
    """Measures digits' logits [n, 10] and pool2 [n, c, h, w]: of training what is typical, of held-out ones the scales.

    Half of the training digits get the unfamiliarity 0.
    """
    (logits, pool2), (fresh_logits, fresh_pool2) = training, held_out
    activity = pool2.mean((2, 3))  # [n, c]
    known = Familiarity(activity.shape[1])
    known.typical.copy_(logits.logsumexp(1).median())
    known.whitening.copy_(_whitening(activity - activity.mean(0)))
    known.offset.copy_(-known.whitening @ activity.mean(0))
    known.short_scale.copy_(known.short(fresh_logits).quantile(0.95))
    scale = known.odd(fresh_pool2).norm(dim=1).quantile(0.95)
    known.whitening.div_(scale)
    known.offset.div_(scale)
    known.ordinary.copy_(known.distance(logits, pool2).median())
    known.threshold = known(fresh_logits, fresh_pool2).quantile(ACCEPTED).item()
    return known


def _whitening(centred: Tensor) -> Tensor:
    """Returns the matrix [c, c] that, from the left, gives centred values [n, c] a covariance of 1."""
    covariance = centred.T.double() @ centred.double() / len(centred)
    ridge = 1e-3 * covariance.diagonal().mean() * torch.eye(len(covariance))  # a channel may be silent for all digits
    whitening: Tensor = torch.linalg.cholesky(torch.linalg.inv(covariance + ridge)).T
    return whitening.float()
