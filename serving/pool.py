"""A few threads for the work that would hold up the fast lane, with a bounded queue in front of them.

First in, first out. Who finds the queue full is refused at once, and work whose caller has left is not started.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

SHUTTING_DOWN = "the server is shutting down; try again elsewhere or later"

T = TypeVar("T")


class Refused(Exception):
    """A call is not taken, because too much is waiting or the server is stopping; safe to try again."""


class CallerGone(Exception):
    """Nobody waits for the answer any more: the caller cancelled, or its deadline has passed."""


class Pool:
    """Runs jobs on `threads` threads; at most `max_waiting` more may wait."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="pool")
        self._places = threading.Semaphore(threads + max_waiting)
        self._max_waiting = max_waiting

    def submit(self, job: Callable[[], T], *, wanted: Callable[[], bool]) -> Future[T]:
        """Queues a job; `wanted` is asked just before it starts, and the future fails with CallerGone if it says no.

        Raises Refused if no place is free.
        """
        if not self._places.acquire(blocking=False):
            raise Refused(f"{self._max_waiting} calls are waiting already; try again")
        future = self._executor.submit(_run_if_wanted, job, wanted)
        future.add_done_callback(lambda _: self._places.release())
        return future

    def close(self) -> None:
        """Waits for the jobs that were accepted, and ends the threads."""
        self._executor.shutdown(wait=True)


def _run_if_wanted(job: Callable[[], T], wanted: Callable[[], bool]) -> T:
    if not wanted():
        raise CallerGone("dropped before the model ran: the caller left, or its deadline passed")
    return job()
