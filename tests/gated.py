"""A server in this process whose model waits behind a gate, and whose answers tell which image they are for.

The seam is the model: with the gate closed, calls pile up in front of it, and what the server makes of them is exact
without a single sleep.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from lenet.v1 import digits_pb2, digits_pb2_grpc
from serving.artifact import open_artifact
from serving.runtime import Outputs
from serving.server import Server
from serving.settings import Settings

WAIT_S = 20


class GatedModel:
    """Answers image k (see `pixels_of`) with "probabilities" k, 0, 0, ...

    It fails for images in `failing`, and ends the thread that runs it for images in `fatal`.
    """

    def __init__(self) -> None:
        self._turns = threading.Semaphore(0)
        self._is_open = False
        self.entered = threading.Semaphore(0)
        self.batches: list[list[int]] = []
        self.failing: set[int] = set()
        self.fatal: set[int] = set()

    def run(self, images: NDArray[np.uint8], layers: Sequence[str] = ()) -> Outputs:
        """Notes the batch, waits for the gate, answers."""
        keys = [int(first) * 256 + int(second) for first, second in images[:, 0, :2]]
        self.batches.append(keys)
        self.entered.release()
        assert self._turns.acquire(timeout=WAIT_S)
        if self._is_open:
            self._turns.release()
        if self.fatal.intersection(keys):
            raise SystemExit("the end of the thread that runs this")
        if self.failing.intersection(keys):
            raise RuntimeError("the secret reason of a failure")
        probabilities = np.zeros((len(images), 10), np.float32)
        probabilities[:, 0] = keys
        unfamiliarity = np.zeros(len(images), np.float32)
        return Outputs(
            probabilities, unfamiliarity, {layer: np.zeros((len(images), 1, 1, 1), np.float32) for layer in layers}
        )

    def let_one_run(self) -> None:
        """Opens the gate for one run of the model."""
        self._turns.release()

    def open_gate(self) -> None:
        """Opens the gate for good."""
        self._is_open = True
        self._turns.release()


def pixels_of(*keys: int) -> bytes:
    """An image for each key, which holds it in its first two pixels."""
    return b"".join(bytes(divmod(key, 256)) + bytes(782) for key in keys)


class GatedServer:
    """A started server with a GatedModel, and a channel to it."""

    def __init__(self, model: GatedModel, server: Server, stop: threading.Event) -> None:
        self.model, self.server, self.stop = model, server, stop
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{server.port}",
            # Its own connection, even if another test's server had the same port.
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)],
        )
        self.stub = digits_pb2_grpc.DigitClassifierStub(self.channel)

    def ask(self, *keys: int, timeout_s: float = WAIT_S) -> "grpc.Future[digits_pb2.ClassifyResponse]":
        """Sends a call and does not wait for its answer."""
        request = digits_pb2.ClassifyRequest(pixels=pixels_of(*keys))
        return self.stub.Classify.future(request, timeout=timeout_s)

    def ask_and_wait_until_running(self, *keys: int) -> "grpc.Future[digits_pb2.ClassifyResponse]":
        """Sends a call whose run then stands before the gate."""
        call = self.ask(*keys)
        assert self.model.entered.acquire(timeout=WAIT_S)
        return call

    def wait_until_all_has_arrived(self) -> None:
        """Returns when the server has read what was sent before: a call on the same connection has been answered."""
        health_pb2_grpc.HealthStub(self.channel).Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)


@contextmanager
def gated_server(model_dir: Path, way_in: str, **settings: Any) -> Iterator[GatedServer]:
    """Starts a server for one way in, and checks that it drains at the end."""
    chosen = Settings(port=0, lane=way_in == "lane", drain_delay_s=0, pool_threads=1, reflection=False, **settings)
    model, stop = GatedModel(), threading.Event()
    server = Server(chosen, open_artifact(model_dir), model, provider="none", stop=stop)
    server.start()
    gated = GatedServer(model, server, stop)
    try:
        yield gated
    finally:
        model.open_gate()
        assert server.stop(), "the server did not drain"
        assert server.failed == bool(model.fatal)
        gated.channel.close()
