"""The shorter way to the same answers, for calls that want no feature maps.

A graph that returns maps has to compute each of them in full and lay it out for its reader. Where nobody reads conv1,
the convolution and the maximum pooling behind it become one convolution of stride 2: it has four kernels in place of
each, one for every corner of the pooling window, and the largest of the four results is kept. That is 1.4 times the
multiply-adds of conv1, and faster all the same: a quarter of the positions is visited, with four times the channels to
fill the processor's vectors (docs/speed.md). conv3 sees all of pool2 at once, so it is a matrix; and the division by
255 moves into the weights.
"""

from copy import deepcopy
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from training.model import ServedLeNet5


class LeanOutputs(NamedTuple):
    """What the lean network answers: the same numbers as ServedOutputs, but for rounding."""

    probabilities: Tensor  # [n, 10]
    unfamiliarity: Tensor  # [n]


class LeanLeNet5(nn.Module):
    """A served network without its maps; only the arrangement of the weights differs."""

    def __init__(self, served: ServedLeNet5) -> None:
        super().__init__()
        conv1, activation = deepcopy(served.conv1), served.activation
        conv1.weight.data /= 255
        if isinstance(served.pool1, nn.MaxPool2d):
            # The activation first: it never falls, so the largest stays the largest, and there it costs nothing.
            self.pool1: nn.Module = PooledConvolution(conv1, activation)
            self.pool2 = nn.Sequential(served.conv2, activation, served.pool2)
        else:
            self.pool1 = nn.Sequential(conv1, served.pool1, activation)
            self.pool2 = nn.Sequential(served.conv2, served.pool2, activation)
        self.conv3 = nn.Linear(served.conv3.weight[0].numel(), served.conv3.out_channels)
        self.conv3.load_state_dict({"weight": served.conv3.weight.flatten(1), "bias": served.conv3.bias})
        self.fc1, self.fc2, self.activation = served.fc1, served.fc2, activation
        self.familiarity = served.familiarity

    def forward(self, images: Tensor) -> LeanOutputs:
        """Returns the answers for uint8 images [n, 28, 28], 0 = background, 255 = ink."""
        pool2 = self.pool2(self.pool1(images.unsqueeze(1).float()))  # [n, 16, 5, 5]
        hidden = self.activation(self.conv3(pool2.flatten(1)))  # [n, 120]
        logits = self.fc2(self.activation(self.fc1(hidden)))  # [n, 10]
        return LeanOutputs(logits.softmax(1), self.familiarity(logits, pool2))


class PooledConvolution(nn.Module):
    """A convolution of stride 1, an activation that never falls, and maximum pooling of 2x2, in one step."""

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__()
        channels, inputs, side, _ = convolution.weight.shape
        kernels = torch.zeros(4, channels, inputs, side + 1, side + 1)
        for corner in range(4):
            row, column = divmod(corner, 2)
            kernels[corner, :, :, row : row + side, column : column + side] = convolution.weight
        padding = cast(tuple[int, int], convolution.padding)
        self.corners = nn.Conv2d(inputs, 4 * channels, side + 1, stride=2, padding=padding)
        bias = cast(Tensor, convolution.bias).repeat(4)
        self.corners.load_state_dict({"weight": kernels.flatten(0, 1), "bias": bias})
        self.activation = activation
        self.channels = channels

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns [n, channels, h / 2, w / 2] for [n, inputs, h, w] and a convolution that keeps the sides."""
        corners = self.activation(self.corners(inputs))  # [n, 4 * channels, h / 2, w / 2]
        height, width = corners.shape[2:]
        # As pooling over a column of four, since ONNX Runtime reduces an axis slowly for one image.
        stacked = corners.reshape(-1, 1, 4, self.channels * height * width)
        return max_pool2d(stacked, (4, 1)).reshape(-1, self.channels, height, width)
