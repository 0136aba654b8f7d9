"""LitServe: a FastAPI server, and worker processes that it reaches through queues.

Raw bytes in and out, past its JSON. Tried: batches with no wait, 1 ms and 5 ms, which were slower than no batches at 1
and 32 callers alike; the fast queue, two workers and two API servers, which were no faster on 2 cores. So it runs one
of each, without batches.
"""

from typing import Annotated

import litserve
from fastapi import Body, Response

from benchmarks.peers.network import MAX_BATCH_CALLS, Arguments, Network, arguments

OCTETS = "application/octet-stream"
WAIT_S = 0.001


class Classifier(litserve.LitAPI):
    """Answers raw requests, alone or in what was gathered."""

    def __init__(self, model: str, max_batch_size: int, batch_timeout: float) -> None:
        super().__init__(api_path="/inference", max_batch_size=max_batch_size, batch_timeout=batch_timeout)
        self._model = model

    def setup(self, device: str) -> None:
        """Opens the model, in the worker."""
        self._network = Network(self._model)

    def decode_request(self, request: Annotated[bytes, Body(media_type=OCTETS)]) -> bytes:
        """Takes the pixels as they are."""
        return request

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        """Leaves joining to the model."""
        return inputs

    def predict(self, x: list[bytes] | bytes) -> list[bytes] | bytes:
        """Runs the model once."""
        return self._network.answer(x) if isinstance(x, bytes) else self._network.answer_together(x)

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        """They are apart already."""
        return output

    def encode_response(self, output: bytes) -> Response:
        """Gives the numbers as they are."""
        return Response(output, media_type=OCTETS)


def serve(given: Arguments) -> None:
    """Serves until the process is told to stop."""
    api = Classifier(
        given.model,
        max_batch_size=MAX_BATCH_CALLS if given.batch else 1,
        batch_timeout=WAIT_S if given.batch else 0,
    )
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=given.workers, timeout=False)
    server.run("127.0.0.1", given.port, num_api_servers=1, log_level="error", generate_client_file=False)


if __name__ == "__main__":
    serve(arguments())
