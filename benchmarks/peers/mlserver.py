"""MLServer: the Open Inference Protocol over grpc.aio, on uvloop.

Raw tensors in and out. The model runs in the server's own process ("parallel_workers 0"), as its documentation advises
for light models; without metrics and debug logs. Tried: its adaptive batching with a wait of 1 ms, which was slower at
1 and 32 callers, since it merges tensors as Python lists.
"""

import asyncio
import socket

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import install_uvloop_event_loop

from benchmarks.peers.network import MAX_BATCH_CALLS, Arguments, Network, arguments

WAIT_S = 0.001


class Classifier(MLModel):
    """Answers requests with a tensor of pixels."""

    async def load(self) -> bool:
        """Opens the model."""
        self._network = Network(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Runs the model once, for one request or for a batch that MLServer merged."""
        images = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("answers", self._network.run(images))
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[output])


async def serve(given: Arguments) -> None:
    """Serves until the process is told to stop."""
    settings = Settings(
        debug=False,
        parallel_workers=given.workers - 1,
        host="127.0.0.1",
        http_port=free_port(),
        grpc_port=given.port,
        metrics_endpoint=None,
        grpc_max_message_length=4 << 20,
    )
    model = ModelSettings(
        name="lenet5",
        implementation=Classifier,
        parameters=ModelParameters(uri=given.model),
        max_batch_size=MAX_BATCH_CALLS if given.batch else 0,
        max_batch_time=WAIT_S if given.batch else 0,
    )
    await MLServer(settings).start([model])


def free_port() -> int:
    """Finds a port for the HTTP side, which nobody asks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    install_uvloop_event_loop()
    asyncio.run(serve(arguments()))
