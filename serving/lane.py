"""The fast lane: Classify, read from and answered on a completion queue of its own, in natural batches.

One thread answers the common call from start to end, past the Python layers of `grpc.server`: it drains the queue,
runs the model once for all the plain calls that it found, and answers them. While it does so the next calls gather,
so a batch is as large as the load makes it, without a timer. Pictures, maps and large calls go to the pool.

This is the only file that touches grpcio's private module `cygrpc`, which `grpc.server` itself is written on. The
tests run on grpcio 1.85; a version without these names raises LaneUnavailable, and the ordinary handler serves.

Every call that is accepted has two events: its message has come (or never will), and it has ended. The lane ends when
none is due. A call that will wait long, in a long queue or for the pool, has a third, which tells that its caller left.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

import grpc

from serving.pool import SHUTTING_DOWN, CallerGone, Pool, Refused
from serving.service import DigitClassifier, InvalidRequest, Request, status_of

log = logging.getLogger(__name__)

# Calls that C core may hand over while the lane is busy; more wait inside C core until the lane comes round.
ARMED = 64
# Between two batches, so that a flood of calls to read or refuse cannot keep those that wait from their answers.
MAX_DRAIN_S = 0.002
IDLE_POLL_S = 1.0
# A call with no more than this before it is answered within milliseconds, so nobody asks whether its caller is still
# there: hearing of that costs an event of its own.
UNWATCHED_BATCHES = 8
OK = grpc.StatusCode.OK.value[0]


class LaneUnavailable(Exception):
    """This grpcio lacks the private names that the lane needs."""


class _Call:
    """One call in the lane. Its methods are the tags of its events."""

    __slots__ = ("core", "deadline", "gone", "lane", "taken", "watched")

    def __init__(self, lane: "Lane", core: Any, deadline: float) -> None:
        self.lane, self.core, self.deadline = lane, core, deadline
        self.taken = self.watched = self.gone = False

    def received(self, event: Any) -> None:
        self.lane.take(self, event.batch_operations[0].message())

    def closed(self, event: Any) -> None:
        self.gone = bool(event.batch_operations[0].cancelled())

    def ended(self, _event: Any) -> None:
        self.lane.unanswered -= self.taken

    def is_wanted(self) -> bool:
        return not self.gone and self.deadline > time.time()


class Lane:
    """Answers one unary method of a grpc.server. Make it before the server starts, start it afterwards."""

    def __init__(
        self,
        server: grpc.Server,
        method: str,
        classifier: DigitClassifier,
        pool: Pool,
        *,
        max_batch_images: int,
        max_waiting: int,
        draining: threading.Event,
        on_failure: Callable[[], None],
    ) -> None:
        """`method` is the full name, `/package.Service/Method`; `on_failure` is called if the lane's thread dies.

        Once `draining` is set, new calls are refused.

        Raises LaneUnavailable, and leaves the server as it was, if this grpcio lacks the names that the lane needs.
        """
        self._method = method
        self._classifier = classifier
        self._pool = pool
        self._max_batch_images = max_batch_images
        self._max_waiting = max_waiting
        self._draining = draining
        self._on_failure = on_failure
        self._plain: deque[tuple[_Call, Request]] = deque()
        self.unanswered = 0  # calls that were taken, and whose answer has not left
        self._due = 0  # events that C core still owes the lane
        self.failed = False
        self._thread = threading.Thread(target=self._serve, name="lane", daemon=True)
        self._bind(server)

    def _bind(self, server: grpc.Server) -> None:
        try:
            from grpc._cython import cygrpc  # type: ignore[attr-defined]

            self._receive_close = cygrpc.ReceiveCloseOnServerOperation
            self._receive_message = cygrpc.ReceiveMessageOperation
            self._send_metadata = cygrpc.SendInitialMetadataOperation
            self._send_message = cygrpc.SendMessageOperation
            self._send_status = cygrpc.SendStatusFromServerOperation
            self._timed_out = cygrpc.CompletionType.queue_timeout
            self._queue: Any = cygrpc.CompletionQueue()
            core: Any = server._state.server  # type: ignore[attr-defined]
            self._request_call = core.request_registered_call
            register_queue, register_method = core.register_completion_queue, core.register_method
        except (ImportError, AttributeError, TypeError) as error:
            raise LaneUnavailable(f"grpcio {grpc.__version__}: {error}") from error
        register_queue(self._queue)
        register_method(self._method)

    def start(self) -> None:
        """Takes calls from now on."""
        for _ in range(ARMED):
            self._arm()
        self._thread.start()

    def join(self) -> None:
        """Waits until C core owes the lane nothing, which is soon after the server has stopped."""
        self._thread.join()

    def _serve(self) -> None:
        try:
            while self._due:
                self._drain_queue()
                self._answer_batch()
            self._queue.shutdown()
        except BaseException:
            log.critical("the fast lane failed; stopping the server", exc_info=True)
            self.failed = True
            self._on_failure()

    def _drain_queue(self) -> None:
        ends_at = time.monotonic() + MAX_DRAIN_S
        while not (self._plain and time.monotonic() > ends_at):
            # With something to answer, the poll only looks.
            event = self._queue.poll(0.0 if self._plain else time.time() + IDLE_POLL_S)
            if event.completion_type == self._timed_out:
                return
            self._due -= 1
            event.tag(event)
            if not self._due:
                return
            event = None  # it holds its call, and C core wants calls released before the next poll

    def _arm(self) -> None:
        try:
            self._request_call(self._queue, self._queue, self._method, self._accept)
        except ValueError:  # what cygrpc raises once the server is stopping
            return
        self._due += 1

    def _accept(self, event: Any) -> None:
        if not event.success:  # the server is stopping, and hands the request for a call back
            return
        self._arm()
        call = _Call(self, event.call, event.call_details.deadline)
        # Operations hold C state of their call: they are never shared between calls.
        call.core.start_server_batch((self._receive_message(0),), call.received)
        self._due += 2  # received, ended

    def take(self, call: _Call, message: bytes | None) -> None:
        """Puts a call where it will be answered, now that its message has come; None if it never will."""
        try:
            if self._draining.is_set():
                raise Refused(SHUTTING_DOWN)
            if self.unanswered >= self._max_waiting:
                raise Refused(f"{self._max_waiting} calls are waiting already; try again")
            # A call counts from here on, so that one whose message never comes takes no place from others.
            call.taken = True
            self.unanswered += 1
            if message is None:
                raise InvalidRequest("the call ended without a message; expected one lenet.v1.ClassifyRequest")
            request = self._classifier.read(message)
            if request.is_plain and request.n <= self._max_batch_images:
                if len(self._plain) >= UNWATCHED_BATCHES * self._max_batch_images:
                    self._watch(call)
                self._plain.append((call, request))
            else:
                self._watch(call)
                job = self._pool.submit(partial(self._classifier.answer, request), wanted=call.is_wanted)
                job.add_done_callback(partial(self._answer_from_pool, call))
        except Exception as error:
            self._refuse(call, error)

    def _answer_batch(self) -> None:
        batch = self._next_batch()
        if not batch:
            return
        try:
            replies = self._classifier.answer_together([request for _, request in batch])
        except Exception as error:
            for call, _ in batch:
                self._refuse(call, error)
        else:
            for (call, _), reply in zip(batch, replies, strict=True):
                self._reply(call, reply)

    def _next_batch(self) -> list[tuple[_Call, Request]]:
        batch: list[tuple[_Call, Request]] = []
        free, now = self._max_batch_images, time.time()
        while self._plain and self._plain[0][1].n <= free:
            call, request = self._plain.popleft()
            if call.deadline > now and not call.gone:
                batch.append((call, request))
                free -= request.n
            else:
                self._refuse(call, CallerGone("dropped before the model ran: the caller left, or its deadline passed"))
        return batch

    def _watch(self, call: _Call) -> None:
        call.watched = True
        call.core.start_server_batch((self._receive_close(0),), call.closed)
        self._due += 1

    def _answer_from_pool(self, call: _Call, job: Future[bytes]) -> None:
        # In a thread of the pool: C core lets any thread send.
        error = job.exception()
        if error is None:
            self._reply(call, job.result())
        else:
            self._refuse(call, error)

    def _reply(self, call: _Call, message: bytes) -> None:
        self._end(
            call, self._send_metadata(None, 0), self._send_message(message, 0), self._send_status(None, OK, b"", 0)
        )

    def _refuse(self, call: _Call, error: BaseException) -> None:
        code, text = status_of(error)
        self._end(call, self._send_metadata(None, 0), self._send_status(None, code.value[0], text.encode(), 0))

    def _end(self, call: _Call, *operations: Any) -> None:
        # C core wants to be asked once for the close of every call; here it comes when the answer has been sent.
        close = () if call.watched else (self._receive_close(0),)
        call.core.start_server_batch((*operations, *close), call.ended)
