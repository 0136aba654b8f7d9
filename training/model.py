"""LeNet5: its layers, its forward pass and its counts.

The modules are the only declaration: `describe` walks them, so that the table of layers, the 61,706 parameters and
the 416,520 multiply-adds can't drift from the network that is trained.

Pooling comes before the activation, as its author published it. For maximum pooling the order makes no difference to
the result, and this one activates a quarter of the values; average and strided pooling keep the order. Maximum
pooling and ReLU are the served network; the others are there to be compared with.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor, nn

from training.convolution import output_size
from training.familiarity import Familiarity

IMAGE_SIDE = 28
CLASSES = tuple("0123456789")
Pooling = Literal["max", "avg", "strided"]
Activation = Literal["relu", "tanh"]
Kind = Literal["convolution", "pooling", "linear"]


class Activations(NamedTuple):
    """What the network computes from n images, last result first."""

    logits: Tensor  # [n, 10]
    conv1: Tensor  # [n, 6, 28, 28], the convolution's own result, bias included
    pool1: Tensor  # [n, 6, 14, 14], after pooling and ReLU
    conv2: Tensor  # [n, 16, 10, 10]
    pool2: Tensor  # [n, 16, 5, 5]
    conv3: Tensor  # [n, 120, 1, 1], before ReLU


class LeNet5Layers(nn.Module):
    """The layers and the way through them, with PyTorch's default initialisation."""

    def __init__(self, pooling: Pooling = "max", activation: Activation = "relu") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.pool1 = _pooling(pooling, 6)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool2 = _pooling(pooling, 16)
        self.conv3 = nn.Conv2d(16, 120, 5)
        self.fc1 = nn.Linear(120, 84)
        self.fc2 = nn.Linear(84, 10)
        self.activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[activation]()

    def activations(self, images: Tensor) -> Activations:
        """Returns every layer's result for float images [n, 1, 28, 28] in 0..1 (0 = background)."""
        conv1 = self.conv1(images)  # [n, 6, 28, 28]
        pool1 = self.activation(self.pool1(conv1))  # [n, 6, 14, 14]
        conv2 = self.conv2(pool1)  # [n, 16, 10, 10]
        pool2 = self.activation(self.pool2(conv2))  # [n, 16, 5, 5]
        conv3 = self.conv3(pool2)  # [n, 120, 1, 1]
        features = self.activation(conv3).flatten(1)  # [n, 120]
        hidden = self.activation(self.fc1(features))  # [n, 84]
        return Activations(self.fc2(hidden), conv1, pool1, conv2, pool2, conv3)


def _pooling(kind: Pooling, channels: int) -> nn.Module:
    """Returns what halves the sides; a strided convolution does it with weights of its own."""
    if kind == "strided":
        return nn.Conv2d(channels, channels, 2, stride=2)
    return {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[kind](2)


class LeNet5(LeNet5Layers):
    """What is trained: 61,706 parameters, from float images to logits."""

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits [n, 10] for float images [n, 1, 28, 28] in 0..1 (0 = background)."""
        return self.activations(images).logits


class ServedOutputs(NamedTuple):
    """What the exported network answers, all float32, in this order."""

    probabilities: Tensor  # [n, 10]
    logits: Tensor  # [n, 10]
    unfamiliarity: Tensor  # [n], 0 = like training digits
    conv1: Tensor  # [n, 6, 28, 28]
    pool1: Tensor  # [n, 6, 14, 14]
    conv2: Tensor  # [n, 16, 10, 10]
    pool2: Tensor  # [n, 16, 5, 5]
    conv3: Tensor  # [n, 120, 1, 1]


class ServedLeNet5(LeNet5Layers):
    """What is exported: the same weights under the same names, from bytes to probabilities, unfamiliarity and maps.

    Division by 255 is inside and is the only normalisation, so that zero padding is black background and a client
    has nothing to get wrong.
    """

    def __init__(self, trained: LeNet5Layers, familiarity: Familiarity) -> None:
        super().__init__()
        for name, layer in trained.named_children():
            setattr(self, name, deepcopy(layer))
        self.familiarity = familiarity

    def forward(self, images: Tensor) -> ServedOutputs:
        """Returns all outputs for uint8 images [n, 28, 28], 0 = background, 255 = ink."""
        found = self.activations(to_float(images))
        return ServedOutputs(
            found.logits.softmax(1),
            found.logits,
            self.familiarity(found.logits, found.pool2),
            found.conv1,
            found.pool1,
            found.conv2,
            found.pool2,
            found.conv3,
        )


def to_float(images: Tensor) -> Tensor:
    """Returns uint8 images [n, 28, 28] as the network's float input [n, 1, 28, 28] in 0..1."""
    return images.unsqueeze(1).float() / 255


@dataclass(frozen=True)
class Layer:
    """One row of the architecture: `shape` is what one image becomes, the counts are for one image."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    parameters: int = 0
    multiply_adds: int = 0
    kernel_size: int | None = None
    stride: int | None = None
    padding: int | None = None


def describe(network: LeNet5Layers) -> tuple[Layer, ...]:
    """Returns the table of layers, first to last; parameters and multiply-adds are sums over its rows."""
    layers = []
    shape: tuple[int, ...] = (1, IMAGE_SIDE, IMAGE_SIDE)
    for name, module in network.named_children():
        if module is network.activation:
            continue
        layers.append(_describe_layer(name, module, shape))
        shape = layers[-1].shape
    return tuple(layers)


def _describe_layer(name: str, module: nn.Module, inputs: tuple[int, ...]) -> Layer:
    parameters = sum(parameter.numel() for parameter in module.parameters())
    if isinstance(module, nn.Linear):
        return Layer(name, "linear", (module.out_features,), parameters, module.weight.numel())
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        raise TypeError(f"{name} is a {type(module).__name__}; expected a convolution, a pooling or a linear layer")
    geometry = _side(module.kernel_size), _side(module.stride), _side(module.padding)
    side = output_size(inputs[1], *geometry)
    channels, weights = (
        (module.out_channels, module.weight.numel()) if isinstance(module, nn.Conv2d) else (inputs[0], 0)
    )
    kind: Kind = "pooling" if name.startswith("pool") else "convolution"
    return Layer(name, kind, (channels, side, side), parameters, weights * side * side, *geometry)


def _side(size: int | str | tuple[int, ...]) -> int:
    return int(size[0] if isinstance(size, tuple) else size)
