"""Turns arrays and pictures into requests, and replies into arrays: all that a client does besides waiting.

Every function is pure but for reading a named file, so the sync and the async client share them whole.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lenet.v1 import digits_pb2 as pb

__all__ = ["Classification", "Evaluation", "Images", "Layer", "Limits", "ModelDescription"]

# An array [n, 28, 28] or [28, 28] of uint8; or one PNG or JPEG, as its path or its bytes.
Images: TypeAlias = NDArray[np.uint8] | bytes | str | os.PathLike[str]

SIDE = 28  # of an image in MNIST form, in pixels
IMAGE_BYTES = SIDE * SIDE  # one per pixel


@dataclass(frozen=True, eq=False)
class Classification:
    """Holds the answers for the n images of one request. The arrays may be read-only.

    Attributes:
        digits: int64 [n], the most probable class of each image.
        probabilities: float32 [n, 10]; each row adds up to 1.
        feature_maps: per layer that was asked for, float32 [n, channels, height, width].
        unfamiliarity: float32 [n], 0 = like the training digits; above the model's threshold, probably no digit.
        model_version: the version of the model that answered.
        pixels: uint8 [28, 28], what the model saw of an encoded image; None if the input was an array.
    """

    digits: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    unfamiliarity: NDArray[np.float32]
    feature_maps: dict[str, NDArray[np.float32]]
    model_version: str
    pixels: NDArray[np.uint8] | None


@dataclass(frozen=True, eq=False)
class Layer:
    """Describes one layer.

    Attributes:
        name: for example "conv1".
        kind: "convolution", "pooling", "linear", or "unspecified" if the server is newer than this client.
        output_shape: of one image: (channels, height, width), or (units,).
        parameters: how many were trained.
        stride, padding: in input pixels; 0 for a linear layer.
        kernel: float32 [outputs, inputs, height, width], or [outputs, inputs] if linear; None for pooling.
        bias: float32 [outputs]; None for pooling.
        has_feature_map: True if `classify` can return this layer's map.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    stride: int
    padding: int
    kernel: NDArray[np.float32] | None
    bias: NDArray[np.float32] | None
    has_feature_map: bool


@dataclass(frozen=True)
class Evaluation:
    """Holds the figures of the model's card, which the contract explains one by one."""

    test_set: str
    test_images: int
    accuracy: float
    nll: float
    brier: float
    calibration_error: float


@dataclass(frozen=True)
class Limits:
    """Holds what a server accepts in one call; `max_image_pixels` is of an encoded image."""

    max_images: int
    max_request_bytes: int
    max_image_pixels: int
    max_reply_bytes: int


@dataclass(frozen=True, eq=False)
class ModelDescription:
    """Describes the model being served; `provider` and `fast_lane` tell what it really runs on.

    `unfamiliarity_threshold` is for `Classification.unfamiliarity`: an image above it is probably no digit.
    """

    name: str
    version: str
    provider: str
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    layers: tuple[Layer, ...]
    evaluation: Evaluation
    limits: Limits
    fast_lane: bool
    unfamiliarity_threshold: float

    def doubts(self, answer: Classification) -> NDArray[np.bool_]:
        """Tells of each image whether it is probably no digit: [n]. A server that knows no threshold doubts none."""
        return answer.unfamiliarity > (self.unfamiliarity_threshold or np.inf)


def classify_request(images: Images, feature_maps: Sequence[str]) -> pb.ClassifyRequest:
    """Builds the request for an array, the bytes of a picture, or the path of one.

    Raises:
        ValueError: the array is not uint8 [n, 28, 28] or [28, 28] with n >= 1, the picture holds no bytes, or
            `feature_maps` is a single text.
        OSError: the file cannot be read.
    """
    if isinstance(feature_maps, str):
        raise ValueError(f"feature_maps is a text; expected a sequence of names: [{feature_maps!r}]")
    if isinstance(images, str | os.PathLike):
        images = read_picture(images)
    if isinstance(images, bytes):
        if not images:
            raise ValueError("the picture has 0 bytes; expected a PNG or JPEG file")
        return pb.ClassifyRequest(encoded_image=images, feature_maps=feature_maps)
    return pb.ClassifyRequest(pixels=plain_pixels(images), feature_maps=feature_maps)


def plain_pixels(images: object) -> bytes:
    """Gives the bytes of an array uint8 [n, 28, 28] or [28, 28], row-major; raises ValueError if it is none."""
    return _checked(images).tobytes()


def read_picture(path: str | os.PathLike[str]) -> bytes:
    """Reads a file whole. Apart from the rest because it blocks: an event loop must leave it to a thread."""
    return Path(path).read_bytes()


def read_classification(reply: pb.ClassifyResponse) -> Classification:
    """Reads a reply to Classify or ClassifyStream."""
    digits = np.array(reply.digits, dtype=np.int64)
    return Classification(
        digits=digits,
        probabilities=np.array(reply.probabilities, dtype=np.float32).reshape(len(digits), -1),
        unfamiliarity=np.array(reply.unfamiliarity, dtype=np.float32),
        feature_maps={each.layer: _array(each) for each in reply.feature_maps},
        model_version=reply.model_version,
        pixels=np.frombuffer(reply.pixels, np.uint8).reshape(SIDE, SIDE) if reply.pixels else None,
    )


def rows(answer: Classification, start: int, end: int) -> Classification:
    """Gives the part of an answer without maps and pixels that is about the images from `start` to before `end`."""
    part = object.__new__(Classification)
    # Past the constructor, which sets the fields of a frozen class one by one, and would cost more than all the rest.
    vars(part).update(
        digits=answer.digits[start:end],
        probabilities=answer.probabilities[start:end],
        unfamiliarity=answer.unfamiliarity[start:end],
        feature_maps={},
        model_version=answer.model_version,
        pixels=None,
    )
    return part


def read_description(reply: pb.DescribeModelResponse) -> ModelDescription:
    """Reads a reply to DescribeModel."""
    return ModelDescription(
        name=reply.name,
        version=reply.version,
        provider=reply.provider,
        input_shape=tuple(reply.input_shape),
        classes=tuple(reply.classes),
        layers=tuple(_layer(each) for each in reply.layers),
        evaluation=Evaluation(**{f: getattr(reply.evaluation, f) for f in Evaluation.__dataclass_fields__}),
        limits=Limits(**{f: getattr(reply.limits, f) for f in Limits.__dataclass_fields__}),
        fast_lane=reply.fast_lane,
        unfamiliarity_threshold=reply.unfamiliarity_threshold,
    )


def _checked(images: object) -> NDArray[np.uint8]:
    expected = "expected a uint8 array [n, 28, 28] or [28, 28], where 0 is background and 255 is ink"
    if not isinstance(images, np.ndarray):
        received = f"images is a {type(images).__name__}"
        raise ValueError(f"{received}; {expected}, or the path or bytes of a picture")
    if images.ndim not in (2, 3) or images.shape[-2:] != (SIDE, SIDE) or images.size == 0:
        raise ValueError(f"images has shape {list(images.shape)}; {expected}")
    if images.dtype != np.uint8:
        received = f"images has dtype {images.dtype} with values from {images.min()} to {images.max()}"
        raise ValueError(f"{received}; {expected}: scale and convert it")
    return images


def _layer(layer: pb.Layer) -> Layer:
    return Layer(
        name=layer.name,
        kind=_KINDS.get(layer.kind, "unspecified"),
        output_shape=tuple(layer.output_shape),
        parameters=layer.parameters,
        stride=layer.stride,
        padding=layer.padding,
        kernel=_array(layer.kernel) if layer.HasField("kernel") else None,
        bias=_array(layer.bias) if layer.HasField("bias") else None,
        has_feature_map=layer.has_feature_map,
    )


_KINDS = {number: name.removeprefix("LAYER_KIND_").lower() for name, number in pb.LayerKind.items()}


def _array(tensor: pb.Tensor | pb.FeatureMap) -> NDArray[np.float32]:
    return np.frombuffer(tensor.values, "<f4").astype(np.float32, copy=False).reshape(tuple(tensor.shape))
