"""What DescribeModel answers: the model's card and kernels, in the words of the contract."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.v1.digits_pb2 import (
    LAYER_KIND_CONVOLUTION,
    LAYER_KIND_LINEAR,
    LAYER_KIND_POOLING,
    DescribeModelResponse,
    Evaluation,
    Layer,
    Limits,
    Tensor,
)
from serving.artifact import Artifact

KINDS = {
    "convolution": LAYER_KIND_CONVOLUTION,
    "pooling": LAYER_KIND_POOLING,
    "linear": LAYER_KIND_LINEAR,
}


def describe(artifact: Artifact, limits: Limits, *, provider: str, fast_lane: bool) -> DescribeModelResponse:
    """Describes an artifact that runs on `provider`."""
    figures = artifact.card["evaluation"]
    return DescribeModelResponse(
        name=artifact.name,
        version=artifact.version,
        provider=provider,
        input_shape=[-1, 28, 28],
        classes=artifact.card["classes"],
        layers=[_layer(layer, artifact) for layer in artifact.card["layers"]],
        evaluation=Evaluation(**{field.name: figures[field.name] for field in Evaluation.DESCRIPTOR.fields}),
        limits=limits,
        fast_lane=fast_lane,
    )


def _layer(layer: Mapping[str, Any], artifact: Artifact) -> Layer:
    name = layer["name"]
    return Layer(
        name=name,
        kind=KINDS[layer["kind"]],
        output_shape=layer["shape"],
        parameters=layer["parameters"],
        stride=layer.get("stride", 0),
        padding=layer.get("padding", 0),
        kernel=_tensor(artifact.kernels.get(f"{name}.weight")),
        bias=_tensor(artifact.kernels.get(f"{name}.bias")),
        has_feature_map=name in artifact.map_shapes,
    )


def _tensor(values: NDArray[np.float32] | None) -> Tensor | None:
    return None if values is None else Tensor(shape=values.shape, values=values.tobytes())
