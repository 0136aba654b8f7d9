"""Batch norm for training alone: put after conv2, conv3 and fc1, and folded into their weights afterwards.

Not after conv1: on maps of 28 x 28 it would cost more than the rest together, and brings nothing more. A layer becomes
a pair of itself and its norm under the same name, so the network's forward pass stays as it is.
"""

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from training.model import LeNet5

_NORMALISED = ("conv2", "conv3", "fc1")


def add_batch_norm(network: LeNet5) -> None:
    """Puts a batch norm after each layer between the first and the last."""
    for name in _NORMALISED:
        match network.get_submodule(name):
            case nn.Linear() as layer:
                setattr(network, name, nn.Sequential(layer, nn.BatchNorm1d(layer.out_features)))
            case nn.Conv2d() as layer:
                setattr(network, name, nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels)))


def fold_batch_norm(network: LeNet5) -> None:
    """Takes the batch norms out again; in evaluation the network computes what it did with them."""
    for name in _NORMALISED:
        match list(network.get_submodule(name).children()):
            case [nn.Linear() as layer, nn.BatchNorm1d() as norm]:
                setattr(network, name, fuse_linear_bn_eval(layer, norm))
            case [nn.Conv2d() as layer, nn.BatchNorm2d() as norm]:
                setattr(network, name, fuse_conv_bn_eval(layer, norm))
