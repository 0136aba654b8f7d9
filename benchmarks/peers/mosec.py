"""Mosec: a Rust front end over HTTP, and worker processes in Python, which it feeds with batches.

Raw bytes in and out, which is the least work that it offers (its own `serialize` and `deserialize` make JSON). A batch
waits for its shortest, 1 ms, or for 32 calls. Since that wait punishes a single caller, there is a row without batches
as well. Tried: two workers, which were slower on 2 cores, where the front end and the load need one.
"""

import os
import sys

from mosec import Server, Worker

from benchmarks.peers.network import MAX_BATCH_CALLS, Arguments, Network, arguments

MODEL = "BENCHMARK_MODEL"  # Mosec makes a worker without arguments, in a process of its own
WAIT_MS = 1  # its shortest


class Classifier(Worker):
    """Gets batches of raw requests."""

    resp_mime_type = "application/octet-stream"

    def __init__(self) -> None:
        super().__init__()
        self._network = Network(os.environ[MODEL])

    def deserialize(self, data: bytes) -> bytes:
        """Takes the pixels as they are."""
        return data

    def serialize(self, data: bytes) -> bytes:
        """Gives the numbers as they are."""
        return data


class Batched(Classifier):
    """Answers what Mosec gathered."""

    def forward(self, data: list[bytes]) -> list[bytes]:
        """Runs the model once."""
        return self._network.answer_together(data)


class Single(Classifier):
    """Answers each request when it comes."""

    def forward(self, data: bytes) -> bytes:
        """Runs the model for one request."""
        return self._network.answer(data)


def serve(given: Arguments) -> None:
    """Serves until the process is told to stop."""
    os.environ[MODEL] = given.model
    # Mosec reads its address from the command line alone.
    sys.argv[1:] = ["--address", "127.0.0.1", "--port", str(given.port), "--log-level", "error"]
    server = Server()
    if given.batch:
        server.append_worker(Batched, num=given.workers, max_batch_size=MAX_BATCH_CALLS, max_wait_time=WAIT_MS)
    else:
        server.append_worker(Single, num=given.workers)
    server.run()


if __name__ == "__main__":
    serve(arguments())
