"""Joint calls: the images of concurrent callers travel together, as many as the load makes it, without a timer.

While CALLS calls are under way the next callers gather, and go first in first out when one ends. Those of an idle
client go when the event loop comes round, so that all who ask in one turn of it go together. A caller waits for a
future of its own: whoever leaves, cancelled or out of time, has it done, and nobody settles it again.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import grpc

from clients.calls import grpc_timeout
from clients.errors import DeadlineExceeded, InvalidInput, LenetError, ServerError, Unavailable, failures_of
from clients.messages import IMAGE_BYTES, Classification, read_classification, rows
from lenet.v1 import digits_pb2 as pb

# Two, so that client and server both have work; with one, 64 callers got little more than half as many answers, with
# three no more. The waiting divide between them only if each carries enough.
CALLS = 2
ENOUGH_IMAGES = 32
# A quarter of what a server takes by default; calls of 32 gave 512 callers a fifth less.
MAX_IMAGES = 256
MAX_PIXELS = MAX_IMAGES * IMAGE_BYTES


@dataclass(slots=True, eq=False)
class _Caller:
    pixels: bytes
    images: int
    timeout_s: float
    ends_at: float  # in seconds, on the event loop's clock
    answer: asyncio.Future[Classification]


class Batching:
    """Answers callers with joint calls. Belongs to the event loop in which it is used."""

    def __init__(self, target: str, ask: Callable[..., Awaitable[pb.ClassifyResponse]]) -> None:
        """`target` is the server's address, for messages; `ask` is Classify of grpc.aio's stub."""
        self._target = target
        self._ask = ask
        self._waiting: deque[_Caller] = deque()
        self._under_way: dict[asyncio.Task[None], Sequence[_Caller]] = {}
        self._departure: asyncio.Handle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def classify(self, pixels: bytes, timeout_s: float) -> Classification:
        """Classifies the images, 784 bytes each and at most MAX_IMAGES; raises LenetError."""
        if self._is_closed:
            raise self._closed()
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        caller = _Caller(pixels, len(pixels) // IMAGE_BYTES, timeout_s, ends_at, loop.create_future())
        self._waiting.append(caller)
        if not self._departure and len(self._under_way) < CALLS:
            self._departure = loop.call_soon(self._depart)
        if not self._alarm or ends_at < self._alarm.when():
            self._set_alarm(ends_at)
        try:
            return await caller.answer
        except (asyncio.CancelledError, GeneratorExit):
            caller.answer.cancel()
            self._cancel_deserted_calls()
            raise

    async def close(self) -> None:
        """Fails those who wait and those under way with Unavailable; when it returns, no task is left."""
        self._is_closed = True
        self._set_alarm(math.inf)
        _fail(self._waiting, self._closed())
        self._waiting.clear()
        for call in self._under_way:
            call.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _depart(self) -> None:
        self._departure = None
        while self._waiting and len(self._under_way) < CALLS:
            if members := self._next_members():
                call = asyncio.create_task(self._travel(members))
                self._under_way[call] = members
                call.add_done_callback(self._arrive)

    def _arrive(self, call: asyncio.Task[None]) -> None:
        _fail(self._under_way.pop(call), self._closed())  # of a call that was cancelled
        self._depart()

    def _next_members(self) -> list[_Caller]:
        members: list[_Caller] = []
        images, limit, now = 0, self._share(), asyncio.get_running_loop().time()
        while self._waiting and (images + self._waiting[0].images <= limit or not members):
            caller = self._waiting.popleft()
            if caller.ends_at <= now:
                self._dismiss(caller)
            elif not caller.answer.done():
                members.append(caller)
                images += caller.images
        return members

    def _share(self) -> int:
        free_calls = CALLS - len(self._under_way)
        if free_calls == 1:
            return MAX_IMAGES
        share = math.ceil(sum(caller.images for caller in self._waiting) / free_calls)
        return min(MAX_IMAGES, max(ENOUGH_IMAGES, share))

    async def _travel(self, members: Sequence[_Caller]) -> None:
        try:
            _answer(members, await self._answer_to(members))
        except InvalidInput as refusal:
            if len(members) > 1:
                await self._travel_alone(members)  # so that only the one at fault hears of it
            else:
                _fail(members, refusal)
        except Exception as error:
            _fail(members, error)

    async def _travel_alone(self, members: Sequence[_Caller]) -> None:
        async with asyncio.TaskGroup() as calls:
            for member in members:
                if not member.answer.done():
                    calls.create_task(self._travel([member]))

    async def _answer_to(self, members: Sequence[_Caller]) -> Classification:
        request = pb.ClassifyRequest(pixels=b"".join([member.pixels for member in members]))
        timeout_s = max(member.ends_at for member in members) - asyncio.get_running_loop().time()
        with failures_of(self._target):
            answer = read_classification(await self._ask(request, timeout=grpc_timeout(timeout_s)))
        images = sum(member.images for member in members)
        if len(answer.digits) != images:
            text = f"{self._target} gave {len(answer.digits)} answers for {images} images"
            raise ServerError(text, grpc.StatusCode.INTERNAL)
        return answer

    def _ring(self) -> None:
        """Tells those whose time is over, and forgets those who left while they waited."""
        self._alarm = None
        now = asyncio.get_running_loop().time()
        self._waiting = deque(caller for caller in self._waiting if not caller.answer.done())
        pending = [*self._waiting, *chain(*self._under_way.values())]
        for caller in pending:
            if caller.ends_at <= now:
                self._dismiss(caller)
        self._cancel_deserted_calls()
        self._set_alarm(min((each.ends_at for each in pending if not each.answer.done()), default=math.inf))

    def _dismiss(self, caller: _Caller) -> None:
        if not caller.answer.done():
            text = f"{self._target} gave no answer within {caller.timeout_s:g} s"
            caller.answer.set_exception(DeadlineExceeded(text, grpc.StatusCode.DEADLINE_EXCEEDED))

    def _set_alarm(self, at: float) -> None:
        if self._alarm:
            self._alarm.cancel()
        self._alarm = None if at == math.inf else asyncio.get_running_loop().call_at(at, self._ring)

    def _cancel_deserted_calls(self) -> None:
        for call, members in self._under_way.items():
            if all(member.answer.done() for member in members):
                call.cancel()

    def _closed(self) -> Unavailable:
        return Unavailable(f"the client of {self._target} was closed", grpc.StatusCode.CANCELLED)


def _answer(members: Sequence[_Caller], answer: Classification) -> None:
    start = 0
    for member in members:
        end = start + member.images
        if not member.answer.done():
            member.answer.set_result(rows(answer, start, end))
        start = end


def _fail(members: Iterable[_Caller], error: Exception) -> None:
    for member in members:
        if not member.answer.done():
            member.answer.set_exception(_copy(error))


def _copy(error: Exception) -> LenetError:
    """An exception for one caller alone, since each adds a traceback of its own."""
    if isinstance(error, LenetError):
        copy, cause = type(error)(str(error), error.code), error.__cause__
    else:
        copy, cause = ServerError(f"a joint call failed: {error!r}", grpc.StatusCode.INTERNAL), error
    copy.__cause__ = cause
    return copy
