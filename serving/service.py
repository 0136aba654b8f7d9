"""The DigitClassifier: validates a request, runs the model, packs the reply. Both ways in share it.

Messages come and go as bytes, so that the fast lane and grpcio's ordinary handler read, refuse and answer a call with
the same code. Everything that can be wrong with a request is found in `read`, before the call waits for anything, or
in decoding its picture; what fails later is the server's own fault.
"""

import logging
import math
import uuid
from collections.abc import Sequence

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from lenet.v1.digits_pb2 import ClassifyRequest, Limits
from serving.images import ImageError, read_digit
from serving.pool import CallerGone, Refused
from serving.replies import Replies
from serving.runtime import Model, Outputs

log = logging.getLogger(__name__)

IMAGE_BYTES = 28 * 28
# How a request for one image and nothing else begins: it is the common call, and this saves half the time of reading.
ONE_IMAGE_BYTES = ClassifyRequest(pixels=bytes(IMAGE_BYTES)).ByteSize()
ONE_IMAGE = ClassifyRequest(pixels=bytes(IMAGE_BYTES)).SerializeToString()[:-IMAGE_BYTES]
# Per image, beside maps: a digit of one byte and eleven floats; per map and reply: names, shapes and lengths.
ANSWER_BYTES, MAP_OVERHEAD_BYTES, REPLY_OVERHEAD_BYTES = 45, 64, 1024


NO_INPUT = {
    None: "no input came: set pixels (n x 784 bytes) or encoded_image (one PNG or JPEG file)",
    "pixels": "pixels is empty, so there are zero images; expected 784 bytes for each image",
    "encoded_image": "encoded_image is empty; expected one PNG or JPEG file",
}


class InvalidRequest(ValueError):
    """A request cannot be answered; the text is for its caller."""


class Request:
    """A validated request: n images, or one encoded image, and the layers whose maps are wanted.

    One is plain if it needs nothing but the answers for its images, and so may share a run with other calls.
    """

    __slots__ = ("encoded_image", "is_plain", "layers", "n", "pixels")

    def __init__(self, pixels: bytes, n: int, encoded_image: bytes = b"", layers: tuple[str, ...] = ()) -> None:
        self.pixels, self.n, self.encoded_image, self.layers = pixels, n, encoded_image, layers
        self.is_plain = not (encoded_image or layers)


class DigitClassifier:
    """Answers Classify requests with a model."""

    def __init__(self, model: Model, *, version: str, map_shapes: dict[str, tuple[int, ...]], limits: Limits) -> None:
        """`map_shapes` gives, for each layer that has a feature map, its shape [channels, height, width]."""
        self._model = model
        self._replies = Replies(version)
        self._map_bytes = {layer: 4 * math.prod(shape) for layer, shape in map_shapes.items()}
        # Read once: a field of a message is slower to get at than an attribute.
        self._max_images, self._max_reply_bytes = limits.max_images, limits.max_reply_bytes
        self._max_image_pixels = limits.max_image_pixels

    def read(self, message: bytes) -> Request:
        """Parses and validates a ClassifyRequest; raises InvalidRequest."""
        if len(message) == ONE_IMAGE_BYTES and message.startswith(ONE_IMAGE):
            return Request(message[len(ONE_IMAGE) :], n=1)
        try:
            request = ClassifyRequest.FromString(message)
        except DecodeError:
            raise InvalidRequest(
                f"{len(message)} bytes came that are no lenet.v1.ClassifyRequest; check the client's digits.proto"
            ) from None
        pixels, encoded_image = request.pixels, request.encoded_image
        layers = tuple(request.feature_maps[: len(self._map_bytes) + 1])  # more are wrong whatever they are
        if not (pixels or encoded_image):
            raise InvalidRequest(NO_INPUT[request.WhichOneof("input")])
        if layers:
            self._check_layers(layers)
        n = self._count_images(pixels)
        self._check_reply_size(layers, images=n or 1)
        return Request(pixels, n, encoded_image, layers)

    def answer(self, request: Request) -> bytes:
        """Answers one request of any kind with a ClassifyResponse; raises InvalidRequest if its picture is bad."""
        if request.is_plain:
            return self.answer_together([request])[0]
        if not request.encoded_image:
            return self._replies.with_maps(self._run(request.pixels, request.layers))
        try:
            pixels = read_digit(request.encoded_image, max_pixels=self._max_image_pixels).tobytes()
        except ImageError as error:
            raise InvalidRequest(str(error)) from None
        return self._replies.with_maps(self._run(pixels, request.layers), pixels=pixels)

    def answer_together(self, requests: Sequence[Request]) -> list[bytes]:
        """Answers plain requests with one run of the model; a ClassifyResponse for each, in order."""
        outputs = self._run(b"".join([request.pixels for request in requests]))
        return self._replies.plain(outputs, [request.n for request in requests])

    def _count_images(self, pixels: bytes) -> int:
        n, rest = divmod(len(pixels), IMAGE_BYTES)
        if rest:
            raise InvalidRequest(
                f"pixels has {len(pixels)} bytes; expected a multiple of {IMAGE_BYTES} (28 x 28, one byte per pixel)"
            )
        if n > self._max_images:
            raise InvalidRequest(
                f"pixels holds {n} images; expected at most {self._max_images}: split them into several calls"
            )
        return n

    def _check_layers(self, layers: tuple[str, ...]) -> None:
        for layer in layers:
            if layer not in self._map_bytes:
                raise InvalidRequest(f"feature_maps names {layer[:40]!r}; expected one of {', '.join(self._map_bytes)}")
        if len(set(layers)) < len(layers):
            raise InvalidRequest(f"feature_maps names a layer twice: {', '.join(layers)}; name each once")

    def _check_reply_size(self, layers: tuple[str, ...], *, images: int) -> None:
        bytes_per_image = ANSWER_BYTES + sum([self._map_bytes[layer] for layer in layers])
        overhead = REPLY_OVERHEAD_BYTES + MAP_OVERHEAD_BYTES * len(layers)
        fitting = max(0, (self._max_reply_bytes - overhead) // bytes_per_image)
        if images > fitting:
            raise InvalidRequest(
                f"{', '.join(layers) or 'the answers'} of {images} images do not fit in a reply of "
                f"{self._max_reply_bytes} bytes; at most {fitting} do: split them into several calls"
            )

    def _run(self, pixels: bytes, layers: tuple[str, ...] = ()) -> Outputs:
        images = np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28)
        outputs = self._model.run(images, layers)
        if outputs.probabilities.shape != (len(images), 10):
            raise RuntimeError(f"the model gave {outputs.probabilities.shape} for {len(images)} images")
        return outputs


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
