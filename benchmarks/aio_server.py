"""The peer: what one writes first, a grpc.aio server on uvloop that does the same inference for each call."""

import asyncio
import sys
from pathlib import Path

import grpc
import numpy as np
import uvloop

from lenet.v1 import digits_pb2_grpc
from lenet.v1.digits_pb2 import ClassifyRequest, ClassifyResponse, DescribeModelRequest, DescribeModelResponse
from serving.artifact import open_artifact
from serving.runtime import Runtime


class AioClassifier(digits_pb2_grpc.DigitClassifierServicer):
    """Classify alone, without limits, maps or pictures."""

    def __init__(self, model_dir: Path) -> None:
        artifact = open_artifact(model_dir)
        self._runtime = Runtime(artifact)
        self._version = artifact.card.version

    async def Classify(self, request: ClassifyRequest, context: object) -> ClassifyResponse:  # noqa: N802 - the contract's name
        """Runs the model in the event loop, which is the fastest place for so small a model."""
        images = np.frombuffer(request.pixels, np.uint8).reshape(-1, 28, 28)
        outputs = self._runtime.run(images)
        return ClassifyResponse(
            digits=outputs.probabilities.argmax(axis=1).tolist(),
            probabilities=outputs.probabilities.ravel().tolist(),
            model_version=self._version,
            unfamiliarity=outputs.unfamiliarity.tolist(),
        )

    def ClassifyStream(self, requests: object, context: object) -> None:  # type: ignore[override]  # noqa: N802
        """Not part of the comparison."""
        raise NotImplementedError

    def DescribeModel(self, request: DescribeModelRequest, context: object) -> DescribeModelResponse:  # noqa: N802
        """Not part of the comparison."""
        raise NotImplementedError


async def serve(model_dir: Path) -> None:
    """Serves on a free port, which the ready line names, until the process is killed."""
    server = grpc.aio.server()
    digits_pb2_grpc.add_DigitClassifierServicer_to_server(AioClassifier(model_dir), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"aio-server: ready on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1])))
