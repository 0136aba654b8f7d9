"""What one writes first with gRPC in Python: a grpc.aio server on uvloop, which runs the model for each call.

The model runs inside the event loop, which for so small a model is the fastest place: a thread costs more than it.
"""

import asyncio
import subprocess
import sys

import grpc
import numpy as np
import uvloop

from benchmarks.peers.network import Arguments, Network, arguments
from lenet.v1 import digits_pb2_grpc
from lenet.v1.digits_pb2 import ClassifyRequest, ClassifyResponse, DescribeModelRequest, DescribeModelResponse

OPTIONS = [("grpc.so_reuseport", 1)]  # for several workers, which are processes on one port


class AioClassifier(digits_pb2_grpc.DigitClassifierServicer):
    """Classify alone, without limits, maps or pictures."""

    def __init__(self, model: str) -> None:
        self._network = Network(model)

    async def Classify(self, request: ClassifyRequest, context: object) -> ClassifyResponse:  # noqa: N802 - the contract's name
        """Runs the model for one call."""
        answers = self._network.run(np.frombuffer(request.pixels, np.uint8).reshape(-1, 28, 28))
        return ClassifyResponse(
            digits=answers[:, :10].argmax(axis=1).tolist(),
            probabilities=answers[:, :10].ravel().tolist(),
            model_version="1",
            unfamiliarity=answers[:, 10].tolist(),
        )

    def ClassifyStream(self, requests: object, context: object) -> None:  # type: ignore[override]  # noqa: N802
        """Not part of the comparison."""
        raise NotImplementedError

    def DescribeModel(self, request: DescribeModelRequest, context: object) -> DescribeModelResponse:  # noqa: N802
        """Not part of the comparison."""
        raise NotImplementedError


async def serve(given: Arguments) -> None:
    """Serves until the process is told to stop."""
    server = grpc.aio.server(options=OPTIONS)
    digits_pb2_grpc.add_DigitClassifierServicer_to_server(AioClassifier(given.model), server)
    server.add_insecure_port(f"127.0.0.1:{given.port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    given = arguments()
    for _ in range(given.workers - 1):
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.aio", "--port", str(given.port), "--model", given.model]
        )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(given))
