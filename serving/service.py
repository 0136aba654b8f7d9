"""The DigitClassifier: validates a request, runs the model, packs the reply. Both ways in share it.

Messages come and go as bytes, so that the fast lane and grpcio's ordinary handler read, refuse and answer a call with
the same code. Everything that can be wrong with a request is found in `read`, before the call waits for anything, or
in decoding its picture; what fails later is the server's own fault.
"""

import logging
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from lenet.v1.digits_pb2 import ClassifyRequest, ClassifyResponse, FeatureMap, Limits
from serving.images import ImageError, read_digit
from serving.pool import CallerGone, Refused
from serving.runtime import Model, Outputs

log = logging.getLogger(__name__)

IMAGE_BYTES = 28 * 28
# Per image, beside maps: a digit of one byte and eleven floats; per map and reply: names, shapes and lengths.
ANSWER_BYTES, MAP_OVERHEAD_BYTES, REPLY_OVERHEAD_BYTES = 45, 64, 1024


class InvalidRequest(ValueError):
    """A request cannot be answered; the text is for its caller."""


@dataclass(frozen=True, slots=True)
class Request:
    """A validated request: images, or one encoded image, and the layers whose maps are wanted."""

    images: NDArray[np.uint8]
    """[n, 28, 28]; n = 0 if there is an encoded image."""
    encoded_image: bytes
    layers: tuple[str, ...]

    @property
    def is_plain(self) -> bool:
        """True if it needs nothing but probabilities for its images, and so may share a run with other calls."""
        return not self.layers and not self.encoded_image


class DigitClassifier:
    """Answers Classify requests with a model."""

    def __init__(self, model: Model, *, version: str, map_shapes: dict[str, tuple[int, ...]], limits: Limits) -> None:
        """`map_shapes` gives, for each layer that has a feature map, its shape [channels, height, width]."""
        self._model = model
        self._version = version
        self._map_shapes = map_shapes
        self._limits = limits

    def read(self, message: bytes) -> Request:
        """Parses and validates a ClassifyRequest; raises InvalidRequest."""
        try:
            request = ClassifyRequest.FromString(message)
        except DecodeError:
            raise InvalidRequest(
                f"{len(message)} bytes came that are no lenet.v1.ClassifyRequest; check the client's digits.proto"
            ) from None
        kind = request.WhichOneof("input")
        if kind is None:
            raise InvalidRequest("no input came: set pixels (n x 784 bytes) or encoded_image (one PNG or JPEG file)")
        images = self._read_pixels(request.pixels)
        layers = tuple(request.feature_maps[: len(self._map_shapes) + 1])  # more are wrong whatever they are
        self._check_layers(layers)
        self._check_reply_size(layers, images=1 if kind == "encoded_image" else len(images))
        if kind == "encoded_image" and not request.encoded_image:
            raise InvalidRequest("encoded_image is empty; expected one PNG or JPEG file")
        if kind == "pixels" and not len(images):
            raise InvalidRequest("pixels is empty, so there are zero images; expected 784 bytes for each image")
        return Request(images, request.encoded_image, layers)

    def answer(self, request: Request) -> bytes:
        """Answers one request of any kind with a ClassifyResponse; raises InvalidRequest if its picture is bad."""
        if not request.encoded_image:
            return self._pack(self._run(request.images, request.layers))
        try:
            image = read_digit(request.encoded_image, max_pixels=self._limits.max_image_pixels)
        except ImageError as error:
            raise InvalidRequest(str(error)) from None
        return self._pack(self._run(image[np.newaxis], request.layers), pixels=image.tobytes())

    def answer_together(self, requests: Sequence[Request]) -> list[bytes]:
        """Answers plain requests with one run of the model; a ClassifyResponse for each, in order."""
        if len(requests) == 1:
            return [self._pack(self._run(requests[0].images))]
        outputs = self._run(np.concatenate([request.images for request in requests]))
        replies, start = [], 0
        for request in requests:
            end = start + len(request.images)
            replies.append(self._pack(Outputs(outputs.probabilities[start:end], outputs.unfamiliarity[start:end])))
            start = end
        return replies

    def _read_pixels(self, pixels: bytes) -> NDArray[np.uint8]:
        n, rest = divmod(len(pixels), IMAGE_BYTES)
        if rest:
            raise InvalidRequest(
                f"pixels has {len(pixels)} bytes; expected a multiple of {IMAGE_BYTES} (28 x 28, one byte per pixel)"
            )
        if n > self._limits.max_images:
            raise InvalidRequest(
                f"pixels holds {n} images; expected at most {self._limits.max_images}: split them into several calls"
            )
        return np.frombuffer(pixels, np.uint8).reshape(n, 28, 28)

    def _check_layers(self, layers: tuple[str, ...]) -> None:
        for layer in layers:
            if layer not in self._map_shapes:
                raise InvalidRequest(
                    f"feature_maps names {layer[:40]!r}; expected one of {', '.join(self._map_shapes)}"
                )
        if len(set(layers)) < len(layers):
            raise InvalidRequest(f"feature_maps names a layer twice: {', '.join(layers)}; name each once")

    def _check_reply_size(self, layers: tuple[str, ...], *, images: int) -> None:
        bytes_per_image = ANSWER_BYTES + sum(4 * math.prod(self._map_shapes[layer]) for layer in layers)
        overhead = REPLY_OVERHEAD_BYTES + MAP_OVERHEAD_BYTES * len(layers)
        fitting = max(0, (self._limits.max_reply_bytes - overhead) // bytes_per_image)
        if images > fitting:
            raise InvalidRequest(
                f"{', '.join(layers) or 'the answers'} of {images} images do not fit in a reply of "
                f"{self._limits.max_reply_bytes} bytes; at most {fitting} do: split them into several calls"
            )

    def _run(self, images: NDArray[np.uint8], layers: tuple[str, ...] = ()) -> Outputs:
        outputs = self._model.run(images, layers)
        if outputs.probabilities.shape != (len(images), 10):
            raise RuntimeError(f"the model gave {outputs.probabilities.shape} for {len(images)} images")
        return outputs

    def _pack(self, outputs: Outputs, *, pixels: bytes = b"") -> bytes:
        return ClassifyResponse(
            digits=outputs.probabilities.argmax(axis=1).tolist(),
            probabilities=outputs.probabilities.ravel().tolist(),
            feature_maps=[
                FeatureMap(layer=layer, shape=values.shape, values=values.astype("<f4", copy=False).tobytes())
                for layer, values in outputs.maps.items()
            ],
            model_version=self._version,
            pixels=pixels,
            unfamiliarity=outputs.unfamiliarity.tolist(),
        ).SerializeToString()


def status_of(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """The status that a caller gets for an exception. What is the server's own fault is logged, and not told."""
    match error:
        case InvalidRequest():
            return grpc.StatusCode.INVALID_ARGUMENT, str(error)
        case Refused():
            return grpc.StatusCode.UNAVAILABLE, str(error)
        case CallerGone():
            return grpc.StatusCode.DEADLINE_EXCEEDED, str(error)
        case _:
            incident = uuid.uuid4().hex[:12]
            log.error("a call failed (incident %s)", incident, exc_info=error)
            return (
                grpc.StatusCode.INTERNAL,
                f"the server failed; its log has the reason under incident {incident}",
            )
