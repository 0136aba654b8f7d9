"""Asks a LeNet server to classify digits: `Client` for plain code, `AsyncClient` for asyncio.

The two differ in `await`, and in that the async stream sends one request at a time: messages.py builds every request
and reads every reply, calls.py sets the terms of a call, and errors.py turns every failure into its class.

    with Client() as client:
        print(client.classify("three.png").digits)
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator, Sequence
from typing import Self, cast

import grpc
import grpc.aio
import numpy as np

from clients.batching import MAX_PIXELS, Batching
from clients.calls import CHANNEL_OPTIONS, DEFAULT_TARGET, DEFAULT_TIMEOUT_S, SourceFailure, Terms
from clients.messages import (
    Classification,
    Images,
    ModelDescription,
    classify_request,
    plain_pixels,
    read_classification,
    read_description,
    read_picture,
)
from lenet.v1 import digits_pb2 as pb
from lenet.v1.digits_pb2_grpc import DigitClassifierStub

__all__ = ["AsyncClient", "Client"]


class Client(Terms):
    """Asks a server, and blocks until it answers. Threads may share one client.

    Every method raises LenetError (see clients.errors) if the call fails; gRPC has then tried an UNAVAILABLE
    server up to four times.

    Args:
        target: the server's address, "host:port" or any gRPC target such as "dns:///lenet:50051".
        timeout_s: how long a call may take in seconds, all its attempts included, unless the call itself says
            otherwise; math.inf sets no limit.
    """

    def __init__(self, target: str = DEFAULT_TARGET, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        super().__init__(target, timeout_s)
        self._channel = grpc.insecure_channel(target, CHANNEL_OPTIONS)
        self._stub = DigitClassifierStub(self._channel)

    def classify(
        self, images: Images, *, feature_maps: Sequence[str] = (), timeout_s: float | None = None
    ) -> Classification:
        """Classifies one or more images in one call.

        Args:
            images: uint8 [n, 28, 28] or [28, 28], 0 = background, 255 = ink; or the path or the bytes of one
                PNG or JPEG.
            feature_maps: the layers whose maps to return, by the names that `describe` gives.
            timeout_s: for this call, in seconds; None takes the client's.

        Raises:
            ValueError: the array has a wrong type or shape; nothing was sent.
            OSError: the file cannot be read; nothing was sent.
        """
        request = classify_request(images, feature_maps)
        with self._call(timeout_s) as timeout:
            reply = self._stub.Classify(request, timeout=timeout)
        return read_classification(reply)

    def classify_stream(
        self, images: Iterable[Images], *, feature_maps: Sequence[str] = (), timeout_s: float | None = None
    ) -> Generator[Classification, None, None]:
        """Classifies a flow of inputs over one call, and gives one result per input, in order.

        Results come while inputs still go out: gRPC takes the inputs in a thread of its own. What an input or
        the iterable raises comes after the results of the inputs before it. Arguments and errors are those of
        `classify`, but `timeout_s` holds for the whole flow: give a long one more, or math.inf.
        """
        source = SourceFailure()

        def requests() -> Iterator[pb.ClassifyRequest]:
            with source:
                for each in images:
                    yield classify_request(each, feature_maps)

        with self._call(timeout_s) as timeout:
            call = self._stub.ClassifyStream(requests(), timeout=timeout)
            try:
                for reply in call:
                    yield read_classification(reply)
            finally:
                call.cancel()  # frees the server of a flow left half way; one that has ended does not mind
        source.raise_kept()

    def describe(self, *, timeout_s: float | None = None) -> ModelDescription:
        """Describes the model being served, the hardware it runs on, and the server's limits."""
        with self._call(timeout_s) as timeout:
            reply = self._stub.DescribeModel(pb.DescribeModelRequest(), timeout=timeout)
        return read_description(reply)

    def close(self) -> None:
        """Closes the connection. Calls under way fail."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class AsyncClient(Terms):
    """Asks a server without blocking the event loop, in which it must be created. Tasks may share one client.

    Takes the arguments of `Client`, and each method does, gives and raises what it does there. Concurrent calls of
    `classify` with arrays travel together, which makes each much cheaper; timeouts and errors stay each caller's own.

    Args:
        batching: False gives each `classify` a call of its own.
    """

    def __init__(
        self, target: str = DEFAULT_TARGET, *, timeout_s: float = DEFAULT_TIMEOUT_S, batching: bool = True
    ) -> None:
        super().__init__(target, timeout_s)
        self._channel = grpc.aio.insecure_channel(target, CHANNEL_OPTIONS)
        self._stub = DigitClassifierStub(self._channel)
        self._batching = Batching(target, self._stub.Classify) if batching else None

    async def classify(
        self, images: Images, *, feature_maps: Sequence[str] = (), timeout_s: float | None = None
    ) -> Classification:
        """Classifies one or more images in one call; see `Client.classify`."""
        if self._batching and isinstance(images, np.ndarray) and images.size <= MAX_PIXELS and len(feature_maps) == 0:
            return await self._batching.classify(plain_pixels(images), self._seconds(timeout_s))
        request = classify_request(await _in_memory(images), feature_maps)
        with self._call(timeout_s) as timeout:
            reply = await self._stub.Classify(request, timeout=timeout)
        return read_classification(reply)

    async def classify_stream(
        self,
        images: Iterable[Images] | AsyncIterable[Images],
        *,
        feature_maps: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> AsyncGenerator[Classification, None]:
        """Classifies a flow of inputs over one call, in order; see `Client.classify_stream`."""
        # One request at a time: grpc.aio loses the status of a stream that ends while a request is being written.
        with self._call(timeout_s) as timeout:
            call = self._stub.ClassifyStream(timeout=timeout)
            try:
                async for each in _as_async(images):
                    await call.write(classify_request(await _in_memory(each), feature_maps))
                    yield read_classification(cast(pb.ClassifyResponse, await call.read()))
            finally:
                call.cancel()

    async def describe(self, *, timeout_s: float | None = None) -> ModelDescription:
        """Describes the model being served, the hardware it runs on, and the server's limits."""
        with self._call(timeout_s) as timeout:
            reply = await self._stub.DescribeModel(pb.DescribeModelRequest(), timeout=timeout)
        return read_description(reply)

    async def close(self) -> None:
        """Closes the connection. Calls under way fail."""
        if self._batching:
            await self._batching.close()
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


async def _in_memory(images: Images) -> Images:
    return await asyncio.to_thread(read_picture, images) if isinstance(images, str | os.PathLike) else images


async def _as_async(images: Iterable[Images] | AsyncIterable[Images]) -> AsyncIterator[Images]:
    if isinstance(images, AsyncIterable):
        async for each in images:
            yield each
    else:
        for each in images:
            yield each
