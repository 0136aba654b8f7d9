"""A second client, which asks while the load is on and compares every answer with the right one.

h2load sends the same request over and over, so it cannot notice an answer that went to the wrong caller. The witness
asks for other images each time, a few at once.
"""

import threading
from typing import Self

import grpc
import numpy as np

from benchmarks.dialects import Ask, Dialect
from benchmarks.digits import Digits

# UNAVAILABLE is our server's refusal; gRPC itself cancels calls when some thousand wait to be looked at.
REFUSALS = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
PAUSE_S = 0.02
MOST_IMAGES = 3


class Witness:
    """Asks until the end of the `with`; what went wrong is then raised."""

    def __init__(self, target: str, dialect: Dialect, digits: Digits, *, may_refuse: bool = False) -> None:
        self._target, self._dialect, self._digits, self._may_refuse = target, dialect, digits, may_refuse
        self._random = np.random.default_rng(0)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="witness")
        self._failure: Exception | None = None
        self.answers = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._done.set()
        self._thread.join()
        if self._failure:
            raise self._failure

    def _watch(self) -> None:
        try:
            with self._dialect.connected(self._target) as ask:
                while not self._done.wait(PAUSE_S):
                    self._ask(ask, self._some())
        except Exception as error:
            self._failure = error

    def _ask(self, ask: Ask, some: Digits) -> None:
        try:
            reply = ask(self._dialect.write(some.images))
        except grpc.RpcError as error:
            if self._may_refuse and isinstance(error, grpc.Call) and error.code() in REFUSALS:
                return
            raise
        some.check(self._dialect.read(reply), "the witness")
        self.answers += len(some.images)

    def _some(self) -> Digits:
        count = self._random.integers(1, MOST_IMAGES + 1)
        order = self._random.integers(len(self._digits.images), size=count)
        return Digits(self._digits.images[order], self._digits.answers[order])
