"""How a request of n images is written for a server, and how its reply is read.

A dialect knows bytes alone: h2load sends the body as it is, and the witness asks through the same bytes. So what is
measured and what is checked cannot differ.
"""

import http.client
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import grpc
import numpy as np

from benchmarks.digits import Answers, Images
from benchmarks.open_inference import ModelInferRequest, ModelInferResponse
from lenet.v1.digits_pb2 import ClassifyRequest, ClassifyResponse

TIMEOUT_S = 20.0
COLUMNS = 11  # ten probabilities and the unfamiliarity
FRAME = struct.Struct(">BI")  # gRPC's header of a message: not compressed, length
Ask = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Dialect:
    """A protocol and its messages."""

    path: str
    write: Callable[[Images], bytes]
    read: Callable[[bytes], Answers]
    """Gives [n, 11]."""
    is_grpc: bool
    has_http2: bool = True
    """Whether callers can share connections."""
    content_type: str = "application/octet-stream"

    @property
    def headers(self) -> dict[str, str]:
        """What goes with each request."""
        if self.is_grpc:
            return {"content-type": "application/grpc", "te": "trailers"}
        return {"content-type": self.content_type}

    @property
    def frame_bytes(self) -> int:
        """What the protocol puts before a message, as data."""
        return FRAME.size if self.is_grpc else 0

    def body(self, message: bytes) -> bytes:
        """Frames a message as it goes over the wire."""
        return FRAME.pack(0, len(message)) + message if self.is_grpc else message

    @contextmanager
    def connected(self, target: str) -> Iterator[Ask]:
        """Opens a connection and gives the function that asks over it."""
        with self._grpc(target) if self.is_grpc else self._http(target) as ask:
            yield ask

    @contextmanager
    def _grpc(self, target: str) -> Iterator[Ask]:
        with grpc.insecure_channel(target, [("grpc.enable_retries", 0)]) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(self.path)
            yield lambda message: call(message, timeout=TIMEOUT_S)

    @contextmanager
    def _http(self, target: str) -> Iterator[Ask]:
        with closing(http.client.HTTPConnection(target, timeout=TIMEOUT_S)) as connection:

            def ask(message: bytes) -> bytes:
                connection.request("POST", self.path, message, self.headers)
                reply = connection.getresponse()
                content = reply.read()
                if reply.status != http.HTTPStatus.OK:
                    raise OSError(f"HTTP status {reply.status}: {content[:200]!r}")
                return content

            yield ask


def _read_columns(content: bytes) -> Answers:
    return np.frombuffer(content, "<f4").reshape(-1, COLUMNS)


def _write_classify(images: Images) -> bytes:
    return ClassifyRequest(pixels=images.tobytes()).SerializeToString()


def _read_classify(message: bytes) -> Answers:
    reply = ClassifyResponse.FromString(message)
    probabilities = np.array(reply.probabilities, np.float32).reshape(-1, COLUMNS - 1)
    return np.column_stack([probabilities, np.array(reply.unfamiliarity, np.float32)])


def _write_infer(images: Images) -> bytes:
    request = ModelInferRequest(model_name="lenet5", raw_input_contents=[images.tobytes()])
    request.inputs.add(name="images", datatype="UINT8", shape=images.shape)
    message: bytes = request.SerializeToString()
    return message


def _read_infer(message: bytes) -> Answers:
    reply = ModelInferResponse.FromString(message)
    return _read_columns(reply.raw_output_contents[0])


def raw_http(path: str, *, has_http2: bool = False) -> Dialect:
    """HTTP/1.1 with nothing around the numbers: n x 784 bytes in, n x 11 float32 out."""
    return Dialect(path, _write_pixels, _read_columns, is_grpc=False, has_http2=has_http2)


def _write_pixels(images: Images) -> bytes:
    return images.tobytes()


DIGITS = Dialect("/lenet.v1.DigitClassifier/Classify", _write_classify, _read_classify, is_grpc=True)
OPEN_INFERENCE = Dialect("/inference.GRPCInferenceService/ModelInfer", _write_infer, _read_infer, is_grpc=True)
