"""FastAPI on uvicorn with uvloop and httptools: what most people write first.

The raw body in and out, past the models of pydantic, and the model run inside the event loop, which for so small a
model is the fastest place. It has no batching of its own. Tried: one worker, which is
as good for one caller, and slower for 32 and for many images.
"""

import os

import uvicorn
from fastapi import FastAPI, Request, Response

from benchmarks.peers.network import Arguments, Network, arguments

MODEL = "BENCHMARK_MODEL"  # several workers are new processes, which import this module


def make_app() -> FastAPI:
    """Makes the application, once in each worker."""
    app, network = FastAPI(), Network(os.environ[MODEL])

    @app.post("/inference")
    async def classify(request: Request) -> Response:
        return Response(network.answer(await request.body()), media_type="application/octet-stream")

    return app


def serve(given: Arguments) -> None:
    """Serves until the process is told to stop."""
    os.environ[MODEL] = given.model
    uvicorn.run(
        "benchmarks.peers.fastapi:make_app",
        factory=True,
        port=given.port,
        workers=given.workers,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
    )


if __name__ == "__main__":
    serve(arguments())
