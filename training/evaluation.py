"""Scores a classifier on labelled images: how often it's right, and how far its probabilities can be believed."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Evaluation:
    """Scores over `images` images; all but accuracy are better when smaller."""

    images: int
    accuracy: float
    """Share of images whose most probable class is the label, 0..1."""
    nll: float
    """Mean negative log-likelihood of the label, in nats."""
    brier: float
    """Mean over images of the squared distance between probabilities and one-hot label, 0..2."""
    calibration_error: float
    """Expected calibration error of the highest probability, 15 bins of equal width, 0..1."""


def evaluate(logits: Tensor, labels: Tensor) -> Evaluation:
    """Scores float logits [n, 10] against int64 labels [n]."""
    logits = logits.double()
    probabilities = logits.softmax(1)
    confidence, predicted = probabilities.max(1)
    correct = (predicted == labels).double()
    distance = probabilities - functional.one_hot(labels, logits.shape[1])
    return Evaluation(
        images=len(labels),
        accuracy=correct.mean().item(),
        nll=functional.cross_entropy(logits, labels).item(),
        brier=distance.square().sum(1).mean().item(),
        calibration_error=_calibration_error(confidence, correct),
    )


def _calibration_error(confidence: Tensor, correct: Tensor) -> float:
    bins = (confidence * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1)
    gaps = torch.zeros(CALIBRATION_BINS, dtype=torch.double).index_add(0, bins, correct - confidence)
    return gaps.abs().sum().item() / len(correct)
