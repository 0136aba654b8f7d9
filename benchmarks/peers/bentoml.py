"""BentoML: a service class behind uvicorn, over HTTP.

Raw bytes in and out, and the model run inside the event loop. Tried: its adaptive batching, which takes arrays and over
HTTP from outside only as JSON, and was slower for it at 32 callers; two workers, which were no faster on 2 cores.
"""

import os
import sys
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from benchmarks.peers.network import Network, arguments

MODEL, WORKERS = "BENCHMARK_MODEL", "BENCHMARK_WORKERS"
Octets = Annotated[bytes, ContentType("application/octet-stream")]


@bentoml.service(
    workers=int(os.environ.get(WORKERS, "1")),
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Classifier:
    """Answers raw requests."""

    def __init__(self) -> None:
        self._network = Network(os.environ[MODEL])

    @bentoml.api(route="/inference")
    async def classify(self, pixels: bytes, /) -> Octets:
        """Runs the model inside the event loop."""
        return self._network.answer(pixels)


if __name__ == "__main__":
    given = arguments()
    os.environ |= {MODEL: given.model, WORKERS: str(given.workers)}
    command = ["serve", "benchmarks.peers.bentoml:Classifier", "--host", "127.0.0.1", "--port", str(given.port)]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *command])
