"""The bare echo: the same lane of our server, with a fixed reply in place of reading, network and packing.

What is left is what gRPC and the lane cost, so the distance to our server is what its work costs.
"""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.network import IMAGE_BYTES, arguments
from lenet.v1.digits_pb2 import ClassifyResponse
from serving.lane import Lane
from serving.pool import Pool
from serving.service import DigitClassifier, Request
from serving.settings import Settings

METHOD = "/lenet.v1.DigitClassifier/Classify"
FIXED = 0.1


class Echo(DigitClassifier):
    """Answers any request for n images with the same n answers."""

    def __init__(self) -> None:
        self._requests: dict[int, Request] = {}
        self._fixed: dict[int, bytes] = {}

    def read(self, message: bytes) -> Request:
        """Tells the number of images by the length of the message."""
        n = len(message) // IMAGE_BYTES
        if n not in self._requests:
            self._requests[n] = Request(b"", n)
            self._fixed[n] = fixed_reply(n)
        return self._requests[n]

    def answer(self, request: Request) -> bytes:
        """Answers one request."""
        return self._fixed[request.n]

    def answer_together(self, requests: list[Request]) -> list[bytes]:  # type: ignore[override]
        """Answers a batch."""
        return [self._fixed[request.n] for request in requests]


def fixed_reply(n: int) -> bytes:
    """Gives a reply of the size of a real one."""
    values: NDArray[np.float64] = np.full(n * 10, FIXED)
    return ClassifyResponse(
        digits=[5] * n, probabilities=values.tolist(), model_version="1", unfamiliarity=values[:n].tolist()
    ).SerializeToString()


def serve(port: int) -> None:
    """Serves until the process is told to stop."""
    settings, draining = Settings(), threading.Event()
    options = [("grpc.max_receive_message_length", settings.max_request_bytes), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(1), options=options)
    lane = Lane(
        server,
        METHOD,
        Echo(),
        Pool(settings.pool_threads, settings.max_pool_waiting),
        max_batch_images=settings.max_batch_images,
        max_waiting=settings.max_waiting,
        draining=draining,
        on_failure=draining.set,
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    lane.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop(0).wait()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    serve(arguments().port)
