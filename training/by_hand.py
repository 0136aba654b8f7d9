"""A tiny CNN that learns by the convolution written by hand, in sight: forward, backward, update.

All of its layers are convolutions. The second has stride 2 where a LeNet5 would pool; the last one's kernel covers
the whole map, which makes it the fully connected layer. Stochastic gradient descent is two lines, in `Layer.learn`.
"""

from collections.abc import Iterator
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from training.convolution import Array, convolve, gradients

EPOCHS = 4
BATCH = 16
LEARNING_RATE = 0.1


class Layer:
    """A convolution and its weights, which start as He et al. advise for ReLU."""

    def __init__(self, shape: tuple[int, int, int, int], generator: np.random.Generator, stride: int = 1) -> None:
        inputs = prod(shape[1:])
        self.kernel: Array = generator.normal(0, sqrt(2 / inputs), shape).astype(np.float32)  # [o, c, kh, kw]
        self.bias: Array = np.zeros(shape[0], np.float32)  # [o]
        self.stride = stride

    def __call__(self, maps: Array) -> Array:
        """Returns the output maps [n, o, oh, ow] for input maps [n, c, h, w]."""
        return convolve(maps, self.kernel, self.bias, self.stride)

    def learn(self, maps: Array, output_gradient: Array, learning_rate: float) -> Array:
        """Moves the weights a step downhill; returns the loss's gradient by the input maps, for the layer before."""
        found = gradients(maps, self.kernel, output_gradient, self.stride)
        self.kernel -= learning_rate * found.kernel
        self.bias -= learning_rate * found.bias
        return found.images


class TinyCnn:
    """Tells two classes of 28 x 28 images apart with 2,562 parameters; the generator draws its first weights."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.first = Layer((4, 1, 5, 5), generator)
        self.second = Layer((8, 4, 4, 4), generator, stride=2)
        self.last = Layer((2, 8, 11, 11), generator)

    def step(self, images: Array, labels: NDArray[np.int64], learning_rate: float) -> float:
        """Learns from float32 images [n, 1, 28, 28] in 0..1 and labels [n] in 0..1; returns the loss before."""
        seen, strided, logits = self._forward(images)
        loss, gradient = cross_entropy(logits, labels)
        # ReLU passes a gradient on where it passed the value on.
        gradient = self.last.learn(strided, gradient[:, :, None, None], learning_rate) * (strided > 0)
        gradient = self.second.learn(seen, gradient, learning_rate) * (seen > 0)
        self.first.learn(images, gradient, learning_rate)
        return loss

    def accuracy(self, images: Array, labels: NDArray[np.int64]) -> float:
        """Returns the share of images that are told right, 0..1."""
        _, _, logits = self._forward(images)
        return float((logits.argmax(1) == labels).mean())

    def _forward(self, images: Array) -> tuple[Array, Array, Array]:
        seen = np.maximum(self.first(images), 0)  # [n, 4, 24, 24]
        strided = np.maximum(self.second(seen), 0)  # [n, 8, 11, 11]
        logits = self.last(strided)  # [n, 2, 1, 1]
        return seen, strided, logits[:, :, 0, 0]


def cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[float, Array]:
    """Returns the mean loss in nats over logits [n, classes] with labels [n], and its gradient by the logits."""
    shifted = logits - logits.max(1, keepdims=True)  # the same probabilities, and no exponential overflows
    log_probabilities = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    truth = np.eye(logits.shape[1], dtype=logits.dtype)[labels]  # [n, classes], one-hot
    loss = -(truth * log_probabilities).sum() / len(labels)
    return float(loss), (np.exp(log_probabilities) - truth) / len(labels)


def fit(
    network: TinyCnn, images: Array, labels: NDArray[np.int64], generator: np.random.Generator, epochs: int = EPOCHS
) -> Iterator[float]:
    """Trains the network in place on `TinyCnn.step`'s images and labels; yields each epoch's mean loss."""
    batches = -(-len(images) // BATCH)
    for _ in range(epochs):
        order = generator.permutation(len(images))
        chosen = np.array_split(order, batches)
        yield sum(network.step(images[batch], labels[batch], LEARNING_RATE) for batch in chosen) / batches
