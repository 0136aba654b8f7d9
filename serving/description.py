"""What DescribeModel answers: the model's card and kernels, in the words of the contract."""

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from lenet.v1 import digits_pb2
from lenet.v1.digits_pb2 import DescribeModelResponse, Evaluation, Limits, Tensor
from serving.artifact import Artifact
from serving.card import Layer

KINDS = {
    "convolution": digits_pb2.LAYER_KIND_CONVOLUTION,
    "pooling": digits_pb2.LAYER_KIND_POOLING,
    "linear": digits_pb2.LAYER_KIND_LINEAR,
}


def describe(artifact: Artifact, limits: Limits, *, provider: str, fast_lane: bool) -> DescribeModelResponse:
    """Describes an artifact that runs on `provider`."""
    card = artifact.card
    return DescribeModelResponse(
        name=card.name,
        version=card.version,
        provider=provider,
        input_shape=[-1, 28, 28],
        classes=card.classes,
        layers=[_layer(layer, artifact) for layer in card.layers],
        evaluation=Evaluation(**asdict(card.evaluation)),
        limits=limits,
        fast_lane=fast_lane,
        unfamiliarity_threshold=card.unfamiliarity_threshold,
    )


def _layer(layer: Layer, artifact: Artifact) -> digits_pb2.Layer:
    return digits_pb2.Layer(
        name=layer.name,
        kind=KINDS.get(layer.kind, digits_pb2.LAYER_KIND_UNSPECIFIED),
        output_shape=layer.shape,
        parameters=layer.parameters,
        stride=layer.stride,
        padding=layer.padding,
        kernel=_tensor(artifact.kernels.get(f"{layer.name}.weight")),
        bias=_tensor(artifact.kernels.get(f"{layer.name}.bias")),
        has_feature_map=layer.name in artifact.map_shapes,
    )


def _tensor(values: NDArray[np.float32] | None) -> Tensor | None:
    return None if values is None else Tensor(shape=values.shape, values=values.tobytes())
