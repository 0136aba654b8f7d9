"""The web app: static files, and four small doors to the gRPC server.

    GET  /model      the model's description with all kernels, as a frame (see frames.py)
    GET  /status     {"serving": true}, asked of the server now; always 200, for its absence is an answer too
    GET  /samples    digits as strokes, each stroke points in fractions of the sheet
    POST /classify   n x 784 bytes (application/octet-stream), or one PNG or JPEG by its type; `?maps=conv1,pool1`
                     names the layers whose maps to return; the reply is a frame

An error is JSON, `{"error": "..."}`, in words for the person at the page: what the server said of the input, and
nothing about what else went wrong, which is in the log.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from clients import handwriting
from clients.client import AsyncClient
from clients.errors import DeadlineExceeded, InvalidInput, LenetError, Unavailable
from clients.health import check
from clients.messages import SIDE, Images
from clients.playground.frames import frame_of_answer, frame_of_model
from clients.playground.guard import Guard

__all__ = ["make_app"]

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 4 * 2**20  # what the server takes by default; the page makes larger pictures smaller
STATUS_TIMEOUT_S = 1.5
PIXELS, PICTURES = "application/octet-stream", ("image/png", "image/jpeg")

_STATIC = Path(__file__).parent / "static"
_FAILURES: dict[type[Exception], tuple[int, str]] = {
    Unavailable: (503, "The model server is away or too busy."),
    DeadlineExceeded: (504, "The model server gave no answer in time."),
}


def make_app(server: str, *, timeout_s: float, names: frozenset[str] = frozenset()) -> Starlette:
    """Makes the app.

    Args:
        server: the gRPC server's address.
        timeout_s: how long each call to it may take.
        names: names by which the page may be opened, besides addresses and `localhost`.
    """
    return Starlette(
        routes=[
            Route("/model", _model),
            Route("/status", _status),
            Route("/samples", _samples),
            Route("/classify", _classify, methods=["POST"]),
            Mount("/", StaticFiles(directory=_STATIC, html=True)),
        ],
        middleware=[Middleware(Guard, names=names)],
        exception_handlers={InvalidInput: _refused, LenetError: _failed, ClientDisconnect: _abandoned},
        lifespan=partial(_connected, server, timeout_s),
        max_body_size=MAX_BODY_BYTES,
    )


@asynccontextmanager
async def _connected(server: str, timeout_s: float, app: Starlette) -> AsyncIterator[None]:
    async with AsyncClient(server, timeout_s=timeout_s) as client:  # in the event loop in which it is used
        app.state.client = client
        yield


def _client(request: Request) -> AsyncClient:
    client: AsyncClient = request.app.state.client
    return client


async def _model(request: Request) -> Response:
    return _frame(frame_of_model(await _client(request).describe()))


async def _status(request: Request) -> Response:
    try:
        # On a connection of its own, so that it is answered as soon as the server is back.
        state = await asyncio.to_thread(check, _client(request).target, timeout_s=STATUS_TIMEOUT_S)
    except LenetError:
        state = "AWAY"
    return JSONResponse({"serving": state == "SERVING"})


async def _classify(request: Request) -> Response:
    kind, body = request.headers.get("content-type", ""), await request.body()
    images: Images
    if kind in PICTURES and body:
        images = body
    elif kind == PIXELS and body and len(body) % SIDE**2 == 0:
        images = np.frombuffer(body, np.uint8).reshape(-1, SIDE, SIDE)
    else:
        expected = f"{PIXELS} of n x {SIDE**2} bytes, or one {' or '.join(PICTURES)}"
        return _refusal(415, f"{len(body)} bytes of {kind or 'no type'} came; expected {expected}")
    maps = [name for name in request.query_params.get("maps", "").split(",") if name]
    return _frame(frame_of_answer(await _client(request).classify(images, feature_maps=maps)))


async def _samples(_: Request) -> Response:
    return JSONResponse([_sample(digit) for digit in handwriting.GLYPHS])


def _sample(digit: int) -> list[list[list[float]]]:
    curves = handwriting.curves(digit, handwriting.Hand(seed=digit))
    return [np.round(curve, 4).tolist() for curve in curves]


def _frame(content: bytes) -> Response:
    return Response(content, media_type="application/octet-stream")


async def _refused(request: Request, error: Exception) -> Response:
    return _refusal(422, str(error).removeprefix(f"{_client(request).target} refused the input: "))


async def _failed(_: Request, error: Exception) -> Response:
    log.warning("%s", error)
    status, text = _FAILURES.get(type(error), (502, "The model server failed; its log says why."))
    return _refusal(status, text)


async def _abandoned(_: Request, __: Exception) -> Response:
    return _refusal(400, "The request ended early.")  # in the middle of its body; nobody reads this


def _refusal(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)
