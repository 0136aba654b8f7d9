"""Ray Serve: our own service through its gRPC proxy, which hands calls to a replica.

One replica, which batches what is waiting without a timer; access logs off. Tried: no batches, which were slower;
`RAY_SERVE_THROUGHPUT_OPTIMIZED`, which through this proxy was no faster and cost as much CPU. Its HAProxy for HTTP, a
program of its own, was not tried.
"""

import signal
import socket

import numpy as np
import ray
from ray import serve

from benchmarks.peers.network import MAX_BATCH_CALLS, Arguments, Network, arguments
from lenet.v1.digits_pb2 import ClassifyRequest, ClassifyResponse

SERVICER = "lenet.v1.digits_pb2_grpc.add_DigitClassifierServicer_to_server"
QUIET = {"enable_access_log": False, "log_level": "ERROR"}


@serve.deployment(max_ongoing_requests=4096, ray_actor_options={"num_cpus": 0}, logging_config=QUIET)
class Classifier:
    """Answers Classify, in batches or alone."""

    def __init__(self, model: str, batch: bool) -> None:
        self._network, self._batch = Network(model), batch

    async def Classify(self, request: ClassifyRequest) -> ClassifyResponse:  # noqa: N802 - the contract's name
        """Answers one call."""
        return await self._gathered(request.pixels) if self._batch else pack(self._network.answer(request.pixels))

    @serve.batch(max_batch_size=MAX_BATCH_CALLS, batch_wait_timeout_s=0)
    async def _gathered(self, requests: list[bytes]) -> list[ClassifyResponse]:
        return [pack(answer) for answer in self._network.answer_together(requests)]


def pack(answer: bytes) -> ClassifyResponse:
    """Makes the reply of the contract."""
    answers = np.frombuffer(answer, np.float32).reshape(-1, 11)
    return ClassifyResponse(
        digits=answers[:, :10].argmax(axis=1).tolist(),
        probabilities=answers[:, :10].ravel().tolist(),
        model_version="1",
        unfamiliarity=answers[:, 10].tolist(),
    )


def start(given: Arguments) -> None:
    """Serves until the process is told to stop."""
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
    serve.start(
        grpc_options={"port": given.port, "grpc_servicer_functions": [SERVICER]},
        http_options={"host": "127.0.0.1", "port": free_port()},
        logging_config=QUIET,
    )
    replicas = Classifier.options(num_replicas=given.workers)  # type: ignore[attr-defined]  # what the decorator adds
    serve.run(replicas.bind(given.model, given.batch))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


def free_port() -> int:
    """Finds a port for the HTTP side, which nobody asks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    start(arguments())
