"""The ordinary way in: grpcio's own handlers for every method, and for Classify where there is no fast lane.

A handler's thread only waits: the work is done in the pool, whose queue is bounded.
"""

import threading
from collections.abc import Callable, Iterator
from functools import partial

import grpc

from lenet.v1 import digits_pb2
from serving.pool import SHUTTING_DOWN, Pool, Refused
from serving.service import DigitClassifier, InvalidRequest, status_of

SERVICE = digits_pb2.DESCRIPTOR.services_by_name["DigitClassifier"].full_name


class Handlers:
    """The methods of the service, from bytes to bytes. It knows how many answers are still on their way."""

    def __init__(
        self,
        classifier: DigitClassifier,
        pool: Pool,
        *,
        description: bytes,
        max_streams: int,
        draining: threading.Event,
    ) -> None:
        """`description` is the DescribeModelResponse. Once `draining` is set, new work is refused."""
        self._classifier = classifier
        self._pool = pool
        self._description = description
        self._max_streams = max_streams
        self._streams = threading.Semaphore(max_streams)
        self._draining = draining
        self.unanswered = 0  # requests that were taken, and whose answer has not left
        self._counting = threading.Lock()

    def add_to(self, server: grpc.Server) -> None:
        """Registers the methods with a server."""
        # As generic handlers, which C core asks only for what the lane has not claimed.
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Classify": grpc.unary_unary_rpc_method_handler(self._unary(self._classify)),
            "ClassifyStream": grpc.stream_stream_rpc_method_handler(self._classify_stream),
            "DescribeModel": grpc.unary_unary_rpc_method_handler(self._unary(lambda *_: self._description)),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))

    def _unary(
        self, method: Callable[[bytes, grpc.ServicerContext], bytes]
    ) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def handler(message: bytes, context: grpc.ServicerContext) -> bytes:
            self._count(1)
            # Called when the reply has left, which is later than when this function returns.
            if not context.add_callback(lambda: self._count(-1)):
                self._count(-1)
            try:
                return method(message, context)
            except Exception as error:
                context.abort(*status_of(error))

        return handler

    def _classify(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        if self._draining.is_set():
            raise Refused(SHUTTING_DOWN)
        request = self._classifier.read(message)
        job = partial(self._classifier.answer, request)
        return self._pool.submit(job, wanted=partial(_is_wanted, context)).result()

    def _classify_stream(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        if not self._streams.acquire(blocking=False):
            context.abort(*status_of(Refused(f"{self._max_streams} streams are open already; try again")))
        try:
            for number, message in enumerate(messages, start=1):
                self._count(1)
                try:
                    # grpcio comes back for the next reply when this one has left.
                    yield self._classify_nth(number, message, context)
                finally:
                    self._count(-1)
        finally:
            self._streams.release()

    def _classify_nth(self, number: int, message: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return self._classify(message, context)
        except InvalidRequest as error:
            context.abort(*status_of(InvalidRequest(f"request {number} of this stream: {error}")))
        except Exception as error:
            context.abort(*status_of(error))

    def _count(self, change: int) -> None:
        with self._counting:
            self.unanswered += change


def _is_wanted(context: grpc.ServicerContext) -> bool:
    return context.is_active() and context.time_remaining() != 0
